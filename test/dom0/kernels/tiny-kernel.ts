/** Small kernels for tests: ELF files with Xen notes, and bzImages around any payload. */
import { XEN_ELFNOTE } from '../../../src/abi/elfnote.ts';

export interface TinySegment {
  readonly paddr: bigint;
  readonly data: Uint8Array;
  /** Bytes in memory; default: those of the file. */
  readonly size?: bigint;
}

export interface TinyNote {
  readonly name?: string;
  readonly type: number;
  readonly desc: Uint8Array;
}

export const num = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, value)).buffer);
export const str = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);

export const VIRT_BASE = 0xffff_ffff_8000_0000n;
export const LOAD = 0x10_0000n;

/** The notes of a Linux-like kernel; `change` replaces (or with undefined, removes) some by type. */
export function linuxNotes(change: Partial<Record<keyof typeof XEN_ELFNOTE, Uint8Array | undefined>> = {}): TinyNote[] {
  const notes: Partial<Record<keyof typeof XEN_ELFNOTE, Uint8Array | undefined>> = {
    ENTRY: num(VIRT_BASE + LOAD),
    VIRT_BASE: num(VIRT_BASE),
    PADDR_OFFSET: num(0n),
    XEN_VERSION: str('xen-3.0'),
    GUEST_OS: str('linux'),
    GUEST_VERSION: str('2.6'),
    LOADER: str('generic'),
    PAE_MODE: str('yes'),
    FEATURES: str('!writable_page_tables|pae_pgdir_above_4gb'),
    SUPPORTED_FEATURES: new Uint8Array(Uint32Array.of(0x8801).buffer),
    HV_START_LOW: num(0xffff_8000_0000_0000n),
    L1_MFN_VALID: new Uint8Array([...num(1n), ...num(1n)]),
    SUSPEND_CANCEL: new Uint8Array(Uint32Array.of(1).buffer),
    INIT_P2M: num(0x80_0000_0000n),
    MOD_START_PFN: new Uint8Array(Uint32Array.of(1).buffer),
    PHYS32_ENTRY: new Uint8Array(Uint32Array.of(0x10_0850).buffer),
    ...change,
  };
  return Object.entries(notes).flatMap(([k, desc]) =>
    desc ? [{ type: XEN_ELFNOTE[k as keyof typeof XEN_ELFNOTE], desc }] : [],
  );
}

const align = (n: number, a: number) => Math.ceil(n / a) * a;

function packNotes(notes: readonly TinyNote[]): Uint8Array {
  const parts = notes.map(({ name = 'Xen', type, desc }) => {
    const n = str(name);
    const out = new Uint8Array(12 + align(n.length, 4) + align(desc.length, 4));
    const v = new DataView(out.buffer);
    v.setUint32(0, n.length, true);
    v.setUint32(4, desc.length, true);
    v.setUint32(8, type, true);
    out.set(n, 12);
    out.set(desc, 12 + align(n.length, 4));
    return out;
  });
  return Uint8Array.from(parts.flatMap((p) => [...p]));
}

/** Machine code and data enough that compressors have something to do. */
export function sampleText(length = 6000): Uint8Array {
  const out = new Uint8Array(length);
  let seed = 12345;
  for (let i = 0; i < length; i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    out[i] = i % 97 < 60 ? (i * 7) & 0x3f : seed >>> 24;
  }
  // Calls, so that the x86 filter has work.
  for (let i = 64; i + 5 < length; i += 211) out.set([0xe8, i & 0xff, (i >> 8) & 0xff, 0, 0], i);
  return out;
}

export interface TinyElf {
  readonly segments?: readonly TinySegment[];
  /** undefined: no notes at all. */
  readonly notes?: readonly TinyNote[];
  /** Notes in a section instead of a program header. */
  readonly section?: boolean;
  readonly entry?: bigint;
}

export function tinyElf(o: TinyElf = {}): Uint8Array {
  const segments = o.segments ?? [{ paddr: LOAD, data: sampleText() }];
  const notes = o.notes ? packNotes(o.notes) : undefined;
  const phnum = segments.length + (notes && !o.section ? 1 : 0);
  let at = 64 + 56 * phnum;
  const place = (data: Uint8Array) => {
    const start = align(at, 8);
    at = start + data.length;
    return start;
  };
  const starts = segments.map((s) => place(s.data));
  const noteStart = notes ? place(notes) : 0;
  const shoff = notes && o.section ? place(new Uint8Array(64)) : 0;
  const out = new Uint8Array(at);
  const v = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  v.setUint16(16, 2, true);
  v.setUint16(18, 62, true);
  v.setUint32(20, 1, true);
  v.setBigUint64(24, o.entry ?? LOAD, true);
  v.setBigUint64(32, 64n, true);
  v.setBigUint64(40, BigInt(shoff), true);
  v.setUint16(52, 64, true);
  v.setUint16(54, 56, true);
  v.setUint16(56, phnum, true);
  v.setUint16(58, 64, true);
  v.setUint16(60, shoff ? 1 : 0, true);
  const header = (i: number, type: number, offset: number, paddr: bigint, filesz: number, memsz: bigint) => {
    const p = 64 + i * 56;
    v.setUint32(p, type, true);
    v.setUint32(p + 4, 7, true);
    v.setBigUint64(p + 8, BigInt(offset), true);
    v.setBigUint64(p + 16, BigInt.asUintN(64, paddr + VIRT_BASE), true);
    v.setBigUint64(p + 24, paddr, true);
    v.setBigUint64(p + 32, BigInt(filesz), true);
    v.setBigUint64(p + 40, memsz, true);
  };
  segments.forEach((s, i) => {
    header(i, 1, starts[i], s.paddr, s.data.length, s.size ?? BigInt(s.data.length));
    out.set(s.data, starts[i]);
  });
  if (notes) {
    if (!o.section) header(segments.length, 4, noteStart, 0n, notes.length, BigInt(notes.length));
    else {
      v.setUint32(shoff + 4, 7, true);
      v.setBigUint64(shoff + 24, BigInt(noteStart), true);
      v.setBigUint64(shoff + 32, BigInt(notes.length), true);
    }
    out.set(notes, noteStart);
  }
  return out;
}

/** A bzImage with `payload` as it stands. */
export function bzImage(payload: Uint8Array, version = 0x020f): Uint8Array {
  const setup = 1;
  const offset = 0x40;
  const start = (setup + 1) * 512 + offset;
  const out = new Uint8Array(start + payload.length + 32);
  const v = new DataView(out.buffer);
  out[0x1f1] = setup;
  v.setUint16(0x1fe, 0xaa55, true);
  v.setUint32(0x202, 0x53726448, true);
  v.setUint16(0x206, version, true);
  v.setUint32(0x248, offset, true);
  v.setUint32(0x24c, payload.length, true);
  out.set(payload, start);
  return out;
}

/** The payload as the Linux build makes it: the length of what is inside follows, except with gzip. */
export function withSize(compressed: Uint8Array, size: number): Uint8Array {
  return new Uint8Array([...compressed, ...new Uint8Array(Uint32Array.of(size).buffer)]);
}
