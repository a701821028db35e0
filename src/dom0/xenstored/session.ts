/**
 * What one client may do with the store, and all it holds there: its transactions and watches. Operations throw XsError;
 * which error, and in which order things are checked, follows C xenstored 4.17.
 */
import { XENSTORE_REL_PATH_MAX } from '../../abi/xs_wire.ts';
import { XsError } from './errors.ts';
import { ancestors, canonicalize, domainPath, isSpecial, isValidSpecial, parentOf } from './path.ts';
import { accessOf, type Identity, OWNER, type Perms, READ, WRITE } from './perms.ts';
import type { Store } from './store.ts';
import { Transaction } from './transaction.ts';
import { type Node, nodeSize, type Tree, walk } from './tree.ts';
import type { Change, Watch, WatchOwner } from './watches.ts';

const EMPTY = new Uint8Array(0);
/** What a watch or a transaction is taken to cost, besides its strings and data. */
const WATCH_BYTES = 64;
const TRANSACTION_BYTES = 256;

export interface SessionOptions {
  /** Names that start with neither `/` nor `@` are relative to the domain's home. */
  relative: boolean;
  deliver: (path: string, token: string) => void;
  /** Bytes waiting to be read by the client. */
  queued?: () => number;
  /** The store ends the session. */
  closed?: () => void;
}

export class Session implements WatchOwner {
  readonly domid: number;
  readonly #store: Store;
  readonly #home: string | undefined;
  readonly #options: SessionOptions;
  readonly #transactions = new Map<number, Transaction>();
  readonly #watches = new Map<string, Watch>();
  #watchBytes = 0;
  #lastTransaction = 0;

  constructor(store: Store, domid: number, options: SessionOptions) {
    this.domid = domid;
    this.#store = store;
    this.#options = options;
    this.#home = options.relative ? domainPath(domid) : undefined;
    store.addSession(this);
  }

  get identity(): Identity {
    return this.#store.identity(this.domid);
  }

  get privileged(): boolean {
    return this.domid === 0;
  }

  // Reading

  read(name: string, tx?: Transaction): Uint8Array {
    return this.#lookup(name, READ, tx).node.value;
  }

  getPerms(name: string, tx?: Transaction): Perms {
    if (isSpecial(name)) {
      const perms = this.#store.specialPerms(name);
      if (!perms) throw new XsError('EINVAL');
      if (!(accessOf(this.identity, perms) & READ)) throw new XsError('EACCES');
      return perms;
    }
    return this.#lookup(name, READ, tx).node.perms;
  }

  /** Names of the children in the order of their creation, and the node's generation. */
  directory(name: string, tx?: Transaction): { names: string[]; generation: number } {
    const { node } = this.#lookup(name, READ, tx);
    return { names: [...node.children.keys()], generation: node.generation };
  }

  // Changing

  write(name: string, value: Uint8Array, tx?: Transaction): void {
    const path = this.#path(name);
    const node = this.#find(path, WRITE, tx);
    if (!node) this.#create(path, value, tx);
    else {
      this.#checkNode(value.length, node.perms.length, node.childBytes);
      this.#touch(path, tx);
      this.#tree(tx).setValue(path, value);
      this.#wrote(path, value.length, tx);
    }
    this.#report(path, [], tx);
  }

  mkdir(name: string, tx?: Transaction): void {
    const path = this.#path(name);
    if (this.#find(path, WRITE, tx)) return;
    this.#create(path, EMPTY, tx);
    this.#report(path, [], tx);
  }

  rm(name: string, tx?: Transaction): void {
    const path = this.#path(name);
    const tree = this.#tree(tx);
    const parent = parentOf(path);
    const node = this.#find(path, WRITE, tx);
    this.#touch(parent, tx);
    if (!node) {
      if (tree.get(parent)) return;
      throw new XsError('ENOENT', path);
    }
    if (path === '/') throw new XsError('EINVAL', 'the root cannot be removed');
    if (tx) for (const [below] of walk(path, node)) this.#touch(below, tx);
    this.#store.removeSubtree(tree, path, tree.get(parent)!.perms, (change) => this.#announce(change, tx));
    tx?.removed(path);
  }

  setPerms(name: string, perms: Perms, tx?: Transaction): void {
    if (perms.length === 0) throw new XsError('EINVAL', 'no permissions given');
    if (!this.privileged && perms.length > this.#store.quota.perms) throw new XsError('ENOSPC', 'too many permissions');
    if (isSpecial(name)) {
      if (!this.#store.specialPerms(name)) throw new XsError('EINVAL');
      if (!this.privileged) throw new XsError('EACCES');
      this.#store.setSpecialPerms(name, perms);
      return;
    }
    const { path, node } = this.#lookup(name, WRITE | OWNER, tx);
    if (!this.privileged && perms[0].domid !== node.perms[0].domid)
      throw new XsError('EPERM', 'owner cannot be changed');
    this.#checkNode(node.value.length, perms.length, node.childBytes);
    this.#touch(path, tx);
    const before = node.perms; // the node may be changed in place
    this.#tree(tx).setPerms(path, perms);
    this.#wrote(path, perms.length, tx);
    this.#report(path, [before], tx);
  }

  // Watches

  /** The watch is in place on return. The caller must `deliver(name, token)` once, to tell the client so. */
  watch(name: string, token: string, depth?: number): void {
    let path = name;
    let prefix = '';
    if (isSpecial(name)) {
      if (!isValidSpecial(name)) throw new XsError('EINVAL', 'bad special name');
    } else {
      path = this.#path(name);
      if (path !== name) prefix = path.slice(0, path.length - name.length);
    }
    if (token.length > XENSTORE_REL_PATH_MAX) throw new XsError('EINVAL', 'token too long');
    const key = `${name}\0${token}`;
    if (this.#watches.has(key)) throw new XsError('EEXIST');
    if (!this.privileged && this.#watches.size >= this.#store.quota.watches) throw new XsError('E2BIG', 'watches');
    const bytes = WATCH_BYTES + path.length + key.length;
    this.#reserve(bytes);
    this.#watches.set(key, this.#store.watches.add({ owner: this, path, name, token, prefix, depth }));
    this.#watchBytes += bytes;
  }

  unwatch(name: string, token: string): void {
    const key = `${name}\0${token}`;
    const watch = this.#watches.get(key);
    if (!watch) throw new XsError('ENOENT');
    this.#dropWatch(key, watch);
  }

  maySee(change: Change): boolean {
    const who = this.identity;
    return change.perms.some((perms) => (accessOf(who, perms) & READ) !== 0);
  }

  deliver(path: string, token: string): void {
    this.#options.deliver(path, token);
  }

  // Transactions

  startTransaction(): Transaction {
    const { transactions } = this.#store.quota;
    if (!this.privileged && this.#transactions.size >= transactions) throw new XsError('ENOSPC', 'transactions');
    this.#reserve(TRANSACTION_BYTES);
    do this.#lastTransaction = (this.#lastTransaction + 1) >>> 0 || 1;
    while (this.#transactions.has(this.#lastTransaction));
    const tx = new Transaction(this.#lastTransaction, this.#store.tree, this.domid);
    this.#transactions.set(tx.id, tx);
    return tx;
  }

  transaction(id: number): Transaction {
    const tx = this.#transactions.get(id);
    if (!tx) throw new XsError('ENOENT', `no transaction ${id}`);
    return tx;
  }

  /** The transaction is over whatever this throws: EAGAIN for a conflict, ENOSPC for a quota. */
  endTransaction(tx: Transaction, commit: boolean): void {
    this.#transactions.delete(tx.id);
    if (!commit) return;
    if (!this.privileged) this.#checkCommit(tx);
    for (const change of tx.commit(this.#store.tree)) this.#store.fire(change);
  }

  // The end

  /** RESET_WATCHES: as a client that just connected, watches and transactions gone. */
  reset(): void {
    for (const [key, watch] of this.#watches) this.#dropWatch(key, watch);
    this.#transactions.clear();
  }

  close(): void {
    this.reset();
    this.#store.removeSession(this);
    this.#options.closed?.();
  }

  /** Bytes that count against `Quota.memory`. */
  memory(): number {
    let bytes = this.#store.tree.usage(this.domid).bytes + this.#watchBytes + (this.#options.queued?.() ?? 0);
    for (const tx of this.#transactions.values()) bytes += TRANSACTION_BYTES + tx.bytes;
    return bytes;
  }

  // Inside

  #path(name: string): string {
    return canonicalize(name, this.#home);
  }

  #tree(tx?: Transaction): Tree {
    return tx?.tree ?? this.#store.tree;
  }

  #lookup(name: string, access: number, tx?: Transaction): { path: string; node: Node } {
    const path = this.#path(name);
    const node = this.#find(path, access, tx);
    if (!node) throw new XsError('ENOENT', path);
    return { path, node };
  }

  /**
   * The node, or undefined where there is none and the client has the right to know that: the nearest node above decides.
   * EACCES otherwise.
   */
  #find(path: string, access: number, tx?: Transaction): Node | undefined {
    this.#touch(path, tx);
    const tree = this.#tree(tx);
    const node = tree.get(path);
    const who = this.identity;
    if (node) {
      if ((accessOf(who, node.perms) & access) !== access) throw new XsError('EACCES', path);
      return node;
    }
    const { node: above } = this.#nearest(parentOf(path), tree);
    if ((accessOf(who, above.perms) & access) === 0) throw new XsError('EACCES', path);
    return undefined;
  }

  #nearest(path: string, tree: Tree): { at: string; node: Node } {
    for (const at of ancestors(path)) {
      const node = tree.get(at);
      if (node) return { at, node };
    }
    throw new Error('the tree has no root');
  }

  /** Creates the node and every missing one above it; unprivileged clients own what they create. */
  #create(path: string, value: Uint8Array, tx?: Transaction): void {
    const tree = this.#tree(tx);
    const { at, node: above } = this.#nearest(path, tree);
    const perms = this.privileged
      ? above.perms
      : [{ domid: this.domid, access: above.perms[0].access }, ...above.perms.slice(1)];
    const missing = [...ancestors(path)].filter((p) => p.length > at.length).reverse();
    const base = at === '/' ? 0 : at.length;
    if (!this.privileged && tree.usage(this.domid).nodes + missing.length > this.#store.quota.nodes) {
      throw new XsError('ENOSPC', 'nodes');
    }
    this.#checkNode(above.value.length, above.perms.length, above.childBytes + missing[0].length - base);
    this.#checkNode(value.length, perms.length, 0);
    this.#reserve(value.length + 2 * path.length);
    this.#touch(at, tx);
    for (const created of missing) {
      this.#touch(created, tx);
      tree.create(created, created === path ? value : EMPTY, perms);
      this.#wrote(created, value.length, tx);
    }
  }

  #checkNode(valueBytes: number, perms: number, childBytes: number): void {
    if (this.privileged) return;
    if (nodeSize(valueBytes, perms, childBytes) >= this.#store.quota.nodeSize) throw new XsError('ENOSPC', 'node size');
    this.#reserve(valueBytes);
  }

  #reserve(bytes: number): void {
    if (!this.privileged && this.memory() + bytes > this.#store.quota.memory) throw new XsError('ENOMEM');
  }

  #touch(path: string, tx?: Transaction): void {
    if (!tx) return;
    tx.touch(path);
    if (!this.privileged && tx.size > this.#store.quota.transactionNodes) throw new XsError('ENOSPC', 'transaction');
  }

  #wrote(path: string, bytes: number, tx?: Transaction): void {
    if (!tx) return;
    tx.wrote(path);
    tx.bytes += bytes;
  }

  #report(path: string, before: Perms[], tx?: Transaction): void {
    const tree = this.#tree(tx);
    const perms = [tree.get(path)!.perms, ...before, tree.get(parentOf(path))!.perms];
    this.#announce({ path, exact: false, perms }, tx);
  }

  #announce(change: Change, tx?: Transaction): void {
    if (tx) tx.report(change);
    else this.#store.fire(change);
  }

  #checkCommit(tx: Transaction): void {
    const now = this.#store.tree.usage(this.domid).nodes;
    const grown = tx.tree.usage(this.domid).nodes - tx.nodesAtStart;
    if (grown > 0 && now + grown > this.#store.quota.nodes) throw new XsError('ENOSPC', 'nodes');
  }

  #dropWatch(key: string, watch: Watch): void {
    this.#store.watches.remove(watch);
    this.#watches.delete(key);
    this.#watchBytes -= WATCH_BYTES + watch.path.length + key.length;
  }
}
