// PageInfo.progress of a page table that is being checked or taken apart, or was stopped in between (PGT_partial):
// how many of its entries, from the first, hold references.
import { PageInfo } from "./frame";

export const ALL_ENTRIES: u32 = 512;

/** The check has failed at this entry; what was done is being undone. */
const FAILED: u32 = 1 << 31;
/** The last entry that holds references is a linear one whose linear counts are gone already (page_table.ts). */
const LINEAR_DROPPED: u32 = 1 << 30;
const COUNT: u32 = 0x3ff;

// @ts-ignore: decorator
@inline
export function entries_done(pg: PageInfo): u32 {
  return pg.progress & COUNT;
}

// @ts-ignore: decorator
@inline
export function set_entries_done(pg: PageInfo, n: u32): void {
  pg.progress = (pg.progress & FAILED) | n;
}

export function set_failed(pg: PageInfo): void {
  pg.progress |= FAILED;
}

// @ts-ignore: decorator
@inline
export function has_failed(pg: PageInfo): bool {
  return (pg.progress & FAILED) != 0;
}

export function set_linear_dropped(pg: PageInfo): void {
  pg.progress |= LINEAR_DROPPED;
}

// @ts-ignore: decorator
@inline
export function is_linear_dropped(pg: PageInfo): bool {
  return (pg.progress & LINEAR_DROPPED) != 0;
}
