/** Descriptor tables of an HVM container at their linear addresses: lgdt, lidt, lldt, ltr (Intel SDM vol. 2; vol. 3, 3.5). */
import { CpuState, SEG, VEC } from '../../../../build/abi/engine';
import { READ, WRITE, canonical, fault, may_change_code } from '../mmu';
import { system_value, walk_page } from '../percpu';
import { EFER_LMA, PRESENT, S, base_of, fail, find, is_null, limit_of } from '../segment';
import { system_address, system_read } from './memory';
import { hvm_walk } from './paging';

const LDT: u32 = 2;
const TSS_AVAILABLE: u32 = 9;
const BUSY: u32 = 2;

/** Machine address of the 8 bytes of a descriptor, or of a copy where they cross a page; 0 if they cannot be read (the fault recorded if `raising`). */
export function hvm_descriptor(cpu: usize, va: u64, raising: bool): u32 {
  if ((<u32>va & 0xfff) > 4088) {
    if (!raising || !system_read(cpu, va)) return 0;
    store<u64>(cpu, system_value, CpuState.ret1);
    return <u32>cpu + <u32>CpuState.ret1;
  }
  if (raising) return system_address(cpu, va);
  return canonical(va) && hvm_walk(cpu, va, READ, false) ? <u32>walk_page | (<u32>va & 0xfff) : 0;
}

/** Sets bits of the type (byte 5) of the descriptor at `va`; false with the fault recorded. */
export function hvm_mark_descriptor(cpu: usize, va: u64, bits: u32): bool {
  const at = va + 5;
  if (!canonical(at)) return fail(cpu, VEC.GP, 0) != 0;
  if (!hvm_walk(cpu, at, WRITE, false)) return fault(cpu, at) != 0;
  const h = <u32>walk_page | (<u32>at & 0xfff);
  if (!may_change_code(cpu, h, 1)) return false;
  atomic.or<u8>(h, <u8>bits);
  return true;
}

export function hvm_lgdt(cpu: usize, limit: u32, base: u64): u32 {
  if (!canonical(base)) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu, base, CpuState.gdt_base);
  store<u32>(cpu, limit, CpuState.gdt_limit);
  return 1;
}

export function hvm_lidt(cpu: usize, limit: u32, base: u64): u32 {
  if (!canonical(base)) return fail(cpu, VEC.GP, 0);
  store<u64>(cpu, base, CpuState.idt_base);
  store<u32>(cpu, limit, CpuState.idt_limit);
  return 1;
}

/** Host address of the system descriptor that `sel` names in the GDT, whose type may be `type`; 0 with the fault recorded. Its base goes to ret0. */
function system_descriptor(cpu: usize, sel: u32, type: u32): u32 {
  const error = sel & 0xfffc;
  if (sel & 4) return fail(cpu, VEC.GP, error);
  const h = find(cpu, sel);
  if (h == 1) return 0;
  if (h == 0) return fail(cpu, VEC.GP, error);
  const d = load<u64>(h);
  if (d & S || (<u32>(d >> 40) & 15) != type) return fail(cpu, VEC.GP, error);
  if (!(d & PRESENT)) return fail(cpu, VEC.NP, error);
  let base = base_of(d);
  // 16 bytes in long mode.
  if (load<u64>(cpu, CpuState.efer) & EFER_LMA) {
    if ((sel & 0xfff8) + 15 > load<u32>(cpu, CpuState.gdt_limit)) return fail(cpu, VEC.GP, error);
    if (!system_read(cpu, load<u64>(cpu, CpuState.gdt_base) + (sel & 0xfff8) + 8)) return 0;
    base |= system_value << 32;
    if (!canonical(base)) return fail(cpu, VEC.GP, error);
  }
  store<u64>(cpu, base, CpuState.ret0);
  return h;
}

export function hvm_lldt(cpu: usize, sel: u32): u32 {
  let entries: u32 = 0;
  let base: u64 = 0;
  if (!is_null(sel)) {
    const h = system_descriptor(cpu, sel, LDT);
    if (!h) return 0;
    base = load<u64>(cpu, CpuState.ret0);
    // A selector reaches 64 KiB.
    entries = (<u32>min<u64>(limit_of(load<u64>(h)), 0xffff) + 1) >> 3;
  }
  store<u16>(cpu + (SEG.LDTR << 1), <u16>sel, CpuState.sel);
  store<u64>(cpu, base, CpuState.ldt_base);
  store<u32>(cpu, entries, CpuState.ldt_ents);
  return 1;
}

export function hvm_ltr(cpu: usize, sel: u32): u32 {
  if (is_null(sel)) return fail(cpu, VEC.GP, 0);
  const h = system_descriptor(cpu, sel, TSS_AVAILABLE);
  if (!h) return 0;
  const d = load<u64>(h);
  const limit = <u32>limit_of(d);
  const base = load<u64>(cpu, CpuState.ret0);
  if (!hvm_mark_descriptor(cpu, load<u64>(cpu, CpuState.gdt_base) + (sel & 0xfff8), BUSY)) return 0;
  store<u16>(cpu + (SEG.TR << 1), <u16>sel, CpuState.sel);
  store<u64>(cpu, base, CpuState.tr_base);
  store<u32>(cpu, limit, CpuState.tr_limit);
  return 1;
}
