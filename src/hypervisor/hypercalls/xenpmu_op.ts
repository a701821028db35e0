// xenpmu_op: no performance counters are virtualised (public/pmu.h). Xen with vpmu off answers every call so.
import { ERRNO } from "../abi";

export function do_xenpmu_op(_op: u32, _arg: u64): i64 {
  return -ERRNO.EOPNOTSUPP;
}
