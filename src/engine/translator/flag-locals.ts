/**
 * The lazy flags of a region under construction: four locals for the words, three for operands and result, one for that of a
 * step, and two for the kind (flag-steps.ts). The kinds possible at the point of emission are known.
 */

import { FLAG_KIND } from '../flags.ts';
import type { FlagRecipe } from '../semantics/ir.ts';
import { CpuState } from '../state.ts';
import { baseOf, FROM, isDirect, kindOf, MEM, readsCarry, sourcesOf, stepOf, stepped, WORDS } from './flag-steps.ts';
import type { RegionFunc } from './region-func.ts';

const { off } = CpuState;
const CPU = 1;
export type Word = 'z' | 's' | 'c' | 'x';
export const FLAG_WORDS: readonly Word[] = ['z', 's', 'c', 'x'];

/** How a value is pushed. */
type Push = () => void;

export class FlagLocals {
  kinds: ReadonlySet<number> = new Set([MEM]);
  private readonly f: RegionFunc;
  /** What CF follows from, and the step: together they are the kind. */
  private readonly base: number;
  private readonly step: number;
  private readonly a: number;
  private readonly b: number;
  private readonly r: number;
  /** Result of the step. */
  private readonly stepR: number;
  private readonly words: Readonly<Record<Word, number>>;
  /** Function index of the runtime's flags_words. */
  private readonly flagsWords: number;

  constructor(f: RegionFunc, flagsWords: number) {
    this.f = f;
    this.flagsWords = flagsWords;
    [this.base, this.step] = [f.register('i32'), f.register('i32')];
    [this.a, this.b, this.r, this.stepR] = [f.register('i64'), f.register('i64'), f.register('i64'), f.register('i64')];
    this.words = { z: f.register('i64'), s: f.register('i64'), c: f.register('i64'), x: f.register('i64') };
  }

  /** One kind without a step. */
  private setKind(k: number): void {
    this.f.i32(k).set(this.base);
    if (sourcesOf(this.kinds) & FROM.STEP) this.f.i32(0).set(this.step);
    this.kinds = new Set([k]);
  }

  /** The flags follow from a recipe. Operands are pushed as i64; `c` for kinds whose word c is given. */
  set(recipe: FlagRecipe, push: { r: Push; a?: Push; b?: Push; c?: Push }): void {
    const f = this.f;
    const kind = kindOf(recipe);
    if (stepOf(kind)) {
      push.r();
      f.set(this.stepR).i32(kind).set(this.step);
      this.kinds = stepped(this.kinds, kind);
      return;
    }
    if (push.c) {
      push.c();
      f.set(this.words.c);
    }
    if (push.a && recipe.op !== 'add') {
      push.a();
      f.set(this.a);
    }
    if (push.b) {
      push.b();
      f.set(this.b);
    }
    if (recipe.op !== 'sub') {
      push.r();
      f.set(this.r);
    }
    this.setKind(kind);
  }

  /** All flags are in the locals from here on; the given words are set, their values pushed. */
  setWords(given: Partial<Record<Word, Push>>): void {
    const missing = FLAG_WORDS.filter((w) => !given[w]);
    this.toWords(missing);
    for (const w of FLAG_WORDS) {
      const push = given[w];
      if (!push) continue;
      push();
      this.f.set(this.words[w]);
    }
    this.setKind(WORDS);
  }

  /** Make the locals of the words hold the flags. */
  toWords(wanted: readonly Word[] = FLAG_WORDS): void {
    this.each(
      (k) => {
        if (k === WORDS) return;
        // All are computed before one is set.
        for (const w of wanted) this.pushWord(k, w);
        for (const w of wanted.toReversed()) this.f.set(this.words[w]);
      },
      new Set([WORDS]),
    );
    this.setKind(WORDS);
  }

  /** Emit for the kind that it is; nothing needs to be done for those of `skip`. */
  private each(emit: (kind: number) => void, skip: ReadonlySet<number>): void {
    const f = this.f;
    const kinds = [...this.kinds].filter((k) => !skip.has(k));
    if (this.kinds.size === 1) {
      for (const k of kinds) emit(k);
      return;
    }
    const sources = sourcesOf(this.kinds);
    const chain = (i: number): void => {
      if (i === kinds.length) return;
      this.pushKind(sources).i32(kinds[i]).op('i32.eq').if();
      emit(kinds[i]);
      f.else();
      chain(i + 1);
      f.end();
    };
    chain(0);
  }

  /** Push the kind (i32), one of those that follow from `sources` (FROM). */
  private pushKind(sources: number): RegionFunc {
    this.f.get(this.base);
    return sources & FROM.STEP ? this.f.get(this.step).op('i32.or') : this.f;
  }

  /** Push a word (i64). If it follows in several ways, the locals of words are filled first. */
  word(w: Word): void {
    if (!isDirect(this.kinds, w === 'c')) this.toWords();
    this.pushWord([...this.kinds][0], w);
  }

  private pushWord(kind: number, w: Word): void {
    const f = this.f;
    const step = stepOf(kind);
    if (step) {
      this.steppedWord(kind, step >> 2, 1 << (step & 3), w);
      return;
    }
    if (kind === MEM) {
      f.get(CPU).mem('i64.load', off[`f${w}`]);
      return;
    }
    if (kind === WORDS) {
      f.get(this.words[w]);
      return;
    }
    const op = kind >> 2;
    const bytes = 1 << (kind & 3);
    const arithmetic = op <= FLAG_KIND.SBB;
    if (w === 'x' && arithmetic) this.pushA(op).get(this.b).op('i64.xor');
    else if (w === 'c') this.pushCarry(op, bytes);
    else this.result(op, bytes);
  }
  private steppedWord(kind: number, op: number, bytes: number, w: Word): void {
    const f = this.f;
    if (w === 'c') {
      this.pushWord(baseOf(kind), 'c');
      f.i64(63n).op('i64.shr_s');
      this.overflowedStep(op, bytes);
      f.op('i64.extend_i32_u').i64(62n).op('i64.shl').op('i64.xor');
    } else if (w === 'x')
      f.get(this.stepR)
        .i64(op === FLAG_KIND.INC ? -1n : 1n)
        .op('i64.add');
    else this.result(op, bytes);
  }

  /** Of a sum the first operand follows from the result, of a difference the result from the operands: fewer values to keep. */
  private pushA(op: number): RegionFunc {
    if (op !== FLAG_KIND.ADD) return this.f.get(this.a);
    this.f.get(this.r).get(this.b).op('i64.sub');
    return this.f;
  }
  private pushR(op: number): RegionFunc {
    if (op === FLAG_KIND.INC || op === FLAG_KIND.DEC) return this.f.get(this.stepR);
    if (op !== FLAG_KIND.SUB) return this.f.get(this.r);
    this.f.get(this.a).get(this.b).op('i64.sub');
    return this.f;
  }

  /** The result, sign-extended. */
  private result(op: number, bytes: number): void {
    this.pushR(op);
    if (bytes < 8) this.f.op(`i64.extend${bytes * 8}_s`);
  }

  private pushCarry(op: number, bytes: number): void {
    const f = this.f;
    switch (op) {
      case FLAG_KIND.ADD:
      case FLAG_KIND.ADC:
        this.pushA(op).get(this.b).op('i64.and');
        this.pushA(op).get(this.b).op('i64.or').get(this.r).i64(-1n).op('i64.xor').op('i64.and').op('i64.or');
        break;
      case FLAG_KIND.SUB:
      case FLAG_KIND.SBB:
        f.get(this.a).i64(-1n).op('i64.xor').get(this.b).op('i64.and');
        f.get(this.a).i64(-1n).op('i64.xor').get(this.b).op('i64.or');
        this.pushR(op).op('i64.and').op('i64.or');
        break;
      case FLAG_KIND.SHL:
        this.shiftedBefore(op, bytes);
        break;
      case FLAG_KIND.SHR:
        this.shiftedBefore(op, bytes).i64(63n).op('i64.shl').i64(1n).op('i64.shr_s');
        this.shiftedBefore(op, bytes)
          .i64(BigInt(bytes * 8 - 1))
          .op('i64.shr_u')
          .i64(62n)
          .op('i64.shl')
          .op('i64.xor');
        return;
      case FLAG_KIND.SAR:
        this.shiftedBefore(op, bytes).i64(63n).op('i64.shl').i64(1n).op('i64.shr_s');
        return;
      case FLAG_KIND.LOGIC:
        f.i64(0n);
        return;
      default:
        f.get(this.words.c);
        return;
    }
    if (bytes < 8) f.i64(BigInt(64 - bytes * 8)).op('i64.shl');
  }

  /** A shift's operand one step before the last. */
  private shiftedBefore(op: number, bytes: number): RegionFunc {
    const f = this.f.get(this.a);
    if (op === FLAG_KIND.SAR && bytes < 8) f.op(`i64.extend${bytes * 8}_s`);
    f.get(this.b).i64(1n).op('i64.sub');
    f.op(op === FLAG_KIND.SHL ? 'i64.shl' : op === FLAG_KIND.SHR ? 'i64.shr_u' : 'i64.shr_s');
    return f;
  }

  /** Did inc or dec overflow (i32)? */
  private overflowedStep(op: number, bytes: number): void {
    const min = -(1n << BigInt(bytes * 8 - 1));
    this.result(op, bytes);
    this.f.i64(op === FLAG_KIND.INC ? min : ~min).op('i64.eq');
  }

  // ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────
  /** Push condition code cc (i32, 0 or 1). */
  condition(cc: number): void {
    if (!isDirect(this.kinds, readsCarry(cc))) this.toWords();
    const [kind] = this.kinds;
    const result = stepOf(kind) || kind;
    const op = result >> 2;
    const bytes = 1 << (result & 3);
    const not = (cc & 1) === 1;
    const which = cc >> 1;
    if (kind > WORDS) {
      if (op === FLAG_KIND.SUB && this.compared(which, not, bytes)) return;
      if (op !== FLAG_KIND.SUB && this.ofResult(op, which, not, bytes)) return;
      if (which === 2) {
        this.zero(op, bytes, not);
        return;
      }
      if (which === 4) {
        this.negative(op, bytes, not);
        return;
      }
    }
    this.fromWords(kind, which, not);
  }

  /** An operand in the type in which it is compared. */
  private operand(l: number, bytes: number, signed: boolean): void {
    this.f.get(l);
    this.part(bytes, signed);
  }
  private resultPart(op: number, bytes: number, signed: boolean): void {
    this.pushR(op);
    this.part(bytes, signed);
  }
  /** So many bytes of the i64 on the stack. */
  private part(bytes: number, signed: boolean): void {
    const { f } = this;
    if (bytes === 8) return;
    f.op('i32.wrap_i64');
    if (bytes === 4) return;
    if (signed) f.op(`i32.extend${bytes * 8}_s`);
    else f.i32(bytes === 1 ? 0xff : 0xffff).op('i32.and');
  }
  /** b be e l le after a comparison are comparisons. */
  private compared(which: number, not: boolean, bytes: number): boolean {
    const name = [undefined, 'lt_u', 'eq', 'le_u', undefined, undefined, 'lt_s', 'le_s'][which];
    if (!name) return false;
    const inverse: Record<string, string> = { lt_u: 'ge_u', eq: 'ne', le_u: 'gt_u', lt_s: 'ge_s', le_s: 'gt_s' };
    const signed = which >= 6;
    this.operand(this.a, bytes, signed);
    this.operand(this.b, bytes, signed);
    this.f.op(`${bytes === 8 ? 'i64' : 'i32'}.${not ? inverse[name] : name}`);
    return true;
  }
  /** Conditions that follow from the result alone, or from a known carry. */
  private ofResult(op: number, which: number, not: boolean, bytes: number): boolean {
    const f = this.f;
    if (op === FLAG_KIND.LOGIC) {
      // CF = OF = 0.
      if (which === 0 || which === 1) f.i32(not ? 1 : 0);
      else if (which === 3) this.zero(op, bytes, not);
      else if (which === 6) this.negative(op, bytes, not);
      else if (which === 7) {
        this.operand(this.r, bytes, true);
        if (bytes === 8) f.i64(0n);
        else f.i32(0);
        f.op(`${bytes === 8 ? 'i64' : 'i32'}.${not ? 'gt_s' : 'le_s'}`);
      } else return false;
      return true;
    }
    if (op === FLAG_KIND.ADD && which === 1) {
      this.operand(this.r, bytes, false);
      this.operand(this.b, bytes, false);
      f.op(`${bytes === 8 ? 'i64' : 'i32'}.${not ? 'ge_u' : 'lt_u'}`);
      return true;
    }
    if ((op === FLAG_KIND.INC || op === FLAG_KIND.DEC) && (which === 0 || which >= 6)) {
      this.overflowedStep(op, bytes);
      if (which >= 6) {
        this.negative(op, bytes, false);
        f.op('i32.xor');
      }
      if (which === 7) {
        this.zero(op, bytes, false);
        f.op('i32.or');
      }
      if (not) f.op('i32.eqz');
      return true;
    }
    return false;
  }
  private zero(op: number, bytes: number, not: boolean): void {
    const t = bytes === 8 ? 'i64' : 'i32';
    this.resultPart(op, bytes, false);
    this.f.op(`${t}.eqz`);
    if (not) this.f.op('i32.eqz');
  }
  private negative(op: number, bytes: number, not: boolean): void {
    this.resultPart(op, bytes, true);
    if (bytes === 8) this.f.i64(0n);
    else this.f.i32(0);
    this.f.op(`${bytes === 8 ? 'i64' : 'i32'}.${not ? 'ge_s' : 'lt_s'}`);
  }

  /** From the words, as src/engine/flags.ts says. */
  private fromWords(kind: number, which: number, not: boolean): void {
    const f = this.f;
    const c = () => this.pushWord(kind, 'c');
    const s = () => this.pushWord(kind, 's');
    const z = () => this.pushWord(kind, 'z');
    const overflow = () => {
      const l = f.local('i64');
      c();
      f.tee(l).get(l).i64(1n).op('i64.shl').op('i64.xor');
    };
    const bit63 = () => f.i64(0n).op('i64.lt_s');
    switch (which) {
      case 0:
        overflow();
        bit63();
        break;
      case 1:
        c();
        bit63();
        break;
      case 2:
        z();
        f.op('i64.eqz');
        break;
      case 3:
        c();
        bit63();
        z();
        f.op('i64.eqz').op('i32.or');
        break;
      case 4:
        s();
        bit63();
        break;
      case 5:
        s();
        f.op('i32.wrap_i64').i32(0xff).op('i32.and').op('i32.popcnt').i32(1).op('i32.and').i32(1).op('i32.xor');
        break;
      default:
        s();
        overflow();
        f.op('i64.xor');
        bit63();
        if (which === 7) {
          z();
          f.op('i64.eqz').op('i32.or');
        }
    }
    if (not) f.op('i32.eqz');
  }

  // ── leaving ─────────────────────────────────────────────────────────────────────────────────────────────────
  /** The words in CpuState are the flags. */
  flush(): void {
    const [kind] = this.kinds;
    if (this.kinds.size > 1) this.storeAny(sourcesOf(this.kinds));
    else this.store(kind);
    this.setKind(MEM);
  }

  /** Store flags of one kind to CpuState. */
  store(kind: number): void {
    if (kind === MEM) return;
    for (const w of FLAG_WORDS) {
      this.f.get(CPU);
      this.pushWord(kind, w);
      this.f.mem('i64.store', off[`f${w}`]);
    }
  }

  /** The same for several kinds, which follow from `sources` (FROM), by the locals that say which it is. */
  storeAny(sources: number): void {
    const { f } = this;
    const open = f.level;
    if (sources & FROM.MEM) this.pushKind(sources).if();
    if (sources & FROM.WORDS) {
      this.pushKind(sources).i32(WORDS).op('i32.eq').if();
      this.store(WORDS);
      f.else();
    }
    if (sources & ~(FROM.MEM | FROM.WORDS)) {
      f.get(CPU);
      this.pushKind(sources);
      for (const [source, local] of [
        [FROM.A, this.a],
        [FROM.B, this.b],
        [FROM.R, this.r],
        [FROM.C | FROM.WORDS, this.words.c],
        [FROM.STEP, this.stepR],
      ]) {
        if (sources & source) f.get(local);
        else f.i64(0n);
      }
      f.call(this.flagsWords);
    }
    while (f.level > open) f.end();
  }
}
