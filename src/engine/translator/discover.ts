/** Which instructions make a region: the basic blocks of one page that are reached from an entry, up to a limit. */
import { type Decoded, InstructionDecoder, MAX_LENGTH } from '../decode/decode.ts';
import type { Encoding } from '../semantics/table.ts';
import { markDeadFlags } from './dead-flags.ts';
import { Descriptions, type Instruction } from './prepare.ts';

const PAGE = 4096;
/** Most instructions of a region with one start; each further one adds some. */
const MAX_INSTRUCTIONS = 128;
const MORE_INSTRUCTIONS = 48;
/** Most entries besides the first. */
const MAX_ENTRIES = 40;

export interface Block {
  readonly start: number;
  readonly instructions: readonly Instruction[];
  /** Page offsets where control goes: taken direct branch, next instruction; undefined: does not. */
  readonly taken?: number;
  readonly next?: number;
}

export interface Region {
  /** Page offsets at which it may be entered, the hot one first. */
  readonly entries: readonly number[];
  readonly blocks: readonly Block[];
  /** Bytes it was made from: [from, to) in the page, sorted, apart from each other. */
  readonly ranges: readonly (readonly [number, number])[];
}

/** A page's instructions, decoded when looked at. */
export class PageCode {
  private readonly known = new Map<number, Instruction | undefined>();
  private readonly bytes: Uint8Array;
  private readonly decoder: InstructionDecoder;
  private readonly descriptions: Descriptions;
  constructor(bytes: Uint8Array, decoder: InstructionDecoder, descriptions: Descriptions) {
    this.bytes = bytes;
    this.decoder = decoder;
    this.descriptions = descriptions;
  }
  /** Undefined: none, or it goes on in the next page. */
  at(offset: number): Instruction | undefined {
    if (offset < 0 || offset >= PAGE) return undefined;
    if (!this.known.has(offset)) {
      const d: Decoded | string = this.decoder.decode(this.bytes, offset, Math.min(PAGE, offset + MAX_LENGTH), 0);
      this.known.set(offset, typeof d === 'string' ? undefined : this.descriptions.instruction(d, offset));
    }
    return this.known.get(offset);
  }
}

export class Discovery {
  private readonly decoder: InstructionDecoder;
  private readonly descriptions: Descriptions;
  constructor(encodings: readonly Encoding[]) {
    this.decoder = new InstructionDecoder(encodings);
    this.descriptions = new Descriptions(encodings);
  }

  /** From the given page offsets on. Undefined: no instruction there is for the translator. */
  region(page: Uint8Array, starts: readonly number[]): Region | undefined {
    const code = new PageCode(page, this.decoder, this.descriptions);
    const hot = starts.filter((o) => (code.at(o)?.ending ?? 'interpret') !== 'interpret');
    if (!hot.length) return undefined;
    const { leaders, entries, found } = this.reach(code, hot);
    const blocks: Block[] = [];
    for (const start of leaders) {
      const b = found.has(start) ? this.block(code, start, leaders, found) : undefined;
      if (b) blocks.push(b);
    }
    const all = new Set(blocks.map((b) => b.start));
    return { entries: entries.filter((e) => all.has(e)), blocks, ranges: rangesOf(blocks) };
  }

  /** Breadth first, so that what is near the starts is in when the limit is reached. */
  private reach(code: PageCode, starts: readonly number[]) {
    const leaders = new Set(starts);
    const entries = [...starts];
    const found = new Set<number>();
    const queue = [...starts];
    const limit = MAX_INSTRUCTIONS + (starts.length - 1) * MORE_INSTRUCTIONS;
    const lead = (o: number, isEntry: boolean) => {
      if (o < 0 || o >= PAGE) return;
      if (isEntry && !entries.includes(o) && entries.length <= MAX_ENTRIES) entries.push(o);
      else if (isEntry) return;
      if (leaders.has(o)) return;
      leaders.add(o);
      queue.push(o);
    };
    while (queue.length && found.size < limit) {
      let o = queue.shift()!;
      for (;;) {
        if (found.has(o)) break;
        const i = code.at(o);
        if (!i || found.size >= limit) break;
        if (i.ending === 'interpret') {
          lead(i.next, true);
          break;
        }
        found.add(o);
        if (i.ending === 'branch' || i.ending === 'cond') lead(o + i.d.length + i.d.rel, false);
        if (i.ending === 'cond') lead(i.next, false);
        // Where a call returns to.
        if (i.encoding.insn.name === 'call') lead(i.next, true);
        if (i.ending !== 'fall') break;
        o = i.next;
      }
    }
    return { leaders, entries, found };
  }

  private block(code: PageCode, start: number, leaders: ReadonlySet<number>, found: ReadonlySet<number>): Block {
    const b = this.straight(code, start, leaders, found);
    return { ...b, instructions: markDeadFlags(b.instructions) };
  }

  private straight(code: PageCode, start: number, leaders: ReadonlySet<number>, found: ReadonlySet<number>): Block {
    const instructions: Instruction[] = [];
    for (let o = start; ; ) {
      const i = code.at(o)!;
      instructions.push(i);
      const taken = i.next + i.d.rel;
      if (i.ending === 'branch') return { start, instructions, taken };
      if (i.ending === 'cond') return { start, instructions, taken, next: i.next };
      if (i.ending === 'jump') return { start, instructions };
      o = i.next;
      if (leaders.has(o) || !found.has(o)) return { start, instructions, next: o };
    }
  }
}

function rangesOf(blocks: readonly Block[]): [number, number][] {
  const all = blocks.map((b): [number, number] => [b.start, b.instructions.at(-1)!.next]).sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [from, to] of all) {
    const last = out.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}
