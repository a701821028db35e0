// domctl set/getvcpuaffinity and set/getnodeaffinity. There is one node.
import { DomctlNodeaffinity, DomctlVcpuaffinity, ERRNO, VCPUAFFINITY } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { vcpu_pause, vcpu_unpause } from "../pause";
import { current } from "../percpu";
import { xen } from "../state";
import { bitmap_value, read_bitmap, write_bitmap } from "./bitmap";

function all_cpus(): u64 {
  const n = xen().pcpus;
  return n >= 64 ? u64.MAX_VALUE : ((<u64>1) << n) - 1;
}

function set_hard(v: Vcpu, map: u64): void {
  // Off its pCPU first: it must not go on running where it may not.
  if (v != current && !v.domain.is_ts) {
    vcpu_pause(v);
    v.cpu_hard_affinity = map;
    vcpu_unpause(v);
  } else v.cpu_hard_affinity = map;
}

export function vcpuaffinity(d: Domain, u: usize, set: bool): i64 {
  const flags = load<u32>(u, DomctlVcpuaffinity.flags);
  const known = VCPUAFFINITY.HARD | VCPUAFFINITY.SOFT | VCPUAFFINITY.FORCE;
  if (flags == 0 || flags & ~known) return -ERRNO.EINVAL;
  const id = load<u32>(u, DomctlVcpuaffinity.vcpu);
  if (id >= d.max_vcpus) return -ERRNO.EINVAL;
  const v = domain_vcpu(d, id);
  if (changetype<usize>(v) == 0) return -ERRNO.ESRCH;
  const all = all_cpus();
  const hard_at = u + DomctlVcpuaffinity.cpumap_hard;
  const soft_at = u + DomctlVcpuaffinity.cpumap_soft;
  if (set) {
    if (flags & VCPUAFFINITY.HARD) {
      if (!read_bitmap(hard_at)) return -ERRNO.EFAULT;
      const map = bitmap_value();
      if ((map & all) == 0) return -ERRNO.EINVAL;
      set_hard(v, map);
    }
    if (flags & VCPUAFFINITY.SOFT) {
      if (!read_bitmap(soft_at)) return -ERRNO.EFAULT;
      v.cpu_soft_affinity = bitmap_value();
    }
  }
  const n = xen().pcpus;
  if (flags & VCPUAFFINITY.HARD && !write_bitmap(hard_at, v.cpu_hard_affinity & all, n)) return -ERRNO.EFAULT;
  const soft = set ? v.cpu_soft_affinity & v.cpu_hard_affinity & all : v.cpu_soft_affinity & all;
  if (flags & VCPUAFFINITY.SOFT && !write_bitmap(soft_at, soft, n)) return -ERRNO.EFAULT;
  return 0;
}

export function nodeaffinity(_d: Domain, u: usize, set: bool): i64 {
  const at = u + DomctlNodeaffinity.nodemap;
  if (!set) return write_bitmap(at, 1, 1) ? 0 : -ERRNO.EFAULT;
  if (!read_bitmap(at)) return -ERRNO.EFAULT;
  return bitmap_value() & 1 ? 0 : -ERRNO.EINVAL;
}
