/**
 * The machine's workshop: makes translations for all pCPUs, each of which has a port here, and gives out what there is, to be
 * saved with its machine code.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { memoryView } from '../engine/translator/code-view.ts';
import { costOf, matches } from '../engine/translator/library.ts';
import type { Delivery, Made, Maker, Order } from '../engine/translator/maker.ts';
import { decodeSaved, encodeSaved, mergeSaved, SAVED_LIMIT, type Saved } from '../engine/translator/saved.ts';
import { codeOf, codeTag, moduleOf } from './machine-code.ts';

export interface WorkshopData {
  readonly memory: WebAssembly.Memory;
  readonly ports: readonly MessagePort[];
  /** Of each port: how many deliveries have been posted, so that a pCPU sees without a call whether there is one. */
  readonly posted: Int32Array;
  /** As in MachineOptions. */
  readonly translations?: Uint8Array;
  readonly translationMiB: number;
}

/** Asks for all that is worth saving. */
export interface SaveRequest {
  /** The machine has stopped: for each pCPU the numbers of the saved translations that it has used. */
  readonly used?: readonly (readonly number[])[];
}
/** The answer; undefined: little new since it was last asked for, or nobody said what an earlier machine saved. */
export type SaveReply = Uint8Array<ArrayBuffer> | undefined;

const { memory, ports, posted, translations, translationMiB } = workerData as WorkshopData;
/** What earlier machines saved. */
const saved: readonly Saved[] = translations ? decodeSaved(translations) : [];
/** Of those: what a larger one has replaced. */
const replaced = new Set<Saved>();
/** What was made since, and from which frame; its bytes in all. */
let made: { readonly t: Saved; readonly mfn: number }[] = [];
let bytes = 0;
/** Bytes of those that have not been given out, and of all that was given out last. */
let news = 0;
let given = translations?.length ?? 0;
/** While the machine runs it is all given out again when there is as much news as the so-maniest part of it. */
const NEWS_PART = 16;
/** How long modules are held that no pCPU has asked for. */
const HELD_MS = 30_000;

function deliver(i: number, d: Delivery): void {
  ports[i].postMessage(d);
  Atomics.add(posted, i, 1);
}

/**
 * The machine code of what the last run used is taken back ahead of the pCPUs: V8 has modules of the same bytes in common,
 * while one is held, and who asks later gets it at once. In the order in which they were made, which is that of a boot.
 */
function takeBack(): WebAssembly.Module[] {
  const held: WebAssembly.Module[] = [];
  let left = (translationMiB / 2) * 2 ** 20;
  for (const t of saved.filter((x) => x.age === 0)) {
    left -= costOf(t);
    if (left < 0) break;
    const m = moduleOf(t.wasm, t.code);
    if (m) held.push(m);
  }
  return held;
}

function make(maker: Maker, o: Order): Delivery {
  const start = performance.now();
  const view = memoryView(memory, o.pages, o.slots);
  const t = maker.make(view, o.hot, o.whole);
  const module = t && new WebAssembly.Module(t.wasm as Uint8Array<ArrayBuffer>);
  const code = module && translations && codeOf(module);
  // What has no code, as a debugger is attached, a later run makes anew.
  if (t && translations && (code || !codeTag().length)) keep(o, t, code ?? new Uint8Array(), view.page(0)!);
  return { id: o.id, made: t && { ...t, module: module! }, ms: performance.now() - start };
}

function keep(o: Order, t: Made, code: Uint8Array, page: Uint8Array): void {
  if (o.instead) {
    const within = (x: Saved) => x.hot.every((h) => o.hot.includes(h));
    made = made.filter((m) => m.mfn !== o.mfn || !within(m.t));
    for (const x of saved) if (within(x) && matches(page, x)) replaced.add(x);
  }
  made.push({ t: { ...t, code, age: 0 }, mfn: o.mfn });
  bytes += t.wasm.length + code.length;
  news += t.wasm.length + code.length;
  if (bytes <= SAVED_LIMIT) return;
  // More than can be saved: what was made first goes.
  made.splice(0, made.length >> 1);
  bytes = made.reduce((n, m) => n + m.t.wasm.length + m.t.code.length, 0);
}

const held = takeBack();
setTimeout(() => held.splice(0), HELD_MS).unref();
// What describes instructions is not needed before.
const [{ Maker: TranslationMaker }, { allEncodings }] = await Promise.all([
  import('../engine/translator/maker.ts'),
  import('../engine/semantics/index.ts'),
]);
const maker = new TranslationMaker(allEncodings());
for (const [i, port] of ports.entries()) port.on('message', (o: Order) => deliver(i, make(maker, o)));

parentPort!.on('message', ({ used }: SaveRequest) => {
  let reply: SaveReply;
  if (translations && (used || (news > 0 && news * NEWS_PART >= given))) {
    const seen = used && new Set(used.flat());
    const old = saved.map((t, n) => (seen ? { ...t, age: seen.has(n) ? 0 : t.age + 1 } : t));
    reply = encodeSaved(mergeSaved([old.filter((_, n) => !replaced.has(saved[n])), made.map((m) => m.t)], SAVED_LIMIT));
    news = 0;
    given = reply.length;
  }
  parentPort!.postMessage(reply, reply ? [reply.buffer] : []);
});
