/** How each side starts the guests of the device lines, and a whole Debian. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createQcow2 } from '../../src/dom0/backends/block/formats/qcow2/create.ts';
import { GUEST_NETWORK, passtArguments } from '../../src/dom0/backends/net/uplink/passt.ts';
import { Child } from '../child.ts';
import { ROOT } from '../sides.ts';
import { DeviceGuest } from './guest.ts';
import type { Debian } from './image.ts';

/** Files that both sides use. */
export interface DeviceFiles {
  readonly dir: string;
  readonly debian: Debian;
  /** The disk's kernel and initrd, and the ramdisk of the device lines. */
  readonly kernel: string;
  readonly initrd: string;
  readonly ramdisk: string;
  /** A raw image that a side may overwrite. */
  scratch(side: string): string;
}

export interface DeviceSide {
  readonly key: 'qemu' | 'xenolith';
  readonly name: string;
  /** Names of disks in the guest begin with this. */
  readonly disk: 'vd' | 'xvd';
  /** Two guests with a disk to scribble on, which share a network; the first reaches the host too. */
  start(): Promise<readonly DeviceGuest[]>;
  /** Seconds from the launch of a Debian until it asks who logs in. */
  boot(run: number): Promise<number>;
  /** Ends everything. */
  stop(): Promise<void>;
}

const LOGIN = /bench login: /;
/** MiB of a guest. */
const MEMORY = '512';
const GUESTS = [0, 1];

async function untilLogin(child: Child, start: number): Promise<number> {
  await child.expect(LOGIN);
  return (performance.now() - start) / 1000;
}

/** A disk that begins as Debian's. */
function overlay(files: DeviceFiles, side: string, run: number): string {
  const path = join(files.dir, `${side}-${run}.qcow2`);
  createQcow2(path, { size: files.debian.size, backing: { name: files.debian.disk, format: 'raw' } });
  return path;
}

export class QemuDevices implements DeviceSide {
  readonly key = 'qemu';
  readonly name = 'QEMU TCG';
  readonly disk = 'vd';
  readonly #files: DeviceFiles;
  readonly #children: Child[] = [];

  constructor(files: DeviceFiles) {
    this.#files = files;
  }

  async start(): Promise<readonly DeviceGuest[]> {
    const { dir, debian, kernel, ramdisk, scratch } = this.#files;
    const sockets = join(dir, 'sockets');
    mkdirSync(sockets);
    chmodSync(dir, 0o711);
    chmodSync(sockets, 0o777); // passt gives root's rights up
    const [wire, out] = [join(sockets, 'wire'), join(sockets, 'passt')];
    const passt = passtArguments({ forwards: [] }).filter((a) => a !== '--fd' && a !== '3');
    this.#child('passt', ['passt', ...passt, '--socket', out]);
    const guests: DeviceGuest[] = [];
    for (const n of GUESTS) {
      const stream = (id: string, path: string, server: 'on' | 'off') => [
        ...['-netdev', `stream,id=${id},server=${server},addr.type=unix,addr.path=${path}`],
        ...['-device', `virtio-net-pci,netdev=${id}`],
      ];
      const child = this.#child(`QEMU TCG, guest ${n}`, [
        ...this.#qemu(kernel, ramdisk, 'quiet'),
        ...['-drive', `file=${debian.disk},format=raw,if=virtio,readonly=on`],
        ...['-drive', `file=${scratch(`qemu-${n}`)},format=raw,if=virtio`],
        ...stream('wire', wire, n === 0 ? 'on' : 'off'),
        ...(n === 0 ? stream('out', out, 'off') : []),
      ]);
      guests.push(new DeviceGuest(child));
      await guests[n].ready();
    }
    return guests;
  }

  async boot(run: number): Promise<number> {
    const { kernel, initrd, debian } = this.#files;
    const disk = overlay(this.#files, this.key, run);
    const start = performance.now();
    const child = this.#child('QEMU TCG, Debian', [
      ...this.#qemu(kernel, initrd, debian.args),
      ...['-drive', `file=${disk},format=qcow2,if=virtio`],
      ...['-nic', 'user,model=virtio-net-pci'],
    ]);
    const seconds = await untilLogin(child, start);
    await child.stop();
    return seconds;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.splice(0).map((child) => child.stop()));
  }

  #qemu(kernel: string, ramdisk: string, append: string): string[] {
    return [
      ...['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-m', MEMORY, '-smp', '1', '-nodefaults'],
      ...['-display', 'none', '-serial', 'stdio', '-no-reboot'],
      ...['-kernel', kernel, '-initrd', ramdisk, '-append', `console=ttyS0 ${append}`],
    ];
  }

  #child(name: string, command: readonly string[]): Child {
    const child = new Child(name, command);
    this.#children.push(child);
    return child;
  }
}

export class XenolithDevices implements DeviceSide {
  readonly key = 'xenolith';
  readonly name = 'Xenolith';
  readonly disk = 'xvd';
  readonly #files: DeviceFiles;
  readonly #hostOptions: readonly string[];
  readonly #type: string;
  readonly #children: Child[] = [];
  readonly #env: Readonly<Record<string, string>>;

  /** `hostOptions`: more of those of `xl host start`; `type`: kind of guest. */
  constructor(files: DeviceFiles, hostOptions: readonly string[], type: string) {
    this.#files = files;
    this.#type = type;
    this.#hostOptions = hostOptions;
    this.#env = { XENOLITH_SOCKET: join(files.dir, 'host', 'host.sock'), XL_CONF: '/dev/null' };
  }

  async start(): Promise<readonly DeviceGuest[]> {
    const { debian, kernel, ramdisk, scratch } = this.#files;
    await this.#host('start', ...this.#hostOptions);
    const guests: DeviceGuest[] = [];
    for (const n of GUESTS) {
      const child = this.#create(`guest${n}`, [
        `kernel = "${kernel}"`,
        `ramdisk = "${ramdisk}"`,
        'cmdline = "console=hvc0 quiet"',
        `disk = [ "${debian.disk},raw,xvda,r", "${scratch(`xenolith-${n}`)},raw,xvdb,w" ]`,
        `vif = [ "bridge=wire"${n === 0 ? ', "script=vif-nat"' : ''} ]`,
      ]);
      guests.push(new DeviceGuest(child));
      await guests[n].ready();
    }
    return guests;
  }

  /** With the start of the host process, which QEMU does not have. */
  async boot(run: number): Promise<number> {
    const disk = overlay(this.#files, this.key, run);
    const start = performance.now();
    const child = this.#create('debian', [
      'bootloader = "pygrub"',
      `disk = [ "${disk},qcow2,xvda,w" ]`,
      'vif = [ "script=vif-nat" ]',
    ]);
    const seconds = await untilLogin(child, start);
    await this.stop();
    return seconds;
  }

  async stop(): Promise<void> {
    await this.#host('stop', '--shutdown-timeout=0').catch(() => {}); // there may be none
    await Promise.all(this.#children.splice(0).map((child) => child.stop()));
  }

  async #host(...args: string[]): Promise<void> {
    const child = new Child(`xl host ${args[0]}`, this.#xl('host', ...args), this.#env);
    const status = await child.ended;
    if (status !== 0) throw new Error(`xl host ${args.join(' ')}: ${child.errors || `status ${status}`}`);
  }

  #create(name: string, lines: readonly string[]): Child {
    const cfg = join(this.#files.dir, `${name}.cfg`);
    writeFileSync(
      cfg,
      [`name = "${name}"`, `type = "${this.#type}"`, `memory = ${MEMORY}`, 'vcpus = 1', ...lines, ''].join('\n'),
    );
    const child = new Child(`Xenolith, ${name}`, this.#xl('create', '-c', cfg), this.#env);
    this.#children.push(child);
    return child;
  }

  #xl(...args: string[]): string[] {
    return [process.execPath, join(ROOT, 'bin/xl.mjs'), ...args];
  }
}

/** Address by which a guest reaches the host through passt, and its own. */
export const HOST_ADDRESS = GUEST_NETWORK.gateway;
export const OUT_ADDRESS = `${GUEST_NETWORK.address}/${GUEST_NETWORK.prefix}`;
