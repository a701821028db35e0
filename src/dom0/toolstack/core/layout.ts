/** Where each part of a dump lies: ELF header, program headers, contents, names, section headers. */
import { bytesOf, concat } from './bytes.ts';
import { ELF_IDENT, ElfHeader, EM_X86_64, ET_CORE, PF, ProgramHeader, PT, SectionHeader, SHT } from './format.ts';

export interface Part {
  /** Name of its section; none for what only gdb reads. */
  readonly section?: string;
  readonly type?: number;
  readonly size: number;
  readonly align: number;
  readonly entrySize?: number;
}

/** A run of bytes of a part that lies at an address of the guest. */
export interface Segment {
  readonly va: bigint;
  readonly pa: bigint;
  /** From the part's beginning. */
  readonly offset: number;
  readonly size: number;
  readonly flags: number;
}

export interface Layout {
  /** What comes before the parts, and after them. */
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
  /** Where each part begins in the file. */
  readonly offsets: readonly number[];
  readonly end: number;
}

const roundUp = (n: number, align: number) => Math.ceil(n / align) * align;

/** `noteParts`, `loadPart`: which parts are notes for gdb, and which one `segments` lie in. */
export function layOut(
  parts: readonly Part[],
  noteParts: readonly number[],
  loadPart: number,
  segments: readonly Segment[],
): Layout {
  const headSize = ElfHeader.size + (noteParts.length + segments.length) * ProgramHeader.size;
  const offsets: number[] = [];
  let at = headSize;
  for (const { size, align } of parts) {
    at = roundUp(at, align);
    offsets.push(at);
    at += size;
  }
  const sections = parts.flatMap((part, i) => (part.section ? [{ ...part, offset: offsets[i] }] : []));
  const names = new TextEncoder().encode(['', ...sections.map((s) => s.section), '.shstrtab', ''].join('\0'));
  const namesAt = at;
  const headersAt = roundUp(at + names.length, 8);
  let nameAt = 1;
  const nextName = (name: string) => {
    const here = nameAt;
    nameAt += name.length + 1;
    return here;
  };
  const sectionHeader = (name: string, type: number, offset: number, size: number, align: number, entry = 0) =>
    bytesOf(SectionHeader, (v) => {
      v.set('sh_name', nextName(name)).set('sh_type', type).set('sh_offset', offset).set('sh_size', size);
      v.set('sh_addralign', align).set('sh_entsize', entry);
    });
  const sectionHeaders = [
    new Uint8Array(SectionHeader.size),
    ...sections.map((s) => sectionHeader(s.section!, s.type ?? SHT.PROGBITS, s.offset, s.size, s.align, s.entrySize)),
    sectionHeader('.shstrtab', SHT.STRTAB, namesAt, names.length, 1),
  ];
  const elf = bytesOf(ElfHeader, (v) => {
    for (const [i, byte] of ELF_IDENT.entries()) v.set('e_ident', byte, i);
    v.set('e_type', ET_CORE).set('e_machine', EM_X86_64).set('e_version', 1);
    v.set('e_phoff', ElfHeader.size).set('e_shoff', headersAt);
    v.set('e_ehsize', ElfHeader.size).set('e_phentsize', ProgramHeader.size).set('e_shentsize', SectionHeader.size);
    v.set('e_phnum', noteParts.length + segments.length);
    v.set('e_shnum', sectionHeaders.length).set('e_shstrndx', sectionHeaders.length - 1);
  });
  const notes = noteParts.map((i) =>
    bytesOf(ProgramHeader, (v) => {
      v.set('p_type', PT.NOTE).set('p_flags', PF.R).set('p_offset', offsets[i]).set('p_filesz', parts[i].size);
      v.set('p_align', 4);
    }),
  );
  const loads = segments.map((s) =>
    bytesOf(ProgramHeader, (v) => {
      v.set('p_type', PT.LOAD)
        .set('p_flags', s.flags)
        .set('p_offset', offsets[loadPart] + s.offset);
      v.set('p_vaddr', s.va).set('p_paddr', s.pa).set('p_filesz', s.size).set('p_memsz', s.size).set('p_align', 4096);
    }),
  );
  const padding = new Uint8Array(headersAt - namesAt - names.length);
  return {
    head: concat([elf, ...notes, ...loads]),
    tail: concat([names, padding, ...sectionHeaders]),
    offsets,
    end: namesAt,
  };
}
