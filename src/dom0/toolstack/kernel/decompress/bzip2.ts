/**
 * bzip2 files. Blocks of Huffman-coded, move-to-front, Burrows-Wheeler-transformed data; checksums of blocks and of
 * each stream are verified. Randomised blocks (bzip2 before 0.9.5) are refused.
 */
import { DecompressError, Output } from './output.ts';

const BLOCK_MAGIC = 0x3141_5926_5359;
const END_MAGIC = 0x1772_4538_5090;
const GROUP = 50;
const MAX_CODE = 20;
const RUN_A = 0;
const RUN_B = 1;

/** CRC-32, most significant bit first. */
const CRC = new Uint32Array(256).map((_, i) => {
  let c = i << 24;
  for (let k = 0; k < 8; k++) c = c & 0x8000_0000 ? (c << 1) ^ 0x04c1_1db7 : c << 1;
  return c;
});

class Bits {
  private readonly bytes: Uint8Array;
  private at: number;
  private hold = 0;
  private count = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.at = 0;
  }

  /** n up to 24. */
  take(n: number): number {
    while (this.count < n) {
      if (this.at >= this.bytes.length) throw new DecompressError(`truncated: ends at byte ${this.bytes.length}`);
      this.hold = (this.hold << 8) | this.bytes[this.at++];
      this.count += 8;
    }
    this.count -= n;
    return (this.hold >>> this.count) & ((1 << n) - 1);
  }

  u32(): number {
    return (this.take(16) * 0x1_0000 + this.take(16)) >>> 0;
  }

  u48(): number {
    return this.take(24) * 0x100_0000 + this.take(24);
  }

  /** Skips to a byte; are there more? */
  align(): boolean {
    this.count -= this.count & 7;
    return this.count > 0 || this.at < this.bytes.length;
  }
}

/** Canonical Huffman code: for each length the first code that is too large, and where its symbols begin. */
interface Code {
  readonly limit: Int32Array;
  readonly base: Int32Array;
  readonly symbols: Uint16Array;
  readonly shortest: number;
  readonly longest: number;
}

function huffman(lengths: Uint8Array): Code {
  const count = new Int32Array(MAX_CODE + 2);
  for (const n of lengths) count[n]++;
  const symbols = new Uint16Array(lengths.length);
  const limit = new Int32Array(MAX_CODE + 2);
  const base = new Int32Array(MAX_CODE + 2);
  let at = 0;
  let code = 0;
  let shortest = MAX_CODE;
  let longest = 1;
  for (let n = 1; n <= MAX_CODE; n++) {
    base[n] = at - code;
    for (let s = 0; s < lengths.length; s++) if (lengths[s] === n) symbols[at++] = s;
    if (count[n] > 0) {
      shortest = Math.min(shortest, n);
      longest = n;
    }
    code += count[n];
    if (code > 1 << n) throw new DecompressError('a Huffman table is over-full');
    limit[n] = code;
    code <<= 1;
  }
  return { limit, base, symbols, shortest, longest };
}

function symbol(bits: Bits, c: Code): number {
  let n = c.shortest;
  let v = bits.take(n);
  while (v >= c.limit[n]) {
    if (++n > c.longest) throw new DecompressError('a Huffman code is not in its table');
    v = (v << 1) | bits.take(1);
  }
  return c.symbols[v + c.base[n]];
}

function symbolsUsed(bits: Bits): number[] {
  const ranges = bits.take(16);
  const used: number[] = [];
  for (let i = 0; i < 16; i++) {
    if (!(ranges & (0x8000 >> i))) continue;
    const here = bits.take(16);
    for (let j = 0; j < 16; j++) if (here & (0x8000 >> j)) used.push(i * 16 + j);
  }
  if (used.length === 0) throw new DecompressError('a block uses no symbols');
  return used;
}

function selectorsOf(bits: Bits, tables: number): Uint8Array {
  const n = bits.take(15);
  if (n === 0) throw new DecompressError('a block has no selectors');
  const front = [...Array(tables).keys()];
  return new Uint8Array(n).map(() => {
    let j = 0;
    while (bits.take(1)) if (++j >= tables) throw new DecompressError('a selector names no table');
    const [t] = front.splice(j, 1);
    front.unshift(t);
    return t;
  });
}

function codeLengths(bits: Bits, symbols: number): Uint8Array {
  let n = bits.take(5);
  return new Uint8Array(symbols).map(() => {
    for (;;) {
      if (n < 1 || n > MAX_CODE) throw new DecompressError('a Huffman code length is not valid');
      if (!bits.take(1)) return n;
      n += bits.take(1) ? -1 : 1;
    }
  });
}

/** Huffman and move-to-front: fills `block` with bytes, returns how many. */
function readBlock(bits: Bits, block: Uint32Array): number {
  const front = Uint8Array.from(symbolsUsed(bits));
  const end = front.length + 1;
  const tables = bits.take(3);
  if (tables < 2 || tables > 6) throw new DecompressError(`a block has ${tables} Huffman tables`);
  const selectors = selectorsOf(bits, tables);
  const codes = Array.from({ length: tables }, () => huffman(codeLengths(bits, end + 1)));
  let length = 0;
  let run = 0;
  let weight = 1;
  for (let group = 0; ; group++) {
    if (group >= selectors.length) throw new DecompressError('a block has more symbols than selectors');
    const code = codes[selectors[group]];
    for (let i = 0; i < GROUP; i++) {
      const s = symbol(bits, code);
      if (s <= RUN_B) {
        run += (s === RUN_A ? 1 : 2) * weight;
        weight *= 2;
        if (run > block.length) throw new DecompressError('a run is longer than its block');
        continue;
      }
      if (run > 0) {
        if (length + run > block.length) throw new DecompressError('a block is longer than its size');
        block.fill(front[0], length, length + run);
        length += run;
        run = 0;
        weight = 1;
      }
      if (s === end) return length;
      if (length >= block.length) throw new DecompressError('a block is longer than its size');
      const b = front[s - 1];
      front.copyWithin(1, 0, s - 1);
      front[0] = b;
      block[length++] = b;
    }
  }
}

/** Undoes the Burrows-Wheeler transform and the first run-length coding; returns the block's checksum. */
function writeBlock(block: Uint32Array, length: number, origin: number, out: Output): number {
  const starts = new Int32Array(256);
  for (let i = 0; i < length; i++) starts[block[i]]++;
  for (let b = 0, at = 0; b < 256; b++) {
    const n = starts[b];
    starts[b] = at;
    at += n;
  }
  // Upper 24 bits: where the next byte is; lower 8: the byte.
  for (let i = 0; i < length; i++) block[starts[block[i] & 0xff]++] |= i << 8;
  let crc = 0xffff_ffff;
  let at = block[origin] >>> 8;
  let repeats = 0;
  let last = -1;
  for (let i = 0; i < length; i++) {
    const b = block[at] & 0xff;
    at = block[at] >>> 8;
    let n = 1;
    let value = b;
    if (repeats === 4) {
      n = b;
      value = last;
      repeats = 0;
      last = -1;
    } else if (b === last) repeats++;
    else {
      repeats = 1;
      last = b;
    }
    out.reserve(n);
    for (; n > 0; n--) {
      out.bytes[out.length++] = value;
      crc = (crc << 8) ^ CRC[(crc >>> 24) ^ value];
    }
  }
  return ~crc >>> 0;
}

export function unbzip2(bytes: Uint8Array, limit: number): Uint8Array {
  const bits = new Bits(bytes);
  const out = new Output(limit);
  do {
    const level = bits.take(24) === 0x42_5a68 ? bits.take(8) - 0x30 : 0;
    if (level < 1 || level > 9) throw new DecompressError('no bzip2 magic');
    const block = new Uint32Array(level * 100_000);
    let whole = 0;
    let magic = bits.u48();
    while (magic === BLOCK_MAGIC) {
      const crc = bits.u32();
      if (bits.take(1)) throw new DecompressError('a randomised block (bzip2 before 0.9.5)');
      const origin = bits.take(24);
      const length = readBlock(bits, block);
      if (origin >= length) throw new DecompressError('a block’s origin is outside of it');
      if (writeBlock(block, length, origin, out) !== crc) throw new DecompressError('wrong checksum of a block');
      whole = ((whole << 1) | (whole >>> 31)) ^ crc;
      magic = bits.u48();
    }
    if (magic !== END_MAGIC) throw new DecompressError('neither a block nor the end');
    if (whole >>> 0 !== bits.u32()) throw new DecompressError('wrong checksum of the stream');
  } while (bits.align());
  return out.finish();
}
