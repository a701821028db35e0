/**
 * From a flow graph to wasm's nested blocks and loops: dispatch nodes make every loop have one head, then the dominator
 * tree gives the nesting (N. Ramsey, "Beyond Relooper", 2022).
 */

/** An edge; on the way to a dispatch node it says which of that node's targets is meant. */
export interface Edge {
  to: number;
  readonly sets: { readonly dispatch: number; readonly label: number }[];
}

export interface Graph {
  /** Edges out of each node. Nodes from `blocks` on are dispatch nodes: they go where their label says. */
  readonly edges: Edge[][];
  readonly blocks: number;
  readonly root: number;
}

/** In a block's successors: any of the entries, by the address that control goes to. */
export const ANY_ENTRY = -1;

/**
 * A graph of `successors` entered at `entries`. With several entries, or blocks that go to any of them, the root is a
 * dispatch node: node number `successors.length`.
 */
export function makeGraph(successors: readonly (readonly number[])[], entries: readonly number[]): Graph {
  const blocks = successors.length;
  const edges: Edge[][] = successors.map((s) => s.map((to) => ({ to: to === ANY_ENTRY ? blocks : to, sets: [] })));
  let root = entries[0];
  if (entries.length > 1 || successors.some((s) => s.includes(ANY_ENTRY))) {
    root = blocks;
    edges.push(entries.map((to) => ({ to, sets: [] })));
  }
  const g: Graph = { edges, blocks, root };
  reduce(g, new Set(edges.keys()), new Set());
  return g;
}

/** Most heads of one loop that are tried out as the one that counts. */
const MAX_TRIED = 6;

/**
 * Give each loop among `nodes` a single head. `cut`: edges that lead back to heads found already.
 *
 * A loop with several heads gets a dispatch node, which all edges from outside go to, and the edges inside that lead to one of
 * the heads, the one without which the least is left to go round in. Edges inside to the other heads stay, so that a loop in
 * the loop is still one of its own.
 */
function reduce(g: Graph, nodes: ReadonlySet<number>, cut: Set<Edge>): void {
  for (const loop of components(g, nodes, cut)) {
    const heads = new Set<number>();
    if (loop.has(g.root)) heads.add(g.root);
    for (const [from, out] of g.edges.entries()) {
      if (loop.has(from)) continue;
      for (const e of out) if (loop.has(e.to)) heads.add(e.to);
    }
    const targets = [...heads];
    // Nothing leads there: it is not made.
    if (!targets.length) continue;
    let head = targets[0];
    if (targets.length > 1) {
      const main = mainHead(g, loop, targets, cut);
      head = g.edges.length;
      for (const [from, out] of g.edges.entries()) {
        for (const e of out) {
          const label = targets.indexOf(e.to);
          if (label < 0 || (loop.has(from) && e.to !== main)) continue;
          e.to = head;
          e.sets.push({ dispatch: head, label });
        }
      }
      g.edges.push(targets.map((to) => ({ to, sets: [] })));
      loop.add(head);
    }
    for (const n of loop) for (const e of g.edges[n]) if (e.to === head) cut.add(e);
    reduce(g, loop, cut);
  }
}

/** The head whose removal leaves the fewest nodes of the loop in cycles. */
function mainHead(g: Graph, loop: ReadonlySet<number>, heads: readonly number[], cut: ReadonlySet<Edge>): number {
  let best = heads[0];
  let least = Number.POSITIVE_INFINITY;
  for (const h of heads.slice(0, MAX_TRIED)) {
    const rest = new Set(loop);
    rest.delete(h);
    const left = components(g, rest, cut).reduce((n, c) => n + c.size, 0);
    if (left >= least) continue;
    best = h;
    least = left;
  }
  return best;
}

/** Strongly connected components with a cycle (Tarjan). */
function components(g: Graph, nodes: ReadonlySet<number>, cut: ReadonlySet<Edge>): Set<number>[] {
  const index = new Map<number, number>();
  const low = new Map<number, number>();
  const stack: number[] = [];
  const onStack = new Set<number>();
  const out: Set<number>[] = [];
  const visit = (v: number): void => {
    index.set(v, index.size);
    low.set(v, index.get(v)!);
    stack.push(v);
    onStack.add(v);
    let self = false;
    for (const e of g.edges[v]) {
      if (cut.has(e) || !nodes.has(e.to)) continue;
      if (e.to === v) self = true;
      if (!index.has(e.to)) {
        visit(e.to);
        low.set(v, Math.min(low.get(v)!, low.get(e.to)!));
      } else if (onStack.has(e.to)) low.set(v, Math.min(low.get(v)!, index.get(e.to)!));
    }
    if (low.get(v) !== index.get(v)) return;
    const c = new Set<number>();
    for (;;) {
      const w = stack.pop()!;
      onStack.delete(w);
      c.add(w);
      if (w === v) break;
    }
    if (c.size > 1 || self) out.push(c);
  };
  for (const n of nodes) if (!index.has(n)) visit(n);
  return out;
}

export interface Nesting {
  /** Position in reverse postorder; an edge to a node not after its origin goes back to a loop's head. */
  readonly order: Int32Array;
  readonly isLoop: ReadonlySet<number>;
  /** Nodes that are jumped to (others are emitted where their one edge is). */
  readonly isMerge: ReadonlySet<number>;
  /** Nodes that each node dominates immediately, in reverse postorder. */
  readonly children: readonly (readonly number[])[];
}

export function nest(g: Graph): Nesting {
  const n = g.edges.length;
  const post: number[] = [];
  const seen = new Set<number>();
  const visit = (v: number): void => {
    seen.add(v);
    for (const e of g.edges[v]) if (!seen.has(e.to)) visit(e.to);
    post.push(v);
  };
  visit(g.root);
  const rpo = post.reverse();
  const order = new Int32Array(n).fill(-1);
  for (const [i, v] of rpo.entries()) order[v] = i;
  const preds: number[][] = Array.from({ length: n }, () => []);
  for (const v of rpo) for (const e of g.edges[v]) preds[e.to].push(v);
  // Dominators (Cooper, Harvey, Kennedy).
  const idom = new Int32Array(n).fill(-1);
  idom[g.root] = g.root;
  for (let changed = true; changed; ) {
    changed = false;
    for (const v of rpo) {
      if (v === g.root) continue;
      let d = -1;
      for (const p of preds[v]) {
        if (idom[p] < 0) continue;
        let a = p;
        if (d < 0) d = a;
        else {
          while (a !== d) {
            while (order[a] > order[d]) a = idom[a];
            while (order[d] > order[a]) d = idom[d];
          }
        }
      }
      if (d !== idom[v]) {
        idom[v] = d;
        changed = true;
      }
    }
  }
  const isLoop = new Set<number>();
  const isMerge = new Set<number>();
  for (const v of rpo) {
    const forward = preds[v].filter((p) => order[p] < order[v]);
    if (forward.length < preds[v].length) isLoop.add(v);
    if (forward.length > 1) isMerge.add(v);
  }
  const children: number[][] = Array.from({ length: n }, () => []);
  for (const v of rpo) if (v !== g.root) children[idom[v]].push(v);
  return { order, isLoop, isMerge, children };
}
