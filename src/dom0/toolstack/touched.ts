/** Whether a file is as it was when its content was last looked at, told without reading it. */
import type { BigIntStats } from 'node:fs';

/** So long after a change another one may have the same time, on file systems with coarse clocks. */
const SETTLED_MS = 2000;

/**
 * `state` changes whenever the file does (its times cannot be set back: ctime), and stands for the content if that is read after this
 * and the file is `settled`: it did not change just now.
 */
export function touched({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): {
  readonly state: string;
  readonly settled: boolean;
} {
  const recent = BigInt(Date.now() - SETTLED_MS) * 1_000_000n;
  return { state: [dev, ino, size, mtimeNs, ctimeNs].join(' '), settled: ctimeNs <= recent && mtimeNs <= recent };
}
