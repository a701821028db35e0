/**
 * Memory accesses of a block that lie close to each other for sure: at constant distances from one value, as those of a stack
 * frame or of a structure. They are looked up in the TLB together, once.
 */
import { operandSlot } from '../decode/slots.ts';
import type { Node, Val } from '../semantics/ir.ts';
import { immediate } from './fold.ts';
import { effectsOf } from './helpers.ts';
import { allNodes, type Instruction } from './prepare.ts';
import { registerAt } from './registers.ts';

/** Accesses further apart than this are looked up on their own. */
const REACH = 1024;
/** The region's page stands for itself: what is relative to rip. */
const PAGE_BASE = 16;

export interface Group {
  /** Bytes from lowest to highest, relative to the value that all have in common. */
  lo: number;
  hi: number;
  /** One of them writes: the page must be writable. */
  write: boolean;
  count: number;
}

export interface Member {
  readonly group: Group;
  /** Offset of the access. */
  readonly at: number;
}

/** Of each instruction: its loads and probes that are in a group of at least two. */
export type Accesses = ReadonlyMap<Instruction, ReadonlyMap<Node, Member>>;

/** A value known as symbol plus offset. */
interface Linear {
  readonly symbol: number;
  readonly at: number;
}

/** General registers' values through a block. */
class Symbols {
  private next = PAGE_BASE + 1;
  private readonly registers: Linear[] = Array.from({ length: 16 }, (_, n) => ({ symbol: n, at: 0 }));
  get(n: number): Linear {
    return this.registers[n];
  }
  set(n: number, v: Linear | undefined): void {
    this.registers[n] = v ?? { symbol: this.next++, at: 0 };
  }
  forget(): void {
    for (let n = 0; n < 16; n++) this.set(n, undefined);
  }
}

export function findGroups(block: readonly Instruction[]): Accesses {
  const symbols = new Symbols();
  const open = new Map<number, Group>();
  const all = new Map<Instruction, Map<Node, Member>>();
  for (const i of block) {
    const members = new Map<Node, Member>();
    instruction(i, symbols, open, members);
    if (members.size) all.set(i, members);
  }
  for (const [i, members] of all) {
    for (const [n, m] of members) if (m.group.count < 2) members.delete(n);
    if (!members.size) all.delete(i);
  }
  return all;
}

function instruction(i: Instruction, symbols: Symbols, open: Map<number, Group>, members: Map<Node, Member>): void {
  const values = new Map<number, Linear>();
  const access = (n: Node, addr: Val, bytes: number, write: boolean) => {
    const v = values.get(addr.id);
    if (!v) return;
    let g = open.get(v.symbol);
    if (!g || Math.max(g.hi, v.at + bytes) - Math.min(g.lo, v.at) > REACH) {
      g = { lo: v.at, hi: v.at + bytes, write: false, count: 0 };
      open.set(v.symbol, g);
    }
    g.lo = Math.min(g.lo, v.at);
    g.hi = Math.max(g.hi, v.at + bytes);
    g.write ||= write;
    g.count++;
    members.set(n, { group: g, at: v.at });
  };
  const set = (offset: number, bytes: number, v: Val) => {
    const { n, byte } = registerAt(offset);
    if (n >= 0 && n < 16) symbols.set(n, bytes === 8 && byte === 0 ? values.get(v.id) : undefined);
  };
  for (const n of i.code.nodes) {
    switch (n.k) {
      case 'load':
        access(n, n.addr, n.bytes, false);
        break;
      case 'probe':
        access(n, n.p.addr, n.p.bytes, true);
        break;
      case 'set':
        set(n.off, n.bytes, n.v);
        break;
      case 'setregop':
        set(operandSlot(i.encoding, n.i, i.d) + (n.at ?? 0), n.bytes, n.v);
        break;
      case 'call': {
        // What it does to memory may change what is mapped, or how.
        const e = effectsOf(n.name);
        if (e.gpr) symbols.forget();
        if (e.memory) open.clear();
        break;
      }
      case 'if':
        for (const m of allNodes([n])) {
          if (m.k === 'set') set(m.off, 0, m.v);
          else if (m.k === 'setregop') set(operandSlot(i.encoding, m.i, i.d), 0, m.v);
          else if (m.k === 'call') {
            symbols.forget();
            open.clear();
          }
        }
        break;
      default: {
        const v = linear(i, n, symbols, values);
        if (v && 'out' in n && n.out) values.set(n.out.id, v);
      }
    }
  }
}

/** The node's value as symbol plus offset, if it is one. */
function linear(i: Instruction, n: Node, symbols: Symbols, values: ReadonlyMap<number, Linear>): Linear | undefined {
  const register = (offset: number, bytes: number): Linear | undefined => {
    const r = registerAt(offset);
    return bytes === 8 && r.byte === 0 && r.n >= 0 && r.n < 16 ? symbols.get(r.n) : undefined;
  };
  switch (n.k) {
    case 'get':
      return register(n.off, n.bytes);
    case 'regop':
      return register(operandSlot(i.encoding, n.i, i.d), n.bytes);
    case 'ea': {
      const { d } = i;
      if (i.encoding.operands.some((o) => o.code === 'O') || d.index >= 0 || d.addr32 || (d.seg >= 0 && !n.noseg))
        return undefined;
      if (d.base === PAGE_BASE) return { symbol: PAGE_BASE, at: i.next + d.disp };
      if (d.base < 0) return undefined;
      const v = symbols.get(d.base);
      return { symbol: v.symbol, at: v.at + d.disp };
    }
    case 'op': {
      if (n.op !== 'i64.add' && n.op !== 'i64.sub') return undefined;
      const v = values.get(n.args[0].id);
      const by = constant(i, n.args[1]);
      if (!v || by === undefined) return undefined;
      const at = v.at + (n.op === 'i64.add' ? by : -by);
      return Math.abs(at) < 2 ** 31 ? { symbol: v.symbol, at } : undefined;
    }
    default:
      return undefined;
  }
}

function constant(i: Instruction, v: Val): number | undefined {
  const n = v.node;
  if (n.k === 'op' && n.op === 'i64.const') return Number(BigInt.asIntN(64, BigInt(n.imm![0])));
  if (n.k === 'immop' && n.t === 'i64') return Number(immediate(i.d, n.i === i.second, n.t));
  return undefined;
}
