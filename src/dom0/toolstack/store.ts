/**
 * What the toolstack writes into XenStore (docs/misc/xenstore-paths.pandoc, and what xl 4.17 writes): dom0's own entries
 * once, and those of each domain. Permissions: `n0,rN` is readable by domain N, `nN` is domain N's to write.
 */
import { CONSOLE_LIMIT } from '../xenconsoled/limits.ts';
import type { XenStore, XsAccess } from '../xenstored/xenstored.ts';
import type { GuestType } from './config.ts';

export const domainPath = (domid: number) => `/local/domain/${domid}`;
export const vmPath = (uuid: string) => `/vm/${uuid}`;
export const libxlPath = (domid: number) => `/libxl/${domid}`;
const consoleBackend = (domid: number) => `${domainPath(0)}/backend/console/${domid}`;

export interface StoredDomain {
  readonly domid: number;
  readonly uuid: string;
  readonly name: string;
  readonly type: GuestType;
  readonly vcpus: number;
  readonly maxVcpus: number;
  readonly memoryKiB: number;
  readonly maxMemoryKiB: number;
  readonly kernelName: string;
  readonly ramdiskName?: string;
  readonly cmdline: string;
}

export interface StoredRings {
  readonly storePort: number;
  /** Frames as the guest names them. */
  readonly storeGfn: number;
  readonly consolePort: number;
  readonly consoleGfn: number;
}

/** Entries of the control domain and of the CPU pool, once. */
export function writeControlDomain(store: XenStore): void {
  store.transaction((t) => {
    t.mkdir('/tool/xenstored');
    for (const f of ['poweroff', 'reboot', 'suspend']) t.write(`${domainPath(0)}/control/feature-${f}`, '1');
    t.write(`${domainPath(0)}/domid`, '0');
    t.write(`${domainPath(0)}/name`, 'Domain-0');
    t.mkdir(`${domainPath(0)}/backend`);
    t.write('/local/pool/0/name', 'Pool-0');
  });
}

function write(t: XsAccess, base: string, entries: Record<string, string>, perms: string): void {
  for (const [key, value] of Object.entries(entries)) t.write(`${base}/${key}`, value, perms);
}

/** A new domain, before it is built. */
export function writeDomain(store: XenStore, d: StoredDomain): void {
  const path = domainPath(d.domid);
  const vm = vmPath(d.uuid);
  const ro = `n0,r${d.domid}`;
  const own = `n${d.domid}`;
  store.transaction((t) => {
    for (const p of [path, vm, libxlPath(d.domid)]) if (t.exists(p)) t.rm(p);
    t.mkdir(path, ro);
    t.mkdir(vm, ro);
    write(t, path, { vm, name: d.name }, ro);
    for (const dir of ['cpu', 'memory', 'device', 'device/suspend', 'control']) t.mkdir(`${path}/${dir}`, ro);
    for (let i = 0; i < d.maxVcpus; i++) {
      t.mkdir(`${path}/cpu/${i}`, ro);
      t.write(`${path}/cpu/${i}/availability`, i < d.vcpus ? 'online' : 'offline', ro);
    }
    const memory = { 'static-max': `${d.maxMemoryKiB}`, target: `${d.memoryKiB}`, videoram: '0' };
    write(t, `${path}/memory`, memory, ro);
    t.mkdir(`${path}/device/suspend/event-channel`, own);
    for (const node of ['shutdown', 'feature-poweroff', 'feature-reboot', 'feature-suspend', 'sysrq']) {
      t.write(`${path}/control/${node}`, '', own);
    }
    write(
      t,
      `${path}/control`,
      { 'platform-feature-multiprocessor-suspend': '1', 'platform-feature-xs_reset_watches': '1' },
      ro,
    );
    for (const dir of ['data', 'drivers', 'feature', 'attr', 'error']) t.mkdir(`${path}/${dir}`, own);
    write(t, vm, { name: d.name, uuid: d.uuid }, ro);
    if (d.type === 'pv') {
      t.mkdir(`${vm}/image`, ro);
      const image: Record<string, string> = { ostype: 'linux', kernel: d.kernelName, cmdline: d.cmdline };
      if (d.ramdiskName !== undefined) image.ramdisk = d.ramdiskName;
      write(t, `${vm}/image`, image, ro);
    }
    t.write(`${vm}/start_time`, (Date.now() / 1000).toFixed(2), ro);
    t.write(`${libxlPath(d.domid)}/type`, d.type);
    t.write(`${libxlPath(d.domid)}/dm-version`, 'qemu_xen');
  });
}

/** Rings and the console device of a domain that has been built. */
export function writeRings(store: XenStore, domid: number, r: StoredRings): void {
  const path = domainPath(domid);
  const ro = `n0,r${domid}`;
  const backend = `${consoleBackend(domid)}/0`;
  const device = {
    frontend: `${path}/console`,
    'frontend-id': `${domid}`,
    online: '1',
    state: '1',
    protocol: 'vt100',
  };
  store.transaction((t) => {
    t.write(`${path}/domid`, `${domid}`, ro);
    t.mkdir(`${path}/store`, ro);
    write(t, `${path}/store`, { port: `${r.storePort}`, 'ring-ref': `${r.storeGfn}` }, ro);
    t.mkdir(backend, ro);
    write(t, backend, device, ro);
    t.mkdir(`${path}/console`, ro);
    t.write(`${path}/console/backend`, backend, ro);
    t.write(`${path}/console/backend-id`, '0', `n${domid},r0`);
    const console = {
      limit: `${CONSOLE_LIMIT}`,
      type: 'xenconsoled',
      output: 'pty',
      port: `${r.consolePort}`,
      'ring-ref': `${r.consoleGfn}`,
    };
    write(t, `${path}/console`, console, ro);
    const libxl = `${libxlPath(domid)}/device/console/0`;
    const { frontend, ...rest } = device;
    for (const [k, v] of Object.entries({ frontend, backend, ...rest })) t.write(`${libxl}/${k}`, v);
  });
}

/** Everything that the two above have written. */
export function removeDomain(store: XenStore, domid: number, uuid: string): void {
  store.transaction((t) => {
    for (const p of [domainPath(domid), vmPath(uuid), libxlPath(domid), consoleBackend(domid)]) {
      if (t.exists(p)) t.rm(p);
    }
  });
}
