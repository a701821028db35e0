/**
 * xsave, xrstor: standard format, components x87 and SSE (SDM vol. 1 13.4, 13.7, 13.8). `mask` is edx:eax. The compacted
 * format (xsavec) is not offered. 0: exception recorded.
 */
import { CpuState } from '../../../../build/abi/engine';
import {
  MXCSR, MXCSR_BITS, XMM, gp, image, image_read, image_writable, image_write, load_x87, store_mxcsr, store_x87, xmm_bytes,
} from './image';
import { status } from '../x87-stack';

const X87: u64 = 1;
const SSE: u64 = 2;
/** The XSAVE header follows the legacy region: XSTATE_BV, XCOMP_BV, reserved. */
const HEADER: u32 = 512;

// @ts-ignore: decorator
@inline
function requested(cpu: usize, mask: u64): u64 {
  return load<u64>(cpu, CpuState.xcr0) & mask & (X87 | SSE);
}

/** Components that are not in their initial state. MXCSR belongs to none. */
function in_use(cpu: usize, format: u32): u64 {
  let r: u64 = 0;
  for (let i: usize = 0; i < xmm_bytes(format); i += 8) {
    if (load<u64>(cpu + i, CpuState.xmm)) {
      r = SSE;
      break;
    }
  }
  let x = u64(load<u16>(cpu, CpuState.fcw) ^ 0x37f) | u64(status(cpu)) | u64(load<u16>(cpu, CpuState.ftw));
  x |= u64(load<u16>(cpu, CpuState.fop)) | load<u64>(cpu, CpuState.fip) | load<u64>(cpu, CpuState.fdp);
  for (let i: usize = 0; i < 128; i += 16) x |= load<u64>(cpu + i, CpuState.st) | u64(load<u16>(cpu + i, CpuState.st + 8));
  return x ? r | X87 : r;
}

export function xsave(cpu: usize, addr: u64, mask: u64, format: u32): u32 {
  if (addr & 63) return gp(cpu);
  const rfbm = requested(cpu, mask);
  if (!image_writable(cpu, addr, 0, HEADER + 64)) return 0;
  if (!image_read(cpu, addr, HEADER, HEADER + 8)) return 0;
  const old = load<u64>(image(cpu), HEADER);
  store<u64>(image(cpu), (old & ~rfbm) | (in_use(cpu, format) & rfbm), HEADER);
  if (rfbm & X87) {
    store_x87(cpu, format);
    if (!image_write(cpu, addr, 0, <u32>MXCSR) || !image_write(cpu, addr, 32, <u32>XMM)) return 0;
  }
  if (rfbm & SSE) {
    const n = xmm_bytes(format);
    store_mxcsr(cpu);
    memory.copy(image(cpu) + XMM, cpu + CpuState.xmm, n);
    if (!image_write(cpu, addr, <u32>MXCSR, 32) || !image_write(cpu, addr, <u32>XMM, <u32>XMM + n)) return 0;
  }
  return image_write(cpu, addr, HEADER, HEADER + 8);
}

export function xrstor(cpu: usize, addr: u64, mask: u64, format: u32): u32 {
  if (addr & 63) return gp(cpu);
  const rfbm = requested(cpu, mask);
  if (!image_read(cpu, addr, 0, HEADER + 64)) return 0;
  const p = image(cpu);
  const bv = load<u64>(p, HEADER);
  // XCOMP_BV and the eight bytes after it must be zero, and only enabled components be present.
  if (bv & ~load<u64>(cpu, CpuState.xcr0)) return gp(cpu);
  if (load<u64>(p, HEADER + 8) | load<u64>(p, HEADER + 16)) return gp(cpu);
  const mxcsr = load<u32>(p, MXCSR);
  if (rfbm & SSE && mxcsr & ~MXCSR_BITS) return gp(cpu);
  if (rfbm & X87) {
    if (!(bv & X87)) {
      memory.fill(p, 0, MXCSR);
      memory.fill(p + 32, 0, XMM - 32);
      store<u16>(p, 0x37f);
    }
    load_x87(cpu, format);
  }
  if (rfbm & SSE) {
    // MXCSR is loaded even when the component's registers take their initial value.
    store<u32>(cpu, mxcsr, CpuState.mxcsr);
    if (bv & SSE) memory.copy(cpu + CpuState.xmm, p + XMM, xmm_bytes(format));
    else memory.fill(cpu + CpuState.xmm, 0, xmm_bytes(format));
  }
  return 1;
}
