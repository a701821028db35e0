/** fxsave, fxrstor (SDM vol. 2). `format`: see image.ts. 0: exception recorded. */
import { CpuState } from '../../../../build/abi/engine';
import {
  MXCSR, MXCSR_BITS, XMM, gp, image, image_read, image_writable, image_write, load_x87, store_mxcsr, store_x87, xmm_bytes,
} from './image';

export function fxsave(cpu: usize, addr: u64, format: u32): u32 {
  if (addr & 15) return gp(cpu);
  if (!image_writable(cpu, addr, 0, 512)) return 0;
  store_x87(cpu, format);
  store_mxcsr(cpu);
  const n = xmm_bytes(format);
  memory.copy(image(cpu) + XMM, cpu + CpuState.xmm, n);
  // What follows the registers is reserved or software's.
  return image_write(cpu, addr, 0, <u32>XMM + n);
}

export function fxrstor(cpu: usize, addr: u64, format: u32): u32 {
  if (addr & 15) return gp(cpu);
  if (!image_read(cpu, addr, 0, 512)) return 0;
  const mxcsr = load<u32>(image(cpu), MXCSR);
  if (mxcsr & ~MXCSR_BITS) return gp(cpu);
  load_x87(cpu, format);
  store<u32>(cpu, mxcsr, CpuState.mxcsr);
  memory.copy(cpu + CpuState.xmm, image(cpu) + XMM, xmm_bytes(format));
  return 1;
}
