/** Two-operand integer arithmetic and logic without carry in: add or and sub xor cmp test (SDM vol. 2). */
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** The eight encodings that the classic ALU group shares. `n`: its number (add 0 … cmp 7). */
export function group(n: number, attrs = '; lock'): string[] {
  const op = (k: number) => (n * 8 + k).toString(16).toUpperCase().padStart(2, '0');
  return [
    `${op(0)} Eb,Gb ${attrs}`,
    `${op(1)} Ev,Gv ${attrs}`,
    `${op(2)} Gb,Eb`,
    `${op(3)} Gv,Ev`,
    `${op(4)} AL,Ib`,
    `${op(5)} rAX,Iz`,
    `80 /${n} Eb,Ib ${attrs}`,
    `81 /${n} Ev,Iz ${attrs}`,
    `82 /${n} Eb,Ib ; i64 ${attrs.slice(1)}`,
    `83 /${n} Ev,Ibs ${attrs}`,
  ];
}

/** d = d op s, atomically if locked; gives old d, s and the result. */
function rmw(b: Builder, atomicOp: 'add' | 'sub' | 'and' | 'or' | 'xor', compute: (d: Val, s: Val) => Val) {
  if (b.form.lock) {
    const s = b.read(1);
    const d = b.atomic(atomicOp, 0, s);
    return { d, s, r: compute(d, s) };
  }
  const d = b.rmw(0);
  const s = b.read(1);
  const r = compute(d, s);
  b.write(0, r);
  return { d, s, r };
}

export const alu: Insn[] = [
  insn('add', group(0), (b) => {
    const { d, s, r } = rmw(b, 'add', (d, s) => b.add(d, s));
    b.flagsAdd(d, s, r, b.bytes(0));
  }),
  insn('or', group(1), (b) => b.flagsLogic(rmw(b, 'or', (d, s) => b.or(d, s)).r, b.bytes(0))),
  insn('and', group(4), (b) => b.flagsLogic(rmw(b, 'and', (d, s) => b.and(d, s)).r, b.bytes(0))),
  insn('sub', group(5), (b) => {
    const { d, s, r } = rmw(b, 'sub', (d, s) => b.sub(d, s));
    b.flagsSub(d, s, r, b.bytes(0));
  }),
  insn('xor', group(6), (b) => b.flagsLogic(rmw(b, 'xor', (d, s) => b.xor(d, s)).r, b.bytes(0))),
  insn('cmp', group(7, ''), (b) => {
    const d = b.read(0);
    const s = b.read(1);
    b.flagsSub(d, s, b.sub(d, s), b.bytes(0));
  }),
  insn('test', ['84 Eb,Gb', '85 Ev,Gv', 'A8 AL,Ib', 'A9 rAX,Iz', 'F6 /0 Eb,Ib', 'F7 /0 Ev,Iz'], (b) => {
    b.flagsLogic(b.and(b.read(0), b.read(1)), b.bytes(0));
  }),
];
