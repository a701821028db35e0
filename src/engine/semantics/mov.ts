/** Data transfer between general registers and memory (SDM vol. 2): mov movzx movsx movsxd lea xchg cbw cwd xlat. */
import { CpuState, GPR } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** A value of `bytes` made into one of operand 0's type. */
function extend(b: Builder, v: Val, bytes: number, signed: boolean): Val {
  const t = b.ty(b.bytes(0));
  if (t === 'i64') return signed ? b.sx64(v, bytes) : b.to('i64', v);
  const narrow = b.to('i32', v);
  return signed ? b.sx(narrow, bytes) : narrow;
}

function xchg(b: Builder): void {
  if (b.isMem(0)) {
    b.write(1, b.atomic('xchg', 0, b.read(1)));
    return;
  }
  const x = b.read(0);
  const y = b.read(1);
  b.write(0, y);
  b.write(1, x);
}

export const mov: Insn[] = [
  insn(
    'mov',
    [
      '88 Eb,Gb',
      '89 Ev,Gv',
      '8A Gb,Eb',
      '8B Gv,Ev',
      'A0 AL,Ob',
      'A1 rAX,Ov',
      'A2 Ob,AL',
      'A3 Ov,rAX',
      'B0+ Zb,Ib',
      'B8+ Zv,Iv',
      'C6 /0 Eb,Ib',
      'C7 /0 Ev,Iz',
    ],
    (b) => b.write(0, b.read(1)),
  ),
  insn('movzx', ['0F B6 Gv,Eb', '0F B7 Gv,Ew'], (b) => b.write(0, extend(b, b.read(1), b.bytes(1), false))),
  insn('movsx', ['0F BE Gv,Eb', '0F BF Gv,Ew'], (b) => b.write(0, extend(b, b.read(1), b.bytes(1), true))),
  insn('movsxd', '63 Gv,Ed ; o64', (b) => b.write(0, extend(b, b.read(1), 4, true))),
  insn('lea', '8D Gv,M', (b) => b.write(0, b.to(b.ty(b.bytes(0)), b.offset(1)))),
  // With memory always locked, with or without the prefix.
  insn('xchg', ['86 Eb,Gb ; lock', '87 Ev,Gv ; lock'], xchg),
  // Without REX.B this would exchange rax with itself: that is nop (system.ts), which leaves all of rax alone.
  insn('xchg', '90+ Zv,rAX', xchg),
  // cbw cwde cdqe
  insn('cbw', '98 ; v', (b) => {
    const half = b.size / 2;
    const v = b.reg(GPR.RAX, half);
    b.setReg(GPR.RAX, b.size, b.size === 8 ? b.sx64(v, half) : b.sx(v, half));
  }),
  // cwd cdq cqo
  insn('cwd', '99 ; v', (b) => {
    const v = b.reg(GPR.RAX, b.size);
    b.setReg(GPR.RDX, b.size, b.shrS(b.sx(v, b.size), b.size === 8 ? 63 : 31));
  }),
  insn('xlat', 'D7 Xb ; a', (b) => {
    // The operand says which segment; its own base, rSI, is not used.
    const al = b.to('i64', b.reg(GPR.RAX, 1));
    const addr = b.add(b.reg(GPR.RBX, 8), al);
    const offset = b.form.addrsize === 8 ? addr : b.zx(addr, b.form.addrsize);
    const linear = b.add(b.segbase(0), offset);
    b.set(CpuState.off.gpr, 1, b.load(b.long ? linear : b.zx(linear, 4), 1));
  }),
];
