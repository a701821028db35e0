// The hypercall page of a PV guest (public/xen.h): 128 slots of 32 bytes that a kernel calls.
import { ERRNO, HYPERCALL, NR_HYPERCALL_SLOTS } from "../abi";
import { Domain } from "../domain";
import { get_page_and_type_writable, put_page_and_type_writable } from "../mm/domain";
import { map_domain_page } from "../mm/frame";
import { frame_modified } from "../mm/tlbflush";

const SLOT: u32 = 32;

/** push rcx; push r11; mov eax,n; syscall; pop r11; pop rcx; ret. iret's slot pushes rax too and does not come back. */
function fill_slot(p: usize, n: u32): void {
  memory.fill(p, 0xcc, SLOT);
  store<u8>(p, 0x51);
  store<u16>(p + 1, 0x5341);
  let at = p + 3;
  if (n == HYPERCALL.iret) {
    store<u8>(at, 0x50);
    at++;
  }
  store<u8>(at, 0xb8);
  store<u32>(at + 1, n);
  store<u16>(at + 5, 0x050f);
  if (n == HYPERCALL.iret) return;
  store<u16>(at + 7, 0x5b41);
  store<u8>(at + 9, 0x59);
  store<u8>(at + 10, 0xc3);
}

export function hypercall_page_initialise(d: Domain, gmfn: u64): i64 {
  if (d.is_ts) return -ERRNO.EINVAL;
  const mfn = get_page_and_type_writable(d, gmfn);
  if (mfn == 0) return -ERRNO.EACCES;
  const page = map_domain_page(mfn);
  for (let n: u32 = 0; n < NR_HYPERCALL_SLOTS; n++) fill_slot(page + n * SLOT, n);
  frame_modified(mfn);
  put_page_and_type_writable(mfn);
  return 0;
}
