/** Decompression of kernels: every format that the Linux build knows, told by its magic. */
import * as zlib from 'node:zlib';
import { unbzip2 } from './bzip2.ts';
import { unlz4 } from './lz4.ts';
import { unlzma } from './lzma.ts';
import { unlzo } from './lzo.ts';
import { DecompressError, type Decompressor } from './output.ts';
import { unxz } from './xz.ts';

export { DecompressError } from './output.ts';

export interface Format {
  readonly name: string;
  readonly magic: readonly number[];
  readonly decompress: Decompressor;
}

/** node:zlib's errors in our words. */
function viaZlib(run: (input: Uint8Array, limit: number) => Uint8Array): Decompressor {
  return (input, limit) => {
    let out: Uint8Array;
    try {
      out = run(input, Math.max(1, limit));
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
        throw new DecompressError(`more than the expected ${limit} bytes come out`);
      }
      throw new DecompressError((e as Error).message);
    }
    if (out.length > limit) throw new DecompressError(`more than the expected ${limit} bytes come out`);
    return out;
  };
}

export const FORMATS: readonly Format[] = [
  {
    name: 'gzip',
    magic: [0x1f, 0x8b],
    decompress: viaZlib((input, limit) => zlib.gunzipSync(input, { maxOutputLength: limit })),
  },
  {
    name: 'zstd',
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    decompress: viaZlib((input, limit) => {
      if (zlib.zstdDecompressSync === undefined)
        throw new Error(`needs Node.js 22.15 or later (this is ${process.version})`);
      return zlib.zstdDecompressSync(input, { maxOutputLength: limit });
    }),
  },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decompress: unxz },
  { name: 'LZ4 (legacy frame)', magic: [0x02, 0x21, 0x4c, 0x18], decompress: unlz4 },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], decompress: unbzip2 },
  { name: 'LZO', magic: [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a], decompress: unlzo },
  // No magic of its own: default properties (lc 3, lp 0, pb 2) and a dictionary of whole 16 MiB or a power of two.
  { name: 'LZMA', magic: [0x5d, 0x00, 0x00], decompress: unlzma },
];

/** The format that the data begin with, if it is one of the above. */
export function formatOf(data: Uint8Array): Format | undefined {
  return FORMATS.find((f) => f.magic.every((b, i) => data[i] === b));
}
