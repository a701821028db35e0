/**
 * The file that `xl dump-core` writes: Xen's dump format (docs/misc/dump-core-format.txt), an ELF core whose sections hold
 * the domain's vCPUs and pages. Xen's own files have sections only; program headers are added here, which say where in the
 * guest's kernel address space the pages lie, so that gdb opens the same file.
 */
import { struct } from '../../../abi/layout.ts';
import { CompileInfo, PlatformParameters, XENVER_LEN } from '../../../abi/version.ts';

/** ELF64 (System V ABI). */
export const ElfHeader = struct('Elf64_Ehdr', [
  ['e_ident', 'u8', 16],
  ['e_type', 'u16'],
  ['e_machine', 'u16'],
  ['e_version', 'u32'],
  ['e_entry', 'u64'],
  ['e_phoff', 'u64'],
  ['e_shoff', 'u64'],
  ['e_flags', 'u32'],
  ['e_ehsize', 'u16'],
  ['e_phentsize', 'u16'],
  ['e_phnum', 'u16'],
  ['e_shentsize', 'u16'],
  ['e_shnum', 'u16'],
  ['e_shstrndx', 'u16'],
]);
export const ELF_IDENT = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]; // 64 bits, little-endian, version 1
export const ET_CORE = 4;
export const EM_X86_64 = 62;

export const ProgramHeader = struct('Elf64_Phdr', [
  ['p_type', 'u32'],
  ['p_flags', 'u32'],
  ['p_offset', 'u64'],
  ['p_vaddr', 'u64'],
  ['p_paddr', 'u64'],
  ['p_filesz', 'u64'],
  ['p_memsz', 'u64'],
  ['p_align', 'u64'],
]);
export const PT = { LOAD: 1, NOTE: 4 } as const;
export const PF = { X: 1, W: 2, R: 4 } as const;

export const SectionHeader = struct('Elf64_Shdr', [
  ['sh_name', 'u32'],
  ['sh_type', 'u32'],
  ['sh_flags', 'u64'],
  ['sh_addr', 'u64'],
  ['sh_offset', 'u64'],
  ['sh_size', 'u64'],
  ['sh_link', 'u32'],
  ['sh_info', 'u32'],
  ['sh_addralign', 'u64'],
  ['sh_entsize', 'u64'],
]);
export const SHT = { NULL: 0, PROGBITS: 1, STRTAB: 3, NOTE: 7 } as const;

/** Linux's struct elf_prstatus for x86-64: what gdb reads a thread's registers from. */
export const NT_PRSTATUS = 1;
export const ElfPrstatus = struct('elf_prstatus', [
  ['si_signo', 'i32'],
  ['si_code', 'i32'],
  ['si_errno', 'i32'],
  ['pr_cursig', 'i16'],
  ['pr_sigpend', 'u64'],
  ['pr_sighold', 'u64'],
  ['pr_pid', 'i32'],
  ['pr_ppid', 'i32'],
  ['pr_pgrp', 'i32'],
  ['pr_sid', 'i32'],
  ['times', 'u64', 8],
  ['pr_reg', 'u64', 27],
  ['pr_fpvalid', 'i32'],
]);

/** Notes of the name "Xen" in a dump (public/elfnote.h), and what they hold (xg_core.h). */
export const DUMPCORE = {
  NONE: 0x2000000,
  HEADER: 0x2000001,
  XEN_VERSION: 0x2000002,
  FORMAT_VERSION: 0x2000003,
} as const;
/** xch_magic of a PV domain. */
export const XC_CORE_MAGIC = 0xf00febed;
/** Major 0, minor 1. */
export const FORMAT_VERSION = 1n;

export const DumpHeader = struct('xen_dumpcore_elfnote_header_desc', [
  ['xch_magic', 'u64'],
  ['xch_nr_vcpus', 'u64'],
  ['xch_nr_pages', 'u64'],
  ['xch_page_size', 'u64'],
]);

export const DumpXenVersion = struct('xen_dumpcore_elfnote_xen_version_desc', [
  ['major_version', 'u64'],
  ['minor_version', 'u64'],
  ['extra_version', 'u8', XENVER_LEN.extraversion],
  ['compile_info', CompileInfo],
  ['capabilities', 'u8', XENVER_LEN.capabilities],
  ['changeset', 'u8', XENVER_LEN.changeset],
  ['platform_parameters', PlatformParameters],
  ['pagesize', 'u64'],
]);

/** An entry of .xen_p2m: pfn and mfn of the page at the same place in .xen_pages. */
export const DumpP2m = struct('xen_dumpcore_p2m', [
  ['pfn', 'u64'],
  ['gmfn', 'u64'],
]);
