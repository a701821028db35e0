/**
 * Threads for pCPUs. Loading modules is most of what one needs to start, 0.15 s, so that a program which is going to make a
 * machine has that done while it does other things.
 */
import { Worker } from 'node:worker_threads';
import type { LoadAhead } from './pcpu-worker.ts';

const spare = new Set<Worker>();

function create(): Worker {
  return new Worker(new URL(`./pcpu-worker${import.meta.url.slice(-3)}`, import.meta.url));
}

/** Have so many threads wait for machines. They keep nobody up; one that fails is found out by the machine. */
export function preparePcpuThreads(n: number): void {
  while (spare.size < n) {
    const worker = create();
    worker.unref();
    const gone = () => spare.delete(worker);
    worker.once('error', gone);
    worker.once('exit', gone);
    spare.add(worker);
  }
}

/** Have the threads that wait load what build/ has, which is up to date. */
export function loadAhead(): void {
  for (const worker of spare) worker.postMessage('load' satisfies LoadAhead);
}

/** A thread that waits for its PcpuData. */
export function takePcpuThread(): Worker {
  const [worker = create()] = spare;
  spare.delete(worker);
  worker.removeAllListeners();
  worker.ref();
  return worker;
}
