/**
 * Where a region is left, its flags go to CpuState. Exits at which the same has to be done share one place for it, so that
 * nothing is kept for them but what their kinds of flags follow from.
 */
import type { FlagLocals } from './flag-locals.ts';
import { MEM, sourcesOf } from './flag-steps.ts';
import type { RegionFunc } from './region-func.ts';

interface Place {
  /** The kind of flags; undefined: one of several, which follow from these sources. */
  readonly kind: number | undefined;
  readonly sources: number;
  /** Level at which it goes on, and its own. */
  readonly to: number;
  readonly level: number;
  used: boolean;
}

/** What flags of these kinds have in common with others for which the same is to be done. */
function classOf(kinds: ReadonlySet<number>): Pick<Place, 'kind' | 'sources'> & { readonly key: string } {
  const sources = sourcesOf(kinds);
  if (kinds.size > 1) return { kind: undefined, sources, key: `from ${sources}` };
  const [kind] = kinds;
  return { kind, sources, key: `${kind}` };
}

export class FlagExits {
  private readonly f: RegionFunc;
  private readonly flags: FlagLocals;
  private readonly places = new Map<string, Place>();

  /** Opens a block for each of the sets of kinds in `states` and each level of `ways`. */
  constructor(f: RegionFunc, flags: FlagLocals, states: Iterable<ReadonlySet<number>>, ways: readonly number[]) {
    this.f = f;
    this.flags = flags;
    for (const kinds of states) {
      const { kind, sources, key } = classOf(kinds);
      if (kind === MEM || this.places.has(`${key} to ${ways[0]}`)) continue;
      for (const to of ways) {
        this.places.set(`${key} to ${to}`, { kind, sources, to, level: f.level, used: false });
        f.block();
      }
    }
  }

  /** Branch to level `to` when the flags as they are here are in CpuState. */
  leave(to: number): void {
    const { kind, key } = classOf(this.flags.kinds);
    if (kind === MEM) {
      this.f.brTo(to);
      return;
    }
    const place = this.places.get(`${key} to ${to}`);
    if (!place) throw new Error(`no way out for flags of the kinds ${[...this.flags.kinds]}`);
    place.used = true;
    this.f.brTo(place.level);
  }

  /** Ends the blocks; control comes here by `leave` alone. */
  close(): void {
    const { f, flags } = this;
    for (const { kind, sources, to, used } of [...this.places.values()].reverse()) {
      f.op('unreachable').end();
      if (!used) continue;
      if (kind === undefined) flags.storeAny(sources);
      else flags.store(kind);
      f.brTo(to);
    }
  }
}
