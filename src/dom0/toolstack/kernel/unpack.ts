/**
 * Kernel images: the ELF file in a bzImage or a compressed file. A pure function of the file's bytes, so that its result may be kept; where it
 * is kept, none of this is loaded.
 */
import { MAX_KERNEL_BYTES } from './bytes.ts';
import { isBzImage, parseBzImage } from './bzimage.ts';
import { DecompressError, type Format, formatOf } from './decompress/index.ts';
import { isElf } from './elf.ts';
import { KernelError } from './error.ts';
import { type Kernel, parseKernel } from './kernel.ts';

const MiB = (n: number) => `${(n / 2 ** 20).toFixed(1)} MiB`;

function decompress(format: Format, data: Uint8Array, limit: number): Uint8Array {
  try {
    return format.decompress(data, limit);
  } catch (e) {
    if (!(e instanceof DecompressError)) throw e;
    throw new KernelError(`its ${format.name} data are corrupt: ${e.message}`);
  }
}

/** The ELF file in a bzImage's payload. The Linux build puts the uncompressed length behind it (gzip has it anyway). */
function unpackPayload(payload: Uint8Array): Uint8Array {
  if (isElf(payload)) return payload;
  const format = formatOf(payload);
  if (!format) {
    const head = [...payload.subarray(0, 8)].map((b) => b.toString(16).padStart(2, '0')).join(' ');
    throw new KernelError(
      `its payload begins with ${head}: neither an ELF file nor gzip, zstd, xz, LZ4, bzip2, LZO or LZMA data`,
    );
  }
  if (payload.length < 8) throw new KernelError(`truncated: its payload has ${payload.length} bytes`);
  const tail = payload.subarray(payload.length - 4);
  const size = new DataView(tail.buffer, tail.byteOffset, 4).getUint32(0, true);
  if (size > MAX_KERNEL_BYTES) {
    throw new KernelError(`says that it has ${MiB(size)} uncompressed; at most ${MiB(MAX_KERNEL_BYTES)} are allowed`);
  }
  const data = format.name === 'gzip' ? payload : payload.subarray(0, -4);
  const elf = decompress(format, data, size);
  if (elf.length !== size) {
    throw new KernelError(
      `its ${format.name} data give ${elf.length} bytes where ${size} are announced: it is corrupt`,
    );
  }
  return elf;
}

/** The ELF file inside a kernel image. Slow (up to seconds); depends on nothing but the bytes. */
export function unpackKernel(image: Uint8Array): Uint8Array {
  if (image.length === 0) throw new KernelError('is empty');
  if (isBzImage(image)) return unpackPayload(parseBzImage(image).payload);
  if (isElf(image)) return image;
  const format = formatOf(image);
  if (!format) throw new KernelError('is no kernel: neither a Linux bzImage nor an ELF file (compressed or not)');
  return decompress(format, image, MAX_KERNEL_BYTES);
}

/** Both halves. `name` goes before the message of an error. */
export function loadKernel(image: Uint8Array, name = 'the kernel'): Kernel {
  try {
    return parseKernel(unpackKernel(image));
  } catch (e) {
    if (e instanceof KernelError) throw new KernelError(`${name} ${e.message}`);
    throw e;
  }
}
