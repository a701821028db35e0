/**
 * What is measured: one entry a line of the table. To add a line, write BENCH(name) in a file of programs/ and enter it here.
 */

export type Group = 'boot' | 'integer' | 'floating point' | 'memory' | 'programs' | 'kernel';

export interface Line {
  /** As in BENCH(name); `boot` is not a program but the time from the launch to /init. */
  readonly name: string;
  readonly group: Group;
  readonly what: string;
  /** The program's argument: how often it does its work; chosen so that QEMU takes about 0.7 s on a machine of 2022. */
  readonly times: number;
}

export const BOOT = 'boot';

export const LINES: readonly Line[] = [
  { name: BOOT, group: 'boot', what: 'launch to /init', times: 1 },
  { name: 'sieve', group: 'integer', what: 'sieve of Eratosthenes', times: 40 },
  { name: 'crc32', group: 'integer', what: 'CRC-32, table of bytes', times: 100 },
  { name: 'sha256', group: 'integer', what: 'SHA-256', times: 16 },
  { name: 'sort', group: 'integer', what: 'quicksort and heapsort', times: 3 },
  { name: 'interpret', group: 'integer', what: 'interpreter, indirect jumps', times: 10 },
  { name: 'mixed', group: 'integer', what: 'list, matrix, state machine', times: 2000 },
  { name: 'nbody_sse2', group: 'floating point', what: 'n bodies, SSE2', times: 30 },
  { name: 'nbody_x87', group: 'floating point', what: 'n bodies, x87', times: 8 },
  { name: 'matmul', group: 'floating point', what: 'matrix product', times: 6 },
  { name: 'fft', group: 'floating point', what: 'Fourier transform', times: 140 },
  { name: 'memcpy', group: 'memory', what: 'memcpy, 64 B to 4 MiB', times: 40 },
  { name: 'chase', group: 'memory', what: 'pointers through 8 MiB', times: 30 },
  { name: 'gzip', group: 'programs', what: 'busybox gzip, 2 MiB of text', times: 1 },
  { name: 'shell', group: 'programs', what: 'loop in busybox sh', times: 2 },
  { name: 'syscall', group: 'kernel', what: 'system calls', times: 10 },
  { name: 'pagefault', group: 'kernel', what: 'page faults', times: 20 },
  { name: 'forkexec', group: 'kernel', what: 'fork and exec', times: 150 },
  { name: 'pipe', group: 'kernel', what: 'pipe ping-pong, two processes', times: 10 },
  { name: 'switch', group: 'kernel', what: 'futex ping-pong, two threads', times: 20 },
];

/** Those of `lines` that `names` (of lines or groups, comma-separated) choose; throws if one is unknown. */
export function chooseLines<L extends { readonly name: string; readonly group: string }>(
  lines: readonly L[],
  names: string | undefined,
): readonly L[] {
  if (names === undefined) return lines;
  const wanted = names.split(',');
  for (const name of wanted) {
    if (!lines.some((line) => line.name === name || line.group === name))
      throw new Error(`--lines ${name}: there is no such line or group; --list shows them`);
  }
  return lines.filter((line) => wanted.includes(line.name) || wanted.includes(line.group));
}
