/**
 * Interpreter back end: one description (ir.ts) → the body of one wasm handler.
 *
 * A handler has the type (rec: i32, cpu: i32, fuel: i32) → i32. It reads its operands from the record at `rec`, works on
 * the CpuState at `cpu`, and tail-calls the handler of the next record. `fuel - rec` is what may still be run, in bytes
 * of records, so straight-line code needs no counting: taken branches rebase it.
 *
 * Memory operands: the fast handler probes the TLB inline and never calls; whenever it cannot go on (TLB miss, page
 * crossing, split lock) it tail-calls its slow twin before anything has been changed. The twin does the whole
 * instruction through the runtime (probe_read, probe_write, commit), so every corner is handled in one place.
 */
import { RFLAGS } from '../flags.ts';
import type { Code, Node, Probe, Type, Val } from '../semantics/ir.ts';
import { CpuState, Record32, SCALE_ADDR16, TlbEntry } from '../state.ts';
import { emitTlbEntry } from '../tlb-entry.ts';
import { IrEmitter, type Leaf, loadOp, storeOp } from '../wasm/ir-emitter.ts';
import type { Func } from '../wasm/module.ts';

const REC = 0;
const CPU = 1;
const FUEL = 2;

/** How memory operands compute their address: 0 [base+disp], 1 general, 2 general truncated to 32 bits. */
export type AddressForm = 0 | 1 | 2;

/** Functions that handlers call or tail-call, by index. */
export interface Runtime {
  readonly handlerType: number;
  /** Function index of a runtime helper by name, with its arguments' types and its result's. */
  helper(name: string, args: readonly Type[], result?: Type): number;
  /** Handler-typed: an exception is recorded in exit_*; stop at this instruction. */
  readonly fault: number;
  /** (rec, cpu, fuel, vector, hasError, error): record an exception and stop at this instruction. */
  readonly raise: number;
  /** (cpu, left, target: i64): continue at a linear address, after a poll. */
  readonly go: number;
  /** Handler-typed: taken direct branch whose record is not linked yet. */
  readonly branchSlow: number;
  /** (rec, cpu, fuel, reason, vector, error, next). */
  readonly exit: number;
  /** Handler-typed: run this record again, after a poll. */
  readonly again: number;
  /** (cpu, left, rip): leave with PREEMPT at rip. */
  readonly preempt: number;
  readonly probeRead: number;
  readonly probeWrite: number;
  readonly exclusiveBegin: number;
  readonly exclusiveEnd: number;
  readonly commit: number;
}

export interface EmitOptions {
  readonly address: AddressForm;
  /** Function index of the slow twin; absent: this is the twin (or the form has no memory access). */
  readonly slow?: number;
  readonly long: boolean;
  readonly fpu: boolean;
  /** The memory operand is an absolute address, held whole in the record's `imm` (moffs). */
  readonly moffs?: boolean;
  /** Profiling build: how often each record ran is counted in a u32 at this address + record address / 8. */
  readonly counts?: number;
  /** Operand index of the second immediate (enter), which the record holds in the upper half of `imm`. */
  readonly secondImmediate?: number;
  /** Byte offset from `rec` to this instruction's record (fused pairs: the second one is at 32). */
  readonly recordOffset?: number;
}

/** Does the description access guest memory (and so need a slow twin)? */
export function touchesMemory(code: Code): boolean {
  const any = (nodes: Node[]): boolean =>
    nodes.some((n) => n.k === 'load' || n.k === 'probe' || (n.k === 'if' && (any(n.then) || any(n.else))));
  return any(code.nodes);
}

/** Does the description have a memory operand (and so address forms)? */
export function hasAddress(code: Code): boolean {
  const any = (nodes: Node[]): boolean =>
    nodes.some((n) => n.k === 'ea' || (n.k === 'if' && (any(n.then) || any(n.else))));
  return any(code.nodes);
}

const REG_FIELD = ['r0', 'r1', 'r2'] as const;

export class InterpreterEmitter extends IrEmitter {
  private readonly rt: Runtime;
  private readonly o: EmitOptions;
  private readonly rec0: number;

  constructor(f: Func, rt: Runtime, o: EmitOptions) {
    super(f);
    this.rt = rt;
    this.o = o;
    this.rec0 = o.recordOffset ?? 0;
  }

  /** Emit the description; `tail` emits what happens when it falls off its end (default: the next record). */
  emit(code: Code, tail?: () => void): void {
    if (this.o.counts !== undefined) this.count();
    if (this.o.fpu) {
      this.f.get(CPU).mem('i32.load8_u', CpuState.off.cr0).i32(8).op('i32.and').if();
      this.args().i32(7).i32(0).i32(0).returnCall(this.rt.raise);
      this.f.end();
    }
    const fell = this.body(code);
    if (fell) (tail ?? (() => this.next()))();
    else this.f.op('unreachable');
  }

  /** Known flag words, to hand to the second instruction of a fused pair. */
  takeKnown(): Map<string, number> {
    return this.known;
  }
  giveKnown(k: ReadonlyMap<string, number>): void {
    for (const [w, l] of k) this.known.set(w, l);
  }

  /** rec (advanced to this instruction's record), cpu, fuel on the stack. */
  private args(): Func {
    return this.recArg().get(CPU).get(FUEL);
  }
  private recArg(): Func {
    this.f.get(REC);
    if (this.rec0) this.f.i32(this.rec0).op('i32.add');
    return this.f;
  }
  private field(name: keyof typeof Record32.off, op: string): Func {
    return this.f.get(REC).mem(op, this.rec0 + Record32.off[name]);
  }

  private count(): void {
    const f = this.f;
    const p = f.local('i32');
    f.get(REC).i32(3).op('i32.shr_u').i32(this.o.counts!).op('i32.add').tee(p);
    f.get(p).mem('i32.load').i32(1).op('i32.add').mem('i32.store');
  }

  /** Continue with the record after this one. */
  next(): void {
    const at = this.rec0 + Record32.size;
    this.f.get(REC).i32(at).op('i32.add').get(CPU).get(FUEL);
    this.f.get(REC).mem('i32.load', at).returnCallIndirect(this.rt.handlerType);
  }

  /** cpu + slot named by a 16-bit record field. */
  private slot(name: keyof typeof Record32.off): Func {
    this.f.get(CPU);
    return this.field(name, 'i32.load16_u').op('i32.add');
  }

  private emitEa(noseg: boolean): void {
    const f = this.f;
    const a = this.o.address;
    if (this.o.moffs) {
      this.field('imm', 'i64.load');
      this.slot('seg').mem('i64.load').op('i64.add');
      return;
    }
    this.slot('base').mem('i64.load');
    if (a !== 0) {
      this.slot('index').mem('i64.load');
      this.field('scale', 'i64.load8_u').op('i64.shl').op('i64.add');
    }
    this.field('disp', 'i64.load32_s').op('i64.add');
    if (a === 2) {
      f.i64(0xffffn).i64(0xffffffffn);
      this.field('scale', 'i32.load8_u').i32(SCALE_ADDR16).op('i32.and').op('select').op('i64.and');
    }
    if (a !== 0 && !noseg) {
      this.slot('seg').mem('i64.load').op('i64.add');
      if (!this.o.long) f.i64(0xffffffffn).op('i64.and');
    }
  }

  /** addr local (i64) → host address local, or leave through the slow twin / fault. */
  private probeAddress(addr: number, bytes: number, write: boolean, align: boolean): number {
    const f = this.f;
    const host = f.local('i32');
    if (align) {
      f.get(addr)
        .i64(BigInt(bytes - 1))
        .op('i64.and')
        .i64(0n)
        .op('i64.ne')
        .if();
      this.args().i32(13).i32(1).i32(0).returnCall(this.rt.raise);
      f.end();
    }
    if (this.o.slow !== undefined) {
      const e = f.local('i32');
      emitTlbEntry(f, CPU, 'tlb', addr).tee(e);
      f.mem('i64.load', write ? TlbEntry.off.wtag : TlbEntry.off.rtag);
      f.get(addr)
        .op('i64.xor')
        .i64(BigInt(4096 - bytes))
        .op('i64.gt_u')
        .if();
      this.recArg().get(CPU).get(FUEL).returnCall(this.o.slow);
      f.end();
      f.get(addr).op('i32.wrap_i64').get(e).mem('i32.load', TlbEntry.off.addend).op('i32.add').set(host);
    } else {
      f.get(CPU)
        .get(addr)
        .i32(bytes)
        .call(write ? this.rt.probeWrite : this.rt.probeRead)
        .tee(host);
      f.op('i32.eqz').if();
      this.args().returnCall(this.rt.fault);
      f.end();
    }
    return host;
  }
  /** Returns false if the node ends the instruction on every path. */
  protected leaf(n: Leaf): boolean {
    const f = this.f;
    switch (n.k) {
      case 'regop': {
        const t = n.out.t;
        if (this.uses[n.out.id] === 0) return true;
        this.slot(REG_FIELD[n.i]).mem(loadOp(t, n.bytes, false));
        this.keep(n.out);
        return true;
      }
      case 'setregop': {
        this.slot(REG_FIELD[n.i]);
        if (n.bytes === 4 && n.v.t === 'i32') {
          this.val(n.v).op('i64.extend_i32_u').mem('i64.store');
        } else {
          this.val(n.v).mem(storeOp(n.v.t, n.bytes), n.at ?? 0);
        }
        return true;
      }
      case 'immop':
        if (this.uses[n.out.id] === 0) return true;
        if (n.i === this.o.secondImmediate) f.get(REC).mem('i32.load', this.rec0 + Record32.off.imm + 4);
        else this.field('imm', n.t === 'i32' ? 'i32.load' : 'i64.load');
        this.keep(n.out);
        return true;
      case 'ea':
        if (this.uses[n.out.id] === 0) return true;
        this.emitEa(n.noseg);
        this.keep(n.out);
        return true;
      case 'get':
        if (this.uses[n.out.id] === 0) return true;
        f.get(CPU).mem(loadOp(n.t, n.bytes, n.signed), n.off);
        this.keep(n.out);
        return true;
      case 'set':
        f.get(CPU);
        this.val(n.v).mem(storeOp(n.v.t, n.bytes), n.off);
        return true;
      case 'load': {
        const host = this.probeAddress(this.localOf(n.addr), n.bytes, false, n.align);
        f.get(host).mem(loadOp(n.t, n.bytes, n.signed));
        this.keep(n.out);
        return true;
      }
      case 'probe':
        this.probes.set(n.p.id, this.probeAddress(this.localOf(n.p.addr), n.p.bytes, true, n.align));
        return true;
      case 'pload':
        if (this.uses[n.out.id] === 0) return true;
        f.get(this.hostOf(n.p)).mem(loadOp(n.t, n.bytes, n.signed), n.at);
        this.keep(n.out);
        return true;
      case 'pstore':
        f.get(this.hostOf(n.p));
        this.val(n.v).mem(storeOp(n.v.t, n.bytes), n.at);
        return true;
      case 'commit':
        this.commit(n.p);
        return true;
      case 'atomic':
      case 'cmpxchg':
        this.locked(n);
        return true;
      case 'flags':
        this.flags(n);
        return true;
      case 'flagword': {
        if (this.uses[n.out.id] === 0) return true;
        const k = this.known.get(n.w);
        if (k !== undefined) f.get(k);
        else f.get(CPU).mem('i64.load', CpuState.off[`f${n.w}`]);
        this.keep(n.out);
        return true;
      }
      case 'cond':
        if (this.uses[n.out.id] === 0) return true;
        this.val(n.word);
        this.keep(n.out);
        return true;
      case 'call': {
        f.get(CPU);
        for (const a of n.args) this.val(a);
        f.call(
          this.rt.helper(
            n.name,
            n.args.map((a) => a.t),
            n.out?.t,
          ),
        );
        if (n.out) this.keep(n.out);
        // A helper may change anything, flags included.
        this.known.clear();
        return true;
      }
      case 'raise':
        this.args()
          .i32(n.vector)
          .i32(n.error ? 1 : 0);
        if (n.error) this.val(n.error);
        else f.i32(0);
        f.returnCall(this.rt.raise);
        return false;
      case 'exit':
        this.args().i32(n.reason);
        if (n.vector) this.val(n.vector);
        else f.i32(0);
        if (n.error) this.val(n.error);
        else f.i32(0);
        f.i32(n.next ? 1 : 0).returnCall(this.rt.exit);
        return false;
      case 'faulted':
        this.args().returnCall(this.rt.fault);
        return false;
      case 'jump': {
        f.get(CPU);
        this.left();
        this.val(n.target);
        if (!this.o.long) f.i64(0xffffffffn).op('i64.and');
        f.returnCall(this.rt.go);
        return false;
      }
      case 'branch':
        this.branch();
        return false;
      case 'again':
        this.args().returnCall(this.rt.again);
        return false;
      case 'nextrip':
        if (this.uses[n.out.id] === 0) return true;
        f.get(CPU).mem('i64.load', CpuState.off.page);
        this.field('next', 'i64.load16_u').op('i64.add');
        if (!this.o.long) f.i64(0xffffffffn).op('i64.and');
        this.keep(n.out);
        return true;
      case 'length':
        if (this.uses[n.out.id] === 0) return true;
        this.field('len', 'i32.load8_u');
        this.keep(n.out);
        return true;
      case 'target':
        if (this.uses[n.out.id] === 0) return true;
        f.get(CPU).mem('i64.load', CpuState.off.page);
        f.get(REC)
          .mem('i64.load32_s', this.rec0 + Record32.off.imm + 4)
          .op('i64.add');
        if (!this.o.long) f.i64(0xffffffffn).op('i64.and');
        this.keep(n.out);
        return true;
      case 'resync':
        // A trap flag that has just been set: `run` single-steps from here on.
        f.get(CPU).mem('i32.load', CpuState.off.rflags).i32(RFLAGS.TF).op('i32.and').if();
        f.get(CPU);
        this.left();
        f.get(CPU).mem('i64.load', CpuState.off.rip).returnCall(this.rt.preempt);
        f.end();
        f.get(CPU);
        this.left();
        f.get(CPU).mem('i64.load', CpuState.off.rip).returnCall(this.rt.go);
        return false;
    }
  }

  /** Fuel left after this instruction: fuel - (rec + 32). */
  private left(): Func {
    return this.f
      .get(FUEL)
      .get(REC)
      .i32(this.rec0 + Record32.size)
      .op('i32.add')
      .op('i32.sub');
  }

  /** Taken direct branch: linked → tail-call the target's handler. */
  private branch(): void {
    const f = this.f;
    const t = f.local('i32');
    const left = f.local('i32');
    f.get(REC)
      .mem('i32.load', this.rec0 + Record32.off.imm)
      .tee(t)
      .op('i32.eqz');
    this.left().tee(left).i32(0).op('i32.le_s').op('i32.or');
    f.get(CPU).mem('i32.load', CpuState.off.pending).op('i32.or').if();
    this.args().returnCall(this.rt.branchSlow);
    f.end();
    f.get(t).get(CPU).get(left).get(t).op('i32.add').get(t).mem('i32.load');
    f.returnCallIndirect(this.rt.handlerType);
  }

  private commit(p: Probe): void {
    if (this.o.slow !== undefined) return;
    const f = this.f;
    f.get(this.hostOf(p)).get(CPU).i32(CpuState.off.bounce).op('i32.add').op('i32.eq').if();
    f.get(CPU).call(this.rt.commit).end();
  }

  private flags(n: Node & { k: 'flags' }): void {
    const f = this.f;
    const words = (['z', 's', 'c', 'x'] as const).filter((w) => n[w]);
    // All values first: a word's new value may be made from old words.
    const locals = words.map((w) => this.localOf(n[w]!));
    for (const [i, w] of words.entries()) {
      f.get(CPU).get(locals[i]).mem('i64.store', CpuState.off[`f${w}`]);
      this.known.set(w, locals[i]);
    }
  }

  /**
   * Locked read-modify-write: an atomic when the address is aligned, else (slow twin only) the plain sequence while no
   * other pCPU executes guest code. What crosses a page is in the (aligned) bounce buffer then.
   */
  private locked(n: Node & { k: 'atomic' | 'cmpxchg' }): void {
    const f = this.f;
    const host = this.hostOf(n.p);
    const { bytes } = n;
    const t = bytes === 8 ? 'i64' : 'i32';
    const old = f.local(t);
    const atomic = () => {
      const width = bytes === 1 ? '8' : bytes === 2 ? '16' : '';
      const op = n.k === 'atomic' ? n.op : 'cmpxchg';
      f.get(host);
      if (n.k === 'cmpxchg') this.narrow(n.expected, bytes);
      this.narrow(n.v, bytes);
      f.mem(`${t}.atomic.rmw${width}.${op}${width ? '_u' : ''}`, 0, Math.log2(bytes)).set(old);
    };
    if (bytes === 1) {
      atomic();
    } else {
      f.get(host)
        .i32(bytes - 1)
        .op('i32.and')
        .op('i32.eqz');
      if (this.o.slow === undefined)
        f.get(host).get(CPU).i32(CpuState.off.bounce).op('i32.add').op('i32.ne').op('i32.and');
      f.if();
      atomic();
      f.else();
      if (this.o.slow !== undefined) {
        this.args().returnCall(this.o.slow);
      } else {
        f.get(CPU).get(host).call(this.rt.exclusiveBegin).op('i32.eqz').if();
        this.args().returnCall(this.rt.fault).end();
        f.get(host)
          .mem(loadOp(t, bytes, false))
          .set(old);
        if (n.k === 'cmpxchg') {
          f.get(old);
          this.narrow(n.expected, bytes);
          f.op(`${t}.eq`).if();
          f.get(host);
          this.val(n.v).mem(storeOp(n.v.t, bytes));
          f.end();
        } else {
          f.get(host);
          if (n.op === 'xchg') this.val(n.v);
          else {
            f.get(old);
            this.val(n.v).op(`${t}.${n.op}`);
          }
          f.mem(storeOp(t, bytes));
        }
        this.commit(n.p);
        f.get(CPU).call(this.rt.exclusiveEnd);
      }
      f.end();
    }
    if (this.uses[n.out.id]) this.place[n.out.id] = old;
  }
  /** Push v cut to `bytes` (narrow atomics compare and store whole wasm values). */
  private narrow(v: Val, bytes: number): void {
    this.val(v);
    if (bytes === 1) this.f.i32(0xff).op('i32.and');
    else if (bytes === 2) this.f.i32(0xffff).op('i32.and');
  }
}
