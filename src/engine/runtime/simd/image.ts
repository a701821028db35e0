/**
 * The FXSAVE image (SDM vol. 1 table 10-2, 13.4.1), which is also the legacy region of an XSAVE area: between the registers
 * and CpuState.xsave_image, and between that and guest memory.
 */
import { CpuState } from '../../../../build/abi/engine';
import { commit, probe_read, probe_write, raise } from '../mmu';
import { fp_set_control } from '../x87-env';
import { set_status, status } from '../x87-stack';

/** Which image (argument `format`): 64-bit instruction and data pointers; sixteen xmm registers, not eight. */
const POINTERS_64: u32 = 1;
const XMM_16: u32 = 2;

/** Offsets in the image. */
export const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const ST: usize = 32;
export const XMM: usize = 160;

/** Bits of mxcsr that exist. */
export const MXCSR_BITS: u32 = 0xffff;
export const MXCSR_RESET: u32 = 0x1f80;

/** The image of the last save or restore. */
// @ts-ignore: decorator
@inline
export function image(cpu: usize): usize {
  return cpu + CpuState.xsave_image;
}

export function gp(cpu: usize): u32 {
  raise(cpu, 13, 1, 0);
  return 0;
}

/** Bytes of xmm registers that a format covers. */
export function xmm_bytes(format: u32): u32 {
  return format & XMM_16 ? 256 : 128;
}

// Pieces: [addr + from, addr + to) in steps that stay within 64 bytes and so, addr being 16-byte aligned, within what a
// probe takes. Nothing is written before every page was probed.

/** Guest memory → image. 0: fault recorded. */
export function image_read(cpu: usize, addr: u64, from: u32, to: u32): u32 {
  for (let i = from; i < to; ) {
    const n = min<u32>(to - i, 64);
    const p = probe_read(cpu, at(cpu, addr, i), n);
    if (!p) return 0;
    memory.copy(image(cpu) + i, p, n);
    i += n;
  }
  return 1;
}

/** [addr + from, addr + to), at most two pages, can be written. 0: fault recorded. */
export function image_writable(cpu: usize, addr: u64, from: u32, to: u32): u32 {
  return u32(probe_write(cpu, at(cpu, addr, from), 1) != 0 && probe_write(cpu, at(cpu, addr, to - 1), 1) != 0);
}

/** Image → guest memory that is writable. */
export function image_write(cpu: usize, addr: u64, from: u32, to: u32): u32 {
  for (let i = from; i < to; ) {
    const n = min<u32>(to - i, 64);
    const p = probe_write(cpu, at(cpu, addr, i), n);
    if (!p) return 0;
    memory.copy(p, image(cpu) + i, n);
    if (p == <u32>cpu + <u32>CpuState.bounce) commit(cpu);
    i += n;
  }
  return 1;
}

/** Addresses wrap at 4 GiB in compatibility mode. */
function at(cpu: usize, addr: u64, i: u32): u64 {
  const a = addr + u64(i);
  return load<u32>(cpu, CpuState.mode) ? u64(u32(a)) : a;
}

/** x87: bytes 0..23 and 32..159. */
export function store_x87(cpu: usize, format: u32): void {
  const p = image(cpu);
  const sw = status(cpu);
  store<u16>(p, load<u16>(cpu, CpuState.fcw), 0);
  store<u16>(p, sw, 2);
  store<u16>(p, load<u16>(cpu, CpuState.ftw) & 0xff, 4);
  store<u16>(p, load<u16>(cpu, CpuState.fop) & 0x7ff, 6);
  const ip = load<u64>(cpu, CpuState.fip);
  const dp = load<u64>(cpu, CpuState.fdp);
  // Without REX.W the upper halves hold FCS and FDS, which are always zero.
  store<u64>(p, format & POINTERS_64 ? ip : u64(u32(ip)), 8);
  store<u64>(p, format & POINTERS_64 ? dp : u64(u32(dp)), 16);
  for (let i: u32 = 0; i < 8; i++) {
    const r = cpu + CpuState.st + ((((sw >> 11) + i) & 7) << 4);
    store<u64>(p + (i << 4), load<u64>(r), ST);
    store<u64>(p + (i << 4), u64(load<u16>(r, 8)), ST + 8);
  }
}

export function load_x87(cpu: usize, format: u32): void {
  const p = image(cpu);
  const sw: u32 = load<u16>(p, 2);
  set_status(cpu, sw);
  fp_set_control(cpu, load<u16>(p, 0));
  store<u16>(cpu, load<u16>(p, 4) & 0xff, CpuState.ftw);
  store<u16>(cpu, load<u16>(p, 6) & 0x7ff, CpuState.fop);
  store<u16>(cpu, 0, CpuState.fcs);
  store<u16>(cpu, 0, CpuState.fds);
  store<u64>(cpu, format & POINTERS_64 ? load<u64>(p, 8) : u64(load<u32>(p, 8)), CpuState.fip);
  store<u64>(cpu, format & POINTERS_64 ? load<u64>(p, 16) : u64(load<u32>(p, 16)), CpuState.fdp);
  for (let i: u32 = 0; i < 8; i++) {
    const r = cpu + CpuState.st + ((((sw >> 11) + i) & 7) << 4);
    store<u64>(r, load<u64>(p + (i << 4), ST));
    store<u16>(r, load<u16>(p + (i << 4), ST + 8), 8);
  }
}

export function store_mxcsr(cpu: usize): void {
  store<u32>(image(cpu), load<u32>(cpu, CpuState.mxcsr), MXCSR);
  store<u32>(image(cpu), MXCSR_BITS, MXCSR_MASK);
}

/** x87 state as every MMX instruction leaves it: TOP = 0, all registers valid. */
export function mmx_state(cpu: usize): u32 {
  store<u16>(cpu, 0, CpuState.ftop);
  store<u16>(cpu, 0xff, CpuState.ftw);
  return 1;
}
