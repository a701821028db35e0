/** From an instruction pointer to decoded code, when the execute TLB does not know the way. */
import { CpuState, XtlbEntry } from '../../../build/abi/engine';
import { probe_exec } from './mmu';

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
