/**
 * The common case of x87 arithmetic, loads and stores in the region itself (the runtime's x87-fast.ts says what is common),
 * with the numbers in locals. As with other registers a write goes to CpuState too, so that the region can be left
 * anywhere; everything uncommon is a call of the helper, which takes the numbers from there.
 *
 * What is known is about one block: where TOP was (a local), how far it has moved since (known here), and which registers'
 * numbers are in locals. With all exceptions masked each instruction moves TOP as it should, whatever it meets.
 */
import { CpuState } from '../state.ts';
import type { RegionFunc } from './region-func.ts';

const { off } = CpuState;
const CPU = 1;

/** All exceptions masked, round to nearest, 64 bits of precision. */
const CONTROL_BITS = 0xf3f;
const CONTROL = 0x33f;
const C1 = 0x200;
const INT = 1n << 63n;
const LOW = 0xffff_ffffn;
const SIGN = 0x8000;
const EXPONENT = 0x7fff;
/** Biased exponents 1 to this are those of normal numbers. */
const NORMAL = 0x7ffe;
const SE = off.st + 8;
/** Common cases in a region, of 200 to 500 bytes of wasm each. */
const MOST = 128;

/** Operations as the modrm digit has them. */
const SUB = 4;
const SUBR = 5;

/** Locals: significand (i64), sign and exponent (i32). */
interface Numeral {
  readonly sig: number;
  readonly se: number;
}

/** A register, by its distance from where ST(0) was first: its number, CPU + 16 * its physical number, and whether it is in use and normal. */
interface Slot extends Numeral {
  readonly at: number;
  readonly ok: number;
}

/** A helper's argument: its value if that is known, and the local with it. */
export interface Argument {
  readonly constant: number | undefined;
  readonly local: () => number;
}

/** A helper that is called: the register ST(i) that it writes, and how far TOP moves, as its (constant) arguments say. */
interface Effect {
  readonly writes?: (a: readonly number[]) => number;
  readonly pops?: (a: readonly number[]) => number;
}
const TO_TOP: Effect = { writes: () => 0 };
const PUSH: Effect = { pops: () => -1 };

const CALLED: Readonly<Record<string, Effect>> = {
  fp_div: { writes: ([, dst]) => dst, pops: ([, , , pops]) => pops },
  fp_div_f64: TO_TOP,
  fp_div_f32: TO_TOP,
  fp_arith_int: TO_TOP,
  fp_sqrt: TO_TOP,
  fp_rndint: TO_TOP,
  fp_scale: TO_TOP,
  fp_push_int: PUSH,
  fp_push_f80: PUSH,
  fp_push_constant: PUSH,
  fp_get_int: { pops: ([, , pops]) => pops },
  fp_get_f80: { pops: () => 1 },
  fp_compare: { pops: ([, , pops]) => pops },
  fp_compare_flags: { pops: ([, , pops]) => pops },
  fp_compare_f64: { pops: ([, pops]) => pops },
  fp_compare_f32: { pops: ([, pops]) => pops },
  fp_compare_int: { pops: ([, pops]) => pops },
  fp_examine: {},
};

/** A common case in place: false if this one is none. `c`: the arguments as far as they are constants. */
type Common = (s: X87Stack, c: readonly (number | undefined)[], args: readonly Argument[], call: () => void) => boolean;

export class X87Stack {
  private static readonly COMMON: Readonly<Record<string, Common>> = {
    fp_add: (s, c, _, call) => s.arithmetic(false, c, call),
    fp_mul: (s, c, _, call) => s.arithmetic(true, c, call),
    fp_add_f64: (s, c, args, call) => s.withMemory(false, c[0], args[1].local(), true, call),
    fp_mul_f64: (s, c, args, call) => s.withMemory(true, c[0], args[1].local(), true, call),
    fp_add_f32: (s, c, args, call) => s.withMemory(false, c[0], args[1].local(), false, call),
    fp_mul_f32: (s, c, args, call) => s.withMemory(true, c[0], args[1].local(), false, call),
    fp_push_f64: (s, _, args, call) => s.pushMemory(args[0].local(), true, call),
    fp_push_f32: (s, _, args, call) => s.pushMemory(args[0].local(), false, call),
    fp_push_st: (s, c, _, call) => s.pushCopy(c[0], call),
    fp_push_constant: (s, c, _, call) => c[0] === 0 && s.pushOne(call),
    fp_get_f64: (s, c, _, call) => s.store(true, c[0], call),
    fp_get_f32: (s, c, _, call) => s.store(false, c[0], call),
    fp_store_st: (s, c, _, call) => s.copyTo(c[0], c[1], call),
    fp_exchange: (s, c, _, call) => s.exchange(c[0], call),
    fp_sign: (s, c, _, call) => s.sign(c[0], call),
  };

  /** May the helper's common case be in the region? It is met with all exceptions masked only. */
  static hasCommonCase(helper: string): boolean {
    return Object.hasOwn(X87Stack.COMMON, helper);
  }

  private readonly f: RegionFunc;
  private readonly slots: Slot[] = [];
  /** Locals (i32): physical number of slot 0; whether the control word allows the common case. Made when they are needed. */
  private base = -1;
  private usable = -1;
  /** How many common cases the region may yet have in place. */
  private budget = MOST;
  /** Is anything known? */
  private started = false;
  /** Slot of ST(0). */
  private top = 0;
  /** Slots whose address, and whose number, are in locals. */
  private readonly placed = new Set<number>();
  private readonly loaded = new Set<number>();

  constructor(f: RegionFunc) {
    this.f = f;
  }

  /** Something else may have changed the registers. */
  forget(): void {
    this.started = false;
  }

  /**
   * The call of a helper; `call` emits it. With the common case around it, if there is one here: the result is pushed either way.
   * `wide`: the block has enough x87 instructions for that.
   */
  emit(name: string, args: readonly Argument[], wide: boolean, call: () => void): void {
    const constants = args.map((a) => a.constant);
    if (wide && this.budget > 0 && X87Stack.COMMON[name]?.(this, constants, args, call)) {
      this.budget--;
      return;
    }
    const effect = CALLED[name];
    const known = constants.map((c) => c ?? 0);
    call();
    if (!effect) this.forget();
    if (!effect || !this.started) return;
    if (effect.writes) this.loaded.delete(this.st(effect.writes(known)));
    this.move(effect.pops?.(known) ?? 0);
  }

  // ── what is known ───────────────────────────────────────────────────────────────────────────────────────────
  private start(): void {
    if (this.started) return;
    const { f } = this;
    if (this.base < 0) {
      this.base = f.register('i32');
      this.usable = f.register('i32');
    }
    f.get(CPU).mem('i32.load16_u', off.ftop).set(this.base);
    f.get(CPU).mem('i32.load16_u', off.fcw).i32(CONTROL_BITS).op('i32.and').i32(CONTROL).op('i32.eq').set(this.usable);
    this.started = true;
    this.top = 0;
    this.placed.clear();
    this.loaded.clear();
  }

  /** Slot of ST(i). */
  private st(i: number): number {
    return (this.top + i) & 7;
  }

  private move(pops: number): void {
    for (let i = 0; i < pops; i++) this.loaded.delete(this.st(i));
    if (pops < 0) this.loaded.delete(this.st(-1));
    this.top = this.st(pops);
  }

  /** Push the physical number of a slot. */
  private physical(n: number): RegionFunc {
    this.f.get(this.base);
    return n ? this.f.i32(n).op('i32.add').i32(7).op('i32.and') : this.f;
  }

  private place(n: number): Slot {
    const { f } = this;
    this.slots[n] ??= {
      at: f.register('i32'),
      sig: f.register('i64'),
      se: f.register('i32'),
      ok: f.register('i32'),
    };
    const s = this.slots[n];
    if (!this.placed.has(n)) {
      this.physical(n).i32(4).op('i32.shl').get(CPU).op('i32.add').set(s.at);
      this.placed.add(n);
    }
    return s;
  }

  /** Slot n with its number in locals. */
  private number(n: number): Slot {
    const { f } = this;
    const s = this.place(n);
    if (this.loaded.has(n)) return s;
    f.get(s.at).mem('i64.load', off.st).set(s.sig);
    f.get(s.at).mem('i32.load16_u', SE).set(s.se);
    f.get(CPU).mem('i32.load16_u', off.ftw);
    this.physical(n).op('i32.shr_u').i32(1).op('i32.and');
    f.get(s.sig).i64(63n).op('i64.shr_u').op('i32.wrap_i64').op('i32.and');
    f.get(s.se).i32(EXPONENT).op('i32.and').i32(1).op('i32.sub').i32(NORMAL).op('i32.lt_u').op('i32.and').set(s.ok);
    this.loaded.add(n);
    return s;
  }

  // ── the common case, and the other ──────────────────────────────────────────────────────────────────────────
  /**
   * `fast` if the control word and the operands are as they should be; it gives `result`, unless it goes to the call by a branch
   * to label 0, having changed nothing. `written`: the slot whose number must be loaded anew after the call.
   */
  private guarded(
    operands: readonly Slot[],
    fast: () => void,
    result: number,
    call: () => void,
    written?: number,
  ): void {
    const { f } = this;
    const r = f.local('i32');
    f.block().block();
    f.get(this.usable);
    for (const s of operands) f.get(s.ok).op('i32.and');
    f.op('i32.eqz').unlikely().brIf(0);
    fast();
    f.i32(result).set(r).br(1).end();
    call();
    f.set(r);
    if (written !== undefined) {
      this.loaded.delete(written);
      this.number(written);
    }
    f.end();
    f.get(r);
  }

  /** C1 and PE: `more` pushes what is to be set; C1 is cleared before. */
  private status(more?: () => void): void {
    const { f } = this;
    f.get(CPU).get(CPU).mem('i32.load16_u', off.fsw);
    f.i32(0xffff & ~C1).op('i32.and');
    if (more) {
      more();
      f.op('i32.or');
    }
    f.mem('i32.store16', off.fsw);
  }

  /** The slot's locals to CpuState. */
  private write(s: Slot): void {
    this.f.get(s.at).get(s.sig).mem('i64.store', off.st);
    this.f.get(s.at).get(s.se).mem('i32.store16', SE);
  }

  /** Push the tag bit of a slot. */
  private tag(n: number): RegionFunc {
    this.f.i32(1);
    return this.physical(n).op('i32.shl');
  }

  private setTop(n: number): void {
    this.f.get(CPU);
    this.physical(n).mem('i32.store16', off.ftop);
  }

  /** ST(0) is popped, of what CpuState has. */
  private pop(): void {
    const { f } = this;
    f.get(CPU).get(CPU).mem('i32.load16_u', off.ftw);
    this.tag(this.top).i32(-1).op('i32.xor').op('i32.and').mem('i32.store16', off.ftw);
    this.setTop(this.st(1));
  }

  /** A push: `set` gives the slot's number and `ok`, or branches to label 0. */
  private push(operands: readonly Slot[], set: (s: Slot) => void, call: () => void): true {
    const { f } = this;
    const n = this.st(-1);
    const s = this.place(n);
    const tags = f.local('i32');
    this.guarded(
      operands,
      () => {
        f.get(CPU).mem('i32.load16_u', off.ftw).tee(tags);
        this.tag(n).op('i32.and').unlikely().brIf(0);
        set(s);
        f.get(CPU).get(tags);
        this.tag(n).op('i32.or').mem('i32.store16', off.ftw);
        this.setTop(n);
        this.status();
        this.write(s);
      },
      0,
      call,
      n,
    );
    this.top = n;
    return true;
  }

  // ── instructions ────────────────────────────────────────────────────────────────────────────────────────────
  private pushMemory(v: number, double: boolean, call: () => void): true {
    this.start();
    return this.push(
      [],
      (s) => {
        this.fromMemory(v, double, s);
        this.f.i32(1).set(s.ok);
      },
      call,
    );
  }

  private pushCopy(i: number | undefined, call: () => void): boolean {
    if (i === undefined) return false;
    this.start();
    const from = this.number(this.st(i));
    const { f } = this;
    return this.push(
      [from],
      (s) => {
        f.get(from.sig).set(s.sig).get(from.se).set(s.se).i32(1).set(s.ok);
      },
      call,
    );
  }

  private pushOne(call: () => void): true {
    this.start();
    const { f } = this;
    return this.push([], (s) => f.i64(INT).set(s.sig).i32(0x3fff).set(s.se).i32(1).set(s.ok), call);
  }

  private exchange(i: number | undefined, call: () => void): boolean {
    if (i === undefined) return false;
    this.start();
    const { f } = this;
    const a = this.number(this.st(0));
    const b = this.number(this.st(i));
    const fast = () => {
      f.get(a.sig).get(b.sig).set(a.sig).set(b.sig);
      f.get(a.se).get(b.se).set(a.se).set(b.se);
      this.write(a);
      this.write(b);
      this.status();
    };
    this.guarded(
      [a, b],
      fast,
      0,
      () => {
        call();
        this.loaded.delete(this.st(0));
        this.number(this.st(0));
      },
      this.st(i),
    );
    return true;
  }

  private sign(change: number | undefined, call: () => void): boolean {
    if (change === undefined) return false;
    this.start();
    const { f } = this;
    const n = this.st(0);
    const s = this.number(n);
    this.guarded(
      [s],
      () => {
        f.get(s.se)
          .i32(change ? SIGN : EXPONENT)
          .op(change ? 'i32.xor' : 'i32.and')
          .set(s.se);
        this.write(s);
        this.status();
      },
      0,
      call,
      n,
    );
    return true;
  }

  private copyTo(i: number | undefined, pops: number | undefined, call: () => void): boolean {
    if (i === undefined || pops === undefined) return false;
    this.start();
    const { f } = this;
    const from = this.number(this.st(0));
    const n = this.st(i);
    const to = this.place(n);
    this.guarded(
      [from],
      () => {
        if (i) {
          f.get(from.sig).set(to.sig).get(from.se).set(to.se).i32(1).set(to.ok);
          this.write(to);
          f.get(CPU).get(CPU).mem('i32.load16_u', off.ftw);
          this.tag(n).op('i32.or').mem('i32.store16', off.ftw);
        }
        this.status();
        if (pops) this.pop();
      },
      0,
      call,
      n,
    );
    this.move(pops);
    return true;
  }

  /** To ret0, as fp_get_f64 and fp_get_f32 do: 1 is "to be stored". */
  private store(double: boolean, pops: number | undefined, call: () => void): boolean {
    if (pops === undefined) return false;
    this.start();
    const { f } = this;
    const s = this.number(this.st(0));
    const [bits, bias] = double ? [53, 1023] : [24, 127];
    const e = f.local('i32');
    const lost = f.local('i64');
    const up = f.local('i64');
    this.guarded(
      [s],
      () => {
        // From the second smallest exponent to the last but one: no underflow, and rounding up does not overflow.
        f.get(s.se)
          .i32(EXPONENT)
          .op('i32.and')
          .i32(16383 - bias + 2)
          .op('i32.sub')
          .tee(e);
        f.i32(2 * bias - 2)
          .op('i32.ge_u')
          .unlikely()
          .brIf(0);
        f.get(s.sig).i64(BigInt(bits)).op('i64.shl').tee(lost).i64(63n).op('i64.shr_u');
        f.get(s.sig)
          .i64(BigInt(64 - bits))
          .op('i64.shr_u');
        f.get(lost)
          .i64(1n)
          .op('i64.shl')
          .i64(0n)
          .op('i64.ne')
          .op('i64.extend_i32_u')
          .op('i64.or')
          .op('i64.and')
          .set(up);
        f.get(CPU)
          .get(s.se)
          .i32(15)
          .op('i32.shr_u')
          .op('i64.extend_i32_u')
          .i64(double ? 63n : 31n)
          .op('i64.shl');
        f.get(e)
          .i32(1)
          .op('i32.add')
          .op('i64.extend_i32_u')
          .i64(BigInt(bits - 1))
          .op('i64.shl');
        f.get(s.sig)
          .i64(BigInt(64 - bits))
          .op('i64.shr_u')
          .op('i64.add')
          .get(up)
          .op('i64.add')
          .op('i64.or');
        f.mem('i64.store', off.ret0);
        this.inexact(lost, up);
        if (pops) this.pop();
      },
      1,
      call,
    );
    this.move(pops);
    return true;
  }

  private arithmetic(
    product: boolean,
    [op, dst, src, pops]: readonly (number | undefined)[],
    call: () => void,
  ): boolean {
    if (op === undefined || dst === undefined || src === undefined || pops === undefined) return false;
    this.start();
    const n = this.st(dst);
    const a = this.number(n);
    const b = this.number(this.st(src));
    this.guarded(
      [a, b],
      () => {
        this.compute(product, op, a, b);
        if (pops) this.pop();
      },
      0,
      call,
      n,
    );
    this.move(pops);
    return true;
  }

  private withMemory(product: boolean, op: number | undefined, v: number, double: boolean, call: () => void): boolean {
    if (op === undefined) return false;
    this.start();
    const { f } = this;
    const n = this.st(0);
    const a = this.number(n);
    const b = { sig: f.local('i64'), se: f.local('i32') };
    this.guarded(
      [a],
      () => {
        this.fromMemory(v, double, b);
        this.compute(product, op, a, b);
      },
      0,
      call,
      n,
    );
    return true;
  }

  /** The binary64 or binary32 in a local as a number; to label 0 unless it is normal. */
  private fromMemory(v: number, double: boolean, to: Numeral): void {
    const { f } = this;
    const e = f.local('i32');
    if (double) f.get(v).i64(52n).op('i64.shr_u').op('i32.wrap_i64').i32(0x7ff);
    else f.get(v).i32(23).op('i32.shr_u').i32(0xff);
    f.op('i32.and')
      .tee(e)
      .i32(1)
      .op('i32.sub')
      .i32(double ? 0x7fe : 0xfe)
      .op('i32.ge_u')
      .unlikely()
      .brIf(0);
    if (double) f.get(v).i64(48n).op('i64.shr_u').op('i32.wrap_i64');
    else f.get(v).i32(16).op('i32.shr_u');
    f.i32(SIGN)
      .op('i32.and')
      .get(e)
      .i32(double ? 15360 : 16256)
      .op('i32.add')
      .op('i32.or')
      .set(to.se);
    if (double) f.get(v).i64(11n);
    else f.get(v).op('i64.extend_i32_u').i64(40n);
    f.op('i64.shl').i64(INT).op('i64.or').set(to.sig);
  }

  // ── arithmetic: as in the runtime's x87-fast.ts ─────────────────────────────────────────────────────────────
  private compute(product: boolean, op: number, a: Slot, b: Numeral): void {
    if (product) this.multiply(a, b);
    else this.add(op, a, b);
  }

  /** PE, if anything was lost (a local is not 0), and C1, if it was rounded up. */
  private inexact(lost: number, up: number): void {
    const { f } = this;
    this.status(() => {
      f.get(lost).i64(0n).op('i64.ne').i32(5).op('i32.shl');
      f.get(up).op('i32.wrap_i64').i32(9).op('i32.shl').op('i32.or');
    });
  }

  /** Slot a = sig.ext to the nearest, with locals for sign (SIGN or 0) and biased exponent. */
  private round(a: Slot, sign: number, e: number, sig: number, ext: number): void {
    const { f } = this;
    const up = f.local('i64');
    f.get(ext).i64(63n).op('i64.shr_u').get(sig);
    f.get(ext).i64(1n).op('i64.shl').i64(0n).op('i64.ne').op('i64.extend_i32_u').op('i64.or').op('i64.and').tee(up);
    // Zero: it was carried out of.
    f.get(sig).op('i64.add').tee(sig).op('i64.eqz').unlikely().brIf(0);
    f.get(e).i32(1).op('i32.sub').i32(NORMAL).op('i32.ge_u').unlikely().brIf(0);
    f.get(sig).set(a.sig).get(sign).get(e).op('i32.or').set(a.se);
    this.write(a);
    this.inexact(ext, up);
  }

  private multiply(a: Slot, b: Numeral): void {
    const { f } = this;
    const [a0, a1, b0, b1, m, h, l, n] = Array.from({ length: 8 }, () => f.local('i64'));
    const e = f.local('i32');
    const sign = f.local('i32');
    f.get(a.sig).i64(32n).op('i64.shr_u').tee(a1);
    f.get(b.sig).i64(LOW).op('i64.and').tee(b0).op('i64.mul');
    f.get(a.sig).i64(LOW).op('i64.and').tee(a0).get(b0).op('i64.mul').i64(32n).op('i64.shr_u').op('i64.add').set(m);
    f.get(b.sig).i64(32n).op('i64.shr_u').tee(b1).get(a1).op('i64.mul');
    f.get(m).i64(32n).op('i64.shr_u').op('i64.add');
    f.get(a0).get(b1).op('i64.mul').get(m).i64(LOW).op('i64.and').op('i64.add').i64(32n).op('i64.shr_u').op('i64.add');
    f.tee(h).i64(63n).op('i64.shr_u').i64(1n).op('i64.xor').set(n);
    f.get(a.sig).get(b.sig).op('i64.mul').set(l);
    f.get(a.se).i32(EXPONENT).op('i32.and').get(b.se).i32(EXPONENT).op('i32.and').op('i32.add');
    f.i32(16382).op('i32.sub').get(n).op('i32.wrap_i64').op('i32.sub').set(e);
    f.get(a.se).get(b.se).op('i32.xor').i32(SIGN).op('i32.and').set(sign);
    f.get(h).get(n).op('i64.shl').get(l).i64(63n).op('i64.shr_u').get(n).op('i64.and').op('i64.or').set(h);
    f.get(l).get(n).op('i64.shl').set(l);
    this.round(a, sign, e, h, l);
  }

  private add(op: number, a: Slot, b: Numeral): void {
    const { f } = this;
    const [x, y, yl, minus, d, h, l, carry, n] = Array.from({ length: 9 }, () => f.local('i64'));
    const [sa, sb, ea, eb, less, e, sign] = Array.from({ length: 7 }, () => f.local('i32'));
    const signed = (from: number, flip: boolean, to: number) => {
      f.get(from);
      if (flip) f.i32(SIGN).op('i32.xor');
      f.set(to);
    };
    signed(a.se, op === SUBR, sa);
    signed(b.se, op === SUB, sb);
    f.get(sa).i32(EXPONENT).op('i32.and').tee(ea);
    f.get(sb).i32(EXPONENT).op('i32.and').tee(eb).op('i32.lt_s');
    f.get(ea).get(eb).op('i32.eq').get(a.sig).get(b.sig).op('i64.lt_u').op('i32.and').op('i32.or').set(less);
    f.get(b.sig).get(a.sig).get(less).op('select').set(x);
    f.get(a.sig).get(b.sig).get(less).op('select').set(y);
    f.get(eb).get(ea).get(less).op('select').set(e);
    f.get(eb).get(ea).op('i32.sub').get(ea).get(eb).op('i32.sub').get(less).op('select').op('i64.extend_i32_u').tee(d);
    f.i64(63n).op('i64.gt_u').unlikely().brIf(0);
    f.get(sb).get(sa).get(less).op('select').i32(SIGN).op('i32.and').set(sign);
    // y shifted to x's exponent, and negated (minus: all ones) if the signs differ: upper half added to x, lower half l
    f.i64(0n).get(sa).get(sb).op('i32.xor').i32(15).op('i32.shr_u').op('i64.extend_i32_u').op('i64.sub').set(minus);
    f.get(y).i64(1n).op('i64.shl').i64(63n).get(d).op('i64.sub').op('i64.shl');
    f.i64(0n).get(d).i64(0n).op('i64.ne').op('i64.extend_i32_u').op('i64.sub').op('i64.and').tee(yl);
    f.get(minus).op('i64.xor').get(minus).op('i64.sub').set(l);
    f.get(x).get(y).get(d).op('i64.shr_u').get(minus).op('i64.xor').op('i64.add');
    f.get(yl).op('i64.eqz').op('i64.extend_i32_u').get(minus).op('i64.and').op('i64.add').tee(h);
    f.get(x).op('i64.lt_u').op('i64.extend_i32_u').get(minus).i64(-1n).op('i64.xor').op('i64.and').tee(carry);
    f.get(h).op('i64.or').op('i64.eqz').unlikely().brIf(0);
    // one to the right after a carry, else to the left until bit 63 is set
    f.get(h).op('i64.clz').get(carry).i64(1n).op('i64.sub').op('i64.and').set(n);
    f.get(e).get(carry).op('i32.wrap_i64').op('i32.add').get(n).op('i32.wrap_i64').op('i32.sub').set(e);
    f.get(h).i64(1n).op('i64.shr_u').i64(INT).op('i64.or');
    f.get(h).get(n).op('i64.shl');
    f.get(l).i64(1n).op('i64.shr_u').i64(63n).get(n).op('i64.sub').op('i64.shr_u').op('i64.or');
    f.get(carry).op('i32.wrap_i64').op('select').set(x);
    f.get(h)
      .i64(63n)
      .op('i64.shl')
      .get(l)
      .i64(1n)
      .op('i64.shr_u')
      .op('i64.or')
      .get(l)
      .i64(1n)
      .op('i64.and')
      .op('i64.or');
    f.get(l).get(n).op('i64.shl').get(carry).op('i32.wrap_i64').op('select').set(l);
    this.round(a, sign, e, x, l);
  }
}
