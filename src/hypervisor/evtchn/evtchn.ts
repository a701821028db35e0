// Event channels: making, sending and closing them (Xen's common/event_channel.c). Locks: Domain.evtchn_lock for ports
// being given and taken; each channel's own lock for its state, so that a send takes one lock. Two domains' evtchn_locks are
// taken by ascending address. Nobody is kicked under a lock: what sets a port pending returns the vCPU to kick.
import { ERRNO, EVTCHN_2L_NR_CHANNELS, EVTCHN_FIFO, VcpuInfo } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { get_domain, put_domain } from "../domain_list";
import { spin_lock, spin_unlock } from "../spinlock";
import { hvm_assert_evtchn_irq } from "../hvm/irq";
import { vcpu_kick } from "../sched/sched";
import { evtchn_check_pollers } from "../sched/poll";
import { free_xenheap_page } from "../mm/page";
import {
  evtchn_fifo_clear_pending, evtchn_fifo_destroy, evtchn_fifo_is_busy, evtchn_fifo_is_masked, evtchn_fifo_is_pending,
  evtchn_fifo_set_pending, evtchn_fifo_unmask,
} from "./fifo";
import { evtchn_2l_clear_pending, evtchn_2l_is_masked, evtchn_2l_is_pending, evtchn_2l_set_pending, evtchn_2l_unmask } from "./two_level";
import {
  ECS_FREE, ECS_INTERDOMAIN, ECS_IPI, ECS_RESERVED, ECS_UNBOUND, ECS_VIRQ, Evtchn, evtchn_from_port, grow_evtchns, port_is_valid,
} from "./struct";

const NO_VCPU = changetype<Vcpu>(0);

// @ts-ignore: decorator
@inline
export function evtchn_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("evtchn_lock");
}
// @ts-ignore: decorator
@inline
export function chn_lock(chn: Evtchn): usize {
  return changetype<usize>(chn);
}

/** Sets the vCPU's upcall-pending byte; returns the vCPU if it was clear (then notify tells it, without locks). */
export function mark_events_pending(v: Vcpu): Vcpu {
  return atomic.xchg<u8>(v.vcpu_info + VcpuInfo.evtchn_upcall_pending, 1) == 0 ? v : NO_VCPU;
}

export function evtchn_port_valid(d: Domain, port: u32): bool {
  return port_is_valid(d, port);
}

export function evtchn_is_pending(d: Domain, port: u32): bool {
  return d.evtchn_fifo != 0 ? evtchn_fifo_is_pending(d, port) : evtchn_2l_is_pending(d, port);
}

export function evtchn_is_masked(d: Domain, port: u32): bool {
  return d.evtchn_fifo != 0 ? evtchn_fifo_is_masked(d, port) : evtchn_2l_is_masked(d, port);
}

function clear_pending(d: Domain, port: u32): void {
  if (d.evtchn_fifo != 0) evtchn_fifo_clear_pending(d, port);
  else evtchn_2l_clear_pending(d, port);
}

/** The channel becomes pending. Its lock is held. The caller kicks what is returned, and lets pollers look, afterwards. */
export function set_pending(d: Domain, chn: Evtchn): Vcpu {
  const v = domain_vcpu(d, chn.notify_vcpu_id);
  if (changetype<usize>(v) == 0) return NO_VCPU;
  return d.evtchn_fifo != 0 ? evtchn_fifo_set_pending(d, v, chn) : evtchn_2l_set_pending(d, v, chn.port);
}

/** After the locks are gone. */
export function notify(d: Domain, v: Vcpu, port: u32): void {
  if (changetype<usize>(v) != 0) {
    if (v.domain.is_hvm) hvm_assert_evtchn_irq(v);
    else vcpu_kick(v);
  }
  evtchn_check_pollers(d, port);
}

export function unmask(d: Domain, chn: Evtchn): Vcpu {
  const v = domain_vcpu(d, chn.notify_vcpu_id);
  if (changetype<usize>(v) == 0) return NO_VCPU;
  return d.evtchn_fifo != 0 ? evtchn_fifo_unmask(d, v, chn) : evtchn_2l_unmask(d, v, chn.port);
}

function max_evtchns(d: Domain): u32 {
  return d.evtchn_fifo != 0 ? EVTCHN_FIFO.NR_CHANNELS : EVTCHN_2L_NR_CHANNELS;
}

/** The lowest free port, or -errno. evtchn_lock is held. */
export function get_free_port(d: Domain): i64 {
  if (d.is_dying) return -ERRNO.EINVAL;
  const limit = max_evtchns(d);
  for (let port: u32 = 0; port < limit; port++) {
    if (port > d.max_evtchn_port) return -ERRNO.ENOSPC;
    if (!port_is_valid(d, port)) {
      if (!grow_evtchns(d)) return -ERRNO.ENOMEM;
      // Port 0 is never given.
      if (port == 0) evtchn_from_port(d, 0).state = <u8>ECS_RESERVED;
    }
    const chn = evtchn_from_port(d, port);
    if (chn.state != ECS_FREE) continue;
    if (d.evtchn_fifo != 0 && evtchn_fifo_is_busy(d, port)) continue;
    return port;
  }
  return -ERRNO.ENOSPC;
}

/** Marks a port that get_free_port gave as in use, with defaults. Both locks are held. */
export function open_port(d: Domain, chn: Evtchn, state: u32): void {
  chn.notify_vcpu_id = 0;
  // Which FIFO queue it was on last stays noted: that queue may still end with it.
  chn.priority = <u8>EVTCHN_FIFO.PRIORITY_DEFAULT;
  chn.pending = 0;
  clear_pending(d, chn.port);
  chn.state = <u8>state;
  d.active_evtchns += 1;
}

function free_port(d: Domain, chn: Evtchn): void {
  clear_pending(d, chn.port);
  chn.pending = 0;
  chn.state = <u8>ECS_FREE;
  chn.notify_vcpu_id = 0;
  d.active_evtchns -= 1;
}

/** Takes both channels' locks, lower address first. */
export function double_chn_lock(a: Evtchn, b: Evtchn): void {
  if (a == b) {
    spin_lock(chn_lock(a));
    return;
  }
  if (changetype<usize>(a) > changetype<usize>(b)) {
    const t = a;
    a = b;
    b = t;
  }
  spin_lock(chn_lock(a));
  spin_lock(chn_lock(b));
}
export function double_chn_unlock(a: Evtchn, b: Evtchn): void {
  spin_unlock(chn_lock(a));
  if (a != b) spin_unlock(chn_lock(b));
}

export function double_evtchn_lock(a: Domain, b: Domain): void {
  if (a == b) {
    spin_lock(evtchn_lock(a));
    return;
  }
  if (changetype<usize>(a) > changetype<usize>(b)) {
    const t = a;
    a = b;
    b = t;
  }
  spin_lock(evtchn_lock(a));
  spin_lock(evtchn_lock(b));
}
export function double_evtchn_unlock(a: Domain, b: Domain): void {
  spin_unlock(evtchn_lock(a));
  if (a != b) spin_unlock(evtchn_lock(b));
}

/** EVTCHNOP_send on d's port. */
export function evtchn_send_from(d: Domain, port: u32): i64 {
  if (!port_is_valid(d, port)) return -ERRNO.EINVAL;
  const chn = evtchn_from_port(d, port);
  spin_lock(chn_lock(chn));
  let rc: i64 = 0;
  let target = d;
  let target_port = port;
  let v = NO_VCPU;
  let remote = false;
  switch (<u32>chn.state) {
    case ECS_INTERDOMAIN: {
      // Closing either end takes this lock, so the other end stays what it is.
      target = chn.remote_dom;
      target_port = chn.remote_port;
      remote = target != d;
      if (remote) get_domain(target);
      v = set_pending(target, evtchn_from_port(target, target_port));
      break;
    }
    case ECS_IPI:
      v = set_pending(d, chn);
      break;
    case ECS_UNBOUND:
      // Nobody listens: silently dropped.
      target_port = u32.MAX_VALUE;
      break;
    default:
      rc = -ERRNO.EINVAL;
      target_port = u32.MAX_VALUE;
  }
  spin_unlock(chn_lock(chn));
  if (target_port != u32.MAX_VALUE) notify(target, v, target_port);
  if (remote) put_domain(target);
  return rc;
}

/** Closes d's port; the other end of an interdomain channel becomes unbound. */
export function evtchn_close_port(d: Domain, port: u32): i64 {
  let rc: i64 = -ERRNO.ERESTART;
  while (rc == -ERRNO.ERESTART) rc = try_close(d, port);
  return rc;
}

/** -ERESTART: the other end changed while no lock was held. */
function try_close(d: Domain, port: u32): i64 {
  spin_lock(evtchn_lock(d));
  if (!port_is_valid(d, port)) {
    spin_unlock(evtchn_lock(d));
    return -ERRNO.EINVAL;
  }
  const chn = evtchn_from_port(d, port);
  const state = <u32>chn.state;
  if (state == ECS_FREE || state == ECS_RESERVED) {
    spin_unlock(evtchn_lock(d));
    return -ERRNO.EINVAL;
  }
  if (state != ECS_INTERDOMAIN || chn.remote_dom == d) {
    close_local(d, chn, state);
    spin_unlock(evtchn_lock(d));
    return 0;
  }
  // Both tables must be locked, in order: let go, lock both, and see that it is still the same pair.
  const other = chn.remote_dom;
  get_domain(other);
  spin_unlock(evtchn_lock(d));
  double_evtchn_lock(d, other);
  const same = chn.state == ECS_INTERDOMAIN && chn.remote_dom == other;
  if (same) {
    const peer = evtchn_from_port(other, chn.remote_port);
    double_chn_lock(chn, peer);
    peer.state = <u8>ECS_UNBOUND;
    peer.remote_domid = d.domid;
    free_port(d, chn);
    double_chn_unlock(chn, peer);
  }
  double_evtchn_unlock(d, other);
  put_domain(other);
  return same ? 0 : -ERRNO.ERESTART;
}

function close_local(d: Domain, chn: Evtchn, state: u32): void {
  if (state == ECS_VIRQ) {
    // Whoever raises the VIRQ finds it unbound.
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (changetype<usize>(v) == 0) continue;
      const at = v.virq_to_evtchn + (<usize>chn.remote_domid << 2);
      const lock = changetype<usize>(v) + offsetof<Vcpu>("virq_lock");
      spin_lock(lock);
      if (load<u32>(at) == chn.port) store<u32>(at, 0);
      spin_unlock(lock);
    }
  }
  const peer = state == ECS_INTERDOMAIN ? evtchn_from_port(d, chn.remote_port) : chn;
  double_chn_lock(chn, peer);
  if (peer != chn) {
    // Loop-back within the domain.
    peer.state = <u8>ECS_UNBOUND;
    peer.remote_domid = d.domid;
  }
  free_port(d, chn);
  double_chn_unlock(chn, peer);
}

/** Closes every port of d and gives its FIFO pages back (reset, or the domain dies). */
export function evtchn_close_all(d: Domain): void {
  for (let port: u32 = 1; port_is_valid(d, port); port++) evtchn_close_port(d, port);
  spin_lock(evtchn_lock(d));
  evtchn_fifo_destroy(d);
  spin_unlock(evtchn_lock(d));
}

/** Frees the table; every port is closed. */
export function evtchn_destroy_final(d: Domain): void {
  if (d.evtchn_group == 0) return;
  for (let i: u32 = 0; i < 1024; i++) {
    const bucket = load<u32>(d.evtchn_group + (i << 2));
    if (bucket != 0) free_xenheap_page(bucket);
  }
  free_xenheap_page(d.evtchn_group);
  d.evtchn_group = 0;
  d.valid_evtchns = 0;
}
