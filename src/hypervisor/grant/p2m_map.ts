// Grant mappings in an HVM container's p2m: at the gfn of host_addr is the granted frame. What keeps the frame, and its
// writable type, are the references of the maptrack entry.
import { GNTMAP, GNTST } from "../abi";
import { current } from "../percpu";
import { note_foreign_mapping } from "../mm/l1e";
import { p2m_add, p2m_flush, P2M_FLUSH, p2m_grant_map_ro, p2m_grant_map_rw, p2m_remove } from "../mm/p2m";

// @ts-ignore: decorator
@inline
function type_for(flags: u32): u32 {
  return flags & GNTMAP.readonly ? p2m_grant_map_ro : p2m_grant_map_rw;
}

/** Maps frame `mfn` for the current domain. GNTST_*. */
export function create_grant_p2m_mapping(host_addr: u64, mfn: u32, flags: u32): i32 {
  const d = current.domain;
  if ((flags & ~GNTMAP.readonly) != GNTMAP.host_map) return GNTST.general_error;
  note_foreign_mapping(d);
  return p2m_flush(d, p2m_add(d, host_addr >> 12, mfn, 0, type_for(flags))) == 0 ? GNTST.okay : GNTST.general_error;
}

/** Takes a mapping of frame `mfn` away. The caller flushes, and then drops the references. GNTST_*. */
export function remove_grant_p2m_mapping(host_addr: u64, mfn: u32, new_addr: u64, flags: u32): i32 {
  if (new_addr != 0 || (flags & GNTMAP.contains_pte) != 0) return GNTST.general_error;
  // With the rights that this mapping gave, or another's would outlive its references.
  const rc = p2m_remove(current.domain, host_addr >> 12, mfn, type_for(flags), false);
  return rc == P2M_FLUSH ? GNTST.okay : GNTST.general_error;
}
