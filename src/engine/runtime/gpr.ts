/** A vCPU's general registers, by number (GPR.*). */
import { CpuState } from '../../../build/abi/engine';

@inline export function gpr(cpu: usize, n: i32): u64 {
  return load<u64>(cpu + (n << 3), CpuState.gpr);
}
@inline export function set_gpr(cpu: usize, n: i32, v: u64): void {
  store<u64>(cpu + (n << 3), v, CpuState.gpr);
}
