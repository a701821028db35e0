/**
 * What an instruction's description is written against. A description is a function `(b: Builder) => void`, run once
 * for each form of the instruction (operand size × register/memory × lock × rep); it records nodes (ir.ts), which
 * both tiers consume. It never sees concrete operands: `b.read(0)` is "whatever operand 0 is".
 *
 * Values are typed (`i32 i64 f32 f64 v128`). Integers of 1, 2 and 4 bytes are `i32`, of 8 bytes `i64`. A value read
 * from a 1- or 2-byte operand is zero-extended; a value that is written is truncated to the operand's size, so
 * arithmetic between may leave rubbish in the upper bits (use `b.zx`/`b.sx` where that matters: comparisons, shifts
 * right, division). Writing a 4-byte register operand clears its upper half, as the architecture says.
 *
 * Order: everything that can fault (memory reads and probes, `raise`, faulting helpers) comes before the first change
 * of guest state (register, flag or memory write). The builder throws if a description breaks this. For a memory
 * operand that is read and written use `b.read(i)` + `b.write(i, v)`: the builder probes it for writing at the first
 * of the two when `modifies(i)` was called before (or use `b.rmw(i)`, which is `modifies` + `read`).
 *
 * A description ends by falling off its end (next instruction), or with `jump`, `branch`, `raise`, `exit`, `again`.
 */
import { CpuState } from '../state.ts';
import type { Code, FlagRecipe, Node, Probe, Proof, Type, Val } from './ir.ts';

export type { Probe, Type, Val } from './ir.ts';

/** What kind of thing operand i is in the form being described. */
export interface OperandForm {
  readonly kind: 'gpr' | 'xmm' | 'mmx' | 'mem' | 'imm' | 'rel' | 'seg' | 'cr' | 'dr' | 'st' | 'field';
  /** Size in bytes. */
  readonly bytes: number;
  readonly float: boolean;
  /** Memory: 16-byte operands must be aligned (#GP), as SSE without "unaligned" in its name demands. */
  readonly align: boolean;
}

/** One form: what the description may ask about. */
export interface Form {
  readonly operands: readonly OperandForm[];
  /** Effective operand size in bytes: 2, 4 or 8 (1 for byte instructions). */
  readonly opsize: number;
  /** Address size in bytes: 8, or 4 (67 prefix, or compatibility mode). */
  readonly addrsize: number;
  /** 64-bit mode? (else compatibility mode) */
  readonly long: boolean;
  readonly lock: boolean;
  readonly rep: '' | 'rep' | 'repne';
  /** Low nibble of the opcode: condition code of jcc, setcc, cmovcc. */
  readonly cc: number;
}

const INT: Record<number, 'i32' | 'i64'> = { 1: 'i32', 2: 'i32', 4: 'i32', 8: 'i64' };

export class Builder {
  readonly form: Form;
  private list: Node[] = [];
  private readonly top: Node[];
  private values = 0;
  private readonly vars: Type[] = [];
  private committed = '';
  private ended = false;
  private readonly probes = new Map<number, Probe>();
  private readonly modified = new Set<number>();
  private readonly eas = new Map<number, Val>();

  constructor(form: Form) {
    this.form = form;
    this.top = this.list;
  }

  // ── the form ────────────────────────────────────────────────────────────────────────────────────────────────
  /** Effective operand size in bytes (1, 2, 4, 8). */
  get size(): number {
    return this.form.opsize;
  }
  get long(): boolean {
    return this.form.long;
  }
  isMem(i: number): boolean {
    return this.form.operands[i]?.kind === 'mem';
  }
  bytes(i: number): number {
    return this.form.operands[i].bytes;
  }
  /** wasm integer type of an operand of `bytes`. */
  ty(bytes: number): 'i32' | 'i64' {
    const t = INT[bytes];
    if (!t) throw new Error(`no integer of ${bytes} bytes`);
    return t;
  }

  // ── constants and pure operations ───────────────────────────────────────────────────────────────────────────
  private val(t: Type, make: (out: Val) => Node): Val {
    if (this.ended) throw new Error('description goes on after its end');
    const out = { id: this.values++, t } as { id: number; t: Type; node: Node };
    out.node = make(out as Val);
    this.list.push(out.node);
    return out as Val;
  }
  private stmt(n: Node): void {
    if (this.ended) throw new Error('description goes on after its end');
    this.list.push(n);
  }
  i32(v: number): Val {
    return this.val('i32', (out) => ({ k: 'op', op: 'i32.const', args: [], imm: [v | 0], out }));
  }
  i64(v: bigint | number): Val {
    return this.val('i64', (out) => ({ k: 'op', op: 'i64.const', args: [], imm: [BigInt.asIntN(64, BigInt(v))], out }));
  }
  /** Integer constant of the given type. */
  c(t: Type, v: number | bigint): Val {
    if (t === 'i32') return this.i32(Number(BigInt.asIntN(32, BigInt(v))));
    if (t === 'i64') return this.i64(v);
    throw new Error(`integer constant of type ${t}`);
  }
  /** 16 bytes, least significant first. */
  v128(bytes: readonly number[]): Val {
    if (bytes.length !== 16) throw new Error('v128 constant needs 16 bytes');
    return this.val('v128', (out) => ({ k: 'op', op: 'v128.const', args: [], imm: [...bytes], out }));
  }
  f64(v: number): Val {
    return this.val('f64', (out) => ({ k: 'op', op: 'f64.const', args: [], imm: [v], out }));
  }
  f32(v: number): Val {
    return this.val('f32', (out) => ({ k: 'op', op: 'f32.const', args: [], imm: [v], out }));
  }
  /** Any pure wasm instruction by its text name, e.g. `op('i64x2.add', 'v128', x, y)`; lane numbers go in `imm`. */
  op(op: string, t: Type, args: readonly Val[], imm: readonly (number | bigint)[] = []): Val {
    return this.val(t, (out) => ({ k: 'op', op, args: [...args], imm: [...imm], out }));
  }
  private bin(op: string, a: Val, b: Val): Val {
    if (a.t !== b.t) throw new Error(`${op} of ${a.t} and ${b.t}`);
    return this.op(`${a.t}.${op}`, a.t, [a, b]);
  }
  add(a: Val, b: Val): Val {
    return this.bin('add', a, b);
  }
  sub(a: Val, b: Val): Val {
    return this.bin('sub', a, b);
  }
  mul(a: Val, b: Val): Val {
    return this.bin('mul', a, b);
  }
  and(a: Val, b: Val): Val {
    return this.bin('and', a, b);
  }
  or(a: Val, b: Val): Val {
    return this.bin('or', a, b);
  }
  xor(a: Val, b: Val): Val {
    return this.bin('xor', a, b);
  }
  /** Shift counts have the type of the value and are taken modulo its width, as in wasm. */
  shl(a: Val, n: Val | number): Val {
    return this.bin('shl', a, typeof n === 'number' ? this.c(a.t, n) : n);
  }
  shrU(a: Val, n: Val | number): Val {
    return this.bin('shr_u', a, typeof n === 'number' ? this.c(a.t, n) : n);
  }
  shrS(a: Val, n: Val | number): Val {
    return this.bin('shr_s', a, typeof n === 'number' ? this.c(a.t, n) : n);
  }
  not(a: Val): Val {
    return this.xor(a, this.c(a.t, -1));
  }
  neg(a: Val): Val {
    return this.sub(this.c(a.t, 0), a);
  }
  /** Comparisons give an i32, 0 or 1. `op`: eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u (lt gt le ge for floats). */
  cmp(op: string, a: Val, b: Val): Val {
    if (a.t !== b.t) throw new Error(`${op} of ${a.t} and ${b.t}`);
    return this.op(`${a.t}.${op}`, 'i32', [a, b]);
  }
  eqz(a: Val): Val {
    return this.op(`${a.t}.eqz`, 'i32', [a]);
  }
  /** `cond ? a : b` (cond: i32). Both sides are evaluated. */
  select(cond: Val, a: Val, b: Val): Val {
    if (a.t !== b.t) throw new Error(`select of ${a.t} and ${b.t}`);
    return this.op('select', a.t, [a, b, cond]);
  }
  /** Integer to another integer type; widening is unsigned. */
  to(t: 'i32' | 'i64', a: Val): Val {
    if (a.t === t) return a;
    return t === 'i32' ? this.op('i32.wrap_i64', 'i32', [a]) : this.op('i64.extend_i32_u', 'i64', [a]);
  }
  /** The low `bytes` of a, zero-extended within its type. */
  zx(a: Val, bytes: number): Val {
    if (bytes === 1) return this.and(a, this.c(a.t, 0xff));
    if (bytes === 2) return this.and(a, this.c(a.t, 0xffff));
    if (bytes === 4 && a.t === 'i64') return this.and(a, this.i64(0xffffffffn));
    return a;
  }
  /** The low `bytes` of a, sign-extended within its type. */
  sx(a: Val, bytes: number): Val {
    const w = a.t === 'i32' ? 4 : 8;
    if (bytes >= w) return a;
    return this.op(`${a.t}.extend${bytes * 8}_s`, a.t, [a]);
  }
  /** The low `bytes` of a, sign-extended to i64. */
  sx64(a: Val, bytes: number): Val {
    if (a.t === 'i64') return this.sx(a, bytes);
    return this.op('i64.extend_i32_s', 'i64', [this.sx(a, bytes)]);
  }
  /** The low `bytes` of a, zero-extended to i64. */
  zx64(a: Val, bytes: number): Val {
    return this.to('i64', this.zx(a, bytes));
  }

  // ── operands ────────────────────────────────────────────────────────────────────────────────────────────────
  private before(what: string): void {
    if (this.committed) throw new Error(`${what} after ${this.committed}: what can fault comes first`);
  }
  private change(what: string): void {
    this.committed ||= what;
  }
  private valueType(o: OperandForm): Type {
    if (o.float) return o.bytes === 4 ? 'f32' : 'f64';
    return o.bytes === 16 ? 'v128' : this.ty(o.bytes);
  }
  /** Operand i will be written: its memory form is probed for writing at the next access. */
  modifies(i: number): void {
    this.modified.add(i);
  }
  /** Linear address of memory operand i (i64). */
  ea(i: number): Val {
    let v = this.eas.get(i);
    if (!v) {
      v = this.val('i64', (out) => ({ k: 'ea', i, noseg: false, out }));
      this.eas.set(i, v);
    }
    return v;
  }
  /** Offset part of memory operand i, without the segment base (lea). */
  offset(i: number): Val {
    return this.val('i64', (out) => ({ k: 'ea', i, noseg: true, out }));
  }
  /** Segment base of memory operand i (modulo 2^32 in compatibility mode), for helpers that take base and offset apart. */
  segbase(i: number): Val {
    return this.sub(this.ea(i), this.offset(i));
  }
  /** From here on memory operand i lies `delta` bytes (i64, signed) further on; not accessed before. */
  moveOperand(i: number, delta: Val): void {
    if (this.probes.has(i)) throw new Error(`operand ${i} moved after its access`);
    const { long, addrsize } = this.form;
    if (addrsize === (long ? 8 : 4)) {
      const at = this.add(this.ea(i), delta);
      this.eas.set(i, long ? at : this.zx(at, 4));
      return;
    }
    const at = this.add(this.segbase(i), this.zx(this.add(this.offset(i), delta), addrsize));
    this.eas.set(i, long ? at : this.zx(at, 4));
  }
  private operandProbe(i: number): Probe {
    let p = this.probes.get(i);
    if (!p) {
      const o = this.form.operands[i];
      p = this.probe(this.ea(i), o.bytes, o.align);
      this.probes.set(i, p);
    }
    return p;
  }
  /** Value of operand i. */
  read(i: number): Val {
    const o = this.form.operands[i];
    if (!o) throw new Error(`no operand ${i}`);
    const t = this.valueType(o);
    switch (o.kind) {
      case 'imm':
      case 'rel':
      case 'st':
        return this.val(t, (out) => ({ k: 'immop', i, t: t as 'i32' | 'i64', out }));
      case 'mem': {
        if (this.modified.has(i)) return this.pload(this.operandProbe(i), 0, o.bytes, t);
        return this.load(this.ea(i), o.bytes, { t, align: o.align });
      }
      default:
        return this.val(t, (out) => ({ k: 'regop', i, bytes: o.bytes, float: o.float, out }));
    }
  }
  /** `modifies(i)` and `read(i)`. */
  rmw(i: number): Val {
    this.modifies(i);
    return this.read(i);
  }
  /** Write operand i, truncated to its size. */
  write(i: number, v: Val): void {
    const o = this.form.operands[i];
    if (!o) throw new Error(`no operand ${i}`);
    if (o.kind === 'mem') {
      const p = this.operandProbe(i);
      this.pstore(p, 0, o.bytes, v);
      this.commit(p);
    } else {
      this.change(`write of operand ${i}`);
      this.stmt({ k: 'setregop', i, bytes: o.bytes, v });
    }
  }
  /** Write `bytes` at byte offset `at` of the slot of register operand i; the rest of the register stays. */
  writeAt(i: number, at: number, bytes: number, v: Val): void {
    this.change(`write of operand ${i}`);
    this.stmt({ k: 'setregop', i, bytes, v, at });
  }
  /** Probe memory operand i for writing without reading it (needed when other changes come before its write). */
  probeOperand(i: number): void {
    this.modified.add(i);
    if (this.isMem(i)) this.operandProbe(i);
  }

  // ── fixed registers and fields ──────────────────────────────────────────────────────────────────────────────
  /** The low `bytes` of general register n (GPR.RAX …), zero-extended: i32 for 1, 2, 4; i64 for 8. */
  reg(n: number, bytes = 8): Val {
    return this.get(CpuState.off.gpr + n * 8, bytes);
  }
  /** Write general register n; 4 bytes clear the upper half, 1 and 2 keep the rest. */
  setReg(n: number, bytes: number, v: Val): void {
    if (bytes === 4) this.set(CpuState.off.gpr + n * 8, 8, this.zx64(v, 4));
    else this.set(CpuState.off.gpr + n * 8, bytes, v);
  }
  /** A field of CpuState at byte offset `off` (zero-extended; `t` overrides the type, e.g. v128, f64). */
  get(off: number, bytes: number, t: Type = bytes === 16 ? 'v128' : this.ty(bytes), signed = false): Val {
    return this.val(t, (out) => ({ k: 'get', off, bytes, signed, t, out }));
  }
  set(off: number, bytes: number, v: Val): void {
    this.change(`write of field ${off}`);
    this.stmt({ k: 'set', off, bytes, v });
  }

  // ── guest memory ────────────────────────────────────────────────────────────────────────────────────────────
  /** Load from a linear address (i64). Faults. */
  load(addr: Val, bytes: number, o: { t?: Type; signed?: boolean; align?: boolean } = {}): Val {
    this.before('memory read');
    const t = o.t ?? (bytes === 16 ? 'v128' : this.ty(bytes));
    return this.val(t, (out) => ({ k: 'load', addr, bytes, signed: !!o.signed, t, align: !!o.align, out }));
  }
  /** Check that `bytes` at a linear address can be written. Faults. */
  probe(addr: Val, bytes: number, align = false): Probe {
    this.before('memory probe');
    let p!: Probe;
    this.val('i32', (out) => {
      p = { id: out.id, bytes, addr };
      return { k: 'probe', p, align, out };
    });
    return p;
  }
  pload(p: Probe, at: number, bytes: number, t: Type = bytes === 16 ? 'v128' : this.ty(bytes), signed = false): Val {
    return this.val(t, (out) => ({ k: 'pload', p, at, bytes, signed, t, out }));
  }
  pstore(p: Probe, at: number, bytes: number, v: Val): void {
    this.change('memory write');
    this.stmt({ k: 'pstore', p, at, bytes, v });
  }
  /** After the last `pstore` of a probe (`write` does it itself). */
  commit(p: Probe): void {
    this.stmt({ k: 'commit', p });
  }
  /** Plain store: probe, pstore, commit. */
  store(addr: Val, bytes: number, v: Val): void {
    const p = this.probe(addr, bytes);
    this.pstore(p, 0, bytes, v);
    this.commit(p);
  }
  /**
   * Locked read-modify-write of memory operand i (`op`: add sub and or xor xchg); gives the old value, zero-extended.
   * Aligned: a wasm atomic; otherwise the runtime's split-lock path. It is this instruction's memory write.
   */
  atomic(op: 'add' | 'sub' | 'and' | 'or' | 'xor' | 'xchg', i: number, v: Val): Val {
    this.modified.add(i);
    const p = this.operandProbe(i);
    this.change('memory write');
    const bytes = this.form.operands[i].bytes;
    return this.val(this.ty(bytes), (out) => ({ k: 'atomic', op, p, bytes, v, out }));
  }
  /** Locked compare-and-exchange of memory operand i; gives the old value, zero-extended. */
  cmpxchg(i: number, expected: Val, v: Val): Val {
    this.modified.add(i);
    const p = this.operandProbe(i);
    this.change('memory write');
    const bytes = this.form.operands[i].bytes;
    return this.val(this.ty(bytes), (out) => ({ k: 'cmpxchg', p, bytes, expected, v, out }));
  }

  // ── flags (see ../flags.ts) ─────────────────────────────────────────────────────────────────────────────────
  /** Set lazy-flag words; each an i64. Absent ones keep their value. `recipe`: what all four follow from. */
  flags(w: { z?: Val; s?: Val; c?: Val; x?: Val }, recipe?: FlagRecipe): void {
    for (const v of Object.values(w)) if (v && v.t !== 'i64') throw new Error('flag words are i64');
    this.change('flags');
    this.stmt({ k: 'flags', ...w, recipe });
  }
  flagWord(w: 'z' | 's' | 'c' | 'x'): Val {
    return this.val('i64', (out) => ({ k: 'flagword', w, out }));
  }
  /** Flags of a logical operation: ZF, SF, PF of r; CF = OF = 0; AF = 0. */
  flagsLogic(r: Val, bytes: number): void {
    const s = this.sx64(r, bytes);
    this.flags({ z: s, s, c: this.i64(0), x: s }, { op: 'logic', bytes, r });
  }
  /** ZF, SF, PF of r; AF = 0; CF and OF in the word c, which may follow from a shift of `a` by `b` (at least 1). */
  flagsResult(r: Val, c: Val, bytes: number, shift?: Pick<Required<FlagRecipe>, 'op' | 'a' | 'b'>): void {
    const s = this.sx64(r, bytes);
    this.flags({ z: s, s, c, x: s }, { ...(shift ?? { op: 'result' }), bytes, r });
  }
  /** Flags of r = a + b, or with `carry` of r = a + b + CF. */
  flagsAdd(a: Val, b: Val, r: Val, bytes: number, carry = false): void {
    const carries = this.or(this.and(a, b), this.and(this.or(a, b), this.not(r)));
    this.flagsArith(carry ? 'adc' : 'add', a, b, r, carries, bytes);
  }
  /** Flags of r = a - b, or with `borrow` of r = a - b - CF. */
  flagsSub(a: Val, b: Val, r: Val, bytes: number, borrow = false): void {
    const na = this.not(a);
    const borrows = this.or(this.and(na, b), this.and(this.or(na, b), r));
    this.flagsArith(borrow ? 'sbb' : 'sub', a, b, r, borrows, bytes);
  }
  private flagsArith(op: FlagRecipe['op'], a: Val, b: Val, r: Val, carries: Val, bytes: number): void {
    const s = this.sx64(r, bytes);
    const c = this.shl(this.to('i64', carries), 64 - bytes * 8);
    this.flags({ z: s, s, c: bytes === 8 ? carries : c, x: this.to('i64', this.xor(a, b)) }, { op, bytes, r, a, b });
  }
  /** Bit 63 of an i64 as i32, 0 or 1 (as a comparison, so that `if` and `select` branch on it directly). */
  private sign(w: Val, clear = false): Val {
    return this.cmp(clear ? 'ge_s' : 'lt_s', w, this.i64(0));
  }
  /** Bit 63 = OF. */
  private overflowWord(): Val {
    const c = this.flagWord('c');
    return this.xor(c, this.shl(c, 1));
  }
  /** CF, ZF, SF, PF, OF, AF as i32, 0 or 1. */
  flag(f: 'c' | 'z' | 's' | 'p' | 'o' | 'a'): Val {
    const bit = (w: Val, n: number) => this.to('i32', this.and(this.shrU(w, n), this.i64(1)));
    switch (f) {
      case 'c':
        return this.sign(this.flagWord('c'));
      case 'z':
        return this.eqz(this.flagWord('z'));
      case 's':
        return this.sign(this.flagWord('s'));
      case 'o':
        return this.sign(this.overflowWord());
      case 'a':
        return bit(this.xor(this.flagWord('x'), this.flagWord('s')), 4);
      case 'p': {
        const low = this.and(this.to('i32', this.flagWord('s')), this.i32(0xff));
        const pop = this.op('i32.popcnt', 'i32', [low]);
        return this.xor(this.and(pop, this.i32(1)), this.i32(1));
      }
    }
  }
  /** Set all six flags to given values (i32, 0 or 1). */
  setFlags(f: { c: Val; p: Val; a: Val; z: Val; s: Val; o: Val }): void {
    const b64 = (v: Val) => this.to('i64', v);
    const z = b64(this.xor(f.z, this.i32(1)));
    const s = this.or(this.shl(b64(f.s), 63), b64(this.xor(f.p, this.i32(1))));
    const c = this.or(this.shl(b64(f.c), 63), this.shl(b64(this.xor(f.c, f.o)), 62));
    this.flags({ z, s, c, x: this.shl(b64(f.a), 4) });
  }
  /** Set CF and OF only (i32, 0 or 1; absent: kept). */
  setCO(cf?: Val, of?: Val): void {
    const c = this.to('i64', cf ?? this.flag('c'));
    const o = this.to('i64', of ?? this.flag('o'));
    this.flags({ c: this.or(this.shl(c, 63), this.shl(this.xor(c, o), 62)) });
  }
  /** Condition code 0..15 (Intel SDM appendix B: o no b nb e ne be nbe s ns p np l nl le nle), as i32 0 or 1. */
  cond(cc: number): Val {
    const word = this.condWord(cc);
    return this.val('i32', (out) => ({ k: 'cond', cc, word, out }));
  }
  private condWord(cc: number): Val {
    const not = (cc & 1) === 1;
    const flip = (v: Val) => (not ? this.xor(v, this.i32(1)) : v);
    const less = () => this.xor(this.flagWord('s'), this.overflowWord());
    switch (cc >> 1) {
      case 0:
        return this.sign(this.overflowWord(), not);
      case 1:
        return this.sign(this.flagWord('c'), not);
      case 2:
        return not ? this.cmp('ne', this.flagWord('z'), this.i64(0)) : this.flag('z');
      case 3:
        return flip(this.or(this.flag('c'), this.flag('z')));
      case 4:
        return this.sign(this.flagWord('s'), not);
      case 5:
        return flip(this.flag('p'));
      case 6:
        return this.sign(less(), not);
      default:
        return flip(this.or(this.flag('z'), this.sign(less())));
    }
  }

  // ── control ─────────────────────────────────────────────────────────────────────────────────────────────────
  /** A mutable variable. */
  variable(init: Val): { get(): Val; set(v: Val): void } {
    const v = this.vars.length;
    const t = init.t;
    this.vars.push(t);
    this.stmt({ k: 'setvar', v, t, val: init });
    return {
      get: () => this.val(t, (out) => ({ k: 'getvar', v, t, out })),
      set: (val: Val) => {
        if (val.t !== t) throw new Error(`variable of ${t} set to ${val.t}`);
        this.stmt({ k: 'setvar', v, t, val });
      },
    };
  }
  /**
   * Values made inside a branch may be used only inside it (use `variable` to carry one out). A branch may end the
   * instruction. Changes made in one branch do not forbid faults in the other.
   */
  if(cond: Val, then: () => void, otherwise?: () => void): void {
    this.fork(cond, undefined, then, otherwise);
  }
  /** Unless all of these (i32) hold, which is rare. Each by itself is a compare and a jump, where their `and` would be values. */
  unless(all: readonly Val[], then: () => void, proof?: Proof): void {
    this.fork(this.eqz(all.at(-1)!), all.slice(0, -1), then, undefined, proof);
  }
  private fork(
    cond: Val,
    unless: readonly Val[] | undefined,
    then: () => void,
    otherwise?: () => void,
    proof?: Proof,
  ): void {
    const outer = this.list;
    const committed = this.committed;
    const saved = new Map(this.eas);
    const savedProbes = new Map(this.probes);
    const run = (f?: () => void): [Node[], string, boolean] => {
      this.list = [];
      this.committed = committed;
      this.ended = false;
      f?.();
      const r: [Node[], string, boolean] = [this.list, this.committed, this.ended];
      this.eas.clear();
      for (const [k, v] of saved) this.eas.set(k, v);
      this.probes.clear();
      for (const [k, v] of savedProbes) this.probes.set(k, v);
      return r;
    };
    const [a, ca, ea] = run(then);
    const [b, cb, eb] = run(otherwise);
    this.list = outer;
    // A branch that ends the instruction does not reach what follows.
    this.committed = (ea ? '' : ca) || (eb ? '' : cb) || committed;
    this.ended = false;
    this.stmt({ k: 'if', cond, ...(unless?.length && { unless }), ...(proof && { proof }), then: a, else: b });
    this.ended = ea && eb;
  }
  private end(n: Node): void {
    this.stmt(n);
    this.ended = true;
  }
  /** Raise an exception (VEC.*), with an error code if given. Nothing may have been changed. */
  raise(vector: number, error?: Val | number): void {
    this.before('exception');
    this.end({ k: 'raise', vector, error: typeof error === 'number' ? this.i32(error) : error });
  }
  /** `if (cond) raise`. */
  raiseIf(cond: Val, vector: number, error?: number): void {
    this.if(cond, () => this.raise(vector, error));
  }
  /** Leave guest code (EXIT.*). `next`: with rip after this instruction. */
  exit(reason: number, o: { vector?: Val; error?: Val; next?: boolean } = {}): void {
    this.end({ k: 'exit', reason, vector: o.vector, error: o.error, next: !!o.next });
  }
  /** Continue at a linear address (i64). Canonicality is checked by the fetch. */
  jump(target: Val): void {
    this.change('jump');
    this.end({ k: 'jump', target });
  }
  /** Continue at the direct branch target (the instruction has a Jb/Jz operand). */
  branch(): void {
    this.change('jump');
    this.end({ k: 'branch' });
  }
  /** Run the same instruction again (after a poll point). */
  again(): void {
    this.end({ k: 'again' });
  }
  /** Continue with the instruction at CpuState.rip (a helper set it, and perhaps mode, segments and the trap flag). */
  resync(): void {
    this.change('jump');
    this.end({ k: 'resync' });
  }
  /** Linear address of the next instruction. */
  nextRip(): Val {
    return this.val('i64', (out) => ({ k: 'nextrip', out }));
  }
  /** Length of this instruction in bytes (i32). */
  length(): Val {
    return this.val('i32', (out) => ({ k: 'length', out }));
  }
  /** Address of the direct branch target (masked to 32 bits in compatibility mode). */
  target(): Val {
    return this.val('i64', (out) => ({ k: 'target', out }));
  }
  /**
   * Call a runtime helper (src/engine/runtime): `name(cpu: u32, ...args)`. With `t` it returns a value. Helpers change
   * guest state as they like and count as a change unless `pure`.
   */
  call(name: string, args: readonly Val[], t: Type, o?: { pure?: boolean }): Val;
  call(name: string, args: readonly Val[]): void;
  call(name: string, args: readonly Val[], t?: Type, o: { pure?: boolean } = {}): Val | undefined {
    if (!o.pure) this.change(`helper ${name}`);
    if (!t) {
      this.stmt({ k: 'call', name, args: [...args] });
      return undefined;
    }
    return this.val(t, (out) => ({ k: 'call', name, args: [...args], out }));
  }
  /**
   * Call a helper that can fault: returns i32 0 when it recorded an exception in exit_* (then this instruction ends with
   * it), else a non-zero value, which is the result here. What it changed before must be restartable.
   */
  callFaulting(name: string, args: readonly Val[]): Val {
    this.before(`helper ${name}`);
    const ok = this.val('i32', (out) => ({ k: 'call', name, args: [...args], out }));
    this.if(this.eqz(ok), () => this.end({ k: 'faulted' }));
    this.change(`helper ${name}`);
    return ok;
  }

  /** The recorded description. */
  finish(): Code {
    for (const p of this.probes.values()) void p;
    return { nodes: this.top, vars: this.vars, values: this.values };
  }
}
