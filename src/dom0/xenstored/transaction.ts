/**
 * A transaction works on a snapshot of the tree. It remembers the generation of every node it looked at or changed, and
 * commits only if none of them has changed since: otherwise EAGAIN, and the client starts over.
 */
import { XsError } from './errors.ts';
import type { Tree } from './tree.ts';
import type { Change } from './watches.ts';

const ABSENT = 0;

export class Transaction {
  readonly id: number;
  readonly tree: Tree;
  /** Nodes that the client owned at the start. */
  readonly nodesAtStart: number;
  /** What it holds, for the memory quota: values written and names touched. */
  bytes = 0;
  readonly #seen = new Map<string, number>();
  /** Created or changed and still there, in an order that has parents before children. */
  readonly #written = new Set<string>();
  readonly #removed = new Set<string>();
  readonly #changes = new Map<string, Change>();

  constructor(id: number, main: Tree, domid: number) {
    this.id = id;
    this.tree = main.snapshot();
    this.nodesAtStart = main.usage(domid).nodes;
  }

  /** Nodes touched. */
  get size(): number {
    return this.#seen.size;
  }

  /** To be called before a node is read or changed. */
  touch(path: string): void {
    if (this.#seen.has(path)) return;
    this.#seen.set(path, this.tree.get(path)?.generation ?? ABSENT);
    this.bytes += path.length;
  }

  wrote(path: string): void {
    this.#written.add(path);
  }

  /** The node at `path` went, and all below it. */
  removed(path: string): void {
    for (const written of this.#written) {
      if (written === path || written.startsWith(`${path}/`)) this.#written.delete(written);
    }
    this.#removed.add(path);
  }

  /** Keeps a change to be reported at commit. */
  report(change: Change): void {
    const key = `${change.exact ? '=' : '<'}${change.path}`;
    const known = this.#changes.get(key);
    // The first record has the permissions from before the transaction, the latest those it leaves behind.
    this.#changes.set(key, known ? { ...change, perms: [...known.perms.slice(0, 2), ...change.perms] } : change);
  }

  /** Throws EAGAIN on a conflict. Otherwise `main` has the changes, and the caller reports them. */
  commit(main: Tree): Iterable<Change> {
    for (const [path, generation] of this.#seen) {
      if ((main.get(path)?.generation ?? ABSENT) !== generation) throw new XsError('EAGAIN', path);
    }
    for (const path of this.#removed) if (main.get(path)) main.remove(path);
    for (const path of this.#written) {
      const node = this.tree.get(path)!;
      const old = main.get(path);
      if (!old) {
        main.create(path, node.value, node.perms);
        continue;
      }
      if (old.value !== node.value) main.setValue(path, node.value);
      if (old.perms !== node.perms) main.setPerms(path, node.perms);
    }
    return this.#changes.values();
  }
}
