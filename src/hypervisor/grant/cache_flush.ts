// GNTTABOP_cache_flush: on a machine whose caches are coherent only its checks are left.
import { ERRNO, GnttabCacheFlush } from "../abi";
import { Domain, is_null } from "../domain";
import { current } from "../percpu";
import { mfn_to_page, mfn_valid } from "../mm/frame";
import { page_get_owner_and_reference, put_page } from "../mm/page";
import { active_entry, gt_lock, gt_unlock, nr_grant_entries, table_of } from "./table";

/** gnttab_cache_flush.op (public/grant_table.h GNTTAB_CACHE_*). */
const CACHE_CLEAN: u32 = 1;
const CACHE_INVAL: u32 = 2;

/** Has `ld` mapped the frame by a grant of `owner`? */
function grant_map_exists(ld: Domain, owner: Domain, mfn: u32): bool {
  const gt = table_of(owner);
  let found = false;
  gt_lock(gt);
  const n = nr_grant_entries(gt);
  for (let ref: u32 = 0; ref < n && !found; ref++) {
    const act = active_entry(gt, ref);
    found = act.pin != 0 && act.domid == ld.domid && act.mfn == mfn;
  }
  gt_unlock(gt);
  return found;
}

/** op: gnttab_cache_flush in machine memory. */
export function cache_flush(op: usize): i64 {
  const offset = <u32>load<u16>(op, GnttabCacheFlush.offset);
  const length = <u32>load<u16>(op, GnttabCacheFlush.length);
  const what = load<u32>(op, GnttabCacheFlush.op);
  if (offset >= 4096 || offset + length > 4096 || (what & ~(CACHE_CLEAN | CACHE_INVAL)) != 0) return -ERRNO.EINVAL;
  if (length == 0 || what == 0) return 0;
  const mfn = load<u64>(op, GnttabCacheFlush.a) >> 12;
  if (!mfn_valid(mfn)) return -ERRNO.EINVAL;
  const pg = mfn_to_page(<u32>mfn);
  const owner = page_get_owner_and_reference(pg);
  if (is_null(owner)) return -ERRNO.EPERM;
  let rc: i64 = what == CACHE_INVAL ? -ERRNO.EOPNOTSUPP : 0;
  if (owner.grant_table == 0) rc = -ERRNO.EPERM;
  else if (changetype<usize>(owner) != changetype<usize>(current.domain) && !grant_map_exists(current.domain, owner, <u32>mfn)) rc = -ERRNO.EINVAL;
  put_page(pg);
  return rc;
}
