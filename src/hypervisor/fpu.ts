// x87 and SSE state between a CpuState and an FXSAVE image (Intel SDM vol. 1, 10.5.1), for vcpu_guest_context.
import { CpuState } from "./abi";

const FCW: u32 = 0;
const FSW: u32 = 2;
const FTW: u32 = 4;
const FOP: u32 = 6;
const FIP: u32 = 8;
const FDP: u32 = 16;
const MXCSR: u32 = 24;
const MXCSR_MASK: u32 = 28;
const ST0: u32 = 32;
const XMM0: u32 = 160;

/** Bits of the control word that exist, and the one that reads as 1. */
const FCW_MASK: u32 = 0x1f3f;
const FCW_ONE: u32 = 0x40;
/** Of the status word in the image: TOP; exceptions, whose masks are the same bits of the control word; exception summary and busy. */
const TOP: u32 = 0x3800;
const EXCEPTIONS: u32 = 0x3f;
const ES_B: u32 = 0x8080;

/** MXCSR bits that exist (no denormals-are-zero bit missing: DAZ is supported). */
const MXCSR_VALID: u32 = 0xffff;

/** The image numbers x87 registers from the top of the stack; CpuState by their physical number. */
function st_at(cpu: usize, i: u32): usize {
  const top: u32 = load<u16>(cpu, CpuState.ftop);
  return cpu + CpuState.st + (((top + i) & 7) << 4);
}

export function fpu_init(cpu: usize): void {
  store<u16>(cpu, 0x37f, CpuState.fcw);
  store<u32>(cpu, 0x1f80, CpuState.mxcsr);
}

export function fpu_load_image(cpu: usize, p: usize): void {
  const cw: u32 = (load<u16>(p + FCW) & FCW_MASK) | FCW_ONE;
  let sw: u32 = load<u16>(p + FSW);
  // As with fxrstor, the summary follows from what is open.
  sw = sw & ~cw & EXCEPTIONS ? sw | ES_B : sw & ~ES_B;
  store<u16>(cpu, <u16>cw, CpuState.fcw);
  store<u16>(cpu, <u16>(sw & ~TOP), CpuState.fsw);
  store<u16>(cpu, <u16>((sw & TOP) >> 11), CpuState.ftop);
  store<u16>(cpu, load<u8>(p + FTW), CpuState.ftw);
  store<u16>(cpu, load<u16>(p + FOP), CpuState.fop);
  store<u64>(cpu, load<u64>(p + FIP), CpuState.fip);
  store<u64>(cpu, load<u64>(p + FDP), CpuState.fdp);
  store<u32>(cpu, load<u32>(p + MXCSR) & MXCSR_VALID, CpuState.mxcsr);
  for (let i: u32 = 0; i < 8; i++) {
    const r = st_at(cpu, i);
    store<u64>(r, load<u64>(p + ST0 + (i << 4)));
    store<u64>(r, load<u16>(p + ST0 + (i << 4) + 8), 8);
  }
  memory.copy(cpu + CpuState.xmm, p + XMM0, 256);
}

export function fpu_store_image(cpu: usize, p: usize): void {
  memory.fill(p, 0, 512);
  store<u16>(p + FCW, load<u16>(cpu, CpuState.fcw));
  store<u16>(p + FSW, load<u16>(cpu, CpuState.fsw) | (load<u16>(cpu, CpuState.ftop) << 11));
  store<u8>(p + FTW, <u8>load<u16>(cpu, CpuState.ftw));
  store<u16>(p + FOP, load<u16>(cpu, CpuState.fop));
  store<u64>(p + FIP, load<u64>(cpu, CpuState.fip));
  store<u64>(p + FDP, load<u64>(cpu, CpuState.fdp));
  store<u32>(p + MXCSR, load<u32>(cpu, CpuState.mxcsr));
  store<u32>(p + MXCSR_MASK, MXCSR_VALID);
  for (let i: u32 = 0; i < 8; i++) {
    const r = st_at(cpu, i);
    store<u64>(p + ST0 + (i << 4), load<u64>(r));
    store<u16>(p + ST0 + (i << 4) + 8, load<u16>(r, 8));
  }
  memory.copy(p + XMM0, cpu + CpuState.xmm, 256);
}
