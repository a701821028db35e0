// Who may name whom in memory calls: the default policy of Xen's XSM hooks with XSM_TARGET.
import { ERRNO } from "../abi";
import { Domain, DOMID_IO, DOMID_SELF, DOMID_XEN, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { current } from "../percpu";
import { xen } from "../state";

/** May `d` act on `t`: it is the same, a control domain, or t's device model? */
export function is_privileged_for(d: Domain, t: Domain): bool {
  return changetype<usize>(d) == changetype<usize>(t) || d.privileged != 0 || t.target == d.domid;
}

/** 0 or -EPERM: may the current domain act on `t`? */
export function xsm_target(t: Domain): i32 {
  return is_privileged_for(current.domain, t) ? 0 : -<i32>ERRNO.EPERM;
}

/**
 * The domain that a page-table call's foreigndom names; null if there is none, if the caller names itself other than
 * by DOMID_SELF, or if its frames are none that page tables can name. put_pg_owner when done.
 */
export function get_pg_owner(domid: u32): Domain {
  const d = current.domain;
  if (domid == DOMID_SELF) return d;
  if (domid == d.domid) return changetype<Domain>(0);
  if (domid == DOMID_IO) return xen().dom_io;
  if (domid == DOMID_XEN) return xen().dom_xen;
  const t = get_domain_by_id(domid);
  if (is_null(t) || !t.is_hvm) return t;
  put_domain(t);
  return changetype<Domain>(0);
}

export function put_pg_owner(t: Domain): void {
  const self = changetype<usize>(t) == changetype<usize>(current.domain);
  const special = changetype<usize>(t) == changetype<usize>(xen().dom_io) || changetype<usize>(t) == changetype<usize>(xen().dom_xen);
  if (!is_null(t) && !self && !special) put_domain(t);
}

/** The domain named by a memory_op: DOMID_SELF or an id, the caller's own included. A reference; null: none. */
export function get_any_domain(domid: u32): Domain {
  return get_domain_by_id(domid == DOMID_SELF ? current.domain.domid : domid);
}
