/** A physical CPU: a worker that runs the hypervisor's pcpu_main until the machine stops. */
import { parentPort, workerData } from 'node:worker_threads';
import { createThread, type ThreadOptions } from './hypervisor-thread.ts';

export type FromPcpu =
  | { readonly k: 'ready' }
  | { readonly k: 'log'; readonly text: string }
  | {
      readonly k: 'stopped';
      readonly stats: Record<string, number>;
      readonly translations: Uint8Array | undefined;
    }
  | { readonly k: 'failed'; readonly message: string };

const port = parentPort!;
const send = (m: FromPcpu) => port.postMessage(m);

try {
  const o = workerData as Omit<ThreadOptions, 'log'>;
  const t = createThread({ ...o, log: (text) => send({ k: 'log', text }) });
  t.hypervisor.cpu_init(o.slot, 0);
  send({ k: 'ready' });
  t.hypervisor.pcpu_main();
  const { cache, translator } = t.engine;
  const translations = o.saveTranslations ? translator?.save() : undefined;
  send({ k: 'stopped', stats: { ...cache.stats, ...translator?.counts() }, translations });
} catch (e) {
  send({ k: 'failed', message: (e as Error).stack ?? String(e) });
}
