/**
 * Upper bounds of registers' values, as far as a block's instructions tell (`movzx`, `and`, `shr`): memory operands whose index is
 * small lie near their base, mostly in its page, and the TLB is looked into before the index is known. The address itself is what
 * the entry found is compared with.
 */
import { operandSlot } from '../decode/slots.ts';
import type { Node, Val } from '../semantics/ir.ts';
import { constantOf } from './fold.ts';
import { effectsOf } from './helpers.ts';
import { allNodes, type Instruction } from './prepare.ts';
import { registerAt } from './registers.ts';

/** Bytes that an operand lies beyond its base at most: a table of 256 addresses. */
const NEAR = 256 * 8;

type Bounds = number[];
const UNKNOWN = Number.POSITIVE_INFINITY;
const fits = (bytes: number) => 2 ** (bytes * 8) - 1;

/** Instructions of a block whose memory operand is near its base register, or near a fixed address. */
export function nearBase(instructions: readonly Instruction[]): ReadonlySet<Instruction> {
  const found = new Set<Instruction>();
  const last = instructions.findLastIndex(indexed);
  const bounds: Bounds = new Array(16).fill(UNKNOWN);
  for (const i of instructions.slice(0, last + 1)) {
    if (indexed(i) && bounds[i.d.index] * 2 ** i.d.scale < NEAR) found.add(i);
    follow(i, bounds);
  }
  return found;
}

const indexed = ({ d }: Instruction): boolean => d.index >= 0 && d.index < 16 && d.base < 16 && !d.addr32;

/** What the instruction does to the bounds. */
function follow(i: Instruction, bounds: Bounds): void {
  const values = new Map<number, number>();
  for (const n of i.code.nodes) {
    if (n.k === 'set') write(n.off, n.bytes, n.v, false, bounds, values);
    else if (n.k === 'setregop') {
      const offset = operandSlot(i.encoding, n.i, i.d) + (n.at ?? 0);
      write(offset, n.bytes, n.v, n.bytes === 4 && n.v.t === 'i32', bounds, values);
    } else if (n.k === 'if') forget(i, n, bounds);
    else {
      if (n.k === 'call' && effectsOf(n.name).gpr) bounds.fill(UNKNOWN);
      if ('out' in n && n.out) values.set(n.out.id, boundOf(i, n, bounds, values));
    }
  }
}

/** What is written under a condition, or may be. */
function forget(i: Instruction, under: Node, bounds: Bounds): void {
  for (const n of allNodes([under])) {
    if (n.k === 'call' && effectsOf(n.name).gpr) bounds.fill(UNKNOWN);
    if (n.k !== 'set' && n.k !== 'setregop') continue;
    const r = registerAt(n.k === 'set' ? n.off : operandSlot(i.encoding, n.i, i.d) + (n.at ?? 0)).n;
    if (r >= 0 && r < 16) bounds[r] = UNKNOWN;
  }
}

/** `clears`: the rest of the register becomes zero. */
function write(
  offset: number,
  bytes: number,
  v: Val,
  clears: boolean,
  bounds: Bounds,
  values: ReadonlyMap<number, number>,
): void {
  const { n, byte } = registerAt(offset);
  if (n < 0 || n >= 16) return;
  if ((bytes === 8 || clears) && byte === 0) bounds[n] = values.get(v.id) ?? UNKNOWN;
  // The rest of it stays.
  else if (bytes === 1 && byte === 0) bounds[n] = Math.max(bounds[n], 0xff);
  else bounds[n] = UNKNOWN;
}

function boundOf(i: Instruction, n: Node, bounds: Bounds, values: ReadonlyMap<number, number>): number {
  // Parts are zero-extended.
  const register = (offset: number, bytes: number): number => {
    const r = registerAt(offset);
    const whole = r.byte === 0 && r.n >= 0 && r.n < 16 ? bounds[r.n] : UNKNOWN;
    return bytes < 4 ? Math.min(whole, fits(bytes)) : whole;
  };
  switch (n.k) {
    case 'get':
      return n.signed ? UNKNOWN : register(n.off, n.bytes);
    case 'regop':
      if (i.clears) return 0;
      return n.float ? UNKNOWN : register(operandSlot(i.encoding, n.i, i.d), n.bytes);
    case 'load':
      return n.signed || n.bytes > 2 ? UNKNOWN : fits(n.bytes);
    case 'immop':
      return constant(i, n.out) ?? UNKNOWN;
    case 'op':
      return constant(i, n.out) ?? boundOfOp(i, n, values);
    default:
      return UNKNOWN;
  }
}

function boundOfOp(i: Instruction, n: Node & { k: 'op' }, values: ReadonlyMap<number, number>): number {
  const [a, b] = n.args.map((v) => constant(i, v) ?? values.get(v.id) ?? UNKNOWN);
  switch (n.op) {
    case 'i32.and':
    case 'i64.and':
      return Math.min(a, b);
    case 'i32.shr_u':
    case 'i64.shr_u': {
      const by = immediateOf(i, n.args[1]);
      const most = Math.min(a, fits(n.op === 'i32.shr_u' ? 4 : 8));
      return by === undefined ? UNKNOWN : Math.floor(most / 2 ** (Number(by) & (n.op === 'i32.shr_u' ? 31 : 63)));
    }
    case 'i32.xor':
    case 'i64.xor':
      return a === 0 && b === 0 ? 0 : UNKNOWN;
    case 'i64.extend_i32_u':
    case 'i32.wrap_i64':
      // Of what is larger, other bits are left.
      return a <= fits(4) ? a : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

/** Undefined: it does not follow from immediates. */
const immediateOf = (i: Instruction, v: Val): bigint | undefined =>
  i.constants[v.id] ? constantOf(v, i.d, i.second) : undefined;

/** Undefined: it does not follow from immediates, or is negative. */
function constant(i: Instruction, v: Val): number | undefined {
  const c = immediateOf(i, v);
  return c !== undefined && c >= 0n ? Number(c) : undefined;
}
