/**
 * The LZMA decoder (LZMA specification in the LZMA SDK, "lzma-specification.txt"), and the .lzma container around a
 * single stream. xz.ts uses the decoder for LZMA2's chunks.
 */
import { DecompressError, Input, Output } from './output.ts';

const STATES = 12;
const POS_STATES = 16;
const LEN_STATES = 4;
const MIN_MATCH = 2;
const TOP = 1 << 24;
const HALF = 1 << 10;
const END_DISTANCE = 0xffff_ffff;

/** Layout of the probabilities in one array. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const POS_SLOT = IS_REP0_LONG + STATES * POS_STATES;
const POS_SPECIAL = POS_SLOT + LEN_STATES * 64;
const POS_ALIGN = POS_SPECIAL + 128;
/** A length coder: choice, choice2, low[16][8], mid[16][8], high[256]. */
const LEN_LOW = 2;
const LEN_MID = LEN_LOW + POS_STATES * 8;
const LEN_HIGH = LEN_MID + POS_STATES * 8;
const LEN_SIZE = LEN_HIGH + 256;
const MATCH_LEN = POS_ALIGN + 16;
const REP_LEN = MATCH_LEN + LEN_SIZE;
const LITERAL = REP_LEN + LEN_SIZE;

export class LzmaDecoder {
  private readonly out: Output;
  private probs = new Uint16Array(0);
  private lc = 0;
  private lpMask = 0;
  private pbMask = 0;
  private state = 0;
  private rep0 = 0;
  private rep1 = 0;
  private rep2 = 0;
  private rep3 = 0;
  private src: Uint8Array = new Uint8Array(0);
  private at = 0;
  private range = 0;
  private code = 0;
  /** Length in `out` where the dictionary begins: matches may not reach before it. */
  dictStart = 0;
  dictSize = 0;

  constructor(out: Output) {
    this.out = out;
  }

  /** Takes the properties byte ((pb * 5 + lp) * 9 + lc) and forgets everything learnt. */
  setProperties(props: number): void {
    if (props >= 225) throw new DecompressError(`LZMA properties ${props} are not valid`);
    this.lc = props % 9;
    const rest = Math.floor(props / 9);
    this.lpMask = (1 << (rest % 5)) - 1;
    this.pbMask = (1 << Math.floor(rest / 5)) - 1;
    this.probs = new Uint16Array(LITERAL + (0x300 << (this.lc + (rest % 5))));
    this.resetState();
  }

  resetState(): void {
    this.probs.fill(HALF);
    this.state = 0;
    this.rep0 = this.rep1 = this.rep2 = this.rep3 = 0;
  }

  /** Starts a range-coded run at src[at]; bytes behind `src`'s end are an error once they are needed. */
  startRange(src: Uint8Array, at: number): void {
    if (src.length - at < 5) throw new DecompressError('truncated inside the range coder’s start');
    if (src[at] !== 0) throw new DecompressError('the range coder’s first byte is not 0');
    this.src = src;
    this.at = at + 5;
    this.range = 0xffff_ffff;
    this.code = ((src[at + 1] << 24) | (src[at + 2] << 16) | (src[at + 3] << 8) | src[at + 4]) >>> 0;
  }

  /** Position in the input behind what was consumed. */
  get position(): number {
    return this.at;
  }

  /** Has the range coder come to the end that a well-formed run has? */
  get finished(): boolean {
    return this.code === 0;
  }

  private normalize(): void {
    if (this.range < TOP) {
      if (this.at >= this.src.length) throw new DecompressError(`truncated: ends at byte ${this.src.length}`);
      this.range = (this.range << 8) >>> 0;
      this.code = ((this.code << 8) | this.src[this.at++]) >>> 0;
    }
  }

  private bit(i: number): number {
    const p = this.probs[i];
    const bound = (this.range >>> 11) * p;
    let b: number;
    if (this.code < bound) {
      this.range = bound;
      this.probs[i] = p + ((2048 - p) >> 5);
      b = 0;
    } else {
      this.range -= bound;
      this.code -= bound;
      this.probs[i] = p - (p >> 5);
      b = 1;
    }
    if (this.range < TOP) this.normalize();
    return b;
  }

  private tree(base: number, bits: number): number {
    let m = 1;
    for (let i = 0; i < bits; i++) m = (m << 1) | this.bit(base + m);
    return m - (1 << bits);
  }

  private reverseTree(base: number, bits: number): number {
    let m = 1;
    let v = 0;
    for (let i = 0; i < bits; i++) {
      const b = this.bit(base + m);
      m = (m << 1) | b;
      v |= b << i;
    }
    return v;
  }

  private direct(bits: number): number {
    let v = 0;
    for (let i = 0; i < bits; i++) {
      this.range >>>= 1;
      const b = this.code >= this.range ? 1 : 0;
      if (b) this.code -= this.range;
      v = ((v << 1) | b) >>> 0;
      this.normalize();
    }
    return v;
  }

  private length(base: number, posState: number): number {
    if (this.bit(base) === 0) return this.tree(base + LEN_LOW + posState * 8, 3);
    if (this.bit(base + 1) === 0) return 8 + this.tree(base + LEN_MID + posState * 8, 3);
    return 16 + this.tree(base + LEN_HIGH, 8);
  }

  private distance(len: number): number {
    const slot = this.tree(POS_SLOT + Math.min(len, LEN_STATES - 1) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const base = ((2 | (slot & 1)) << bits) >>> 0;
    if (slot < 14) return base + this.reverseTree(POS_SPECIAL + base - slot, bits);
    return base + this.direct(bits - 4) * 16 + this.reverseTree(POS_ALIGN, 4);
  }

  /** One literal byte. The loop is written out: it is where the time goes. */
  private literal(posMasked: number, prev: number): void {
    const { probs, src, out } = this;
    const base = LITERAL + 0x300 * ((posMasked << this.lc) + (prev >> (8 - this.lc)));
    let { range, code, at } = this;
    let symbol = 1;
    /** While the decoded bits equal those of the byte at rep0, they choose the probabilities. */
    let offset = 0;
    let matchByte = 0;
    if (this.state >= 7) {
      matchByte = out.bytes[out.length - this.rep0 - 1];
      offset = 0x100;
    }
    do {
      matchByte <<= 1;
      const matchBit = matchByte & offset;
      const i = base + offset + matchBit + symbol;
      const p = probs[i];
      const bound = (range >>> 11) * p;
      if (code < bound) {
        range = bound;
        probs[i] = p + ((2048 - p) >> 5);
        symbol <<= 1;
        offset &= ~matchBit;
      } else {
        range -= bound;
        code -= bound;
        probs[i] = p - (p >> 5);
        symbol = (symbol << 1) | 1;
        offset &= matchBit;
      }
      if (range < TOP) {
        if (at >= src.length) throw new DecompressError(`truncated: ends at byte ${src.length}`);
        range = (range << 8) >>> 0;
        code = ((code << 8) | src[at++]) >>> 0;
      }
    } while (symbol < 0x100);
    this.range = range;
    this.code = code;
    this.at = at;
    out.bytes[out.length++] = symbol;
  }

  private copy(len: number): void {
    const { out } = this;
    const distance = this.rep0 + 1;
    if (distance > out.length - this.dictStart || distance > this.dictSize) {
      throw new DecompressError(`a match reaches ${distance} bytes back, before the start of the dictionary`);
    }
    out.copy(distance, len);
  }

  /**
   * Decodes until `end` bytes are in the output. A match that reaches past `end` is an error. With `marker` an end mark
   * may come first; returns whether it did.
   */
  decode(end: number, marker: boolean): boolean {
    const { out } = this;
    out.reserve(Math.min(end, out.limit) - out.length);
    while (out.length < end) {
      const pos = out.length - this.dictStart;
      const posState = pos & this.pbMask;
      const state = this.state;
      if (this.bit(IS_MATCH + (state << 4) + posState) === 0) {
        if (out.length >= out.limit) out.reserve(1);
        this.literal(pos & this.lpMask, pos > 0 ? out.bytes[out.length - 1] : 0);
        this.state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      let len: number;
      if (this.bit(IS_REP + state) === 0) {
        this.rep3 = this.rep2;
        this.rep2 = this.rep1;
        this.rep1 = this.rep0;
        len = this.length(MATCH_LEN, posState);
        this.state = state < 7 ? 7 : 10;
        this.rep0 = this.distance(len);
        if (this.rep0 === END_DISTANCE) {
          if (!marker) throw new DecompressError('an end mark where none may be');
          this.normalize();
          return true;
        }
      } else {
        if (this.bit(IS_REP_G0 + state) === 0) {
          if (this.bit(IS_REP0_LONG + (state << 4) + posState) === 0) {
            this.state = state < 7 ? 9 : 11;
            this.copy(1);
            continue;
          }
        } else {
          let distance: number;
          if (this.bit(IS_REP_G1 + state) === 0) distance = this.rep1;
          else {
            if (this.bit(IS_REP_G2 + state) === 0) distance = this.rep2;
            else {
              distance = this.rep3;
              this.rep3 = this.rep2;
            }
            this.rep2 = this.rep1;
          }
          this.rep1 = this.rep0;
          this.rep0 = distance;
        }
        len = this.length(REP_LEN, posState);
        this.state = state < 7 ? 8 : 11;
      }
      if (len + MIN_MATCH > end - out.length) throw new DecompressError('a match reaches past the end');
      this.copy(len + MIN_MATCH);
    }
    return false;
  }
}

/** A .lzma file: properties, dictionary size, length (all ones: unknown, an end mark ends it), data. */
export function unlzma(bytes: Uint8Array, limit: number): Uint8Array {
  const input = new Input(bytes);
  const props = input.u8();
  const dictSize = input.u32le();
  const low = input.u32le();
  const high = input.u32le();
  const unknown = low === 0xffff_ffff && high === 0xffff_ffff;
  const size = high * 2 ** 32 + low;
  if (!unknown && size > limit) throw new DecompressError(`its head says ${size} bytes; at most ${limit} may come out`);
  const out = new Output(limit, unknown ? limit : size);
  const decoder = new LzmaDecoder(out);
  decoder.dictSize = Math.max(dictSize, 4096);
  decoder.setProperties(props);
  decoder.startRange(bytes, input.at);
  // One byte past the limit, so that "too much" is told from "no end mark".
  const marked = decoder.decode(unknown ? limit + 1 : size, true);
  if (!unknown && marked && out.length !== size) throw new DecompressError(`ends after ${out.length} of ${size} bytes`);
  if (!decoder.finished) throw new DecompressError('the data do not end where they should');
  return out.finish();
}
