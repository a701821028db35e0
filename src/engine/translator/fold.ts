/** Immediates are constants here: what a description decides by them alone is decided when it is translated. */
import type { Decoded } from '../decode/decode.ts';
import type { Node, Val } from '../semantics/ir.ts';

type Immediates = Pick<Decoded, 'imm' | 'imm2'>;

/** Value of operand i's immediate, as the interpreter reads it from a record. */
export function immediate(d: Immediates, second: boolean, t: 'i32' | 'i64'): bigint {
  const v = second ? BigInt(d.imm2) : d.imm;
  return BigInt.asIntN(t === 'i32' ? 32 : 64, v);
}

const BINARY: Record<string, (a: bigint, b: bigint, bits: bigint) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, bits) => a << (b & (bits - 1n)),
  shr_u: (a, b, bits) => BigInt.asUintN(Number(bits), a) >> (b & (bits - 1n)),
  eq: (a, b) => (a === b ? 1n : 0n),
  ne: (a, b) => (a !== b ? 1n : 0n),
};

/** The value of v if it follows from immediates (sign-extended), else undefined. */
export function constantOf(v: Val, d: Immediates, second: number | undefined): bigint | undefined {
  const n = v.node;
  if (n.k === 'immop') return immediate(d, n.i === second, n.t);
  if (n.k !== 'op') return undefined;
  if (n.op === 'i32.const' || n.op === 'i64.const') return BigInt(n.imm![0]);
  const [t, name] = n.op.split('.');
  if (t !== 'i32' && t !== 'i64') return undefined;
  const f = BINARY[name];
  if (f) {
    const a = constantOf(n.args[0], d, second);
    const b = a === undefined ? undefined : constantOf(n.args[1], d, second);
    if (a === undefined || b === undefined) return undefined;
    const bits = t === 'i32' ? 32 : 64;
    return BigInt.asIntN(bits, f(a, b, BigInt(bits)));
  }
  if (name === 'eqz' || name === 'wrap_i64' || name === 'extend_i32_u') {
    const a = constantOf(n.args[0], d, second);
    if (a === undefined) return undefined;
    if (name === 'eqz') return a === 0n ? 1n : 0n;
    return name === 'wrap_i64' ? BigInt.asIntN(32, a) : BigInt.asUintN(32, a);
  }
  return undefined;
}

/** Whether a value follows from immediates is the same for all of them. */
const ANY: Immediates = { imm: 0n, imm2: 0 };

/** By value: 1 if it follows from immediates. */
export function constantsOf(all: readonly Node[], values: number): Uint8Array {
  const constants = new Uint8Array(values);
  for (const n of all)
    if ((n.k === 'op' || n.k === 'immop') && constantOf(n.out, ANY, undefined) !== undefined) constants[n.out.id] = 1;
  return constants;
}

/** Has the list an `if` that immediates decide? */
export const decides = (nodes: readonly Node[], constants: Uint8Array): boolean =>
  nodes.some((n) => n.k === 'if' && constants[n.cond.id] === 1);

/** The list with decided `if`s replaced by their branch. */
export function fold(nodes: readonly Node[], d: Decoded, second: number | undefined): readonly Node[] {
  const out: Node[] = [];
  for (const n of nodes) {
    if (n.k !== 'if') {
      out.push(n);
      continue;
    }
    const c = constantOf(n.cond, d, second);
    if (c === undefined) out.push(n);
    else out.push(...fold(c !== 0n ? n.then : n.else, d, second));
  }
  return out;
}
