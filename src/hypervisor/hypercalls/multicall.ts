// HYPERVISOR_multicall: a list of hypercalls in one (public/xen.h, struct multicall_entry).
import { CpuState, ERRNO, HYPERCALL, MulticallEntry } from "../abi";
import { in_kernel_mode } from "../domain";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { current } from "../percpu";
import { this_cpu } from "../state";
import { count_hypercall, time_hypercall, time_stamp, timing } from "../stats";
import { do_iret } from "../traps/iret";
import { MCF_call_preempted, MCF_in_multicall, hypercall_create_continuation, hypercall_preempt_check } from "./continuation";
import { NR_hypercalls, call_hypercall } from "./table";

/** Entries that fit a 32-bit byte count many times over: more is a mistake. */
const MAX_CALLS: u32 = 0x100_0000;

export function do_multicall(list: u64, n: u32): i64 {
  const v = current;
  if (v.mc_flags & MCF_in_multicall) return -ERRNO.EINVAL;
  if (n == 0) return 0;
  if (n > MAX_CALLS || !guest_handle_okay(list, n * <u32>MulticallEntry.SIZE)) return -ERRNO.EFAULT;
  const entry = this_cpu().mc_entry;
  v.mc_entry = entry;
  for (let i: u32 = 0; i < n; i++) {
    if (i != 0 && hypercall_preempt_check()) return hypercall_create_continuation(HYPERCALL.multicall, list, n - i, 0, 0, 0);
    if (copy_from_guest(entry, list, <u32>MulticallEntry.SIZE) != 0) return -ERRNO.EFAULT;
    const op = load<u64>(entry, MulticallEntry.op);
    let rc: i64 = -ERRNO.ENOSYS;
    v.mc_flags = MCF_in_multicall;
    if (op < NR_hypercalls) {
      count_hypercall(v.domain, <u32>op);
      if (op == HYPERCALL.iret && !v.domain.is_ts && !v.domain.is_hvm) {
        v.mc_flags = 0;
        do_iret();
        // The guest is elsewhere now: its rax is the iret's.
        return <i64>load<u64>(v.cpu, CpuState.gpr);
      }
      if (op != HYPERCALL.multicall) {
        const start: u64 = timing() ? time_stamp() : 0;
        rc = call_hypercall(
          <u32>op,
          load<u64>(entry, MulticallEntry.args),
          load<u64>(entry, MulticallEntry.args + 8),
          load<u64>(entry, MulticallEntry.args + 16),
          load<u64>(entry, MulticallEntry.args + 24),
          load<u64>(entry, MulticallEntry.args + 32),
        );
        if (timing()) time_hypercall(<u32>op, start);
      } else rc = -ERRNO.EINVAL;
    }
    const preempted = (v.mc_flags & MCF_call_preempted) != 0;
    v.mc_flags = 0;
    if (!v.domain.is_ts && !v.domain.is_hvm && !in_kernel_mode(v)) return rc;
    if (preempted) {
      // The entry's arguments say what is left of it: it is done again first.
      if (copy_to_guest(list, entry, <u32>MulticallEntry.SIZE) != 0) return -ERRNO.EFAULT;
      return hypercall_create_continuation(HYPERCALL.multicall, list, n - i, 0, 0, 0);
    }
    store<i64>(entry, rc, MulticallEntry.result);
    if (copy_to_guest(list + MulticallEntry.result, entry + MulticallEntry.result, 8) != 0) return -ERRNO.EFAULT;
    list += MulticallEntry.SIZE;
  }
  return 0;
}
