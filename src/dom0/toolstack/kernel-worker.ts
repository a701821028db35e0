/** The thread of kernel-thread.ts: unpacks one kernel, and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { Cache } from './cache.ts';
import { KernelError } from './kernel/error.ts';
import type { FromKernelThread, KernelTask } from './kernel-thread.ts';
import { kernelElf } from './load.ts';

const { image, name, cacheDir } = workerData as KernelTask;
const send = (m: FromKernelThread, transfer: ArrayBuffer[] = []) => parentPort!.postMessage(m, transfer);

try {
  const kept = kernelElf(image, name, new Cache(cacheDir), (text) => send({ k: 'progress', text }));
  // What is handed over must be all of its buffer, and no part of somebody's pool.
  const whole = kept.buffer instanceof ArrayBuffer && kept.length === kept.buffer.byteLength;
  const elf = whole ? (kept as Uint8Array<ArrayBuffer>) : Uint8Array.from(kept);
  send({ k: 'elf', elf }, [elf.buffer]);
} catch (error) {
  if (!(error instanceof KernelError)) throw error;
  send({ k: 'refused', why: error.message });
}
