// XENMEM_exchange: a domain trades pages for others of another size (common/memory.c). Chunk by chunk: what goes in is
// taken away, what comes out is given, and a chunk that fails is as it was.
import { ERRNO, HYPERCALL, MemoryExchange, MemoryReservation, XENMEM } from "../abi";
import { Domain, is_null } from "../domain";
import { put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { hypercall_create_continuation, hypercall_preempt_check } from "../hypercalls/continuation";
import { current } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";
import { count_info_of, mfn_to_page, PGC_allocated } from "./frame";
import { alloc_domheap_frames, free_heap_frames } from "./heap";
import { set_gpfn_from_mfn, INVALID_M2P_ENTRY } from "./m2p";
import { gfn_to_mfn } from "./p2m";
import { list_link } from "./page";
import { get_any_domain, xsm_target } from "./privilege";
import { max_order } from "./reservation";
import { mm_scratch, SCRATCH_ARG, SCRATCH_OLD, SCRATCH_WORD } from "./scratch";
import { steal_page } from "./steal";
import { tlb_clock_now } from "./tlbflush";

function page_alloc_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
}

/** Gives 2^order frames to `d`, whose tot_pages counts them already. False: it is dying. */
function assign_counted(d: Domain, mfn: u32, order: u32): bool {
  spin_lock(page_alloc_lock(d));
  const ok = d.is_dying == 0;
  for (let i: u32 = 0; ok && i < 1 << order; i++) {
    const pg = mfn_to_page(mfn + i);
    pg.owner = d;
    list_link(d, pg, false);
    atomic.store<u32>(count_info_of(pg), PGC_allocated | 1);
  }
  spin_unlock(page_alloc_lock(d));
  return ok;
}

/** `n` pages that tot_pages still counts are gone. */
function uncount(d: Domain, n: u32): void {
  spin_lock(page_alloc_lock(d));
  d.tot_pages -= n;
  const last = n != 0 && d.tot_pages + d.xenheap_pages == 0;
  spin_unlock(page_alloc_lock(d));
  if (last) put_domain(d);
}

/** Takes a list of frames (linked by PageInfo.next) back into the domain they were stolen from. */
function give_back(d: Domain, first: u32): void {
  let lost: u32 = 0;
  while (first != 0) {
    const next = mfn_to_page(first).next;
    if (!assign_counted(d, first, 0)) {
      free_heap_frames(first, 0, tlb_clock_now());
      lost++;
    }
    first = next;
  }
  uncount(d, lost);
}

/** Frees a list of blocks. */
function free_list(first: u32, order: u32, stamp: u32): void {
  while (first != 0) {
    const next = mfn_to_page(first).next;
    free_heap_frames(first, order, stamp);
    first = next;
  }
}

// What one chunk takes and gives: two u32 of scratch, the first mfn of each list, 0: none. Lists are linked by
// PageInfo.next of each block's first frame.
const IN_LIST: usize = SCRATCH_OLD;
const OUT_LIST: usize = SCRATCH_OLD + 4;

function head(list: usize): u32 {
  return load<u32>(mm_scratch(list));
}

function push(list: usize, mfn: u32): void {
  mfn_to_page(mfn).next = head(list);
  store<u32>(mm_scratch(list), mfn);
}

/** Steals 2^chunk_order extents of 2^order pages, named from the list entry `at` on, into the list of what goes in. */
function take_chunk(d: Domain, at: u64, chunk_order: u32, order: u32): i32 {
  const word = mm_scratch(SCRATCH_WORD);
  for (let j: u64 = 0; j < 1 << <u64>chunk_order; j++) {
    if (copy_from_guest(word, at + (j << 3), 8) != 0) return -<i32>ERRNO.EFAULT;
    const gfn = load<u64>(word);
    for (let k: u64 = 0; k < 1 << <u64>order; k++) {
      const mfn = gfn_to_mfn(d, gfn + k);
      if (mfn == 0) return -<i32>ERRNO.EINVAL;
      const rc = steal_page(d, mfn_to_page(mfn));
      if (rc != 0) return rc;
      push(IN_LIST, mfn);
    }
  }
  return 0;
}

/** Allocates 2^chunk_order blocks of 2^order pages into the list of what comes out. */
function make_chunk(d: Domain, chunk_order: u32, order: u32): i32 {
  for (let j: u32 = 0; j < 1 << chunk_order; j++) {
    const mfn = alloc_domheap_frames(d, order);
    if (mfn == 0) return -<i32>ERRNO.ENOMEM;
    push(OUT_LIST, mfn);
  }
  return 0;
}

/** Gives what comes out to the domain and tells it the frames. Cannot fail but for a dying domain or a bad handle. */
function give_chunk(d: Domain, at: u64, pages: u32, order: u32): i32 {
  const word = mm_scratch(SCRATCH_WORD);
  let rc: i32 = 0;
  let given: u32 = 0;
  for (let mfn = head(OUT_LIST), next: u32 = 0; mfn != 0; mfn = next, at += 8) {
    next = mfn_to_page(mfn).next;
    if (!assign_counted(d, mfn, order)) {
      uncount(d, pages - given);
      free_list(mfn, order, 0);
      return -<i32>ERRNO.EINVAL;
    }
    given += 1 << order;
    if (copy_from_guest(word, at, 8) != 0) {
      for (let i: u32 = 0; i < 1 << order; i++) set_gpfn_from_mfn(mfn + i, INVALID_M2P_ENTRY);
      rc = -<i32>ERRNO.EFAULT;
      continue;
    }
    const gpfn = load<u64>(word);
    for (let i: u32 = 0; i < 1 << order; i++) set_gpfn_from_mfn(mfn + i, gpfn + i);
    store<u64>(word, <u64>mfn);
    if (copy_to_guest(at, word, 8) != 0) rc = -<i32>ERRNO.EFAULT;
  }
  return rc;
}

/** One chunk: `from` and `to` are the handles of its first entries in the two lists. */
function exchange_chunk(d: Domain, from: u64, in_chunk: u32, in_order: u32, to: u64, out_chunk: u32, out_order: u32): i32 {
  store<u64>(mm_scratch(SCRATCH_OLD), 0);
  let rc = take_chunk(d, from, in_chunk, in_order);
  if (rc == 0) rc = make_chunk(d, out_chunk, out_order);
  if (rc != 0) {
    give_back(d, head(IN_LIST));
    free_list(head(OUT_LIST), out_order, 0);
    return rc;
  }
  for (let mfn = head(IN_LIST); mfn != 0; mfn = mfn_to_page(mfn).next) set_gpfn_from_mfn(mfn, INVALID_M2P_ENTRY);
  free_list(head(IN_LIST), 0, tlb_clock_now());
  return give_chunk(d, to, 1 << (in_chunk + in_order), out_order);
}

function report(arg: u64, done: u64, rc: i64): i64 {
  const word = mm_scratch(SCRATCH_WORD);
  store<u64>(word, done);
  return copy_to_guest(arg + <u64>MemoryExchange.nr_exchanged, word, 8) != 0 ? -ERRNO.EFAULT : rc;
}

export function memory_exchange(arg: u64): i64 {
  const x = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(x, arg, <u32>MemoryExchange.SIZE) != 0) return -ERRNO.EFAULT;
  const from = x + MemoryExchange.in_;
  const to = x + MemoryExchange.out;
  const in_order = load<u32>(from, MemoryReservation.extent_order);
  const out_order = load<u32>(to, MemoryReservation.extent_order);
  const in_n = load<u64>(from, MemoryReservation.nr_extents);
  const out_n = load<u64>(to, MemoryReservation.nr_extents);
  const domid = load<u16>(from, MemoryReservation.domid);
  const done = load<u64>(x, MemoryExchange.nr_exchanged);
  if (max<u32>(in_order, out_order) > max_order(current.domain)) return report(arg, done, -ERRNO.EPERM);
  const fits = in_n <= u64.MAX_VALUE >> <u64>in_order && out_n <= u64.MAX_VALUE >> <u64>out_order;
  if (
    done > in_n || domid != load<u16>(to, MemoryReservation.domid) || !fits || in_n << <u64>in_order != out_n << <u64>out_order
  ) return report(arg, done, -ERRNO.EINVAL);
  if (done == in_n) return 0;
  const in_list_at = load<u64>(from, MemoryReservation.extent_start);
  const out_list_at = load<u64>(to, MemoryReservation.extent_start);
  // Lists of more entries than the machine has frames name some twice, which fails later.
  if (in_n > 1 << 28 || out_n > 1 << 28 || !guest_handle_okay(in_list_at, <u32>in_n << 3) || !guest_handle_okay(out_list_at, <u32>out_n << 3))
    return report(arg, done, -ERRNO.EFAULT);
  const d = get_any_domain(domid);
  if (is_null(d)) return report(arg, done, -ERRNO.ESRCH);
  const in_chunk: u32 = in_order <= out_order ? out_order - in_order : 0;
  const out_chunk: u32 = in_order <= out_order ? 0 : in_order - out_order;
  let rc: i32 = xsm_target(d);
  const first = done >> <u64>in_chunk;
  const end = in_n >> <u64>in_chunk;
  let i = first;
  if (rc == 0) {
    for (; i < end; i++) {
      if (i != first && hypercall_preempt_check()) {
        put_domain(d);
        const failed = report(arg, i << <u64>in_chunk, 0);
        return failed != 0 ? failed : hypercall_create_continuation(HYPERCALL.memory_op, XENMEM.exchange, arg, 0, 0, 0);
      }
      const in_at = in_list_at + ((i << <u64>in_chunk) << 3);
      const out_at = out_list_at + ((i << <u64>out_chunk) << 3);
      rc = exchange_chunk(d, in_at, in_chunk, in_order, out_at, out_chunk, out_order);
      if (rc != 0) break;
    }
  }
  put_domain(d);
  return report(arg, rc == 0 ? in_n : i << <u64>in_chunk, rc);
}
