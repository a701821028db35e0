/**
 * The engine's counters: u64 fields of CpuState, one behind the other, which generated code and the runtime increment. The
 * hypervisor adds them to its statistics whenever a vCPU leaves its pCPU's hands, and clears them. To count something new:
 * a field in state.ts, a row here.
 */
import { CpuState } from './state.ts';

export const ENGINE_COUNTERS = [
  { field: 'n_tlb_miss', what: 'data TLB misses' },
  { field: 'n_xtlb_miss', what: 'execute TLB misses' },
  { field: 'n_tlb_flush', what: 'TLB contexts flushed' },
] as const;

export const ENGINE_COUNTERS_OFFSET = CpuState.off[ENGINE_COUNTERS[0].field];
export const ENGINE_COUNTERS_COUNT = ENGINE_COUNTERS.length;
