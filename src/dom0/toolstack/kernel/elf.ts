/** ELF files (System V ABI, "Object Files"): the program headers and notes of an x86-64 kernel. All reads are checked. */
import { copyOf, type KernelBytes, slice } from './bytes.ts';
import { KernelError } from './error.ts';

const EI_CLASS = 4;
const EI_DATA = 5;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_X86_64 = 62;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const PT_LOAD = 1;
const PT_NOTE = 4;
const SHT_NOTE = 7;
const PN_XNUM = 0xffff;

const MACHINES: Record<number, string> = {
  3: 'i386',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC 64',
  22: 'S/390',
  40: 'Arm',
  183: 'AArch64',
  243: 'RISC-V',
};

/** A part of the file to be put in memory; `size` beyond `data` is zero. */
export interface Segment {
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly data: KernelBytes;
  readonly size: bigint;
}

export interface Note {
  readonly name: string;
  readonly type: number;
  readonly desc: Uint8Array;
}

export interface Elf {
  readonly entry: bigint;
  readonly segments: readonly Segment[];
  readonly notes: readonly Note[];
}

export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

function identify(bytes: Uint8Array, v: DataView): void {
  if (bytes[EI_DATA] !== ELFDATA2LSB) throw new KernelError('is for a big-endian machine; an x86-64 kernel is needed');
  if (bytes.length < 20) throw new KernelError(`truncated: ${bytes.length} bytes end inside the ELF header`);
  const machine = v.getUint16(18, true);
  if (bytes[EI_CLASS] !== ELFCLASS64 || machine !== EM_X86_64) {
    const what = MACHINES[machine] ?? (machine === EM_X86_64 ? 'x86-64 (x32)' : `machine ${machine}`);
    throw new KernelError(
      `is a ${bytes[EI_CLASS] === ELFCLASS64 ? 64 : 32}-bit ${what} kernel; an x86-64 kernel is needed`,
    );
  }
  if (bytes.length < EHDR_SIZE) throw new KernelError(`truncated: ${bytes.length} bytes end inside the ELF header`);
  const type = v.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) throw new KernelError(`is an ELF file of type ${type}, not an executable`);
}

/** Bytes [offset, offset + size) of the file. */
function part(file: KernelBytes, offset: bigint, size: bigint, what: string): KernelBytes {
  if (offset + size > BigInt(file.size)) {
    throw new KernelError(`truncated: ${what} takes bytes ${offset} to ${offset + size}, the file has ${file.size}`);
  }
  return slice(file, Number(offset), Number(size));
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** The records of a note segment or section; a malformed rest is ignored, as it may be padding. */
function notesOf(data: Uint8Array): Note[] {
  const v = viewOf(data);
  const out: Note[] = [];
  for (let at = 0; at + 12 <= data.length; ) {
    const nameSize = v.getUint32(at, true);
    const descSize = v.getUint32(at + 4, true);
    const type = v.getUint32(at + 8, true);
    const name = at + 12;
    const desc = name + Math.ceil(nameSize / 4) * 4;
    if (desc + descSize > data.length) break;
    const text = data.subarray(name, name + Math.max(0, nameSize - 1));
    out.push({ name: String.fromCharCode(...text.subarray(0, 64)), type, desc: data.subarray(desc, desc + descSize) });
    at = desc + Math.ceil(descSize / 4) * 4;
  }
  return out;
}

/** `notesName`: notes are looked for in the program headers, and in the sections if none of that name is there. */
export function parseElf(file: KernelBytes, notesName: string): Elf {
  const header = copyOf(file, 0, Math.min(EHDR_SIZE, file.size));
  const v = viewOf(header);
  identify(header, v);
  const entry = v.getBigUint64(24, true);
  const phoff = v.getBigUint64(32, true);
  const shoff = v.getBigUint64(40, true);
  const phentsize = v.getUint16(54, true);
  const phnum = v.getUint16(56, true);
  const shentsize = v.getUint16(58, true);
  const shnum = v.getUint16(60, true);
  if (phnum === 0 || phnum === PN_XNUM) throw new KernelError('has no program headers');
  if (phentsize < PHDR_SIZE)
    throw new KernelError(`its program headers have ${phentsize} bytes instead of ${PHDR_SIZE}`);
  const headers = viewOf(copyOf(part(file, phoff, BigInt(phentsize * phnum), 'the program header table')));

  const segments: Segment[] = [];
  let notes: Note[] = [];
  for (let i = 0; i < phnum; i++) {
    const at = i * phentsize;
    const type = headers.getUint32(at, true);
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    const filesz = headers.getBigUint64(at + 32, true);
    const data = part(file, headers.getBigUint64(at + 8, true), filesz, `program header ${i}`);
    if (type === PT_NOTE) notes.push(...notesOf(copyOf(data)));
    else {
      const size = headers.getBigUint64(at + 40, true);
      if (filesz > size) throw new KernelError(`program header ${i} has more bytes in the file than in memory`);
      const [vaddr, paddr] = [headers.getBigUint64(at + 16, true), headers.getBigUint64(at + 24, true)];
      if (size > 0n) segments.push({ vaddr, paddr, data, size });
    }
  }
  if (segments.length === 0) throw new KernelError('has nothing to load (no PT_LOAD program header)');

  if (!notes.some((n) => n.name === notesName) && shnum > 0 && shentsize >= SHDR_SIZE) {
    const length = shentsize * shnum;
    if (shoff + BigInt(length) <= BigInt(file.size)) {
      const sections = viewOf(copyOf(file, Number(shoff), length));
      for (let at = 0; at < length; at += shentsize) {
        if (sections.getUint32(at + 4, true) !== SHT_NOTE) continue;
        const [from, size] = [sections.getBigUint64(at + 24, true), sections.getBigUint64(at + 32, true)];
        notes = notes.concat(notesOf(copyOf(part(file, from, size, `section ${at / shentsize}`))));
      }
    }
  }
  return { entry, segments, notes };
}
