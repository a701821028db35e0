/** RFLAGS as a whole, from and to the lazy flag words (src/engine/flags.ts), and the flags of a comparison. */
import { CpuState, FLAG_KIND, RFLAGS } from '../../../build/abi/engine';

/** Bits of rflags kept in CpuState.rflags. */
const SYSTEM: u64 = RFLAGS.TF | RFLAGS.IF | RFLAGS.DF | RFLAGS.IOPL | RFLAGS.NT | RFLAGS.RF | RFLAGS.VM | RFLAGS.AC |
  RFLAGS.VIF | RFLAGS.VIP | RFLAGS.ID;

/** The whole of rflags. */
export function rflags_get(cpu: usize): u64 {
  const s = load<u64>(cpu, CpuState.fs);
  const c = load<u64>(cpu, CpuState.fc);
  const cf = c >> 63;
  const ov = cf ^ ((c >> 62) & 1);
  const pf = ~popcnt<u64>(s & 0xff) & 1;
  const zf = <u64>(load<u64>(cpu, CpuState.fz) == 0);
  return (load<u64>(cpu, CpuState.rflags) & SYSTEM) | 2 | cf | (pf << 2) | ((load<u64>(cpu, CpuState.fx) ^ s) & RFLAGS.AF) |
    (zf << 6) | (s >> 63 << 7) | (ov << 11);
}

/** Set the whole of rflags. Bits that the architecture reserves are dropped. */
export function rflags_set(cpu: usize, v: u64): void {
  store<u64>(cpu, (v & SYSTEM) | 2, CpuState.rflags);
  const cf = v & 1;
  const ov = (v >> 11) & 1;
  store<u64>(cpu, ((v >> 6) & 1) ^ 1, CpuState.fz);
  store<u64>(cpu, ((v >> 7) << 63) | (((v >> 2) & 1) ^ 1), CpuState.fs);
  store<u64>(cpu, (cf << 63) | ((cf ^ ov) << 62), CpuState.fc);
  // fx XOR fs has AF in bit 4; fs has bit 4 clear.
  store<u64>(cpu, v & RFLAGS.AF, CpuState.fx);
}

/** The status flags of a - b, operands of `bytes` bytes (zero-extended). */
export function set_flags_sub(cpu: usize, a: u64, b: u64, bytes: u32): void {
  const up = <u64>(64 - bytes * 8);
  const r = a - b;
  const s = <u64>(<i64>(r << up) >> up);
  store<u64>(cpu, s, CpuState.fz);
  store<u64>(cpu, s, CpuState.fs);
  store<u64>(cpu, ((~a & b) | ((~a | b) & r)) << up, CpuState.fc);
  store<u64>(cpu, a ^ b, CpuState.fx);
}

/** Bit 0 of t in bits 63 and 62: CF with OF = 0. */
@inline function both_bits(t: u64): u64 {
  return <u64>(<i64>(t << 63) >> 1);
}

/** What the flags of a kind without a step follow from: CpuState. */
const MEM: u32 = 0;

/**
 * Store the flag words that translated code has put off making: `kind` says how they follow from operands a and b, result
 * r, word c (where the kind gives it), and the result of an inc or dec after that; see src/engine/translator/flag-steps.ts.
 */
export function flags_words(cpu: usize, kind: u32, a: u64, b: u64, r: u64, c: u64, stepped: u64): void {
  const base = kind & 0xff;
  if (base == MEM) c = load<u64>(cpu, CpuState.fc);
  else c = base_words(cpu, base, a, b, r, c);
  const step = kind >> 8;
  if (!step) return;
  const up = <u64>(64 - (8 << (step & 3)));
  const top = stepped << up;
  const min = <u64>1 << 63;
  const inc = step >> 2 == FLAG_KIND.INC;
  const overflow = inc ? top == min : top == ~min >> up << up;
  const s = <u64>(<i64>top >> up);
  store<u64>(cpu, s, CpuState.fz);
  store<u64>(cpu, s, CpuState.fs);
  store<u64>(cpu, <u64>(<i64>c >> 63) ^ (<u64>overflow << 62), CpuState.fc);
  store<u64>(cpu, inc ? stepped - 1 : stepped + 1, CpuState.fx);
}

/** Store the words of flags without a step; returns word c. */
function base_words(cpu: usize, kind: u32, a: u64, b: u64, r: u64, c: u64): u64 {
  const up = <u64>(64 - (8 << (kind & 3)));
  if (kind >> 2 == FLAG_KIND.SUB) r = a - b;
  const s = <u64>(<i64>(r << up) >> up);
  let x = s;
  switch (kind >> 2) {
    case FLAG_KIND.ADD:
      a = r - b;
    case FLAG_KIND.ADC:
      c = ((a & b) | ((a | b) & ~r)) << up;
      x = a ^ b;
      break;
    case FLAG_KIND.SUB:
    case FLAG_KIND.SBB:
      c = ((~a & b) | ((~a | b) & r)) << up;
      x = a ^ b;
      break;
    case FLAG_KIND.LOGIC:
      c = 0;
      break;
    case FLAG_KIND.SHL:
      c = a << (b - 1) << up;
      break;
    case FLAG_KIND.SHR:
      c = both_bits(a >> (b - 1)) ^ (a >> (b - 1) >> (63 - up) << 62);
      break;
    case FLAG_KIND.SAR:
      c = both_bits(<u64>(<i64>(a << up) >> up >> (b - 1)));
      break;
    default:
      break;
  }
  store<u64>(cpu, s, CpuState.fz);
  store<u64>(cpu, s, CpuState.fs);
  store<u64>(cpu, c, CpuState.fc);
  store<u64>(cpu, x, CpuState.fx);
  return c;
}
