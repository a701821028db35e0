// vcpu_guest_context (public/arch-x86/xen.h) into a PV vCPU and out of it: how a vCPU starts (domctl setvcpucontext,
// VCPUOP_initialise) and how its state is read.
import { CpuState, CpuUserRegs, ERRNO, RFLAGS, SEG, TrapInfo, VGCF, VMASST_TYPE, VcpuGuestContext } from "./abi";
import { TF_kernel_mode, VPF_down, Vcpu, get_gpr, in_kernel_mode, set_gpr } from "./domain";
import { rflags_get, rflags_set } from "./engine";
import { fpu_load_image, fpu_store_image } from "./fpu";
import { set_gdt_frames } from "./mm/descriptor";
import { vcpu_set_guest_tables } from "./mm/domain";
import { get_base, get_sel, is_canonical, load_data_segment, load_return_segments, set_base } from "./traps/segments";
import { set_debugreg, get_debugreg, set_guest_ts, guest_ts } from "./traps/debugreg";
import { guest_visible_cr4, init_guest_cr4, initial_cr0 } from "./traps/emul-priv-op";
import { update_domain_wallclock } from "./time/time_info";
import { M2P_STRICT_BIT } from "./mm/vm_assist";

const CR0_TS: u64 = 8;
const MAX_LDT_ENTRIES: u64 = 8192;
/** Offset in user_regs of general register n (CpuState order: rax rcx rdx rbx rsp rbp rsi rdi r8..r15). */
function reg_offset(n: u32): usize {
  switch (n) {
    case 0: return CpuUserRegs.rax;
    case 1: return CpuUserRegs.rcx;
    case 2: return CpuUserRegs.rdx;
    case 3: return CpuUserRegs.rbx;
    case 4: return CpuUserRegs.rsp;
    case 5: return CpuUserRegs.rbp;
    case 6: return CpuUserRegs.rsi;
    case 7: return CpuUserRegs.rdi;
    case 8: return CpuUserRegs.r8;
    case 9: return CpuUserRegs.r9;
    case 10: return CpuUserRegs.r10;
    case 11: return CpuUserRegs.r11;
    case 12: return CpuUserRegs.r12;
    case 13: return CpuUserRegs.r13;
    case 14: return CpuUserRegs.r14;
    default: return CpuUserRegs.r15;
  }
}

/** Is everything in it that must be canonical so? */
function addresses_okay(c: usize): bool {
  const regs = c + VcpuGuestContext.user_regs;
  if (!is_canonical(load<u64>(regs, CpuUserRegs.rip)) || !is_canonical(load<u64>(regs, CpuUserRegs.rsp))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.kernel_sp))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.event_callback_eip))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.failsafe_callback_eip))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.syscall_callback_eip))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.fs_base))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.gs_base_kernel))) return false;
  if (!is_canonical(load<u64>(c, VcpuGuestContext.gs_base_user))) return false;
  const ents = load<u64>(c, VcpuGuestContext.ldt_ents);
  if (ents > MAX_LDT_ENTRIES) return false;
  const ldt = load<u64>(c, VcpuGuestContext.ldt_base);
  if (ents != 0 && (!is_canonical(ldt) || (ldt & 4095) != 0)) return false;
  for (let i: usize = 0; i < 256; i++) {
    if (!is_canonical(load<u64>(c + VcpuGuestContext.trap_ctxt + i * TrapInfo.SIZE, TrapInfo.address))) return false;
  }
  return true;
}

/**
 * Starts the vCPU's state anew from the context at machine address c. It does not run. 0 or -errno; -ERESTART: to be
 * called again.
 */
export function set_vcpu_context(v: Vcpu, c: usize): i64 {
  if (!addresses_okay(c)) return -ERRNO.EINVAL;
  const d = v.domain;
  const flags = <u32>load<u64>(c, VcpuGuestContext.flags);
  const regs = c + VcpuGuestContext.user_regs;
  const cr3 = load<u64>(c, VcpuGuestContext.ctrlreg + 24) >> 12;
  const cr1 = load<u64>(c, VcpuGuestContext.ctrlreg + 8) >> 12;
  const user = !(flags & VGCF.in_kernel);
  if (user && (v.is_initialised ? v.guest_table_user == 0 : cr1 == 0)) return -ERRNO.EINVAL;
  if (v.is_initialised) {
    // Its page tables are its own business by now.
    if (cr3 != <u64>v.guest_table) return -ERRNO.EOPNOTSUPP;
  } else {
    if (v.vcpu_id == 0) {
      const assist = load<u64>(c, VcpuGuestContext.vm_assist);
      d.vm_assist = (<u32>assist & 0x3f) | ((assist >> VMASST_TYPE.m2p_strict) & 1 ? M2P_STRICT_BIT : 0);
    }
    const gdt_ents = load<u64>(c, VcpuGuestContext.gdt_ents);
    if (gdt_ents > 8192) return -ERRNO.EINVAL;
    let rc = <i64>set_gdt_frames(v, c + VcpuGuestContext.gdt_frames, <u32>gdt_ents);
    if (rc != 0) return rc;
    rc = <i64>vcpu_set_guest_tables(v, cr3, cr1);
    if (rc != 0) return rc;
  }
  v.thread_flags = user ? 0 : TF_kernel_mode;
  v.vgc_flags = flags;
  for (let n: u32 = 0; n < 16; n++) set_gpr(v, n, load<u64>(regs + reg_offset(n)));
  store<u64>(v.cpu, load<u64>(regs, CpuUserRegs.rip), CpuState.rip);
  const rflags = load<u64>(regs, CpuUserRegs.rflags);
  v.iopl = <u32>(rflags >> 12) & 3;
  v.debugger_steps = d.debugger_attached != 0 && (rflags & <u64>RFLAGS.TF) != 0 ? 1 : 0;
  rflags_set(v.cpu, (rflags & 0x25_4dd5) | <u64>RFLAGS.IF | 2);
  for (let i: usize = 0; i < 256; i++) {
    const t = c + VcpuGuestContext.trap_ctxt + i * TrapInfo.SIZE;
    store<u16>(t, load<u16>(t, TrapInfo.cs) | 3, TrapInfo.cs);
  }
  memory.copy(v.trap_ctxt, c + VcpuGuestContext.trap_ctxt, 256 * TrapInfo.SIZE);
  store<u64>(v.cpu, load<u64>(c, VcpuGuestContext.ldt_base), CpuState.ldt_base);
  store<u32>(v.cpu, <u32>load<u64>(c, VcpuGuestContext.ldt_ents), CpuState.ldt_ents);
  v.kernel_ss = <u32>load<u64>(c, VcpuGuestContext.kernel_ss) | 3;
  v.kernel_sp = load<u64>(c, VcpuGuestContext.kernel_sp);
  v.event_callback = load<u64>(c, VcpuGuestContext.event_callback_eip);
  v.failsafe_callback = load<u64>(c, VcpuGuestContext.failsafe_callback_eip);
  v.syscall_callback = load<u64>(c, VcpuGuestContext.syscall_callback_eip);
  store<u64>(v.cpu, initial_cr0(), CpuState.cr0);
  set_guest_ts(v, (load<u64>(c, VcpuGuestContext.ctrlreg) & CR0_TS) != 0);
  init_guest_cr4(v, load<u64>(c, VcpuGuestContext.ctrlreg + 32));
  const dr7 = get_debugreg(v, 7);
  for (let n: u32 = 0; n < 8; n++) {
    if (n != 4 && n != 5) set_debugreg(v, n, load<u64>(c + VcpuGuestContext.debugreg + (n << 3)));
  }
  if (get_debugreg(v, 7) != dr7) v.debugger_watches = d.debugger_attached != 0 && load<u32>(v.cpu, CpuState.watch) != 0 ? 1 : 0;
  if (flags & VGCF.i387_valid) fpu_load_image(v.cpu, c + VcpuGuestContext.fpu_ctxt);
  load_segments(v, c, regs);
  // The builder may have wiped shared_info.
  if (v.vcpu_id == 0) update_domain_wallclock(d);
  v.is_initialised = 1;
  const at = changetype<usize>(v) + offsetof<Vcpu>("pause_flags");
  if (flags & VGCF.online) atomic.and<u32>(at, ~VPF_down);
  else atomic.or<u32>(at, VPF_down);
  return 0;
}

/** Selectors that cannot be loaded become null, as if the failsafe callback had cleared them; bad cs and ss the flat ones. */
function load_segments(v: Vcpu, c: usize, regs: usize): void {
  // An LDT cannot be read before the vCPU runs: only GDT selectors are looked up here.
  if (load_return_segments(v, gdt_only(load<u16>(regs, CpuUserRegs.cs)) | 3, gdt_only(load<u16>(regs, CpuUserRegs.ss)) | 3) != 0) {
    load_return_segments(v, 0xe033, 0xe02b);
  }
  load_data_segment(v, SEG.DS, gdt_only(load<u16>(regs, CpuUserRegs.ds)));
  load_data_segment(v, SEG.ES, gdt_only(load<u16>(regs, CpuUserRegs.es)));
  load_data_segment(v, SEG.FS, gdt_only(load<u16>(regs, CpuUserRegs.fs)));
  load_data_segment(v, SEG.GS, gdt_only(load<u16>(regs, CpuUserRegs.gs)));
  set_base(v, SEG.FS, load<u64>(c, VcpuGuestContext.fs_base));
  v.gs_base_kernel = load<u64>(c, VcpuGuestContext.gs_base_kernel);
  v.gs_base_user = load<u64>(c, VcpuGuestContext.gs_base_user);
  set_base(v, SEG.GS, in_kernel_mode(v) ? v.gs_base_kernel : v.gs_base_user);
}

function gdt_only(sel: u32): u32 {
  return sel & 4 ? 0 : sel;
}

/** Registers that every kind of vCPU has, into a cleared context. */
function get_user_regs(v: Vcpu, c: usize): void {
  memory.fill(c, 0, VcpuGuestContext.SIZE);
  const regs = c + VcpuGuestContext.user_regs;
  fpu_store_image(v.cpu, c + VcpuGuestContext.fpu_ctxt);
  for (let n: u32 = 0; n < 16; n++) store<u64>(regs + reg_offset(n), get_gpr(v, n));
  store<u64>(regs, load<u64>(v.cpu, CpuState.rip), CpuUserRegs.rip);
  store<u16>(regs, get_sel(v, SEG.CS), CpuUserRegs.cs);
  store<u16>(regs, get_sel(v, SEG.SS), CpuUserRegs.ss);
  store<u16>(regs, get_sel(v, SEG.DS), CpuUserRegs.ds);
  store<u16>(regs, get_sel(v, SEG.ES), CpuUserRegs.es);
  store<u16>(regs, get_sel(v, SEG.FS), CpuUserRegs.fs);
  store<u16>(regs, get_sel(v, SEG.GS), CpuUserRegs.gs);
}

/** Of an HVM vCPU: what a debugger and a core dump need; the rest is in its HVM context (hvm/save.ts). v does not run. */
export function hvm_get_vcpu_context(v: Vcpu, c: usize): void {
  get_user_regs(v, c);
  const online = !(atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags")) & VPF_down);
  store<u64>(c, VGCF.i387_valid | (online ? VGCF.online : 0), VcpuGuestContext.flags);
  store<u64>(c + VcpuGuestContext.user_regs, rflags_get(v.cpu), CpuUserRegs.rflags);
  store<u64>(c, load<u64>(v.cpu, CpuState.cr0), VcpuGuestContext.ctrlreg);
  store<u64>(c, load<u64>(v.cpu, CpuState.cr2), VcpuGuestContext.ctrlreg + 16);
  store<u64>(c, load<u64>(v.cpu, CpuState.guest_cr3), VcpuGuestContext.ctrlreg + 24);
  store<u64>(c, load<u64>(v.cpu, CpuState.cr4), VcpuGuestContext.ctrlreg + 32);
  for (let n: usize = 0; n < 8; n++) {
    if (n != 4 && n != 5) store<u64>(c + VcpuGuestContext.debugreg + (n << 3), load<u64>(v.cpu + CpuState.dr + (n << 3)));
  }
  const kernel = load<u32>(v.cpu, CpuState.cpl) == 0;
  store<u64>(c, get_base(v, SEG.FS), VcpuGuestContext.fs_base);
  store<u64>(c + (kernel ? VcpuGuestContext.gs_base_kernel : VcpuGuestContext.gs_base_user), get_base(v, SEG.GS));
  store<u64>(c + (kernel ? VcpuGuestContext.gs_base_user : VcpuGuestContext.gs_base_kernel), load<u64>(v.cpu, CpuState.kernel_gs_base));
}

/** The reverse. v does not run. */
export function get_vcpu_context(v: Vcpu, c: usize): void {
  get_user_regs(v, c);
  const regs = c + VcpuGuestContext.user_regs;
  let flags = (v.vgc_flags & (VGCF.failsafe_disables_events | VGCF.syscall_disables_events)) | VGCF.i387_valid;
  if (in_kernel_mode(v)) flags |= VGCF.in_kernel;
  if (!(atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags")) & VPF_down)) flags |= VGCF.online;
  store<u64>(c, flags, VcpuGuestContext.flags);
  store<u64>(regs, (rflags_get(v.cpu) & ~<u64>RFLAGS.IOPL) | (<u64>v.iopl << 12), CpuUserRegs.rflags);
  memory.copy(c + VcpuGuestContext.trap_ctxt, v.trap_ctxt, 256 * TrapInfo.SIZE);
  store<u64>(c, load<u64>(v.cpu, CpuState.ldt_base), VcpuGuestContext.ldt_base);
  store<u64>(c, load<u32>(v.cpu, CpuState.ldt_ents), VcpuGuestContext.ldt_ents);
  for (let i: usize = 0; i < 14; i++) store<u64>(c + VcpuGuestContext.gdt_frames + (i << 3), load<u32>(v.cpu + CpuState.gdt_frames + (i << 2)));
  store<u64>(c, v.gdt_ents, VcpuGuestContext.gdt_ents);
  store<u64>(c, v.kernel_ss, VcpuGuestContext.kernel_ss);
  store<u64>(c, v.kernel_sp, VcpuGuestContext.kernel_sp);
  store<u64>(c, initial_cr0() | (guest_ts(v) ? CR0_TS : 0), VcpuGuestContext.ctrlreg);
  store<u64>(c, <u64>v.guest_table_user << 12, VcpuGuestContext.ctrlreg + 8);
  store<u64>(c, <u64>v.guest_table << 12, VcpuGuestContext.ctrlreg + 24);
  store<u64>(c, guest_visible_cr4(v), VcpuGuestContext.ctrlreg + 32);
  for (let n: u32 = 0; n < 8; n++) {
    if (n != 4 && n != 5) store<u64>(c + VcpuGuestContext.debugreg + (n << 3), <u64>get_debugreg(v, n));
  }
  store<u64>(c, v.event_callback, VcpuGuestContext.event_callback_eip);
  store<u64>(c, v.failsafe_callback, VcpuGuestContext.failsafe_callback_eip);
  store<u64>(c, v.syscall_callback, VcpuGuestContext.syscall_callback_eip);
  store<u64>(c, vm_assist_word(v.domain.vm_assist), VcpuGuestContext.vm_assist);
  store<u64>(c, get_base(v, SEG.FS), VcpuGuestContext.fs_base);
  store<u64>(c, in_kernel_mode(v) ? get_base(v, SEG.GS) : v.gs_base_kernel, VcpuGuestContext.gs_base_kernel);
  store<u64>(c, in_kernel_mode(v) ? v.gs_base_user : get_base(v, SEG.GS), VcpuGuestContext.gs_base_user);
}

function vm_assist_word(bits: u32): u64 {
  return <u64>(bits & 0x3f) | (bits & M2P_STRICT_BIT ? <u64>1 << VMASST_TYPE.m2p_strict : 0);
}
