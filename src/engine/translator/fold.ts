/** Immediates are constants here: what a description decides by them alone is decided when it is translated. */
import type { Decoded } from '../decode/decode.ts';
import type { Node, Val } from '../semantics/ir.ts';

/** Value of operand i's immediate, as the interpreter reads it from a record. */
export function immediate(d: Decoded, second: boolean, t: 'i32' | 'i64'): bigint {
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

const UNARY: readonly string[] = ['eqz', 'wrap_i64', 'extend_i32_u'];

/** The value of v if it follows from immediates (sign-extended), else undefined. */
export function constantOf(v: Val, d: Decoded, second: number | undefined): bigint | undefined {
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
  if (UNARY.includes(name)) {
    const a = constantOf(n.args[0], d, second);
    if (a === undefined) return undefined;
    if (name === 'eqz') return a === 0n ? 1n : 0n;
    return name === 'wrap_i64' ? BigInt.asIntN(32, a) : BigInt.asUintN(32, a);
  }
  return undefined;
}

/** Does it follow from immediates, whatever they are (constantOf)? */
function isConstant(n: Node): boolean {
  if (n.k === 'immop') return true;
  if (n.k !== 'op') return false;
  if (n.op === 'i32.const' || n.op === 'i64.const') return true;
  const [t, name] = n.op.split('.');
  if (t !== 'i32' && t !== 'i64') return false;
  if (Object.hasOwn(BINARY, name)) return isConstant(n.args[0].node) && isConstant(n.args[1].node);
  return UNARY.includes(name) && isConstant(n.args[0].node);
}

/** By value: 1 if it follows from immediates. */
export function constantsOf(all: readonly Node[], values: number): Uint8Array {
  const constants = new Uint8Array(values);
  for (const n of all) if ((n.k === 'op' || n.k === 'immop') && isConstant(n)) constants[n.out.id] = 1;
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
