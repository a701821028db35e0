/**
 * The translator of one pCPU: sees now and then what runs (`sample`), makes hot code into wasm, and puts it in the place of
 * the interpreter's handlers.
 */
import type { CodeCache, CodePage } from '../decode/code-cache.ts';
import { CpuState, GAP_PERIOD, PREEMPTED_INSIDE, PREEMPTED_PASSING, SLICE } from '../state.ts';
import { type Code, cellName, costOf, mostOf } from './code.ts';
import { type CodeView, memoryView, type PageList } from './code-view.ts';
import { Heat, Jitter, Recent } from './heat.ts';
import {
  type CodeInstance,
  Library,
  type LoadedCode,
  matches,
  overlaps,
  type Translation,
  UNBOUND,
} from './library.ts';
import type { Made, Maker, Order, Workshop } from './maker.ts';
import { Regions } from './regions.ts';
import { decodeSaved, encodeSaved } from './saved.ts';

const { off } = CpuState;
/** Samples at one place, or times that it was found to be a gap, that make it hot. */
const HOT = 16;
/** Where counting begins again at a place whose code is not for the translator. */
const REFUSED = -1000;
/** A place that got hot within HOT times so many samples is translated together with what it calls. */
const OFTEN = 32;
/** What was seen in so many samples before runs now. */
const RECENT = 512;
/** After so many samples without an order for something new there are so many times fewer of them: they cost a thirtieth of a shell's time. */
const STEADY = 512;
const FEWER = 4;
/** Most hot places of one translation. */
const MAX_HOT = 12;
/** Table slots added at once. */
const GROW = 4096;
/** What is left of the memory for translations when some had to go. */
const KEPT = 0.75;

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly cache: CodeCache;
  /** The interpreter's function table, its go, jump and interpret, and the runtime's exports. */
  readonly table: WebAssembly.Table;
  readonly engine: WebAssembly.ModuleImports;
  readonly runtime: WebAssembly.ModuleImports;
  /** Most memory for translations, in MiB. */
  readonly limitMiB: number;
  /** A saved module from its machine code; undefined if it is none for this host. */
  readonly compiled?: (wasm: Uint8Array, code: Uint8Array) => WebAssembly.Module | undefined;
  /** Who makes what `sample` finds hot: others, or, without them, `maker` on this thread at once. */
  readonly workshop?: Workshop;
  readonly maker?: Pick<Maker, 'make'>;
}

/** Of a translation that has not been put anywhere. */
const UNUSED: Pick<Translation, 'slot' | 'tables' | 'places'> = { slot: undefined, tables: [], places: 0 };

const NO_CODE = new Uint8Array();

const loaded = (c: Code, module?: WebAssembly.Module): LoadedCode => ({
  ...c,
  module,
  instance: undefined,
  members: new Set(),
});
const cell = () => new WebAssembly.Global({ value: 'i32', mutable: true }, UNBOUND);
const PAGE = 4096;

/** Translations on order, at most: of what has none, and as many that make one of several, which may have to wait for those. */
const MAX_ORDERS = 16;
/** With fewer than so many new ones on order, the guest is looked at so many times as often while it is interpreted, and where it goes from translations to what has none. */
const FEW_ORDERS = 6;
const MORE = 4;

/** A place in decoded code. */
interface Place {
  readonly page: CodePage;
  readonly offset: number;
}

/** A translation that is being made. */
interface Pending {
  readonly page: CodePage;
  readonly instead: boolean;
  /** The place that it was asked for. */
  readonly hot: number;
}

export class Translator {
  private readonly o: TranslatorOptions;
  private readonly view: DataView;
  private readonly library = new Library();
  private readonly regions: Regions;
  private readonly dropped = new WebAssembly.Global({ value: 'i32', mutable: true }, 0);
  private readonly imports: WebAssembly.Imports;
  /** Modules that are compiled, and what they cost in bytes. */
  private readonly compiled = new Set<LoadedCode>();
  private cost = 0;
  private readonly limit: number;
  /** Those that have an instance, by its slot. */
  private readonly instances = new Map<number, Translation>();
  private readonly freeSlots: number[] = [];
  private readonly recent: Recent;
  private readonly jitter = new Jitter();
  private readonly heat = new WeakMap<CodePage, Heat>();
  private readonly orders = new Map<number, Pending>();
  private lastOrder = 0;
  /** How many times a slice the guest runs until the next sample. */
  private weight = 1;
  /** When something new was last asked for, by the count of samples. */
  private ordered = 0;
  /** What `restore` brought. */
  private restored: readonly Translation[] = [];
  private nextSlot: number;
  /** Handlers from here on are translations. */
  private readonly slots: number;
  readonly stats = { samples: 0, translated: 0, failed: 0, instructions: 0, wasmBytes: 0, ms: 0, evictions: 0 };

  constructor(o: TranslatorOptions) {
    this.o = o;
    this.view = new DataView(o.memory.buffer);
    this.recent = new Recent(o.memory);
    if (!o.workshop && !o.maker) throw new Error('translator: neither a workshop nor a maker');
    const unlink = o.runtime.jumps_reset as () => void;
    this.regions = new Regions(o.memory, this.library, this.dropped, (t) => this.load(t), unlink);
    this.imports = {
      engine: o.engine,
      runtime: o.runtime,
      translator: { bind: (cpu: number, id: number, n: number) => this.bind(cpu >>> 0, this.instances.get(id)!, n) },
    };
    this.nextSlot = o.table.length;
    this.slots = this.nextSlot;
    this.limit = o.limitMiB * 2 ** 20;
    o.cache.translations = this.regions;
  }

  /** What it has done, to be shown. */
  counts(): Record<string, number> {
    const { samples, translated, instructions, wasmBytes, ms, evictions } = this.stats;
    const { installed, dropped } = this.regions.stats;
    return {
      'translator: samples': samples,
      'translations made': translated,
      'guest instructions in them': instructions,
      'bytes of wasm': wasmBytes,
      // Milliseconds.
      'time translating': Math.round(ms),
      'translations put in place': installed,
      'translations dropped': dropped,
      'translation memory full': evictions,
    };
  }

  /** Translations put in place and dropped again. */
  get regionStats(): Regions['stats'] {
    return this.regions.stats;
  }

  /** Guest code has run for a while and is now at CpuState.rip, where a branch led (decoder import `sample`). */
  sample(cpu: number): void {
    this.stats.samples++;
    this.recent.add(cpu);
    const { weight } = this;
    this.slice(cpu, this.stats.samples - this.ordered > STEADY ? FEWER : 1);
    if (this.o.workshop) this.collect(this.o.workshop);
    this.makeRoom();
    const at = this.place(cpu);
    const preempted = this.view.getInt32(cpu + off.preempted, true);
    this.view.setInt32(cpu + off.preempted, 0, true);
    if (!at) return;
    const t = this.regions.enteredAt(at.page, at.offset);
    if (!t) {
      // Guest code is left in passing by slices alone: it need not be entered there.
      if (preempted === PREEMPTED_PASSING || !this.seen(cpu, at.page, at.offset)) return;
      if (preempted !== PREEMPTED_INSIDE && this.idle()) this.slice(cpu, 1 / MORE);
      return;
    }
    t.used = this.stats.samples;
    if (this.stayed(preempted, at)) return;
    const heat = this.heatOf(at.page);
    if (!heat.transition(this.stats.samples, weight, t.restored)) return;
    const ordered = this.merge(cpu, at.page, heat);
    if (ordered !== undefined) heat.merged(ordered);
  }

  /** The next sample is to come after so many times a slice. */
  private slice(cpu: number, weight: number): void {
    this.weight = weight;
    this.view.setInt32(cpu + off.slice, this.jitter.around(SLICE * weight), true);
  }

  /** Would the translation that was left there have gone on in itself? */
  private stayed(preempted: number, at: Place): boolean {
    if (preempted === PREEMPTED_INSIDE || preempted === PREEMPTED_PASSING) return true;
    const t = this.instances.get(preempted);
    // A computed jump goes to an entry.
    return !!t?.entries.includes(at.offset) && this.regions.stands(at.page, t);
  }

  /**
   * Guest code goes on at CpuState.rip, from the hypervisor or from translated code where none stands (decoder import `gap`).
   * Samples do not see that: they are taken where branches lead, and this may be where a region was cut off, or the
   * kernel's entry.
   */
  gap(cpu: number): void {
    if (this.idle()) this.view.setInt32(cpu + off.gap, GAP_PERIOD / MORE, true);
    const at = this.place(cpu);
    if (at && !this.regions.enteredAt(at.page, at.offset)) this.seen(cpu, at.page, at.offset);
  }

  /** Where the guest is, if code that can be translated has been executed there. */
  private place(cpu: number): Place | undefined {
    const at = this.o.cache.executed(cpu);
    return at?.page.mode === 0 ? at : undefined;
  }

  private heatOf(page: CodePage): Heat {
    let heat = this.heat.get(page);
    if (!heat) {
      heat = new Heat();
      this.heat.set(page, heat);
    }
    return heat;
  }

  /** The guest was found once more where no translation stands. False: there will be none soon, as it is not for the translator. */
  private seen(cpu: number, page: CodePage, offset: number): boolean {
    const { places } = this.heatOf(page);
    const { samples } = this.stats;
    const place = places.get(offset) ?? { n: 0, since: samples };
    places.set(offset, place);
    if (++place.n < HOT) return place.n > 0;
    const often = samples - place.since < HOT * OFTEN;
    if (this.standSaved(page, offset) || this.order(cpu, page, [offset], false, often)) places.delete(offset);
    return true;
  }

  /** There may be one by now, of code that has been patched since it was decoded. */
  private standSaved(page: CodePage, offset: number): boolean {
    const t = this.library.find(this.regions.bytes(page), offset);
    if (!t?.hot.includes(offset)) return false;
    this.regions.install(page, t);
    return this.regions.enteredAt(page, offset) !== undefined;
  }

  /** Code of a page goes from translation to translation: make them one. True: that is ordered; false: there is nothing to make; undefined: not now. */
  private merge(cpu: number, page: CodePage, heat: Heat): boolean | undefined {
    if (this.waiting(true) >= MAX_ORDERS || this.waiting(true, page) > 0) return undefined;
    const { samples } = this.stats;
    const seen = this.regions.translations(page).filter((t) => samples - t.used < RECENT);
    const parts: Translation[] = [];
    let places = 0;
    // The page may have more than belongs together: what ran last does.
    for (const t of seen.sort((a, b) => b.used - a.used)) {
      const n = t.hot.length + t.beside.length;
      if (places + n > MAX_HOT) continue;
      places += n;
      parts.push(t);
    }
    const more = parts.some((t) => t.computed) ? this.beside(cpu, parts).slice(0, Math.max(0, MAX_HOT - places)) : [];
    const grown = this.grown(cpu, parts);
    if (parts.length < 2 && !grown.length && !more.length) return false;
    const hot = parts.toSorted((a, b) => b.hot.length - a.hot.length).flatMap((t) => t.hot);
    const all = [...new Set([...hot, ...parts.flatMap((t) => t.beside), ...more])];
    // What did not go in then does not now.
    if (heat.asked(all, grown)) return false;
    if (!this.order(cpu, page, all, true)) return undefined;
    heat.ask(all, grown);
    return true;
  }

  /** What was left out of these translations, has got hot, and lately ran. */
  private grown(cpu: number, parts: readonly Translation[]): number[] {
    const left = new Set(parts.flatMap((t) => t.left));
    if (!left.size) return [];
    const code = this.codeAt(cpu);
    return [...left].filter((o) => code.warm(o) && code.translated(o));
  }

  /**
   * Hot places of the pages before and behind, as offsets, that these translations were not made for and whose code is not among
   * theirs: their computed jumps may lead there, as those of a loop with a table of labels do, which lies where it happens to.
   */
  private beside(cpu: number, parts: readonly Translation[]): number[] {
    const { cache } = this.o;
    return [-1, 1].flatMap((delta) => {
      const page = cache.executingPage(cpu, delta, 'rip');
      const recent = page ? this.regions.translations(page).filter((t) => this.stats.samples - t.used < RECENT) : [];
      const known = parts.flatMap((t) => t.others.filter((p) => p.delta === delta).flatMap((p) => p.ranges));
      const places = recent.flatMap((t) => t.hot).filter((o) => !overlaps(known, o, 1));
      return places.map((o) => o + delta * PAGE).filter((o) => !parts.some((t) => t.beside.includes(o)));
    });
  }

  /** Translate the code at CpuState.rip, however often it has run; false if it is not for the translator. */
  translateNow(cpu: number): boolean {
    if (!this.o.cache.translate(cpu)) return false;
    const at = this.place(cpu);
    if (!at) return false;
    const { page, offset } = at;
    if (this.regions.enteredAt(page, offset)) return true;
    const pages = this.reachable(cpu);
    return this.make(page, memoryView(this.o.memory, pages, this.slots, [], true), [offset], false, true);
  }

  /** On this thread, at once; false if there is nothing for the translator. */
  private make(page: CodePage, view: CodeView, hot: readonly number[], instead: boolean, whole: boolean): boolean {
    const start = performance.now();
    const made = this.o.maker?.make(view, hot, whole);
    if (made) this.put(page, made, instead, undefined);
    else this.refuse(page, hot[0]);
    this.stats.ms += performance.now() - start;
    return made !== undefined;
  }

  /** Code as it is seen from where the guest is. */
  private codeAt(cpu: number): CodeView {
    return memoryView(this.o.memory, this.reachable(cpu), this.slots, this.recent.near(cpu));
  }

  private reachable(cpu: number): PageList {
    return this.o.cache.reachable(cpu, this.view.getBigUint64(cpu + off.rip, true));
  }

  /**
   * Have the code at page offsets translated, to be put there beside or `instead` of what stands in the page, `whole` or up to
   * what has translations. False: not now, as it is being made already, or too much is.
   */
  private order(cpu: number, page: CodePage, hot: readonly number[], instead: boolean, whole = instead): boolean {
    const { workshop } = this.o;
    if (!instead) this.ordered = this.stats.samples;
    if (!workshop) {
      this.make(page, this.codeAt(cpu), hot, instead, whole);
      return true;
    }
    if (this.waiting(instead) >= MAX_ORDERS) return false;
    for (const o of this.orders.values())
      if (o.page === page && o.instead === instead && o.hot === hot[0]) return false;
    const pages = this.reachable(cpu);
    const order: Order = {
      id: ++this.lastOrder,
      pages,
      hot,
      warm: this.recent.near(cpu),
      mfn: page.mfn,
      instead,
      whole,
      slots: this.slots,
    };
    this.orders.set(order.id, { page, instead, hot: hot[0] });
    workshop.order(order);
    return true;
  }

  /** How many are on order that make one of several, or of the others; of one page, or all. */
  private waiting(instead: boolean, page?: CodePage): number {
    let n = 0;
    for (const o of this.orders.values()) if (o.instead === instead && (page ?? o.page) === o.page) n++;
    return n;
  }

  /** Could the thread that makes translations make more than it is asked for? */
  private idle(): boolean {
    return this.o.workshop !== undefined && this.waiting(false) < FEW_ORDERS;
  }

  /** There is nothing for the translator at this place. */
  private refuse(page: CodePage, offset: number): void {
    this.stats.failed++;
    this.heatOf(page).places.set(offset, { n: REFUSED, since: 0 });
  }

  /** Put in place what the workshop has made, unless its code has changed since. */
  private collect(workshop: Workshop): void {
    for (let d = workshop.collect(); d; d = workshop.collect()) {
      const order = this.orders.get(d.id);
      this.orders.delete(d.id);
      this.stats.ms += d.ms;
      if (!order || d.covered) continue;
      if (!d.made) this.refuse(order.page, order.hot);
      else if (this.o.cache.isCurrent(order.page) && matches(this.regions.bytes(order.page), d.made))
        this.put(order.page, d.made, order.instead, d.made.module);
    }
  }

  /** When something that has not been seen to run was last seen: not of late. */
  private unseen(): number {
    return this.stats.samples - RECENT;
  }

  private put(page: CodePage, made: Made, instead: boolean, module: WebAssembly.Module | undefined): void {
    const { hot, left, computed, beside, entries, ranges, bytes, others, wasm } = made;
    const from = loaded({ wasm, code: NO_CODE, functions: 1 }, module);
    const used = this.unseen();
    const t: Translation = {
      hot,
      left,
      computed,
      beside,
      entries,
      ranges,
      bytes,
      others,
      from,
      index: 0,
      ...UNUSED,
      age: 0,
      used,
      restored: false,
    };
    // Before it is among those that may have to go.
    this.makeRoom();
    this.add(t);
    this.account(from);
    if (instead) {
      const old = this.regions.replace(page, t);
      this.drop(new Set(old.filter((x) => x.places === 0)));
    } else this.regions.install(page, t);
    this.stats.translated++;
    this.stats.instructions += made.instructions;
  }

  /** Instantiate a translation; undefined if it is not one that this engine makes (it may come from a file). */
  private load(t: Translation): number | undefined {
    const instance = this.instance(t.from);
    const f = instance?.exports[t.index];
    if (typeof f !== 'function') return undefined;
    const { cells } = instance!;
    t.tables = t.others.map((_, i) => cells.get(cellName(`table${i}`, t.index)) ?? cell());
    t.used = this.unseen();
    const slot = this.slot(f as () => void);
    const id = cells.get(cellName('id', t.index));
    if (id) id.value = slot;
    this.instances.set(slot, t);
    return slot;
  }

  private instance(c: LoadedCode): CodeInstance | undefined {
    if (c.instance) return c.instance;
    try {
      const module = this.module(c);
      if (!module) return undefined;
      const cells = new Map<string, WebAssembly.Global<'i32'>>();
      const shared: WebAssembly.ModuleImports = { memory: this.o.memory, dropped: this.dropped };
      const own = (name: string) => {
        const g = cell();
        cells.set(name, g);
        return g;
      };
      const env = new Proxy(shared, { get: (known, name: string) => known[name] ?? own(name) });
      const { exports } = new WebAssembly.Instance(module, { ...this.imports, env });
      c.instance = { exports, cells };
    } catch (error) {
      if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) return undefined;
      throw error;
    }
    this.account(c);
    this.stats.wasmBytes += c.wasm.length;
    return c.instance;
  }

  /** Compiled. Many at once take too long while a guest waits, and must not have all of the memory. */
  private module(c: LoadedCode): WebAssembly.Module | undefined {
    const many = c.functions > 1;
    if (many && costOf(c) > mostOf(this.o.limitMiB)) return undefined;
    c.module ??= this.o.compiled?.(c.wasm, c.code);
    if (!many) c.module ??= new WebAssembly.Module(c.wasm.slice());
    return c.module;
  }

  /** A region wants to go on in its page n (import `bind`). */
  private bind(cpu: number, t: Translation, n: number): void {
    const first = this.o.cache.executingPage(cpu, t.others[n].delta);
    if (first) this.regions.bind(t, n, first);
  }

  private slot(f: () => void): number {
    const { table } = this.o;
    const free = this.freeSlots.pop();
    if (free !== undefined) {
      table.set(free, f);
      return free;
    }
    if (this.nextSlot === table.length) table.grow(GROW);
    table.set(this.nextSlot, f);
    return this.nextSlot++;
  }

  private add(t: Translation): void {
    this.library.add(t);
    t.from.members.add(t);
  }

  /** It is compiled. */
  private account(c: LoadedCode): void {
    if (this.compiled.has(c)) return;
    this.compiled.add(c);
    this.cost += costOf(c);
  }

  private forget(c: LoadedCode): void {
    if (this.compiled.delete(c)) this.cost -= costOf(c);
    c.module = undefined;
    c.instance = undefined;
  }

  /** If the memory is full, those go that have not been seen to run for longest. Guest code is not running. */
  private makeRoom(): void {
    if (this.cost <= this.limit) return;
    this.stats.evictions++;
    const gone = new Set<Translation>();
    let left = this.cost;
    const used = new Map([...this.compiled].map((c) => [c, Math.max(...[...c.members].map((t) => t.used))]));
    for (const c of [...this.compiled].sort((a, b) => used.get(a)! - used.get(b)!)) {
      if (left <= this.limit * KEPT) break;
      if (!c.members.size) this.forget(c);
      for (const t of c.members) gone.add(t);
      left -= costOf(c);
    }
    this.drop(gone);
  }

  /** Forget these. Guest code is not running. */
  private drop(these: ReadonlySet<Translation>): void {
    if (these.size === 0) return;
    this.regions.removeAll(these);
    for (const t of these) {
      this.library.remove(t);
      t.from.members.delete(t);
      // The others of its module need it.
      if (!t.from.members.size) this.forget(t.from);
      if (t.slot === undefined) continue;
      this.instances.delete(t.slot);
      this.o.table.set(t.slot, null);
      this.freeSlots.push(t.slot);
      t.slot = undefined;
    }
  }

  /** Take over what an earlier run has saved. */
  restore(saved: Uint8Array): void {
    const codes = new Map<Code, LoadedCode>();
    const all = decodeSaved(saved).map((t): Translation => {
      const from = codes.get(t.from) ?? loaded(t.from);
      codes.set(t.from, from);
      return { ...t, from, ...UNUSED, age: t.age + 1, used: 0, restored: true };
    });
    this.restored = all;
    // What was used lately is to be found first.
    for (const t of all.toSorted((a, b) => b.age - a.age)) this.add(t);
  }

  /** Which of those that `restore` brought have been put in place and not been replaced: by their numbers. */
  used(): number[] {
    const known = new Set(this.library.all());
    return [...this.restored.keys()].filter((n) => this.restored[n].age === 0 && known.has(this.restored[n]));
  }

  /** What a later run may `restore`. */
  save(): Uint8Array<ArrayBuffer> {
    return encodeSaved([...this.library.all()]);
  }
}
