/**
 * Decoded code of one pCPU: offset tables (a u32 per byte of a code page: record address or 0) and runs of records in the
 * engine area's arena, which the interpreter's handlers walk. Records are kept per machine frame and mode, so every
 * address space that maps a frame shares them; nothing in a record names a linear address. Frames with the same bytes have
 * them in common (SharedPages), as domains with the same kernel do.
 *
 * Writes to a frame with decoded code come here (`invalidate`): overwritten instructions' records become STALE.
 */
import { AreaHeader, type AreaLayout } from '../area.ts';
import {
  CODE_BYTES,
  DECODED_LONG,
  DECODED_SHORT,
  DECODED_UD,
  DecoderTables,
  MAX_LENGTH,
  RUN_LENGTH,
} from '../decode-tables.ts';
import { MAX_FUSED } from '../interpreter/fused.ts';
import { SPECIAL } from '../interpreter/special.ts';
import { CODE_TABLE_BYTES, CpuState, NEAR, OFFSETS_BYTES, Record32, VEC, XTLB_ENTRIES, XtlbEntry } from '../state.ts';
import { SharedPages } from './shared-pages.ts';

const PAGE = 4096;
/** A page's tables and the link to those made before them (AreaHeader.code_tables), aligned as records are. */
const LINKED_TABLE_BYTES = CODE_TABLE_BYTES + Record32.size;
/** Room at the start of the arena for the records of a single step. */
const STEP_BYTES = 4 * Record32.size;
/** Writes beside the code of a frame before its decoded code is dropped as a whole (data shares the page). */
const MISSES = 64;

/** Translated code that has been put in the place of records' handlers (translator/regions.ts). */
export interface Translations {
  /** `n` records have been decoded from address `start` on. */
  decoded(page: CodePage, start: number, n: number): void;
  /** The record's own handler, if translated code stands in its place. */
  ownHandler(record: number): number | undefined;
  /** The record is no longer used. */
  forget(record: number): void;
  /** Guest bytes change: drop what was made from them. */
  dropRange(page: CodePage, offset: number, len: number): void;
  /** All records are about to go. */
  flush(): void;
}

/** What the cache needs of the runtime's exports. */
export interface CacheRuntime {
  probe_exec(cpu: number, rip: bigint): number;
  probe_read(cpu: number, va: bigint, bytes: number): number;
  code_dropped(mfn: number): void;
  xtlb_forget_frame(mfn: number): void;
  xtlb_reset(): void;
  raise(cpu: number, vector: number, hasError: number, error: number): void;
  decode_run(table: number, at: number, known: number, mode: number, rec: number, fuse: number): number;
  decode_one(bytes: number, mode: number, rec: number, offset: number): number;
}

export interface CodePage {
  /** One of the frames whose code this is. */
  mfn: number;
  readonly mode: 0 | 1;
  /** Address of the offset table. */
  readonly table: number;
  /** The bytes of all its frames; undefined when it is `mfn`'s alone, as that one has been written to. */
  content: Uint8Array | undefined;
  /** Writes seen that hit no code. */
  misses: number;
}

const { off } = CpuState;
const R = Record32.off;

export class CodeCache {
  private readonly u8: Uint8Array;
  private readonly i32: Int32Array;
  private readonly u16: Uint16Array;
  private readonly view: DataView;
  private readonly area: AreaLayout;
  /** Address of the bytes to be decoded (DecoderTables.code). */
  private readonly code: number;
  /** From this table slot on they are superinstructions; how many records each of them covers. */
  private readonly firstFused: number;
  private readonly fusedLengths: Uint8Array;
  /** By frame and mode (mfn * 2 + mode). */
  private readonly pages: Map<number, CodePage> = new Map();
  private readonly shared: SharedPages;
  private next: number;
  /** Indices of AreaHeader.code_tables and arena_used. */
  private readonly newestTable: number;
  private readonly arenaUsed: number;
  rt!: CacheRuntime;
  translations: Translations | undefined;
  /** Whether pairs of records run as superinstructions. */
  fuse = true;
  /** Statistics. */
  readonly stats = { decoded: 0, invalidated: 0, pages: 0, 'pages shared': 0, flushes: 0, dropped: 0 };

  constructor(memory: WebAssembly.Memory, area: AreaLayout, decoder: Uint8Array) {
    this.u8 = new Uint8Array(memory.buffer);
    this.i32 = new Int32Array(memory.buffer);
    this.u16 = new Uint16Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.area = area;
    this.shared = new SharedPages(this.i32);
    this.next = area.arena + STEP_BYTES;
    this.newestTable = (area.base + AreaHeader.off.code_tables) >>> 2;
    this.arenaUsed = (area.base + AreaHeader.off.arena_used) >>> 2;
    this.code = area.decoder + DecoderTables.off.code;
    this.u8.set(decoder, area.decoder);
    const header = (field: keyof typeof DecoderTables.off) =>
      this.view.getUint32(area.decoder + DecoderTables.off[field], true);
    this.firstFused = header('first_fused');
    const lengths = area.decoder + header('fused_lengths');
    this.fusedLengths = this.u8.subarray(lengths, lengths + header('fused_count'));
  }

  // ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────
  /** Offset table of a frame for a mode (decoder import `code_table`). */
  codeTable(mfn: number, mode: 0 | 1): number {
    const known = this.pages.get(mfn * 2 + mode);
    if (known) return known.table;
    const page = this.shared.join(mfn, mode, () => this.makeTable());
    if (page.mfn !== mfn) this.stats['pages shared']++;
    this.pages.set(mfn * 2 + mode, page);
    return page.table;
  }

  /** An empty offset table and near table, for which the arena may be emptied. */
  private makeTable(): number {
    if (this.next + LINKED_TABLE_BYTES > this.area.arenaEnd) this.flush();
    const table = this.next;
    this.next += LINKED_TABLE_BYTES;
    // What has never been used is zero: only what will be used of it is touched, which counts where the host's page faults are dear.
    const used = this.i32[this.arenaUsed] >>> 0;
    if (table < used) this.u8.fill(0, table, Math.min(table + CODE_TABLE_BYTES, used));
    this.i32[(table + CODE_TABLE_BYTES) >>> 2] = this.i32[this.newestTable];
    this.i32[this.newestTable] = table;
    this.stats.pages++;
    return table;
  }

  /** Forget all decoded code. No record may be in use. */
  flush(): void {
    this.stats.flushes++;
    this.translations?.flush();
    for (const key of this.pages.keys()) this.rt.code_dropped(key >>> 1);
    this.pages.clear();
    this.shared.clear();
    this.i32[this.newestTable] = 0;
    this.i32[this.arenaUsed] = Math.max(this.i32[this.arenaUsed] >>> 0, this.next);
    this.next = this.area.arena + STEP_BYTES;
    this.rt.xtlb_reset();
  }

  /**
   * Guest bytes [offset, offset+len) of a frame change (decoder import `invalidate`); a whole page is dropped for good. The
   * page may be the one that is running, so it stays this frame's, and others that had it in common decode anew.
   */
  invalidate(mfn: number, offset: number, len: number): void {
    for (const mode of [0, 1] as const) {
      const page = this.pages.get(mfn * 2 + mode);
      if (!page) continue;
      for (const other of this.shared.keep(page, mfn)) this.leave(other, mode);
      if (len >= PAGE) this.dropPage(page);
      else if (this.dropRange(page, offset, len)) this.stats.invalidated++;
      else if (++page.misses > MISSES) this.dropPage(page);
    }
    if (!this.pages.has(mfn * 2) && !this.pages.has(mfn * 2 + 1)) this.rt.code_dropped(mfn);
  }

  /** A frame's code is not wanted any more, and nothing of it runs (decoder import `forget`). */
  forget(mfn: number): void {
    for (const mode of [0, 1] as const) {
      const page = this.pages.get(mfn * 2 + mode);
      if (!page) continue;
      if (this.shared.leave(page, mfn)) this.leave(mfn, mode);
      else this.dropPage(page);
    }
    this.rt.code_dropped(mfn);
  }

  /** The frame has the page no more. This pCPU stays among its code owners: it looks the code up anew. */
  private leave(mfn: number, mode: 0 | 1): void {
    this.pages.delete(mfn * 2 + mode);
    this.rt.xtlb_forget_frame(mfn);
  }

  /** Make records that overlap the range stale; false if there were none. */
  private dropRange(page: CodePage, offset: number, len: number): boolean {
    let hit = false;
    this.translations?.dropRange(page, offset, len);
    const t = page.table >>> 2;
    // Several instructions may run as one.
    const from = Math.max(0, offset - MAX_FUSED * MAX_LENGTH);
    const to = Math.min(PAGE, offset + len);
    for (let o = from; o < to; o++) {
      const rec = this.i32[t + o] >>> 0;
      if (!rec) continue;
      let end = this.u16[(rec + R.next) >>> 1];
      const handler = this.translations?.ownHandler(rec) ?? this.i32[rec >>> 2];
      const parts = this.fusedLengths[handler - this.firstFused];
      if (parts) end = this.u16[(rec + (parts - 1) * Record32.size + R.next) >>> 1];
      if (o < offset && end <= offset) continue;
      this.stale(rec);
      this.i32[t + o] = 0;
      this.i32[((page.table + OFFSETS_BYTES) >>> 2) + Math.floor(o / NEAR)] = 0;
      hit = true;
    }
    return hit;
  }

  private stale(rec: number): void {
    this.translations?.forget(rec);
    this.i32[rec >>> 2] = SPECIAL.STALE;
  }

  private dropPage(page: CodePage): void {
    this.stats.dropped++;
    this.translations?.dropRange(page, 0, PAGE);
    const t = page.table >>> 2;
    for (let o = 0; o < PAGE; o++) {
      const rec = this.i32[t + o] >>> 0;
      if (rec) this.stale(rec);
    }
    this.i32.fill(0, t, t + CODE_TABLE_BYTES / 4);
    this.leave(page.mfn, page.mode);
  }

  /** Are the page's records still those in use? */
  isCurrent(page: CodePage): boolean {
    return this.pages.get(page.mfn * 2 + page.mode) === page;
  }

  /** Pages whose code may be part of a region that starts at rip: what the execute TLB maps around it (PageList). */
  reachable(cpu: number, rip: bigint): Int32Array<ArrayBuffer> {
    const { i32 } = this;
    const xtlb = this.view.getUint32(cpu + off.xtlb, true) >>> 2;
    const high = Number((rip >> 32n) & 0xffffffffn) | 0;
    const low = Number(rip & 0xfffff000n) | 0;
    const out: number[] = [];
    for (let n = 0; n < XTLB_ENTRIES; n++) {
      const e = xtlb + n * (XtlbEntry.size >>> 2);
      const tag = i32[e + (XtlbEntry.off.tag >>> 2)];
      // The same 4 GiB; tags that are not valid have a low bit.
      if ((tag & 0xfff) !== 0 || i32[e + (XtlbEntry.off.tag >>> 2) + 1] !== high) continue;
      const page = this.pages.get((i32[e + (XtlbEntry.off.mfn >>> 2)] >>> 0) * 2);
      if (page) out.push(((tag >>> 0) - (low >>> 0)) / PAGE, page.mfn, page.table);
    }
    return Int32Array.from(out);
  }

  /** The page at a linear address, given as two signed halves (samples ask: no BigInts), if the execute TLB knows it. */
  private pageAt(cpu: number, low: number, high: number): CodePage | undefined {
    const { i32 } = this;
    const xtlb = i32[(cpu + off.xtlb) >>> 2] >>> 0;
    const e = (xtlb + ((low >>> 12) & (XTLB_ENTRIES - 1)) * XtlbEntry.size) >>> 2;
    const tag = e + (XtlbEntry.off.tag >>> 2);
    if (i32[tag] !== (low & ~0xfff) || i32[tag + 1] !== high) return undefined;
    return this.pages.get((i32[e + (XtlbEntry.off.mfn >>> 2)] >>> 0) * 2 + i32[(cpu + off.mode) >>> 2]);
  }

  /** The page `delta` pages on from that of CpuState.page, or of CpuState.rip, if the execute TLB knows it. */
  executingPage(cpu: number, delta: number, from: 'page' | 'rip' = 'page'): CodePage | undefined {
    const page = this.view.getBigUint64(cpu + off[from], true);
    const there = page + BigInt(delta) * 4096n;
    return this.pageAt(cpu, Number(BigInt.asIntN(32, there)), Number(BigInt.asIntN(32, there >> 32n)));
  }

  /** Where the vCPU is, if code has been executed there: the page, and the offset in it. */
  executed(cpu: number): { readonly page: CodePage; readonly offset: number } | undefined {
    const rip = (cpu + off.rip) >>> 2;
    const low = this.i32[rip];
    const offset = low & 0xfff;
    const page = this.pageAt(cpu, low, this.i32[rip + 1]);
    return page && this.i32[(page.table >>> 2) + offset] !== 0 ? { page, offset } : undefined;
  }

  // ── decoding ────────────────────────────────────────────────────────────────────────────────────────────────
  /** Record for CpuState.rip, decoding as needed (decoder import `translate`); 0: exception recorded. */
  translate(cpu: number): number {
    const rip = this.view.getBigUint64(cpu + off.rip, true);
    if (this.next + (RUN_LENGTH + 2) * Record32.size + LINKED_TABLE_BYTES > this.area.arenaEnd) this.flush();
    const x = this.rt.probe_exec(cpu, rip) >>> 0;
    if (!x) return 0;
    const mfn = this.i32[(x + XtlbEntry.off.mfn) >>> 2] >>> 0;
    const table = this.i32[(x + XtlbEntry.off.code) >>> 2] >>> 0;
    this.view.setBigUint64(cpu + off.page, rip & ~0xfffn, true);
    const at = Number(rip & 0xfffn);
    const known = this.i32[(table >>> 2) + at];
    if (known) return known;
    return this.run(cpu, mfn, table, at);
  }

  /** Decode a run from page offset `at`. */
  private run(cpu: number, mfn: number, table: number, at: number): number {
    const mode = this.view.getUint32(cpu + off.mode, true) as 0 | 1;
    const start = this.next;
    const page = this.pages.get(mfn * 2 + mode);
    const known = Math.min(PAGE, at + CODE_BYTES);
    // A copy, so that decoding sees one state of the bytes.
    if (page?.content) this.u8.set(page.content.subarray(at, known), this.code);
    else this.u8.copyWithin(this.code, mfn * PAGE + at, mfn * PAGE + known);
    const done = this.rt.decode_run(table, at, known, mode, start, this.fuse ? 1 : 0);
    const decoded = done & 0xff;
    this.next += (done >>> 8) * Record32.size;
    this.stats.decoded += decoded;
    if (page) this.translations?.decoded(page, start, decoded);
    return start;
  }

  private special(rec: number, handler: number, next: number, len: number): void {
    this.u8.fill(0, rec, rec + Record32.size);
    this.i32[rec >>> 2] = handler;
    this.u16[(rec + R.next) >>> 1] = next;
    this.u8[rec + R.len] = len;
  }

  // ── single steps ────────────────────────────────────────────────────────────────────────────────────────────
  /**
   * Records that do only the instruction at CpuState.rip and then stop (decoder import `step`); 0: exception recorded.
   * They are decoded anew each time, in a place of their own.
   */
  step(cpu: number): number {
    const mode = this.view.getUint32(cpu + off.mode, true) as 0 | 1;
    const rip = this.view.getBigUint64(cpu + off.rip, true);
    const o = Number(rip & 0xfffn);
    let x = this.rt.probe_exec(cpu, rip) >>> 0;
    if (!x) return 0;
    const mfn = this.i32[(x + XtlbEntry.off.mfn) >>> 2] >>> 0;
    const head = Math.min(MAX_LENGTH, PAGE - o);
    this.u8.copyWithin(this.code, mfn * PAGE + o, mfn * PAGE + o + head);
    let d = this.rt.decode_one(head, mode, this.area.arena, o);
    if (d === DECODED_SHORT) {
      const second = (rip & ~0xfffn) + 4096n;
      x = this.rt.probe_exec(cpu, mode ? second & 0xffffffffn : second) >>> 0;
      if (!x) return 0;
      const mfn1 = this.i32[(x + XtlbEntry.off.mfn) >>> 2] >>> 0;
      this.u8.copyWithin(this.code + head, mfn1 * PAGE, mfn1 * PAGE + MAX_LENGTH - head);
      d = this.rt.decode_one(MAX_LENGTH, mode, this.area.arena, o);
    }
    this.view.setBigUint64(cpu + off.page, rip & ~0xfffn, true);
    const first = this.area.arena;
    if (d > 0) this.special(first + Record32.size, SPECIAL.STOP, o + d, 0);
    else this.special(first, d === DECODED_UD ? SPECIAL.UD : SPECIAL.GP, o + MAX_LENGTH, MAX_LENGTH);
    return first;
  }

  // ── instructions across two pages ───────────────────────────────────────────────────────────────────────────
  /**
   * The record `rec` stands for an instruction that crosses into the next page (decoder import `straddle`): check both
   * pages and give the record to run, or 0 with the exception recorded. What is found is left in rec for `known_straddler`
   * (runtime/code.ts): the address of the record, which another and what is compared lie behind.
   */
  straddle(cpu: number, rec: number): number {
    const mode = this.view.getUint32(cpu + off.mode, true) as 0 | 1;
    const page = this.view.getBigUint64(cpu + off.page, true);
    const head = this.u8[rec + R.len];
    const o = PAGE - head;
    let second = page + 4096n;
    if (mode) second &= 0xffffffffn;
    const { flushes } = this.stats;
    const x0 = this.rt.probe_exec(cpu, page) >>> 0;
    if (!x0) return 0;
    const mfn0 = this.i32[(x0 + XtlbEntry.off.mfn) >>> 2] >>> 0;
    const x1 = this.rt.probe_exec(cpu, second) >>> 0;
    if (!x1) return 0;
    const mfn1 = this.i32[(x1 + XtlbEntry.off.mfn) >>> 2] >>> 0;
    const need = MAX_LENGTH - head;
    // No room: it runs from the last slots, which the next translate() flushes.
    const room = this.next + 3 * Record32.size <= this.area.arenaEnd;
    if (!room) this.next = this.area.arenaEnd - 3 * Record32.size;
    this.u8.copyWithin(this.code, mfn0 * PAGE + o, mfn0 * PAGE + PAGE);
    this.u8.copyWithin(this.code + head, mfn1 * PAGE, mfn1 * PAGE + need);
    const shadow = this.next;
    const d = this.rt.decode_one(MAX_LENGTH, mode, shadow, o);
    if (d <= 0) {
      const long = d === DECODED_LONG || d === DECODED_SHORT;
      this.rt.raise(cpu, long ? VEC.GP : VEC.UD, long ? 1 : 0, 0);
      return 0;
    }
    this.special(shadow + Record32.size, SPECIAL.NEXT, o + d, 0);
    // As compared by known_straddler.
    const compared = shadow + 2 * Record32.size;
    const tail = d - head;
    this.u8[compared] = tail;
    this.u8.copyWithin(compared + 1, mfn1 * PAGE, mfn1 * PAGE + tail);
    this.next = shadow + 3 * Record32.size;
    // Probing may have emptied the arena: then rec is gone with it.
    if (room && this.stats.flushes === flushes) this.i32[(rec + R.imm) >>> 2] = shadow;
    this.stats.decoded++;
    return shadow;
  }
}
