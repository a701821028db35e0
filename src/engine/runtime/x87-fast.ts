/**
 * The common case of x87 arithmetic, loads and stores, without the detour over percpu.ts: all exceptions masked, round to
 * nearest, precision 64 or 53 bits, normal operands and result. Each function gives -1 (having changed nothing) if the
 * case is not common after all; then the exact path does the work.
 */
import { CpuState } from '../../../build/abi/engine';
import { div_128_64, mul_hi } from './softfloat/bits';
import { PE } from './softfloat/flags';
import { ADD, INT, MUL, normal80, SUB, SUBR } from './softfloat/f80';
import { lo } from './softfloat/percpu';
import { C1 } from './x87-stack';

const HALF: u64 = 0x8000000000000000;

// Conditions that depend on the numbers' bits are computed, not branched on: nothing would predict them.

/** The control word allows it. */
// @ts-ignore: decorator
@inline
export function common(cw: u32): bool {
  return (cw & 0xe3f) == 0x23f;
}

/** Round to nearest at the precision of `cw`, store at p; gives PE and C1. `e` is the biased exponent. */
// @ts-ignore: decorator
@inline
function nearest(p: usize, sign: u32, e: i32, sig: u64, ext: u64, cw: u32): i32 {
  let ulp: u64 = 1;
  if ((cw & 0x100) == 0) {
    ext = (sig << 53) | u64(ext != 0);
    sig &= ~0x7ff;
    ulp = 0x800;
  }
  const up = u32(ext > HALF) | (u32(ext == HALF) & u32((sig & ulp) != 0));
  const r = sig + (ulp & (0 - u64(up)));
  const carry = u32(r < sig);
  e += carry;
  if (u32(e) - 1 >= 0x7ffe) return -1;
  store<u64>(p, carry ? INT : r);
  store<u16>(p, u16(sign | u32(e)), 8);
  return ext != 0 ? PE | (up << 9) : 0;
}

function add(p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  let ea = i32(ase & 0x7fff);
  const eb = i32(bse & 0x7fff);
  let d = ea - eb;
  let sign = ase & 0x8000;
  if (d < 0 || (d == 0 && a < b)) {
    const t = a;
    a = b;
    b = t;
    ea = eb;
    d = -d;
    sign = bse & 0x8000;
  }
  if (d > 63) return -1;
  // b shifted to a's exponent: bh:bl
  const bh = b >> d;
  const bl = d == 0 ? 0 : b << (64 - d);
  if (((ase ^ bse) & 0x8000) == 0) {
    const sum = a + bh;
    if (sum < a) return nearest(p, sign, ea + 1, (sum >> 1) | INT, (sum << 63) | (bl >> 1) | (bl & 1), cw);
    return nearest(p, sign, ea, sum, bl, cw);
  }
  const l: u64 = 0 - bl;
  const h = a - bh - u64(bl != 0);
  if (h == 0) return -1;
  const n = i32(clz(h));
  if (n == 0) return nearest(p, sign, ea, h, l, cw);
  return nearest(p, sign, ea - n, (h << n) | (l >> (64 - n)), l << n, cw);
}

// @ts-ignore: decorator
@inline
function mul(p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  const h = mul_hi(a, b);
  const l = a * b;
  const n = u64(i64(h) >= 0);
  const e = i32(ase & 0x7fff) + i32(bse & 0x7fff) - 16382 - i32(n);
  return nearest(p, (ase ^ bse) & 0x8000, e, (h << n) | ((l >> 63) & n), l << n, cw);
}

function div(p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  const less = u32(a < b);
  const q = div_128_64(a >> (1 - u64(less)), (a << 63) & (u64(less) - 1), b);
  const r = lo;
  const c = b - r;
  // the fraction r / b: zero, below, at, above one half
  const ext = (u64(r >= c) << 63) | (u64(r != 0 && r != c) << 62);
  const e = i32(ase & 0x7fff) - i32(bse & 0x7fff) + 16383 - i32(less);
  return nearest(p, (ase ^ bse) & 0x8000, e, q, ext, cw);
}

/** Register at p = a op b. */
// @ts-ignore: decorator
@inline
export function fast_arith(op: u32, p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  if (!normal80(ase, a) || !normal80(bse, b)) return -1;
  if (op == MUL) return mul(p, ase, a, bse, b, cw);
  if (op <= SUBR) return add(p, op == SUBR ? ase ^ 0x8000 : ase, a, op == SUB ? bse ^ 0x8000 : bse, b, cw);
  return op & 1 ? div(p, bse, b, ase, a, cw) : div(p, ase, a, bse, b, cw);
}

/** The end of it: the status word with the flags from fast_arith, and perhaps a pop. */
// @ts-ignore: decorator
@inline
export function fast_end(cpu: usize, sw: u32, flags: u32, pops: u32): void {
  sw = (sw & ~C1) | flags;
  if (pops) {
    const top = (sw >> 11) & 7;
    store<u16>(cpu, u16(load<u16>(cpu, CpuState.ftw) & ~(u32(1) << top)), CpuState.ftw);
    sw = (sw & ~0x3800) | (((top + 1) & 7) << 11);
  }
  store<u16>(cpu, u16(sw), CpuState.fsw);
}

/** Push a normal number; there must be room. */
// @ts-ignore: decorator
@inline
export function fast_push(cpu: usize, se: u32, sig: u64): bool {
  const sw: u32 = load<u16>(cpu, CpuState.fsw);
  const tags: u32 = load<u16>(cpu, CpuState.ftw);
  const top = ((sw >> 11) - 1) & 7;
  if ((tags >> top) & 1) return false;
  store<u16>(cpu, u16(tags | (u32(1) << top)), CpuState.ftw);
  store<u16>(cpu, u16((sw & ~(0x3800 | C1)) | (top << 11)), CpuState.fsw);
  const p = cpu + CpuState.st + (top << 4);
  store<u64>(p, sig);
  store<u16>(p, u16(se), 8);
  return true;
}

/** ST(0) as binary64 to ret0, and perhaps a pop. */
// @ts-ignore: decorator
@inline
export function fast_get_f64(cpu: usize, pops: u32): bool {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  const sw: u32 = load<u16>(cpu, CpuState.fsw);
  const top = (sw >> 11) & 7;
  if ((cw & 0xc3f) != 0x3f || ((u32(load<u16>(cpu, CpuState.ftw)) >> top) & 1) == 0) return false;
  const p = cpu + CpuState.st + (top << 4);
  const se: u32 = load<u16>(p, 8);
  const sig = load<u64>(p);
  // 2^-1021 and above, below 2^1023: no underflow, and rounding up does not overflow
  const e = (se & 0x7fff) - 15362;
  if (e >= 2044 || i64(sig) >= 0) return false;
  const rest = u32(sig) & 0x7ff;
  const up = u32(rest > 0x400) | (u32(rest == 0x400) & (u32(sig >> 11) & 1));
  const r = (u64(se >> 15) << 63) | ((u64(e + 1) << 52) + (sig >> 11) + u64(up));
  store<u64>(cpu, r, CpuState.ret0);
  fast_end(cpu, sw, rest != 0 ? PE | (up << 9) : 0, pops);
  return true;
}
