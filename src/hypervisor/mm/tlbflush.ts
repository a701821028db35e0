// What memory management owes the software TLBs and the decoded code of every pCPU (DESIGN section 3, "Rules for
// staleness"). A frame that loses its writable type may be in no write tag; a frame that is given to a new owner may be
// in no tag, and no decoded code of its old contents may be left.
//
// Purging a frame means scanning every TLB, so a freed frame is only stamped with the TLB clock (as Xen's
// tlbflush_timestamp): if it is allocated before the next complete flush, that flush is made then, once for all frames
// freed until now.
//
// A page table that is taken apart may still be under the feet of a page walk on another pCPU. It is stamped with the walk
// clock then, and its frame is made anything else only when every pCPU has been outside guest memory since.
import { Domain, is_null, Vcpu } from "../domain";
import {
  code_flush, code_forget, code_protect, code_written, hvm_enter, tlb_drop_writable, tlb_flush_domain, tlb_flush_page, tlb_reset, tlb_switch,
} from "../engine";
import { AreaHeader, CpuState, MachineInfo, MACHINE_INFO_ADDRESS } from "../abi";
import { current, shared, slot, slot_kind } from "../percpu";
import { PerCpu, percpu_of } from "../state";
import { mfn_to_page, mm_state_address, PageInfo } from "./frame";
import { MmState } from "./state";
import { ALL_PCPUS, await_outside, others_in_guest, others_that_map, shootdown_others } from "../shootdown";

export const TLB_CLOCK_START: u32 = 1;

/** What shootdown_local does; the other arguments it needs are named behind. */
export const SHOOT_ALL: u32 = 1;
/** (domain) */
export const SHOOT_DOMAIN: u32 = 2;
/** (domain, va) */
export const SHOOT_PAGE: u32 = 3;
/** (mfn) no write tag may map the frame. */
export const SHOOT_WRITABLE: u32 = 4;
/** (mfn) bytes of the frame were changed: drop code decoded from it. */
export const SHOOT_CODE: u32 = 5;
/** All translations and all decoded code. */
export const SHOOT_EVERYTHING: u32 = 6;

// @ts-ignore: decorator
@inline
function tlb_clock_address(): usize {
  return mm_state_address() + offsetof<MmState>("tlb_clock");
}

/** The stamp of a frame that is freed now. */
export function tlb_clock_now(): u32 {
  return atomic.load<u32>(tlb_clock_address());
}

/** Serves one request on this pCPU (also called for requests of other CPUs). */
export function shootdown_local(kind: u32, domain: u32, mfn: u32, va: u64): void {
  if (slot_kind != 0) return;
  switch (kind) {
    case SHOOT_EVERYTHING: {
      code_flush();
      forget_translations();
      break;
    }
    case SHOOT_ALL: {
      forget_translations();
      break;
    }
    case SHOOT_DOMAIN: {
      tlb_flush_domain(domain);
      break;
    }
    case SHOOT_PAGE: {
      tlb_flush_page(domain, va);
      break;
    }
    case SHOOT_WRITABLE: {
      tlb_drop_writable(mfn);
      break;
    }
    case SHOOT_CODE: {
      code_forget(mfn);
      break;
    }
  }
}

function forget_translations(): void {
  tlb_reset();
  // The active context was dropped with the rest: name it again.
  if (is_null(current)) return;
  if (current.domain.is_hvm) hvm_enter(current.cpu);
  else if (current.guest_table != 0) switch_root(current);
}

/** The word that says which pCPUs may hold code decoded from the frame (src/engine/area.ts). */
// @ts-ignore: decorator
@inline
function code_owners(mfn: u32): usize {
  return <usize>load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.code_owners) + (<usize>mfn << 3);
}

/** The u32 of frame `mfn` in the write map of a pCPU's engine area. */
function write_map_entry(pcpu: u32, mfn: u32): u32 {
  const size = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.area_size);
  const map = load<u32>(<usize>(load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.area_base) + pcpu * size), AreaHeader.write_map);
  return map == 0 ? 0 : atomic.load<u32>(<usize>map + (<usize>mfn << 2));
}

/**
 * The other pCPUs that may have a write tag for the frame. One that runs guest code of a domain that can have it mapped may be
 * about to make one: its walk has found the entry, and the tag is not there yet.
 */
function others_may_write(mfn: u32): u64 {
  if (shared == 0) return 0;
  const n = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.pcpus);
  let mask = others_that_map(mfn_to_page(mfn).owner);
  for (let i: u32 = 0; i < n; i++) {
    if (i != slot && write_map_entry(i, mfn) != 0) mask |= (<u64>1) << i;
  }
  return mask;
}

function shootdown(kind: u32, domain: u32, mfn: u32, va: u64): void {
  shootdown_local(kind, domain, mfn, va);
  shootdown_others(ALL_PCPUS, kind, domain, mfn, va);
}

// @ts-ignore: decorator
@inline
export function generation_of(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("tlb_downgrade_gen");
}

/** A present page-table entry of the domain was removed or lost rights: its next CR3 load flushes. */
// @ts-ignore: decorator
@inline
export function note_downgrade(d: Domain): void {
  atomic.add<u32>(generation_of(d), 1);
}

/** The frame has stopped being a writable page: no CPU writes to it any more once this returns. */
export function frame_lost_writable(mfn: u32): void {
  shootdown_local(SHOOT_WRITABLE, 0, mfn, 0);
  const others = others_may_write(mfn);
  if (others != 0) shootdown_others(others, SHOOT_WRITABLE, 0, mfn, 0);
}

// @ts-ignore: decorator
@inline
function walk_clock_address(): usize {
  return mm_state_address() + offsetof<MmState>("walk_clock");
}

/** A page table that nothing names any more is being taken apart: walks that are under way may still be in it. */
export function table_left(pg: PageInfo): void {
  pg.tlbflush_timestamp = atomic.add<u32>(walk_clock_address(), 1);
}

/** The frame, a page table until now, becomes something else: no walk is in it any more once this returns. */
export function await_walks(pg: PageInfo): void {
  const others = others_in_guest();
  if (others == 0) return;
  const n = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.pcpus);
  let mask: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    if (!((others >> i) & 1)) continue;
    // It entered guest memory before the table was left? (The clock may have wrapped since: then it is asked in vain.)
    const since = atomic.load<u32>(changetype<usize>(percpu_of(i)) + offsetof<PerCpu>("walk_clock"));
    if (<i32>(since - pg.tlbflush_timestamp) <= 0) mask |= (<u64>1) << i;
  }
  if (mask != 0) await_outside(mask);
}

/** The walk clock now, for a pCPU that enters guest memory. */
export function walk_clock(): u32 {
  return atomic.load<u32>(walk_clock_address());
}

/** The hypervisor, or a TypeScript domain, has changed bytes of the frame: no code decoded before is left anywhere. */
export function frame_modified(mfn: u32): void {
  frame_bytes_modified(mfn, 0, 4096);
}

/** As frame_modified, for bytes [offset, offset+len). */
export function frame_bytes_modified(mfn: u32, offset: u32, len: u32): void {
  const owners = atomic.load<u64>(code_owners(mfn));
  if (owners == 0) return;
  if (slot_kind == 0) code_written(mfn, offset, len);
  const others = slot_kind == 0 ? owners & ~((<u64>1) << slot) : owners;
  if (others == 0) return;
  // In their name, as those that sleep do it later. One that decodes from the frame again owns it again.
  atomic.and<u64>(code_owners(mfn), ~others);
  shootdown_others(others, SHOOT_CODE, 0, mfn, 0);
}

/** A page-table entry at this offset was changed. */
export function frame_entry_modified(mfn: u32, offset: u32): void {
  frame_bytes_modified(mfn, offset, 8);
}

/** This pCPU is going to decode code from the frame: no CPU writes to it unseen any more once this returns. */
export function code_from_frame(mfn: u32): void {
  code_protect(mfn);
  const others = others_may_write(mfn);
  if (others != 0) shootdown_others(others, SHOOT_WRITABLE, 0, mfn, 0);
}

/**
 * Flushes the domain's translations on this pCPU. Dormant contexts are not touched: the generation has them flushed
 * when they are switched to; so is the active one, at once. (Those of an HVM container are: its generations are its own.)
 */
export function flush_tlb_local(d: Domain): void {
  note_downgrade(d);
  if (slot_kind != 0) return;
  if (changetype<usize>(current.domain) == changetype<usize>(d) && !d.is_hvm) switch_root(current);
  else tlb_flush_domain(d.domid);
}

/** Flushes them everywhere. */
export function flush_tlb_domain(d: Domain): void {
  flush_tlb_local(d);
  shootdown_others(ALL_PCPUS, SHOOT_DOMAIN, d.domid, 0, 0);
}

/** Makes v's present CR3 the active address space again, flushed if entries were taken away since. */
function switch_root(v: Vcpu): void {
  const root = <u32>load<u64>(v.cpu, CpuState.cr3);
  if (root != 0) activate(v, root);
}

/** The generation holds for the other root of the pair too, when toggle_guest_mode comes to it. */
function activate(v: Vcpu, root: u32): void {
  v.tlb_generation = atomic.load<u32>(generation_of(v.domain));
  tlb_switch(v.cpu, root, v.tlb_generation);
}

export function flush_tlb_page_local(d: Domain, va: u64): void {
  shootdown_local(SHOOT_PAGE, d.domid, 0, va & ~0xfff);
}

export function flush_tlb_page(d: Domain, va: u64): void {
  shootdown(SHOOT_PAGE, d.domid, 0, va & ~0xfff);
}

/** `v`, which is current, loads CR3 with the L4 frame `mfn`. */
export function load_cr3(v: Vcpu, mfn: u32): void {
  activate(v, mfn << 12);
}

/** Flushes every TLB; afterwards no frame that was freed before is in any. */
function flush_all_tlbs(): void {
  const done = mm_state_address() + offsetof<MmState>("tlb_flushed");
  // Frames freed from here on have this stamp, and are not among those that are flushed.
  const began = atomic.add<u32>(tlb_clock_address(), 1) + 1;
  shootdown(SHOOT_ALL, 0, 0, 0);
  let old = atomic.load<u32>(done);
  while (old < began) {
    const seen = atomic.cmpxchg<u32>(done, old, began);
    if (seen == old) break;
    old = seen;
  }
}

/** `n` frames that were freed at clock `stamp` (0: no guest ever had them) get a new owner. No lock is held. */
export function flush_before_reuse(mfn: u32, n: u32, stamp: u32): void {
  if (stamp == 0) return;
  if (stamp >= atomic.load<u32>(mm_state_address() + offsetof<MmState>("tlb_flushed"))) flush_all_tlbs();
  for (let i: u32 = 0; i < n; i++) frame_modified(mfn + i);
}
