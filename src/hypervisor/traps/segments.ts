// Segment descriptors as a PV vCPU's GDT and LDT hold them, and loading of segment registers by the hypervisor.
// Intel SDM vol. 3, 3.4.5 (descriptors), 5.8 (privilege checks on far returns).
import { CpuState, ERRNO, FLAT, SEG, SEGBASE, VEC } from "../abi";
import { Vcpu, in_kernel_mode } from "../domain";
import { current } from "../percpu";
import { ldt_descriptor } from "../engine";

const DESC_PRESENT: u64 = 1 << 47;
/** S bit: code or data, not a system descriptor. */
const DESC_S: u64 = 1 << 44;
const DESC_CODE: u64 = 1 << 43;
/** Code: conforming. */
const DESC_CONFORMING: u64 = 1 << 42;
/** Code: readable; data: writable. */
const DESC_RW: u64 = 1 << 41;
const DESC_L: u64 = 1 << 53;
const DESC_D: u64 = 1 << 54;

export function get_sel(v: Vcpu, seg: u32): u32 {
  return load<u16>(v.cpu + CpuState.sel + (<usize>seg << 1));
}
export function set_sel(v: Vcpu, seg: u32, sel: u32): void {
  store<u16>(v.cpu + CpuState.sel + (<usize>seg << 1), sel);
}
export function get_base(v: Vcpu, seg: u32): u64 {
  return load<u64>(v.cpu + CpuState.segbase + (<usize>seg << 3));
}
export function set_base(v: Vcpu, seg: u32, base: u64): void {
  store<u64>(v.cpu + CpuState.segbase + (<usize>seg << 3), base);
}

// @ts-ignore: decorator
@inline
export function is_canonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va;
}

/** The descriptor that `sel` names, or 0 (none, outside the table, not readable). */
export function read_descriptor(v: Vcpu, sel: u32): u64 {
  const index = sel >> 3;
  if (sel & 4) {
    if (index >= load<u32>(v.cpu, CpuState.ldt_ents)) return 0;
    return ldt_descriptor(v.cpu, sel);
  }
  if ((index << 3) + 7 > load<u32>(v.cpu, CpuState.gdt_limit)) return 0;
  const frame = load<u32>(v.cpu + CpuState.gdt_frames + ((index >> 9) << 2));
  if (frame == 0) return 0;
  return load<u64>((<usize>frame << 12) + ((index & 511) << 3));
}

export function descriptor_base(d: u64): u64 {
  return ((d >> 16) & 0xffffff) | ((d >> 32) & 0xff000000);
}

/** ds and es have bases in compatibility mode only: sets them for the mode that is being entered. */
function refresh_data_bases(v: Vcpu, long: bool): void {
  set_base(v, SEG.ES, long ? 0 : descriptor_base(read_descriptor(v, get_sel(v, SEG.ES))));
  set_base(v, SEG.DS, long ? 0 : descriptor_base(read_descriptor(v, get_sel(v, SEG.DS))));
}

/** cs and ss become the flat 64-bit ones, as on every entry to the guest kernel. */
export function load_flat_kernel_segments(v: Vcpu): void {
  store<u32>(v.cpu + CpuState.sel + (SEG.CS << 1), FLAT.KERNEL_CS | (FLAT.KERNEL_SS << 16));
  if (load<u32>(v.cpu, CpuState.mode) != 0) {
    store<u32>(v.cpu, 0, CpuState.mode);
    set_base(v, SEG.CS, 0);
    set_base(v, SEG.SS, 0);
    refresh_data_bases(v, true);
  }
}

/**
 * Loads cs and ss for a return to CPL 3, as iretq does. Returns 0, or vector << 16 | error code: nothing is loaded then.
 * Both selectors come with RPL 3.
 */
export function load_return_segments(v: Vcpu, cs: u32, ss: u32): u32 {
  let long = true;
  let cs_base: u64 = 0;
  let ss_base: u64 = 0;
  if (cs != FLAT.RING3_CS64) {
    const d = read_descriptor(v, cs);
    const err = cs & 0xfffc;
    if (err == 0) return <u32>VEC.GP << 16;
    if ((d & (DESC_S | DESC_CODE)) != (DESC_S | DESC_CODE)) return (<u32>VEC.GP << 16) | err;
    const dpl = <u32>(d >> 45) & 3;
    if (d & DESC_CONFORMING ? dpl > 3 : dpl != 3) return (<u32>VEC.GP << 16) | err;
    if (!(d & DESC_PRESENT)) return (<u32>VEC.NP << 16) | err;
    long = (d & DESC_L) != 0;
    // L with D is reserved; 16-bit code segments are not implemented.
    if (long == ((d & DESC_D) != 0)) return (<u32>VEC.GP << 16) | err;
    if (!long) cs_base = descriptor_base(d);
  }
  if (ss != FLAT.RING3_SS64) {
    const d = read_descriptor(v, ss);
    const err = ss & 0xfffc;
    if (err == 0) return <u32>VEC.GP << 16;
    if ((d & (DESC_S | DESC_CODE | DESC_RW)) != (DESC_S | DESC_RW) || (<u32>(d >> 45) & 3) != 3) return (<u32>VEC.GP << 16) | err;
    if (!(d & DESC_PRESENT)) return (<u32>VEC.SS << 16) | err;
    if (!long) ss_base = descriptor_base(d);
  }
  set_sel(v, SEG.CS, cs);
  set_sel(v, SEG.SS, ss);
  const was_long = load<u32>(v.cpu, CpuState.mode) == 0;
  if (!long || !was_long) {
    store<u32>(v.cpu, long ? 0 : 1, CpuState.mode);
    set_base(v, SEG.CS, cs_base);
    set_base(v, SEG.SS, ss_base);
    if (long != was_long) refresh_data_bases(v, long);
  }
  return 0;
}

/** Loads a data segment register; false (and a null selector is left): the descriptor is not usable. */
export function load_data_segment(v: Vcpu, seg: u32, sel: u32): bool {
  set_base(v, seg, 0);
  if ((sel & 0xfffc) == 0) {
    set_sel(v, seg, sel);
    return true;
  }
  const d = read_descriptor(v, sel);
  const readable = (d & DESC_CODE) == 0 || (d & DESC_RW) != 0;
  if (!(d & DESC_S) || !(d & DESC_PRESENT) || !readable || ((<u32>(d >> 45) & 3) != 3 && (d & (DESC_CODE | DESC_CONFORMING)) != (DESC_CODE | DESC_CONFORMING))) {
    set_sel(v, seg, 0);
    return false;
  }
  set_sel(v, seg, sel);
  if (seg == SEG.FS || seg == SEG.GS || load<u32>(v.cpu, CpuState.mode) != 0) set_base(v, seg, descriptor_base(d));
  return true;
}

/** set_segment_base (public/arch-x86/xen.h). The caller is in kernel mode. */
export function do_set_segment_base(which: u64, base: u64): i64 {
  const v = current;
  switch (<u32>which) {
    case SEGBASE.FS:
      if (!is_canonical(base)) return -ERRNO.EINVAL;
      set_base(v, SEG.FS, base);
      return 0;
    case SEGBASE.GS_USER:
      if (!is_canonical(base)) return -ERRNO.EINVAL;
      if (in_kernel_mode(v)) v.gs_base_user = base;
      else set_base(v, SEG.GS, base);
      return 0;
    case SEGBASE.GS_KERNEL:
      if (!is_canonical(base)) return -ERRNO.EINVAL;
      if (in_kernel_mode(v)) set_base(v, SEG.GS, base);
      else v.gs_base_kernel = base;
      return 0;
    case SEGBASE.GS_USER_SEL: {
      // Loads gs with the user's base swapped in: the selector is shared by both sides, the base is the user's.
      const kernel = get_base(v, SEG.GS);
      load_data_segment(v, SEG.GS, <u32>base & 0xffff);
      v.gs_base_user = get_base(v, SEG.GS);
      set_base(v, SEG.GS, kernel);
      return 0;
    }
    default:
      return -ERRNO.EINVAL;
  }
}
