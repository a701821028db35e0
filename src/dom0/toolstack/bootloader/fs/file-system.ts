/** What boot loaders need of a file system: find files by path and read them. */
import { BootError } from '../source.ts';

export interface FileSystem {
  /** What it is, for messages: "ext4". */
  readonly kind: string;
  /** The whole file, symbolic links followed. Throws BootError: no such file, no regular file, larger than `limit` bytes. */
  readFile(path: string, limit: number): Uint8Array;
  /** Whether there is a regular file of that name. */
  isFile(path: string): boolean;
}

/** Why a path leads nowhere. */
export class NoSuchFile extends BootError {}

/** Of a path, "." and empty components left out ("..", which depends on links, is kept). */
export const components = (path: string) => path.split('/').filter((c) => c !== '' && c !== '.');
