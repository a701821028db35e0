/**
 * Memory accesses of a region that lie close to each other for sure: at constant distances from one value, as those of a stack
 * frame or of a structure. They are looked up in the TLB together, once: the first of them, which all ways to the others lead
 * through, finds the page, or the region is left. What it found holds for as long as the region runs on: the TLB changes
 * only where the region is left, and in helpers that touch memory.
 */
import { operandSlot } from '../decode/slots.ts';
import type { Node, Val } from '../semantics/ir.ts';
import { CpuState } from '../state.ts';
import { immediate } from './fold.ts';
import { effectsOf } from './helpers.ts';
import { allNodes, type Instruction } from './prepare.ts';
import { bitOf, NO_REGISTERS, type RegisterSet, registerAt } from './registers.ts';
import type { Graph, Nesting } from './structure.ts';

/** Accesses of a block that are further apart than this are looked up on their own. */
const REACH = 1024;
/** The same for accesses of different blocks: the later ones may not come, and the more bytes, the more often they are in two pages. */
const FAR_REACH = 256;
/** Groups of one value that are open at a time. */
const MAX_OPEN = 4;
/** Symbol of the region's page, which what is relative to rip is relative to; the others follow. */
const PAGE_BASE = 16;
const SEGMENTS = 6;

export interface Group {
  /** Bytes from lowest to highest, relative to the value that all have in common. */
  lo: number;
  hi: number;
  /** The page must be writable. */
  write: boolean;
  count: number;
  /** The block of the first; whether the others are there too. */
  readonly block: number;
  local: boolean;
}

export interface Member {
  readonly group: Group;
  /** Offset of the access. */
  readonly at: number;
  /** It makes the look-up. */
  readonly first: boolean;
}

/** Of each instruction: its loads and probes that are in a group of at least two. */
export type Accesses = ReadonlyMap<Instruction, ReadonlyMap<Node, Member>>;

/** A value known as symbol plus offset. */
interface Linear {
  readonly symbol: number;
  readonly at: number;
}

/** What is known at a point of the region: registers' values, and the groups that may be added to, by symbol. */
class State {
  private readonly registers: Linear[];
  private readonly bases: number[];
  private readonly open: Map<number, readonly Group[]>;
  private readonly fresh: () => number;

  constructor(fresh: () => number, from?: State) {
    this.fresh = fresh;
    this.registers = from ? [...from.registers] : Array.from({ length: 16 }, () => ({ symbol: fresh(), at: 0 }));
    this.bases = from ? [...from.bases] : Array.from({ length: SEGMENTS }, fresh);
    this.open = new Map(from?.open);
  }

  get(n: number): Linear {
    return this.registers[n];
  }
  set(n: number, v: Linear | undefined): void {
    this.registers[n] = v ?? { symbol: this.fresh(), at: 0 };
  }
  /** Symbol of a segment's base. */
  base(segment: number): number {
    return this.bases[segment];
  }
  forgetBases(): void {
    for (let n = 0; n < SEGMENTS; n++) this.bases[n] = this.fresh();
  }
  /** What `k` says has happened, or may have. */
  kill(k: Kills): void {
    const gone = k.all ? -1 : k.registers;
    for (let n = 0; n < 16; n++) if (gone & bitOf(n)) this.set(n, undefined);
    if (k.all || k.bases) this.forgetBases();
    if (k.memory) this.open.clear();
  }

  /** The group that an access belongs to, an open one if there is one that it fits in. */
  group({ symbol, at }: Linear, bytes: number, write: boolean, block: number): Group {
    const groups = this.open.get(symbol) ?? [];
    for (const g of groups) {
      const here = g.block === block;
      // Not for the sake of what may not come: a page that is only read would never be found.
      if (write && !g.write && !here) continue;
      const within = g.lo <= at && at + bytes <= g.hi;
      const reach = here && g.local ? REACH : FAR_REACH;
      if (!within && Math.max(g.hi, at + bytes) - Math.min(g.lo, at) > reach) continue;
      g.lo = Math.min(g.lo, at);
      g.hi = Math.max(g.hi, at + bytes);
      g.write ||= write;
      g.count++;
      g.local &&= here;
      return g;
    }
    const g = { lo: at, hi: at + bytes, write, count: 1, block, local: true };
    this.open.set(symbol, [g, ...groups].slice(0, MAX_OPEN));
    return g;
  }
}

/** What nodes do to what was known before them. */
interface Kills {
  readonly registers: RegisterSet;
  /** All registers, and segments' bases. */
  readonly all: boolean;
  readonly bases: boolean;
  readonly memory: boolean;
}

const NOTHING: Kills = { registers: NO_REGISTERS, all: false, bases: false, memory: false };

const both = (a: Kills, b: Kills): Kills => ({
  registers: a.registers | b.registers,
  all: a.all || b.all,
  bases: a.bases || b.bases,
  memory: a.memory || b.memory,
});

const SEGBASE = CpuState.off.segbase;
const isBase = (offset: number) => offset >= SEGBASE && offset < SEGBASE + SEGMENTS * 8;

/** Of some of an instruction's nodes, those in lists among them. */
function killsOf(i: Instruction, nodes: readonly Node[]): Kills {
  let registers = NO_REGISTERS;
  let [all, bases, memory] = [false, false, false];
  for (const n of nodes) {
    if (n.k === 'set' || n.k === 'setregop') {
      const offset = n.k === 'set' ? n.off : operandSlot(i.encoding, n.i, i.d) + (n.at ?? 0);
      registers |= bitOf(registerAt(offset).n);
      bases ||= isBase(offset);
    } else if (n.k === 'call') {
      const e = effectsOf(n.name);
      all ||= e.gpr;
      memory ||= e.memory;
    }
  }
  return { registers, all, bases, memory };
}

/** The region's groups. Nodes of `graph` below `blocks.length` are the blocks. */
export function findGroups(
  blocks: readonly { readonly instructions: readonly Instruction[] }[],
  graph: Graph,
  nesting: Nesting,
): Accesses {
  let next = PAGE_BASE + 1;
  const fresh = () => next++;
  const predecessors: number[][] = graph.edges.map(() => []);
  for (const [n, edges] of graph.edges.entries())
    if (nesting.order[n] >= 0) for (const e of edges) predecessors[e.to].push(n);
  const kills = blocks.map((b) => b.instructions.reduce((k, i) => both(k, killsOf(i, i.all)), NOTHING));
  const all = new Map<Instruction, Map<Node, Member>>();

  /** What is known where node n begins, of what was where its dominator ended: less what happens on the ways from there. */
  const enter = (n: number, dominator: number, known: State): State => {
    const state = new State(fresh, known);
    const between = new Set<number>();
    let killed = NOTHING;
    const look = predecessors[n].filter((p) => p !== dominator);
    for (let p = look.pop(); p !== undefined; p = look.pop()) {
      if (between.has(p)) continue;
      between.add(p);
      killed = both(killed, kills[p] ?? NOTHING);
      for (const q of predecessors[p]) if (q !== dominator) look.push(q);
    }
    state.kill(killed);
    return state;
  };
  const visit = (n: number, state: State): void => {
    for (const i of blocks[n]?.instructions ?? []) {
      const members = new Map<Node, Member>();
      instruction(i, n, state, members);
      if (members.size) all.set(i, members);
    }
    for (const c of nesting.children[n]) visit(c, enter(c, n, state));
  };
  visit(graph.root, new State(fresh));
  for (const [i, members] of all) {
    for (const [n, m] of members) if (m.group.count < 2) members.delete(n);
    if (!members.size) all.delete(i);
  }
  return all;
}

function instruction(i: Instruction, block: number, state: State, members: Map<Node, Member>): void {
  const values = new Map<number, Linear>();
  const access = (n: Node, addr: Val, bytes: number, write: boolean) => {
    const v = values.get(addr.id);
    if (!v) return;
    const group = state.group(v, bytes, write, block);
    members.set(n, { group, at: v.at, first: group.count === 1 });
  };
  const set = (offset: number, bytes: number, v: Val) => {
    const { n, byte } = registerAt(offset);
    if (n >= 0 && n < 16) state.set(n, bytes === 8 && byte === 0 ? values.get(v.id) : undefined);
    if (isBase(offset)) state.forgetBases();
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
      case 'call': // what it does to memory may change what is mapped, or how
      case 'if':
        state.kill(killsOf(i, allNodes([n])));
        break;
      default: {
        const v = linear(i, n, state, values);
        if (v && 'out' in n && n.out) values.set(n.out.id, v);
      }
    }
  }
}

/** The node's value as symbol plus offset, if it is one. */
function linear(i: Instruction, n: Node, state: State, values: ReadonlyMap<number, Linear>): Linear | undefined {
  const register = (offset: number, bytes: number): Linear | undefined => {
    const r = registerAt(offset);
    return bytes === 8 && r.byte === 0 && r.n >= 0 && r.n < 16 ? state.get(r.n) : undefined;
  };
  switch (n.k) {
    case 'get':
      return register(n.off, n.bytes);
    case 'regop':
      return register(operandSlot(i.encoding, n.i, i.d), n.bytes);
    case 'ea': {
      const { d } = i;
      if (i.encoding.operands.some((o) => o.code === 'O') || d.index >= 0 || d.addr32) return undefined;
      if (d.seg >= 0 && !n.noseg) {
        return d.base < 0 ? { symbol: state.base(d.seg), at: d.disp } : undefined;
      }
      if (d.base === PAGE_BASE) return { symbol: PAGE_BASE, at: i.next + d.disp };
      if (d.base < 0) return undefined;
      const v = state.get(d.base);
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

/** May the region be left at the instruction? Not for accesses whose page others before it have looked up. */
export function mayLeave(i: Instruction, accesses: Accesses): boolean {
  if (!i.role.accesses) return i.role.leaves;
  const members = accesses.get(i);
  return i.code.nodes.some((n) => {
    if (n.k !== 'load' && n.k !== 'probe') return false;
    const member = members?.get(n);
    return !member || member.first || n.align;
  });
}
