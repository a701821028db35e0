/** Choosing where a memory operand lies and how it is addressed. */
import type { Memory } from './encode.ts';
import type { Rng } from './rng.ts';
import { FS_BASE, GPR_NAMES, GS_BASE, KIND_OFFSETS, WINDOW, WINDOW_SIZE } from './state.ts';

const MASK64 = (1n << 64n) - 1n;
const MASK32 = (1n << 32n) - 1n;
const NO_MEMORY: Memory = {
  base: -1,
  index: -1,
  scale: 0,
  disp: 0,
  dispSize: 4,
  rip: false,
  absolute: 0n,
  seg: 0,
  small: false,
  rm16: 0,
};
const SEG_PREFIX = { es: 0x26, cs: 0x2e, ss: 0x36, ds: 0x3e, fs: 0x64, gs: 0x65 } as const;

export interface Place {
  /** Linear address. */
  readonly address: bigint;
  readonly memory: Memory;
}

/** A linear address for `bytes` bytes of a kind (state.ts `lanes`; -1: any): now and then one that faults. */
export function place(r: Rng, bytes: number, kind: number, aligned: boolean): bigint {
  const n = Math.max(bytes, 1);
  switch (r.below(24)) {
    case 0: // across the two pages
    case 1:
      if (aligned || n === 1) break;
      return BigInt(WINDOW + 0x1000 - r.range(1, n - 1));
    case 2: // around or beyond the ends
      if (r.oneIn(2)) return BigInt(aligned ? WINDOW + WINDOW_SIZE : WINDOW + WINDOW_SIZE - r.below(n));
      return BigInt(WINDOW - (aligned ? 16 : r.range(1, n + 1)));
    case 3:
      return BigInt(r.pick([0, 0x10, 0x7fff_f000, WINDOW + WINDOW_SIZE + 0x40, WINDOW - 0x1000]));
    case 4: // misaligned
      return BigInt(WINDOW + r.range(0, WINDOW_SIZE - n - 1));
  }
  const offsets = kind < 0 ? r.pick(KIND_OFFSETS) : KIND_OFFSETS[kind];
  const chunk = r.below(WINDOW_SIZE / 128 - 5) * 128 + r.pick(offsets);
  const within = aligned || n >= 16 ? 0 : r.below(16 / n) * n;
  return BigInt(WINDOW + chunk + within);
}

/**
 * An addressing form that gives `address`, with the register overrides it needs. `reserved`: registers whose values
 * must stay.
 */
export function addressing(
  r: Rng,
  mode: 0 | 1,
  address: bigint,
  reserved: ReadonlySet<number>,
  set: (reg: number, v: bigint) => void,
): Memory {
  const long = mode === 0;
  const mask = long ? MASK64 : MASK32;
  let seg = 0;
  let offset = address;
  let small = false;
  if (r.oneIn(10)) {
    if (long) {
      seg = r.pick([
        SEG_PREFIX.fs,
        SEG_PREFIX.gs,
        SEG_PREFIX.gs,
        SEG_PREFIX.ds,
        SEG_PREFIX.cs,
        SEG_PREFIX.es,
        SEG_PREFIX.ss,
      ]);
      if (seg === SEG_PREFIX.fs) offset -= BigInt(FS_BASE);
      if (seg === SEG_PREFIX.gs) offset -= BigInt(GS_BASE);
      offset &= MASK64;
    } else seg = r.pick([SEG_PREFIX.es, SEG_PREFIX.ss, SEG_PREFIX.ds]);
  }
  if (long && offset <= 0xffff_ffffn && r.oneIn(12)) small = true;
  const free: number[] = [];
  for (let i = 0; i < (long ? 16 : 8); i++) if (!reserved.has(i)) free.push(i);
  const indexable = free.filter((i) => i !== 4);
  const wide = () => (small ? BigInt(r.u32()) << 32n : 0n);
  const put = (reg: number, v: bigint) => set(reg, small ? wide() | (v & MASK32) : v & mask);
  const signed32 = (v: bigint) => v >= -0x8000_0000n && v <= 0x7fff_ffffn;
  const disp8 = () => r.range(-128, 127);
  const disp32 = () => r.pick([0, 1, -1, r.range(-5000, 5000), 0x7fffffff, -0x80000000, r.u32() | 0]);
  const form = r.below(20);
  const base = { ...NO_MEMORY, seg, small };
  if (form === 0 && signed32(offset)) return { ...base, disp: Number(offset), dispSize: r.pick([1, 4]) };
  if (form <= 2 && long && offset < 0x7000_0000n && !small) {
    return { ...base, rip: true, disp: Number(offset) };
  }
  if (form <= 4 && indexable.length) {
    // index only
    const index = r.pick(indexable);
    const scale = r.below(4);
    let disp = BigInt(disp32());
    let rest = offset - disp;
    const low = rest & ((1n << BigInt(scale)) - 1n);
    disp += low;
    rest -= low;
    if (!signed32(disp) || (long && !small && rest < 0n)) {
      disp = offset & ((1n << BigInt(scale)) - 1n);
      rest = offset - disp;
    }
    put(index, (long && !small ? rest : rest & MASK32) >> BigInt(scale));
    return { ...base, index, scale, disp: Number(disp) };
  }
  if (form <= 9 && indexable.length > 1) {
    const index = r.pick(indexable);
    const choices = free.filter((x) => x !== index);
    const b = r.pick(choices);
    const scale = r.below(4);
    const dispSize = r.pick([0, 1, 4]);
    const disp = dispSize === 0 && (b & 7) !== 5 ? 0 : dispSize === 4 ? disp32() : disp8();
    const iv = r.pick([0n, 1n, 2n, 16n, BigInt(r.below(4096)), -1n, -8n, r.u64()]);
    put(index, iv);
    put(b, offset - (iv << BigInt(scale)) - BigInt(disp));
    return { ...base, base: b, index, scale, disp, dispSize: dispSize === 0 && (b & 7) === 5 ? 1 : dispSize };
  }
  const b = r.pick(free);
  const dispSize = r.pick([0, 0, 1, 4]);
  const disp = dispSize === 0 && (b & 7) !== 5 ? 0 : dispSize === 4 ? disp32() : disp8();
  put(b, offset - BigInt(disp));
  return { ...base, base: b, disp, dispSize: dispSize === 0 && (b & 7) === 5 ? 1 : dispSize };
}

/** 16-bit addressing (compatibility mode): never mapped, so it shows the address in CR2, or in lea's result. */
export function addressing16(r: Rng): Memory {
  return { ...NO_MEMORY, small: true, rm16: r.below(8), dispSize: r.below(3), disp: r.range(-0x8000, 0x7fff) };
}

export function moffs(mode: 0 | 1, address: bigint): Memory {
  return { ...NO_MEMORY, absolute: mode ? address & MASK32 : address };
}

export const gprName = (n: number): string => GPR_NAMES[n];
