/** Compressed clusters of qcow2: a deflate stream or a zstd frame, followed by bytes that belong to the next one. */
import { inflateRawSync, zstdDecompressSync } from 'node:zlib';

/** One cluster. `packed` begins with the stream and may go on behind it. Throws for a stream that is damaged. */
export function decompress(packed: Uint8Array, kind: 'zlib' | 'zstd', cluster: number): Uint8Array {
  const options = { maxOutputLength: cluster };
  const plain =
    kind === 'zlib'
      ? inflateRawSync(packed, options)
      : zstdDecompressSync(packed.subarray(0, frameLength(packed)), options);
  if (plain.length !== cluster) throw new RangeError(`it is ${plain.length} bytes long, not ${cluster}`);
  return plain;
}

const MAGIC = 0xfd2f_b528;
const BLOCK_RLE = 1;
/** Bytes of the frame's dictionary id and content size, by the fields of its descriptor. */
const DICTIONARY = [0, 1, 2, 4];
const CONTENT_SIZE = [0, 2, 4, 8];

/** Bytes of the zstd frame that `bytes` begins with (RFC 8878, section 3.1.1): Node decompresses no less and no more. */
export function frameLength(bytes: Uint8Array): number {
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (v.getUint32(0, true) !== MAGIC) throw new RangeError('there is no zstd frame');
  const descriptor = v.getUint8(4);
  const single = (descriptor >> 5) & 1;
  const size = CONTENT_SIZE[descriptor >> 6] || single;
  let at = 5 + (1 - single) + DICTIONARY[descriptor & 3] + size;
  for (let last = false; !last; ) {
    const header = v.getUint16(at, true) | (v.getUint8(at + 2) << 16);
    last = (header & 1) !== 0;
    at += 3 + (((header >> 1) & 3) === BLOCK_RLE ? 1 : header >>> 3);
  }
  return at + (descriptor & 4 ? 4 : 0);
}
