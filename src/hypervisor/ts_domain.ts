// TypeScript domains besides dom0: driver domains, whose kernel is a thread of the host (src/dom0/kernel). The control
// domain makes one, gives it memory, and attaches a thread, which takes a CPU slot behind dom0's. The thread's hypercalls
// are few (dispatch.ts), and the handles it gives lie in a buffer of its own memory (guest.ts), so that a fault of its
// code stays its own. Exports of the module; the caller is dom0's thread.
import { ERRNO } from "./abi";
import { DOMDYING_alive, Domain, Vcpu, domain_vcpu, is_null } from "./domain";
import { DomainConfig, domain_kill, vcpu_create } from "./domain_life";
import { get_domain_by_id, put_domain } from "./domain_list";
import { create_domain_with_id } from "./domctl/createdomain";
import { alloc_xenheap_page } from "./mm/heap";
import { mfn_valid } from "./mm/frame";
import { free_xenheap_page, get_page_from_mfn, put_page } from "./mm/page";
import { xfree, xzalloc } from "./mm/xmalloc";
import { current } from "./percpu";
import { PerCpu, percpu_of, xen } from "./state";

const EPERM: i32 = -<i32>ERRNO.EPERM;
const EINVAL: i32 = -<i32>ERRNO.EINVAL;

/**
 * A driver domain with one vCPU and no memory. `asked`: its id, 0 for any. Returns the id, or -errno: EEXIST, ENOMEM, EPERM.
 */
export function ts_domain_create(asked: u32, max_evtchn_port: u32, max_maptrack_frames: u32): i32 {
  if (!current.domain.privileged) return EPERM;
  const c = changetype<DomainConfig>(xzalloc(offsetof<DomainConfig>()));
  if (changetype<usize>(c) == 0) return -<i32>ERRNO.ENOMEM;
  c.is_ts = 1;
  c.max_vcpus = 1;
  c.max_evtchn_port = max_evtchn_port;
  c.max_grant_frames = 1;
  c.max_maptrack_frames = max_maptrack_frames;
  c.max_grant_version = 1;
  const id = create_domain_with_id(asked, c);
  xfree(changetype<usize>(c));
  if (id < 0) return <i32>id;
  const d = get_domain_by_id(<u32>id);
  const v = vcpu_create(d, 0);
  if (is_null(v)) domain_kill(d);
  else v.is_initialised = 1;
  put_domain(d);
  return is_null(v) ? -<i32>ERRNO.ENOMEM : <i32>id;
}

function owns(d: Domain, mfn: u32, pages: u32): bool {
  for (let i: u32 = 0; i < pages; i++) {
    if (!mfn_valid(mfn + i)) return false;
    const pg = get_page_from_mfn(mfn + i, d);
    if (is_null(pg)) return false;
    put_page(pg);
  }
  return true;
}

/**
 * A thread that takes `slot` will run the domain, whose guest handles then lie in its own frames [mfn, mfn + pages). The
 * domain cannot be destroyed before ts_thread_detach. 0 or -errno.
 */
export function ts_thread_attach(slot: u32, domid: u32, mfn: u32, pages: u32): i32 {
  const x = xen();
  if (!current.domain.privileged) return EPERM;
  if (slot <= x.pcpus || slot >= x.slots) return EINVAL;
  const p = percpu_of(slot);
  if (!is_null(p.current)) return -<i32>ERRNO.EBUSY;
  const d = get_domain_by_id(domid);
  if (is_null(d)) return -<i32>ERRNO.ESRCH;
  let rc: i32 = EINVAL;
  if (d.is_ts && !d.privileged && d.is_dying == DOMDYING_alive && d.ts_slot == 0 && owns(d, mfn, pages)) {
    rc = prepare_slot(p, slot);
    if (rc == 0) {
      const v = domain_vcpu(d, 0);
      p.current = v;
      v.is_running = 1;
      d.ts_slot = slot;
      d.ts_buffer = mfn << 12;
      d.ts_buffer_size = pages << 12;
    }
  }
  put_domain(d);
  return rc;
}

function prepare_slot(p: PerCpu, slot: u32): i32 {
  p.slot = slot;
  p.scratch = alloc_xenheap_page();
  p.mc_entry = xzalloc(64);
  if (p.scratch != 0 && p.mc_entry != 0) return 0;
  release_slot(p);
  return -<i32>ERRNO.ENOMEM;
}

function release_slot(p: PerCpu): void {
  if (p.scratch != 0) free_xenheap_page(p.scratch);
  if (p.mc_entry != 0) xfree(p.mc_entry);
  p.scratch = 0;
  p.mc_entry = 0;
}

/** The thread of `slot` has ended, outside the hypervisor. */
export function ts_thread_detach(slot: u32): i32 {
  const x = xen();
  if (!current.domain.privileged) return EPERM;
  if (slot <= x.pcpus || slot >= x.slots) return EINVAL;
  const p = percpu_of(slot);
  const v = p.current;
  if (is_null(v)) return EINVAL;
  p.current = changetype<Vcpu>(0);
  v.is_running = 0;
  v.domain.ts_slot = 0;
  v.domain.ts_buffer_size = 0;
  release_slot(p);
  return 0;
}
