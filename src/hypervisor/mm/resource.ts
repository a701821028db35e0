// XENMEM_acquire_resource: frames of another domain's grant table, for the toolstack. (ioreq servers are HVM's, trace
// buffers no CPU's here.)
import { ERRNO, MemAcquireResource, XENMEM_resource, XENMEM_resource_grant_table_id } from "../abi";
import { Domain, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest } from "../guest";
import { gnttab_grow_table, shared_frame_mfn, status_frame_mfn, table_of, to_status_frames } from "../grant/table";
import { current } from "../percpu";
import { paging_mode_translate } from "./p2m";
import { is_privileged_for } from "./privilege";
import { mm_scratch, SCRATCH_ARG, SCRATCH_WORD } from "./scratch";

/** Frames that the resource has in all; 0: none such. */
function max_frames(d: Domain, type: u32, id: u32): i64 {
  if (type == XENMEM_resource.grant_table) {
    if (d.grant_table == 0) return 0;
    const n = table_of(d).max_frames;
    if (id == XENMEM_resource_grant_table_id.shared) return n;
    return id == XENMEM_resource_grant_table_id.status ? to_status_frames(n) : 0;
  }
  if (type == XENMEM_resource.ioreq_server || type == XENMEM_resource.vmtrace_buf) return 0;
  return -ERRNO.EOPNOTSUPP;
}

/** Grows the table as far as frames [frame, frame + n) need, and gives their mfns. */
function acquire_grant_table(d: Domain, id: u32, frame: u32, n: u32, list: u64): i64 {
  const gt = table_of(d);
  const status = id == XENMEM_resource_grant_table_id.status;
  if (status ? gt.version == 1 : id != XENMEM_resource_grant_table_id.shared) return -ERRNO.EINVAL;
  if (frame + n > (status ? to_status_frames(gt.max_frames) : gt.max_frames)) return -ERRNO.EINVAL;
  // A status frame is for eight shared ones.
  if (!gnttab_grow_table(d, status ? min<u32>((frame + n) << 3, gt.max_frames) : frame + n)) return -ERRNO.EINVAL;
  const word = mm_scratch(SCRATCH_WORD);
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(word, <u64>(status ? status_frame_mfn(gt, frame + i) : shared_frame_mfn(gt, frame + i)));
    if (copy_to_guest(list + (<u64>i << 3), word, 8) != 0) return -ERRNO.EFAULT;
  }
  return 0;
}

/** `start`: always 0, as the call is never preempted. */
export function acquire_resource(arg: u64, start: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  // It would have them in its p2m.
  if (paging_mode_translate(current.domain)) return -ERRNO.EACCES;
  if (copy_from_guest(a, arg, <u32>MemAcquireResource.SIZE) != 0) return -ERRNO.EFAULT;
  if (load<u32>(a, MemAcquireResource.pad) != 0) return -ERRNO.EINVAL;
  const frame = load<u64>(a, MemAcquireResource.frame);
  const n = load<u32>(a, MemAcquireResource.nr_frames);
  const list = load<u64>(a, MemAcquireResource.frame_list);
  if (frame >> 32 != 0 || (frame + <u64>n) >> 32 != 0) return -ERRNO.EINVAL;
  const domid = load<u16>(a, MemAcquireResource.domid);
  if (domid == current.domain.domid) return -ERRNO.EPERM;
  const d = get_domain_by_id(domid);
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = is_privileged_for(current.domain, d) ? 0 : -ERRNO.EPERM;
  if (rc == 0) {
    const type = load<u16>(a, MemAcquireResource.type);
    const most = max_frames(d, type, load<u32>(a, MemAcquireResource.id));
    if (most == 0) rc = -ERRNO.EINVAL;
    else if (list == 0) {
      if (n != 0 || start != 0) rc = -ERRNO.EINVAL;
      else {
        // A null list asks for the size.
        store<u32>(a, <u32>most, MemAcquireResource.nr_frames);
        const at = arg + <u64>MemAcquireResource.nr_frames;
        if (copy_to_guest(at, a + MemAcquireResource.nr_frames, 4) != 0) rc = -ERRNO.EFAULT;
      }
    } else if (start != 0 || n == 0 || n > 0xffff_ffff >> 6) rc = -ERRNO.EINVAL;
    else if (most < 0) rc = most;
    else rc = acquire_grant_table(d, load<u32>(a, MemAcquireResource.id), <u32>frame, n, list);
  }
  put_domain(d);
  return rc;
}
