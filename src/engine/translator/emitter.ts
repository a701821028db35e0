/**
 * Translator back end: the instructions of a region (semantics/ir.ts) → wasm. Operands are constants, registers and flags
 * are locals. Whatever is rare ends in a side exit: registers as they are before the instruction, which the interpreter then
 * does.
 *
 * Locals: 0 rec (of the entry, or JumpEntry.place), 1 cpu, 2 what is left of the fuel.
 */
import { operandSlot } from '../decode/slots.ts';
import { USUAL_MXCSR } from '../semantics/fp.ts';
import type { Node, Proof, Type, Val } from '../semantics/ir.ts';
import { CpuState, PREEMPTED_INSIDE, PREEMPTED_PASSING, TLB_ENTRIES, TlbEntry, VEC } from '../state.ts';
import { IrEmitter, type Leaf, loadOp, storeOp } from '../wasm/ir-emitter.ts';
import type { Accesses, Group, Member } from './accesses.ts';
import type { FlagExits } from './flag-exits.ts';
import type { FlagLocals } from './flag-locals.ts';
import { FLAG_WORDS, type Word } from './flag-locals.ts';
import { constantOf, immediate } from './fold.ts';
import { CheckLocals, FpChecks, type Pushing, proofOf } from './fp-group.ts';
import { effectsOf } from './helpers.ts';
import type { Instruction } from './prepare.ts';
import type { RegionFunc } from './region-func.ts';
import { isXmm, NO_REGISTERS, type Registers, registerAt } from './registers.ts';
import type { RegisterUse } from './uses.ts';
import { X87Stack } from './x87-stack.ts';

const { off } = CpuState;
export const CPU = 1;
export const LEFT = 2;
/** Fuel of one instruction. */
export const UNIT = 32;
const TS = 8;
/** What copies an SSE register, if its second operand is one. */
const COPIES = /^(mov[au]p[sd]|movdq[au])$/;
/** Of the x87 status word: an exception that is not masked. */
const ES = 0x80;

/**
 * How an exit goes on: just so, after a poll, or after an instruction that may have changed how instructions run. Those above
 * are rare: one instruction must be interpreted, or someone wants the CPU and the region would go on in itself.
 */
export const ON = 0;
export const POLL = 1;
export const RESYNC = 2;
export const INTERPRET = 3;
export const INSIDE = -PREEMPTED_INSIDE;
export const PASSING = -PREEMPTED_PASSING;

/** Functions and other things outside the region that its code names, by index. */
export interface Outside {
  helper(name: string, args: readonly Type[], result?: Type): number;
  /** Global: code has been dropped, this region's perhaps. */
  readonly dropped: number;
}

/** Locals and labels that all of a region shares. */
export interface Frame {
  /** Local (i64): linear address of the page. */
  readonly page: number;
  /** Local (i32): CpuState.tlb. */
  readonly tlb: number;
  /** Local (i64): where to go on after the exit. Local (i32): how (ON to PASSING). */
  readonly to: number;
  readonly way: number;
  /** Level of the shared exit. */
  readonly exit: number;
  /** Local (i64): an instruction for the interpreter, as `sideOf` says; level of the exit that goes there. */
  readonly side: number;
  readonly sideExit: number;
  /** The ways to both, by what is to be done about flags. */
  readonly exits: FlagExits;
}

/** Page offset of the instruction, and how many of its block are done before it: one number, as there are many such exits. */
const sideOf = (at: number, done: number): bigint => BigInt(at) * 4096n + BigInt(done);
export const SIDE_DONE = 4095n;
export const SIDE_SHIFT = 12n;

export class RegionEmitter extends IrEmitter {
  declare protected readonly f: RegionFunc;
  private readonly o: Outside;
  private readonly frame: Frame;
  private readonly regs: Registers;
  private readonly unseen: RegisterUse['unseen'];
  readonly flags: FlagLocals;
  private at!: Instruction;
  /** Instructions of the block before this one. */
  private done = 0;
  private depth = 0;
  /** Local (i32) with the condition of the block's conditional branch. */
  condition = -1;
  private readonly x87: X87Stack;
  /** Has the block so many x87 instructions that their common case is worth its code? */
  private muchX87 = false;
  /** The call of a helper, which this instruction is, has its common case in place: where no exception is pending, as all are masked. */
  private x87Inline = false;
  /** Level of the block that is left for the instructions one by one, and what is proved of them; while they are a group. */
  private oneByOne = -1;
  private checks: FpChecks | undefined;
  private readonly checkLocals: CheckLocals;
  /** A helper of this instruction may have dropped code. */
  private mayDrop = false;
  private readonly accesses: Accesses;
  private readonly near: ReadonlySet<Instruction>;
  /** Groups that have been looked up: local (i32) with the addend of their page, and how many of them are to come. */
  private readonly found = new Map<Group, { readonly addend: number; left: number }>();
  /** Locals for the look-ups that a group's quick way has made, and its other way makes again. */
  private readonly addends = new Map<Group, number>();
  /** Locals of groups that are over. */
  private readonly spare: number[] = [];

  constructor(
    f: RegionFunc,
    o: Outside,
    frame: Frame,
    regs: Registers,
    unseen: RegisterUse['unseen'],
    flags: FlagLocals,
    accesses: Accesses,
    near: ReadonlySet<Instruction>,
  ) {
    super(f);
    this.x87 = new X87Stack(f);
    this.checkLocals = new CheckLocals(f);
    this.accesses = accesses;
    this.near = near;
    this.unseen = unseen;
    this.o = o;
    this.frame = frame;
    this.regs = regs;
    this.flags = flags;
  }

  /** A block begins. */
  start(instructions: readonly Instruction[]): void {
    this.condition = -1;
    this.x87.forget();
    this.muchX87 =
      instructions.filter((i) => i.encoding.insn.fpu && i.encoding.insn.name.startsWith('f')).length >= MUCH_X87;
  }

  /** Emit one instruction, the block's `done`th. Branches are left to the caller. */
  instruction(i: Instruction, done: number, checkFpu: boolean): void {
    this.at = i;
    this.done = done;
    this.mayDrop = false;
    this.regs.unseen = this.unseen.get(i) ?? NO_REGISTERS;
    if (checkFpu) this.fpuThere(i, done);
    this.x87Inline = this.muchX87 && i.code.nodes.some((n) => n.k === 'call' && X87Stack.hasCommonCase(n.name));
    if (i.wordsFirst && !i.flagsDead) this.flags.toWords();
    const fell = this.body(i.code, i.uses);
    if (this.mayDrop && fell) {
      const f = this.f;
      f.op('global.get').body.u32(this.o.dropped);
      f.leaving().i32(0).op('global.set').body.u32(this.o.dropped);
      this.leave(i.next, done + 1, ON);
      f.end();
    }
    this.f.release();
  }

  /** Emit a group (fp-group.ts) that begins with the block's `done`th. */
  proveTogether(instructions: readonly Instruction[], done: number, checkFpu: boolean): void {
    const { f } = this;
    if (checkFpu) this.fpuThere(instructions[0], done);
    f.block();
    this.oneByOne = f.level;
    f.block();
    const before = new Map([...this.found].map(([group, found]) => [group, { ...found }]));
    this.quick(instructions, done);
    f.brTo(this.oneByOne - 1).end();
    this.oneByOne = -1;
    // The same again, with the same locals for what is looked up together.
    for (const [group, { addend }] of this.found) if (!before.has(group)) this.addends.set(group, addend);
    this.found.clear();
    for (const [group, found] of before) this.found.set(group, found);
    for (const [n, i] of instructions.entries()) this.instruction(i, done + n, false);
    this.addends.clear();
    f.end();
  }

  /** The group's plain results, proved at the end: then they are the registers'. */
  private quick(instructions: readonly Instruction[], done: number): void {
    const { f, regs } = this;
    const checks = new FpChecks(f, this.checkLocals);
    f.get(CPU)
      .mem('i32.load', off.mxcsr)
      .i32(USUAL_MXCSR.bits)
      .op('i32.and')
      .i32(USUAL_MXCSR.value)
      .op('i32.ne')
      .unlikely()
      .brIf(0);
    regs.speculate();
    this.checks = checks;
    this.late = true;
    for (const [n, i] of instructions.entries()) {
      this.at = i;
      this.done = done + n;
      regs.unseen = this.unseen.get(i) ?? NO_REGISTERS;
      const operand = (o: number) => registerAt(operandSlot(i.encoding, o, i.d)).n;
      const copied =
        COPIES.test(i.encoding.insn.name) && i.form.operands[1].kind === 'xmm' ? checks.of(operand(1)) : undefined;
      this.body(i.code, i.uses);
      f.release();
      const p = proofOf(i);
      const normal = p?.kind === 'sum' ? undefined : (p?.fmt ?? copied);
      if (normal) checks.learn(operand(0), normal);
    }
    this.late = false;
    this.checks = undefined;
    checks.failed();
    f.unlikely().brIf(0);
    regs.commit();
  }

  private pushing({ fmt }: Proof): Pushing {
    const { f } = this;
    const shape = fmt[1] === 's' ? 'f32x4' : 'f64x2';
    const register = (v: Val) =>
      v.node.k === 'regop' ? registerAt(operandSlot(this.at.encoding, v.node.i, this.at.d)).n : -1;
    const whole = (n: number) => this.regs.read(n, 0, 16, 'v128');
    const to = registerAt(operandSlot(this.at.encoding, 0, this.at.d)).n;
    return {
      register,
      operand: (v) => {
        const n = register(v);
        if (n >= 0) whole(n);
        else {
          f.get(this.localOf(v));
          if (v.t !== 'v128') f.op(`${shape}.splat`);
        }
      },
      result: (v) => {
        if (v.t === 'v128') f.get(this.localOf(v));
        else {
          const l = this.localOf(v);
          whole(to);
          f.get(l).op(`${shape}.replace_lane`).body.u8(0);
        }
      },
    };
  }

  // ── leaving ─────────────────────────────────────────────────────────────────────────────────────────────────
  /** Leave for page offset `target`, `count` instructions of the block being done. */
  leave(target: number, count: number, way: number): void {
    const f = this.f;
    if (count)
      f.get(LEFT)
        .i32(count * UNIT)
        .op('i32.sub')
        .set(LEFT);
    f.get(this.frame.page).i64(BigInt(target)).op('i64.add').set(this.frame.to);
    f.i32(way).set(this.frame.way);
    this.frame.exits.leave(this.frame.exit);
  }
  /** Leave it, the block's `done`th, to the interpreter. */
  leaveTo(i: Instruction, done: number): void {
    this.at = i;
    this.done = done;
    this.sideExit();
  }
  /** The interpreter's if TS is set. */
  private fpuThere(i: Instruction, done: number): void {
    this.f.get(CPU).mem('i32.load8_u', off.cr0).i32(TS).op('i32.and').leaving();
    this.leaveTo(i, done);
    this.f.end();
  }
  /** Let the interpreter do this instruction; of a group, go through its instructions one by one. */
  private sideExit(): void {
    if (this.oneByOne >= 0) {
      this.f.brTo(this.oneByOne);
      return;
    }
    this.f.i64(sideOf(this.at.at, this.done)).set(this.frame.side);
    this.frame.exits.leave(this.frame.sideExit);
  }

  // ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────
  private ea(noseg: boolean, d = this.at.d): void {
    const f = this.f;
    if (this.at.encoding.operands.some((o) => o.code === 'O')) {
      f.i64(d.imm);
    } else {
      const disp = BigInt(d.disp);
      if (d.base === 16)
        f.get(this.frame.page)
          .i64(BigInt(this.at.next + d.disp))
          .op('i64.add');
      else if (d.base < 0) f.i64(disp);
      else {
        this.regs.get(d.base);
        if (disp) f.i64(disp).op('i64.add');
      }
      if (d.index >= 0) {
        this.regs.get(d.index);
        if (d.scale) f.i64(BigInt(d.scale)).op('i64.shl');
        f.op('i64.add');
      }
      if (d.addr32) f.i64(0xffffffffn).op('i64.and');
    }
    if (d.seg >= 0 && !noseg) {
      f.get(CPU)
        .mem('i64.load', off.segbase + d.seg * 8)
        .op('i64.add');
    }
  }

  /** Local with the host address of `bytes` at a linear address; what the TLB does not have is the interpreter's. `n`: the access. */
  private host(n: Node, addr: Val, bytes: number, write: boolean, align: boolean): number {
    const f = this.f;
    const a = this.localOf(addr);
    const host = f.local('i32');
    if (align) {
      f.get(a)
        .op('i32.wrap_i64')
        .i32(bytes - 1)
        .op('i32.and')
        .leaving();
      this.sideExit();
      f.end();
    }
    const member = this.accesses.get(this.at)?.get(n);
    if (member) {
      const found = this.together(member, a);
      f.get(found.addend);
      // Another group may have the local, unless control can come here again without the look-up.
      if (--found.left === 0 && member.group.local && this.oneByOne < 0) this.spare.push(found.addend);
    } else {
      const e = f.local('i32');
      const most = align ? 4095 : 4096 - bytes;
      if (addr.node.k === 'ea' && this.near.has(this.at)) this.lookUpNear(a, addr.node.noseg, e, write, most);
      else this.lookUp(a, e, write, most);
      f.get(e).mem('i32.load', TlbEntry.off.addend);
    }
    f.get(a).op('i32.wrap_i64').op('i32.add').set(host);
    return host;
  }

  /** Local e = the TLB entry that is for the linear address in local a; the interpreter's if it is not, or the address is beyond `most` in its page. */
  private lookUp(a: number, e: number, write: boolean, most: number): void {
    this.f.get(a);
    this.entry().tee(e);
    this.misses(a, write, most).leaving();
    this.sideExit();
    this.f.end();
  }

  /** As lookUp, of an address that is an index not far from its base: the entry for that one is tried first, as it is known earlier. */
  private lookUpNear(a: number, noseg: boolean, e: number, write: boolean, most: number): void {
    const { d } = this.at;
    this.ea(noseg, { ...d, index: -1 });
    this.entry().tee(e);
    this.misses(a, write, most).unlikely().if();
    this.lookUp(a, e, write, most);
    this.f.end();
  }

  /** The TLB entry on the stack becomes whether it is for another page than that of the address in a local, or that is beyond `most` in it. */
  private misses(a: number, write: boolean, most: number): RegionFunc {
    const f = this.f;
    // Equal pages, and not too near the end.
    f.mem('i64.load', write ? TlbEntry.off.wtag : TlbEntry.off.rtag);
    return f.get(a).op('i64.xor').i64(BigInt(most)).op('i64.gt_u');
  }

  /** The linear address on the stack becomes the TLB entry that is for it. */
  private entry(): RegionFunc {
    const f = this.f;
    f.op('i32.wrap_i64')
      .i32(12 - Math.log2(TlbEntry.size))
      .op('i32.shr_u');
    f.i32((TLB_ENTRIES - 1) * TlbEntry.size)
      .op('i32.and')
      .get(this.frame.tlb)
      .op('i32.add');
    return f;
  }

  /** The look-up of a group, made with the first of its members; `a`: local with the address of this one. */
  private together({ group, at }: Member, a: number): { readonly addend: number; left: number } {
    const known = this.found.get(group);
    if (known) return known;
    const f = this.f;
    const spare = group.local && this.oneByOne < 0;
    const addend = this.addends.get(group) ?? (spare ? this.spare.pop() : undefined) ?? f.register('i32');
    const lowest = f.local('i64');
    const e = f.local('i32');
    f.get(a)
      .i64(BigInt(group.lo - at))
      .op('i64.add')
      .set(lowest);
    this.lookUp(lowest, e, group.write, 4096 - (group.hi - group.lo));
    f.get(e).mem('i32.load', TlbEntry.off.addend).set(addend);
    const found = { addend, left: group.count };
    this.found.set(group, found);
    return found;
  }

  // ── registers and fields ────────────────────────────────────────────────────────────────────────────────────
  private read(offset: number, bytes: number, t: Type, signed = false): void {
    const { n, byte } = registerAt(offset);
    if (n >= 0) this.regs.read(n, byte, bytes, t, signed);
    else this.f.get(CPU).mem(loadOp(t, bytes, signed), offset);
  }
  private write(offset: number, bytes: number, v: Val): void {
    const { n, byte } = registerAt(offset);
    if (n >= 0) {
      this.regs.write(n, byte, bytes, v.t, () => this.val(v));
      this.checks?.written(n);
      return;
    }
    this.f.get(CPU);
    this.val(v).mem(storeOp(v.t, bytes), offset);
    if (offset >= off.fcw && offset < X87_END) this.x87.forget();
  }
  private setOperand(n: Node & { k: 'setregop' }): void {
    const offset = operandSlot(this.at.encoding, n.i, this.at.d);
    // A 4-byte result clears the rest of its register.
    if (n.bytes === 4 && n.v.t === 'i32') {
      const { n: r } = registerAt(offset);
      if (r >= 0 && r < 16) this.regs.write(r, 0, 8, 'i32', () => this.val(n.v));
      else {
        this.f.get(CPU);
        this.val(n.v).op('i64.extend_i32_u').mem('i64.store', offset);
      }
    } else this.write(offset + (n.at ?? 0), n.bytes, n.v);
  }

  protected override cond(n: Node & { k: 'if' }): boolean {
    if (this.checks && n.proof) {
      this.checks.prove(n.proof, this.pushing(n.proof));
      return true;
    }
    const [first] = n.then;
    if (this.x87Inline && first?.k === 'raise' && first.vector === VEC.MF) return true;
    if (this.at.ending === 'cond' && first?.k === 'branch') {
      this.condition = this.f.local('i32');
      this.val(n.cond).set(this.condition);
      return true;
    }
    this.depth++;
    const reaches = super.cond(n);
    this.depth--;
    return reaches;
  }

  protected override when(n: Node & { k: 'if' }): void {
    const last = n.then.at(-1);
    if (!last || n.else.length || !LEAVING.has(last.k)) super.when(n);
    else this.f.leaving(last.k !== 'again');
  }

  protected leaf(n: Leaf): boolean {
    const f = this.f;
    if ('out' in n && n.out && this.unused(n.out) && UNUSED_DROPS.has(n.k)) return true;
    switch (n.k) {
      case 'regop':
        if (this.at.clears) f.zero(n.out.t);
        else this.read(operandSlot(this.at.encoding, n.i, this.at.d), n.bytes, n.out.t);
        break;
      case 'setregop':
        this.setOperand(n);
        return true;
      case 'immop': {
        const v = immediate(this.at.d, n.i === this.at.second, n.t);
        if (n.t === 'i64') f.i64(v);
        else f.i32(Number(v));
        break;
      }
      case 'ea':
        this.ea(n.noseg);
        break;
      case 'get':
        // What proofs look at.
        if (this.checks && n.off === off.mxcsr) return true;
        this.read(n.off, n.bytes, n.t, n.signed);
        break;
      case 'set':
        this.write(n.off, n.bytes, n.v);
        return true;
      case 'load':
        f.get(this.host(n, n.addr, n.bytes, false, n.align)).mem(loadOp(n.t, n.bytes, n.signed));
        break;
      case 'probe':
        this.probes.set(n.p.id, this.host(n, n.p.addr, n.p.bytes, true, n.align));
        return true;
      case 'pload':
        f.get(this.hostOf(n.p)).mem(loadOp(n.t, n.bytes, n.signed), n.at);
        break;
      case 'pstore':
        f.get(this.hostOf(n.p));
        this.val(n.v).mem(storeOp(n.v.t, n.bytes), n.at);
        return true;
      case 'commit':
        // A write probe never gives the bounce buffer.
        return true;
      case 'atomic':
      case 'cmpxchg':
        this.locked(n);
        return true;
      case 'flags':
        this.setFlags(n);
        return true;
      case 'flagword':
        this.flags.word(n.w);
        break;
      case 'cond':
        this.flags.condition(n.cc);
        break;
      case 'call':
        this.call(n);
        return true;
      case 'raise':
      case 'exit':
      case 'faulted':
        // Nothing has been changed yet (or, by a helper, so that it can go on): the interpreter does it for real.
        this.sideExit();
        return false;
      case 'again':
        this.leave(this.at.at, this.done + 1, POLL);
        return false;
      case 'branch':
        return true;
      case 'jump':
        this.jump(n.target);
        return false;
      case 'nextrip':
        f.get(this.frame.page).i64(BigInt(this.at.next)).op('i64.add');
        break;
      case 'length':
        f.i32(this.at.d.length);
        break;
      case 'target':
        f.get(this.frame.page)
          .i64(BigInt(this.at.next + this.at.d.rel))
          .op('i64.add');
        break;
      case 'resync':
        f.get(CPU).mem('i64.load', CpuState.off.rip).set(this.frame.to);
        f.i32(RESYNC).set(this.frame.way);
        return false;
    }
    this.keep(n.out!);
    return true;
  }

  /** The interpreter's if an exception of an x87 instruction is to be raised. */
  private pendingX87(): void {
    this.f.get(CPU).mem('i32.load16_u', off.fsw).i32(ES).op('i32.and').leaving();
    this.sideExit();
    this.f.end();
  }

  /** The caller goes there: it may be in the region. */
  private jump(target: Val): void {
    this.val(target).set(this.frame.to);
    this.f.i32(POLL).set(this.frame.way);
  }

  private setFlags(n: Node & { k: 'flags' }): void {
    if (this.at.flagsDead) return;
    const f = this.f;
    if (n.recipe && this.depth === 0) {
      const { a, b, r } = n.recipe;
      const wide = (v: Val | undefined) =>
        v &&
        (() => {
          this.val(v);
          if (v.t === 'i32') f.op('i64.extend_i32_u');
        });
      const c = n.recipe.op === 'result' ? n.c : undefined;
      this.flags.set(n.recipe, { a: wide(a), b: wide(b), r: wide(r)!, c: c && (() => this.val(c)) });
      return;
    }
    // All values first: a word's new value may be made from old words.
    const given: Partial<Record<Word, () => void>> = {};
    for (const w of FLAG_WORDS) {
      const v = n[w];
      if (!v) continue;
      const l = this.localOf(v);
      given[w] = () => f.get(l);
    }
    this.flags.setWords(given);
  }

  private call(n: Node & { k: 'call' }): void {
    const f = this.f;
    const e = effectsOf(n.name);
    if (e.flags) this.flags.flush();
    const call = () => {
      if (this.x87Inline && e.x87) this.pendingX87();
      f.get(CPU);
      for (const a of n.args) this.val(a);
      f.call(
        this.o.helper(
          n.name,
          n.args.map((a) => a.t),
          n.out?.t,
        ),
      );
    };
    if (e.x87 && this.depth === 0) {
      const args = n.args.map((a) => {
        const c = constantOf(a, this.at.d, this.at.second);
        return { constant: c === undefined ? undefined : Number(c), local: () => this.localOf(a) };
      });
      this.x87.emit(n.name, args, this.muchX87, call);
    } else {
      call();
      if (e.x87) this.x87.forget();
    }
    if (n.out) this.keep(n.out);
    this.regs.load((r) => (isXmm(r) ? e.xmm : e.gpr));
    if (e.memory) this.mayDrop = true;
  }

  /** Locked read-modify-write: an atomic when aligned, else the interpreter's. */
  private locked(n: Node & { k: 'atomic' | 'cmpxchg' }): void {
    const f = this.f;
    const host = this.hostOf(n.p);
    const { bytes } = n;
    const t = bytes === 8 ? 'i64' : 'i32';
    const narrow = (v: Val) => {
      this.val(v);
      if (bytes < 4) f.i32(bytes === 1 ? 0xff : 0xffff).op('i32.and');
    };
    if (bytes > 1) {
      f.get(host)
        .i32(bytes - 1)
        .op('i32.and')
        .leaving();
      this.sideExit();
      f.end();
    }
    const width = bytes === 1 ? '8' : bytes === 2 ? '16' : '';
    f.get(host);
    if (n.k === 'cmpxchg') narrow(n.expected);
    narrow(n.v);
    f.mem(`${t}.atomic.rmw${width}.${n.k === 'atomic' ? n.op : 'cmpxchg'}${width ? '_u' : ''}`, 0, Math.log2(bytes));
    this.keep(n.out);
  }
}

/** x87 registers and what goes with them lie before this. */
const X87_END = off.st + 8 * 16;
/** x87 instructions of a block. */
const MUCH_X87 = 3;

/** Nodes behind which nothing of their instruction comes: the interpreter is to do it, which is rare, or it is done again. */
const LEAVING = new Set(['raise', 'exit', 'faulted', 'again']);

/** Nodes that do nothing when their value is not wanted. */
const UNUSED_DROPS = new Set([
  'regop',
  'immop',
  'ea',
  'get',
  'pload',
  'flagword',
  'cond',
  'nextrip',
  'length',
  'target',
]);
