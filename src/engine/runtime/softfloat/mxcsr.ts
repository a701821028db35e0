/** MXCSR (SDM vol. 1 figure 10-3) at the borders of an SSE operation. */
import { CpuState } from '../../../../build/abi/engine';
import { raise } from '../mmu';
import { fl, ftz, held, rc, unmasked } from './percpu';
import { DE, IE, UE, ZE } from './flags';

const FTZ: u32 = 1 << 15;
const DAZ: u32 = 1 << 6;
const OSXMMEXCPT: u64 = 1 << 10;

/**
 * The fast paths compute with wasm's own arithmetic. They need: round to nearest, inexact masked and already sticky (so
 * that nothing need be known about exactness). Each checks operands and result itself to be normal numbers or zero.
 */
// @ts-ignore: decorator
@inline
export function plain(cpu: usize): bool {
  return (load<u32>(cpu, CpuState.mxcsr) & 0x7020) == 0x1020;
}

/** Start of an exact operation; gives whether denormal operands count as zeros. */
export function begin(cpu: usize): bool {
  const m = load<u32>(cpu, CpuState.mxcsr);
  fl = 0;
  rc = (m >> 13) & 3;
  unmasked = ~(m >> 7) & 0x3f;
  ftz = (m & FTZ) != 0 && (unmasked & UE) == 0;
  return (m & DAZ) != 0;
}

/** End of it: `fl` becomes sticky, or is held back for sse_check. */
export function end(cpu: usize): void {
  if (unmasked == 0) store<u32>(cpu, load<u32>(cpu, CpuState.mxcsr) | fl, CpuState.mxcsr);
  else {
    // An unmasked exception found before computing ends the operation: no result, no later exceptions.
    if (fl & unmasked & (IE | DE | ZE)) fl &= IE | DE | ZE;
    held |= fl;
  }
}

/**
 * Once an instruction, after its operations: makes held exceptions sticky. 1: go on. 0: one is unmasked, #XM (or #UD
 * without CR4.OSXMMEXCPT) is recorded.
 */
export function sse_check(cpu: usize): u32 {
  if (held == 0) return 1;
  const m = load<u32>(cpu, CpuState.mxcsr);
  const open = ~(m >> 7) & 0x3f;
  let f = held;
  held = 0;
  if (f & open & (IE | DE | ZE)) f &= IE | DE | ZE;
  store<u32>(cpu, m | f, CpuState.mxcsr);
  if ((f & open) == 0) return 1;
  raise(cpu, load<u64>(cpu, CpuState.cr4) & OSXMMEXCPT ? 19 : 6, 0, 0);
  return 0;
}
