// XENMEM_memory_map, set_memory_map, machine_memory_map: e820 tables; machphys_mapping and machphys_mfn_list: the M2P.
import {
  E820, E820Entry, ERRNO, ForeignMemoryMap, MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START, MachineInfo, MACHINE_INFO_ADDRESS,
  MachphysMapping, MachphysMfnList, MemoryMap,
} from "../abi";
import { Domain, is_null } from "../domain";
import { put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest } from "../guest";
import { current } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";
import { get_any_domain, xsm_target } from "./privilege";
import { mm_scratch, SCRATCH_ARG, SCRATCH_LIST, SCRATCH_LIST_SIZE, SCRATCH_WORD } from "./scratch";
import { mm } from "./state";
import { xfree, xzalloc } from "./xmalloc";

const E820MAX: u32 = 1024;
const ENTRY: u32 = <u32>E820Entry.SIZE;
const CHUNK: u32 = <u32>SCRATCH_LIST_SIZE / ENTRY;

function domain_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("domain_lock");
}

export function set_memory_map(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>ForeignMemoryMap.SIZE) != 0) return -ERRNO.EFAULT;
  const n = load<u32>(a, ForeignMemoryMap.map + MemoryMap.nr_entries);
  const buffer = load<u64>(a, ForeignMemoryMap.map + MemoryMap.buffer);
  if (n > E820MAX) return -ERRNO.EINVAL;
  const d = get_any_domain(load<u16>(a, ForeignMemoryMap.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = xsm_target(d);
  if (rc == 0) {
    let e820 = xzalloc(n * ENTRY);
    if (e820 == 0) rc = -ERRNO.ENOMEM;
    else if (copy_from_guest(e820, buffer, n * ENTRY) != 0) rc = -ERRNO.EFAULT;
    else {
      spin_lock(domain_lock(d));
      const old = d.e820;
      d.e820 = e820;
      d.nr_e820 = n;
      e820 = old;
      spin_unlock(domain_lock(d));
    }
    xfree(e820);
  }
  put_domain(d);
  return rc;
}

export function memory_map(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  const list = mm_scratch(SCRATCH_LIST);
  const d = current.domain;
  if (copy_from_guest(a, arg, <u32>MemoryMap.SIZE) != 0) return -ERRNO.EFAULT;
  const buffer = load<u64>(a, MemoryMap.buffer);
  const wanted = load<u32>(a, MemoryMap.nr_entries);
  let done: u32 = 0;
  for (;;) {
    spin_lock(domain_lock(d));
    const have = d.nr_e820;
    const end = min<u32>(wanted, have);
    const n: u32 = end > done ? min<u32>(end - done, CHUNK) : 0;
    memory.copy(list, d.e820 + done * ENTRY, n * ENTRY);
    spin_unlock(domain_lock(d));
    if (have == 0) return -ERRNO.ENOSYS;
    if (n == 0) break;
    if (copy_to_guest(buffer + <u64>done * <u64>ENTRY, list, n * ENTRY) != 0) return -ERRNO.EFAULT;
    done += n;
  }
  store<u32>(a, done, MemoryMap.nr_entries);
  return copy_to_guest(arg, a, <u32>MemoryMap.SIZE) != 0 ? -ERRNO.EFAULT : 0;
}

/** The machine's memory: what the hypervisor keeps, and RAM. */
export function machine_memory_map(arg: u64): i64 {
  if (!current.domain.privileged) return -ERRNO.EPERM;
  const a = mm_scratch(SCRATCH_ARG);
  const list = mm_scratch(SCRATCH_LIST);
  if (copy_from_guest(a, arg, <u32>MemoryMap.SIZE) != 0) return -ERRNO.EFAULT;
  const buffer = load<u64>(a, MemoryMap.buffer);
  if (buffer != 0) {
    if (load<u32>(a, MemoryMap.nr_entries) < 3) return -ERRNO.EINVAL;
    const ram = <u64>mm().first_heap_mfn << 12;
    put_entry(list, 0, ram, E820.RESERVED);
    put_entry(list + ENTRY, ram, (<u64>mm().end_mfn << 12) - ram, E820.RAM);
    if (copy_to_guest(buffer, list, 2 * ENTRY) != 0) return -ERRNO.EFAULT;
  }
  store<u32>(a, 2, MemoryMap.nr_entries);
  return copy_to_guest(arg, a, <u32>MemoryMap.SIZE) != 0 ? -ERRNO.EFAULT : 0;
}

function put_entry(at: usize, start: u64, size: u64, type: u32): void {
  store<u64>(at, start, E820Entry.addr_lo);
  store<u64>(at, size, E820Entry.size_lo);
  store<u32>(at, type, E820Entry.type);
}

export function machphys_mapping(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  store<u64>(a, MACH2PHYS_VIRT_START, MachphysMapping.v_start);
  store<u64>(a, MACH2PHYS_VIRT_END, MachphysMapping.v_end);
  // A domU is told of the whole range (its domain may move to a larger machine), a control domain of what there is.
  let max_mfn = ((MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) >> 3) - 1;
  if (current.domain.privileged) max_mfn = <u64>load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames) - 1;
  store<u64>(a, max_mfn, MachphysMapping.max_mfn);
  return copy_to_guest(arg, a, <u32>MachphysMapping.SIZE) != 0 ? -ERRNO.EFAULT : 0;
}

/** mfn of the first frame of each 2 MiB of the M2P. */
export function machphys_mfn_list(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  const word = mm_scratch(SCRATCH_WORD);
  if (copy_from_guest(a, arg, <u32>MachphysMfnList.SIZE) != 0) return -ERRNO.EFAULT;
  const most = load<u32>(a, MachphysMfnList.max_extents);
  const list = load<u64>(a, MachphysMfnList.extent_start);
  let n: u32 = 0;
  for (let at: u32 = 0; at < mm().m2p_size && n < most; at += 0x20_0000, n++) {
    store<u64>(word, <u64>((mm().m2p + at) >> 12));
    if (copy_to_guest(list + (<u64>n << 3), word, 8) != 0) return -ERRNO.EFAULT;
  }
  store<u32>(a, n, MachphysMfnList.nr_extents);
  return copy_to_guest(arg, a, <u32>MachphysMfnList.SIZE) != 0 ? -ERRNO.EFAULT : 0;
}
