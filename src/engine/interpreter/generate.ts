/**
 * Makes the interpreter: every form of every instruction becomes a wasm handler (emit.ts), in one module whose function
 * table is indexed by Record32.handler. Handlers with equal bodies share a slot. Also returns what the decoder needs:
 * which handler serves which form.
 */

import { RFLAGS } from '../flags.ts';
import { emitJumpEntry, emitPlace } from '../jump-cache.ts';
import { Builder } from '../semantics/builder.ts';
import { type FormOf, forms } from '../semantics/forms.ts';
import type { Code, Node, Type } from '../semantics/ir.ts';
import type { Encoding } from '../semantics/table.ts';
import {
  CpuState,
  EXIT,
  FAR,
  GAP_PERIOD,
  JumpEntry,
  NEAR,
  NEAR_BYTES,
  NON_CANONICAL,
  OFFSETS_BYTES,
  Record32,
  SCALE_STACK,
  SLICE,
  VEC,
  XtlbEntry,
} from '../state.ts';
import { emitTlbEntry } from '../tlb-entry.ts';
import { type Func, Module } from '../wasm/module.ts';
import {
  type AddressForm,
  type EmitOptions,
  hasAddress,
  InterpreterEmitter,
  type Runtime,
  touchesMemory,
} from './emit.ts';
import { MAX_FUSED } from './fused.ts';
import { SPECIAL, SPECIALS } from './special.ts';

/** Which handler serves a form: by address form (all equal when the form has no memory operand). */
export interface HandlerRow {
  readonly encoding: number;
  readonly key: number;
  readonly handlers: readonly [number, number, number];
  /** The instruction never falls through to the next one. */
  readonly ends: boolean;
}

export interface InterpreterTables {
  readonly rows: readonly HandlerRow[];
  /** "first,second,…" handlers → the handler that does them in one go. */
  readonly fused: Readonly<Record<string, number>>;
  /** Table slots from here on are superinstructions. */
  readonly firstFused: number;
}

/** Sequences of handlers worth a superinstruction, by name: chosen by what a boot runs (bench/sequences.ts). */
export interface FusionPlan {
  readonly sequences: readonly (readonly string[])[];
}

const RUNTIME_FIXED: Record<string, { args: Type[]; result?: Type }> = {
  probe_read: { args: ['i64', 'i32'], result: 'i32' },
  probe_write: { args: ['i64', 'i32'], result: 'i32' },
  commit: { args: [] },
  enter_guest: { args: [] },
  step_done: { args: ['i32', 'i32'], result: 'i32' },
  exclusive_begin: { args: ['i32'], result: 'i32' },
  exclusive_end: { args: [] },
  raise: { args: ['i32', 'i32', 'i32'] },
};

/** Record a form's description. */
export function describe(e: Encoding, f: FormOf): Code {
  const b = new Builder(f.form);
  try {
    e.insn.describe(b);
  } catch (err) {
    throw new Error(
      `${e.insn.name} "${e.text}" (opsize ${f.opsize}, ${f.memory ? 'memory' : 'register'}): ${(err as Error).message}`,
    );
  }
  return b.finish();
}

/** Does control never reach the end of the list? */
export function endsAlways(nodes: readonly Node[]): boolean {
  const n = nodes.at(-1);
  if (!n) return false;
  if (n.k === 'if') return n.else.length > 0 && endsAlways(n.then) && endsAlways(n.else);
  return ['raise', 'exit', 'faulted', 'jump', 'branch', 'again', 'resync'].includes(n.k);
}

/** Helpers that the descriptions call: name → signature. */
function collectHelpers(codes: Iterable<Code>): Map<string, { args: Type[]; result?: Type }> {
  const found = new Map(Object.entries(RUNTIME_FIXED));
  const walk = (nodes: readonly Node[]) => {
    for (const n of nodes) {
      if (n.k === 'if') {
        walk(n.then);
        walk(n.else);
      } else if (n.k === 'call') {
        const sig = { args: n.args.map((a) => a.t), result: n.out?.t };
        const was = found.get(n.name);
        if (was && (was.args.join() !== sig.args.join() || was.result !== sig.result)) {
          throw new Error(`helper ${n.name} called with (${sig.args})→${sig.result} and (${was.args})→${was.result}`);
        }
        found.set(n.name, sig);
      }
    }
  };
  for (const c of codes) walk(c.nodes);
  return found;
}

export function secondImmediate(f: FormOf): number | undefined {
  const imms = f.form.operands.flatMap((o, i) => (o.kind === 'imm' ? [i] : []));
  return imms[1];
}

export interface Interpreter {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** The same, and which functions V8 is to compile before they are called: all but what belongs to unusual handlers. */
  readonly hinted: Uint8Array<ArrayBuffer>;
  readonly tables: InterpreterTables;
  readonly helpers: readonly string[];
  readonly handlers: number;
  /** Name of each table slot that is an instruction's (for profiles). */
  readonly names: ReadonlyMap<number, string>;
}

/** `usual`: names of handlers that most guests use. `counts`: address of the execution counts (profiling build, see emit.ts). */
export function generateInterpreter(
  encodings: readonly Encoding[],
  plan: FusionPlan = { sequences: [] },
  usual: ReadonlySet<string> = new Set(),
  counts?: number,
): Interpreter {
  const all: { e: Encoding; index: number; f: FormOf; code: Code }[] = [];
  for (const [index, e] of encodings.entries()) {
    for (const f of forms(e)) all.push({ e, index, f, code: describe(e, f) });
  }
  const m = new Module();
  m.memory = { min: 16, max: 65536, shared: true };
  const H = ['i32', 'i32', 'i32'] as const;
  const handlerType = m.type(H, ['i32']);
  const helperIndex = new Map<string, number>();
  const sigs = collectHelpers(all.map((a) => a.code));
  for (const [name, s] of sigs) {
    helperIndex.set(name, m.import('runtime', name, ['i32', ...s.args], s.result ? [s.result] : []));
  }
  const translate = m.import('runtime', 'find_code', ['i32'], ['i32']);
  const step = m.import('decoder', 'step', ['i32'], ['i32']);
  const straddle = m.import('decoder', 'straddle', ['i32', 'i32'], ['i32']);
  const known = m.import('runtime', 'known_straddler', ['i32', 'i32'], ['i32']);
  const sample = m.import('decoder', 'sample', ['i32'], []);
  const gap = m.import('decoder', 'gap', ['i32'], []);
  const ownHandler = m.import('decoder', 'own_handler', ['i32'], ['i32']);
  const helper = (name: string) => {
    const i = helperIndex.get(name);
    if (i === undefined) throw new Error(`no helper ${name}`);
    return i;
  };
  const shared = {
    fault: m.declare(H, ['i32']),
    raise: m.declare([...H, 'i32', 'i32', 'i32'], ['i32']),
    go: m.declare(['i32', 'i32', 'i64'], ['i32']),
    goSlow: m.declare(['i32', 'i32', 'i64'], ['i32']),
    branchSlow: m.declare(H, ['i32']),
    exit: m.declare([...H, 'i32', 'i32', 'i32', 'i32'], ['i32']),
    again: m.declare(H, ['i32']),
    preempt: m.declare(['i32', 'i32', 'i64'], ['i32']),
    interpret: m.declare(['i32', 'i32', 'i64'], ['i32']),
    jump: m.declare(['i32', 'i32', 'i64'], ['i32']),
    run: m.declare(['i32'], ['i32']),
  };
  const rt: Runtime = {
    handlerType,
    helper,
    fault: shared.fault.index,
    raise: shared.raise.index,
    go: shared.go.index,
    branchSlow: shared.branchSlow.index,
    exit: shared.exit.index,
    again: shared.again.index,
    preempt: shared.preempt.index,
    probeRead: helper('probe_read'),
    probeWrite: helper('probe_write'),
    exclusiveBegin: helper('exclusive_begin'),
    exclusiveEnd: helper('exclusive_end'),
    commit: helper('commit'),
  };
  emitShared(m, shared, rt, translate, step, sample, gap);

  const table: number[] = [];
  for (let i = 0; i < SPECIALS; i++) table.push(-1);
  emitSpecials(m, table, rt, { known, straddle }, shared.goSlow.index);

  const byBody = new Map<string, number>();
  const slotOf = new Map<number, number>();
  const define = (emit: (f: Func) => void): number => {
    const f = m.newFunc(H, ['i32']);
    emit(f);
    const code = f.encode();
    const key = Buffer.from(code).toString('latin1');
    let index = byBody.get(key);
    if (index === undefined) {
      index = m.add(H, ['i32'], code);
      byBody.set(key, index);
    }
    return index;
  };
  const slot = (index: number): number => {
    let s = slotOf.get(index);
    if (s === undefined) {
      s = table.push(index) - 1;
      slotOf.set(index, s);
    }
    return s;
  };

  const rows: HandlerRow[] = [];
  const cold = new Set<number>();
  const hot = new Set<number>();
  const sources = new Map<number, { code: Code; o: EmitOptions; ends: boolean; name: string }>();
  for (const { e, index, f, code } of all) {
    const moffs = e.operands.some((o) => o.code === 'O');
    const base = { long: f.form.long, fpu: !!e.insn.fpu, secondImmediate: secondImmediate(f), moffs, counts };
    const memory = touchesMemory(code);
    const addressed = hasAddress(code);
    const make = (address: AddressForm): number => {
      const slow = memory
        ? define((fn) => new InterpreterEmitter(fn, rt, { ...base, address: address === 0 ? 1 : address }).emit(code))
        : undefined;
      const o: EmitOptions = { ...base, address, slow };
      const fast = define((fn) => new InterpreterEmitter(fn, rt, o).emit(code));
      const name = handlerName(e, f, address);
      for (const index of [fast, slow ?? fast]) (usual.has(name) ? hot : cold).add(index);
      const s = slot(fast);
      if (!sources.has(s)) sources.set(s, { code, o, ends: endsAlways(code.nodes), name });
      return s;
    };
    const handlers: [number, number, number] = addressed
      ? f.form.long
        ? [make(0), make(1), make(2)]
        : (Array(3).fill(make(2)) as [number, number, number])
      : (Array(3).fill(make(0)) as [number, number, number]);
    rows.push({ encoding: index, key: f.key, handlers, ends: endsAlways(code.nodes) });
  }

  const firstFused = table.length;
  const fused: Record<string, number> = {};
  const byName = new Map<string, number>();
  for (const [s, src] of sources) if (!byName.has(src.name)) byName.set(src.name, s);
  for (const names of plan.sequences) {
    const slots = names.map((n) => byName.get(n));
    if (slots.length > MAX_FUSED || slots.some((x) => x === undefined)) continue;
    const parts = slots.map((x) => sources.get(x!)!);
    if (parts.slice(0, -1).some((p) => p.ends)) continue;
    const index = define((fn) => {
      const emit = (i: number, known?: ReadonlyMap<string, number>): void => {
        const e = new InterpreterEmitter(fn, rt, { ...parts[i].o, recordOffset: i * Record32.size });
        if (known) e.giveKnown(known);
        e.emit(parts[i].code, i + 1 < parts.length ? () => emit(i + 1, e.takeKnown()) : undefined);
      };
      emit(0);
    });
    fused[slots.join()] = table.push(index) - 1;
  }

  emitJump(m, shared.jump, rt, { goOn: shared.goSlow.index, gap, firstTranslated: table.length });
  emitGoOn(m, shared.interpret, rt, translate, { of: ownHandler, firstTranslated: table.length });
  m.export('run', shared.run.index);
  // For translated code (translator/).
  m.export('go', shared.go.index);
  m.export('interpret', shared.interpret.index);
  m.export('jump', shared.jump.index);
  m.export('preempt', shared.preempt.index);
  m.setTable(table);
  m.exportTable = 'table';
  m.tableGrows = true;
  const wasm = m.encode();
  m.optimize = new Set(m.indices().filter((index) => hot.has(index) || !cold.has(index)));
  return {
    wasm,
    hinted: m.encode(),
    tables: { rows, fused, firstFused },
    helpers: [...sigs.keys()],
    handlers: table.length,
    names: new Map([...sources].map(([slot, src]) => [slot, src.name])),
  };
}

/** Stable name of a handler, for fusion plans and profiles: encoding, operand size, r/m kind, address form. */
export function handlerName(e: Encoding, f: FormOf, address: AddressForm): string {
  const rm = f.memory === null ? '' : f.memory ? ` m${address}` : ' r';
  return `${e.insn.name}${f.opsize * 8} ${e.text.split(';')[0].trim()}${rm}${f.lock ? ' lock' : ''}${f.rep ? ` ${f.rep}` : ''}${e.cc ? ` cc${f.cc}` : ''}${f.mode ? ' compat' : ''}`;
}

type Decl = ReturnType<Module['declare']>;

/** Linear address of the record's instruction, on the stack. */
function pushRip(f: Func): Func {
  f.get(1).mem('i64.load', CpuState.off.page).get(0).mem('i64.load16_u', Record32.off.next).op('i64.add');
  f.get(0).mem('i64.load8_u', Record32.off.len).op('i64.sub');
  return maskMode(f);
}

/** In compatibility mode instruction addresses wrap at 4 GiB: & (mode ? 2^32-1 : -1). */
function maskMode(f: Func): Func {
  f.i64(0xffffffffn).i64(-1n).get(1).mem('i32.load', CpuState.off.mode).op('select').op('i64.and');
  return f;
}

/**
 * goSlow(cpu, left, target): continue there without a poll. With `own`, translated code that stands at the target is passed
 * over: its record's own handler (decoder import) runs. Translated code has table slots from `firstTranslated` on.
 */
function emitGoOn(
  m: Module,
  s: Decl,
  rt: Runtime,
  translate: number,
  own?: { of: number; firstTranslated: number },
): void {
  const { off } = CpuState;
  const f = s.func;
  const rec = f.local('i32');
  const handler = f.local('i32');
  const dispatch = () => {
    f.get(rec).mem('i32.load').set(handler);
    if (own) {
      f.get(handler).i32(own.firstTranslated).op('i32.ge_u').if();
      f.get(rec).call(own.of).set(handler);
      f.end();
    }
    f.get(rec).get(0).get(1).get(rec).op('i32.add').get(handler).returnCallIndirect(rt.handlerType);
  };
  emitFindRecord(f, 0, 2, { e: f.local('i32'), n: f.local('i32'), rec }, () => {
    f.get(rec).if();
    f.get(0).get(2).i64(-4096n).op('i64.and').mem('i64.store', off.page);
    dispatch();
    f.end();
  });
  // Not decoded, or not in the TLB.
  f.get(0).get(2).mem('i64.store', off.rip);
  f.get(0).get(1).mem('i32.store', off.fuel);
  f.get(0).call(translate).tee(rec).op('i32.eqz').if();
  f.get(0).i32(0).mem('i32.store', off.exit_len);
  f.get(0).mem('i32.load', off.exit_reason).op('return').end();
  dispatch();
  m.define(s.index, f.encode());
}

/** Count one, and now and then tell the translator that guest code goes on at CpuState.rip, after `store` if it is not there yet. */
function countGap(f: Func, tell: number, store = () => {}): void {
  const { off } = CpuState;
  const n = f.local('i32');
  f.get(0).get(0).mem('i32.load', off.gap).i32(1).op('i32.sub').tee(n).mem('i32.store', off.gap);
  f.get(n).i32(0).op('i32.le_s').if();
  f.get(0).i32(GAP_PERIOD).mem('i32.store', off.gap);
  store();
  f.get(0).call(tell);
  f.end();
}

/**
 * jump(cpu, left, target): goSlow for translated code that has not found the target in the jump cache. A translation there is put
 * into it; of targets that are not translated the translator is told, now and then.
 */
function emitJump(
  m: Module,
  s: Decl,
  rt: Runtime,
  o: { readonly goOn: number; readonly gap: number; readonly firstTranslated: number },
): void {
  const { off } = CpuState;
  const f = s.func;
  const e = f.local('i32');
  const rec = f.local('i32');
  const handler = f.local('i32');
  emitFindRecord(f, 0, 2, { e, n: f.local('i32'), rec }, () => {
    f.get(rec).if();
    f.get(0).get(2).i64(-4096n).op('i64.and').mem('i64.store', off.page);
    f.get(rec).mem('i32.load').tee(handler).i32(o.firstTranslated).op('i32.ge_u').if();
    emitJumpEntry(f, 0, 2);
    f.tee(e);
    emitPlace(f, 2);
    f.mem('i32.store', JumpEntry.off.place);
    f.get(e).get(handler).mem('i32.store', JumpEntry.off.handler);
    f.get(e).get(2).mem('i64.store', JumpEntry.off.target);
    f.else();
    countGap(f, o.gap, () => f.get(0).get(2).mem('i64.store', off.rip));
    // By now it may be translated.
    f.get(rec).mem('i32.load').set(handler);
    f.end();
    f.get(rec).get(0).get(1).get(rec).op('i32.add').get(handler).returnCallIndirect(rt.handlerType);
    f.end();
  });
  f.get(0).get(1).get(2).returnCall(o.goOn);
  m.define(s.index, f.encode());
}

/**
 * If the execute TLB has the page of the linear address in local `target`: `found` with the record (or 0) in local rec, and its page's
 * offset table in e, which `mapped` has before it is looked into. Uses local n. Looked for first among the places of the page that were found last (the near table, state.ts), which has a cache line for
 * 256 bytes of code where the offset table has one for 16.
 */
function emitFindRecord(
  f: Func,
  cpu: number,
  target: number,
  { e, n, rec }: Record<'e' | 'n' | 'rec', number>,
  found: () => void,
  mapped = () => {},
): void {
  const offset = () => f.get(target).op('i32.wrap_i64').i32(4095).op('i32.and');
  emitTlbEntry(f, cpu, 'xtlb', target).tee(e).mem('i64.load', XtlbEntry.off.tag);
  f.get(target).i64(-4096n).op('i64.and').op('i64.eq').if();
  f.get(e).mem('i32.load', XtlbEntry.off.code).set(e);
  mapped();
  f.get(e)
    .get(target)
    .op('i32.wrap_i64')
    .i32(Math.log2(NEAR / 4))
    .op('i32.shr_u')
    .i32(NEAR_BYTES - 4)
    .op('i32.and')
    .op('i32.add');
  f.tee(n).mem('i32.load', OFFSETS_BYTES).tee(rec).mem('i32.load16_u', Record32.off.next);
  f.get(rec).mem('i32.load8_u', Record32.off.len).op('i32.sub');
  offset().op('i32.ne').get(rec).op('i32.eqz').op('i32.or').if();
  f.get(e);
  offset().i32(2).op('i32.shl').op('i32.add').mem('i32.load').set(rec);
  f.get(n).get(rec).mem('i32.store', OFFSETS_BYTES);
  f.end();
  found();
  f.end();
}

function emitShared(
  m: Module,
  s: Record<string, Decl>,
  rt: Runtime,
  translate: number,
  step: number,
  sample: number,
  gap: number,
): void {
  const { off } = CpuState;
  {
    // fault(rec, cpu, fuel)
    const f = s.fault.func;
    f.get(1).mem('i32.load', off.exit_has_error).i32(NON_CANONICAL).op('i32.eq').if();
    f.get(1).i32(1).mem('i32.store', off.exit_has_error);
    f.get(1).i32(VEC.SS).i32(VEC.GP).get(0).mem('i32.load8_u', Record32.off.scale).i32(SCALE_STACK).op('i32.and');
    f.op('select').mem('i32.store', off.exit_vector);
    f.end();
    f.get(1);
    pushRip(f).mem('i64.store', off.rip);
    f.get(1).get(2).get(0).op('i32.sub').mem('i32.store', off.fuel);
    f.get(1).get(0).mem('i32.load8_u', Record32.off.len).mem('i32.store', off.exit_len);
    f.get(1).mem('i32.load', off.exit_reason);
    m.define(s.fault.index, f.encode());
  }
  {
    // raise(rec, cpu, fuel, vector, hasError, error)
    const f = s.raise.func;
    f.get(1).get(3).get(4).get(5).call(rt.helper('raise', []));
    f.get(0).get(1).get(2).returnCall(rt.fault);
    m.define(s.raise.index, f.encode());
  }
  {
    // preempt(cpu, left, rip)
    const f = s.preempt.func;
    f.get(0).get(2).mem('i64.store', off.rip);
    f.get(0).get(1).mem('i32.store', off.fuel);
    f.get(0).i32(EXIT.PREEMPT).mem('i32.store', off.exit_reason);
    f.i32(EXIT.PREEMPT);
    m.define(s.preempt.index, f.encode());
  }
  {
    // go(cpu, left, target): poll, then the execute TLB
    const f = s.go.func;
    f.get(1).i32(0).op('i32.le_s').get(0).mem('i32.load', off.pending).op('i32.or').if();
    f.get(0).get(1).get(2).returnCall(rt.preempt);
    f.end();
    f.get(0).get(1).get(2).returnCall(s.goSlow.index);
    m.define(s.go.index, f.encode());
  }
  emitGoOn(m, s.goSlow, rt, translate);
  {
    // branchSlow(rec, cpu, fuel): direct branch not linked, or to another page, or time to poll
    const f = s.branchSlow.func;
    const left = f.local('i32');
    const target = f.local('i64');
    const rec = f.local('i32');
    const e = f.local('i32');
    const find = { e, n: f.local('i32'), rec };
    f.get(1)
      .mem('i64.load', off.page)
      .get(0)
      .mem('i64.load32_s', Record32.off.imm + 4)
      .op('i64.add');
    maskMode(f).set(target);
    f.get(2).get(0).i32(Record32.size).op('i32.add').op('i32.sub').set(left);
    f.get(target).get(1).mem('i64.load', off.page).op('i64.xor').i64(-4096n).op('i64.and').op('i64.eqz').if();
    // Same page and decoded: link.
    f.get(0).mem('i32.load', Record32.off.imm).op('i32.eqz').if();
    emitFindRecord(f, 1, target, find, () => {
      f.get(0).get(rec).mem('i32.store', Record32.off.imm);
    });
    f.end();
    f.else();
    // Another page: linked for as long as the same code is found there.
    f.get(left).i32(0).op('i32.gt_s').get(1).mem('i32.load', off.pending).op('i32.eqz').op('i32.and').if();
    const dispatch = () => {
      f.get(1).get(target).i64(-4096n).op('i64.and').mem('i64.store', off.page);
      f.get(rec).get(1).get(left).get(rec).op('i32.add').get(rec).mem('i32.load').returnCallIndirect(rt.handlerType);
    };
    const link = () => {
      f.get(rec).if();
      f.get(0).get(rec).mem('i32.store', FAR.rec);
      f.get(0).get(e).mem('i32.store', FAR.code);
      dispatch();
      f.end();
    };
    emitFindRecord(f, 1, target, find, link, () => {
      f.get(e).get(0).mem('i32.load', FAR.code).op('i32.eq').if();
      f.get(0).mem('i32.load', FAR.rec).set(rec);
      dispatch();
      f.end();
    });
    f.end();
    f.end();
    f.get(1).get(left).get(target).returnCall(rt.go);
    m.define(s.branchSlow.index, f.encode());
  }
  {
    // exit(rec, cpu, fuel, reason, vector, error, next)
    const f = s.exit.func;
    f.get(1).get(3).mem('i32.store', off.exit_reason);
    f.get(1).get(4).mem('i32.store', off.exit_vector);
    f.get(1).get(5).mem('i32.store', off.exit_error);
    f.get(1).i32(0).mem('i32.store', off.exit_has_error);
    f.get(0).get(1).get(2).call(rt.fault).op('drop');
    f.get(6).if();
    f.get(1).get(1).mem('i64.load', off.rip).get(0).mem('i64.load8_u', Record32.off.len).op('i64.add');
    maskMode(f).mem('i64.store', off.rip);
    f.end();
    // The instruction counts as retired.
    f.get(1).get(1).mem('i32.load', off.fuel).i32(Record32.size).op('i32.sub').mem('i32.store', off.fuel);
    f.get(3);
    m.define(s.exit.index, f.encode());
  }
  {
    // again(rec, cpu, fuel): one turn of a string instruction is one unit of fuel
    const f = s.again.func;
    const left = f.local('i32');
    f.get(2).get(0).i32(Record32.size).op('i32.add').op('i32.sub').tee(left).i32(0).op('i32.le_s');
    f.get(1).mem('i32.load', off.pending).op('i32.or').if();
    f.get(1).get(left);
    pushRip(f).returnCall(rt.preempt);
    f.end();
    f.get(0).get(1).get(2).i32(Record32.size).op('i32.sub').get(0).mem('i32.load').returnCallIndirect(rt.handlerType);
    m.define(s.again.index, f.encode());
  }
  {
    // run(cpu); with RFLAGS.TF or watch_step set: one instruction, then #DB if it is due (runtime/watch.ts)
    const f = s.run.func;
    const fuel = f.local('i32');
    const reason = f.local('i32');
    const rec = f.local('i32');
    const left = f.local('i32');
    const part = f.local('i32');
    f.get(0).call(rt.helper('enter_guest', []));
    f.get(0).mem('i32.load', off.fuel).set(fuel);
    f.get(0).mem('i32.load', off.rflags).i32(RFLAGS.TF).op('i32.and');
    f.get(0).mem('i32.load', off.watch_step).op('i32.or').if();
    f.get(0).i32(Record32.size).mem('i32.store', off.fuel);
    f.get(0).i32(0).mem('i32.store', off.exit_len);
    f.get(0).i32(0).mem('i32.store', off.int_shadow);
    f.get(0).get(0).mem('i32.load', off.rflags).i32(RFLAGS.TF).op('i32.and'); // as it was before the instruction
    f.get(0).call(step).tee(rec).if('i32');
    f.get(rec).get(0).get(rec).i32(Record32.size).op('i32.add').get(rec).mem('i32.load');
    f.op('call_indirect').body.u32(rt.handlerType).u32(0);
    f.else().get(0).mem('i32.load', off.exit_reason).end();
    f.call(rt.helper('step_done', [])).set(reason);
    // What is left of the caller's fuel.
    f.get(0).get(fuel).i32(Record32.size).op('i32.sub').get(0).mem('i32.load', off.fuel).op('i32.add');
    f.mem('i32.store', off.fuel);
    f.else();
    // In slices; at the end of each the translator sees what is running. A slice may reach over several calls.
    const slice = f.local('i32');
    f.get(fuel).set(left);
    countGap(f, gap);
    // Where the last call ended, if it was not with a slice, is nothing to go by.
    f.get(0).i32(0).mem('i32.store', off.preempted);
    f.loop();
    f.get(0).mem('i32.load', off.slice).tee(slice).i32(0).op('i32.le_s').if();
    f.i32(SLICE).set(slice).end();
    f.get(0);
    f.get(left).get(slice).get(left).get(slice).op('i32.lt_s').op('select').tee(part);
    f.get(0).mem('i64.load', off.rip).call(rt.go).set(reason);
    f.get(part).get(0).mem('i32.load', off.fuel).op('i32.sub').set(part);
    f.get(left).get(part).op('i32.sub').set(left);
    f.get(0).get(slice).get(part).op('i32.sub').tee(slice).mem('i32.store', off.slice);
    f.get(slice).i32(0).op('i32.le_s').get(left).i32(0).op('i32.gt_s').op('i32.and');
    f.get(reason).i32(EXIT.PREEMPT).op('i32.eq').op('i32.and');
    f.get(0).mem('i32.load', off.pending).op('i32.eqz').op('i32.and');
    f.get(0).mem('i32.load', off.rflags).i32(RFLAGS.TF).op('i32.and').op('i32.eqz').op('i32.and').if();
    f.get(0).call(sample).br(1);
    f.end().end();
    f.get(0).get(left).mem('i32.store', off.fuel);
    f.end();
    f.get(0).get(0).mem('i64.load', off.icount);
    f.get(fuel)
      .get(0)
      .mem('i32.load', off.fuel)
      .op('i32.sub')
      .i32(5)
      .op('i32.shr_u')
      .op('i64.extend_i32_u')
      .op('i64.add');
    f.mem('i64.store', off.icount);
    f.get(reason);
    m.define(s.run.index, f.encode());
  }
}

function emitSpecials(
  m: Module,
  table: number[],
  rt: Runtime,
  across: { readonly known: number; readonly straddle: number },
  goOn: number,
): void {
  const H = ['i32', 'i32', 'i32'] as const;
  const special = (n: number, emit: (f: Func) => void) => {
    const d = m.declare(H, ['i32']);
    emit(d.func);
    m.define(d.index, d.func.encode());
    table[n] = d.index;
  };
  const left = (f: Func) => f.get(2).get(0).op('i32.sub');
  special(SPECIAL.UNSET, (f) => f.op('unreachable'));
  special(SPECIAL.STALE, (f) => {
    f.get(1);
    left(f);
    pushRip(f).returnCall(goOn);
  });
  special(SPECIAL.GOTO, (f) => {
    const t = f.local('i32');
    f.get(0).mem('i32.load', Record32.off.imm).tee(t).get(1);
    left(f).get(t).op('i32.add').get(t).mem('i32.load').returnCallIndirect(rt.handlerType);
  });
  special(SPECIAL.NEXT, (f) => {
    const rip = f.local('i64');
    // Poll points are properties of guest code: the end of a page is one, the end of what was decoded is not.
    f.get(1).mem('i64.load', CpuState.off.page).get(0).mem('i64.load16_u', Record32.off.next).op('i64.add');
    maskMode(f).set(rip);
    f.get(0).mem('i32.load16_u', Record32.off.next).i32(4096).op('i32.ge_u').if();
    f.get(1);
    left(f).get(rip).returnCall(rt.go);
    f.end();
    f.get(1);
    left(f).get(rip).returnCall(goOn);
  });
  const raises = (n: number, vector: number, hasError: number) =>
    special(n, (f) => f.get(0).get(1).get(2).i32(vector).i32(hasError).i32(0).returnCall(rt.raise));
  raises(SPECIAL.UD, VEC.UD, 0);
  raises(SPECIAL.GP, VEC.GP, 1);
  special(SPECIAL.STRADDLE, (f) => {
    const t = f.local('i32');
    f.get(1).get(0).call(across.known).tee(t).op('i32.eqz').if();
    f.get(1).get(0).call(across.straddle).tee(t).op('i32.eqz').if();
    f.get(0).get(1).get(2).returnCall(rt.fault);
    f.end().end();
    f.get(t).get(1);
    left(f).get(t).op('i32.add').get(t).mem('i32.load').returnCallIndirect(rt.handlerType);
  });
  special(SPECIAL.STOP, (f) => {
    f.get(1);
    left(f);
    f.get(1).mem('i64.load', CpuState.off.page).get(0).mem('i64.load16_u', Record32.off.next).op('i64.add');
    maskMode(f).returnCall(rt.preempt);
  });
}
