/**
 * The nodes, as a tree that can be snapshotted in constant time: a snapshot shares every node with the original, and either
 * side copies the nodes on its way down before it changes one (a node belongs to the tree whose token it carries).
 *
 * A changed node gets a fresh number from one counter, its generation: equal generations mean an unchanged node, which is
 * what transactions and DIRECTORY_PART compare.
 */
import { XsError } from './errors.ts';
import { split } from './path.ts';
import type { Perms } from './perms.ts';

export interface Node {
  readonly value: Uint8Array;
  readonly perms: Perms;
  readonly children: ReadonlyMap<string, Node>;
  readonly generation: number;
  /** Length of the child names, each with its terminating nul. */
  readonly childBytes: number;
}

interface MutableNode {
  token: object;
  value: Uint8Array;
  perms: Perms;
  children: Map<string, MutableNode>;
  generation: number;
  childBytes: number;
}

/** What a domain owns. */
export interface Usage {
  nodes: number;
  bytes: number;
}

const EMPTY = new Uint8Array(0);
const HEADER_BYTES = 24;
const PERM_BYTES = 8;

/** Bytes that count against `Quota.nodeSize`. */
export function nodeSize(valueBytes: number, perms: number, childBytes: number): number {
  return HEADER_BYTES + PERM_BYTES * perms + valueBytes + childBytes;
}

const sizeOf = (n: Node) => nodeSize(n.value.length, n.perms.length, n.childBytes);

export class Tree {
  #root: MutableNode;
  #token: object = {};
  readonly #counter: { last: number };
  readonly #owners: Map<number, Usage>;

  private constructor(root: MutableNode, counter: { last: number }, owners: Map<number, Usage>) {
    this.#root = root;
    this.#counter = counter;
    this.#owners = owners;
  }

  /** A tree of one node, the root. */
  static create(perms: Perms): Tree {
    const root = { token: {}, value: EMPTY, perms, children: new Map(), generation: 1, childBytes: 0 };
    const tree = new Tree(root, { last: 1 }, new Map());
    tree.#account(root, 1);
    return tree;
  }

  snapshot(): Tree {
    this.#token = {};
    const owners = new Map([...this.#owners].map(([domid, u]) => [domid, { ...u }] as const));
    return new Tree(this.#root, this.#counter, owners);
  }

  /** The generation that the latest change got. */
  get generation(): number {
    return this.#counter.last;
  }

  get(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of split(path)) {
      node = node.children.get(name);
      if (!node) return undefined;
    }
    return node;
  }

  usage(domid: number): Readonly<Usage> {
    return this.#owners.get(domid) ?? { nodes: 0, bytes: 0 };
  }

  /** Adds a node under an existing parent. */
  create(path: string, value: Uint8Array, perms: Perms): void {
    const names = split(path);
    const name = names.pop();
    if (name === undefined) throw new XsError('EEXIST');
    const parent = this.#own(names);
    if (parent.children.has(name)) throw new XsError('EEXIST');
    const node = { token: this.#token, value, perms, children: new Map(), generation: this.#next(), childBytes: 0 };
    this.#account(parent, -1);
    parent.children.set(name, node);
    parent.childBytes += name.length + 1;
    parent.generation = this.#next();
    this.#account(parent, 1);
    this.#account(node, 1);
  }

  setValue(path: string, value: Uint8Array): void {
    this.#change(path, (node) => {
      node.value = value;
    });
  }

  setPerms(path: string, perms: Perms): void {
    this.#change(path, (node) => {
      node.perms = perms;
    });
  }

  /** Removes an existing node, not the root, with all below it. */
  remove(path: string): void {
    const names = split(path);
    const name = names.pop();
    if (name === undefined) throw new XsError('EINVAL');
    const parent = this.#own(names);
    const node = parent.children.get(name);
    if (!node) throw new XsError('ENOENT');
    this.#account(parent, -1);
    parent.children.delete(name);
    parent.childBytes -= name.length + 1;
    parent.generation = this.#next();
    this.#account(parent, 1);
    for (const [, gone] of walk(path, node)) this.#account(gone, -1);
  }

  #change(path: string, edit: (node: MutableNode) => void): void {
    const node = this.#own(split(path));
    this.#account(node, -1);
    edit(node);
    node.generation = this.#next();
    this.#account(node, 1);
  }

  /** The node at `names`, after making it and every node above it this tree's own. */
  #own(names: string[]): MutableNode {
    let node = this.#claim(this.#root);
    this.#root = node;
    for (const name of names) {
      const child = node.children.get(name);
      if (!child) throw new XsError('ENOENT');
      const own = this.#claim(child);
      if (own !== child) node.children.set(name, own);
      node = own;
    }
    return node;
  }

  #claim(node: MutableNode): MutableNode {
    if (node.token === this.#token) return node;
    return { ...node, token: this.#token, children: new Map(node.children) };
  }

  #account(node: Node, sign: 1 | -1): void {
    const owner = node.perms[0].domid;
    const usage = this.#owners.get(owner) ?? { nodes: 0, bytes: 0 };
    usage.nodes += sign;
    usage.bytes += sign * sizeOf(node);
    if (usage.nodes === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, usage);
  }

  #next(): number {
    this.#counter.last += 1;
    return this.#counter.last;
  }
}

/** `node`, which lies at `path`, and everything below it, parents first. Deep trees cost no stack. */
export function* walk(path: string, node: Node): Generator<[string, Node]> {
  const todo: [string, Node][] = [[path, node]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    yield next;
    const [at, here] = next;
    const base = at === '/' ? '' : at;
    const below = [...here.children].map(([name, child]): [string, Node] => [`${base}/${name}`, child]);
    todo.push(...below.reverse());
  }
}
