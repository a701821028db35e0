/** A physical CPU: a worker that runs the hypervisor's pcpu_main until the machine stops. */
import { parentPort } from 'node:worker_threads';
import type { EngineParts } from '../engine/engine.ts';
import type { Maker } from '../engine/translator/maker.ts';
import { loadEngineParts } from './parts.ts';
import { createPcpu, type PcpuOptions } from './pcpu.ts';

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
export interface PcpuData extends Omit<PcpuOptions, 'log' | 'maker'> {
  /** As in MachineOptions; else those of build/. */
  readonly parts?: EngineParts;
  /** Counts the lines of the hypervisor's log that the machine's thread has taken, in deterministic mode only. */
  readonly logged?: Int32Array;
}

/** A machine is going to be made with what is in build/. */
export type LoadAhead = 'load';

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
  const t = createPcpu({ ...o, maker, log: (text) => log(text, o.logged) }, o.parts ?? ahead ?? loadEngineParts());
  t.hypervisor.cpu_init(o.slot, 0);
  send({ k: 'ready' });
  t.hypervisor.pcpu_main();
  const { cache, translator } = t.engine;
  send({ k: 'stopped', stats: { ...cache.stats, ...translator?.counts() }, used: translator?.used() ?? [] });
}

/** What was loaded before there was a machine. */
let ahead: EngineParts | undefined;

const take = async (m: PcpuData | LoadAhead) => {
  try {
    if (m === 'load') ahead ??= loadEngineParts();
    else {
      port.off('message', take);
      await run(m);
    }
  } catch (e) {
    send({ k: 'failed', message: (e as Error).stack ?? String(e) });
  }
};
port.on('message', take);
