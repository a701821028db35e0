// HYPERVISOR_event_channel_op (public/event_channel.h): one function per operation. Arguments are copied to the scratch
// page first, results from it.
import {
  ERRNO, EVTCHNOP, EVTCHNSTAT, EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu, EvtchnBindVirq,
  EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnReset, EvtchnSend, EvtchnSetPriority, EvtchnStatus, EvtchnUnmask, NR_VIRQS,
} from "../abi";
import { DOMID_SELF, Domain, Vcpu, domain_vcpu } from "../domain";
import { put_domain, rcu_lock_domain_by_any_id } from "../domain_list";
import { copy_from_guest, copy_to_guest } from "../guest";
import { current, scratch } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";
import {
  chn_lock, double_chn_lock, double_chn_unlock, double_evtchn_lock, double_evtchn_unlock, evtchn_close_all, evtchn_close_port,
  evtchn_lock, evtchn_send_from, get_free_port, notify, open_port, set_pending, unmask,
} from "./evtchn";
import { evtchn_fifo_deliver_new, evtchn_fifo_expand_array, evtchn_fifo_init_control, evtchn_fifo_newest_port, evtchn_fifo_set_priority } from "./fifo";
import { ECS_INTERDOMAIN, ECS_IPI, ECS_UNBOUND, ECS_VIRQ, evtchn_from_port, port_is_valid } from "./struct";
import { virq_is_per_vcpu } from "./virq";

/** Where in the scratch page the argument lies while an operation runs. */
const ARG: u32 = 1536;
/** Interrupt numbers that a domain could have: those of one I/O APIC and 32 more. */
const NR_PIRQS: u32 = 56;

function resolve_self(domid: u32): u32 {
  return domid == DOMID_SELF ? current.domain.domid : domid;
}

/** May the current domain manage d's event channels? */
function may_manage(d: Domain): bool {
  const me = current.domain;
  return d == me || me.privileged != 0 || d.target == me.domid;
}

function alloc_unbound(a: usize): i64 {
  const d = rcu_lock_domain_by_any_id(load<u16>(a, EvtchnAllocUnbound.dom));
  if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
  let rc: i64 = -ERRNO.EPERM;
  if (may_manage(d)) {
    spin_lock(evtchn_lock(d));
    rc = get_free_port(d);
    if (rc >= 0) {
      const port = <u32>rc;
      const chn = evtchn_from_port(d, port);
      spin_lock(chn_lock(chn));
      open_port(d, chn, ECS_UNBOUND);
      chn.remote_domid = resolve_self(load<u16>(a, EvtchnAllocUnbound.remote_dom));
      spin_unlock(chn_lock(chn));
      store<u32>(a, port, EvtchnAllocUnbound.port);
      rc = 0;
    }
    spin_unlock(evtchn_lock(d));
  }
  put_domain(d);
  return rc;
}

function bind_interdomain(a: usize): i64 {
  const ld = current.domain;
  const rd = rcu_lock_domain_by_any_id(load<u16>(a, EvtchnBindInterdomain.remote_dom));
  if (changetype<usize>(rd) == 0) return -ERRNO.ESRCH;
  const rport = load<u32>(a, EvtchnBindInterdomain.remote_port);
  double_evtchn_lock(ld, rd);
  let rc = get_free_port(ld);
  let kick = changetype<Vcpu>(0);
  let lport: u32 = 0;
  if (rc >= 0) {
    lport = <u32>rc;
    rc = -ERRNO.EINVAL;
    if (port_is_valid(rd, rport)) {
      const lchn = evtchn_from_port(ld, lport);
      const rchn = evtchn_from_port(rd, rport);
      double_chn_lock(lchn, rchn);
      if (rchn.state == ECS_UNBOUND && rchn.remote_domid == ld.domid && !rd.is_dying) {
        open_port(ld, lchn, ECS_INTERDOMAIN);
        lchn.remote_dom = rd;
        lchn.remote_port = rport;
        rchn.remote_dom = ld;
        rchn.remote_port = lport;
        rchn.state = <u8>ECS_INTERDOMAIN;
        // The peer may have sent before we listened.
        kick = set_pending(ld, lchn);
        store<u32>(a, lport, EvtchnBindInterdomain.local_port);
        rc = 0;
      }
      double_chn_unlock(lchn, rchn);
    }
  }
  double_evtchn_unlock(ld, rd);
  if (rc == 0) notify(ld, kick, lport);
  put_domain(rd);
  return rc;
}

function bind_virq(a: usize): i64 {
  const d = current.domain;
  const virq = load<u32>(a, EvtchnBindVirq.virq);
  const vcpu = load<u32>(a, EvtchnBindVirq.vcpu);
  if (virq >= NR_VIRQS) return -ERRNO.EINVAL;
  if (!virq_is_per_vcpu(virq) && vcpu != 0) return -ERRNO.EINVAL;
  const v = domain_vcpu(d, vcpu);
  if (changetype<usize>(v) == 0) return -ERRNO.ENOENT;
  const at = v.virq_to_evtchn + (<usize>virq << 2);
  spin_lock(evtchn_lock(d));
  let rc: i64 = -ERRNO.EEXIST;
  if (load<u32>(at) == 0) {
    rc = get_free_port(d);
    if (rc >= 0) {
      const port = <u32>rc;
      const chn = evtchn_from_port(d, port);
      spin_lock(chn_lock(chn));
      open_port(d, chn, ECS_VIRQ);
      chn.notify_vcpu_id = <u16>vcpu;
      chn.remote_domid = virq;
      spin_unlock(chn_lock(chn));
      store<u32>(a, port, EvtchnBindVirq.port);
      const lock = changetype<usize>(v) + offsetof<Vcpu>("virq_lock");
      spin_lock(lock);
      store<u32>(at, port);
      spin_unlock(lock);
      rc = 0;
    }
  }
  spin_unlock(evtchn_lock(d));
  return rc;
}

/** There are no physical interrupts to bind, but numbers that one could have. */
function bind_pirq(a: usize): i64 {
  if (load<u32>(a, EvtchnBindPirq.pirq) >= NR_PIRQS) return -ERRNO.EINVAL;
  return current.domain.privileged ? -ERRNO.EINVAL : -ERRNO.EPERM;
}

function bind_ipi(a: usize): i64 {
  const d = current.domain;
  const vcpu = load<u32>(a, EvtchnBindIpi.vcpu);
  if (changetype<usize>(domain_vcpu(d, vcpu)) == 0) return -ERRNO.ENOENT;
  spin_lock(evtchn_lock(d));
  let rc = get_free_port(d);
  if (rc >= 0) {
    const chn = evtchn_from_port(d, <u32>rc);
    spin_lock(chn_lock(chn));
    open_port(d, chn, ECS_IPI);
    chn.notify_vcpu_id = <u16>vcpu;
    spin_unlock(chn_lock(chn));
    store<u32>(a, <u32>rc, EvtchnBindIpi.port);
    rc = 0;
  }
  spin_unlock(evtchn_lock(d));
  return rc;
}

function status(a: usize): i64 {
  const d = rcu_lock_domain_by_any_id(load<u16>(a, EvtchnStatus.dom));
  if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
  let rc: i64 = -ERRNO.EPERM;
  if (may_manage(d)) rc = status_of(d, a);
  put_domain(d);
  return rc;
}

function status_of(d: Domain, a: usize): i64 {
  const port = load<u32>(a, EvtchnStatus.port);
  if (!port_is_valid(d, port)) return -ERRNO.EINVAL;
  const chn = evtchn_from_port(d, port);
  spin_lock(evtchn_lock(d));
  store<u64>(a, 0, EvtchnStatus.u);
  switch (<u32>chn.state) {
    case ECS_UNBOUND:
      store<u32>(a, EVTCHNSTAT.unbound, EvtchnStatus.status);
      store<u16>(a, chn.remote_domid, EvtchnStatus.u);
      break;
    case ECS_INTERDOMAIN:
      store<u32>(a, EVTCHNSTAT.interdomain, EvtchnStatus.status);
      store<u16>(a, chn.remote_dom.domid, EvtchnStatus.u);
      store<u32>(a, chn.remote_port, EvtchnStatus.u + 4);
      break;
    case ECS_VIRQ:
      store<u32>(a, EVTCHNSTAT.virq, EvtchnStatus.status);
      store<u32>(a, chn.remote_domid, EvtchnStatus.u);
      break;
    case ECS_IPI:
      store<u32>(a, EVTCHNSTAT.ipi, EvtchnStatus.status);
      break;
    default:
      store<u32>(a, EVTCHNSTAT.closed, EvtchnStatus.status);
  }
  store<u32>(a, chn.notify_vcpu_id, EvtchnStatus.vcpu);
  spin_unlock(evtchn_lock(d));
  return 0;
}

function bind_vcpu(a: usize): i64 {
  const d = current.domain;
  const port = load<u32>(a, EvtchnBindVcpu.port);
  const vcpu = load<u32>(a, EvtchnBindVcpu.vcpu);
  if (changetype<usize>(domain_vcpu(d, vcpu)) == 0) return -ERRNO.ENOENT;
  if (!port_is_valid(d, port)) return -ERRNO.EINVAL;
  const chn = evtchn_from_port(d, port);
  spin_lock(evtchn_lock(d));
  spin_lock(chn_lock(chn));
  let rc: i64 = 0;
  switch (<u32>chn.state) {
    case ECS_VIRQ:
      if (virq_is_per_vcpu(chn.remote_domid)) rc = -ERRNO.EINVAL;
      else chn.notify_vcpu_id = <u16>vcpu;
      break;
    case ECS_UNBOUND:
    case ECS_INTERDOMAIN:
      chn.notify_vcpu_id = <u16>vcpu;
      break;
    default:
      rc = -ERRNO.EINVAL;
  }
  spin_unlock(chn_lock(chn));
  spin_unlock(evtchn_lock(d));
  return rc;
}

function do_unmask(port: u32): i64 {
  const d = current.domain;
  if (!port_is_valid(d, port)) return -ERRNO.EINVAL;
  const chn = evtchn_from_port(d, port);
  spin_lock(chn_lock(chn));
  const kick = unmask(d, chn);
  spin_unlock(chn_lock(chn));
  notify(d, kick, port);
  return 0;
}

function reset(domid: u32): i64 {
  const d = rcu_lock_domain_by_any_id(domid);
  if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
  let rc: i64 = -ERRNO.EPERM;
  if (may_manage(d)) {
    evtchn_close_all(d);
    rc = 0;
  }
  put_domain(d);
  return rc;
}

function init_control(a: usize): i64 {
  const d = current.domain;
  if (d.is_ts) return -ERRNO.EOPNOTSUPP;
  spin_lock(evtchn_lock(d));
  const rc = evtchn_fifo_init_control(d, a);
  spin_unlock(evtchn_lock(d));
  return rc;
}

function expand_array(gfn: u64): i64 {
  const d = current.domain;
  spin_lock(evtchn_lock(d));
  const rc = evtchn_fifo_expand_array(d, gfn);
  const first = rc == 0 ? evtchn_fifo_newest_port(d) : 0;
  spin_unlock(evtchn_lock(d));
  if (rc != 0) return rc;
  for (let i: u32 = 0; i < 1024 && port_is_valid(d, first + i); i++) {
    const chn = evtchn_from_port(d, first + i);
    if (!chn.pending) continue;
    spin_lock(chn_lock(chn));
    const kick = evtchn_fifo_deliver_new(d, first + i);
    spin_unlock(chn_lock(chn));
    notify(d, kick, first + i);
  }
  return 0;
}

function set_priority(a: usize): i64 {
  const d = current.domain;
  const port = load<u32>(a, EvtchnSetPriority.port);
  if (!port_is_valid(d, port)) return -ERRNO.EINVAL;
  const chn = evtchn_from_port(d, port);
  spin_lock(chn_lock(chn));
  const rc = evtchn_fifo_set_priority(d, chn, load<u32>(a, EvtchnSetPriority.priority));
  spin_unlock(chn_lock(chn));
  return rc;
}

export function do_event_channel_op(cmd: u32, arg: u64): i64 {
  const a = scratch + ARG;
  let size: u32;
  let back = false;
  switch (cmd) {
    case EVTCHNOP.alloc_unbound: size = <u32>EvtchnAllocUnbound.SIZE; back = true; break;
    case EVTCHNOP.bind_interdomain: size = <u32>EvtchnBindInterdomain.SIZE; back = true; break;
    case EVTCHNOP.bind_virq: size = <u32>EvtchnBindVirq.SIZE; back = true; break;
    case EVTCHNOP.bind_ipi: size = <u32>EvtchnBindIpi.SIZE; back = true; break;
    case EVTCHNOP.status: size = <u32>EvtchnStatus.SIZE; back = true; break;
    case EVTCHNOP.init_control: size = <u32>EvtchnInitControl.SIZE; back = true; break;
    case EVTCHNOP.close: size = <u32>EvtchnClose.SIZE; break;
    case EVTCHNOP.send: size = <u32>EvtchnSend.SIZE; break;
    case EVTCHNOP.bind_vcpu: size = <u32>EvtchnBindVcpu.SIZE; break;
    case EVTCHNOP.unmask: size = <u32>EvtchnUnmask.SIZE; break;
    case EVTCHNOP.reset: size = <u32>EvtchnReset.SIZE; break;
    case EVTCHNOP.expand_array: size = <u32>EvtchnExpandArray.SIZE; break;
    case EVTCHNOP.set_priority: size = <u32>EvtchnSetPriority.SIZE; break;
    case EVTCHNOP.bind_pirq: size = <u32>EvtchnBindPirq.SIZE; break;
    default: return -ERRNO.ENOSYS;
  }
  if (copy_from_guest(a, arg, size) != 0) return -ERRNO.EFAULT;
  const rc = operate(cmd, a);
  if (rc == 0 && back && copy_to_guest(arg, a, size) != 0) {
    // The guest cannot learn its new port: take it back.
    undo(cmd, a);
    return -ERRNO.EFAULT;
  }
  return rc;
}

function operate(cmd: u32, a: usize): i64 {
  switch (cmd) {
    case EVTCHNOP.alloc_unbound: return alloc_unbound(a);
    case EVTCHNOP.bind_interdomain: return bind_interdomain(a);
    case EVTCHNOP.bind_virq: return bind_virq(a);
    case EVTCHNOP.bind_ipi: return bind_ipi(a);
    case EVTCHNOP.bind_pirq: return bind_pirq(a);
    case EVTCHNOP.status: return status(a);
    case EVTCHNOP.init_control: return init_control(a);
    case EVTCHNOP.close: return evtchn_close_port(current.domain, load<u32>(a));
    case EVTCHNOP.send: return evtchn_send_from(current.domain, load<u32>(a));
    case EVTCHNOP.bind_vcpu: return bind_vcpu(a);
    case EVTCHNOP.unmask: return do_unmask(load<u32>(a));
    case EVTCHNOP.reset: return reset(load<u16>(a));
    case EVTCHNOP.expand_array: return expand_array(load<u64>(a));
    default: return set_priority(a);
  }
}

function undo(cmd: u32, a: usize): void {
  switch (cmd) {
    case EVTCHNOP.alloc_unbound: {
      const d = rcu_lock_domain_by_any_id(load<u16>(a, EvtchnAllocUnbound.dom));
      if (changetype<usize>(d) == 0) return;
      evtchn_close_port(d, load<u32>(a, EvtchnAllocUnbound.port));
      put_domain(d);
      break;
    }
    case EVTCHNOP.bind_interdomain:
      evtchn_close_port(current.domain, load<u32>(a, EvtchnBindInterdomain.local_port));
      break;
    case EVTCHNOP.bind_virq:
      evtchn_close_port(current.domain, load<u32>(a, EvtchnBindVirq.port));
      break;
    case EVTCHNOP.bind_ipi:
      evtchn_close_port(current.domain, load<u32>(a, EvtchnBindIpi.port));
      break;
  }
}
