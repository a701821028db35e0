// Guest memory by guest handle. For a guest's vCPU a handle is a linear address in its current address space; for a
// TypeScript domain it is a machine address. Every copy may fault: callers check the number of bytes NOT copied.
import { guest_read, guest_write } from "./engine";
import { current } from "./percpu";
import { MachineInfo, MACHINE_INFO_ADDRESS } from "./abi";

/** Guest addresses of the hypervisor's own range: never valid in a guest handle (public/arch-x86/xen-x86_64.h). */
const HYPERVISOR_VIRT_START: u64 = 0xffff_8000_0000_0000;
const HYPERVISOR_VIRT_END: u64 = 0xffff_8800_0000_0000;

/** Is [va, va+len) outside the hypervisor's range and without wrap-around? */
export function guest_range_okay(va: u64, len: u32): bool {
  const end = va + <u64>len;
  if (end < va) return false;
  return end <= HYPERVISOR_VIRT_START || va >= HYPERVISOR_VIRT_END;
}

/** May the current domain name `len` bytes at `handle`? (They may still be unmapped.) */
export function guest_handle_okay(handle: u64, len: u32): bool {
  if (current.domain.is_ts) {
    const end = handle + <u64>len;
    if (!current.domain.privileged) {
      const start = <u64>current.domain.ts_buffer;
      return handle >= start && end >= handle && end <= start + <u64>current.domain.ts_buffer_size;
    }
    const top = <u64>load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames) << 12;
    return handle >= 0x1000 && end >= handle && end <= top;
  }
  // An HVM container has no hypervisor in its address space.
  if (current.domain.is_hvm) return handle + <u64>len >= handle;
  return guest_range_okay(handle, len);
}

/** Copies `len` bytes from the guest to machine address `dst`. Returns the bytes not copied. */
export function copy_from_guest(dst: usize, handle: u64, len: u32): u32 {
  if (len == 0) return 0;
  if (!guest_handle_okay(handle, len)) return len;
  if (current.domain.is_ts) {
    memory.copy(dst, <usize>handle, len);
    return 0;
  }
  return guest_read(current.cpu, handle, dst, len);
}

/** Copies `len` bytes from machine address `src` to the guest. Returns the bytes not copied. */
export function copy_to_guest(handle: u64, src: usize, len: u32): u32 {
  if (len == 0) return 0;
  if (!guest_handle_okay(handle, len)) return len;
  if (current.domain.is_ts) {
    memory.copy(<usize>handle, src, len);
    return 0;
  }
  return guest_write(current.cpu, handle, src, len);
}

/** Writes zeros; returns the bytes not written. */
export function clear_guest(handle: u64, len: u32, zeros: usize): u32 {
  let at = handle;
  let left = len;
  while (left > 0) {
    const n: u32 = left < 64 ? left : 64;
    if (copy_to_guest(at, zeros, n) != 0) return left;
    at += n;
    left -= n;
  }
  return 0;
}
