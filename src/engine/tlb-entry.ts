/** Where a linear address has its entry in the active context's TLBs. */
import { CpuState, TLB_ENTRIES, TlbEntry, XTLB_ENTRIES, XtlbEntry } from './state.ts';
import type { Func } from './wasm/module.ts';

const TLBS = {
  tlb: { entries: TLB_ENTRIES, size: TlbEntry.size },
  xtlb: { entries: XTLB_ENTRIES, size: XtlbEntry.size },
} as const;

/** Push the machine address of the entry for the linear address in local `address` (i64). */
export function emitTlbEntry(f: Func, cpu: number, tlb: keyof typeof TLBS, address: number): Func {
  const { entries, size } = TLBS[tlb];
  f.get(cpu).mem('i32.load', CpuState.off[tlb]);
  f.get(address)
    .i64(BigInt(12 - Math.log2(size)))
    .op('i64.shr_u')
    .op('i32.wrap_i64');
  return f
    .i32((entries - 1) * size)
    .op('i32.and')
    .op('i32.add');
}
