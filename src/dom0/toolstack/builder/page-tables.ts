/**
 * The first page tables of a PV domain: 4-level tables that map ranges of virtual pages to pfns. Which tables there must
 * be is known before memory is; `entries` gives their contents once the frame of each pfn is known.
 */

/** A run of pages: virtual page numbers (48-bit addresses without their low 12 bits) and the pfns they map to. */
export interface MappedRange {
  readonly vpn: number;
  readonly pfn: number;
  readonly pages: number;
}

/** Level 3 is the L4 table, 0 an L1 table. `id`: the virtual page number of its first entry, by what it covers. */
interface Table {
  readonly level: number;
  readonly id: number;
  readonly pfn: number;
}

export const LEVELS = 4;
const ENTRIES = 512;

const PRESENT = 1n;
const RW = 2n;
const USER = 4n;
const ACCESSED = 0x20n;
const DIRTY = 0x40n;
const LEAF = PRESENT | ACCESSED;
const TABLE = PRESENT | RW | USER | ACCESSED | DIRTY;

/** Virtual page number of an address. */
export const vpnOf = (va: bigint) => Number(BigInt.asUintN(48, va) >> 12n);

/** Pages that one table of a level covers. */
const span = (level: number) => ENTRIES ** (level + 1);

export class PageTables {
  private readonly tables: Table[] = [];
  private readonly known = new Set<string>();
  private readonly ranges: MappedRange[] = [];

  /** Tables that mapping the pages [vpn, vpn + pages) would add, top level first. */
  private missing(vpn: number, pages: number): { level: number; id: number }[] {
    const out: { level: number; id: number }[] = [];
    for (let level = LEVELS - 1; level >= 0; level--) {
      const last = Math.floor((vpn + pages - 1) / span(level));
      for (let id = Math.floor(vpn / span(level)); id <= last; id++) {
        if (!this.known.has(`${level}.${id}`)) out.push({ level, id });
      }
    }
    return out;
  }

  count(vpn: number, pages: number): number {
    return this.missing(vpn, pages).length;
  }

  /** Adds a range; the new tables take pfns from `firstTable` on. Returns how many. */
  map(range: MappedRange, firstTable: number): number {
    const added = this.missing(range.vpn, range.pages);
    added.forEach((t, i) => {
      this.known.add(`${t.level}.${t.id}`);
      this.tables.push({ ...t, pfn: firstTable + i });
    });
    this.ranges.push(range);
    return added.length;
  }

  /** pfn of the L4 table. */
  get root(): number {
    return this.tables[0].pfn;
  }

  /** Contents of every table, by its pfn. Tables are mapped read-only, as the hypervisor demands. */
  *entries(mfnOf: (pfn: number) => number): Generator<{ pfn: number; entries: BigUint64Array }> {
    const byId = new Map(this.tables.map((t) => [`${t.level}.${t.id}`, t.pfn]));
    const readOnly = new Set(this.tables.map((t) => t.pfn));
    const entry = (pfn: number, flags: bigint) => (BigInt(mfnOf(pfn)) << 12n) | flags;
    for (const { level, id, pfn } of this.tables) {
      const entries = new BigUint64Array(ENTRIES);
      if (level > 0) {
        for (let i = 0; i < ENTRIES; i++) {
          const child = byId.get(`${level - 1}.${id * ENTRIES + i}`);
          if (child !== undefined) entries[i] = entry(child, TABLE);
        }
      } else {
        const first = id * ENTRIES;
        for (const r of this.ranges) {
          const from = Math.max(first, r.vpn);
          const to = Math.min(first + ENTRIES, r.vpn + r.pages);
          for (let vpn = from; vpn < to; vpn++) {
            const target = r.pfn + (vpn - r.vpn);
            entries[vpn - first] = entry(target, readOnly.has(target) ? LEAF : LEAF | RW);
          }
        }
      }
      yield { pfn, entries };
    }
  }
}
