/**
 * The machine's workshop: makes translations for all pCPUs, each of which has a port here, and gives out what there is, to be
 * saved with its machine code.
 */
import { availableParallelism } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { type Code, costOf, mostOf } from '../engine/translator/code.ts';
import { memoryView } from '../engine/translator/code-view.ts';
import { matches } from '../engine/translator/library.ts';
import type { Delivery, Made, Maker, Order } from '../engine/translator/maker.ts';
import { byModule, decodeSaved, encodeSaved, mergeSaved, SAVED_LIMIT, type Saved } from '../engine/translator/saved.ts';
import { codeOf, codeTag, moduleOf } from './machine-code.ts';
import { OrderQueue } from './order-queue.ts';

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
/** Translations that one module is made of when they have lasted, after so long without an order; and again if it has fewer than so many parts left. */
const PACK = 64;
const QUIET_MS = 500;
const DENSE = 0.5;
/** That keeps two processors busy for half a second. Where guests want them, more than this part of one, it waits until they do not, so many times at most. */
const PROCESSORS = 2;
const BUSY = 0.3;
const MAX_WAITS = 20;
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
  for (const c of byModule(saved.filter((x) => x.age === 0)).keys()) {
    left -= costOf(c);
    if (left < 0) break;
    const m = moduleOf(c.wasm, c.code);
    if (m) held.push(m);
  }
  return held;
}

function make(maker: Maker, o: Order): Delivery {
  const start = performance.now();
  const view = memoryView(memory, o.pages, o.slots, o.warm);
  // The page's code was dropped while this waited.
  if (o.instead && !o.hot.some((at) => view.seen(at))) return { id: o.id, covered: true, ms: 0 };
  const t = maker.make(view, o.hot, o.whole);
  const module = t && new WebAssembly.Module(t.wasm as Uint8Array<ArrayBuffer>);
  const code = module && translations && codeOf(module);
  // What has no code, as a debugger is attached, a later run makes anew.
  if (t && translations && (code || !codeTag().length)) keep(o, t, code ?? new Uint8Array(), view.page(0)!);
  return { id: o.id, made: t && { ...t, module: module! }, ms: performance.now() - start };
}

function keep(o: Order, t: Made, code: Uint8Array, page: Uint8Array): void {
  if (o.instead) {
    const within = (x: Saved) => x.hot.every((h) => t.hot.includes(h));
    made = made.filter((m) => m.mfn !== o.mfn || !within(m.t));
    for (const x of saved) if (within(x) && matches(page, x)) replaced.add(x);
  }
  const { wasm, instructions: _, ...rest } = t;
  const from: Code = { wasm, code, functions: 1 };
  made.push({ t: { ...rest, from, index: 0, age: 0 }, mfn: o.mfn });
  bytes += sizeOf(from);
  news += sizeOf(from);
  if (bytes <= SAVED_LIMIT) return;
  // More than can be saved: what was made first goes.
  made.splice(0, made.length >> 1);
  bytes = sizeOfMade();
}

const sizeOfMade = (): number => [...byModule(made.map((m) => m.t)).keys()].reduce((n, c) => n + sizeOf(c), 0);

const sizeOf = (c: Code): number => c.wasm.length + c.code.length;

/** Modules among which is one that is not this engine's: what was saved may hold anything. */
const unfit = new Set<Code>();

/** What is worth having in a pack: what is used, and not for most of it in one already. */
function loose(): Saved[] {
  const live = [...saved.filter((t) => t.age === 0 && !replaced.has(t)), ...made.map((m) => m.t)];
  return [...byModule(live)]
    .filter(([c, of]) => (of.length < c.functions * DENSE || c.functions === 1) && !unfit.has(c))
    .flatMap(([, of]) => of);
}

/** Make one pack of what has waited longest; false: there is not enough for one. */
async function packSome(): Promise<boolean> {
  const all = loose();
  if (all.length < PACK) return false;
  let of = all.slice(0, PACK);
  let wasm: Uint8Array<ArrayBuffer>;
  let code: Uint8Array | undefined;
  try {
    wasm = pack(of);
    // One that the pCPUs' memory has no room for is no use.
    for (; costOf({ wasm }) > mostOf(translationMiB); wasm = pack(of)) {
      of = of.slice(0, of.length >> 1);
      if (of.length < 2) return false;
    }
    code = codeOf(await WebAssembly.compile(wasm));
  } catch {
    for (const t of of) unfit.add(t.from);
    return true;
  }
  if (!code) return false;
  const from: Code = { wasm, code, functions: of.length };
  for (const [index, t] of of.entries()) Object.assign(t, { from, index });
  bytes = sizeOfMade();
  news += sizeOf(from);
  return true;
}

/** Has the machine processors that no guest runs on? */
const spare = availableParallelism() >= ports.length + PROCESSORS;
const processorMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Orders that have been seen to. */
let orders = 0;
let watching = false;
/** Pack when nothing has been asked for in a while: looks at one such while after the other, until there is nothing to pack. */
function watch(waits = 0): void {
  if (!translations || !codeTag().length) return;
  watching = true;
  const [start, used, before] = [performance.now(), processorMs(), orders];
  setTimeout(async () => {
    const busy = processorMs() - used > (performance.now() - start) * BUSY;
    if (orders !== before) watch();
    else if (!spare && busy && waits < MAX_WAITS) watch(waits + 1);
    else if ((await packSome()) || orders !== before) watch();
    else watching = false;
  }, QUIET_MS).unref();
}

const held = takeBack();
setTimeout(() => held.splice(0), HELD_MS).unref();
// What describes instructions is not needed before, nor what packs.
const [{ Maker: TranslationMaker }, { allEncodings }, { pack }] = await Promise.all([
  import('../engine/translator/maker.ts'),
  import('../engine/semantics/index.ts'),
  import('../engine/translator/pack.ts'),
]);
const maker = new TranslationMaker(allEncodings());
const queue = new OrderQueue();
/** It is looked at again as soon as messages have been read, or in a while. */
let soon = false;
let later: NodeJS.Timeout | undefined;

function look(): void {
  clearTimeout(later);
  if (!soon) setImmediate(work);
  soon = true;
}

function work(): void {
  soon = false;
  const job = queue.next(performance.now());
  if (job === undefined) return;
  if (typeof job === 'number') {
    later = setTimeout(look, job);
    return;
  }
  orders++;
  const d = make(maker, job.order);
  deliver(job.pcpu, d);
  if (d.made)
    for (const { pcpu, order } of queue.covered(job, d.made)) deliver(pcpu, { id: order.id, covered: true, ms: 0 });
  look();
  if (!watching) watch();
}

for (const [pcpu, port] of ports.entries()) {
  port.on('message', (order: Order) => {
    queue.add({ pcpu, order }, performance.now());
    look();
  });
}
watch();

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
