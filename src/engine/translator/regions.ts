/**
 * Where translations stand: the records of a page whose handler is a translation's entry. A record keeps its own handler
 * here and gets it back when the translation goes, so that the interpreter goes on at any instruction.
 */
import type { CodePage, Translations } from '../decode/code-cache.ts';
import { Record32 } from '../state.ts';
import { type Library, MISFIT, matches, overlaps, type Translation, UNBOUND } from './library.ts';

const PAGE = 4096;

/** What stands in one page. */
interface Installed {
  readonly translations: Set<Translation>;
  /** Slot by page offset. */
  readonly entries: Map<number, { readonly slot: number; readonly from: Translation }>;
}

export class Regions implements Translations {
  private readonly i32: Int32Array;
  private readonly u8: Uint8Array;
  private readonly u16: Uint16Array;
  private readonly library: Library;
  private readonly pages = new Map<CodePage, Installed>();
  /** By a frame's page: the translations that have parts in it besides their first, and which (several, if it is mapped in several places). */
  private readonly parts = new Map<CodePage, Map<Translation, Set<number>>>();
  /** Record address → its own handler. */
  private readonly own = new Map<number, number>();
  private readonly dropped: WebAssembly.Global;
  readonly stats = { installed: 0, dropped: 0, bound: 0 };

  /** Instantiates a translation: its slot; undefined if it cannot be. */
  private readonly load: (t: Translation) => number | undefined;
  /** Forgets all jumps from translation to translation: wanted when one has been removed, or another stands in its place. */
  private readonly unlink: () => void;

  constructor(
    memory: WebAssembly.Memory,
    library: Library,
    dropped: WebAssembly.Global,
    load: (t: Translation) => number | undefined,
    unlink: () => void,
  ) {
    this.load = load;
    this.unlink = unlink;
    this.i32 = new Int32Array(memory.buffer);
    this.u8 = new Uint8Array(memory.buffer);
    this.u16 = new Uint16Array(memory.buffer);
    this.library = library;
    this.dropped = dropped;
  }

  /** The page's bytes as they are now. */
  bytes(page: CodePage): Uint8Array {
    return page.content ?? this.u8.subarray(page.mfn * PAGE, page.mfn * PAGE + PAGE);
  }

  /** Make t's entries those of the page's records, where there is none yet. */
  install(page: CodePage, t: Translation): void {
    const here = this.admit(page, t);
    if (!here) return;
    for (const [i, offset] of t.entries.entries()) {
      // The first entry was asked for: it goes before another translation's side entry.
      if (here.entries.has(offset) && i > 0) continue;
      this.stand(page, here, t, offset);
    }
  }

  /** t is to stand in the page: what stands there; undefined if it cannot be instantiated. */
  private admit(page: CodePage, t: Translation): Installed | undefined {
    t.slot ??= this.load(t);
    if (t.slot === undefined) return undefined;
    t.age = 0;
    let here = this.pages.get(page);
    if (!here) {
      here = { translations: new Set(), entries: new Map() };
      this.pages.set(page, here);
    }
    if (!here.translations.has(t)) {
      here.translations.add(t);
      t.places++;
      this.stats.installed++;
    }
    return here;
  }

  private stand(page: CodePage, here: Installed, t: Translation, offset: number): void {
    const before = here.entries.get(offset);
    here.entries.set(offset, { slot: t.slot!, from: t });
    if (before && before.from !== t) this.unlink();
    const record = this.i32[(page.table >>> 2) + offset] >>> 0;
    if (record) this.enter(record, t.slot!);
  }

  private enter(record: number, slot: number): void {
    if (!this.own.has(record)) this.own.set(record, this.i32[record >>> 2]);
    this.i32[record >>> 2] = slot;
  }

  private leave(record: number): void {
    const own = this.own.get(record);
    if (own === undefined) return;
    this.i32[record >>> 2] = own;
    this.own.delete(record);
  }

  // ── what the code cache tells ───────────────────────────────────────────────────────────────────────────────
  decoded(page: CodePage, start: number, n: number): void {
    if (page.mode !== 0) return;
    const entries = this.pages.get(page)?.entries;
    const bytes = this.bytes(page);
    for (let i = 0; i < n; i++) {
      const record = start + i * Record32.size;
      const offset = this.offsetOf(record);
      const entry = entries?.get(offset);
      if (entry) {
        this.enter(record, entry.slot);
        continue;
      }
      // At this place alone: another one may be better at its other entries.
      const t = this.library.find(bytes, offset);
      const here = t && this.admit(page, t);
      if (here) this.stand(page, here, t, offset);
    }
  }

  private offsetOf(record: number): number {
    return this.u16[(record + Record32.off.next) >>> 1] - this.u8[record + Record32.off.len];
  }

  ownHandler(record: number): number | undefined {
    return this.own.get(record);
  }

  forget(record: number): void {
    if (this.own.delete(record)) this.unlink();
  }

  /** Part n of t, `others[n]`, is looked for in the page: the region may go on there if it was made from this code. */
  bind(t: Translation, n: number, page: CodePage): void {
    const fits = page.mode === 0 && matches(this.bytes(page), t.others[n]);
    t.tables[n].value = fits ? page.table : MISFIT;
    if (!fits) return;
    this.stats.bound++;
    let here = this.parts.get(page);
    if (!here) {
      here = new Map();
      this.parts.set(page, here);
    }
    const bound = here.get(t);
    if (bound) bound.add(n);
    else here.set(t, new Set([n]));
  }

  dropRange(page: CodePage, offset: number, len: number): void {
    for (const [t, bound] of this.parts.get(page) ?? []) {
      for (const n of bound) {
        if (!overlaps(t.others[n].ranges, offset, len)) continue;
        bound.delete(n);
        t.tables[n].value = UNBOUND;
        this.dropped.value = 1;
      }
      if (!bound.size) this.parts.get(page)!.delete(t);
    }
    if (!this.parts.get(page)?.size) this.parts.delete(page);
    const here = this.pages.get(page);
    if (!here) return;
    let removed = false;
    for (const t of here.translations) {
      if (!overlaps(t.ranges, offset, len)) continue;
      this.stats.dropped++;
      // Code that runs at this moment notices when the instruction that wrote is done.
      this.dropped.value = 1;
      this.remove(page, here, t);
      removed = true;
    }
    if (removed) this.unlink();
    if (!here.translations.size) this.pages.delete(page);
  }

  private remove(page: CodePage, here: Installed, t: Translation): void {
    here.translations.delete(t);
    t.places--;
    for (const [o, e] of here.entries) {
      if (e.from !== t) continue;
      here.entries.delete(o);
      const record = this.i32[(page.table >>> 2) + o] >>> 0;
      if (record) this.leave(record);
    }
  }

  /** What stands in the page. */
  translations(page: CodePage): readonly Translation[] {
    return [...(this.pages.get(page)?.translations ?? [])];
  }

  /** Does t stand in the page? */
  stands(page: CodePage, t: Translation): boolean {
    return this.pages.get(page)?.translations.has(t) === true;
  }

  /** The translation that is entered at an offset of the page. */
  enteredAt(page: CodePage, offset: number): Translation | undefined {
    return this.pages.get(page)?.entries.get(offset)?.from;
  }

  /** Put t in the place of what stands in the page for some of its hot places alone; returns that. */
  replace(page: CodePage, t: Translation): readonly Translation[] {
    const here = this.pages.get(page);
    const old = this.translations(page).filter((x) => x !== t && x.hot.every((h) => t.hot.includes(h)));
    for (const x of old) this.remove(page, here!, x);
    this.unlink();
    this.install(page, t);
    return old;
  }

  flush(): void {
    // The records go with the arena.
    this.own.clear();
    for (const here of this.pages.values()) for (const t of here.translations) t.places--;
    this.pages.clear();
    for (const here of this.parts.values())
      for (const [t, bound] of here) for (const n of bound) t.tables[n].value = UNBOUND;
    this.parts.clear();
    this.unlink();
    this.dropped.value = 1;
  }

  /** Give the records of these their own handlers back. None of them is running. */
  removeAll(these: ReadonlySet<Translation>): void {
    this.unlink();
    for (const [page, here] of this.pages) {
      for (const t of here.translations) if (these.has(t)) this.remove(page, here, t);
      if (!here.translations.size) this.pages.delete(page);
    }
    for (const [page, here] of this.parts) {
      for (const t of here.keys()) if (these.has(t)) here.delete(t);
      if (!here.size) this.parts.delete(page);
    }
  }
}
