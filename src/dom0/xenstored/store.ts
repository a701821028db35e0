/**
 * The store: one tree, its watches, and the domains that it knows of. It does nothing by itself: sessions (session.ts) act
 * on it. One thread, so every operation is atomic.
 */
import { parentOf } from './path.ts';
import { type Identity, type Perms, parsePerms } from './perms.ts';
import { DEFAULT_QUOTA, type Quota } from './quota.ts';
import type { Session } from './session.ts';
import { Tree, walk } from './tree.ts';
import { type Change, WatchIndex } from './watches.ts';

export const DOMID_MAX = 0x7ff0 - 1;

/** What a domain is to the store. */
export interface DomainState {
  introduced: boolean;
  /** Its end was reported by @releaseDomain; RESUME clears it. */
  shutdown: boolean;
  /** SET_TARGET: the domain that this one acts for. */
  target?: number;
}

export class Store {
  readonly tree = Tree.create(parsePerms('n0'));
  readonly watches = new WatchIndex();
  readonly quota: Quota;
  readonly #domains = new Map<number, DomainState>([[0, { introduced: true, shutdown: false }]]);
  readonly #sessions = new Set<Session>();
  /** Who hears of the special events, besides the privileged. */
  readonly #specials = new Map<string, Perms>([
    ['@introduceDomain', parsePerms('n0')],
    ['@releaseDomain', parsePerms('n0')],
  ]);

  constructor(quota: Partial<Quota> = {}) {
    this.quota = { ...DEFAULT_QUOTA, ...quota };
    const own = parsePerms('n0');
    for (const path of ['/tool', '/tool/xenstored']) this.tree.create(path, new Uint8Array(0), own);
  }

  addSession(session: Session): void {
    this.#sessions.add(session);
  }

  removeSession(session: Session): void {
    this.#sessions.delete(session);
  }

  identity(domid: number): Identity {
    return { domid, privileged: domid === 0, target: this.#domains.get(domid)?.target };
  }

  domain(domid: number): DomainState | undefined {
    return this.#domains.get(domid);
  }

  /** The domain can now talk to the store. */
  introduce(domid: number): void {
    const known = this.#domains.get(domid);
    if (known?.introduced) return;
    this.#domains.set(domid, { ...known, introduced: true, shutdown: false });
    this.fireSpecial('@introduceDomain', domid);
  }

  /** SET_TARGET; may come before the domain is introduced. */
  setTarget(domid: number, target: number): void {
    const known = this.#domains.get(domid) ?? { introduced: false, shutdown: false };
    this.#domains.set(domid, { ...known, target });
  }

  /** The domain has shut down or crashed; told once until `resume`. */
  shutdown(domid: number): void {
    const domain = this.#domains.get(domid);
    if (!domain || domain.shutdown) return;
    domain.shutdown = true;
    this.fireSpecial('@releaseDomain', domid);
  }

  resume(domid: number): void {
    const domain = this.#domains.get(domid);
    if (domain) domain.shutdown = false;
  }

  /** The domain is gone: its sessions end, the nodes it owned go, and no permission names it any more. */
  release(domid: number): void {
    if (domid === 0 || !this.#domains.delete(domid)) return;
    for (const session of [...this.#sessions]) if (session.domid === domid) session.close();
    for (const domain of this.#domains.values()) if (domain.target === domid) domain.target = undefined;
    this.#forget(domid);
    this.fireSpecial('@releaseDomain', domid);
  }

  /** Reports a change to whoever watches. */
  fire(change: Change): void {
    this.watches.fire(change);
  }

  fireSpecial(name: string, domid: number): void {
    this.fire({ path: `${name}/${domid}`, exact: false, perms: [this.specialPerms(name)!] });
  }

  specialPerms(name: string): Perms | undefined {
    return this.#specials.get(name);
  }

  setSpecialPerms(name: string, perms: Perms): void {
    this.#specials.set(name, perms);
  }

  /** Removes the subtree at `path` and reports it: once for its top, then for each node below to those watching it. */
  removeSubtree(tree: Tree, path: string, parentPerms: Perms, report: (change: Change) => void): void {
    const changes: Change[] = [];
    const permsOf = new Map<string, Perms>([[parentOf(path), parentPerms]]);
    for (const [at, node] of walk(path, tree.get(path)!)) {
      permsOf.set(at, node.perms);
      changes.push({ path: at, exact: at !== path, perms: [node.perms, permsOf.get(parentOf(at))!] });
    }
    tree.remove(path);
    for (const change of changes) report(change);
  }

  #forget(domid: number): void {
    const mentions: string[] = [];
    const owned: string[] = [];
    for (const [path, node] of walk('/', this.tree.get('/')!)) {
      if (path !== '/' && node.perms[0].domid === domid) owned.push(path);
      else if (node.perms.some((p) => p.domid === domid)) mentions.push(path);
    }
    for (const path of mentions) {
      const perms = this.tree.get(path)!.perms.filter((p, i) => i === 0 || p.domid !== domid);
      this.tree.setPerms(path, perms);
    }
    for (const path of owned) {
      if (!this.tree.get(path)) continue; // went with one above it
      const parent = this.tree.get(parentOf(path))!;
      this.removeSubtree(this.tree, path, parent.perms, (change) => this.fire(change));
    }
  }
}
