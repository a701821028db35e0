/**
 * Has a thread of its own make a guest's boot files ready: consoles and XenStore of other guests do not wait for it. The
 * thread ends with its work.
 */
import { Worker } from 'node:worker_threads';
import type { BootFiles, BootSpec, Progress } from './boot-files.ts';
import { FileError } from './boot-files.ts';
import { CacheFile, type KnownFile } from './cache-file.ts';
import { ToolstackError } from './error.ts';
import { KernelError } from './kernel/kernel.ts';

export interface BootRequest {
  readonly spec: BootSpec;
  /** Folder of the cache. */
  readonly cacheDir: string;
}

/** As BootFiles; of a kernel in the cache what is known. */
export type PostedFiles = Omit<BootFiles, 'kernel'> & { readonly kernel: KnownFile | Uint8Array };

/** What the thread says: progress any number of times, then the files or an error. */
export type BootMessage =
  | { readonly k: 'progress'; readonly message: string }
  | { readonly k: 'done'; readonly files: PostedFiles }
  | { readonly k: 'error'; readonly type: string; readonly message: string };

/** Errors that keep their type on the way; others are faults of ours. */
export const ERRORS: Readonly<Record<string, new (message: string) => Error>> = {
  FileError,
  ToolstackError,
  KernelError,
};

function opened({ kernel, ...others }: PostedFiles): BootFiles {
  return { ...others, kernel: kernel instanceof Uint8Array ? kernel : CacheFile.reopen(kernel) };
}

/** As bootFiles. */
export function loadBootFiles(spec: BootSpec, cacheDir: string, progress: Progress): Promise<BootFiles> {
  const { kernel, ramdisk, cmdline, bootloader, bootloader_args, disk } = spec;
  const workerData: BootRequest = { spec: { kernel, ramdisk, cmdline, bootloader, bootloader_args, disk }, cacheDir };
  const worker = new Worker(new URL(`./boot-worker${import.meta.url.slice(-3)}`, import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.on('message', (m: BootMessage) => {
      if (m.k === 'progress') progress(m.message);
      else if (m.k === 'done') resolve(Promise.try(opened, m.files));
      else reject(new (ERRORS[m.type] ?? Error)(m.message));
    });
    worker.on('error', reject);
    worker.on('exit', (code) => reject(new Error(`the thread that reads boot files ended with ${code}`)));
  });
}
