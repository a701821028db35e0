// domctl getpageframeinfo3: the types of a domain's frames, for saving it (public/domctl.h).
import { DomctlGetpageframeinfo3, ERRNO, PFINFO } from "../abi";
import { Domain } from "../domain";
import { copy_from_guest, copy_to_guest } from "../guest";
import { PGT_l1_page_table, PGT_l2_page_table, PGT_l3_page_table, PGT_l4_page_table, PGT_pinned, PGT_type_mask, type_info_of } from "../mm/frame";
import { get_page_from_gfn, is_special_page } from "../mm/p2m";
import { put_page } from "../mm/page";
import { scratch } from "../percpu";

const MAX_FRAMES: u64 = 1024;

export function getpageframeinfo3(d: Domain, u: usize): i64 {
  const num = load<u64>(u, DomctlGetpageframeinfo3.num);
  const array = load<u64>(u, DomctlGetpageframeinfo3.array);
  if (num > MAX_FRAMES) return -ERRNO.E2BIG;
  for (let i: u64 = 0; i < num; i++) {
    if (copy_from_guest(scratch, array + (i << 3), 8) != 0) return -ERRNO.EFAULT;
    store<u64>(scratch, type_of(d, load<u64>(scratch)));
    if (copy_to_guest(array + (i << 3), scratch, 8) != 0) return -ERRNO.EFAULT;
  }
  return 0;
}

function type_of(d: Domain, gfn: u64): u64 {
  const pg = get_page_from_gfn(d, gfn);
  if (changetype<usize>(pg) == 0) return PFINFO.XTAB;
  // What the hypervisor shares with it is none of its memory.
  if (d.is_hvm && is_special_page(pg)) {
    put_page(pg);
    return PFINFO.XTAB;
  }
  const info = atomic.load<u32>(type_info_of(pg));
  let t: u32 = PFINFO.NOTAB;
  switch (info & PGT_type_mask) {
    case PGT_l1_page_table: t = PFINFO.L1TAB; break;
    case PGT_l2_page_table: t = PFINFO.L2TAB; break;
    case PGT_l3_page_table: t = PFINFO.L3TAB; break;
    case PGT_l4_page_table: t = PFINFO.L4TAB; break;
  }
  if (info & PGT_pinned) t |= PFINFO.LPINTAB;
  put_page(pg);
  return t;
}
