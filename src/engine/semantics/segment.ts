/**
 * Segment registers (SDM vol. 2): mov, push, pop, lds and kin, lar lsl verr verw arpl. Loads are checked by the runtime
 * (runtime/segment.ts).
 */
import { CpuState, SEG } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { pointer } from './far.ts';
import { push, top } from './stack.ts';
import { type Insn, insn } from './table.ts';

const selector = (b: Builder, seg: number): Val => b.get(CpuState.off.sel + seg * 2, 2);

function loadSegment(b: Builder, seg: number, sel: Val): void {
  b.callFaulting('load_segment', [b.i32(seg), b.zx(b.to('i32', sel), 2)]);
}

/** mov ss and pop ss hold off a single-step trap (SDM vol. 3, 6.8.3). */
function shadow(b: Builder, seg: number): void {
  if (seg === SEG.SS) b.set(CpuState.off.int_shadow, 4, b.i32(1));
}

/** A register destination gets the selector zero-extended to operand size, memory always 2 bytes. */
export const storeSelector = (b: Builder, v: Val): void => b.write(0, b.to(b.ty(b.bytes(0)), v));

const moves = (seg: number): Insn[] => {
  const store = insn('mov', [`8C /${seg} Ev ; reg`, `8C /${seg} Ew ; mem`], (b) => storeSelector(b, selector(b, seg)));
  // mov cs is #UD.
  if (seg === SEG.CS) return [store];
  const load = insn('mov', `8E /${seg} Ew`, (b) => {
    loadSegment(b, seg, b.read(0));
    shadow(b, seg);
  });
  return [store, load];
};

const pushPop = (seg: number, pushCode: string, popCode?: string): Insn[] => [
  insn('push', pushCode, (b) => push(b, b.to(b.ty(b.size), selector(b, seg)))),
  ...(popCode
    ? [
        insn('pop', popCode, (b) => {
          const t = top(b);
          loadSegment(b, seg, t.v);
          t.done();
          shadow(b, seg);
        }),
      ]
    : []),
];

/** lds les lss lfs lgs: far pointer to segment and register. */
const loadFar = (name: string, seg: number, encoding: string): Insn =>
  insn(name, encoding, (b) => {
    const p = pointer(b, 1);
    loadSegment(b, seg, p.sel);
    b.write(0, b.to(b.ty(b.size), p.offset));
  });

/** Helpers answer 1: not accessible (ZF = 0), 2: accessible (ZF = 1). */
function inspect(b: Builder, helper: string, sel: Val): Val {
  const found = b.xor(b.callFaulting(helper, [sel]), b.i32(2));
  b.flags({ z: b.to('i64', found) });
  return b.eqz(found);
}

const inspectTo = (name: string, encoding: string): Insn =>
  insn(name, encoding, (b) => {
    const ok = inspect(b, name, b.read(1));
    b.if(ok, () => b.write(0, b.get(CpuState.off.ret0, b.size)));
  });

function arpl(b: Builder): void {
  const d = b.read(0);
  const s = b.read(1);
  const rpl = (v: Val) => b.and(v, b.i32(3));
  const below = b.cmp('lt_u', rpl(d), rpl(s));
  b.if(below, () => b.write(0, b.or(b.and(d, b.i32(~3)), rpl(s))));
  b.flags({ z: b.to('i64', b.eqz(below)) });
}

export const segments: Insn[] = [
  ...[SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS].flatMap(moves),
  ...pushPop(SEG.ES, '06 ; v i64', '07 ; v i64'),
  ...pushPop(SEG.CS, '0E ; v i64'),
  ...pushPop(SEG.SS, '16 ; v i64', '17 ; v i64'),
  ...pushPop(SEG.DS, '1E ; v i64', '1F ; v i64'),
  ...pushPop(SEG.FS, '0F A0 ; v d64', '0F A1 ; v d64'),
  ...pushPop(SEG.GS, '0F A8 ; v d64', '0F A9 ; v d64'),
  loadFar('les', SEG.ES, 'C4 Gv,M ; i64'),
  loadFar('lds', SEG.DS, 'C5 Gv,M ; i64'),
  loadFar('lss', SEG.SS, '0F B2 Gv,M'),
  loadFar('lfs', SEG.FS, '0F B4 Gv,M'),
  loadFar('lgs', SEG.GS, '0F B5 Gv,M'),
  inspectTo('lar', '0F 02 Gv,Ew'),
  inspectTo('lsl', '0F 03 Gv,Ew'),
  insn('verr', '0F 00 /4 Ew', (b) => void inspect(b, 'verr', b.read(0))),
  insn('verw', '0F 00 /5 Ew', (b) => void inspect(b, 'verw', b.read(0))),
  insn('arpl', '63 Ew,Gw ; i64', arpl),
];
