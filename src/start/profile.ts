/** `--profile FILE`: writes where the machine's time went, with the names of the kernel's functions. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Host } from '../dom0/host.ts';
import { cpuProfile, hottest } from '../dom0/profile/cpuprofile.ts';
import { Profiler } from '../dom0/profile/profiler.ts';
import { readSymbols, Symbols } from '../dom0/profile/symbols.ts';
import { UsageError } from './options.ts';

/** Lines of the summary on standard error. */
const SUMMARY = 15;

export class ProfileRecorder {
  readonly #file: string;
  readonly #symbols: Symbols;
  #profiler: Profiler | undefined;
  #names = new Map<number, string>();

  /**
   * `symbolFiles`: names separated by commas, relative to `cwd`. `kernel` is the guest's, unpacked. Throws UsageError if a file has
   * no symbols or `file` cannot be written.
   */
  constructor(file: string, symbolFiles: string | undefined, kernel: Uint8Array, cwd: string) {
    this.#file = resolve(cwd, file);
    const symbols = readSymbols(kernel);
    for (const name of symbolFiles?.split(',') ?? []) {
      const more = readSymbols(readSymbolFile(name, cwd));
      if (more.length === 0) throw new UsageError(`${name} has no symbols of code`);
      symbols.push(...more);
    }
    this.#symbols = new Symbols(symbols);
    try {
      writeFileSync(this.#file, ''); // now, and not after hours
    } catch (error) {
      throw new UsageError(`the profile cannot be written to ${file}: ${(error as Error).message}`);
    }
  }

  start(host: Host): void {
    this.#profiler = new Profiler(host.machine);
  }

  /** Domains are called by what they are called when they are seen. */
  name(domid: number, name: string): void {
    this.#names.set(domid, name);
  }

  /** Writes the file; the lines of a summary. */
  finish(): string[] {
    if (!this.#profiler) return [];
    const profile = this.#profiler.stop();
    const names = { symbols: this.#symbols, domain: (domid: number) => this.#names.get(domid) ?? `domain ${domid}` };
    writeFileSync(this.#file, JSON.stringify(cpuProfile(profile, names)));
    const lost = profile.lostNs > 0 ? [`${(profile.lostNs / 1e9).toFixed(2)} s of it were lost`] : [];
    return [`profile: ${this.#file}`, ...lost, ...hottest(profile, names, SUMMARY)];
  }
}

function readSymbolFile(name: string, cwd: string): Uint8Array {
  try {
    return readFileSync(resolve(cwd, name));
  } catch (error) {
    throw new UsageError(`no symbols from ${name}: ${(error as Error).message}`);
  }
}
