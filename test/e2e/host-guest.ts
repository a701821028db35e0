/** Debian's kernel with busybox on a host of this process, for tests that look at the host's side meanwhile. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Host, type HostOptions } from '../../src/dom0/host.ts';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import type { DomainConfig } from '../../src/dom0/toolstack/config.ts';
import type { Domain } from '../../src/dom0/toolstack/domain.ts';
import { type CpioEntry, cpio, S_IFDIR, S_IFREG } from '../../src/start/cpio.ts';
import { debianKernel } from '../../src/start/debian.ts';
import { loadImages } from '../../src/start/images.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { parseOptions } from '../../src/start/options.ts';
import { ROOT } from './command.ts';

const CURSOR_QUERY = '\x1b[6n';
const PROMPT = /guest:\S*# $/;

/** What runs in the guest besides busybox: programs of the host with the libraries that they need. */
function withLibraries(programs: readonly string[]): Uint8Array {
  const files = new Map<string, string>(programs.map((p) => [p.slice(1), p]));
  for (const program of programs) {
    for (const line of execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n')) {
      const library = /(?:=> )?(\/\S+) \(/.exec(line)?.[1];
      if (library) files.set(library.slice(1), library);
    }
  }
  const folders = new Set<string>();
  for (const name of files.keys()) {
    const parts = name.split('/');
    for (let i = 1; i < parts.length; i++) folders.add(parts.slice(0, i).join('/'));
  }
  const there = ['bin', 'usr', 'usr/bin', 'sbin', 'usr/sbin']; // usr/bin is a link to bin
  const dirs = [...folders].filter((f) => !there.includes(f)).sort();
  const entries: CpioEntry[] = dirs.map((name) => ({ name, mode: S_IFDIR | 0o755 }));
  for (const [name, from] of files) {
    entries.push({ name: name.replace(/^usr\/bin\//, 'bin/'), mode: S_IFREG | 0o755, data: readFileSync(from) });
  }
  return cpio(entries);
}

export interface GuestOptions {
  readonly host?: HostOptions;
  readonly domain?: Partial<DomainConfig>;
  readonly programs?: readonly string[];
  /** Put the modules of front ends in, and load those of the devices there are. */
  readonly modules?: boolean;
}

/** Configuration of a domain that boots to a shell. */
export async function shellConfig(options: GuestOptions = {}): Promise<DomainConfig> {
  const images = await loadImages(parseOptions([]), ROOT, new Cache(), () => {});
  const kernel = options.modules ? await debianKernel(new Cache(), 'cloud', () => {}) : undefined;
  const modules = kernel && { release: kernel.release, files: kernel.modules };
  const ramdisk = Buffer.concat([
    initramfs(readFileSync('/bin/busybox'), modules),
    withLibraries(options.programs ?? []),
  ]);
  return {
    name: 'guest',
    memoryMiB: 256,
    vcpus: 1,
    kernel: images.elf,
    kernelName: images.kernelName,
    ramdisk,
    cmdline: 'console=hvc0 quiet',
    ...options.domain,
  };
}

export class HostGuest {
  readonly host: Host;
  readonly domain: Domain;
  output = '';
  #seen = 0;
  #wake = () => {};

  constructor(host: Host, domain: Domain) {
    this.host = host;
    this.domain = domain;
    const decoder = new TextDecoder();
    const write = (bytes: Uint8Array) => {
      // busybox's shell asks where the cursor is; nobody answers here.
      this.output = `${this.output}${decoder.decode(bytes, { stream: true })}`.replace(CURSOR_QUERY, '');
      this.#wake();
      return true;
    };
    domain.console.attach({ paces: false, write, onDrain: () => {} });
  }

  /** Boots until the shell's prompt. */
  static async boot(options: GuestOptions = {}): Promise<HostGuest> {
    return HostGuest.start(await shellConfig(options), options.host);
  }

  /** The same of a configuration that is ready. */
  static async start(config: DomainConfig, options: HostOptions = {}): Promise<HostGuest> {
    const host = await Host.create({ memoryMiB: 1024, pcpus: 1, ...options });
    const guest = new HostGuest(host, await host.toolstack.createWithDevices(config));
    guest.domain.unpause();
    await guest.ready();
    return guest;
  }

  /** Waits for the shell's prompt. */
  async ready(): Promise<void> {
    await this.expect(PROMPT);
    await this.shell('stty columns 1000'); // lines as they were typed
  }

  /** Waits for output that has not been waited for yet. */
  async expect(pattern: RegExp, seconds = 120): Promise<RegExpExecArray> {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const match = pattern.exec(this.output.slice(this.#seen));
      if (match) {
        this.#seen += match.index + match[0].length;
        return match;
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no ${pattern} within ${seconds} s; last output:\n${this.output.slice(-2000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 1000));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  type(text: string): void {
    this.domain.console.input(new TextEncoder().encode(text));
  }

  /** Runs a command; what it prints, without the echoed line and the prompt. */
  async shell(line: string, seconds?: number): Promise<string> {
    this.type(`${line}\n`);
    const [text] = await this.expect(/[\s\S]*?\n?guest:\S*# $/, seconds);
    const lines = text.replaceAll('\r', '').split('\n');
    return lines.slice(1, -1).join('\n');
  }

  stop(): Promise<void> {
    return this.host.stop();
  }
}
