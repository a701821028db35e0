// What memory management owes the software TLBs and the decoded code of every pCPU (DESIGN section 3, "Rules for
// staleness"). A frame that loses its writable type may be in no write tag; a frame that is given to a new owner may be
// in no tag, and no decoded code of its old contents may be left.
//
// Purging a frame means scanning every TLB, so a freed frame is only stamped with the TLB clock (as Xen's
// tlbflush_timestamp): if it is allocated before the next complete flush, that flush is made then, once for all frames
// freed until now.
import { Domain, is_null, Vcpu } from "../domain";
import { code_written, tlb_drop_writable, tlb_flush_domain, tlb_flush_page, tlb_reset, tlb_switch } from "../engine";
import { AreaHeader, CpuState, MachineInfo, MACHINE_INFO_ADDRESS } from "../abi";
import { current, shared, slot, slot_kind } from "../percpu";
import { PerCpu, percpu_of } from "../state";
import { mm_state_address } from "./frame";
import { MmState } from "./state";
import { shootdown_others } from "../shootdown";

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
    case SHOOT_ALL: {
      tlb_reset();
      // The active context was dropped with the rest: name it again.
      if (!is_null(current) && current.guest_table != 0) switch_root(current);
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
      code_written(mfn, 0, 4096);
      break;
    }
  }
}

/** The u32 of frame `mfn` in a per-frame table of a pCPU's engine area. */
function area_entry(pcpu: u32, table: usize, mfn: u32): u32 {
  const size = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.area_size);
  const map = load<u32>(<usize>(load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.area_base) + pcpu * size) + table);
  return map == 0 ? 0 : atomic.load<u32>(<usize>map + (<usize>mfn << 2));
}

/** Has another pCPU decoded code from the frame? */
function others_have_code(mfn: u32): bool {
  const n = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.pcpus);
  for (let i: u32 = 0; i < n; i++) {
    if (i == slot && slot_kind == 0) continue;
    if ((area_entry(i, AreaHeader.code_map0, mfn) | area_entry(i, AreaHeader.code_map1, mfn)) != 0) return true;
  }
  return false;
}

/** May another pCPU have a write tag for the frame? One that runs guest code may be about to make one. */
function others_may_write(mfn: u32): bool {
  const n = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.pcpus);
  for (let i: u32 = 0; i < n; i++) {
    if (i == slot && slot_kind == 0) continue;
    if (area_entry(i, AreaHeader.write_map, mfn) != 0) return true;
    if (shared != 0 && atomic.load<u32>(changetype<usize>(percpu_of(i)) + offsetof<PerCpu>("in_guest")) != 0) return true;
  }
  return false;
}

function shootdown(kind: u32, domain: u32, mfn: u32, va: u64): void {
  shootdown_local(kind, domain, mfn, va);
  shootdown_others(kind, domain, mfn, va);
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
  if (others_may_write(mfn)) shootdown_others(SHOOT_WRITABLE, 0, mfn, 0);
}

/** The hypervisor, or a TypeScript domain, has changed bytes of the frame. */
export function frame_modified(mfn: u32): void {
  shootdown_local(SHOOT_CODE, 0, mfn, 0);
  if (others_have_code(mfn)) shootdown_others(SHOOT_CODE, 0, mfn, 0);
}

/** As frame_modified, for bytes [offset, offset+len) that a vCPU of this pCPU changed: only for page-table entries. */
export function frame_entry_modified(mfn: u32, offset: u32): void {
  if (slot_kind == 0) code_written(mfn, offset, 8);
}

/**
 * Flushes the domain's translations on this pCPU. Dormant contexts are not touched: the generation has them flushed
 * when they are switched to; so is the active one, at once.
 */
export function flush_tlb_local(d: Domain): void {
  note_downgrade(d);
  if (slot_kind != 0) return;
  if (changetype<usize>(current.domain) == changetype<usize>(d)) switch_root(current);
  else tlb_flush_domain(d.domid);
}

/** Flushes them everywhere. */
export function flush_tlb_domain(d: Domain): void {
  flush_tlb_local(d);
  shootdown_others(SHOOT_DOMAIN, d.domid, 0, 0);
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
