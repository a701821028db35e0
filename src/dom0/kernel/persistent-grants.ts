/**
 * Persistent grants: frames that a front end uses again and again stay mapped, by reference, the least recently used being
 * given up when there are too many (public/io/blkif.h, "feature-persistent"). The front end promises not to revoke them.
 */
import type { GrantedPage, GrantMap } from './grant-map.ts';

interface Kept {
  readonly page: GrantedPage;
  /** When it was used last, in requests. */
  used: number;
}

export class PersistentGrants {
  readonly #map: GrantMap;
  readonly #limit: number;
  readonly #pages = new Map<number, Kept>();
  #now = 0;

  /** `limit`: most frames kept. One request may use more: call `trim` when it is done. */
  constructor(map: GrantMap, limit: number) {
    this.#map = map;
    this.#limit = limit;
  }

  /** The frames, writable. Throws as GrantMap.map does; those that were new stay mapped all the same. */
  get(refs: ArrayLike<number>): GrantedPage[] {
    this.#now++;
    const missing = new Set<number>();
    for (let i = 0; i < refs.length; i++) if (!this.#pages.has(refs[i])) missing.add(refs[i]);
    if (missing.size > 0) {
      for (const page of this.#map.map([...missing], false)) this.#pages.set(page.ref, { page, used: this.#now });
    }
    const pages: GrantedPage[] = [];
    for (let i = 0; i < refs.length; i++) {
      const kept = this.#pages.get(refs[i])!;
      kept.used = this.#now;
      pages.push(kept.page);
    }
    return pages;
  }

  trim(): void {
    if (this.#pages.size <= this.#limit) return;
    const kept = [...this.#pages.values()].sort((a, b) => a.used - b.used);
    // Some more than it takes, so that not every request has to look for them.
    const room = this.#limit >> 3;
    const old = kept.slice(0, kept.length - this.#limit + room).map((k) => k.page);
    for (const page of old) this.#pages.delete(page.ref);
    this.#map.unmap(old);
  }
}
