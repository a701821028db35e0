// The list of domains, and references to them. A struct Domain is freed when its last reference goes: the list's own
// (dropped when the domain has been destroyed), those of lookups, and those that pages hold (mm/).
import { DOMID_SELF, Domain } from "./domain";
import { current } from "./percpu";
import { Hypervisor, xen } from "./state";
import { spin_lock, spin_unlock } from "./spinlock";
import { BUG_ON } from "./log";
import { domain_destroy_final } from "./domain_life";

// @ts-ignore: decorator
@inline
function refcnt(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("refcnt");
}

function list_lock(): usize {
  return changetype<usize>(xen()) + offsetof<Hypervisor>("domlist_lock");
}

/** One more reference; the caller has one already, or holds a lock that keeps the domain. */
export function get_domain(d: Domain): void {
  atomic.add<u32>(refcnt(d), 1);
}

/** Drops a reference; the last frees the struct. No lock is held. */
export function put_domain(d: Domain): void {
  const old = atomic.sub<u32>(refcnt(d), 1);
  BUG_ON(old == 0, "a domain's reference count went below zero");
  if (old == 1) domain_destroy_final(d);
}

/** A reference unless the last one has just gone (the struct is about to leave the list and be freed). */
function try_get_domain(d: Domain): bool {
  let n = atomic.load<u32>(refcnt(d));
  while (n != 0) {
    const was = atomic.cmpxchg<u32>(refcnt(d), n, n + 1);
    if (was == n) return true;
    n = was;
  }
  return false;
}

/** The domain with a reference, or null. */
export function get_domain_by_id(domid: u32): Domain {
  spin_lock(list_lock());
  let d = xen().domain_list;
  while (changetype<usize>(d) != 0 && d.domid < domid) d = d.next;
  if (changetype<usize>(d) == 0 || d.domid != domid || !try_get_domain(d)) d = changetype<Domain>(0);
  spin_unlock(list_lock());
  return d;
}

/** As above; DOMID_SELF is the current domain. put_domain when done. */
export function rcu_lock_domain_by_any_id(domid: u32): Domain {
  if (domid == DOMID_SELF) {
    get_domain(current.domain);
    return current.domain;
  }
  return get_domain_by_id(domid);
}

/** The first domain with an id not below `domid`, with a reference, or null. */
export function get_domain_from(domid: u32): Domain {
  spin_lock(list_lock());
  let d = xen().domain_list;
  while (changetype<usize>(d) != 0 && (d.domid < domid || !try_get_domain(d))) d = d.next;
  spin_unlock(list_lock());
  return d;
}

export function domain_list_insert(d: Domain): void {
  spin_lock(list_lock());
  let prev = changetype<Domain>(0);
  let at = xen().domain_list;
  while (changetype<usize>(at) != 0 && at.domid < d.domid) {
    prev = at;
    at = at.next;
  }
  d.next = at;
  if (changetype<usize>(prev) == 0) xen().domain_list = d;
  else prev.next = d;
  spin_unlock(list_lock());
}

export function domain_list_remove(d: Domain): void {
  spin_lock(list_lock());
  let prev = changetype<Domain>(0);
  let at = xen().domain_list;
  while (changetype<usize>(at) != 0 && at != d) {
    prev = at;
    at = at.next;
  }
  if (changetype<usize>(at) != 0) {
    if (changetype<usize>(prev) == 0) xen().domain_list = d.next;
    else prev.next = d.next;
  }
  spin_unlock(list_lock());
}
