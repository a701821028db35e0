// sysctl cpupool_op and cpu_hotplug (public/sysctl.h): pools, and which pCPUs are in use.
import { CPUPOOL_OP, CPUPOOL_PAR_ANY, CPU_HOTPLUG, ERRNO, SysctlCpuHotplug, SysctlCpupoolOp } from "../abi";
import { get_domain_by_id, put_domain } from "../domain_list";
import {
  cpu_offline, cpu_online, cpupool_add_cpu, cpupool_create, cpupool_destroy, cpupool_find, cpupool_move_domain, cpupool_remove_cpu, cpupools_release,
  cpupools_take, free_cpus,
} from "../sched/cpupool";
import { xen } from "../state";
import { write_bitmap } from "./bitmap";

export function cpupool_op(u: usize): i64 {
  if (!cpupools_take()) return -ERRNO.EAGAIN;
  const rc = operate(u);
  cpupools_release();
  return rc;
}

function operate(u: usize): i64 {
  const id = load<u32>(u, SysctlCpupoolOp.cpupool_id);
  const cpu = load<u32>(u, SysctlCpupoolOp.cpu);
  switch (load<u32>(u, SysctlCpupoolOp.op)) {
    case CPUPOOL_OP.CREATE: {
      const rc = cpupool_create(id, load<u32>(u, SysctlCpupoolOp.sched_id));
      if (rc < 0) return rc;
      store<u32>(u, <u32>rc, SysctlCpupoolOp.cpupool_id);
      return 0;
    }
    case CPUPOOL_OP.DESTROY: return cpupool_destroy(id);
    case CPUPOOL_OP.INFO: return info(id, u);
    case CPUPOOL_OP.ADDCPU: return cpupool_add_cpu(id, cpu);
    case CPUPOOL_OP.RMCPU: return cpupool_remove_cpu(id, cpu);
    case CPUPOOL_OP.MOVEDOMAIN: return move_domain(load<u32>(u, SysctlCpupoolOp.domid), id);
    case CPUPOOL_OP.FREEINFO:
      return write_bitmap(u + SysctlCpupoolOp.cpumap, free_cpus(), xen().pcpus) ? 0 : -ERRNO.EFAULT;
    default: return -ERRNO.ENOSYS;
  }
}

/** The pool, or the next one after it. */
function info(id: u32, u: usize): i64 {
  const c = cpupool_find(id == CPUPOOL_PAR_ANY ? 0 : id, true);
  if (changetype<usize>(c) == 0) return -ERRNO.ENOENT;
  store<u32>(u, c.id, SysctlCpupoolOp.cpupool_id);
  store<u32>(u, c.sched_id, SysctlCpupoolOp.sched_id);
  store<u32>(u, c.n_dom, SysctlCpupoolOp.n_dom);
  return write_bitmap(u + SysctlCpupoolOp.cpumap, c.cpus, xen().pcpus) ? 0 : -ERRNO.EFAULT;
}

/** Not domain 0, nor one that is dying. */
function move_domain(domid: u32, id: u32): i64 {
  const d = get_domain_by_id(domid);
  if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
  const rc = d.is_ts || d.is_dying ? -ERRNO.EINVAL : cpupool_move_domain(d, id);
  put_domain(d);
  return rc;
}

export function cpu_hotplug(u: usize): i64 {
  const cpu = load<u32>(u, SysctlCpuHotplug.cpu);
  if (!cpupools_take()) return -ERRNO.EAGAIN;
  let rc: i64 = -ERRNO.EOPNOTSUPP;
  switch (load<u32>(u, SysctlCpuHotplug.op)) {
    case CPU_HOTPLUG.ONLINE:
      rc = cpu_online(cpu);
      break;
    case CPU_HOTPLUG.OFFLINE:
      rc = cpu_offline(cpu);
      break;
    default:
      break;
  }
  cpupools_release();
  return rc;
}
