/**
 * Kernels are unpacked on a thread of their own: that takes up to a second, and finding one in the cache a tenth of it, while the
 * control domain's thread has other guests' consoles and XenStore to serve.
 */
import { Worker } from 'node:worker_threads';
import type { Cache } from './cache.ts';
import { isElf } from './kernel/elf.ts';
import { KernelError } from './kernel/error.ts';

export interface KernelTask {
  readonly image: Uint8Array;
  readonly name: string;
  readonly cacheDir: string;
}

export type FromKernelThread =
  | { readonly k: 'progress'; readonly text: string }
  | { readonly k: 'elf'; readonly elf: Uint8Array }
  | { readonly k: 'refused'; readonly why: string };

/** As `kernelElf` of load.ts. */
export async function kernelElfAside(
  image: Uint8Array,
  name: string,
  cache: Cache,
  progress: (message: string) => void,
): Promise<Uint8Array> {
  if (isElf(image)) return image;
  const workerData: KernelTask = { image, name, cacheDir: cache.dir };
  const worker = new Worker(new URL(`./kernel-worker${import.meta.url.slice(-3)}`, import.meta.url), { workerData });
  try {
    return await new Promise<Uint8Array>((resolve, reject) => {
      worker.on('message', (m: FromKernelThread) => {
        if (m.k === 'progress') progress(m.text);
        else if (m.k === 'elf') resolve(m.elf);
        else reject(new KernelError(m.why));
      });
      worker.once('error', reject);
      worker.once('exit', () => reject(new Error(`${name}: the thread that unpacks it ended`)));
    });
  } finally {
    await worker.terminate();
  }
}
