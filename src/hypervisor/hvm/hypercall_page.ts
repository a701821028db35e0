// The hypercall page of an HVM guest, made by a write to MSR 0x40000000 (public/arch-x86/cpuid.h, leaf 2).
import { HYPERCALL, NR_HYPERCALL_SLOTS } from "../abi";
import { Domain } from "../domain";
import { get_page_and_type_writable, put_page_and_type_writable } from "../mm/domain";
import { map_domain_page } from "../mm/frame";
import { frame_modified } from "../mm/tlbflush";

const SLOT: u32 = 32;

/** mov eax,n; vmmcall; ret. iret is no HVM guest's call: ud2. */
function fill_slot(p: usize, n: u32): void {
  memory.fill(p, 0xcc, SLOT);
  if (n == HYPERCALL.iret) {
    store<u16>(p, 0x0b0f);
    return;
  }
  store<u8>(p, 0xb8);
  store<u32>(p + 1, n);
  store<u16>(p + 5, 0x010f);
  store<u16>(p + 7, 0xc3d9);
}

/** Guest-physical address of the page, and in the low bits its number, of which there is one. False: #GP. */
export function wrmsr_hypercall_page(d: Domain, x: u64): bool {
  if (x & 0xfff) return false;
  const mfn = <u32>get_page_and_type_writable(d, x >> 12);
  if (mfn == 0) return false;
  const page = map_domain_page(mfn);
  for (let n: u32 = 0; n < NR_HYPERCALL_SLOTS; n++) fill_slot(page + n * SLOT, n);
  frame_modified(mfn);
  put_page_and_type_writable(mfn);
  return true;
}
