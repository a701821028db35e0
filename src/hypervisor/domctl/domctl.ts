// HYPERVISOR_domctl (public/domctl.h, interface version 0x15): what a control domain does with other domains. The
// argument is copied to a block of its own, the operation works on it there, and what it changes is copied back.
import {
  DOMCTL, Domctl, DomctlAddressSize, DomctlGetvcpuinfo, DomctlHypercallInit, DomctlMaxMem, DomctlMaxVcpus, DomctlSendtrigger,
  DomctlSetTarget, DomctlSetVirqHandler, DomctlSetdebugging, DomctlSetdomainhandle, DomctlSettimeoffset, DomctlSubscribe,
  DomctlTscInfo, DomctlVcpucontext, ERRNO, NR_VIRQS, SENDTRIGGER, TSC_MODE, VcpuGuestContext, XEN_DOMCTL_INTERFACE_VERSION,
} from "../abi";
import { DOMID_INVALID, Domain, VPF_blocked, VPF_down, Vcpu, domain_vcpu } from "../domain";
import { get_domain_by_id, get_domain_from, put_domain, get_domain } from "../domain_list";
import { domain_kill, vcpu_create } from "../domain_life";
import { copy_from_guest, copy_to_guest } from "../guest";
import { evtchn_port_valid } from "../evtchn/evtchn";
import { virq_is_per_vcpu } from "../evtchn/virq";
import { send_nmi } from "../hypercalls/vcpu_op";
import { gethvmcontext, gethvmcontext_partial, sethvmcontext } from "../hvm/save";
import { hypercall_page_initialise } from "./hypercall_page";
import { xfree, xzalloc } from "../mm/xmalloc";
import { domain_pause, domain_unpause } from "../pause";
import { current } from "../percpu";
import { domain_resume } from "../shutdown";
import { spin_lock, spin_unlock } from "../spinlock";
import { Hypervisor, xen } from "../state";
import { vcpu_cpu_time } from "../sched/runstate";
import { NOW } from "../time/clock";
import { update_domain_wallclock } from "../time/time_info";
import { get_vcpu_context, hvm_get_vcpu_context, set_vcpu_context } from "../vcpu_context";
import { createdomain } from "./createdomain";
import { fill_domaininfo } from "./domaininfo";
import { nodeaffinity, vcpuaffinity } from "./affinity";
import { domain_scheduler_op } from "./scheduler_op";
import { get_cpu_policy, set_cpu_policy } from "./cpu_policy";
import { gdbsx_domstatus, gdbsx_guestmemio, gdbsx_pausevcpu, gdbsx_unpausevcpu } from "./gdbsx";
import { getpageframeinfo3 } from "./pageframeinfo";

// @ts-ignore: decorator
@inline
function domain_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("domain_lock");
}

export function do_domctl(arg: u64): i64 {
  const op = xzalloc(<u32>Domctl.SIZE);
  if (op == 0) return -ERRNO.ENOMEM;
  let rc: i64 = -ERRNO.EFAULT;
  if (copy_from_guest(op, arg, <u32>Domctl.SIZE) == 0) {
    rc = -ERRNO.EACCES;
    if (load<u32>(op, Domctl.interface_version) == XEN_DOMCTL_INTERFACE_VERSION) {
      rc = current.domain.privileged ? checked(op) : -ERRNO.EPERM;
      // Operations that fail may still say where (cpu policy), so the argument goes back always.
      if (copy_to_guest(arg, op, <u32>Domctl.SIZE) != 0) rc = -ERRNO.EFAULT;
    }
  }
  xfree(op);
  return rc;
}

function checked(op: usize): i64 {
  const cmd = load<u32>(op, Domctl.cmd);
  const domid = <u32>load<u16>(op, Domctl.domain);
  if (cmd == DOMCTL.createdomain) return createdomain(op);
  const d = cmd == DOMCTL.getdomaininfo ? get_domain_from(domid) : get_domain_by_id(domid);
  if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
  const rc = operate(cmd, d, op, op + Domctl.u);
  put_domain(d);
  return rc;
}

/** Not the control domain itself. */
function other(d: Domain): bool {
  return d != current.domain && !d.is_ts;
}

function operate(cmd: u32, d: Domain, op: usize, u: usize): i64 {
  switch (cmd) {
    case DOMCTL.destroydomain: {
      if (d == current.domain) return -ERRNO.EINVAL;
      const rc = domain_kill(d);
      return rc == -ERRNO.ERESTART ? -ERRNO.EAGAIN : rc;
    }
    case DOMCTL.pausedomain: return pause(d);
    case DOMCTL.unpausedomain: return unpause(d);
    case DOMCTL.getdomaininfo:
      fill_domaininfo(d, u);
      store<u16>(op, d.domid, Domctl.domain);
      return 0;
    case DOMCTL.max_vcpus: return max_vcpus(d, load<u32>(u, DomctlMaxVcpus.max));
    case DOMCTL.max_mem: return max_mem(d, load<u64>(u, DomctlMaxMem.max_memkb));
    case DOMCTL.setvcpucontext: return setvcpucontext(d, u);
    case DOMCTL.getvcpucontext: return getvcpucontext(d, u);
    case DOMCTL.gethvmcontext: return other(d) ? gethvmcontext(d, u) : -ERRNO.EINVAL;
    case DOMCTL.gethvmcontext_partial: return other(d) ? gethvmcontext_partial(d, u) : -ERRNO.EINVAL;
    case DOMCTL.sethvmcontext: return other(d) ? sethvmcontext(d, u) : -ERRNO.EINVAL;
    case DOMCTL.getvcpuinfo: return getvcpuinfo(d, u);
    case DOMCTL.setvcpuaffinity: return vcpuaffinity(d, u, true);
    case DOMCTL.getvcpuaffinity: return vcpuaffinity(d, u, false);
    case DOMCTL.setnodeaffinity: return nodeaffinity(d, u, true);
    case DOMCTL.getnodeaffinity: return nodeaffinity(d, u, false);
    case DOMCTL.scheduler_op: return domain_scheduler_op(d, u);
    case DOMCTL.setdomainhandle:
      d.handle_lo = load<u64>(u, DomctlSetdomainhandle.handle);
      d.handle_hi = load<u64>(u, DomctlSetdomainhandle.handle + 8);
      return 0;
    case DOMCTL.setdebugging:
      if (!other(d)) return -ERRNO.EINVAL;
      // Paused meanwhile, so that no vCPU goes by the old state once this has returned.
      domain_pause(d);
      d.debugger_attached = load<u8>(u, DomctlSetdebugging.enable) ? 1 : 0;
      domain_unpause(d);
      return 0;
    case DOMCTL.gdbsx_guestmemio: return other(d) ? gdbsx_guestmemio(d, u) : -ERRNO.EINVAL;
    case DOMCTL.gdbsx_pausevcpu: return other(d) ? gdbsx_pausevcpu(d, u) : -ERRNO.EINVAL;
    case DOMCTL.gdbsx_unpausevcpu: return other(d) ? gdbsx_unpausevcpu(d, u) : -ERRNO.EINVAL;
    case DOMCTL.gdbsx_domstatus:
      gdbsx_domstatus(d, u);
      return 0;
    // Single steps of HVM domains; a PV domain's trap flag is set through its context.
    case DOMCTL.debug_op: return -ERRNO.EINVAL;
    case DOMCTL.hypercall_init: return hypercall_page_initialise(d, load<u64>(u, DomctlHypercallInit.gmfn));
    case DOMCTL.settimeoffset: return settimeoffset(d, load<i64>(u, DomctlSettimeoffset.time_offset_seconds));
    case DOMCTL.resumedomain: return resume(d);
    case DOMCTL.sendtrigger: return sendtrigger(d, u);
    case DOMCTL.subscribe: return subscribe(d, load<u32>(u, DomctlSubscribe.port));
    case DOMCTL.set_address_size: return set_address_size(d, load<u32>(u, DomctlAddressSize.size));
    case DOMCTL.get_address_size:
      store<u32>(u, d.address_size, DomctlAddressSize.size);
      return 0;
    case DOMCTL.settscinfo: return settscinfo(d, u);
    case DOMCTL.gettscinfo: return gettscinfo(d, u);
    case DOMCTL.set_target: return set_target(d, load<u16>(u, DomctlSetTarget.target));
    case DOMCTL.set_virq_handler: return set_virq_handler(d, load<u32>(u, DomctlSetVirqHandler.virq));
    case DOMCTL.get_cpu_policy: return get_cpu_policy(d, u);
    case DOMCTL.set_cpu_policy: return set_cpu_policy(d, u);
    case DOMCTL.getpageframeinfo3: return getpageframeinfo3(d, u);
    // No domain here has devices: nothing can be permitted, but taking a permission away is no error.
    case DOMCTL.irq_permission:
    case DOMCTL.iomem_permission:
    case DOMCTL.ioport_permission:
      return -ERRNO.EINVAL;
    default:
      return -ERRNO.ENOSYS;
  }
}

function pause(d: Domain): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  // A count that a control domain drives must not wrap.
  spin_lock(domain_lock(d));
  const ok = d.controller_pause_count < 255;
  if (ok) d.controller_pause_count += 1;
  spin_unlock(domain_lock(d));
  if (!ok) return -ERRNO.EOVERFLOW;
  domain_pause(d);
  return 0;
}

function unpause(d: Domain): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  spin_lock(domain_lock(d));
  const ok = d.controller_pause_count > 0;
  if (ok) d.controller_pause_count -= 1;
  d.creation_finished = 1;
  spin_unlock(domain_lock(d));
  if (!ok) return -ERRNO.EINVAL;
  domain_unpause(d);
  return 0;
}

/** Creates the vCPUs 0..max-1 that do not exist yet; max is the number given at creation. */
function max_vcpus(d: Domain, max: u32): i64 {
  if (!other(d) || max != d.max_vcpus) return -ERRNO.EINVAL;
  // Others start in real mode, which the engine has not.
  if (d.is_hvm && max > 1) return -ERRNO.EOPNOTSUPP;
  let rc: i64 = 0;
  // Allocation may have to wait for a shoot-down: no lock but a flag that only one caller gets.
  if (atomic.xchg<u32>(changetype<usize>(d) + offsetof<Domain>("making_vcpus"), 1) != 0) return -ERRNO.EBUSY;
  for (let i: u32 = 0; i < max && rc == 0; i++) {
    if (changetype<usize>(domain_vcpu(d, i)) == 0 && changetype<usize>(vcpu_create(d, i)) == 0) rc = -ERRNO.ENOMEM;
  }
  atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("making_vcpus"), 0);
  return rc;
}

/** The domain may have so much from now on; what it has above that stays. */
function max_mem(d: Domain, kib: u64): i64 {
  const pages = kib >> 2;
  if (pages > u32.MAX_VALUE) return -ERRNO.EINVAL;
  const lock = changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
  spin_lock(lock);
  d.max_pages = <u32>pages;
  spin_unlock(lock);
  return 0;
}

function vcpu_of(d: Domain, id: u32): Vcpu {
  return domain_vcpu(d, id);
}

function setvcpucontext(d: Domain, u: usize): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  const id = load<u32>(u, DomctlVcpucontext.vcpu);
  if (id >= d.max_vcpus) return -ERRNO.EINVAL;
  const v = vcpu_of(d, id);
  if (changetype<usize>(v) == 0) return -ERRNO.ESRCH;
  // An HVM vCPU's is set with sethvmcontext.
  if (d.is_hvm) return -ERRNO.EOPNOTSUPP;
  const handle = load<u64>(u, DomctlVcpucontext.ctxt);
  // A null handle resets the vCPU: only HVM guests are reset so.
  if (handle == 0) return -ERRNO.EOPNOTSUPP;
  const c = xzalloc(<u32>VcpuGuestContext.SIZE);
  if (c == 0) return -ERRNO.ENOMEM;
  let rc: i64 = -ERRNO.EFAULT;
  if (copy_from_guest(c, handle, <u32>VcpuGuestContext.SIZE) == 0) {
    domain_pause(d);
    rc = d.is_dying ? -ERRNO.EINVAL : set_vcpu_context(v, c);
    domain_unpause(d);
  }
  xfree(c);
  return rc;
}

function getvcpucontext(d: Domain, u: usize): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  const id = load<u32>(u, DomctlVcpucontext.vcpu);
  if (id >= d.max_vcpus) return -ERRNO.EINVAL;
  const v = vcpu_of(d, id);
  if (changetype<usize>(v) == 0) return -ERRNO.ESRCH;
  if (!v.is_initialised) return -ERRNO.ENODATA;
  const c = xzalloc(<u32>VcpuGuestContext.SIZE);
  if (c == 0) return -ERRNO.ENOMEM;
  domain_pause(d);
  if (d.is_hvm) hvm_get_vcpu_context(v, c);
  else get_vcpu_context(v, c);
  domain_unpause(d);
  const left = copy_to_guest(load<u64>(u, DomctlVcpucontext.ctxt), c, <u32>VcpuGuestContext.SIZE);
  xfree(c);
  return left != 0 ? -ERRNO.EFAULT : 0;
}

function getvcpuinfo(d: Domain, u: usize): i64 {
  const id = load<u32>(u, DomctlGetvcpuinfo.vcpu);
  if (id >= d.max_vcpus) return -ERRNO.EINVAL;
  const v = vcpu_of(d, id);
  if (changetype<usize>(v) == 0) return -ERRNO.ESRCH;
  const flags = atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags"));
  store<u8>(u, flags & VPF_down ? 0 : 1, DomctlGetvcpuinfo.online);
  store<u8>(u, flags & VPF_blocked ? 1 : 0, DomctlGetvcpuinfo.blocked);
  store<u8>(u, v.is_running ? 1 : 0, DomctlGetvcpuinfo.running);
  store<u64>(u, vcpu_cpu_time(v, NOW()), DomctlGetvcpuinfo.cpu_time);
  store<u32>(u, v.processor, DomctlGetvcpuinfo.cpu);
  return 0;
}

function settimeoffset(d: Domain, seconds: i64): i64 {
  if (!other(d) || seconds < i32.MIN_VALUE || seconds > i32.MAX_VALUE) return -ERRNO.EINVAL;
  d.time_offset_seconds = <i32>seconds;
  update_domain_wallclock(d);
  return 0;
}

/** After a suspend: the same domain goes on. */
function resume(d: Domain): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  domain_pause(d);
  domain_resume(d);
  domain_unpause(d);
  return 0;
}

function sendtrigger(d: Domain, u: usize): i64 {
  const id = load<u32>(u, DomctlSendtrigger.vcpu);
  if (!other(d) || id >= d.max_vcpus) return -ERRNO.EINVAL;
  const v = vcpu_of(d, id);
  if (changetype<usize>(v) == 0) return -ERRNO.ESRCH;
  switch (load<u32>(u, DomctlSendtrigger.trigger)) {
    case SENDTRIGGER.NMI:
      send_nmi(v);
      return 0;
    default:
      return -ERRNO.ENOSYS;
  }
}

/** The port of the domain that is notified when it has suspended; 0: VIRQ_DOM_EXC instead. */
function subscribe(d: Domain, port: u32): i64 {
  if (!other(d) || (port != 0 && !evtchn_port_valid(d, port))) return -ERRNO.EINVAL;
  d.suspend_evtchn = port;
  return 0;
}

/** 64-bit guests only: 32-bit PV is not there. */
function set_address_size(d: Domain, bits: u32): i64 {
  if (!other(d) || (bits != 32 && bits != 64)) return -ERRNO.EINVAL;
  return bits == 64 ? 0 : -ERRNO.EOPNOTSUPP;
}

function settscinfo(d: Domain, u: usize): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  const mode = load<u32>(u, DomctlTscInfo.tsc_mode);
  if (mode > TSC_MODE.NEVER_EMULATE) return -ERRNO.EINVAL;
  const khz = load<u32>(u, DomctlTscInfo.gtsc_khz);
  // The TSC is the machine's: another frequency could only be had by emulating every rdtsc.
  if (mode == TSC_MODE.ALWAYS_EMULATE && khz != 0 && khz != xen().tsc_khz) return -ERRNO.EOPNOTSUPP;
  d.tsc_mode = mode;
  d.tsc_khz = khz;
  d.tsc_incarnation = load<u32>(u, DomctlTscInfo.incarnation);
  return 0;
}

function gettscinfo(d: Domain, u: usize): i64 {
  store<u32>(u, d.tsc_mode, DomctlTscInfo.tsc_mode);
  store<u32>(u, xen().tsc_khz, DomctlTscInfo.gtsc_khz);
  store<u32>(u, d.tsc_incarnation, DomctlTscInfo.incarnation);
  store<u64>(u, NOW(), DomctlTscInfo.elapsed_nsec);
  return 0;
}

/** d becomes the device model of `target`: it may act on it. */
function set_target(d: Domain, target: u32): i64 {
  if (!other(d)) return -ERRNO.EINVAL;
  const t = get_domain_by_id(target);
  if (changetype<usize>(t) == 0) return -ERRNO.ESRCH;
  let rc: i64 = -ERRNO.EINVAL;
  // A domain has at most one device model, and that is no control domain (which needs no leave).
  if (d != t && t.target == DOMID_INVALID && !d.privileged && !t.privileged) {
    t.target = d.domid;
    rc = 0;
  }
  put_domain(t);
  return rc;
}

/** d gets a global VIRQ instead of dom0. */
function set_virq_handler(d: Domain, virq: u32): i64 {
  if (virq >= NR_VIRQS || virq_is_per_vcpu(virq) || d.is_dying) return -ERRNO.EINVAL;
  const lock = changetype<usize>(xen()) + offsetof<Hypervisor>("virq_lock");
  const at = xen().virq_handlers + (<usize>virq << 2);
  get_domain(d);
  spin_lock(lock);
  const old = changetype<Domain>(load<u32>(at));
  store<u32>(at, changetype<usize>(d));
  spin_unlock(lock);
  if (changetype<usize>(old) != 0) put_domain(old);
  return 0;
}
