// HYPERVISOR_sched_op (public/sched.h).
import { ERRNO, SCHEDOP, SHUTDOWN, SchedPinOverride, SchedRemoteShutdown, SchedShutdown, SchedWatchdog } from "../abi";
import { copy_from_guest } from "../guest";
import { current, scratch } from "../percpu";
import { do_block, do_poll } from "../sched/poll";
import { vcpu_yield } from "../sched/sched";
import { domain_watchdog } from "../sched/watchdog";
import { domain_crash } from "../crash";
import { domain_shutdown } from "../shutdown";
import { get_domain_by_id, put_domain } from "../domain_list";
import { log_dec, log_end, log_start, log_str } from "../log";

function shutdown(reason: u32): i64 {
  const d = current.domain;
  // The control domain is the machine: its host ends, not the domain.
  if (d.is_ts) return -ERRNO.EPERM;
  log_start();
  log_str("d");
  log_dec(d.domid);
  log_str(" domain shutdown, code ");
  log_dec(reason);
  log_end();
  if (reason == SHUTDOWN.crash) domain_crash(d, "shutdown with code \"crash\"");
  else domain_shutdown(d, reason & 0xff);
  return 0;
}

function remote_shutdown(arg: u64): i64 {
  if (copy_from_guest(scratch, arg, <u32>SchedRemoteShutdown.SIZE) != 0) return -ERRNO.EFAULT;
  const reason = load<u32>(scratch, SchedRemoteShutdown.reason);
  const d = get_domain_by_id(load<u16>(scratch, SchedRemoteShutdown.domain_id));
  if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
  const me = current.domain;
  let rc: i64 = 0;
  if (!me.privileged && d.target != me.domid) rc = -ERRNO.EPERM;
  else if (d == me || d.is_ts) rc = -ERRNO.EINVAL;
  else domain_shutdown(d, reason & 0xff);
  put_domain(d);
  return rc;
}

/** Latches a code that a later shutdown reports. */
function shutdown_code(arg: u64): i64 {
  if (copy_from_guest(scratch, arg, <u32>SchedShutdown.SIZE) != 0) return -ERRNO.EFAULT;
  const d = current.domain;
  if (d.shutdown_code == u32.MAX_VALUE) d.shutdown_code = load<u32>(scratch, SchedShutdown.reason);
  return 0;
}

export function do_sched_op(cmd: u32, arg: u64): i64 {
  switch (cmd) {
    case SCHEDOP.yield_:
      if (!current.domain.is_ts) vcpu_yield(current);
      return 0;
    case SCHEDOP.block:
      return do_block();
    case SCHEDOP.shutdown:
      if (copy_from_guest(scratch, arg, <u32>SchedShutdown.SIZE) != 0) return -ERRNO.EFAULT;
      return shutdown(load<u32>(scratch, SchedShutdown.reason));
    case SCHEDOP.shutdown_code:
      return shutdown_code(arg);
    case SCHEDOP.poll:
      return do_poll(arg);
    case SCHEDOP.remote_shutdown:
      return remote_shutdown(arg);
    case SCHEDOP.watchdog:
      if (copy_from_guest(scratch, arg, <u32>SchedWatchdog.SIZE) != 0) return -ERRNO.EFAULT;
      return domain_watchdog(current.domain, load<u32>(scratch, SchedWatchdog.id), load<u32>(scratch, SchedWatchdog.timeout));
    case SCHEDOP.pin_override: {
      if (!current.domain.privileged) return -ERRNO.EPERM;
      if (copy_from_guest(scratch, arg, <u32>SchedPinOverride.SIZE) != 0) return -ERRNO.EFAULT;
      // A TypeScript domain's vCPU runs on no pCPU.
      return -ERRNO.EINVAL;
    }
    default:
      return -ERRNO.ENOSYS;
  }
}

/** The first form of the call: yield, block and shutdown with the code as argument. */
export function do_sched_op_compat(cmd: u32, arg: u64): i64 {
  switch (cmd) {
    case SCHEDOP.yield_:
    case SCHEDOP.block:
      return do_sched_op(cmd, 0);
    case SCHEDOP.shutdown:
      return shutdown(<u32>arg);
    default:
      return -ERRNO.ENOSYS;
  }
}
