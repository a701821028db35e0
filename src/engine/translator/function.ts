/**
 * A region → one wasm function, as the interpreter's handlers are: (rec, cpu, fuel) → i32. With several entries it looks
 * at the record to see which one it is, or has its offset (JumpEntry.place) instead of a record. Computed jumps (returns,
 * mostly) that lead to an entry stay inside.
 */
import { RFLAGS } from '../flags.ts';
import { emitEntryOffset, emitJumpEntry } from '../jump-cache.ts';
import { CpuState, JumpEntry, XTLB_ENTRIES, XtlbEntry } from '../state.ts';
import { type Accesses, findGroups, mayLeave } from './accesses.ts';
import { nearBase } from './bounds.ts';
import { pageOf } from './code-view.ts';
import { markDeadFlags } from './dead-flags.ts';
import type { Block, Region } from './discover.ts';
import {
  CPU,
  type Frame,
  INSIDE,
  INTERPRET,
  LEFT,
  ON,
  type Outside,
  PASSING,
  POLL,
  RESYNC,
  RegionEmitter,
  SIDE_DONE,
  SIDE_SHIFT,
  UNIT,
} from './emitter.ts';
import { FlagExits } from './flag-exits.ts';
import { FlagLocals } from './flag-locals.ts';
import { after, forgets, MEM } from './flag-steps.ts';
import { fpGroups } from './fp-group.ts';
import { UNBOUND } from './library.ts';
import { crossesPage, lastPage } from './prepare.ts';
import type { RegionFunc } from './region-func.ts';
import { bitOf, type RegisterSet, Registers } from './registers.ts';
import { callsByAddress, returnsOf } from './returns.ts';
import { ANY_ENTRY, type Edge, type Graph, makeGraph, type Nesting, nest } from './structure.ts';
import { registerUse } from './uses.ts';

const { off } = CpuState;
const REC = 0;

export interface Exits extends Outside {
  /** (cpu, left, target): continue there, after a poll; without, as the jump cache does not know it; and with one instruction interpreted. */
  readonly go: number;
  readonly jump: number;
  readonly interpret: number;
  /** (cpu, left, target): guest code is left there. Of regions that need it. */
  readonly preempt: number | undefined;
  readonly flagsWords: number;
  /** Globals: the translation's number, and the offset tables of its other pages. Function (cpu, id, n): look for page n's. */
  readonly id: number;
  readonly tables: readonly number[];
  readonly bind: number;
  /** Type of what stands in the function table. */
  readonly handlerType: number;
}

/** Where a block goes: to blocks, or out of the region (undefined). */
interface Flow {
  readonly taken?: number;
  readonly next?: number;
}

/** Where control may come to by offset: the block there, and the edge to it. */
interface Target {
  readonly offset: number;
  readonly block: number;
  readonly edge: Edge;
}

export class RegionFunction {
  private readonly f: RegionFunc;
  private readonly region: Region;
  private readonly blocks: readonly Block[];
  private readonly exits: Exits;
  private readonly graph: Graph;
  private readonly nesting: Nesting;
  private readonly flow: readonly Flow[];
  /** Of returns whose callers are known: the blocks that they lead to. */
  private readonly returns: ReadonlyMap<number, readonly number[]>;
  private readonly kinds: readonly ReadonlySet<number>[];
  /** The same where the targets of computed jumps are told apart. */
  private readonly anyKinds: ReadonlySet<number>;
  private readonly flags: FlagLocals;
  private readonly emitter: RegionEmitter;
  private readonly frame: Frame;
  private readonly regs: Registers;
  /** By block: registers that it needs. */
  private readonly live: readonly RegisterSet[];
  /** Blocks at which the region is entered, or to which computed jumps lead. */
  private readonly targets: readonly number[];
  /** How guest code is left at a branch that does not lead back. Where a loop goes round without a branch, it is left on its way there alone. */
  private readonly passing: number;
  /** Local (i32): offset at which the region is entered, or goes on after a computed jump. */
  private readonly entry: number;
  /** Local (i32): execute-TLB entry of the page that control goes to. */
  private readonly crossed: number;
  /** Levels of the open loops and of the blocks before merge nodes. */
  private readonly loops = new Map<number, number>();
  private readonly merges = new Map<number, number>();
  private readonly labels = new Map<number, number>();

  constructor(region: Region, exits: Exits, f: RegionFunc) {
    this.f = f;
    this.region = region;
    this.exits = exits;
    this.crossed = f.register('i32');
    const index = new Map(region.blocks.map((b, i) => [b.start, i]));
    const find = (o: number | undefined) => (o === undefined ? undefined : index.get(o));
    this.flow = region.blocks.map((b) => ({ taken: find(b.taken), next: find(b.next) }));
    this.returns = returnsOf(region.blocks, index);
    // What is called by address may be one of these functions.
    const indirect = callsByAddress(region.blocks, index);
    const successors = this.flow.map((s, i) => {
      const last = region.blocks[i].instructions.at(-1)!;
      const known = this.returns.get(i);
      if (known) return indirect ? [...known, ANY_ENTRY] : known;
      // A return goes to after a call: a function that has none is left, and gets no loop around it.
      if (last.encoding.insn.name === 'ret' && !region.returns) return [];
      return last.ending === 'jump' ? [ANY_ENTRY] : [s.taken, s.next].filter((x) => x !== undefined);
    });
    const targets = region.targets.map((e) => index.get(e)!);
    this.graph = makeGraph(successors, targets);
    this.nesting = nest(this.graph);
    this.passing = this.silentLoop() ? INSIDE : PASSING;
    const { blocks, accesses } = withDeadFlags(region.blocks, findGroups(region.blocks, this.graph, this.nesting));
    this.blocks = blocks;
    const inside = successors.map((s) => s.flatMap((to) => (to === ANY_ENTRY ? targets : [to])));
    this.kinds = flagKinds(blocks, inside, targets);
    this.anyKinds = new Set(targets.flatMap((t) => [...this.kinds[t]]));
    // Where computed jumps lead, registers are loaded.
    const direct = successors.map((s) => s.filter((to) => to !== ANY_ENTRY));
    const use = registerUse(blocks, direct, (i) => mayLeave(i, accesses));
    this.live = use.live;
    this.targets = targets;
    const regs = new Registers(f, use.named);
    this.regs = regs;
    this.flags = new FlagLocals(f, exits.flagsWords);
    const locals = {
      page: f.register('i64'),
      tlb: f.register('i32'),
      to: f.register('i64'),
      way: f.register('i32'),
      side: f.register('i64'),
    };
    this.entry = f.register('i32');

    f.get(LEFT).get(REC).op('i32.sub').set(LEFT);
    if (this.graph.root >= region.blocks.length) {
      emitEntryOffset(f, REC);
      f.set(this.entry);
    }
    f.get(CPU).mem('i64.load', off.page).set(locals.page);
    f.get(CPU).mem('i32.load', off.tlb).set(locals.tlb);
    if (this.graph.root < blocks.length) this.load(this.graph.root);
    const exit = f.level;
    f.block();
    const sideExit = f.level;
    f.block();
    const flagExits = new FlagExits(
      f,
      this.flags,
      [this.anyKinds, ...flagStates(blocks, this.kinds)],
      [exit, sideExit],
    );
    this.frame = { ...locals, exit, sideExit, exits: flagExits };
    const near = new Set(blocks.flatMap((b) => [...nearBase(b.instructions)]));
    this.emitter = new RegionEmitter(f, exits, this.frame, regs, use.unseen, this.flags, accesses, near);
    this.tree(this.graph.root);
    flagExits.close();
    f.op('unreachable').end();
    this.interpret();
    f.end();
    this.goOn(exits);
  }

  /** Does a loop go round by falling through, where nobody is heard? */
  private silentLoop(): boolean {
    const { order } = this.nesting;
    return this.flow.some(({ taken, next }, n) => {
      if (next === undefined || pageOf(this.region.blocks[n].next!) !== pageOf(this.region.blocks[n].start))
        return false;
      return order[this.graph.edges[n][taken === undefined ? 0 : 1].to] <= order[n];
    });
  }

  /** What the side exits have in common. */
  private interpret(): void {
    const { f } = this;
    const { side, page, to, way } = this.frame;
    f.get(LEFT)
      .get(side)
      .i64(SIDE_DONE)
      .op('i64.and')
      .op('i32.wrap_i64')
      .i32(UNIT)
      .op('i32.mul')
      .op('i32.sub')
      .set(LEFT);
    f.get(page).get(side).i64(SIDE_SHIFT).op('i64.shr_s').op('i64.add').set(to);
    f.i32(INTERPRET).set(way);
  }

  /**
   * To the address in `to`. The jump cache is looked into here, so that each region has a jump of its own, which the host's
   * processor can predict.
   */
  private goOn(exits: Exits): void {
    const { f } = this;
    const { to, way } = this.frame;
    const go = (exit: number) => f.get(CPU).get(LEFT).get(to).returnCall(exit);
    f.get(way).i32(RESYNC).op('i32.gt_u').leaving();
    f.get(way).i32(INTERPRET).op('i32.eq').leaving(false);
    go(exits.interpret);
    f.end();
    f.get(CPU).i32(0).get(way).op('i32.sub').mem('i32.store', off.preempted);
    go(exits.go);
    f.end();
    if (exits.preempt !== undefined) this.resync(exits.preempt, () => go(exits.go));
    f.get(way).i32(POLL).op('i32.eq').get(LEFT).get(CPU).mem('i32.load', off.pending).op('i32.le_s').op('i32.and');
    f.leaving();
    f.get(CPU).op('global.get').body.u32(exits.id);
    f.mem('i32.store', off.preempted);
    go(exits.go);
    f.end();
    const e = f.register('i32');
    const place = f.register('i32');
    emitJumpEntry(f, CPU, to);
    f.tee(e).mem('i64.load', JumpEntry.off.target).get(to).op('i64.eq').leaving(false);
    f.get(CPU).get(to).i64(-4096n).op('i64.and').mem('i64.store', off.page);
    f.get(e).mem('i32.load', JumpEntry.off.place).tee(place).get(CPU).get(LEFT).get(place).op('i32.add');
    f.get(e).mem('i32.load', JumpEntry.off.handler).returnCallIndirect(exits.handlerType);
    f.end();
    go(exits.jump);
  }

  /** The instruction may have set the trap flag: single steps are `run`'s. Or entered compatibility mode, whose code the jump cache does not know. */
  private resync(preempt: number, go: () => void): void {
    const { f } = this;
    const { to, way } = this.frame;
    f.get(way).i32(RESYNC).op('i32.eq').if();
    f.get(CPU).mem('i32.load', off.rflags).i32(RFLAGS.TF).op('i32.and').leaving();
    f.get(CPU).get(LEFT).get(to).returnCall(preempt);
    f.end();
    f.get(CPU).mem('i32.load', off.mode).leaving();
    go();
    f.end();
    f.i32(POLL).set(way);
    f.end();
  }

  /** The linear address on the stack becomes its entry in the execute TLB. */
  private xtlbEntry(): RegionFunc {
    const { f } = this;
    f.op('i32.wrap_i64')
      .i32(12 - Math.log2(XtlbEntry.size))
      .op('i32.shr_u');
    f.i32((XTLB_ENTRIES - 1) * XtlbEntry.size).op('i32.and');
    f.get(CPU).mem('i32.load', off.xtlb).op('i32.add');
    return f;
  }

  /** A node and all that it dominates. */
  private tree(n: number): void {
    const { f } = this;
    const loop = this.nesting.isLoop.has(n);
    if (loop) {
      this.loops.set(n, f.level);
      f.loop();
    }
    this.before(n, this.nesting.children[n].filter((c) => this.nesting.isMerge.has(c)).toReversed());
    if (loop) f.op('unreachable').end();
  }

  /** Node n inside blocks whose ends are the merge nodes, the last in order outermost. */
  private before(n: number, merges: readonly number[]): void {
    if (!merges.length) {
      this.node(n);
      return;
    }
    const [m, ...rest] = merges;
    this.merges.set(m, this.f.level);
    this.f.block();
    this.before(n, rest);
    this.f.op('unreachable').end();
    this.merges.delete(m);
    this.tree(m);
  }

  private node(n: number): void {
    if (n >= this.graph.blocks) this.dispatch(n);
    else this.block(n);
  }

  /** Go to the target that the label says. */
  private dispatch(n: number): void {
    const { f } = this;
    if (n === this.graph.root) {
      this.byOffset(
        n,
        this.graph.edges[n]
          .map((edge, i) => ({ offset: this.region.targets[i], block: this.targets[i], edge }))
          .sort((a, b) => a.offset - b.offset),
      );
      return;
    }
    const edges = this.graph.edges[n];
    // Each target's edge in a block of its own, as it may have to set further labels.
    const level = f.level;
    for (const _ of edges) f.block();
    f.get(this.label(n)).brTable(
      edges.map((_, i) => f.level - 1 - (level + edges.length - 1 - i)),
      0,
    );
    for (const e of edges) {
      f.end();
      this.follow(n, e);
    }
  }

  /** Go to the target at the offset in `entry`, by binary search; to none of them: leave. */
  private byOffset(n: number, entries: readonly Target[]): void {
    const { f } = this;
    if (entries.length === 1) {
      const [{ offset, block, edge }] = entries;
      const leave = () => {
        this.flags.kinds = this.anyKinds;
        this.leave();
      };
      f.get(this.entry).i32(offset).op('i32.ne').leaving();
      leave();
      f.end();
      // Only a computed jump inside leads to another page's places, and its exit is prepared.
      if (pageOf(offset) !== 0) this.cross(pageOf(offset), leave);
      this.load(block);
      this.follow(n, edge);
      return;
    }
    const half = entries.length >> 1;
    f.get(this.entry).i32(entries[half].offset).op('i32.lt_s').leaving(false);
    this.byOffset(n, entries.slice(0, half));
    f.end();
    this.byOffset(n, entries.slice(half));
  }

  /** Load the registers that a block needs: what is in CpuState is what they are, wherever control comes from. */
  private load(block: number): void {
    this.regs.load((n) => (this.live[block] & bitOf(n)) !== 0);
  }

  private label(dispatch: number): number {
    let l = this.labels.get(dispatch);
    if (l === undefined) {
      l = this.f.register('i32');
      this.labels.set(dispatch, l);
    }
    return l;
  }

  /** Take an edge inside the region. */
  private follow(from: number, e: Edge): void {
    const { f } = this;
    for (const s of e.sets) f.i32(s.label).set(this.label(s.dispatch));
    const { order, isMerge } = this.nesting;
    if (order[e.to] <= order[from]) f.brTo(this.loops.get(e.to)!);
    else if (isMerge.has(e.to)) f.brTo(this.merges.get(e.to)!);
    else this.tree(e.to);
  }

  private block(n: number): void {
    const { f, emitter } = this;
    const b = this.blocks[n];
    this.flags.kinds = this.kinds[n];
    emitter.start(b.instructions);
    let fpu = false;
    const groups = fpGroups(b.instructions);
    let grouped = 0;
    for (const [i, instruction] of b.instructions.entries()) {
      if (i < grouped) continue;
      const count = groups.get(i);
      if (count !== undefined) {
        emitter.proveTogether(b.instructions.slice(i, i + count), i, !fpu);
        fpu = true;
        grouped = i + count;
        continue;
      }
      const uses = !!instruction.encoding.insn.fpu;
      const end = lastPage(instruction);
      // The first page stays what it is for as long as the region runs.
      if (crossesPage(instruction) && end !== 0) this.cross(end, () => emitter.leaveTo(instruction, i));
      emitter.instruction(instruction, i, uses && !fpu);
      fpu ||= uses;
    }
    const last = b.instructions.at(-1)!;
    f.get(LEFT)
      .i32(b.instructions.length * UNIT)
      .op('i32.sub')
      .set(LEFT);
    if (last.ending === 'jump') {
      this.jump(n);
      return;
    }
    if (last.ending === 'resync') {
      this.leave();
      return;
    }
    const edges = this.graph.edges[n];
    const { taken, next } = this.flow[n];
    const takenEdge = taken === undefined ? undefined : edges[0];
    const nextEdge = next === undefined ? undefined : edges[taken === undefined ? 0 : 1];
    if (last.ending === 'cond') {
      const kinds = this.flags.kinds;
      f.get(emitter.condition).leaving(false);
      this.edge(n, b.taken!, true, takenEdge);
      f.end();
      this.flags.kinds = kinds;
    } else if (last.ending === 'branch') {
      this.edge(n, b.taken!, true, takenEdge);
      return;
    }
    this.edge(n, b.next!, false, nextEdge);
  }

  /** To the address in `to`: perhaps a target in this region. */
  private jump(from: number): void {
    const { f } = this;
    const { page, to } = this.frame;
    if (!this.graph.edges[from].length) {
      this.leave();
      return;
    }
    const { kinds } = this.flags;
    f.get(LEFT).get(CPU).mem('i32.load', off.pending).op('i32.gt_s');
    f.if();
    const known = this.returns.get(from) ?? [];
    const edges = this.graph.edges[from];
    for (const [n, block] of known.entries()) this.returnTo(from, this.blocks[block].start, edges[n]);
    if (edges.length > known.length) {
      f.get(to).get(page).op('i64.sub').op('i32.wrap_i64').tee(this.entry).op('i64.extend_i32_s');
      f.get(page).op('i64.add').get(to).op('i64.eq').leaving(false);
      this.follow(from, edges[known.length]);
      f.end();
    }
    f.end();
    this.flags.kinds = kinds;
    this.leave();
  }

  /** By the exit, as it has been prepared. */
  private leave(): void {
    this.frame.exits.leave(this.frame.exit);
  }

  /** To the place after a call, if that is the address in `to`. */
  private returnTo(from: number, target: number, e: Edge): void {
    const { f, flags } = this;
    const { page, to } = this.frame;
    const kinds = flags.kinds;
    f.get(page).i64(BigInt(target)).op('i64.add').get(to).op('i64.eq').leaving(false);
    const other = pageOf(target);
    if (other !== 0 && other !== pageOf(this.blocks[from].start)) {
      this.cross(other, () => this.leave());
    }
    this.follow(from, e);
    f.end();
    flags.kinds = kinds;
  }

  /** To `target`, in the region (edge) or out of it. Taken branches and page ends are poll points. */
  private edge(from: number, target: number, branch: boolean, e: Edge | undefined): void {
    const { f } = this;
    const page = pageOf(target);
    const crosses = page !== pageOf(this.blocks[from].start);
    const polls = branch || crosses;
    if (!e) {
      this.emitter.leave(target, 0, polls ? POLL : ON);
      return;
    }
    if (polls) {
      // Others may ask for the CPU at any time, and are heard where guest code can go round.
      f.get(LEFT);
      const back = this.nesting.order[e.to] <= this.nesting.order[from];
      if (back) f.get(CPU).mem('i32.load', off.pending);
      else f.i32(0);
      f.op('i32.le_s').leaving();
      this.emitter.leave(target, 0, back ? INSIDE : this.passing);
      f.end();
    }
    if (crosses && page !== 0) this.cross(page, () => this.emitter.leave(target, 0, POLL));
    this.follow(from, e);
  }

  /**
   * Does the page `delta` pages on still have the code that its part of the region was made from? If not: `leave`. The answer
   * holds for as long as guest code runs on, as a mapping's change is heard of at poll points at the earliest.
   */
  private cross(delta: number, leave: () => void): void {
    const { f, crossed } = this;
    const n = this.region.others.findIndex((p) => p.delta === delta);
    const table = () => f.op('global.get').body.u32(this.exits.tables[n]);
    const linear = () =>
      f
        .get(this.frame.page)
        .i64(BigInt(delta) * 4096n)
        .op('i64.add');
    linear();
    this.xtlbEntry().tee(crossed).mem('i64.load', XtlbEntry.off.tag);
    linear();
    f.op('i64.xor').get(crossed).mem('i32.load', XtlbEntry.off.code);
    table();
    f.op('i32.xor').op('i64.extend_i32_u').op('i64.or').i64(0n).op('i64.ne').leaving();
    table();
    f.i32(UNBOUND).op('i32.eq').if();
    f.get(CPU).op('global.get').body.u32(this.exits.id);
    f.i32(n).call(this.exits.bind);
    f.end();
    leave();
    f.end();
  }
}

/** The blocks with their dead flags marked, and the accesses of the instructions that this makes. */
function withDeadFlags(raw: readonly Block[], accesses: Accesses): { blocks: readonly Block[]; accesses: Accesses } {
  const marked = new Map(accesses);
  const blocks = raw.map((b) => {
    const instructions = markDeadFlags(b.instructions, (i) => mayLeave(i, accesses));
    for (const [n, i] of instructions.entries()) {
      const members = accesses.get(b.instructions[n]);
      if (members) marked.set(i, members);
    }
    return { ...b, instructions };
  });
  return { blocks, accesses: marked };
}

/** Kinds of flags possible at the start of each block. */
function flagKinds(
  blocks: readonly Block[],
  successors: readonly (readonly number[])[],
  entries: readonly number[],
): ReadonlySet<number>[] {
  const kinds = blocks.map(() => new Set<number>());
  for (const e of entries) kinds[e].add(MEM);
  // What comes before a step after which there is one kind, whatever there was, makes no difference.
  const steps = blocks.map(({ instructions }) => {
    const all = instructions.flatMap((i) => i.flags);
    return all.slice(Math.max(0, all.findLastIndex(forgets)));
  });
  const queue = [...blocks.keys()];
  while (queue.length) {
    const n = queue.shift()!;
    if (!kinds[n].size) continue;
    let k: ReadonlySet<number> = kinds[n];
    for (const s of steps[n]) k = after(k, s);
    for (const to of successors[n]) {
      const before = kinds[to].size;
      for (const x of k) kinds[to].add(x);
      if (kinds[to].size !== before) queue.push(to);
    }
  }
  return kinds;
}

/** The sets of kinds that there are before and after the steps of each block. */
function* flagStates(
  blocks: readonly Block[],
  kinds: readonly ReadonlySet<number>[],
): Generator<ReadonlySet<number>, void> {
  for (const [n, { instructions }] of blocks.entries()) {
    let k = kinds[n];
    yield k;
    for (const i of instructions) {
      for (const s of i.flags) {
        k = after(k, s);
        yield k;
      }
    }
  }
}
