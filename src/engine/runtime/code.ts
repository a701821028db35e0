/** From an instruction pointer to decoded code, when the execute TLB does not know the way. */
import { CpuState, Record32, XtlbEntry } from '../../../build/abi/engine';
import { lookup_exec, probe_exec, wrap } from './mmu';

/** Decodes the code at CpuState.rip; its record's address, or 0 with the exception recorded. */
@external("decoder", "translate")
declare function decoder_translate(cpu: usize): u32;

/**
 * Address of the record for CpuState.rip, or 0 with the exception recorded. Code that was decoded before, and whose
 * translation was only flushed, is found without leaving wasm.
 */
export function find_code(cpu: usize): u32 {
  const rip = load<u64>(cpu, CpuState.rip);
  const e = probe_exec(cpu, rip);
  if (!e) return 0;
  const rec = load<u32>(load<u32>(e, XtlbEntry.code) + ((<u32>rip & 0xfff) << 2));
  if (!rec) return decoder_translate(cpu);
  store<u64>(cpu, rip & ~0xfff, CpuState.page);
  return rec;
}

/**
 * The record to run for `rec`, which stands for an instruction that crosses into the next page, if it has been decoded from the
 * bytes that are there and the execute TLB has both pages; else 0.
 */
export function known_straddler(cpu: usize, rec: u32): u32 {
  const known = load<u32>(rec, Record32.imm);
  if (known == 0) return 0;
  const page = load<u64>(cpu, CpuState.page);
  const e = lookup_exec(cpu, wrap(cpu, page + 4096));
  if (e == 0 || lookup_exec(cpu, page) == 0) return 0;
  const tail = known + 2 * <u32>Record32.SIZE;
  const there = load<u32>(e, XtlbEntry.mfn) << 12;
  for (let i: u32 = load<u8>(tail); i != 0; i--) {
    if (load<u8>(tail + i) != load<u8>(there + i - 1)) return 0;
  }
  return known;
}
