/** Guest registers of a region in wasm locals: which there are, loading and storing them, reading and writing parts. */
import type { Val } from '../semantics/ir.ts';
import { CpuState } from '../state.ts';
import { loadOp, storeOp } from '../wasm/ir-emitter.ts';
import type { RegionFunc } from './region-func.ts';

const { off } = CpuState;
const CPU = 1;
const GPR_END = off.gpr + 16 * 8;
const XMM_END = off.xmm + 16 * 16;

/** Which register lies at an offset of CpuState: general 0..15, SSE 16..31, -1 none; and the byte in it. */
export function registerAt(offset: number): { n: number; byte: number } {
  if (offset >= off.gpr && offset < GPR_END) return { n: (offset - off.gpr) >> 3, byte: (offset - off.gpr) & 7 };
  if (offset >= off.xmm && offset < XMM_END)
    return { n: 16 + ((offset - off.xmm) >> 4), byte: (offset - off.xmm) & 15 };
  return { n: -1, byte: 0 };
}

/** Registers by number, a bit each. */
export type RegisterSet = number;
export const NO_REGISTERS: RegisterSet = 0;
/** Register n alone; none if n is -1. */
export const bitOf = (n: number): RegisterSet => (n < 0 ? NO_REGISTERS : 1 << n);

export const isXmm = (n: number) => n >= 16;
const slot = (n: number) => (isXmm(n) ? off.xmm + (n - 16) * 16 : off.gpr + n * 8);

/**
 * A register's local and its place in CpuState are always equal: a write goes to both, so that a region can be left anywhere
 * without further ado, and the baseline and optimizing compilers need not bring all registers to one place.
 */
export class Registers {
  private readonly f: RegionFunc;
  private readonly locals = new Map<number, number>();
  /** Locals for writes that may not come to pass, by register; and which have been written, if `speculative`: whether CpuState must have the last of it. */
  private readonly shadows = new Map<number, number>();
  private readonly shadowed = new Map<number, boolean>();
  private speculative = false;
  /** Registers of the present instruction that are written anew before anybody can see them in CpuState. */
  unseen: RegisterSet = NO_REGISTERS;

  constructor(f: RegionFunc, named: RegisterSet) {
    this.f = f;
    for (let n = 0; n < 32; n++) if (named & bitOf(n)) this.locals.set(n, f.register(isXmm(n) ? 'v128' : 'i64'));
  }

  private local(n: number): number {
    if (this.shadowed.has(n)) return this.shadows.get(n)!;
    const l = this.locals.get(n);
    if (l === undefined) throw new Error(`register ${n} is used but not named`);
    return l;
  }

  /** The local that a new value of the register goes to. */
  private target(n: number): number {
    if (!this.speculative) return this.local(n);
    if (!this.shadows.has(n)) this.shadows.set(n, this.f.register(isXmm(n) ? 'v128' : 'i64'));
    this.shadowed.set(n, !(this.unseen & bitOf(n)));
    return this.shadows.get(n)!;
  }

  /** Writes go to other locals, from which `commit` takes them. */
  speculate(): void {
    this.speculative = true;
  }

  /** What was written since `speculate` is what the registers are. */
  commit(): void {
    const written = [...this.shadowed];
    this.shadowed.clear();
    this.speculative = false;
    for (const [n, seen] of written) {
      this.f.get(this.shadows.get(n)!).set(this.local(n));
      if (seen) this.put(n);
    }
  }

  /** Load those for which `which` holds. */
  load(which: (n: number) => boolean): void {
    for (const [n, l] of this.locals) {
      if (!which(n)) continue;
      this.f
        .get(CPU)
        .mem(isXmm(n) ? 'v128.load' : 'i64.load', slot(n))
        .set(l);
    }
  }
  /** Where an SSE register may lie in memory for a moment. */
  private scratch(n: number): number {
    return this.speculative ? off.simd_r : slot(n);
  }

  private store(n: number): void {
    if (!this.speculative && !(this.unseen & bitOf(n))) this.put(n);
  }

  /** To CpuState. */
  private put(n: number): void {
    this.f
      .get(CPU)
      .get(this.local(n))
      .mem(isXmm(n) ? 'v128.store' : 'i64.store', slot(n));
  }

  /** Push general register n whole. */
  get(n: number): void {
    this.f.get(this.local(n));
  }

  /** Push `bytes` of register n from byte `byte` on, as a value of type t. */
  read(n: number, byte: number, bytes: number, t: Val['t'], signed = false): void {
    if (isXmm(n)) {
      this.readXmm(n, byte, bytes, t, signed);
      return;
    }
    const f = this.f.get(this.local(n));
    if (byte) f.i64(BigInt(byte * 8)).op('i64.shr_u');
    if (bytes === 8) return;
    if (t === 'i64') {
      if (signed) f.op(`i64.extend${bytes * 8}_s`);
      else f.i64((1n << BigInt(bytes * 8)) - 1n).op('i64.and');
      return;
    }
    f.op('i32.wrap_i64');
    if (bytes === 4) return;
    if (signed) f.op(`i32.extend${bytes * 8}_s`);
    else f.i32(bytes === 1 ? 0xff : 0xffff).op('i32.and');
  }

  private readXmm(n: number, byte: number, bytes: number, t: Val['t'], signed: boolean): void {
    const f = this.f;
    const lane = (op: string, width: number) => {
      f.get(this.local(n))
        .op(op)
        .body.u8(byte / width);
    };
    if (t === 'v128' && bytes === 16 && byte === 0) f.get(this.local(n));
    else if (t === 'f64' && byte % 8 === 0) lane('f64x2.extract_lane', 8);
    else if (t === 'f32' && byte % 4 === 0) lane('f32x4.extract_lane', 4);
    else if (t === 'i64' && bytes === 8 && byte % 8 === 0) lane('i64x2.extract_lane', 8);
    else if (t === 'i32' && bytes === 4 && byte % 4 === 0) lane('i32x4.extract_lane', 4);
    else {
      // Any other part goes through memory.
      f.get(CPU).get(this.local(n)).mem('v128.store', this.scratch(n));
      f.get(CPU).mem(loadOp(t, bytes, signed), this.scratch(n) + byte);
    }
  }

  /** Set `bytes` of register n from byte `byte` on; `value` pushes a value of type t. */
  write(n: number, byte: number, bytes: number, t: Val['t'], value: () => void): void {
    this.set(n, byte, bytes, t, value);
    this.store(n);
  }

  private set(n: number, byte: number, bytes: number, t: Val['t'], value: () => void): void {
    const f = this.f;
    const l = this.local(n);
    if (isXmm(n)) {
      this.writeXmm(n, l, byte, bytes, t, value);
      return;
    }
    const set = () => f.set(this.target(n));
    const widen = () => {
      value();
      if (t === 'i32') f.op('i64.extend_i32_u');
    };
    if (bytes === 8) {
      widen();
      set();
      return;
    }
    const mask = ((1n << BigInt(bytes * 8)) - 1n) << BigInt(byte * 8);
    f.get(l).i64(BigInt.asIntN(64, ~mask)).op('i64.and');
    widen();
    if (byte) f.i64(BigInt(byte * 8)).op('i64.shl');
    f.i64(BigInt.asIntN(64, mask)).op('i64.and').op('i64.or');
    set();
  }

  private writeXmm(n: number, l: number, byte: number, bytes: number, t: Val['t'], value: () => void): void {
    const f = this.f;
    // Not before the value has been pushed, which may be made from the register.
    const set = () => f.set(this.target(n));
    const lane = (op: string, width: number) => {
      f.get(l);
      value();
      f.op(op).body.u8(byte / width);
      set();
    };
    if (t === 'v128' && bytes === 16 && byte === 0) {
      value();
      set();
    } else if (t === 'f64' && byte % 8 === 0) lane('f64x2.replace_lane', 8);
    else if (t === 'f32' && byte % 4 === 0) lane('f32x4.replace_lane', 4);
    else if (t === 'i64' && bytes === 8 && byte % 8 === 0) lane('i64x2.replace_lane', 8);
    else if (t === 'i32' && bytes === 4 && byte % 4 === 0) lane('i32x4.replace_lane', 4);
    else {
      const at = this.scratch(n);
      f.get(CPU).get(l).mem('v128.store', at);
      f.get(CPU);
      value();
      f.mem(storeOp(t, bytes), at + byte);
      f.get(CPU).mem('v128.load', at);
      set();
    }
  }
}
