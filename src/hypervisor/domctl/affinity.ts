// domctl set/getvcpuaffinity and set/getnodeaffinity. There is one node.
import { DomctlNodeaffinity, DomctlVcpuaffinity, ERRNO, VCPUAFFINITY } from "../abi";
import { Domain, domain_vcpu } from "../domain";
import { xen } from "../state";
import { all_cpus } from "../sched/affinity";
import { vcpu_set_affinity } from "../sched/migrate";
import { bitmap_value, read_bitmap, write_bitmap } from "./bitmap";

/** Sets what is asked; gives back what is in force (set), or the maps as they were given (get). */
export function vcpuaffinity(d: Domain, u: usize, set: bool): i64 {
  const flags = load<u32>(u, DomctlVcpuaffinity.flags);
  const known = VCPUAFFINITY.HARD | VCPUAFFINITY.SOFT | VCPUAFFINITY.FORCE;
  if (flags == 0 || flags & ~known) return -ERRNO.EINVAL;
  const id = load<u32>(u, DomctlVcpuaffinity.vcpu);
  if (id >= d.max_vcpus) return -ERRNO.EINVAL;
  const v = domain_vcpu(d, id);
  if (changetype<usize>(v) == 0) return -ERRNO.ESRCH;
  const hard_at = u + DomctlVcpuaffinity.cpumap_hard;
  const soft_at = u + DomctlVcpuaffinity.cpumap_soft;
  const online = changetype<usize>(d.pool) != 0 ? d.pool.cpus : all_cpus();
  if (set) {
    let hard = v.cpu_hard_affinity;
    let soft = v.cpu_soft_affinity;
    if (flags & VCPUAFFINITY.HARD) {
      if (!read_bitmap(hard_at)) return -ERRNO.EFAULT;
      hard = bitmap_value();
      if ((hard & online) == 0) return -ERRNO.EINVAL;
    }
    if (flags & VCPUAFFINITY.SOFT) {
      if (!read_bitmap(soft_at)) return -ERRNO.EFAULT;
      soft = bitmap_value();
      // One that leaves nothing where it may run means nothing, and is allowed.
    }
    vcpu_set_affinity(v, hard, soft);
  }
  const n = xen().pcpus;
  const hard = set ? v.cpu_hard_affinity & online : v.cpu_hard_affinity;
  if (flags & VCPUAFFINITY.HARD && !write_bitmap(hard_at, hard, n)) return -ERRNO.EFAULT;
  const soft = set ? v.cpu_soft_affinity & v.cpu_hard_affinity & online : v.cpu_soft_affinity;
  if (flags & VCPUAFFINITY.SOFT && !write_bitmap(soft_at, soft, n)) return -ERRNO.EFAULT;
  return 0;
}

export function nodeaffinity(_d: Domain, u: usize, set: bool): i64 {
  const at = u + DomctlNodeaffinity.nodemap;
  if (!set) return write_bitmap(at, 1, 1) ? 0 : -ERRNO.EFAULT;
  if (!read_bitmap(at)) return -ERRNO.EFAULT;
  return bitmap_value() & 1 ? 0 : -ERRNO.EINVAL;
}
