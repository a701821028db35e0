/**
 * LZ4's legacy frame, as `lz4 -l` and the Linux build write it: magic 02 21 4c 18, then blocks of at most 8 MiB, each
 * behind its compressed length; a new magic may start another frame (lz4_Frame_format.md, "Legacy frame").
 */
import { DecompressError, Input, Output } from './output.ts';

const MAGIC = 0x184c2102;
const BLOCK = 8 << 20;

/** Decodes one block (lz4_Block_format.md) onto `out`. Matches stay inside the block. */
function block(src: Uint8Array, out: Output): void {
  const room = Math.min(BLOCK, out.limit - out.length);
  out.reserve(room);
  const dst = out.bytes;
  const start = out.length;
  const end = start + room;
  let to = start;
  let at = 0;
  const overflow = () => {
    out.reserve(room + 1);
    throw new DecompressError('a block holds more than 8 MiB');
  };
  /** The bytes that continue a length of 15. */
  const more = (): number => {
    let n = 0;
    for (;;) {
      if (at >= src.length) throw new DecompressError('truncated inside a length');
      const b = src[at++];
      n += b;
      if (b !== 255) return n;
    }
  };
  while (at < src.length) {
    const token = src[at++];
    let literals = token >> 4;
    if (literals === 15) literals += more();
    if (literals > src.length - at) throw new DecompressError('literals reach past the end of the block');
    if (literals > end - to) overflow();
    if (literals > 32) {
      dst.set(src.subarray(at, at + literals), to);
      to += literals;
      at += literals;
    } else for (const stop = at + literals; at < stop; ) dst[to++] = src[at++];
    if (at === src.length) break;

    if (src.length - at < 2) throw new DecompressError('truncated inside a match offset');
    let from = to - (src[at] | (src[at + 1] << 8));
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) length += more();
    if (from < start || from === to) throw new DecompressError('a match reaches before the start of its block');
    if (length > end - to) overflow();
    if (length > 64 && to - from >= length) {
      dst.copyWithin(to, from, from + length);
      to += length;
    } else for (const stop = to + length; to < stop; ) dst[to++] = dst[from++];
  }
  out.length = to;
}

export function unlz4(bytes: Uint8Array, limit: number): Uint8Array {
  const input = new Input(bytes);
  if (input.u32le() !== MAGIC) throw new DecompressError('no LZ4 legacy magic');
  const out = new Output(limit, limit);
  while (input.left > 0) {
    const size = input.u32le();
    if (size === MAGIC) continue;
    if (size > BLOCK + (BLOCK >> 7)) throw new DecompressError(`a block of ${size} bytes is too large`);
    block(input.take(size), out);
  }
  return out.finish();
}
