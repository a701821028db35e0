/**
 * lzop files (LZO1X), as the Linux build writes them with `lzop -9`. The stream's instructions are those of
 * Documentation/staging/lzo.rst of Linux; the container's those that lzop writes (version 0x0940 and later).
 */
import { crc32 } from 'node:zlib';
import { DecompressError, Input, Output } from './output.ts';

const MAGIC = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];

const F_ADLER32_D = 0x1;
const F_ADLER32_C = 0x2;
const F_H_EXTRA_FIELD = 0x40;
const F_CRC32_D = 0x100;
const F_CRC32_C = 0x200;
const F_MULTIPART = 0x400;
const F_H_FILTER = 0x800;

const LARGEST_BLOCK = 64 << 20;

export function adler32(data: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let i = 0; i < data.length; ) {
    for (const end = Math.min(i + 3800, data.length); i < end; i++) {
      a += data[i];
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

/** Decodes one LZO1X block of known decompressed size onto `out`. */
function lzo1x(src: Uint8Array, out: Output, size: number): void {
  const start = out.length;
  const end = start + size;
  let at = 0;
  /** Literals that the last instruction left to copy: 0-3, or 4 for "a run of 4 or more". */
  let state = 0;

  const byte = (): number => {
    if (at >= src.length) throw new DecompressError('truncated inside a block');
    return src[at++];
  };
  const literals = (n: number): void => {
    if (n > src.length - at || out.length + n > end)
      throw new DecompressError('literals reach past the end of a block');
    out.append(src.subarray(at, at + n));
    at += n;
  };
  const match = (distance: number, n: number): void => {
    if (distance > out.length - start) throw new DecompressError('a match reaches before the start of its block');
    if (out.length + n > end) throw new DecompressError('a match reaches past the end of a block');
    out.copy(distance, n);
  };
  /** A length in the low bits of an instruction; 0 means that it follows, 255 for each zero byte. */
  const length = (low: number, mask: number): number => {
    if (low !== 0) return low;
    let n = mask;
    let b = byte();
    while (b === 0) {
      n += 255;
      if (n > size) throw new DecompressError('a length is larger than its block');
      b = byte();
    }
    return n + b;
  };

  if (src.length > 0 && src[0] > 17) {
    const n = src[at++] - 17;
    literals(n);
    state = Math.min(n, 4);
  }
  for (;;) {
    const t = byte();
    let trailing: number;
    if (t < 16) {
      if (state === 0) {
        literals(length(t, 15) + 3);
        state = 4;
        continue;
      }
      const h = byte();
      trailing = t & 3;
      if (state === 4) match((h << 2) + (t >> 2) + 2049, 3);
      else match((h << 2) + (t >> 2) + 1, 2);
    } else if (t >= 64) {
      trailing = t & 3;
      match((byte() << 3) + ((t >> 2) & 7) + 1, (t >> 5) + 1);
    } else {
      const far = t < 32;
      const n = length(t & (far ? 7 : 31), far ? 7 : 31) + 2;
      const low = byte();
      const d = (byte() << 6) + (low >> 2);
      trailing = low & 3;
      if (far) {
        const distance = ((t & 8) << 11) + d + 16384;
        if (distance === 16384) {
          if (n !== 3) throw new DecompressError('the end mark of a block is wrong');
          break;
        }
        match(distance, n);
      } else match(d + 1, n);
    }
    state = trailing;
    literals(trailing);
  }
  if (at !== src.length) throw new DecompressError(`${src.length - at} bytes stand behind the end of a block`);
  if (out.length !== end) throw new DecompressError(`a block gives ${out.length - start} bytes instead of ${size}`);
}

function header(input: Input): number {
  for (const m of MAGIC) if (input.u8() !== m) throw new DecompressError('no lzop magic');
  const version = input.u16be();
  if (version < 0x0940) throw new DecompressError(`written by lzop version ${version.toString(16)}, which is too old`);
  input.take(4);
  const method = input.u8();
  if (method < 1 || method > 3) throw new DecompressError(`compression method ${method} is not LZO1X`);
  input.take(1);
  const flags = input.u32be();
  if (flags & F_MULTIPART) throw new DecompressError('a part of several');
  if (flags & F_H_FILTER) throw new DecompressError('a filter is applied to it');
  input.take(12);
  input.take(input.u8());
  input.take(4);
  if (flags & F_H_EXTRA_FIELD) {
    input.take(input.u32be());
    input.take(4);
  }
  return flags;
}

export function unlzo(bytes: Uint8Array, limit: number): Uint8Array {
  const input = new Input(bytes);
  const flags = header(input);
  const out = new Output(limit);
  for (;;) {
    const size = input.u32be();
    if (size === 0) break;
    if (size > LARGEST_BLOCK) throw new DecompressError(`a block of ${size} bytes is too large`);
    const packed = input.u32be();
    if (packed > size) throw new DecompressError('a block is larger compressed than not');
    const adler = flags & F_ADLER32_D ? input.u32be() : undefined;
    const crc = flags & F_CRC32_D ? input.u32be() : undefined;
    if (packed < size) input.take((flags & F_ADLER32_C ? 4 : 0) + (flags & F_CRC32_C ? 4 : 0));
    const start = out.length;
    if (packed < size) lzo1x(input.take(packed), out, size);
    else out.append(input.take(size));
    const data = out.bytes.subarray(start, out.length);
    if ((adler !== undefined && adler32(data) !== adler) || (crc !== undefined && crc32(data) !== crc)) {
      throw new DecompressError('wrong checksum of a block');
    }
  }
  return out.finish();
}
