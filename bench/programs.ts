/** Builds programs/ and the initramfs with them that both sides boot. Needs gcc and a static C library (Debian: libc6-dev). */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpio, S_IFREG } from '../src/start/cpio.ts';

const SOURCES = fileURLToPath(new URL('programs/', import.meta.url));
/** No contraction to fused operations: results are compared bit by bit. */
const FLAGS = ['-O2', '-static', '-pthread', '-ffp-contract=off', '-Wall', '-Wextra', '-Werror'];

/** Compiles all programs into one executable in `dir`; returns its path. */
export function buildPrograms(dir: string): string {
  const sources = readdirSync(SOURCES).filter((name) => name.endsWith('.c'));
  const to = join(dir, 'bench');
  execFileSync('gcc', [...FLAGS, '-o', to, ...sources.map((name) => join(SOURCES, name))]);
  return to;
}

/** The initramfs of `npm start` with the executable as /init. */
export function withPrograms(initramfs: Uint8Array, executable: string): Uint8Array {
  const init = { name: 'init', mode: S_IFREG | 0o755, data: readFileSync(executable) };
  return Buffer.concat([initramfs, cpio([init])]);
}

export interface Outcome {
  readonly seconds: number;
  readonly checksum: string;
}

/** The line that a program prints, or undefined if `text` has none. */
export function parseOutcome(name: string, text: string): Outcome | undefined {
  const found = new RegExp(`^${name} (\\d+\\.\\d+) ([0-9a-f]{16})\\s*$`, 'm').exec(text);
  return found ? { seconds: Number(found[1]), checksum: found[2] } : undefined;
}

/** Runs a program on the host. Only on x86-64 Linux. */
export function runNative(executable: string, name: string, times: number): Outcome {
  const text = execFileSync(executable, [name, String(times)], { encoding: 'utf8' });
  const outcome = parseOutcome(name, text);
  if (!outcome) throw new Error(`${name} on the host: ${text.trim()}`);
  return outcome;
}
