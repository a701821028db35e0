/**
 * The guest's memory management unit: long-mode page walks (Intel SDM vol. 3, 4.5) over machine memory and the software
 * TLBs of one pCPU. Contexts hold several address spaces at once; the active one is named by CpuState.tlb and .xtlb.
 *
 * Tags: rtag is set by any fill; wtag only when the page may be written, its dirty bit is set and no pCPU holds code
 * decoded from the frame, so that dirty bits, read-only page tables and self-modifying code are caught by the write path.
 *
 * With several pCPUs an instruction that writes to a frame of which another one holds code, or is the first to be decoded
 * from its frame on this one, leaves guest code before it has changed anything (EXIT.RENDEZVOUS). The hypervisor has the
 * others drop the code, or their write tags, and the instruction is executed again.
 */
import {
  AreaHeader, CONTEXT, CpuState, EXIT, NON_CANONICAL, RENDEZVOUS, TLB_BITS, TLB_CONTEXTS, TLB_ENTRIES, TLB_INVALID, TlbContext, TlbEntry, VEC,
  XTLB_ENTRIES, XtlbEntry,
} from '../../../build/abi/engine';
import { clear_jumps, copy_jumps, forget_jumps, select_jumps } from './jumps';
import { hvm_walk } from './hvm/paging';
import { WALK_LATER, WALK_NPF, area, setArea, walk_done, walk_error, walk_failed, walk_page, walk_rights, walk_shift } from './percpu';
import { A, ADDR, D, G, NX, P, PS, RW, US } from './pte';
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

const TLB_BYTES: u32 = TLB_ENTRIES * <u32>TlbEntry.SIZE;
/** A context has an execute TLB for each mode: code is decoded per mode. */
const XTLB_MODE_BYTES: u32 = XTLB_ENTRIES * <u32>XtlbEntry.SIZE;
const XTLB_BYTES: u32 = XTLB_MODE_BYTES * 2;
/** Bytes of one of a context's maps of bits (TLB_BITS). */
const DATA_BITS: u32 = TLB_BITS.DATA_LOCAL - TLB_BITS.DATA;
const EXEC_BITS: u32 = TLB_BITS.EXEC_LOCAL - TLB_BITS.EXEC;
/** Bits of an HVM context's key besides the PCID. */
const KEY_BUT_PCID: u32 = 0xffff_c003;
/** write_map: several entries have a write tag for the frame. */
const SEVERAL: u32 = 1;

/** Once per instance: this thread's engine area (laid out by the machine). */
export function mmu_init(base: u32): void {
  setArea(base);
  tlb_reset();
}

/** Forget every translation in every context, and whose they were. */
export function tlb_reset(): void {
  const write_map = load<u32>(area, AreaHeader.write_map);
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    const c = context_at(i);
    if (load<u32>(c, TlbContext.state) != CONTEXT.RAW) {
      // Also what an entry had before: nobody has to ask this pCPU about those frames.
      const tlb = tlb_of(i);
      for (let e = tlb; e < tlb + TLB_BYTES; e += <u32>TlbEntry.SIZE) atomic.store<u32>(write_map + (load<u32>(e, TlbEntry.mfn) << 2), 0);
      clear_context(i);
    }
    store<u32>(c, 0, TlbContext.domain);
    store<u32>(c, 0, TlbContext.root);
    store<u32>(c, 0, TlbContext.generation);
    store<u32>(c, 0, TlbContext.used);
  }
}

@inline function context_at(i: u32): u32 {
  return load<u32>(area, AreaHeader.contexts) + i * <u32>TlbContext.SIZE;
}

/** It may hold translations. */
@inline function is_used(i: u32): bool {
  return load<u32>(context_at(i), TlbContext.state) == CONTEXT.USED;
}

@inline function tlb_of(i: u32): u32 {
  return load<u32>(area, AreaHeader.tlbs) + i * TLB_BYTES;
}
@inline function xtlb_of(i: u32): u32 {
  return load<u32>(area, AreaHeader.xtlbs) + i * XTLB_BYTES;
}

/** A context's TLB_BITS: emptying it, or keeping what is global of it, looks at what these say and at nothing else. */
@inline function bits_of(i: u32): u32 {
  return load<u32>(area, AreaHeader.tlb_bits) + i * TLB_BITS.BYTES;
}
/** Number of the entry that the lowest bit of x, the word at byte `w` of a map, stands for. */
@inline function nth(w: u32, x: u64): u32 {
  return (w << 3) + <u32>ctz<u64>(x);
}

/** Entry n has been filled, from a global page or not: its bits in the maps `bits`, and `local` bytes behind it. */
@inline function note_filled(bits: u32, local: u32, n: u32, global: bool): void {
  const at = bits + (n >> 3 & ~7);
  const bit: u64 = (<u64>1) << (n & 63);
  store<u64>(at, load<u64>(at) | bit);
  const own = load<u64>(at + local);
  store<u64>(at + local, global ? own & ~bit : own | bit);
}

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

/** Forget that code of a page may be executed in a context. */
function forget_exec(context: u32, page: u64): void {
  for (let mode: u32 = 0; mode < 2; mode++) {
    const x = load<u32>(area, AreaHeader.xtlbs) + context * XTLB_BYTES + mode * XTLB_MODE_BYTES + xtlb_slot(page);
    if (load<u64>(x, XtlbEntry.tag) != page) continue;
    store<u64>(x, TLB_INVALID, XtlbEntry.tag);
    forget_jumps(context, page);
  }
}

function clear_context(i: u32): void {
  const c = context_at(i);
  const state = load<u32>(c, TlbContext.state);
  if (state == CONTEXT.EMPTY) return;
  store<u32>(c, i == load<u32>(area, AreaHeader.current) && state == CONTEXT.USED ? CONTEXT.USED : CONTEXT.EMPTY, TlbContext.state);
  store<u64>(c, 0, TlbContext.large);
  store<u64>(c, 0, TlbContext.huge);
  clear_jumps(i);
  const tlb = tlb_of(i);
  const xtlb = xtlb_of(i);
  if (state == CONTEXT.RAW) {
    for (let n: u32 = 0; n < TLB_ENTRIES; n++) no_data(tlb + n * <u32>TlbEntry.SIZE, <u64>n << 12);
    for (let e = xtlb; e < xtlb + XTLB_BYTES; e += <u32>XtlbEntry.SIZE) store<u64>(e, TLB_INVALID, XtlbEntry.tag);
    return;
  }
  const bits = bits_of(i);
  for (let w: u32 = 0; w < DATA_BITS; w += 8) {
    for (let x = load<u64>(bits + w, TLB_BITS.DATA); x != 0; x &= x - 1) {
      const n = nth(w, x);
      no_data(tlb + n * <u32>TlbEntry.SIZE, <u64>n << 12);
    }
  }
  for (let w: u32 = 0; w < EXEC_BITS; w += 8) {
    for (let x = load<u64>(bits + w, TLB_BITS.EXEC); x != 0; x &= x - 1) store<u64>(xtlb + nth(w, x) * <u32>XtlbEntry.SIZE, TLB_INVALID, XtlbEntry.tag);
  }
  memory.fill(bits, 0, TLB_BITS.BYTES);
}

/** The data TLB's entry at `e` has no translation any more: `page` is one that might stand there. */
@inline function no_data(e: u32, page: u64): void {
  store<u64>(e, no_page(page), TlbEntry.rtag);
  store<u64>(e, no_page(page), TlbEntry.wtag);
}

/**
 * Make (domain, root) the active address space of this pCPU. `generation`: the domain's downgrade generation; a dormant
 * context is reused only if it has not changed since the context was last active.
 */
export function tlb_switch(cpu: usize, root: u32, generation: u32): void {
  store<u64>(cpu, <u64>root, CpuState.cr3);
  use_context(cpu, find_context(cpu, root, generation));
}

/** Forgets a context's translations but those from global pages. */
function keep_globals(i: u32): void {
  const tlb = tlb_of(i);
  const xtlb = xtlb_of(i);
  const bits = bits_of(i);
  for (let w: u32 = 0; w < DATA_BITS; w += 8) {
    const local = load<u64>(bits + w, TLB_BITS.DATA_LOCAL);
    if (local == 0) continue;
    for (let x = local; x != 0; x &= x - 1) {
      const n = nth(w, x);
      no_data(tlb + n * <u32>TlbEntry.SIZE, <u64>n << 12);
    }
    store<u64>(bits + w, load<u64>(bits + w, TLB_BITS.DATA) & ~local, TLB_BITS.DATA);
    store<u64>(bits + w, 0, TLB_BITS.DATA_LOCAL);
  }
  for (let w: u32 = 0; w < EXEC_BITS; w += 8) {
    const local = load<u64>(bits + w, TLB_BITS.EXEC_LOCAL);
    if (local == 0) continue;
    for (let x = local; x != 0; x &= x - 1) {
      const e = xtlb + nth(w, x) * <u32>XtlbEntry.SIZE;
      const tag = load<u64>(e, XtlbEntry.tag);
      if (tag == TLB_INVALID) continue;
      store<u64>(e, TLB_INVALID, XtlbEntry.tag);
      forget_jumps(i, tag);
    }
    store<u64>(bits + w, load<u64>(bits + w, TLB_BITS.EXEC) & ~local, TLB_BITS.EXEC);
    store<u64>(bits + w, 0, TLB_BITS.EXEC_LOCAL);
  }
}

/** Context `to`, which is empty, gets what `from` has from global pages. */
export function copy_globals(from: u32, to: u32): void {
  const write_map = load<u32>(area, AreaHeader.write_map);
  const tlb = tlb_of(from);
  const xtlb = xtlb_of(from);
  const bits = bits_of(from);
  const to_bits = bits_of(to);
  const ahead = tlb_of(to) - tlb;
  const xahead = xtlb_of(to) - xtlb;
  for (let w: u32 = 0; w < DATA_BITS; w += 8) {
    const global = load<u64>(bits + w, TLB_BITS.DATA) & ~load<u64>(bits + w, TLB_BITS.DATA_LOCAL);
    store<u64>(to_bits + w, global, TLB_BITS.DATA);
    for (let x = global; x != 0; x &= x - 1) {
      const e = tlb + nth(w, x) * <u32>TlbEntry.SIZE;
      memory.copy(e + ahead, e, <u32>TlbEntry.SIZE);
      if (!is_no_page(load<u64>(e, TlbEntry.wtag))) store<u32>(write_map + (load<u32>(e, TlbEntry.mfn) << 2), SEVERAL);
    }
  }
  copy_jumps(from, to);
  for (let w: u32 = 0; w < EXEC_BITS; w += 8) {
    const local = load<u64>(bits + w, TLB_BITS.EXEC_LOCAL);
    for (let x = local; x != 0; x &= x - 1) {
      const tag = load<u64>(xtlb + nth(w, x) * <u32>XtlbEntry.SIZE, XtlbEntry.tag);
      if (tag != TLB_INVALID) forget_jumps(to, tag);
    }
    const global = load<u64>(bits + w, TLB_BITS.EXEC) & ~local;
    store<u64>(to_bits + w, global, TLB_BITS.EXEC);
    for (let x = global; x != 0; x &= x - 1) {
      const e = xtlb + nth(w, x) * <u32>XtlbEntry.SIZE;
      memory.copy(e + xahead, e, <u32>XtlbEntry.SIZE);
    }
  }
  store<u64>(context_at(to), load<u64>(context_at(from), TlbContext.large), TlbContext.large);
  store<u64>(context_at(to), load<u64>(context_at(from), TlbContext.huge), TlbContext.huge);
  store<u32>(context_at(to), CONTEXT.USED, TlbContext.state);
}

/** The context of (domain, root), cleared if it is not of this generation; the least recently used one if there is none. */
export function find_context(cpu: usize, root: u32, generation: u32): u32 {
  const domain = load<u32>(cpu, CpuState.domain);
  let victim: u32 = 0;
  let oldest: u32 = u32.MAX_VALUE;
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    if (is_context(i, domain, root, generation)) return i;
    const c = context_at(i);
    if (load<u32>(c, TlbContext.root) == root && load<u32>(c, TlbContext.domain) == domain) {
      victim = i;
      break;
    }
    const used = load<u32>(c, TlbContext.used);
    if (used < oldest) {
      oldest = used;
      victim = i;
    }
  }
  const c = context_at(victim);
  clear_context(victim);
  store<u64>(cpu, load<u64>(cpu, CpuState.n_tlb_flush) + 1, CpuState.n_tlb_flush);
  store<u32>(c, root, TlbContext.root);
  store<u32>(c, domain, TlbContext.domain);
  store<u32>(c, generation, TlbContext.generation);
  return victim;
}

@inline export function is_context(i: u32, domain: u32, root: u32, generation: u32): bool {
  const c = context_at(i);
  return load<u32>(c, TlbContext.root) == root && load<u32>(c, TlbContext.domain) == domain && load<u32>(c, TlbContext.generation) == generation;
}

/** Is it one that an HVM vCPU's kernel had? `key`: of its PCID 0 (hvm/contexts.ts). */
export function is_own_context(i: u32, domain: u32, key: u32, generation: u32): bool {
  const c = context_at(i);
  return (load<u32>(c, TlbContext.root) & KEY_BUT_PCID) == key && load<u32>(c, TlbContext.domain) == domain &&
    load<u32>(c, TlbContext.generation) == generation;
}

/** Make a context the active one. */
export function use_context(cpu: usize, i: u32): void {
  const clock = load<u32>(area, AreaHeader.clock) + 1;
  store<u32>(area, clock, AreaHeader.clock);
  store<u32>(context_at(i), clock, TlbContext.used);
  store<u32>(context_at(i), CONTEXT.USED, TlbContext.state);
  store<u32>(area, i, AreaHeader.current);
  store<u32>(cpu, load<u32>(area, AreaHeader.tlbs) + i * TLB_BYTES, CpuState.tlb);
  select_jumps(cpu, i);
  select_xtlb(cpu);
}

/** CR3 was loaded: empties the domain's contexts `user` and, but for global pages, `kernel`. */
export function flush_contexts(domain: u32, kernel: u32, user: u32): void {
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    const c = context_at(i);
    const root = load<u32>(c, TlbContext.root);
    if (root == 0 || load<u32>(c, TlbContext.domain) != domain) continue;
    if (root == user) clear_context(i);
    else if (root == kernel) keep_globals(i);
  }
}

/** Name the active context's execute TLB for the present mode; wherever CpuState.mode changes. */
export function select_xtlb(cpu: usize): void {
  const context = load<u32>(area, AreaHeader.xtlbs) + load<u32>(area, AreaHeader.current) * XTLB_BYTES;
  store<u32>(cpu, context + load<u32>(cpu, CpuState.mode) * XTLB_MODE_BYTES, CpuState.xtlb);
}

/** Forget every translation of the active context (a reload of CR3 without PCID). */
export function tlb_flush_current(cpu: usize): void {
  clear_context(load<u32>(area, AreaHeader.current));
  store<u64>(cpu, load<u64>(cpu, CpuState.n_tlb_flush) + 1, CpuState.n_tlb_flush);
}

/** Forget every translation of the domain on this pCPU. */
export function tlb_flush_domain(domain: u32): void {
  const contexts = load<u32>(area, AreaHeader.contexts);
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    const c = contexts + i * <u32>TlbContext.SIZE;
    if (load<u32>(c, TlbContext.root) != 0 && load<u32>(c, TlbContext.domain) == domain) clear_context(i);
  }
}

/** Forget the translation of the page at `va` in every context of the domain on this pCPU. */
export function tlb_flush_page(domain: u32, va: u64): void {
  const contexts = load<u32>(area, AreaHeader.contexts);
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    const c = contexts + i * <u32>TlbContext.SIZE;
    if (load<u32>(c, TlbContext.root) == 0 || load<u32>(c, TlbContext.domain) != domain) continue;
    if ((load<u64>(c, TlbContext.huge) & large_bit(va, 30)) != 0) flush_large(i, va, 30);
    else if ((load<u64>(c, TlbContext.large) & large_bit(va, 21)) != 0) flush_large(i, va, 21);
    const e = load<u32>(area, AreaHeader.tlbs) + i * TLB_BYTES + tlb_slot(va);
    if (load<u64>(e, TlbEntry.rtag) == (va & ~0xfff)) {
      store<u64>(e, no_page(va & ~0xfff), TlbEntry.rtag);
      store<u64>(e, no_page(va & ~0xfff), TlbEntry.wtag);
    }
    forget_exec(i, va & ~0xfff);
  }
}

/** The page may be part of one of 2^shift bytes, all of whose translations go. */
function flush_large(context: u32, va: u64, shift: u32): void {
  // Its pages' places are next to each other, from the first of all if they are more.
  const first = va & ~(((<u64>1) << shift) - 1);
  const pages: u32 = 1 << (shift - 12);
  const tlb = load<u32>(area, AreaHeader.tlbs) + context * TLB_BYTES;
  const from = tlb + tlb_slot(first);
  const to = from + min<u32>(pages, TLB_ENTRIES) * <u32>TlbEntry.SIZE;
  for (let e = from; e < to; e += <u32>TlbEntry.SIZE) {
    const tag = load<u64>(e, TlbEntry.rtag);
    if ((tag ^ va) >> shift != 0 || is_no_page(tag)) continue;
    store<u64>(e, no_page(tag), TlbEntry.rtag);
    store<u64>(e, no_page(tag), TlbEntry.wtag);
  }
  for (let mode: u32 = 0; mode < 2; mode++) {
    const xtlb = load<u32>(area, AreaHeader.xtlbs) + context * XTLB_BYTES + mode * XTLB_MODE_BYTES;
    const start = xtlb + xtlb_slot(first);
    const end = start + min<u32>(pages, XTLB_ENTRIES) * <u32>XtlbEntry.SIZE;
    for (let e = start; e < end; e += <u32>XtlbEntry.SIZE) {
      const tag = load<u64>(e, XtlbEntry.tag);
      if ((tag ^ va) >> shift != 0 || tag == TLB_INVALID) continue;
      store<u64>(e, TLB_INVALID, XtlbEntry.tag);
      forget_jumps(context, tag);
    }
  }
}

/** The bit of TlbContext.large and .huge for an address: the kernel's half, which is in large pages mostly, has its own. */
@inline function large_bit(va: u64, shift: u64): u64 {
  return (<u64>1) << (((va >> shift) & 31) | ((va >> 63) << 5));
}

/** A page of 2^shift bytes at `va` is going to be found in the active context: invlpg must find all of it. */
@inline function note_large(va: u64, shift: u32): void {
  if (shift == 12) return;
  const c = context_at(load<u32>(area, AreaHeader.current));
  if (shift == 21) store<u64>(c, load<u64>(c, TlbContext.large) | large_bit(va, 21), TlbContext.large);
  else store<u64>(c, load<u64>(c, TlbContext.huge) | large_bit(va, 30), TlbContext.huge);
}

/**
 * What a data-TLB entry that may stand for `page` has as a tag when it stands for none: bit 0 is set, and the bits that
 * choose the entry are another's, so that no address that is looked up there is less than a page's size away (XOR). Translated code
 * looks there for addresses of the page behind too (translator/bounds.ts), whose number differs in 1, or 3, or 7 and so on, never in 2 alone;
 * and no address with bit 62 other than its neighbours is canonical.
 */
@inline function no_page(page: u64): u64 {
  return page ^ 0x4000_0000_0000_2001;
}
@inline function is_no_page(tag: u64): bool {
  return (tag & 1) != 0;
}

@inline function forget_write(e: u32): void {
  const tag = load<u64>(e, TlbEntry.wtag);
  if (!is_no_page(tag)) store<u64>(e, no_page(tag), TlbEntry.wtag);
}

/** After this no write tag on this pCPU maps the frame. */
export function tlb_drop_writable(mfn: u32): void {
  if (mfn >= load<u32>(area, AreaHeader.mem_frames)) return;
  const slot = load<u32>(area, AreaHeader.write_map) + (mfn << 2);
  const e = load<u32>(slot);
  if (e == 0) return;
  if (e != SEVERAL) {
    // The entry may have been reused for another frame since; then nothing maps ours.
    if (load<u32>(e, TlbEntry.mfn) == mfn) forget_write(e);
  } else {
    for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
      if (!is_used(i)) continue;
      const tlb = tlb_of(i);
      const bits = bits_of(i) + TLB_BITS.DATA;
      for (let w: u32 = 0; w < DATA_BITS; w += 8) {
        for (let x = load<u64>(bits + w); x != 0; x &= x - 1) {
          const p = tlb + nth(w, x) * <u32>TlbEntry.SIZE;
          if (load<u32>(p, TlbEntry.mfn) == mfn) forget_write(p);
        }
      }
    }
  }
  store<u32>(slot, 0);
}

/** Forget all jumps: a translation has been removed, or all decoded code. */
export function jumps_reset(): void {
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) if (is_used(i)) clear_jumps(i);
}

/** Forget every execute translation in every context (all decoded code is being dropped). */
export function xtlb_reset(): void {
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    if (!is_used(i)) continue;
    const xtlb = xtlb_of(i);
    const bits = bits_of(i) + TLB_BITS.EXEC;
    for (let w: u32 = 0; w < EXEC_BITS; w += 8) {
      for (let x = load<u64>(bits + w); x != 0; x &= x - 1) store<u64>(xtlb + nth(w, x) * <u32>XtlbEntry.SIZE, TLB_INVALID, XtlbEntry.tag);
    }
  }
  jumps_reset();
  memory.fill(load<u32>(area, AreaHeader.code_map), 0, load<u32>(area, AreaHeader.mem_frames) << 2);
}

/** The frame's decoded code is gone: its pages must be looked up anew. */
export function xtlb_forget_frame(mfn: u32): void {
  store<u32>(code_map_slot(mfn), 0);
  for (let i: u32 = 0; i < TLB_CONTEXTS; i++) {
    if (!is_used(i)) continue;
    const xtlb = xtlb_of(i);
    const bits = bits_of(i) + TLB_BITS.EXEC;
    for (let w: u32 = 0; w < EXEC_BITS; w += 8) {
      for (let x = load<u64>(bits + w); x != 0; x &= x - 1) {
        const p = xtlb + nth(w, x) * <u32>XtlbEntry.SIZE;
        const tag = load<u64>(p, XtlbEntry.tag);
        if (load<u32>(p, XtlbEntry.mfn) != mfn || tag == TLB_INVALID) continue;
        store<u64>(p, TLB_INVALID, XtlbEntry.tag);
        forget_jumps(i, tag);
      }
    }
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

@inline function tlb_slot(va: u64): u32 {
  return (<u32>(va >> 12) & (TLB_ENTRIES - 1)) * <u32>TlbEntry.SIZE;
}
@inline function xtlb_slot(va: u64): u32 {
  return (<u32>(va >> 12) & (XTLB_ENTRIES - 1)) * <u32>XtlbEntry.SIZE;
}
@inline function code_map_slot(mfn: u32): u32 {
  return load<u32>(area, AreaHeader.code_map) + (mfn << 2);
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
  note_filled(bits_of(load<u32>(area, AreaHeader.current)) + TLB_BITS.DATA, TLB_BITS.DATA_LOCAL - TLB_BITS.DATA, <u32>(va >> 12) & (TLB_ENTRIES - 1), (walk_rights & G) != 0);
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
  const context = load<u32>(area, AreaHeader.current);
  note_filled(bits_of(context) + TLB_BITS.EXEC, TLB_BITS.EXEC_LOCAL - TLB_BITS.EXEC, (e - xtlb_of(context)) / <u32>XtlbEntry.SIZE, (walk_rights & G) != 0);
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
