/** Watches of all sessions, found by the path they watch. An event is matched against its own path and each one above. */
import { ancestors, depthBelow, isSpecial } from './path.ts';
import type { Perms } from './perms.ts';

export interface WatchOwner {
  /** False hides the event from this session; asked once per change. */
  maySee(change: Change): boolean;
  deliver(path: string, token: string): void;
}

export interface Watch {
  readonly owner: WatchOwner;
  /** Absolute or special name. */
  readonly path: string;
  /** The name as the client gave it, and its token: the pair identifies the watch within a session. */
  readonly name: string;
  readonly token: string;
  /** What to cut from event paths: a relative watch gets relative events. */
  readonly prefix: string;
  /** Deepest level below `path` that is reported; undefined is all. */
  readonly depth: number | undefined;
  readonly order: number;
}

/** Something happened to the node at `path`. */
export interface Change {
  readonly path: string;
  /** Report only to watches on this very path: the node went away because one above it was removed. */
  readonly exact: boolean;
  /** Permission lists, any of which may grant the right to know: the node's, before and after, and its parent's. */
  readonly perms: readonly Perms[];
}

export class WatchIndex {
  readonly #byPath = new Map<string, Set<Watch>>();
  #order = 0;

  add(watch: Omit<Watch, 'order'>): Watch {
    const added = { ...watch, order: this.#order++ };
    const here = this.#byPath.get(watch.path);
    if (here) here.add(added);
    else this.#byPath.set(watch.path, new Set([added]));
    return added;
  }

  remove(watch: Watch): void {
    const here = this.#byPath.get(watch.path);
    here?.delete(watch);
    if (here?.size === 0) this.#byPath.delete(watch.path);
  }

  /** Delivers the event, in the order in which the watches were set. */
  fire(change: Change): void {
    const hit: Watch[] = [];
    for (const path of change.exact ? [change.path] : ancestors(change.path)) {
      for (const watch of this.#byPath.get(path) ?? []) if (matches(watch, change.path)) hit.push(watch);
    }
    hit.sort((a, b) => a.order - b.order);
    const verdicts = new Map<WatchOwner, boolean>();
    for (const watch of hit) {
      let allowed = verdicts.get(watch.owner);
      if (allowed === undefined) {
        allowed = watch.owner.maySee(change);
        verdicts.set(watch.owner, allowed);
      }
      if (allowed) watch.owner.deliver(eventPath(watch, change.path), watch.token);
    }
  }
}

function matches(watch: Watch, path: string): boolean {
  return watch.depth === undefined || depthBelow(path, watch.path) <= watch.depth;
}

/** `@releaseDomain/5` is told as such to those who asked for that depth, as `@releaseDomain` to the rest. */
function eventPath(watch: Watch, path: string): string {
  if (isSpecial(path)) return watch.depth ? path : watch.path;
  return path.slice(watch.prefix.length);
}
