/** Which instructions make a region: the basic blocks that are reached from an entry, up to a limit. */
import { type Decoded, InstructionDecoder } from '../decode/decode.ts';
import { MAX_LENGTH } from '../decode-tables.ts';
import type { Encoding } from '../semantics/table.ts';
import { type CodeView, MAX_DELTA, MAX_OTHERS, pageOf } from './code-view.ts';
import { crossesPage, Descriptions, type Instruction, lastPage } from './prepare.ts';

const PAGE = 4096;
/** Most instructions of a region with few starts. */
const MAX_INSTRUCTIONS = 640;
/** Most of them from places on that were not lately seen to run, with one start; each further one adds some, and there may be so many in all. */
const MAX_UNSEEN = 256;
const MORE_UNSEEN = 64;
/** Called code of at most so many instructions is made anew for each caller. */
const SHORT = 20;
/** Bytes of call rel32, and of call r/m64 from its opcode on at most. */
const CALL = 5;
const MAX_INDIRECT_CALL = 7;
/** Most places that are remembered as left out. */
const MAX_LEFT = 256;
/** Most targets besides the first. */
const MAX_TARGETS = 48;

/** All places in code are offsets from the page in which the region is entered; other pages' are below 0 or from 4096 on. */
export interface Block {
  readonly start: number;
  readonly instructions: readonly Instruction[];
  /** Where control goes: taken direct branch, next instruction; undefined: does not. */
  readonly taken?: number;
  readonly next?: number;
}

/** Bytes of one page that a region was made from: [from, to) in the page, sorted, apart from each other. */
export type Ranges = readonly (readonly [number, number])[];

export interface Region {
  /** Page offsets at which it may be entered, the hot one first. */
  readonly entries: readonly number[];
  /** Where computed jumps inside may lead: the entries, and places of the like in the other pages. */
  readonly targets: readonly number[];
  readonly blocks: readonly Block[];
  /**
   * Where its branches and calls lead out of it to code that had not been executed, was not to be made twice, or had not lately run
   * and found no room. None if there was not even room for what had.
   */
  readonly left: readonly number[];
  /** It has computed jumps besides returns. */
  readonly computed: boolean;
  /** Returns may lead to one of the targets: it is where a call returns to. */
  readonly returns: boolean;
  readonly ranges: Ranges;
  /** The other pages, by distance. */
  readonly others: readonly { readonly delta: number; readonly ranges: Ranges }[];
}

/** Instructions of a view, decoded when looked at. */
class Code {
  private readonly known = new Map<number, Instruction | undefined>();
  private readonly view: CodeView;
  private readonly decoder: InstructionDecoder;
  private readonly descriptions: Descriptions;
  constructor(view: CodeView, decoder: InstructionDecoder, descriptions: Descriptions) {
    this.view = view;
    this.decoder = decoder;
    this.descriptions = descriptions;
  }
  /** Undefined: none, or it goes on in a page that is not to be had. */
  at(offset: number): Instruction | undefined {
    if (!this.known.has(offset)) this.known.set(offset, this.decode(offset));
    return this.known.get(offset);
  }
  private decode(offset: number): Instruction | undefined {
    const delta = pageOf(offset);
    if (Math.abs(delta) > MAX_DELTA) return undefined;
    const bytes = this.view.page(delta);
    if (!bytes) return undefined;
    const o = offset - delta * PAGE;
    let d: Decoded | string = this.decoder.decode(bytes, o, Math.min(PAGE, o + MAX_LENGTH), 0);
    const next = d === 'short' ? this.view.page(delta + 1) : undefined;
    if (next)
      d = this.decoder.decode(Uint8Array.of(...bytes.subarray(o), ...next.subarray(0, MAX_LENGTH)), 0, MAX_LENGTH, 0);
    return typeof d === 'string' ? undefined : this.descriptions.instruction(d, offset);
  }
  /** Is there an instruction that reaches over the end of its page? No region is entered there: its first page has few bytes of it to tell code apart. */
  crosses(offset: number): boolean {
    const i = this.at(offset);
    return i !== undefined && crossesPage(i);
  }
  /** May the instruction before be a call? It has not been decoded: its bytes look like one. */
  afterCall(offset: number): boolean {
    const bytes = this.view.page(pageOf(offset));
    const o = offset - pageOf(offset) * PAGE;
    if (!bytes || o < 2) return false;
    if (o >= CALL && bytes[o - CALL] === 0xe8) return true;
    const indirect = (n: number) => bytes[o - n] === 0xff && (bytes[o - n + 1] & 0x38) === 0x10;
    for (let n = 2; n <= Math.min(o, MAX_INDIRECT_CALL); n++) if (indirect(n)) return true;
    return false;
  }
  seen(offset: number): boolean {
    return this.view.seen(offset);
  }
  translated(offset: number): boolean {
    return this.view.translated(offset);
  }
  warm(offset: number): boolean {
    return this.view.warm(offset);
  }
}

/** Places that control goes to, and in which order they are looked at. */
class Ways {
  readonly leaders: Set<number>;
  private readonly wanted: Set<number>;
  private readonly first: number[];
  private readonly warm: number[] = [];
  private readonly cold: number[] = [];
  /** Those that were warm, or starts. */
  private readonly met: Set<number>;
  /** The starts come first, whatever they are. */
  constructor(starts: readonly number[]) {
    this.leaders = new Set(starts);
    this.wanted = new Set(starts);
    this.met = new Set(starts);
    this.first = [...starts];
  }
  known(o: number): boolean {
    return this.leaders.has(o);
  }
  lead(o: number, warm: boolean, isTarget: boolean): void {
    if (isTarget && !this.wanted.has(o)) {
      if (this.wanted.size > MAX_TARGETS) return;
      this.wanted.add(o);
    }
    const known = this.leaders.has(o);
    this.leaders.add(o);
    if (warm && !this.met.has(o)) {
      this.met.add(o);
      this.warm.push(o);
    } else if (!known) this.cold.push(o);
  }
  /** Warm: control came there on a warm way, or it lately ran; of a start that is not said. */
  next(): { readonly to: number; readonly warm: boolean } | undefined {
    const start = this.first.shift();
    if (start !== undefined) return { to: start, warm: false };
    if (this.warm.length) return { to: this.warm.shift()!, warm: true };
    return this.cold.length ? { to: this.cold.shift()!, warm: false } : undefined;
  }
  /** Those of computed jumps that are among what was found. */
  targets(found: ReadonlySet<number>): number[] {
    return [...this.wanted].filter((o) => found.has(o));
  }
}

export class Discovery {
  private readonly decoder: InstructionDecoder;
  private readonly descriptions: Descriptions;
  constructor(encodings: readonly Encoding[]) {
    this.decoder = new InstructionDecoder(encodings);
    this.descriptions = new Descriptions(encodings);
  }

  /**
   * From the given places on, those in other pages only as targets of computed jumps, if it has any. Undefined: no instruction there is for the translator. `whole`: with all that is called, and
   * what has translations of its own; without, such code is not made twice.
   */
  region(view: CodeView, starts: readonly number[], whole: boolean): Region | undefined {
    const code = new Code(view, this.decoder, this.descriptions);
    const mayStart = (o: number) =>
      pageOf(o) === 0 && (code.at(o)?.ending ?? 'interpret') !== 'interpret' && !code.crosses(o);
    const hot = starts.filter(mayStart);
    if (!hot.length) return undefined;
    const beside = starts.filter((o) => pageOf(o) !== 0);
    const { leaders, targets, found, left, computed, returns } = this.reach(code, hot, beside, whole);
    const blocks: Block[] = [];
    for (const start of leaders) {
      const b = found.has(start) ? this.block(code, start, leaders, found) : undefined;
      if (b) blocks.push(b);
    }
    const all = new Set(blocks.map((b) => b.start));
    const there = targets.filter((t) => all.has(t));
    const pages = rangesOf(blocks);
    const others = [...pages].filter(([delta]) => delta !== 0).sort(([a], [b]) => a - b);
    return {
      entries: there.filter((t) => pageOf(t) === 0),
      targets: there,
      blocks,
      left: [...left].filter((o) => !all.has(o) && Math.abs(pageOf(o)) <= MAX_DELTA).slice(0, MAX_LEFT),
      computed,
      returns,
      ranges: pages.get(0)!,
      others: others.map(([delta, ranges]) => ({ delta, ranges })),
    };
  }

  /**
   * What lately ran before what was once executed: control goes on being warm where it is known to, and on the way that is left where
   * the other is not known to be. Both breadth first, so that what is near the starts is in when the limit is reached.
   */
  private reach(code: Code, starts: readonly number[], beside: readonly number[], whole: boolean) {
    const ways = new Ways(starts);
    const found = new Set<number>();
    const others = new Set<number>();
    const left = new Set<number>();
    let computed = false;
    let returns = starts.some((o) => code.afterCall(o));
    let unseen = 0;
    let refused = false;
    const limit = MAX_UNSEEN + (starts.length + beside.length - 1) * MORE_UNSEEN;
    const most = Math.max(MAX_INSTRUCTIONS, limit);
    const lead = (o: number, warm: boolean, isTarget = false) => {
      if (isTarget && code.crosses(o)) return;
      if (code.seen(o) && (whole || ways.known(o) || !code.translated(o))) ways.lead(o, warm || code.warm(o), isTarget);
      else left.add(o);
    };
    for (let way = ways.next(); way; way = ways.next()) {
      let o = way.to;
      const ran = code.warm(o);
      const warm = way.warm || ran;
      const delta = pageOf(o);
      if (delta !== 0 && !others.has(delta) && others.size >= MAX_OTHERS) continue;
      for (;;) {
        if (found.has(o)) break;
        if (found.size >= most || (!ran && unseen >= limit)) {
          left.add(o);
          refused ||= ran;
          break;
        }
        const i = code.at(o);
        if (!i) break;
        const end = lastPage(i);
        // Room for both pages of an instruction that has two.
        if (end !== 0 && end !== delta && !others.has(end) && others.size + 1 >= MAX_OTHERS) break;
        if (i.ending === 'interpret') {
          lead(i.next, warm, true);
          break;
        }
        found.add(o);
        for (const page of [delta, end]) if (page !== 0) others.add(page);
        if (!ran) unseen++;
        const calls = i.encoding.insn.name === 'call';
        const to = i.next + i.d.rel;
        if (i.ending === 'cond') {
          lead(to, false);
          lead(i.next, warm && !code.warm(to));
        } else if (i.ending === 'branch') {
          if (!calls || whole || this.isShort(code, to)) lead(to, warm);
          else left.add(to);
        }
        if (i.ending === 'jump' && i.encoding.insn.name === 'jmp' && !computed) {
          computed = true;
          for (const o of beside) lead(o, warm, true);
        }
        // Where a call returns to, or a system call.
        returns ||= calls;
        if (calls || i.ending === 'resync') lead(i.next, warm, true);
        if (i.ending !== 'fall') break;
        o = i.next;
        if (pageOf(o) !== delta) {
          lead(o, warm);
          break;
        }
      }
    }
    // It does not get better where there is no room for what lately ran.
    if (refused) left.clear();
    return { leaders: ways.leaders, targets: ways.targets(found), found, left, computed, returns };
  }

  /** Is there a function of at most SHORT instructions that calls nothing? */
  private isShort(code: Code, start: number): boolean {
    const found = new Set<number>();
    const queue = [start];
    while (queue.length) {
      let o = queue.pop()!;
      for (;;) {
        if (found.has(o)) break;
        const i = code.seen(o) ? code.at(o) : undefined;
        // What has not been executed does not count.
        if (!i) break;
        found.add(o);
        if (found.size > SHORT || i.ending === 'interpret' || i.encoding.insn.name === 'call') return false;
        if (i.ending === 'branch' || i.ending === 'cond') queue.push(i.next + i.d.rel);
        if (i.ending === 'jump' || i.ending === 'resync' || i.ending === 'branch') break;
        o = i.next;
      }
    }
    return found.size > 0;
  }

  private block(code: Code, start: number, leaders: ReadonlySet<number>, found: ReadonlySet<number>): Block {
    const instructions: Instruction[] = [];
    for (let o = start; ; ) {
      // Each block's are its own: one that begins within an instruction of another has the others in common with it.
      const i = { ...code.at(o)! };
      instructions.push(i);
      const taken = i.next + i.d.rel;
      if (i.ending === 'branch') return { start, instructions, taken };
      if (i.ending === 'cond') return { start, instructions, taken, next: i.next };
      if (i.ending === 'jump' || i.ending === 'resync') return { start, instructions };
      o = i.next;
      if (leaders.has(o) || !found.has(o) || pageOf(o) !== pageOf(start)) return { start, instructions, next: o };
    }
  }
}

/** By page; of a block, its last instruction alone may reach over the end of its page. */
function rangesOf(blocks: readonly Block[]): Map<number, [number, number][]> {
  const pages = new Map<number, [number, number][]>();
  const add = (delta: number, from: number, to: number) => {
    const list = pages.get(delta);
    if (list) list.push([from, to]);
    else pages.set(delta, [[from, to]]);
  };
  for (const b of blocks) {
    const delta = pageOf(b.start);
    const end = b.instructions.at(-1)!.next - delta * PAGE;
    add(delta, b.start - delta * PAGE, Math.min(end, PAGE));
    if (end > PAGE) add(delta + 1, 0, end - PAGE);
  }
  for (const [delta, all] of pages) pages.set(delta, joined(all));
  return pages;
}

function joined(all: [number, number][]): [number, number][] {
  all.sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [from, to] of all) {
    const last = out.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}
