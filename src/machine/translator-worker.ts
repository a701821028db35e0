/**
 * The machine's workshop: makes translations for all pCPUs, each of which has a port here, compiles what was saved before they
 * ask for it, and gives out what there is, to be saved.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { allEncodings } from '../engine/semantics/index.ts';
import { memoryView } from '../engine/translator/code-view.ts';
import { type Delivery, type Made, Maker, type Order } from '../engine/translator/maker.ts';
import { decodeSaved, encodeSaved, mergeSaved } from '../engine/translator/saved.ts';
import { compileAhead, compileOptimized } from './v8-flags.ts';

export interface WorkshopData {
  readonly memory: WebAssembly.Memory;
  readonly ports: readonly MessagePort[];
  /** Of each port: how many deliveries have been posted, so that a pCPU sees without a call whether there is one. */
  readonly posted: Int32Array;
  /** As in MachineOptions. */
  readonly translations?: Uint8Array;
}

/** Asks for all that is worth saving, in at most so many bytes. */
export interface SaveRequest {
  readonly limit: number;
}
/** The answer; undefined: nothing new since it was last asked for. */
export type SaveReply = Uint8Array<ArrayBuffer> | undefined;

/** Saved translations compiled between two looks at what has been ordered. */
const BATCH = 16;

const { memory, ports, posted, translations } = workerData as WorkshopData;
const maker = new Maker(allEncodings());
/** What is worth saving, if anybody is going to ask: encoded as it was last asked for, and made since. */
let kept = translations;
let made: { readonly t: Made; readonly mfn: number }[] = [];

function deliver(i: number, d: Delivery): void {
  ports[i].postMessage(d);
  Atomics.add(posted, i, 1);
}

function make(o: Order): Delivery {
  const start = performance.now();
  const t = maker.make(memoryView(memory, o.pages), o.hot);
  if (t && kept) {
    if (o.instead) made = made.filter((m) => m.mfn !== o.mfn || !m.t.hot.every((h) => o.hot.includes(h)));
    made.push({ t, mfn: o.mfn });
  }
  const module = t && compileOptimized(t.wasm);
  return { id: o.id, made: t && { ...t, module: module! }, ms: performance.now() - start };
}

for (const [i, port] of ports.entries()) port.on('message', (o: Order) => deliver(i, make(o)));

/** Nothing of a file is believed: what is no module stays for the pCPU to find out. */
function compile(wasm: Uint8Array<ArrayBuffer>): WebAssembly.Module | undefined {
  try {
    return compileAhead(wasm);
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return undefined;
    throw error;
  }
}

const saved = translations ? decodeSaved(translations) : [];
function compileSaved(from: number): void {
  for (let n = from; n < Math.min(from + BATCH, saved.length); n++) {
    const module = compile(saved[n].wasm);
    if (module) for (const i of ports.keys()) deliver(i, { id: -1 - n, saved: module, ms: 0 });
  }
  if (from + BATCH < saved.length) setImmediate(compileSaved, from + BATCH);
}
compileSaved(0);

parentPort!.on('message', ({ limit }: SaveRequest) => {
  let reply: SaveReply;
  if (kept && made.length > 0) {
    const fresh = encodeSaved(made.map(({ t }) => ({ ...t, age: 0 })));
    made = [];
    reply = mergeSaved([kept, fresh], limit);
    kept = reply;
  }
  parentPort!.postMessage(reply);
});
