/**
 * Translator back end, first stage: a straight run of decoded instructions → one wasm function, made from the same
 * descriptions as the interpreter's handlers. Operands are constants here and the sixteen general registers and the lazy
 * flag words are wasm locals: loaded on entry, those that changed written back at exits, so flags that are overwritten
 * cost nothing.
 *
 *   block(cpu: i32) → i32      0: went through; CpuState.rip is where to go on
 *                              1: side exit: the instruction at CpuState.rip is to be interpreted (TLB miss, exception,
 *                                 helper call, anything rare); nothing of it has been done
 *
 * CpuState.icount counts the instructions done. No guest address is in the code but page-relative offsets: rip-relative
 * operands and branch targets are computed from CpuState.page.
 */
import type { Decoded } from '../decode/decode.ts';
import type { Form } from '../semantics/builder.ts';
import type { Code, Probe, Val } from '../semantics/ir.ts';
import type { Encoding } from '../semantics/table.ts';
import { CpuState, TLB_ENTRIES, TlbEntry } from '../state.ts';
import { IrEmitter, type Leaf, loadOp, storeOp } from '../wasm/ir-emitter.ts';
import { type Func, Module } from '../wasm/module.ts';

const { off } = CpuState;
const CPU = 0;
type FlagWord = 'z' | 's' | 'c' | 'x';
const FLAG_WORDS: readonly FlagWord[] = ['z', 's', 'c', 'x'];

/** One instruction of a block. */
export interface BlockInstruction {
  readonly encoding: Encoding;
  readonly form: Form;
  readonly code: Code;
  readonly d: Decoded;
  /** Offset of the next instruction in the page. */
  readonly next: number;
}

/** Raised when a description needs what blocks do not do: the caller ends the block before this instruction. */
export class NotTranslatable extends Error {}

class BlockEmitter extends IrEmitter {
  /** Locals of general registers (i64) and flag words; -1 until used. */
  private readonly gprs = Array<number>(16).fill(-1);
  private readonly dirty = new Set<number>();
  private readonly flagLocals = { z: -1, s: -1, c: -1, x: -1 };
  private readonly flagDirty = new Set<FlagWord>();
  private at!: BlockInstruction;
  private done = 0;

  constructor(f: Func) {
    super(f);
    for (let n = 0; n < 16; n++) {
      this.gprs[n] = f.local('i64');
      f.get(CPU)
        .mem('i64.load', off.gpr + n * 8)
        .set(this.gprs[n]);
    }
    for (const w of FLAG_WORDS) {
      this.flagLocals[w] = f.local('i64');
      f.get(CPU).mem('i64.load', off[`f${w}`]).set(this.flagLocals[w]);
    }
  }

  instruction(i: BlockInstruction): boolean {
    this.at = i;
    const fell = this.body(i.code);
    this.done++;
    return fell;
  }

  /** Write back what changed; set rip to page + offset; count. */
  leave(status: 0 | 1, rip?: () => void, count = this.done): void {
    const f = this.f;
    for (const n of this.dirty) {
      f.get(CPU)
        .get(this.gprs[n])
        .mem('i64.store', off.gpr + n * 8);
    }
    for (const w of this.flagDirty) {
      f.get(CPU).get(this.flagLocals[w]).mem('i64.store', off[`f${w}`]);
    }
    f.get(CPU);
    if (rip) rip();
    else f.get(CPU).mem('i64.load', off.page).i64(BigInt(this.at.next)).op('i64.add');
    f.mem('i64.store', off.rip);
    f.get(CPU).get(CPU).mem('i64.load', off.icount).i64(BigInt(count)).op('i64.add').mem('i64.store', off.icount);
    f.i32(status).op('return');
  }

  /** Let the interpreter do this instruction. */
  private bail(): void {
    this.leave(1, () => {
      this.f
        .get(CPU)
        .mem('i64.load', off.page)
        .i64(BigInt(this.at.next - this.at.d.length))
        .op('i64.add');
    });
  }

  private readGpr(n: number, byte: number, bytes: number): void {
    const f = this.f.get(this.gprs[n]);
    if (byte) f.i64(BigInt(byte * 8)).op('i64.shr_u');
    if (bytes === 8) return;
    f.op('i32.wrap_i64');
    if (bytes === 1) f.i32(0xff).op('i32.and');
    else if (bytes === 2) f.i32(0xffff).op('i32.and');
  }
  private writeGpr(n: number, byte: number, bytes: number, v: Val): void {
    const f = this.f;
    this.dirty.add(n);
    if (bytes === 8) {
      this.val(v).set(this.gprs[n]);
      return;
    }
    const widen = () => {
      this.val(v);
      if (v.t === 'i32') f.op('i64.extend_i32_u');
    };
    if (bytes === 4) {
      widen();
      f.i64(0xffffffffn).op('i64.and').set(this.gprs[n]);
      return;
    }
    const mask = (bytes === 1 ? 0xffn : 0xffffn) << BigInt(byte * 8);
    f.get(this.gprs[n]).i64(~mask).op('i64.and');
    widen();
    if (byte) f.i64(BigInt(byte * 8)).op('i64.shl');
    f.i64(mask).op('i64.and').op('i64.or').set(this.gprs[n]);
  }
  private operandGpr(i: number): [number, number] {
    const n = this.at.d.regs[i];
    if (this.at.form.operands[i].kind !== 'gpr') throw new NotTranslatable('operand is no general register');
    return n & 0x100 ? [n & 3, 1] : [n, 0];
  }

  private ea(noseg: boolean): void {
    const f = this.f;
    const { d } = this.at;
    if (d.addr32 || this.at.encoding.operands.some((o) => 'OXY'.includes(o.code))) {
      throw new NotTranslatable('address form');
    }
    if (d.base === 16) {
      f.get(CPU)
        .mem('i64.load', off.page)
        .i64(BigInt(this.at.next + d.disp));
      f.op('i64.add');
    } else {
      f.i64(BigInt(d.disp));
      if (d.base >= 0) f.get(this.gprs[d.base]).op('i64.add');
    }
    if (d.index >= 0) {
      f.get(this.gprs[d.index]).i64(BigInt(d.scale)).op('i64.shl').op('i64.add');
    }
    if (d.seg >= 0 && !noseg) {
      f.get(CPU)
        .mem('i64.load', off.segbase + d.seg * 8)
        .op('i64.add');
    }
  }

  /** Inline TLB probe; a miss is a side exit. */
  private host(addr: Val, bytes: number, write: boolean, align: boolean): number {
    const f = this.f;
    const a = this.localOf(addr);
    const e = f.local('i32');
    const host = f.local('i32');
    if (align) {
      f.get(a)
        .i64(BigInt(bytes - 1))
        .op('i64.and')
        .i64(0n)
        .op('i64.ne')
        .if();
      this.bail();
      f.end();
    }
    f.get(CPU).mem('i32.load', off.tlb);
    f.get(a)
      .i64(BigInt(12 - Math.log2(TlbEntry.size)))
      .op('i64.shr_u')
      .op('i32.wrap_i64');
    f.i32((TLB_ENTRIES - 1) * TlbEntry.size)
      .op('i32.and')
      .op('i32.add')
      .tee(e);
    f.mem('i64.load', write ? TlbEntry.off.wtag : TlbEntry.off.rtag);
    f.get(a);
    if (bytes > 1) f.i64(BigInt(bytes - 1)).op('i64.add');
    f.i64(-4096n).op('i64.and').op('i64.ne').if();
    this.bail();
    f.end();
    f.get(a).op('i32.wrap_i64').get(e).mem('i32.load', TlbEntry.off.addend).op('i32.add').set(host);
    return host;
  }
  private probeHost(p: Probe): number {
    return this.hostOf(p);
  }

  protected leaf(n: Leaf): boolean {
    const f = this.f;
    switch (n.k) {
      case 'regop': {
        if (this.unused(n.out)) return true;
        const [r, byte] = this.operandGpr(n.i);
        this.readGpr(r, byte, n.bytes);
        this.keep(n.out);
        return true;
      }
      case 'setregop': {
        const [r, byte] = this.operandGpr(n.i);
        this.writeGpr(r, byte, n.bytes, n.v);
        return true;
      }
      case 'immop':
        if (this.unused(n.out)) return true;
        if (n.t === 'i64') f.i64(this.at.d.imm);
        else f.i32(Number(BigInt.asIntN(32, this.at.d.imm)));
        this.keep(n.out);
        return true;
      case 'ea':
        if (this.unused(n.out)) return true;
        this.ea(n.noseg);
        this.keep(n.out);
        return true;
      case 'get': {
        if (this.unused(n.out)) return true;
        if (n.off < off.gpr + 128) this.readGpr(n.off >> 3, n.off & 7, n.bytes);
        else f.get(CPU).mem(loadOp(n.t, n.bytes, n.signed), n.off);
        this.keep(n.out);
        return true;
      }
      case 'set':
        if (n.off < off.gpr + 128) {
          this.writeGpr(n.off >> 3, n.off & 7, n.bytes, n.v);
        } else {
          f.get(CPU);
          this.val(n.v).mem(storeOp(n.v.t, n.bytes), n.off);
        }
        return true;
      case 'load': {
        const h = this.host(n.addr, n.bytes, false, n.align);
        f.get(h).mem(loadOp(n.t, n.bytes, n.signed));
        this.keep(n.out);
        return true;
      }
      case 'probe':
        this.probes.set(n.p.id, this.host(n.p.addr, n.p.bytes, true, n.align));
        return true;
      case 'pload':
        f.get(this.probeHost(n.p)).mem(loadOp(n.t, n.bytes, n.signed), n.at);
        this.keep(n.out);
        return true;
      case 'pstore':
        f.get(this.probeHost(n.p));
        this.val(n.v).mem(storeOp(n.v.t, n.bytes), n.at);
        return true;
      case 'commit':
        return true;
      case 'flags': {
        const words = FLAG_WORDS.filter((w) => n[w]);
        // All values first: a word's new value may be made from old words.
        const locals = words.map((w) => this.localOf(n[w]!));
        for (const [i, w] of words.entries()) {
          f.get(locals[i]).set(this.flagLocals[w]);
          this.flagDirty.add(w);
        }
        return true;
      }
      case 'flagword': {
        if (this.unused(n.out)) return true;
        f.get(this.flagLocals[n.w]);
        this.keep(n.out);
        return true;
      }
      case 'branch':
        this.done++;
        this.leave(0, () => {
          f.get(CPU)
            .mem('i64.load', off.page)
            .i64(BigInt(this.at.next + this.at.d.rel))
            .op('i64.add');
        });
        this.done--;
        return false;
      case 'nextrip':
        if (this.unused(n.out)) return true;
        f.get(CPU).mem('i64.load', off.page).i64(BigInt(this.at.next)).op('i64.add');
        this.keep(n.out);
        return true;
      case 'jump': {
        const t = this.localOf(n.target);
        this.done++;
        this.leave(0, () => f.get(t));
        this.done--;
        return false;
      }
      case 'raise':
      case 'faulted':
      case 'exit':
        // Nothing has been changed yet: the interpreter does it again, and then for real.
        this.bail();
        return false;
      default:
        throw new NotTranslatable(`${n.k} is left to the interpreter`);
    }
  }
}

/** A module with one export `block`, for the given run of instructions (64-bit mode). */
export function translateBlock(run: readonly BlockInstruction[]): Uint8Array<ArrayBuffer> {
  const m = new Module();
  m.memory = { min: 16, max: 65536, shared: true };
  const { index, func } = m.declare(['i32'], ['i32']);
  const e = new BlockEmitter(func);
  let fell = true;
  for (const i of run) {
    fell = e.instruction(i);
    if (!fell) break;
  }
  if (fell) e.leave(0);
  func.op('unreachable');
  m.define(index, func.encode());
  m.export('block', index);
  return m.encode();
}
