/**
 * What both tiers do alike with a description (semantics/ir.ts): which values live in wasm locals, pure operations,
 * variables and `if`. A tier says in `leaf` how everything that touches guest state is done.
 */
import type { Code, Node, Probe, Type, Val } from '../semantics/ir.ts';
import type { Func } from './module.ts';

const LOAD: Record<string, string> = {
  'i32:1:u': 'i32.load8_u',
  'i32:1:s': 'i32.load8_s',
  'i32:2:u': 'i32.load16_u',
  'i32:2:s': 'i32.load16_s',
  'i32:4:u': 'i32.load',
  'i32:4:s': 'i32.load',
  'i64:1:u': 'i64.load8_u',
  'i64:1:s': 'i64.load8_s',
  'i64:2:u': 'i64.load16_u',
  'i64:2:s': 'i64.load16_s',
  'i64:4:u': 'i64.load32_u',
  'i64:4:s': 'i64.load32_s',
  'i64:8:u': 'i64.load',
  'i64:8:s': 'i64.load',
  'f32:4:u': 'f32.load',
  'f64:8:u': 'f64.load',
  'v128:16:u': 'v128.load',
  'v128:8:u': 'v128.load64_zero',
  'v128:4:u': 'v128.load32_zero',
};
const STORE: Record<string, string> = {
  'i32:1': 'i32.store8',
  'i32:2': 'i32.store16',
  'i32:4': 'i32.store',
  'i64:1': 'i64.store8',
  'i64:2': 'i64.store16',
  'i64:4': 'i64.store32',
  'i64:8': 'i64.store',
  'f32:4': 'f32.store',
  'f64:8': 'f64.store',
  'v128:16': 'v128.store',
};

export function loadOp(t: Type, bytes: number, signed: boolean): string {
  const op = LOAD[`${t}:${bytes}:${signed ? 's' : 'u'}`];
  if (!op) throw new Error(`no load of ${bytes} bytes as ${t}`);
  return op;
}
export function storeOp(t: Type, bytes: number): string {
  const op = STORE[`${t}:${bytes}`];
  if (!op) throw new Error(`no store of ${bytes} bytes from ${t}`);
  return op;
}

/**
 * How often each value is used, over all nested lists, by what has an effect or is used itself. `lazy`: flags of the outermost list
 * count by their recipes, and conditions by nothing (a tier that keeps recipes makes them from there).
 */
export function countUses(nodes: readonly Node[], uses: Int32Array, lazy = false): void {
  const use = (v?: Val) => {
    if (v) uses[v.id]++;
  };
  // From the last to the first: what is used comes after what it is made from.
  for (const n of nodes.toReversed()) {
    switch (n.k) {
      case 'op':
        if (uses[n.out.id]) n.args.forEach(use);
        break;
      case 'call':
        n.args.forEach(use);
        break;
      case 'setregop':
      case 'set':
        use(n.v);
        break;
      case 'load':
        use(n.addr);
        break;
      case 'probe':
        use(n.p.addr);
        break;
      case 'pstore':
        use(n.v);
        break;
      case 'atomic':
        use(n.v);
        use(n.p.addr);
        break;
      case 'cmpxchg':
        use(n.expected);
        use(n.v);
        use(n.p.addr);
        break;
      case 'flags':
        if (lazy && n.recipe) {
          use(n.recipe.a);
          use(n.recipe.b);
          use(n.recipe.r);
          if (n.recipe.op === 'result') use(n.c);
          break;
        }
        use(n.z);
        use(n.s);
        use(n.c);
        use(n.x);
        break;
      case 'cond':
        if (!lazy) use(n.word);
        break;
      case 'if':
        for (const v of n.unless ?? []) use(v);
        use(n.cond);
        countUses(n.then, uses);
        countUses(n.else, uses);
        break;
      case 'setvar':
        use(n.val);
        break;
      case 'raise':
        use(n.error);
        break;
      case 'exit':
        use(n.vector);
        use(n.error);
        break;
      case 'jump':
        use(n.target);
        break;
      default:
        break;
    }
  }
}

/** Nodes that a tier emits itself. */
export type Leaf = Exclude<Node, { k: 'op' | 'if' | 'setvar' | 'getvar' }>;

export abstract class IrEmitter {
  protected readonly f: Func;
  protected uses!: Int32Array;
  /** Local of each value, or -1: not made yet, or emitted where it is used. */
  protected place!: Int32Array;
  private vars: number[] = [];
  /** Values used more than once are made where they are used first: for lists without conditions. */
  protected late = false;
  /** Local with the host address of each probe. */
  protected readonly probes = new Map<number, number>();
  /** Lazy flag words known as locals (set earlier in this function). */
  protected readonly known = new Map<string, number>();

  constructor(f: Func) {
    this.f = f;
  }

  /** Emit one node; false if it ends the instruction on every path. */
  protected abstract leaf(n: Leaf): boolean;

  /** Emit a description; true if control reaches its end. `uses`: as countUses gives them, if known. */
  protected body(code: Code, uses?: Int32Array): boolean {
    this.uses = uses ?? new Int32Array(code.values);
    if (!uses) countUses(code.nodes, this.uses);
    this.place = new Int32Array(code.values).fill(-1);
    this.vars = code.vars.map((t) => this.f.local(t));
    this.probes.clear();
    return this.list(code.nodes);
  }

  protected list(nodes: readonly Node[]): boolean {
    for (const n of nodes) {
      if (!this.node(n)) return false;
    }
    return true;
  }

  private node(n: Node): boolean {
    switch (n.k) {
      case 'op':
        // Constants and values used once are emitted where they are used.
        if (!this.late && this.uses[n.out.id] > 1 && !n.op.endsWith('.const')) {
          this.pure(n);
          this.keep(n.out);
        }
        return true;
      case 'if':
        return this.cond(n);
      case 'setvar':
        this.val(n.val).set(this.vars[n.v]);
        return true;
      case 'getvar':
        this.f.get(this.vars[n.v]);
        this.keep(n.out);
        return true;
      default:
        return this.leaf(n);
    }
  }

  /** Is the value of a node wanted at all? */
  protected unused(v: Val): boolean {
    return this.uses[v.id] === 0;
  }

  /** Push value v: inline when pure and used once, else from its local. */
  protected val(v: Val): Func {
    const l = this.place[v.id];
    if (l >= 0) return this.f.get(l);
    const n = v.node;
    if (n.k !== 'op') throw new Error(`value of ${n.k} used before it was made`);
    this.pure(n);
    if (this.late && this.uses[v.id] > 1 && !n.op.endsWith('.const')) {
      this.place[v.id] = this.f.local(v.t);
      this.f.tee(this.place[v.id]);
    }
    return this.f;
  }
  private pure(n: Node & { k: 'op' }): void {
    const f = this.f;
    switch (n.op) {
      case 'i32.const':
        f.i32(Number(n.imm![0]));
        return;
      case 'i64.const':
        f.i64(BigInt(n.imm![0]));
        return;
      case 'f64.const':
        f.f64(Number(n.imm![0]));
        return;
      case 'f32.const':
        f.f32(Number(n.imm![0]));
        return;
      case 'v128.const':
        f.op('v128.const').body.raw(n.imm!.map(Number));
        return;
      case 'select':
        if (n.out.t === 'v128') {
          for (const a of n.args) this.val(a);
          f.op('select_t').body.raw([1, 0x7b]);
          return;
        }
        break;
    }
    for (const a of n.args) this.val(a);
    f.op(n.op);
    if (n.imm) for (const i of n.imm) f.body.u8(Number(i));
  }
  /** The value on the stack becomes v's. */
  protected keep(v: Val): void {
    if (this.uses[v.id] === 0) {
      this.f.op('drop');
      return;
    }
    const l = this.f.local(v.t);
    this.place[v.id] = l;
    this.f.set(l);
  }

  protected localOf(v: Val): number {
    if (this.place[v.id] >= 0) return this.place[v.id];
    const l = this.f.local(v.t);
    this.val(v);
    this.f.set(l);
    this.place[v.id] = l;
    return l;
  }
  protected hostOf(p: Probe): number {
    const h = this.probes.get(p.id);
    if (h === undefined) throw new Error('probe used outside its scope');
    return h;
  }

  /** Open `n`, whose condition is on the stack. */
  protected when(_: Node & { k: 'if' }): void {
    this.f.if();
  }

  protected cond(n: Node & { k: 'if' }): boolean {
    const f = this.f;
    if (n.unless) {
      // Two blocks: out of the inner one to what is rare, out of the outer one past it.
      f.block().block();
      for (const v of n.unless) this.val(v).op('i32.eqz').unlikely().brIf(0);
      this.val(n.cond).unlikely().brIf(0).br(1).end();
    } else {
      this.val(n.cond);
      this.when(n);
    }
    const before = new Map(this.known);
    const places = this.place.slice();
    const probes = new Map(this.probes);
    const a = this.list(n.then);
    const afterThen = new Map(this.known);
    this.known.clear();
    for (const [k, v] of before) this.known.set(k, v);
    this.place = places.slice();
    this.probes.clear();
    for (const [k, v] of probes) this.probes.set(k, v);
    let b = true;
    if (n.else.length) {
      f.else();
      b = this.list(n.else);
    }
    f.end();
    const afterElse = new Map(this.known);
    // What is known after: what both reaching branches agree on.
    this.known.clear();
    const merged = !a ? afterElse : !b ? afterThen : afterElse;
    for (const [k, v] of merged) {
      if (!a || !b || (afterThen.get(k) === v && afterElse.get(k) === v)) this.known.set(k, v);
    }
    this.place = places;
    this.probes.clear();
    for (const [k, v] of probes) this.probes.set(k, v);
    return a || b;
  }
}
