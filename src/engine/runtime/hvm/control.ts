/** Control registers, EFER and the MSRs that the engine keeps, of an HVM container (Intel SDM vol. 3, 2.5; AMD APM vol. 2, 3.1). Each returns 0 with the fault recorded, or 1. */
import { CpuState, EXIT, GPR, SEG, VEC } from '../../../../build/abi/engine';
import { gpr, set_gpr } from '../gpr';
import { canonical } from '../mmu';
import { system_value } from '../percpu';
import { EFER_LMA, EFER_SCE, fail } from '../segment';
import { watch_update } from '../watch';
import { CR4_PCIDE, flush_all, flush_page, flush_pcid, hvm_enter, pcid_of } from './contexts';
import { look_for_interrupts, undefined_opcode } from './events';
import { system_read } from './memory';
import { CR0_PG } from './paging';

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_TS: u64 = 1 << 3;
const CR0_WP: u64 = 1 << 16;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
/** PE MP EM TS ET NE WP AM NW CD PG. */
const CR0_ALL: u64 = 0xe005_003f;

const CR4_PAE: u64 = 1 << 5;
const CR4_PGE: u64 = 1 << 7;
/** TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT FSGSBASE PCIDE OSXSAVE. */
const CR4_ALL: u64 = 0x7_07fc;

const EFER_LME: u64 = 1 << 8;
const EFER_NXE: u64 = 1 << 11;
const EFER_AIBRSE: u64 = 1 << 21;
const EFER_ALL: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AIBRSE;

const NOFLUSH: u64 = 1 << 63;
/** Bits 62 to 40 of CR3, beyond the physical address. */
const CR3_RESERVED: u64 = 0x7fff_ff00_0000_0000;

/** mov to cr0, 3, 4 or 8. */
export function hvm_set_cr(cpu: usize, n: u32, v: u64): u32 {
  switch (n) {
    case 0: return set_cr0(cpu, v);
    case 3: return set_cr3(cpu, v);
    case 4: return set_cr4(cpu, v);
    case 8:
      if (v & ~0xf) return fail(cpu, VEC.GP, 0);
      if (v < load<u64>(cpu, CpuState.cr8)) look_for_interrupts(cpu);
      store<u64>(cpu, v, CpuState.cr8);
      return 1;
    default: return undefined_opcode(cpu);
  }
}

function set_cr0(cpu: usize, v: u64): u32 {
  const old = load<u64>(cpu, CpuState.cr0);
  let efer = load<u64>(cpu, CpuState.efer);
  if (v >> 32 || ((v & CR0_PG) != 0 && !(v & CR0_PE)) || ((v & CR0_NW) != 0 && !(v & CR0_CD))) return fail(cpu, VEC.GP, 0);
  // Real mode, and paging other than long mode's, are not there.
  if (!(v & CR0_PE) || ((v & CR0_PG) != 0 && !(efer & EFER_LME))) return fail(cpu, VEC.GP, 0);
  if ((v & CR0_PG) != 0 && !(old & CR0_PG)) {
    if (!(load<u64>(cpu, CpuState.cr4) & CR4_PAE)) return fail(cpu, VEC.GP, 0);
    efer |= EFER_LMA;
  } else if (!(v & CR0_PG) && (old & CR0_PG) != 0) {
    if (load<u32>(cpu, CpuState.mode) == 0 || load<u64>(cpu, CpuState.cr4) & CR4_PCIDE) return fail(cpu, VEC.GP, 0);
    efer &= ~EFER_LMA;
  }
  store<u64>(cpu, (v & CR0_ALL) | CR0_ET, CpuState.cr0);
  store<u64>(cpu, efer, CpuState.efer);
  if ((old ^ v) & (CR0_PG | CR0_WP)) {
    flush_all(cpu);
    hvm_enter(cpu);
  }
  return 1;
}

function set_cr3(cpu: usize, v: u64): u32 {
  const pcids = (load<u64>(cpu, CpuState.cr4) & CR4_PCIDE) != 0;
  const keep = pcids && (v & NOFLUSH) != 0;
  if (pcids) v &= ~NOFLUSH;
  if (v & (CR3_RESERVED | NOFLUSH)) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu, v, CpuState.guest_cr3);
  if (!keep) flush_pcid(cpu, pcid_of(cpu));
  hvm_enter(cpu);
  return 1;
}

function set_cr4(cpu: usize, v: u64): u32 {
  const old = load<u64>(cpu, CpuState.cr4);
  const long = (load<u64>(cpu, CpuState.efer) & EFER_LMA) != 0;
  if (v & ~CR4_ALL || (long && !(v & CR4_PAE))) return fail(cpu, VEC.GP, 0);
  if ((v & CR4_PCIDE) != 0 && !(old & CR4_PCIDE) && (!long || (load<u64>(cpu, CpuState.guest_cr3) & 0xfff) != 0)) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu, v, CpuState.cr4);
  if ((old ^ v) & (CR4_PAE | CR4_PGE | CR4_PCIDE)) {
    flush_all(cpu);
    hvm_enter(cpu);
  }
  return 1;
}

/** wrmsr to EFER: 0 with #GP(0) recorded. */
export function hvm_set_efer(cpu: usize, v: u64): u32 {
  const old = load<u64>(cpu, CpuState.efer);
  if (v & ~EFER_ALL) return fail(cpu, VEC.GP, 0);
  if (((old ^ v) & EFER_LME) != 0 && (load<u64>(cpu, CpuState.cr0) & CR0_PG) != 0) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu, (v & ~EFER_LMA) | (old & EFER_LMA), CpuState.efer);
  if ((old ^ v) & EFER_NXE) {
    flush_all(cpu);
    hvm_enter(cpu);
  }
  return 1;
}

/** lmsw: PE, MP, EM and TS; PE is not cleared. */
export function hvm_lmsw(cpu: usize, v: u32): u32 {
  const old = load<u64>(cpu, CpuState.cr0);
  return set_cr0(cpu, (old & ~0xe) | (v & 0xf));
}

export function hvm_clts(cpu: usize): void {
  store<u64>(cpu, load<u64>(cpu, CpuState.cr0) & ~CR0_TS, CpuState.cr0);
}

export function hvm_invlpg(cpu: usize, va: u64): void {
  flush_page(cpu, va);
}

/** invpcid (Intel SDM vol. 2): the descriptor is PCID and linear address. */
export function hvm_invpcid(cpu: usize, type: u64, pcid: u64, va: u64): u32 {
  if (type > 3 || pcid >> 12) return fail(cpu, VEC.GP, 0);
  if (type < 2 && pcid != 0 && !(load<u64>(cpu, CpuState.cr4) & CR4_PCIDE)) return fail(cpu, VEC.GP, 0);
  if (type == 0) {
    if (!canonical(va)) return fail(cpu, VEC.GP, 0);
    flush_page(cpu, va);
  } else if (type == 1) flush_pcid(cpu, <u32>pcid);
  else flush_all(cpu);
  return 1;
}

const MSR_EFER: u32 = 0xc000_0080;
const MSR_STAR: u32 = 0xc000_0081;
const MSR_SFMASK: u32 = 0xc000_0084;
const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_TSC_AUX: u32 = 0xc000_0103;

/** Address of the u64 that an MSR is kept in, or 0. */
function kept(cpu: usize, msr: u32): usize {
  switch (msr) {
    case MSR_STAR: return cpu + CpuState.star;
    case MSR_STAR + 1: return cpu + CpuState.lstar;
    case MSR_STAR + 2: return cpu + CpuState.cstar;
    case MSR_SFMASK: return cpu + CpuState.sfmask;
    case MSR_FS_BASE: return cpu + CpuState.segbase + (SEG.FS << 3);
    case MSR_FS_BASE + 1: return cpu + CpuState.segbase + (SEG.GS << 3);
    case MSR_FS_BASE + 2: return cpu + CpuState.kernel_gs_base;
    default: return 0;
  }
}

/** Leaves guest code for the hypervisor to do it. */
function leave(cpu: usize, write: u32, len: u32): u32 {
  store<u32>(cpu, write, CpuState.exit_error);
  store<u32>(cpu, len, CpuState.exit_len);
  store<u32>(cpu, 0, CpuState.exit_has_error);
  store<u32>(cpu, EXIT.MSR, CpuState.exit_reason);
  return 0;
}

/** rdmsr at CPL 0; `len`: of the instruction. */
export function hvm_rdmsr(cpu: usize, len: u32): u32 {
  const msr = <u32>gpr(cpu, GPR.RCX);
  let v: u64;
  if (msr == MSR_EFER) v = load<u64>(cpu, CpuState.efer);
  else if (msr == MSR_TSC_AUX) v = load<u32>(cpu, CpuState.tsc_aux);
  else {
    const at = kept(cpu, msr);
    if (at == 0) return leave(cpu, 0, len);
    v = load<u64>(at);
  }
  set_gpr(cpu, GPR.RAX, v & 0xffff_ffff);
  set_gpr(cpu, GPR.RDX, v >> 32);
  return 1;
}

/** wrmsr at CPL 0. */
export function hvm_wrmsr(cpu: usize, len: u32): u32 {
  const msr = <u32>gpr(cpu, GPR.RCX);
  const v = (gpr(cpu, GPR.RAX) & 0xffff_ffff) | (gpr(cpu, GPR.RDX) << 32);
  if (msr == MSR_EFER) return hvm_set_efer(cpu, v);
  if (msr == MSR_TSC_AUX) {
    if (v >> 32) return fail(cpu, VEC.GP, 0);
    store<u32>(cpu, <u32>v, CpuState.tsc_aux);
    return 1;
  }
  const at = kept(cpu, msr);
  if (at == 0) return leave(cpu, 1, len);
  // STAR is no address, and SFMASK has 32 bits.
  if (msr == MSR_SFMASK ? v >> 32 != 0 : msr != MSR_STAR && !canonical(v)) return fail(cpu, VEC.GP, 0);
  store<u64>(at, v);
  return 1;
}

export function hvm_xsetbv(cpu: usize): u32 {
  const v = (gpr(cpu, GPR.RAX) & 0xffff_ffff) | (gpr(cpu, GPR.RDX) << 32);
  // x87 always, SSE perhaps.
  if (<u32>gpr(cpu, GPR.RCX) != 0 || !(v & 1) || (v & ~3) != 0) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu, v, CpuState.xcr0);
  return 1;
}

const CR4_DE: u64 = 1 << 3;
const DR6_FIXED: u64 = 0xffff_0ff0;
const DR7_FIXED: u64 = 0x400;

/** Number of the debug register, 4 and 5 being others' names without CR4.DE; 8: #UD. */
function debug_register(cpu: usize, n: u32): u32 {
  if (n != 4 && n != 5) return n;
  return load<u64>(cpu, CpuState.cr4) & CR4_DE ? 8 : n + 2;
}

export function hvm_get_dr(cpu: usize, number: u32): u32 {
  const n = debug_register(cpu, number);
  if (n >= 8) return undefined_opcode(cpu);
  store<u64>(cpu, load<u64>(cpu + CpuState.dr + (n << 3)), CpuState.ret0);
  return 1;
}

export function hvm_set_dr(cpu: usize, number: u32, v: u64): u32 {
  const n = debug_register(cpu, number);
  if (n >= 8) return undefined_opcode(cpu);
  if (n >= 6) {
    if (v >> 32) return fail(cpu, VEC.GP, 0);
    v = n == 6 ? (v | DR6_FIXED) & ~0x1000 : (v | DR7_FIXED) & ~0xd800;
  } else if (!canonical(v)) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu + CpuState.dr + (n << 3), v);
  watch_update(cpu);
  // Pages that are watched now may be in the TLBs.
  flush_all(cpu);
  return 1;
}

const TSS_IOPB: u64 = 102;

/** May the port be used at this CPL: by IOPL, or the TSS's bitmap. 0 with #GP(0), or the fault of reading that. */
export function hvm_io_okay(cpu: usize, port: u32, bytes: u32): u32 {
  const rf = load<u64>(cpu, CpuState.rflags);
  if (load<u32>(cpu, CpuState.cpl) <= (<u32>(rf >> 12) & 3)) return 1;
  const limit = <u64>load<u32>(cpu, CpuState.tr_limit);
  const base = load<u64>(cpu, CpuState.tr_base);
  if (limit < TSS_IOPB + 1) return fail(cpu, VEC.GP, 0);
  if (!system_read(cpu, base + TSS_IOPB, 2)) return 0;
  const at = system_value + (port >> 3);
  if (at + 1 > limit) return fail(cpu, VEC.GP, 0);
  if (!system_read(cpu, base + at, 2)) return 0;
  const mask = <u64>((1 << bytes) - 1) << (port & 7);
  return system_value & mask ? fail(cpu, VEC.GP, 0) : 1;
}
