/** x87 loads, stores, constants and register moves (SDM vol. 1 8.3.1-8.3.3, 8.3.10). */
import { CpuState } from '../state.ts';
import type { Builder, Probe, Val } from './builder.ts';
import type { Insn } from './table.ts';
import { compute, fpu, record } from './x87-common.ts';

/**
 * A store: the destination is probed, the helper gives bit 0 = store what is in ret0 (and ret1), bit 1 = an unmasked
 * exception was recorded.
 */
function store(b: Builder, bytes: number, helper: string, args: readonly Val[], write?: (p: Probe) => void): void {
  const p = b.probe(b.ea(0), bytes);
  const r = b.call(helper, args, 'i32');
  b.if(b.and(r, b.i32(1)), () => {
    if (write) write(p);
    else b.pstore(p, 0, bytes, b.get(CpuState.off.ret0, bytes));
    b.commit(p);
  });
  record(b, b.and(r, b.i32(2)));
}

/** 10 bytes: 8 from ret0, 2 from ret1. */
function tenBytes(b: Builder) {
  return (p: Probe) => {
    b.pstore(p, 0, 8, b.get(CpuState.off.ret0, 8));
    b.pstore(p, 8, 2, b.get(CpuState.off.ret1, 2));
  };
}

function storeFloat(name: string, encoding: string, pops: number): Insn {
  return fpu(name, encoding, (b) => {
    const bytes = b.bytes(0);
    store(b, bytes, bytes === 4 ? 'fp_get_f32' : 'fp_get_f64', [b.i32(pops)]);
  });
}

function storeInt(name: string, encodings: string[], truncate: number, pops: number): Insn {
  return fpu(name, encodings, (b) => {
    const bytes = b.bytes(0);
    store(b, bytes, 'fp_get_int', [b.i32(bytes), b.i32(truncate), b.i32(pops)]);
  });
}

/** The upper two bytes of a 10-byte memory operand. */
function load10(b: Builder): [Val, Val] {
  const low = b.load(b.ea(0), 8);
  return [low, b.load(b.add(b.ea(0), b.i64(8)), 2)];
}

/** fcmovcc: DA C0 (b, e, be, u) and their negations DB C0. */
const CONDITIONS = [
  ['b', 2],
  ['e', 4],
  ['be', 6],
  ['u', 10],
] as const;

export const x87Move: Insn[] = [
  fpu('fld', 'D9 /0 Md', (b) => compute(b, 'fp_push_f32', [b.read(0)])),
  fpu('fld', 'DD /0 Mq', (b) => compute(b, 'fp_push_f64', [b.read(0)])),
  fpu('fld', 'DB /5 M', (b) => compute(b, 'fp_push_f80', load10(b))),
  fpu('fld', 'D9 =C0+i STi', (b) => compute(b, 'fp_push_st', [b.read(0)])),
  fpu('fild', ['DF /0 Mw', 'DB /0 Md', 'DF /5 Mq'], (b) => {
    compute(b, 'fp_push_int', [b.sx64(b.read(0), b.bytes(0))]);
  }),
  fpu('fbld', 'DF /4 M', (b) => compute(b, 'fp_push_bcd', load10(b))),

  storeFloat('fst', 'D9 /2 Md', 0),
  storeFloat('fst', 'DD /2 Mq', 0),
  storeFloat('fstp', 'D9 /3 Md', 1),
  storeFloat('fstp', 'DD /3 Mq', 1),
  fpu('fstp', 'DB /7 M', (b) => store(b, 10, 'fp_get_f80', [], tenBytes(b))),
  fpu('fst', 'DD =D0+i STi', (b) => compute(b, 'fp_store_st', [b.read(0), b.i32(0)])),
  fpu('fstp', ['DD =D8+i STi', 'DF =D0+i STi', 'DF =D8+i STi'], (b) => {
    compute(b, 'fp_store_st', [b.read(0), b.i32(1)]);
  }),
  fpu('fstpnce', 'D9 =D8+i STi', (b) => compute(b, 'fp_store_st_quiet', [b.read(0)])),
  storeInt('fist', ['DF /2 Mw', 'DB /2 Md'], 0, 0),
  storeInt('fistp', ['DF /3 Mw', 'DB /3 Md', 'DF /7 Mq'], 0, 1),
  storeInt('fisttp', ['DF /1 Mw', 'DB /1 Md', 'DD /1 Mq'], 1, 1),
  fpu('fbstp', 'DF /6 M', (b) => store(b, 10, 'fp_get_bcd', [], tenBytes(b))),

  ...['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'].map((name, n) =>
    fpu(name, `D9 =${(0xe8 + n).toString(16).toUpperCase()}`, (b) => compute(b, 'fp_push_constant', [b.i32(n)])),
  ),

  fpu('fxch', ['D9 =C8+i STi', 'DD =C8+i STi', 'DF =C8+i STi'], (b) => compute(b, 'fp_exchange', [b.read(0)])),
  ...CONDITIONS.flatMap(([suffix, cc], n) => {
    const modrm = (0xc0 + n * 8).toString(16).toUpperCase();
    const move = (name: string, opcode: string, negate: number) =>
      fpu(name, `${opcode} =${modrm}+i STi`, (b) => {
        compute(b, 'fp_move_if', [b.cond(cc | negate), b.read(0)]);
      });
    return [move(`fcmov${suffix}`, 'DA', 0), move(`fcmovn${suffix}`, 'DB', 1)];
  }),
  fpu('ffree', 'DD =C0+i STi', (b) => b.call('fp_free', [b.read(0), b.i32(0)])),
  fpu('ffreep', 'DF =C0+i STi', (b) => b.call('fp_free', [b.read(0), b.i32(1)])),
  fpu('fincstp', 'D9 =F7', (b) => compute(b, 'fp_rotate', [b.i32(1)])),
  fpu('fdecstp', 'D9 =F6', (b) => compute(b, 'fp_rotate', [b.i32(7)])),
];
