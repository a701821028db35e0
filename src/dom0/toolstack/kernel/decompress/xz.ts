/**
 * .xz files with the filters LZMA2 and x86 (The .xz File Format, version 1.0.4), as the Linux build writes them. All
 * checks of the format are verified. Several streams and stream padding are read too.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { unfilterX86 } from './bcj-x86.ts';
import { crc64 } from './crc64.ts';
import { LzmaDecoder } from './lzma.ts';
import { DecompressError, Input, Output } from './output.ts';

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;

const CHECK_NONE = 0;
const CHECK_CRC32 = 1;
const CHECK_CRC64 = 4;
const CHECK_SHA256 = 10;
/** Bytes of a check, by its id. */
const CHECK_SIZE = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

/** A number of 7 bits a byte, low first, at most 9 bytes. */
function vli(input: Input): number {
  let v = 0;
  for (let i = 0; i < 9; i++) {
    const b = input.u8();
    v += (b & 0x7f) * 2 ** (7 * i);
    if (b < 0x80) {
      if (b === 0 && i > 0) break;
      if (!Number.isSafeInteger(v)) throw new DecompressError('a length is absurd');
      return v;
    }
  }
  throw new DecompressError('a number is not well formed');
}

interface Filters {
  readonly dictSize: number;
  /** Start offset of the x86 filter, if there is one. */
  readonly x86?: number;
}

interface BlockHeader extends Filters {
  readonly packed?: number;
  readonly size?: number;
}

function filters(input: Input, count: number): Filters {
  let x86: number | undefined;
  for (let i = 0; i < count; i++) {
    const id = vli(input);
    const props = input.take(vli(input));
    if (id === FILTER_LZMA2 && i === count - 1) {
      if (props.length !== 1 || props[0] > 40) throw new DecompressError('the dictionary size is not valid');
      const bits = props[0];
      const dictSize = bits === 40 ? 0xffff_ffff : (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11);
      return { dictSize, x86 };
    }
    if (id === FILTER_X86 && i === 0 && count === 2 && (props.length === 0 || props.length === 4)) {
      x86 = props.length === 0 ? 0 : new Input(props).u32le();
    } else throw new DecompressError(`filter ${id.toString(16)} is not supported here (LZMA2 and x86 are)`);
  }
  throw new DecompressError('the last filter is not LZMA2');
}

function blockHeader(bytes: Uint8Array, at: number): BlockHeader {
  const size = (bytes[at] + 1) * 4;
  if (size > bytes.length - at) throw new DecompressError('truncated inside a block header');
  const input = new Input(bytes.subarray(at, at + size), 1);
  if (crc32(bytes.subarray(at, at + size - 4)) !== new Input(bytes, at + size - 4).u32le()) {
    throw new DecompressError('wrong checksum of a block header');
  }
  const flags = input.u8();
  if (flags & 0x3c) throw new DecompressError('reserved bits of a block header are set');
  const packed = flags & 0x40 ? vli(input) : undefined;
  const unpacked = flags & 0x80 ? vli(input) : undefined;
  return { packed, size: unpacked, ...filters(input, (flags & 3) + 1) };
}

/** LZMA2: chunks, each behind a control byte. */
function lzma2(input: Input, out: Output, dictSize: number): void {
  const decoder = new LzmaDecoder(out);
  decoder.dictSize = dictSize;
  decoder.dictStart = out.length;
  let needDict = true;
  let needProps = true;
  let needState = true;
  for (;;) {
    const control = input.u8();
    if (control === 0) return;
    if (control === 1 || control >= 0xe0) {
      decoder.dictStart = out.length;
      needDict = false;
    } else if (needDict) throw new DecompressError('the first chunk does not start a dictionary');
    if (control < 0x80) {
      if (control > 2) throw new DecompressError(`a chunk’s control byte is ${control.toString(16)}`);
      out.append(input.take(input.u16be() + 1));
      needState = true;
      continue;
    }
    const size = ((control & 0x1f) << 16) + input.u16be() + 1;
    const packed = input.u16be() + 1;
    if (control >= 0xc0) {
      const props = input.u8();
      if ((props % 9) + (Math.floor(props / 9) % 5) > 4) throw new DecompressError('lc + lp is more than 4');
      decoder.setProperties(props);
      needProps = needState = false;
    } else if (needProps) throw new DecompressError('a chunk comes before any properties');
    else if (control >= 0xa0) {
      decoder.resetState();
      needState = false;
    } else if (needState) throw new DecompressError('a chunk does not reset the state where it must');
    decoder.startRange(input.take(packed), 0);
    decoder.decode(out.length + size, false);
    if (decoder.position !== packed || !decoder.finished)
      throw new DecompressError('a chunk does not end where it should');
  }
}

function verify(check: number, data: Uint8Array, stored: Uint8Array): void {
  const at = new Input(stored);
  let ok = true;
  if (check === CHECK_CRC32) ok = crc32(data) === at.u32le();
  else if (check === CHECK_CRC64) {
    const [low, high] = crc64(data);
    ok = low === at.u32le() && high === at.u32le();
  } else if (check === CHECK_SHA256) ok = createHash('sha256').update(data).digest().equals(stored);
  else if (check !== CHECK_NONE) throw new DecompressError(`check type ${check} is not known`);
  if (!ok) throw new DecompressError('wrong checksum of the data');
}

const align4 = (n: number) => (n + 3) & ~3;

function padding(input: Input, from: number): void {
  while ((input.at - from) & 3) if (input.u8() !== 0) throw new DecompressError('padding is not zero');
}

/** One stream. */
function stream(input: Input, out: Output): void {
  const bytes = input.bytes;
  for (const m of MAGIC) if (input.u8() !== m) throw new DecompressError('no xz magic');
  const flags = input.take(2);
  if (crc32(flags) !== input.u32le()) throw new DecompressError('wrong checksum of the stream header');
  if (flags[0] !== 0 || flags[1] > 15) throw new DecompressError('reserved bits of the stream header are set');
  const check = flags[1];
  const records: [number, number][] = [];

  while (bytes[input.at] !== 0) {
    if (input.left === 0) throw new DecompressError('truncated: no index');
    const start = input.at;
    const head = blockHeader(bytes, start);
    input.at = start + (bytes[start] + 1) * 4;
    const dataAt = input.at;
    const from = out.length;
    lzma2(input, out, head.dictSize);
    const size = out.length - from;
    const packed = input.at - dataAt;
    if ((head.packed ?? packed) !== packed || (head.size ?? size) !== size) {
      throw new DecompressError('a block’s length is not that of its header');
    }
    const unpadded = input.at - start + CHECK_SIZE[check];
    padding(input, dataAt);
    const data = out.bytes.subarray(from, out.length);
    if (head.x86 !== undefined) unfilterX86(data, head.x86);
    verify(check, data, input.take(CHECK_SIZE[check]));
    records.push([unpadded, size]);
  }

  const index = input.at;
  input.u8();
  if (vli(input) !== records.length) throw new DecompressError('the index does not match the blocks');
  for (const [unpadded, size] of records) {
    if (vli(input) !== unpadded || vli(input) !== size)
      throw new DecompressError('the index does not match the blocks');
  }
  padding(input, index);
  const indexSize = input.at - index + 4;
  if (crc32(bytes.subarray(index, input.at)) !== input.u32le())
    throw new DecompressError('wrong checksum of the index');

  const crc = input.u32le();
  const tail = input.take(6);
  if (crc32(tail) !== crc) throw new DecompressError('wrong checksum of the stream footer');
  if ((new Input(tail).u32le() + 1) * 4 !== align4(indexSize) || tail[4] !== flags[0] || tail[5] !== flags[1]) {
    throw new DecompressError('the stream footer does not match its header');
  }
  if (input.u8() !== 0x59 || input.u8() !== 0x5a) throw new DecompressError('no magic in the stream footer');
}

export function unxz(bytes: Uint8Array, limit: number): Uint8Array {
  const input = new Input(bytes);
  const out = new Output(limit);
  do {
    stream(input, out);
    while (input.left >= 4 && input.bytes[input.at] === 0) {
      if (input.u32le() !== 0) throw new DecompressError('padding is not zero');
    }
  } while (input.left > 0);
  return out.finish();
}
