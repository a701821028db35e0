/** A physical CPU: a worker that runs the hypervisor's pcpu_main until the machine stops. */
import { parentPort } from 'node:worker_threads';
import type { Maker } from '../engine/translator/maker.ts';
import { createThread, type ThreadOptions } from './hypervisor-thread.ts';

export type FromPcpu =
  | { readonly k: 'ready' }
  | { readonly k: 'log'; readonly text: string }
  | {
      readonly k: 'stopped';
      readonly stats: Record<string, number>;
      /** Of the saved translations, by number: those that this pCPU used. */
      readonly used: readonly number[];
    }
  | { readonly k: 'failed'; readonly message: string };

/** What a pCPU's thread is given. */
export interface PcpuData extends Omit<ThreadOptions, 'log' | 'maker'> {
  /** Counts the lines of the hypervisor's log that the machine's thread has taken, in deterministic mode only. */
  readonly logged?: Int32Array;
}

/** How long the machine's thread gets to take a line: it may itself be waiting for this pCPU. */
const LOG_LIMIT_MS = 1000;

const port = parentPort!;
const send = (m: FromPcpu) => port.postMessage(m);
let lines = 0;

/** In deterministic mode the guest stands still until the line was taken, as it does for its console's ring: the order stays. */
function log(text: string, logged: Int32Array | undefined): void {
  send({ k: 'log', text });
  lines++;
  if (!logged) return;
  const deadline = performance.now() + LOG_LIMIT_MS;
  for (let seen = Atomics.load(logged, 0); seen !== lines; seen = Atomics.load(logged, 0)) {
    if (Atomics.wait(logged, 0, seen, deadline - performance.now()) === 'timed-out') return;
  }
}

/** Who translates on this thread, where no other does. Its modules take a while to load. */
async function ownMaker(): Promise<Maker> {
  const [{ Maker }, { allEncodings }] = await Promise.all([
    import('../engine/translator/maker.ts'),
    import('../engine/semantics/index.ts'),
  ]);
  return new Maker(allEncodings());
}

async function run(o: PcpuData): Promise<void> {
  const maker = o.workshop || o.translationMiB === 0 ? undefined : await ownMaker();
  const t = createThread({ ...o, maker, log: (text) => log(text, o.logged) });
  t.hypervisor.cpu_init(o.slot, 0);
  send({ k: 'ready' });
  t.hypervisor.pcpu_main();
  const { cache, translator } = t.engine;
  send({ k: 'stopped', stats: { ...cache.stats, ...translator?.counts() }, used: translator?.used() ?? [] });
}

port.once('message', async (o: PcpuData) => {
  try {
    await run(o);
  } catch (e) {
    send({ k: 'failed', message: (e as Error).stack ?? String(e) });
  }
});
