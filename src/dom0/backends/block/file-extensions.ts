/**
 * What Node has no calls for, from an optional package (docs/SUPPORT.md): locks on ranges of bytes that belong to an open
 * file (F_OFD_SETLK), and holes (fallocate). Linux only: elsewhere the package's locks mean something else.
 */
import { createRequire } from 'node:module';

export interface FileExtensions {
  /** False: somebody else has a lock that does not go with it. A lock that is held is changed. */
  tryLock(fd: number, offset: number, length: number, options?: { readonly shared: boolean }): boolean;
  unlock(fd: number, offset: number, length: number): void;
  /** Gives the range back to the file system, or to the device; it reads as zeros. */
  trimSync(fd: number, offset: number, length: number): void;
}

function load(): FileExtensions | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return createRequire(import.meta.url)('fs-native-extensions') as FileExtensions;
  } catch {
    return undefined;
  }
}

/** undefined: the package is not installed, or not for this system. */
export const fileExtensions = load();
