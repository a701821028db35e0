/**
 * Linux's bzImage (Documentation/arch/x86/boot.rst): real-mode setup code, then protected-mode code that carries the
 * compressed kernel (an ELF file). Boot protocol 2.08 and later say where that payload is.
 */
import { KernelError } from './error.ts';

const SECTOR = 512;
const SETUP_SECTS = 0x1f1;
const BOOT_FLAG = 0x1fe;
const HEADER = 0x202;
const VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const HEADER_END = 0x250;
/** "HdrS" */
const MAGIC = 0x53726448;

export interface BzImage {
  /** Boot protocol, high byte major. */
  readonly version: number;
  readonly payload: Uint8Array;
}

const view = (b: Uint8Array) => new DataView(b.buffer, b.byteOffset, b.length);

export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER + 4) return false;
  const v = view(bytes);
  return v.getUint16(BOOT_FLAG, true) === 0xaa55 && v.getUint32(HEADER, true) === MAGIC;
}

const protocol = (v: number) => `${v >> 8}.${(v & 0xff).toString().padStart(2, '0')}`;

export function parseBzImage(bytes: Uint8Array): BzImage {
  if (bytes.length < HEADER_END) throw new KernelError(`truncated: ${bytes.length} bytes end inside the setup header`);
  const v = view(bytes);
  const version = v.getUint16(VERSION, true);
  if (version < 0x0208) {
    throw new KernelError(`its boot protocol is ${protocol(version)}, 2.08 or later is needed (Linux 2.6.24 or later)`);
  }
  // 0 means 4, for very old kernels.
  const setup = v.getUint8(SETUP_SECTS) || 4;
  const offset = v.getUint32(PAYLOAD_OFFSET, true);
  const length = v.getUint32(PAYLOAD_LENGTH, true);
  const start = (setup + 1) * SECTOR + offset;
  if (offset === 0 || length === 0) throw new KernelError('its setup header names no payload');
  if (start + length > bytes.length) {
    throw new KernelError(
      `truncated: the setup header puts the payload at bytes ${start} to ${start + length}, the file has ${bytes.length}`,
    );
  }
  return { version, payload: bytes.subarray(start, start + length) };
}
