/**
 * The software TLBs of one pCPU: contexts, each of one address space, and what is forgotten of them. The active one is named by CpuState.tlb and
 * .xtlb; mmu.ts fills its entries. A context's TLB_BITS say which of them may be in use: emptying it, or keeping what is global of it, looks at nothing else.
 */
import {
  AreaHeader, CONTEXT, CpuState, TLB_BITS, TLB_CONTEXTS, TLB_ENTRIES, TLB_INVALID, TlbContext, TlbEntry, XTLB_ENTRIES, XtlbEntry,
} from '../../../build/abi/engine';
import { clear_jumps, copy_jumps, forget_jumps, select_jumps } from './jumps';
import { area, setArea } from './percpu';

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
export const SEVERAL: u32 = 1;

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

/** The active context's data TLB entry for `va`, or execute TLB entry at `e`, has been filled, from a global page or not. */
@inline export function note_data(va: u64, global: bool): void {
  const bits = bits_of(load<u32>(area, AreaHeader.current));
  note_filled(bits + TLB_BITS.DATA, DATA_BITS, <u32>(va >> 12) & (TLB_ENTRIES - 1), global);
}
@inline export function note_exec(e: u32, global: bool): void {
  const i = load<u32>(area, AreaHeader.current);
  note_filled(bits_of(i) + TLB_BITS.EXEC, EXEC_BITS, (e - xtlb_of(i)) / <u32>XtlbEntry.SIZE, global);
}

/** Entry n's bits in the map at `bits`, and in that of local ones `local` bytes behind it. */
@inline function note_filled(bits: u32, local: u32, n: u32, global: bool): void {
  const at = bits + (n >> 3 & ~7);
  const bit: u64 = (<u64>1) << (n & 63);
  store<u64>(at, load<u64>(at) | bit);
  const own = load<u64>(at + local);
  store<u64>(at + local, global ? own & ~bit : own | bit);
}

@inline export function tlb_slot(va: u64): u32 {
  return (<u32>(va >> 12) & (TLB_ENTRIES - 1)) * <u32>TlbEntry.SIZE;
}
@inline export function xtlb_slot(va: u64): u32 {
  return (<u32>(va >> 12) & (XTLB_ENTRIES - 1)) * <u32>XtlbEntry.SIZE;
}
@inline export function code_map_slot(mfn: u32): u32 {
  return load<u32>(area, AreaHeader.code_map) + (mfn << 2);
}

/** Forget that code of a page may be executed in a context. */
export function forget_exec(context: u32, page: u64): void {
  for (let mode: u32 = 0; mode < 2; mode++) {
    const x = xtlb_of(context) + mode * XTLB_MODE_BYTES + xtlb_slot(page);
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
  no_exec(i);
  memory.fill(bits, 0, TLB_BITS.BYTES);
}

/** The context's execute TLBs have no translation any more. */
function no_exec(i: u32): void {
  const xtlb = xtlb_of(i);
  const bits = bits_of(i) + TLB_BITS.EXEC;
  for (let w: u32 = 0; w < EXEC_BITS; w += 8) {
    for (let x = load<u64>(bits + w); x != 0; x &= x - 1) store<u64>(xtlb + nth(w, x) * <u32>XtlbEntry.SIZE, TLB_INVALID, XtlbEntry.tag);
  }
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
  store<u32>(cpu, tlb_of(i), CpuState.tlb);
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
  const context = xtlb_of(load<u32>(area, AreaHeader.current));
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
    const e = tlb_of(i) + tlb_slot(va);
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
  const tlb = tlb_of(context);
  const from = tlb + tlb_slot(first);
  const to = from + min<u32>(pages, TLB_ENTRIES) * <u32>TlbEntry.SIZE;
  for (let e = from; e < to; e += <u32>TlbEntry.SIZE) {
    const tag = load<u64>(e, TlbEntry.rtag);
    if ((tag ^ va) >> shift != 0 || is_no_page(tag)) continue;
    store<u64>(e, no_page(tag), TlbEntry.rtag);
    store<u64>(e, no_page(tag), TlbEntry.wtag);
  }
  for (let mode: u32 = 0; mode < 2; mode++) {
    const xtlb = xtlb_of(context) + mode * XTLB_MODE_BYTES;
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
@inline export function note_large(va: u64, shift: u32): void {
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
@inline export function no_page(page: u64): u64 {
  return page ^ 0x4000_0000_0000_2001;
}
@inline export function is_no_page(tag: u64): bool {
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
    if (is_used(i)) no_exec(i);
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
