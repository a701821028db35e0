/**
 * Persistent grants: frames that a front end uses again and again stay mapped, by reference, the least recently used being
 * given up when there are too many (public/io/blkif.h, "feature-persistent"). The front end promises not to revoke them.
 */
import type { GrantedPage, GrantMap } from './grant-map.ts';

export class PersistentGrants {
  readonly #map: GrantMap;
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #pages = new Map<number, GrantedPage>();

  /** `limit`: most frames kept. One request may use more: call `trim` when it is done. */
  constructor(map: GrantMap, limit: number) {
    this.#map = map;
    this.#limit = limit;
  }

  /** The frames, writable. Throws as GrantMap.map does; those that were new stay mapped all the same. */
  get(refs: ArrayLike<number>): GrantedPage[] {
    const missing: number[] = [];
    for (let i = 0; i < refs.length; i++) {
      const known = this.#pages.get(refs[i]);
      if (!known) {
        if (!missing.includes(refs[i])) missing.push(refs[i]);
        continue;
      }
      this.#pages.delete(refs[i]);
      this.#pages.set(refs[i], known);
    }
    if (missing.length > 0) for (const page of this.#map.map(missing, false)) this.#pages.set(page.ref, page);
    return Array.from({ length: refs.length }, (_, i) => this.#pages.get(refs[i])!);
  }

  trim(): void {
    if (this.#pages.size <= this.#limit) return;
    const old = [...this.#pages.values()].slice(0, this.#pages.size - this.#limit);
    for (const page of old) this.#pages.delete(page.ref);
    this.#map.unmap(old);
  }
}
