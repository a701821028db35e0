// What a debugger in the control domain needs (domctl gdbsx_*): the memory of a domain by its own addresses, single vCPUs
// stopped, and which vCPU stopped the domain. Named after the program it was made for.
import { DomctlGdbsxDomstatus, DomctlGdbsxMemio, DomctlGdbsxPauseunpVcpu, ERRNO } from "../abi";
import { Domain, Vcpu, domain_vcpu, is_null } from "../domain";
import { copy_from_guest, copy_to_guest } from "../guest";
import { map_domain_page, PGT_writable_page } from "../mm/frame";
import { get_page_from_mfn, put_page } from "../mm/page";
import { get_page_and_type_from_mfn, put_page_and_type } from "../mm/page_type";
import { present, pte_mfn } from "../mm/pte";
import { frame_bytes_modified } from "../mm/tlbflush";
import { vcpu_pause, vcpu_unpause } from "../pause";
import { spin_lock, spin_unlock } from "../spinlock";

/** Most bytes of one call; a debugger asks for far less. */
const MEMIO_MAX: u32 = 1 << 20;
/** A count that a control domain drives must not wrap. */
const PAUSE_MAX: u32 = 255;

/** Entry `index` of the table in frame `mfn`, 0 if the frame is not d's. */
function entry(d: Domain, mfn: u64, index: u64): u64 {
  if (mfn > <u64>u32.MAX_VALUE) return 0;
  const pg = get_page_from_mfn(<u32>mfn, d);
  if (is_null(pg)) return 0;
  const pte = load<u64>(map_domain_page(<u32>mfn) + (<usize>(index & 511) << 3));
  put_page(pg);
  return pte;
}

/**
 * Frame that `va` is mapped to, u64.MAX_VALUE if to none: by vCPU 0's page tables as they are now, from the L2 table on
 * where `pgd3val`, an L3 entry, is given. The domain may run meanwhile: the frame is d's only once a reference says so.
 */
function translate(d: Domain, va: u64, pgd3val: u64): u64 {
  let e = pgd3val;
  if (e == 0) {
    const v = domain_vcpu(d, 0);
    if (is_null(v) || v.guest_table == 0) return u64.MAX_VALUE;
    e = entry(d, v.guest_table, va >> 39);
    if (!present(e)) return u64.MAX_VALUE;
    e = entry(d, pte_mfn(e), va >> 30);
  }
  if (!present(e)) return u64.MAX_VALUE;
  e = entry(d, pte_mfn(e), va >> 21);
  if (!present(e)) return u64.MAX_VALUE;
  e = entry(d, pte_mfn(e), va >> 12);
  return present(e) ? pte_mfn(e) : u64.MAX_VALUE;
}

/** Copies within one page; false if that cannot be. */
function copy_piece(d: Domain, mfn: u64, offset: u32, uva: u64, len: u32, write: bool): bool {
  if (mfn > <u64>u32.MAX_VALUE) return false;
  if (!write) {
    const pg = get_page_from_mfn(<u32>mfn, d);
    if (is_null(pg)) return false;
    const left = copy_to_guest(uva, map_domain_page(<u32>mfn) + offset, len);
    put_page(pg);
    return left == 0;
  }
  // Mappings do not matter, so that code can be written; but page tables and descriptors are the hypervisor's to change.
  const pg = get_page_and_type_from_mfn(<u32>mfn, PGT_writable_page, d);
  if (is_null(pg)) return false;
  const left = copy_from_guest(map_domain_page(<u32>mfn) + offset, uva, len);
  frame_bytes_modified(<u32>mfn, offset, len);
  put_page_and_type(pg);
  return left == 0;
}

/** Reads or writes guest memory, from its start to the first byte that cannot be; -EFAULT if not all of it could. */
export function gdbsx_guestmemio(d: Domain, u: usize): i64 {
  let va = load<u64>(u, DomctlGdbsxMemio.gva);
  let uva = load<u64>(u, DomctlGdbsxMemio.uva);
  let left = load<u32>(u, DomctlGdbsxMemio.len);
  // Not through a p2m.
  if (d.is_hvm) return -ERRNO.EOPNOTSUPP;
  const write = load<u8>(u, DomctlGdbsxMemio.gwr) != 0;
  const pgd3val = load<u64>(u, DomctlGdbsxMemio.pgd3val);
  if (left > MEMIO_MAX) return -ERRNO.EINVAL;
  while (left > 0) {
    const offset = <u32>va & 4095;
    const piece = min<u32>(left, 4096 - offset);
    if (!copy_piece(d, translate(d, va, pgd3val), offset, uva, piece, write)) break;
    va += piece;
    uva += piece;
    left -= piece;
  }
  store<u32>(u, left, DomctlGdbsxMemio.remain);
  return left == 0 ? 0 : -ERRNO.EFAULT;
}

/** Of a domain that is paused only: the debugger chooses who goes on when it is not any more. */
function controller_pause(d: Domain, v: Vcpu, up: bool): i64 {
  const lock = changetype<usize>(d) + offsetof<Domain>("domain_lock");
  let rc: i64 = 0;
  spin_lock(lock);
  if (d.controller_pause_count == 0) rc = -ERRNO.EBUSY;
  else if (up && v.controller_pause_count == PAUSE_MAX) rc = -ERRNO.EOVERFLOW;
  else if (!up && v.controller_pause_count == 0) rc = -ERRNO.EINVAL;
  else v.controller_pause_count += up ? 1 : -1;
  spin_unlock(lock);
  return rc;
}

export function gdbsx_pausevcpu(d: Domain, u: usize): i64 {
  const v = domain_vcpu(d, load<u32>(u, DomctlGdbsxPauseunpVcpu.vcpu));
  if (is_null(v)) return -ERRNO.EINVAL;
  const rc = controller_pause(d, v, true);
  if (rc == 0) vcpu_pause(v);
  return rc;
}

export function gdbsx_unpausevcpu(d: Domain, u: usize): i64 {
  const v = domain_vcpu(d, load<u32>(u, DomctlGdbsxPauseunpVcpu.vcpu));
  if (is_null(v)) return -ERRNO.EINVAL;
  const rc = controller_pause(d, v, false);
  if (rc == 0) vcpu_unpause(v);
  return rc;
}

/** Is the domain paused, and if so one vCPU that stopped it, with its vector (-1: none is left to tell); told once. */
export function gdbsx_domstatus(d: Domain, u: usize): void {
  const lock = changetype<usize>(d) + offsetof<Domain>("domain_lock");
  spin_lock(lock);
  const paused = d.controller_pause_count > 0;
  store<u8>(u, paused ? 1 : 0, DomctlGdbsxDomstatus.paused);
  store<u32>(u, u32.MAX_VALUE, DomctlGdbsxDomstatus.vcpu_id);
  for (let i: u32 = 0; paused && i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (is_null(v) || v.gdbsx_vcpu_event == 0) continue;
    store<u32>(u, i, DomctlGdbsxDomstatus.vcpu_id);
    store<u32>(u, v.gdbsx_vcpu_event, DomctlGdbsxDomstatus.vcpu_ev);
    v.gdbsx_vcpu_event = 0;
    break;
  }
  spin_unlock(lock);
}
