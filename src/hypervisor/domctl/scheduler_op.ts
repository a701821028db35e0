// domctl scheduler_op and sysctl scheduler_op: parameters of the scheduler of a domain's pool, and of a pool.
import { DOMCTL_SCHEDOP, DomctlSchedulerOp, ERRNO, SYSCTL_SCHEDOP, SysctlSchedulerOp } from "../abi";
import { Domain } from "../domain";
import { cpupool_find } from "../sched/cpupool";
import { sched_lock } from "../sched/sched";
import { sched_getinfo, sched_pool_getinfo, sched_pool_putinfo, sched_putinfo, sched_vcpuinfo } from "../sched/scheduler";
import { spin_lock, spin_unlock } from "../spinlock";
import { NOW } from "../time/clock";

/** The caller names the scheduler that it thinks the domain has. */
export function domain_scheduler_op(d: Domain, u: usize): i64 {
  const at = u + DomctlSchedulerOp.u;
  const cmd = load<u32>(u, DomctlSchedulerOp.cmd);
  if (cmd == DOMCTL_SCHEDOP.putvcpuinfo || cmd == DOMCTL_SCHEDOP.getvcpuinfo) return vcpus(d, u, cmd == DOMCTL_SCHEDOP.putvcpuinfo);
  const now = NOW();
  let rc: i64 = -ERRNO.EINVAL;
  spin_lock(sched_lock());
  if (changetype<usize>(d.pool) != 0 && load<u32>(u, DomctlSchedulerOp.sched_id) == d.pool.sched_id) {
    switch (cmd) {
      case DOMCTL_SCHEDOP.getinfo:
        rc = sched_getinfo(d, at);
        break;
      case DOMCTL_SCHEDOP.putinfo:
        rc = sched_putinfo(d, at, now);
        break;
      default:
        rc = -ERRNO.ENOSYS;
    }
  }
  spin_unlock(sched_lock());
  return rc;
}

/** Parameters of single vCPUs: rtds's. */
function vcpus(d: Domain, u: usize, put: bool): i64 {
  const sched_id = load<u32>(u, DomctlSchedulerOp.sched_id);
  spin_lock(sched_lock());
  const same = changetype<usize>(d.pool) != 0 && sched_id == d.pool.sched_id;
  spin_unlock(sched_lock());
  return same ? sched_vcpuinfo(d, sched_id, u + DomctlSchedulerOp.u, put) : -ERRNO.EINVAL;
}

export function pool_scheduler_op(u: usize): i64 {
  const at = u + SysctlSchedulerOp.u;
  let rc: i64 = -ERRNO.ESRCH;
  spin_lock(sched_lock());
  const c = cpupool_find(load<u32>(u, SysctlSchedulerOp.cpupool_id), false);
  if (changetype<usize>(c) != 0) {
    if (load<u32>(u, SysctlSchedulerOp.sched_id) != c.sched_id) rc = -ERRNO.EINVAL;
    else {
      switch (load<u32>(u, SysctlSchedulerOp.cmd)) {
        case SYSCTL_SCHEDOP.getinfo:
          rc = sched_pool_getinfo(c, at);
          break;
        case SYSCTL_SCHEDOP.putinfo:
          rc = sched_pool_putinfo(c, at);
          break;
        default:
          rc = -ERRNO.EINVAL;
      }
    }
  }
  spin_unlock(sched_lock());
  return rc;
}
