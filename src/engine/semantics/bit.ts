/**
 * Bit tests and scans: bt bts btr btc bsf bsr popcnt bswap (SDM vol. 2). bt and its kin set CF only; bsf and bsr set ZF
 * only and keep their destination when there is no bit, as every processor does.
 */
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/**
 * Bit number of operand 1 within operand 0. With memory and a register bit number, operand 0 moves to the element that
 * holds the bit: the number is a signed offset from the address.
 */
function bitNumber(b: Builder): Val {
  const bytes = b.bytes(0);
  const n = b.read(1);
  const bits = bytes * 8;
  if (b.form.operands[1].kind === 'imm') return b.and(b.to(b.ty(bytes), n), b.c(b.ty(bytes), bits - 1));
  if (b.isMem(0)) {
    const log = Math.log2(bits);
    b.moveOperand(0, b.shl(b.shrS(b.sx64(n, bytes), log), log - 3));
  }
  // wasm's shifts take the number modulo 32 or 64 themselves.
  return bytes === 2 ? b.and(n, b.i32(15)) : n;
}

/** CF = bit n of d. */
function bitToCarry(b: Builder, d: Val, n: Val): void {
  const bytes = b.bytes(0);
  if (bytes === 2) b.flags({ c: b.shl(b.to('i64', d), b.sub(b.i64(63), b.to('i64', n))) });
  else {
    const top = b.shl(d, b.not(n));
    b.flags({ c: bytes === 8 ? top : b.shl(b.to('i64', top), 32) });
  }
}

type Change = 'or' | 'and' | 'xor';

function bitTest(b: Builder, change?: Change): void {
  const n = bitNumber(b);
  if (!change) {
    bitToCarry(b, b.read(0), n);
    return;
  }
  const bit = b.shl(b.c(b.ty(b.bytes(0)), 1), n);
  const mask = change === 'and' ? b.not(bit) : bit;
  const d = b.form.lock ? b.atomic(change, 0, mask) : b.rmw(0);
  if (!b.form.lock) b.write(0, b[change](d, mask));
  bitToCarry(b, d, n);
}

const bitTests = (name: string, opcode: string, digit: number, change?: Change): Insn => {
  const lock = change ? ' lock' : '';
  return insn(name, [`0F ${opcode} Ev,Gv ; a${lock}`, `0F BA /${digit} Ev,Ib ;${lock}`], (b) => bitTest(b, change));
};

function scan(b: Builder, forward: boolean): void {
  const s = b.read(1);
  const width = s.t === 'i64' ? 63 : 31;
  b.if(s.t === 'i64' ? b.cmp('ne', s, b.i64(0)) : s, () => {
    b.write(0, forward ? b.op(`${s.t}.ctz`, s.t, [s]) : b.xor(b.op(`${s.t}.clz`, s.t, [s]), b.c(s.t, width)));
  });
  b.flags({ z: b.to('i64', s) });
}

function bswap(b: Builder): void {
  const bytes = b.bytes(0);
  const v = b.read(0);
  if (bytes === 2) {
    // Undefined for 2 bytes; processors give 0.
    b.write(0, b.i32(0));
    return;
  }
  const rot = (x: Val, n: number) => b.op(`${x.t}.rotl`, x.t, [x, b.c(x.t, n)]);
  const swap16 = (x: Val, mask: bigint) =>
    b.or(b.and(b.shrU(x, 8), b.c(x.t, mask)), b.shl(b.and(x, b.c(x.t, mask)), 8));
  if (bytes === 4) {
    b.write(0, rot(swap16(v, 0x00ff00ffn), 16));
    return;
  }
  const x = swap16(v, 0x00ff00ff00ff00ffn);
  const mask = b.i64(0x0000ffff0000ffffn);
  b.write(0, rot(b.or(b.and(b.shrU(x, 16), mask), b.shl(b.and(x, mask), 16)), 32));
}

export const bits: Insn[] = [
  bitTests('bt', 'A3', 4),
  bitTests('bts', 'AB', 5, 'or'),
  bitTests('btr', 'B3', 6, 'and'),
  bitTests('btc', 'BB', 7, 'xor'),
  insn('bsf', '0F BC Gv,Ev', (b) => scan(b, true)),
  insn('bsr', '0F BD Gv,Ev', (b) => scan(b, false)),
  insn('popcnt', 'F3 0F B8 Gv,Ev', (b) => {
    const s = b.read(1);
    b.write(0, b.op(`${s.t}.popcnt`, s.t, [s]));
    // SF = PF = AF = 0: the word 1 is positive and has odd parity.
    const one = b.i64(1);
    b.flags({ z: b.to('i64', s), s: one, c: b.i64(0), x: one });
  }),
  insn('bswap', '0F C8+ Zv', bswap),
];
