// A vCPU's registers as a record of kind CPU (struct hvm_hw_cpu), both ways. What is loaded must be something that the engine can run: 64-bit
// code, or flat 32-bit code without paging.
import { CpuState, ERRNO, GPR, HVM_ARBYTES, HvmHwCpu, HvmHwCpuXsave, SEG } from "../abi";
import { VPF_down, Vcpu, get_gpr, set_gpr } from "../domain";
import { rflags_get, rflags_set, watch_update } from "../engine";
import { fpu_init, fpu_load_image, fpu_store_image } from "../fpu";
import { NOW } from "../time/clock";
import { tsc_at, update_domain_wallclock, update_vcpu_system_time } from "../time/time_info";
import { XCR0_MASK } from "../traps/cpuid";
import { get_base, get_sel, is_canonical, set_base, set_sel } from "../traps/segments";

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
/** TSD to PCE, OSFXSR, OSXMMEXCPT, FSGSBASE, PCIDE, OSXSAVE: what CPUID offers. */
const CR4_VALID: u64 = 0x7_07fc;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/** SCE LME LMA NX AIBRSE. */
const EFER_VALID: u64 = 0x20_0d01;
/** Not VM, VIF, VIP. */
const RFLAGS_VALID: u64 = 0x25_7fd5;
const DR6_FIXED: u64 = 0xffff0ff0;
const DR7_FIXED: u64 = 0x400;
const DR7_VALID: u64 = 0xffff2bff;

/** Bits of the attributes. */
const ARBYTES_L: u32 = 1 << 9;
const ARBYTES_DB: u32 = 1 << 10;
const ARBYTES_CODE64: u32 = 0xa9b;
const ARBYTES_LDT: u32 = 0x82;
const FPU_VALID: u32 = 1;

/** Offset in the record of general register n. */
function gpr_offset(n: u32): usize {
  switch (n) {
    case GPR.RAX: return HvmHwCpu.rax;
    case GPR.RCX: return HvmHwCpu.rcx;
    case GPR.RDX: return HvmHwCpu.rdx;
    case GPR.RBX: return HvmHwCpu.rbx;
    case GPR.RSP: return HvmHwCpu.rsp;
    case GPR.RBP: return HvmHwCpu.rbp;
    case GPR.RSI: return HvmHwCpu.rsi;
    case GPR.RDI: return HvmHwCpu.rdi;
    default: return HvmHwCpu.r8 + (<usize>(n - 8) << 3);
  }
}

function dpl_of(arbytes: u32): u32 {
  return (arbytes >> 5) & 3;
}

/** Control registers and efer that go together. */
function controls_okay(c: usize): bool {
  const cr0 = load<u64>(c, HvmHwCpu.cr0);
  const cr4 = load<u64>(c, HvmHwCpu.cr4);
  const efer = load<u64>(c, HvmHwCpu.msr_efer);
  if (cr0 >> 32 || cr4 & ~CR4_VALID || efer & ~EFER_VALID) return false;
  // No real mode.
  if (!(cr0 & CR0_PE) || (cr0 & (CR0_NW | CR0_CD)) == CR0_NW) return false;
  const paging = (cr0 & CR0_PG) != 0;
  // Paging is that of long mode.
  if (paging && (!(cr4 & CR4_PAE) || !(efer & EFER_LME))) return false;
  return ((efer & EFER_LMA) != 0) == paging;
}

/** 64-bit or flat 32-bit code, at one privilege level, and addresses that are some. */
function segments_okay(c: usize, long: bool): bool {
  const cs = load<u32>(c, HvmHwCpu.cs_arbytes);
  if (long) {
    if (cs & ARBYTES_DB) return false;
    if (!is_canonical(load<u64>(c, HvmHwCpu.rip))) return false;
  } else if (!(cs & ARBYTES_DB) || load<u64>(c, HvmHwCpu.cs_base) != 0 || load<u64>(c, HvmHwCpu.rip) >> 32) return false;
  const canonical = is_canonical(load<u64>(c, HvmHwCpu.fs_base)) && is_canonical(load<u64>(c, HvmHwCpu.gs_base)) &&
    is_canonical(load<u64>(c, HvmHwCpu.shadow_gs)) && is_canonical(load<u64>(c, HvmHwCpu.msr_lstar)) &&
    is_canonical(load<u64>(c, HvmHwCpu.msr_cstar)) && is_canonical(load<u64>(c, HvmHwCpu.sysenter_esp)) &&
    is_canonical(load<u64>(c, HvmHwCpu.sysenter_eip));
  if (!canonical) return false;
  return is_canonical(load<u64>(c, HvmHwCpu.idtr_base)) && is_canonical(load<u64>(c, HvmHwCpu.gdtr_base)) &&
    is_canonical(load<u64>(c, HvmHwCpu.ldtr_base)) && is_canonical(load<u64>(c, HvmHwCpu.tr_base));
}

function load_segments(v: Vcpu, c: usize, long: bool): void {
  const cpu = v.cpu;
  set_sel(v, SEG.CS, load<u32>(c, HvmHwCpu.cs_sel));
  set_sel(v, SEG.DS, load<u32>(c, HvmHwCpu.ds_sel));
  set_sel(v, SEG.ES, load<u32>(c, HvmHwCpu.es_sel));
  set_sel(v, SEG.FS, load<u32>(c, HvmHwCpu.fs_sel));
  set_sel(v, SEG.GS, load<u32>(c, HvmHwCpu.gs_sel));
  set_sel(v, SEG.SS, load<u32>(c, HvmHwCpu.ss_sel));
  set_sel(v, SEG.TR, load<u32>(c, HvmHwCpu.tr_sel));
  set_sel(v, SEG.LDTR, load<u32>(c, HvmHwCpu.ldtr_sel));
  set_base(v, SEG.CS, 0);
  set_base(v, SEG.DS, long ? 0 : load<u64>(c, HvmHwCpu.ds_base));
  set_base(v, SEG.ES, long ? 0 : load<u64>(c, HvmHwCpu.es_base));
  set_base(v, SEG.SS, long ? 0 : load<u64>(c, HvmHwCpu.ss_base));
  set_base(v, SEG.FS, load<u64>(c, HvmHwCpu.fs_base));
  set_base(v, SEG.GS, load<u64>(c, HvmHwCpu.gs_base));
  store<u64>(cpu, load<u64>(c, HvmHwCpu.gdtr_base), CpuState.gdt_base);
  store<u32>(cpu, load<u32>(c, HvmHwCpu.gdtr_limit) & 0xffff, CpuState.gdt_limit);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.idtr_base), CpuState.idt_base);
  store<u32>(cpu, load<u32>(c, HvmHwCpu.idtr_limit) & 0xffff, CpuState.idt_limit);
  const ldt = (load<u32>(c, HvmHwCpu.ldtr_sel) & 0xfffc) != 0;
  store<u64>(cpu, ldt ? load<u64>(c, HvmHwCpu.ldtr_base) : 0, CpuState.ldt_base);
  store<u32>(cpu, ldt ? ((load<u32>(c, HvmHwCpu.ldtr_limit) & 0xffff) + 1) >> 3 : 0, CpuState.ldt_ents);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.tr_base), CpuState.tr_base);
  store<u32>(cpu, load<u32>(c, HvmHwCpu.tr_limit), CpuState.tr_limit);
}

function load_msrs(cpu: usize, c: usize): void {
  store<u64>(cpu, load<u64>(c, HvmHwCpu.sysenter_cs), CpuState.sysenter_cs);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.sysenter_esp), CpuState.sysenter_esp);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.sysenter_eip), CpuState.sysenter_eip);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.shadow_gs), CpuState.kernel_gs_base);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.msr_star), CpuState.star);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.msr_lstar), CpuState.lstar);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.msr_cstar), CpuState.cstar);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.msr_syscall_mask) & 0xffff_ffff, CpuState.sfmask);
  store<u32>(cpu, <u32>load<u64>(c, HvmHwCpu.msr_tsc_aux), CpuState.tsc_aux);
}

function load_debugregs(cpu: usize, c: usize): void {
  store<u64>(cpu + CpuState.dr, load<u64>(c, HvmHwCpu.dr0));
  store<u64>(cpu + CpuState.dr + 8, load<u64>(c, HvmHwCpu.dr1));
  store<u64>(cpu + CpuState.dr + 16, load<u64>(c, HvmHwCpu.dr2));
  store<u64>(cpu + CpuState.dr + 24, load<u64>(c, HvmHwCpu.dr3));
  store<u64>(cpu + CpuState.dr + 48, (load<u64>(c, HvmHwCpu.dr6) & 0xe00f) | DR6_FIXED);
  store<u64>(cpu + CpuState.dr + 56, (load<u64>(c, HvmHwCpu.dr7) & DR7_VALID) | DR7_FIXED);
  watch_update(cpu);
}

/** Sets v's registers; it is up afterwards. It does not run. 0 or -EINVAL, and then nothing has changed. */
export function load_cpu(v: Vcpu, c: usize): i64 {
  const cpu = v.cpu;
  if (load<u32>(c, HvmHwCpu.flags) & ~FPU_VALID || load<u32>(c, HvmHwCpu.pad0) != 0 || !controls_okay(c)) return -ERRNO.EINVAL;
  const efer = load<u64>(c, HvmHwCpu.msr_efer);
  const long = (efer & EFER_LMA) != 0 && (load<u32>(c, HvmHwCpu.cs_arbytes) & ARBYTES_L) != 0;
  if (!segments_okay(c, long)) return -ERRNO.EINVAL;
  for (let n: u32 = 0; n < 16; n++) set_gpr(v, n, load<u64>(c + gpr_offset(n)));
  store<u64>(cpu, load<u64>(c, HvmHwCpu.rip), CpuState.rip);
  rflags_set(cpu, (load<u64>(c, HvmHwCpu.rflags) & RFLAGS_VALID) | 2);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.cr0) | CR0_ET, CpuState.cr0);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.cr2), CpuState.cr2);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.cr3), CpuState.guest_cr3);
  store<u64>(cpu, load<u64>(c, HvmHwCpu.cr4), CpuState.cr4);
  store<u64>(cpu, efer, CpuState.efer);
  store<u32>(cpu, long ? 0 : 1, CpuState.mode);
  store<u32>(cpu, dpl_of(load<u32>(c, HvmHwCpu.ss_arbytes)), CpuState.cpl);
  load_segments(v, c, long);
  load_msrs(cpu, c);
  load_debugregs(cpu, c);
  if (load<u32>(c, HvmHwCpu.flags) & FPU_VALID) fpu_load_image(cpu, c + HvmHwCpu.fpu_regs);
  else fpu_init(cpu);
  // The guest's TSC goes on from what the record says.
  store<u64>(cpu, load<u64>(cpu, CpuState.tsc_offset) + (load<u64>(c, HvmHwCpu.tsc) - tsc_at(v, NOW())), CpuState.tsc_offset);
  store<u32>(cpu, load<u32>(cpu, CpuState.asid_generation) + 1, CpuState.asid_generation);
  update_vcpu_system_time(v);
  // The builder may have wiped shared_info.
  if (v.vcpu_id == 0) update_domain_wallclock(v.domain);
  v.is_initialised = 1;
  atomic.and<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags"), ~VPF_down);
  return 0;
}

function save_segment(c: usize, sel: usize, limit: usize, base: usize, arbytes: usize, s: u32, b: u64, l: u32, a: u32): void {
  store<u32>(c + sel, s);
  store<u32>(c + limit, l);
  store<u64>(c + base, b);
  store<u32>(c + arbytes, a);
}

/** The engine has flat segments only: attributes and limits are what such have. */
function save_segments(v: Vcpu, c: usize): void {
  const cpu = v.cpu;
  const dpl = load<u32>(cpu, CpuState.cpl) << 5;
  const code = load<u32>(cpu, CpuState.mode) == 0 ? ARBYTES_CODE64 : HVM_ARBYTES.CODE32;
  const data = HVM_ARBYTES.DATA32 | dpl;
  const all = u32.MAX_VALUE;
  save_segment(c, HvmHwCpu.cs_sel, HvmHwCpu.cs_limit, HvmHwCpu.cs_base, HvmHwCpu.cs_arbytes, get_sel(v, SEG.CS), get_base(v, SEG.CS), all, code | dpl);
  save_segment(c, HvmHwCpu.ds_sel, HvmHwCpu.ds_limit, HvmHwCpu.ds_base, HvmHwCpu.ds_arbytes, get_sel(v, SEG.DS), get_base(v, SEG.DS), all, data);
  save_segment(c, HvmHwCpu.es_sel, HvmHwCpu.es_limit, HvmHwCpu.es_base, HvmHwCpu.es_arbytes, get_sel(v, SEG.ES), get_base(v, SEG.ES), all, data);
  save_segment(c, HvmHwCpu.fs_sel, HvmHwCpu.fs_limit, HvmHwCpu.fs_base, HvmHwCpu.fs_arbytes, get_sel(v, SEG.FS), get_base(v, SEG.FS), all, data);
  save_segment(c, HvmHwCpu.gs_sel, HvmHwCpu.gs_limit, HvmHwCpu.gs_base, HvmHwCpu.gs_arbytes, get_sel(v, SEG.GS), get_base(v, SEG.GS), all, data);
  save_segment(c, HvmHwCpu.ss_sel, HvmHwCpu.ss_limit, HvmHwCpu.ss_base, HvmHwCpu.ss_arbytes, get_sel(v, SEG.SS), get_base(v, SEG.SS), all, data);
  const ents = load<u32>(cpu, CpuState.ldt_ents);
  save_segment(
    c, HvmHwCpu.ldtr_sel, HvmHwCpu.ldtr_limit, HvmHwCpu.ldtr_base, HvmHwCpu.ldtr_arbytes,
    get_sel(v, SEG.LDTR), load<u64>(cpu, CpuState.ldt_base), ents == 0 ? 0 : (ents << 3) - 1, ARBYTES_LDT,
  );
  save_segment(
    c, HvmHwCpu.tr_sel, HvmHwCpu.tr_limit, HvmHwCpu.tr_base, HvmHwCpu.tr_arbytes,
    get_sel(v, SEG.TR), load<u64>(cpu, CpuState.tr_base), load<u32>(cpu, CpuState.tr_limit), HVM_ARBYTES.TSS_BUSY,
  );
  store<u64>(c, load<u64>(cpu, CpuState.gdt_base), HvmHwCpu.gdtr_base);
  store<u32>(c, load<u32>(cpu, CpuState.gdt_limit), HvmHwCpu.gdtr_limit);
  store<u64>(c, load<u64>(cpu, CpuState.idt_base), HvmHwCpu.idtr_base);
  store<u32>(c, load<u32>(cpu, CpuState.idt_limit), HvmHwCpu.idtr_limit);
}

/** The reverse, into zeroed memory. v does not run. */
export function save_cpu(v: Vcpu, c: usize): void {
  const cpu = v.cpu;
  fpu_store_image(cpu, c + HvmHwCpu.fpu_regs);
  store<u32>(c, FPU_VALID, HvmHwCpu.flags);
  for (let n: u32 = 0; n < 16; n++) store<u64>(c + gpr_offset(n), get_gpr(v, n));
  store<u64>(c, load<u64>(cpu, CpuState.rip), HvmHwCpu.rip);
  store<u64>(c, rflags_get(cpu), HvmHwCpu.rflags);
  store<u64>(c, load<u64>(cpu, CpuState.cr0), HvmHwCpu.cr0);
  store<u64>(c, load<u64>(cpu, CpuState.cr2), HvmHwCpu.cr2);
  store<u64>(c, load<u64>(cpu, CpuState.guest_cr3), HvmHwCpu.cr3);
  store<u64>(c, load<u64>(cpu, CpuState.cr4), HvmHwCpu.cr4);
  save_segments(v, c);
  store<u64>(c, load<u64>(cpu, CpuState.sysenter_cs), HvmHwCpu.sysenter_cs);
  store<u64>(c, load<u64>(cpu, CpuState.sysenter_esp), HvmHwCpu.sysenter_esp);
  store<u64>(c, load<u64>(cpu, CpuState.sysenter_eip), HvmHwCpu.sysenter_eip);
  store<u64>(c, load<u64>(cpu, CpuState.kernel_gs_base), HvmHwCpu.shadow_gs);
  store<u64>(c, load<u64>(cpu, CpuState.star), HvmHwCpu.msr_star);
  store<u64>(c, load<u64>(cpu, CpuState.lstar), HvmHwCpu.msr_lstar);
  store<u64>(c, load<u64>(cpu, CpuState.cstar), HvmHwCpu.msr_cstar);
  store<u64>(c, load<u64>(cpu, CpuState.sfmask), HvmHwCpu.msr_syscall_mask);
  store<u64>(c, load<u64>(cpu, CpuState.efer), HvmHwCpu.msr_efer);
  store<u64>(c, load<u32>(cpu, CpuState.tsc_aux), HvmHwCpu.msr_tsc_aux);
  store<u64>(c, tsc_at(v, NOW()), HvmHwCpu.tsc);
  store<u64>(c, load<u64>(cpu + CpuState.dr), HvmHwCpu.dr0);
  store<u64>(c, load<u64>(cpu + CpuState.dr + 8), HvmHwCpu.dr1);
  store<u64>(c, load<u64>(cpu + CpuState.dr + 16), HvmHwCpu.dr2);
  store<u64>(c, load<u64>(cpu + CpuState.dr + 24), HvmHwCpu.dr3);
  store<u64>(c, load<u64>(cpu + CpuState.dr + 48), HvmHwCpu.dr6);
  store<u64>(c, load<u64>(cpu + CpuState.dr + 56), HvmHwCpu.dr7);
}

/** XCR0 with the state that it names. */
export function save_xsave(v: Vcpu, at: usize): void {
  const xcr0 = load<u64>(v.cpu, CpuState.xcr0);
  store<u64>(at, XCR0_MASK, HvmHwCpuXsave.xfeature_mask);
  store<u64>(at, xcr0, HvmHwCpuXsave.xcr0);
  store<u64>(at, xcr0, HvmHwCpuXsave.xcr0_accum);
  fpu_store_image(v.cpu, at + HvmHwCpuXsave.fpu_sse);
  store<u64>(at, XCR0_MASK, HvmHwCpuXsave.xstate_bv);
}

export function load_xsave(v: Vcpu, at: usize): i64 {
  const xcr0 = load<u64>(at, HvmHwCpuXsave.xcr0);
  const bv = load<u64>(at, HvmHwCpuXsave.xstate_bv);
  if (!(xcr0 & 1) || (xcr0 | bv | load<u64>(at, HvmHwCpuXsave.xcr0_accum)) & ~XCR0_MASK) return -ERRNO.EINVAL;
  if (load<u64>(at, HvmHwCpuXsave.xcomp_bv) != 0) return -ERRNO.EOPNOTSUPP;
  store<u64>(v.cpu, xcr0, CpuState.xcr0);
  // An image of less adds nothing to what the record of kind CPU has.
  if (bv == XCR0_MASK) fpu_load_image(v.cpu, at + HvmHwCpuXsave.fpu_sse);
  return 0;
}
