/**
 * The guest's memory management unit: long-mode page walks (Intel SDM vol. 3, 4.5) over machine memory, and what they fill
 * the software TLBs of one pCPU with (tlb.ts).
 *
 * Tags: rtag is set by any fill; wtag only when the page may be written, its dirty bit is set and no pCPU holds code
 * decoded from the frame, so that dirty bits, read-only page tables and self-modifying code are caught by the write path.
 *
 * With several pCPUs an instruction that writes to a frame of which another one holds code, or is the first to be decoded
 * from its frame on this one, leaves guest code before it has changed anything (EXIT.RENDEZVOUS). The hypervisor has the
 * others drop the code, or their write tags, and the instruction is executed again.
 */
import { AreaHeader, CpuState, EXIT, NON_CANONICAL, RENDEZVOUS, TLB_INVALID, TlbEntry, VEC, XtlbEntry } from '../../../build/abi/engine';
import { forget_jumps } from './jumps';
import { hvm_walk } from './hvm/paging';
import { WALK_LATER, WALK_NPF, area, walk_done, walk_error, walk_failed, walk_page, walk_rights, walk_shift } from './percpu';
import { A, ADDR, D, G, NX, P, PS, RW, US } from './pte';
import {
  SEVERAL, code_map_slot, forget_exec, is_no_page, no_page, note_data, note_exec, note_large, select_xtlb, tlb_drop_writable, tlb_slot, xtlb_slot,
} from './tlb';
import { code_watched, data_watched, may_access, watched_page } from './watch';

/** Frame `mfn` is going to hold decoded code for `mode`: its offset table's address (made if need be). */
@external("decoder", "code_table")
declare function code_table(mfn: u32, mode: u32): u32;
/** Guest bytes [offset, offset+len) of a frame with decoded code are about to change. */
@external("decoder", "invalidate")
declare function decoder_invalidate(mfn: u32, offset: u32, len: u32): void;

/** The code decoded from frame `mfn` is not wanted any more; no guest code runs now. */
@external("decoder", "forget")
declare function decoder_forget(mfn: u32): void;

/** All decoded code is to be dropped. */
@external("decoder", "flush")
declare function decoder_flush(): void;

export const READ: u32 = 0;
export const WRITE: u32 = 1;
export const EXEC: u32 = 2;

/** Forget the decoded code of the frame. Not from within guest code. */
export function code_forget(mfn: u32): void {
  decoder_forget(mfn);
}

/** Forget all decoded code. Not from within guest code: records may be in use there. */
export function code_flush(): void {
  decoder_flush();
}

/** Before guest code runs: the hypervisor changes modes when it enters or leaves a guest kernel. */
export function enter_guest(cpu: usize): void {
  select_xtlb(cpu);
  if (load<u32>(cpu, CpuState.watch) != 0) forget_watched(cpu);
}

/** Another vCPU may have filled the entries of pages that this one watches. */
function forget_watched(cpu: usize): void {
  for (let n: usize = 0; n < 4; n++) {
    const va = load<u64>(cpu + CpuState.dr + (n << 3)) & ~0xfff;
    if (!watched_page(cpu, va, 0x11 << <u32>n)) continue;
    const e = load<u32>(cpu, CpuState.tlb) + tlb_slot(va);
    if (load<u64>(e, TlbEntry.rtag) == va) store<u64>(e, no_page(va), TlbEntry.rtag);
    if (load<u64>(e, TlbEntry.wtag) == va) store<u64>(e, no_page(va), TlbEntry.wtag);
    forget_exec(load<u32>(area, AreaHeader.current), va);
  }
}

/** This pCPU holds no decoded code of the frame any more. */
export function code_dropped(mfn: u32): void {
  atomic.and<u64>(owners_of(mfn), ~own_bit());
}

/**
 * The frame is going to hold decoded code: from now on no pCPU gets a write tag for it, and this one has none. With other
 * pCPUs the caller makes sure that they have none either before it lets guest code run here.
 */
export function code_protect(mfn: u32): void {
  atomic.or<u64>(owners_of(mfn), own_bit());
  tlb_drop_writable(mfn);
}

@inline export function canonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va;
}
@inline function owners_of(mfn: u32): u32 {
  return load<u32>(area, AreaHeader.code_owners) + (mfn << 3);
}
/** The pCPUs that may hold code decoded from the frame. */
@inline export function code_owners(mfn: u32): u64 {
  return atomic.load<u64>(owners_of(mfn));
}
@inline function own_bit(): u64 {
  return load<u64>(area, AreaHeader.own_bit);
}

/** Set `bits` in the entry at `p`. False: it is no longer `e`, so the walk must start anew. */
@inline export function mark(p: u32, e: u64, bits: u64): bool {
  return (e & bits) == bits || atomic.cmpxchg<u64>(p, e, e | bits) == e;
}

/** As walk_tables does it, from the L4 of the vCPU; in an HVM container through its p2m. */
@inline function walk(cpu: usize, va: u64, access: u32, user: bool): bool {
  if (load<u32>(cpu, CpuState.hvm) != 0) return hvm_walk(cpu, va, access, user);
  return walk_tables(cpu, <u32>load<u64>(cpu, CpuState.cr3), va, access, user, true);
}

/**
 * Walk the tables at `root`. On success walk_page is the frame's machine address, walk_rights the combined RW|US|NX and
 * D of the leaf; A (and D for writes) are set in the entries as the CPU does: only while an entry is what was looked at, as
 * its table may be taken apart meanwhile. On failure walk_error is the #PF code.
 */
function walk_tables(cpu: usize, root: u32, va: u64, access: u32, user: bool, set: bool): bool {
  const limit = <u64>load<u32>(area, AreaHeader.mem_frames) << 12;
  const nxe = (load<u64>(cpu, CpuState.efer) & 0x800) != 0;
  let rights: u64 = RW | US;
  let table = root;
  let base: u32 = (user ? 4 : 0) | (access == WRITE ? 2 : 0) | (access == EXEC && nxe ? 16 : 0);
  let shift: u32 = 39;
  while (true) {
    const p = table + ((<u32>(va >> shift) & 511) << 3);
    const e = atomic.load<u64>(p);
    if (!(e & P)) {
      walk_failed(base);
      return false;
    }
    const large = shift != 12 && shift != 39 && (e & PS) != 0;
    if ((e & ADDR) >= limit || (!nxe && (e & NX) != 0) || (shift == 39 && (e & PS) != 0)) {
      walk_failed(base | 1 | 8);
      return false;
    }
    rights = (rights & (e | ~(RW | US))) | (e & NX);
    if (shift == 12 || large) {
      if ((user && !(rights & US)) || (access == WRITE && !(rights & RW) && (user || (load<u64>(cpu, CpuState.cr0) & 0x10000) != 0)) ||
        (access == EXEC && (rights & NX) != 0)) {
        walk_failed(base | 1);
        return false;
      }
      if (set && !mark(p, e, access == WRITE ? A | D : A)) {
        rights = RW | US;
        table = root;
        shift = 39;
        continue;
      }
      const span = (<u64>1 << shift) - 1;
      const page = ((e & ADDR & ~span) | (va & span)) & ~0xfff;
      if (page >= limit) {
        walk_failed(base | 1 | 8);
        return false;
      }
      walk_done(page, rights | (access == WRITE ? D : e & D), 12);
      return true;
    }
    if (set && !mark(p, e, A)) {
      rights = RW | US;
      table = root;
      shift = 39;
      continue;
    }
    table = <u32>(e & ADDR);
    shift -= 9;
  }
  return false;
}

/** Record an exception; generated code then stops at its instruction. */
export function raise(cpu: usize, vector: u32, has_error: u32, error: u32): void {
  store<u32>(cpu, vector, CpuState.exit_vector);
  store<u32>(cpu, has_error, CpuState.exit_has_error);
  store<u32>(cpu, error, CpuState.exit_error);
  store<u32>(cpu, EXIT.EXCEPTION, CpuState.exit_reason);
}

/** This instruction is not executed now: the hypervisor is asked for `what` (RENDEZVOUS), about frame `mfn`. */
export function rendezvous(cpu: usize, what: u32, mfn: u32): void {
  store<u32>(cpu, what, CpuState.exit_vector);
  store<u32>(cpu, 0, CpuState.exit_has_error);
  store<u32>(cpu, mfn, CpuState.exit_error);
  store<u32>(cpu, EXIT.RENDEZVOUS, CpuState.exit_reason);
}

/** Records why the last walk failed; 0. */
export function fault(cpu: usize, va: u64): u32 {
  if (walk_error & WALK_LATER) return 0;
  if (walk_error & WALK_NPF) {
    store<u64>(cpu, walk_page | (va & 0xfff), CpuState.exit_gpa);
    store<u32>(cpu, walk_error & ~WALK_NPF, CpuState.exit_error);
    store<u32>(cpu, 0, CpuState.exit_has_error);
    store<u32>(cpu, EXIT.NPF, CpuState.exit_reason);
    return 0;
  }
  store<u64>(cpu, va, CpuState.cr2);
  raise(cpu, VEC.PF, 1, walk_error);
  return 0;
}

@inline function is_user(cpu: usize): bool {
  return load<u32>(cpu, CpuState.cpl) == 3;
}

/** Translate one byte for data access, fill the TLB; host address or 0 with the fault recorded. */
function fill(cpu: usize, va: u64, access: u32): u32 {
  store<u64>(cpu, load<u64>(cpu, CpuState.n_tlb_miss) + 1, CpuState.n_tlb_miss);
  if (!canonical(va)) {
    // #SS or #GP: the handler knows the segment.
    raise(cpu, VEC.GP, NON_CANONICAL, 0);
    return 0;
  }
  if (!walk(cpu, va, access, is_user(cpu))) return fault(cpu, va);
  const page = <u32>walk_page;
  const mfn = page >> 12;
  note_large(va, walk_shift);
  if (data_watched(cpu, va)) return page | (<u32>va & 0xfff);
  const e = load<u32>(cpu, CpuState.tlb) + tlb_slot(va);
  const tag = va & ~0xfff;
  store<u64>(e, tag, TlbEntry.rtag);
  store<u32>(e, page - <u32>tag, TlbEntry.addend);
  store<u32>(e, mfn, TlbEntry.mfn);
  note_data(va, (walk_rights & G) != 0);
  if ((walk_rights & (RW | D)) == (RW | D) && code_owners(mfn) == 0) {
    store<u64>(e, tag, TlbEntry.wtag);
    const slot = load<u32>(area, AreaHeader.write_map) + (mfn << 2);
    const was = load<u32>(slot);
    if (was == 0) store<u32>(slot, e);
    else if (was != e) {
      // Still live elsewhere? If the earlier entry has moved on, this one is the only one.
      const live = was != SEVERAL && (load<u32>(was, TlbEntry.mfn) != mfn || is_no_page(load<u64>(was, TlbEntry.wtag)));
      store<u32>(slot, live ? e : SEVERAL);
    }
  } else {
    store<u64>(e, no_page(tag), TlbEntry.wtag);
  }
  return page | (<u32>va & 0xfff);
}

@inline export function lookup_read(cpu: usize, va: u64): u32 {
  const e = load<u32>(cpu, CpuState.tlb) + tlb_slot(va);
  if (load<u64>(e, TlbEntry.rtag) == (va & ~0xfff)) return <u32>va + load<u32>(e, TlbEntry.addend);
  return fill(cpu, va, READ);
}

@inline export function lookup_write(cpu: usize, va: u64): u32 {
  const e = load<u32>(cpu, CpuState.tlb) + tlb_slot(va);
  if (load<u64>(e, TlbEntry.wtag) == (va & ~0xfff)) return <u32>va + load<u32>(e, TlbEntry.addend);
  return fill(cpu, va, WRITE);
}

/** In compatibility mode linear addresses wrap at 4 GiB. */
@inline export function wrap(cpu: usize, va: u64): u64 {
  return load<u32>(cpu, CpuState.mode) == 0 ? va : va & 0xffffffff;
}

/** Host address of `bytes` (at most 64) to read, the bounce buffer with a copy, or 0 with the fault recorded. */
export function probe_read(cpu: usize, va: u64, bytes: u32): u32 {
  const h = lookup_read(cpu, va);
  const first: u32 = 4096 - (<u32>va & 0xfff);
  if (!h) return 0;
  if (bytes <= first) return may_access(cpu, va, bytes, false) ? h : 0;
  const h1 = lookup_read(cpu, wrap(cpu, va + first));
  if (!h1 || !may_access(cpu, va, bytes, false)) return 0;
  const b = <u32>cpu + <u32>CpuState.bounce;
  memory.copy(b, h, first);
  memory.copy(b + first, h1, bytes - first);
  return b;
}

/** Host address of `bytes` (at most 64) to read and write, or the bounce buffer (then `commit` must follow), or 0. */
export function probe_write(cpu: usize, va: u64, bytes: u32): u32 {
  const h = lookup_write(cpu, va);
  if (!h) return 0;
  const first: u32 = 4096 - (<u32>va & 0xfff);
  if (bytes <= first) return may_access(cpu, va, bytes, true) && smc(cpu, h, bytes) ? h : 0;
  const h1 = lookup_write(cpu, wrap(cpu, va + first));
  if (!h1 || !may_access(cpu, va, bytes, true)) return 0;
  if (!smc(cpu, h, first) || !smc(cpu, h1, bytes - first)) return 0;
  store<u32>(cpu, h, CpuState.bounce_host0);
  store<u32>(cpu, h1, CpuState.bounce_host1);
  store<u32>(cpu, first, CpuState.bounce_len0);
  store<u32>(cpu, bytes, CpuState.bounce_len);
  bounce_again(cpu);
  return <u32>cpu + <u32>CpuState.bounce;
}

/** Copy the two pieces of the last crossing `probe_write` into the bounce buffer. */
export function bounce_again(cpu: usize): void {
  const b = <u32>cpu + <u32>CpuState.bounce;
  const first = load<u32>(cpu, CpuState.bounce_len0);
  memory.copy(b, load<u32>(cpu, CpuState.bounce_host0), first);
  memory.copy(b + first, load<u32>(cpu, CpuState.bounce_host1), load<u32>(cpu, CpuState.bounce_len) - first);
}

/** Move the bounce buffer's bytes to the two places of the last crossing `probe_write`. */
export function commit(cpu: usize): void {
  const b = <u32>cpu + <u32>CpuState.bounce;
  const first = load<u32>(cpu, CpuState.bounce_len0);
  memory.copy(load<u32>(cpu, CpuState.bounce_host0), b, first);
  memory.copy(load<u32>(cpu, CpuState.bounce_host1), b + first, load<u32>(cpu, CpuState.bounce_len) - first);
}

/** A write to machine bytes [h, h+len) within one frame is to follow: drop decoded code that lies there. False: not now. */
@inline function smc(cpu: usize, h: u32, len: u32): bool {
  const owners = code_owners(h >> 12);
  return owners == 0 || write_code(cpu, h, len, owners);
}

/** As smc, for what the CPU itself writes. */
export function may_change_code(cpu: usize, h: u32, len: u32): bool {
  return smc(cpu, h, len);
}

function write_code(cpu: usize, h: u32, len: u32, owners: u64): bool {
  if (owners & ~own_bit()) {
    rendezvous(cpu, RENDEZVOUS.CODE_WRITTEN, h >> 12);
    return false;
  }
  decoder_invalidate(h >> 12, h & 0xfff, len);
  return true;
}

/** The execute TLB's entry for a page, or 0. */
@inline export function lookup_exec(cpu: usize, page: u64): u32 {
  const e = load<u32>(cpu, CpuState.xtlb) + xtlb_slot(page);
  return load<u64>(e, XtlbEntry.tag) == page ? e : 0;
}

/** Fill the execute TLB for rip's page; the entry's address, or 0 with the fault recorded. */
export function probe_exec(cpu: usize, rip: u64): u32 {
  const e = load<u32>(cpu, CpuState.xtlb) + xtlb_slot(rip);
  const tag = rip & ~0xfff;
  if (load<u64>(e, XtlbEntry.tag) == tag) return e;
  store<u64>(cpu, load<u64>(cpu, CpuState.n_xtlb_miss) + 1, CpuState.n_xtlb_miss);
  if (!canonical(rip)) {
    raise(cpu, VEC.GP, 1, 0);
    return 0;
  }
  if (!walk(cpu, rip, EXEC, is_user(cpu))) return fault(cpu, rip);
  const mfn = <u32>walk_page >> 12;
  if (code_watched(cpu, rip)) {
    rendezvous(cpu, RENDEZVOUS.WATCHED, 0);
    return 0;
  }
  if (!(code_owners(mfn) & own_bit())) {
    if (load<u32>(area, AreaHeader.shared)) {
      rendezvous(cpu, RENDEZVOUS.CODE_FIRST, mfn);
      return 0;
    }
    code_protect(mfn);
  }
  const mode = load<u32>(cpu, CpuState.mode);
  const slot = code_map_slot(mfn);
  let code: u32 = mode == 0 ? load<u32>(slot) : 0;
  if (code == 0) {
    code = code_table(mfn, mode);
    if (mode == 0) store<u32>(slot, code);
  }
  note_large(rip, walk_shift);
  const before = load<u64>(e, XtlbEntry.tag);
  if (before != TLB_INVALID) forget_jumps(load<u32>(area, AreaHeader.current), before);
  store<u32>(e, code, XtlbEntry.code);
  store<u32>(e, mfn, XtlbEntry.mfn);
  note_exec(e, (walk_rights & G) != 0);
  store<u64>(e, tag, XtlbEntry.tag);
  return e;
}

/**
 * Machine address of the descriptor that `sel` names in a PV guest's LDT, which is read as the CPU does it: with supervisor rights.
 * The table lies in the guest kernel's half, so its L4 is not always the active one. 0: #PF or #GP recorded if `raising`.
 */
export function ldt_entry(cpu: usize, sel: u32, raising: bool): u32 {
  const va = load<u64>(cpu, CpuState.ldt_base) + (sel & 0xfff8);
  const root = load<u32>(cpu, CpuState.ldt_root);
  if (!canonical(va)) {
    if (raising) raise(cpu, VEC.GP, 1, sel & 0xfffc);
    return 0;
  }
  if (!root) walk_failed(0);
  else if (walk_tables(cpu, root, va, READ, false, true)) return <u32>walk_page | (<u32>va & 0xfff);
  return raising ? fault(cpu, va) : 0;
}

// ── for the hypervisor ────────────────────────────────────────────────────────────────────────────────────────

/** Machine address of the byte at va in the vCPU's address space, or 0. Nothing is recorded in exit_*. */
export function guest_translate(cpu: usize, va: u64, write: u32): u32 {
  const e = load<u32>(cpu, CpuState.tlb) + tlb_slot(va);
  if ((write ? load<u64>(e, TlbEntry.wtag) : load<u64>(e, TlbEntry.rtag)) == (va & ~0xfff)) return <u32>va + load<u32>(e, TlbEntry.addend);
  if (!canonical(va)) return 0;
  if (!walk(cpu, va, write, is_user(cpu))) return 0;
  return <u32>walk_page | (<u32>va & 0xfff);
}

/** Copy from the vCPU's address space; returns the number of bytes NOT copied. */
export function guest_read(cpu: usize, va: u64, dst: u32, len: u32): u32 {
  while (len) {
    const h = guest_translate(cpu, va, READ);
    if (!h) return len;
    const n = min(len, 4096 - (h & 0xfff));
    memory.copy(dst, h, n);
    dst += n;
    va += n;
    len -= n;
  }
  return 0;
}

/** The hypervisor changed guest bytes itself: no code decoded from the old ones is left on this pCPU. */
export function code_written(mfn: u32, offset: u32, len: u32): void {
  if (mfn >= load<u32>(area, AreaHeader.mem_frames) || !(code_owners(mfn) & own_bit())) return;
  if (len < 4096) decoder_invalidate(mfn, offset, len);
  else decoder_forget(mfn);
}
