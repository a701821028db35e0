// domctl scheduler_op: weight and cap of a domain under the one scheduler there is, which answers as credit2.
import { DOMCTL_SCHEDOP, DomctlSchedCredit, DomctlSchedulerOp, ERRNO, XEN_SCHEDULER } from "../abi";
import { Domain } from "../domain";

export function scheduler_op(d: Domain, u: usize): i64 {
  if (load<u32>(u, DomctlSchedulerOp.sched_id) != XEN_SCHEDULER.CREDIT2) return -ERRNO.EINVAL;
  const p = u + DomctlSchedulerOp.u;
  switch (load<u32>(u, DomctlSchedulerOp.cmd)) {
    case DOMCTL_SCHEDOP.getinfo:
      store<u16>(p, d.sched_weight, DomctlSchedCredit.weight);
      store<u16>(p, d.sched_cap, DomctlSchedCredit.cap);
      return 0;
    case DOMCTL_SCHEDOP.putinfo: {
      // 0 leaves the weight as it is. Caps are not enforced, so only "none" is accepted (-1 leaves it).
      const cap = load<u16>(p, DomctlSchedCredit.cap);
      if (cap != 0 && cap != 0xffff) return -ERRNO.EOPNOTSUPP;
      const weight = load<u16>(p, DomctlSchedCredit.weight);
      if (weight != 0) d.sched_weight = weight;
      return 0;
    }
    case DOMCTL_SCHEDOP.putvcpuinfo:
    case DOMCTL_SCHEDOP.getvcpuinfo:
      // Parameters of single vCPUs are rtds's.
      return -ERRNO.EINVAL;
    default:
      return -ERRNO.ENOSYS;
  }
}
