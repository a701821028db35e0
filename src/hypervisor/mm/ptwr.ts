// Writable page tables: a guest kernel's store to an L1 table that it has mapped read-only faults, and is made for it
// here with mmu_update's checks (Xen's ptwr, x86/pv/ro-page-fault.c), if the guest asked for it (vm_assist). Only L1 tables; whatever does not pass is the
// guest's own page fault.
import { CpuState, VMASST_TYPE } from "../abi";
import { in_kernel_mode, is_null, Vcpu } from "../domain";
import { guest_read } from "../engine";
import { pv_inject_hw_exception } from "../traps/inject";
import { map_domain_page, page_to_mfn, PageInfo, PGT_l1_page_table } from "./frame";
import { get_page_from_l1e, put_page_from_l1e } from "./l1e";
import { get_page_from_mfn, put_page } from "./page";
import { page_lock, page_type, page_unlock } from "./page_type";
import {
  _PAGE_PRESENT, _PAGE_RW, addr_ok, adjust_guest_l1e, is_downgrade, l1e_keeps_references, L1_DISALLOW_MASK, present, pte_mfn,
} from "./pte";
import { decode_store, Store } from "./ptwr_decode";
import { compute, Effect, is_string, resolve_bit_address, retire } from "./ptwr_exec";
import { mm_scratch, SCRATCH_ARG } from "./scratch";
import { frame_entry_modified, note_downgrade } from "./tlbflush";
import { guest_l1e_address } from "./walk";

/** #PF error code: present and write set; reserved bit and instruction fetch clear. */
const PFEC_LOOK: u32 = 1 | 2 | 8 | 16;
const PFEC_STORE: u32 = 1 | 2;

const INSN_MAX: u32 = 15;
const CODE: usize = SCRATCH_ARG;
const STORE: usize = SCRATCH_ARG + 16;
const EFFECT: usize = SCRATCH_ARG + 96;
const SOURCE: usize = SCRATCH_ARG + 192;

const TF: u64 = 1 << 8;
const VEC_DB: u32 = 1;

/**
 * A #PF of the current vCPU at `va` with error code `error`. True: it was a store to one of its L1 tables, which has been
 * made (or is to be tried again): rip, registers and flags are as after it.
 */
export function ptwr_do_page_fault(v: Vcpu, va: u64, error: u32): bool {
  if ((error & PFEC_LOOK) != PFEC_STORE || !in_kernel_mode(v) || !addr_ok(va)) return false;
  if (!((v.domain.vm_assist >> VMASST_TYPE.writable_pagetables) & 1)) return false;
  if (load<u32>(v.cpu, CpuState.mode) != 0) return false;
  const at = guest_l1e_address(<u32>(load<u64>(v.cpu, CpuState.cr3) >> 12), va);
  if (at == 0) return false;
  const l1e = atomic.load<u64>(at);
  if ((l1e & (_PAGE_PRESENT | _PAGE_RW)) != _PAGE_PRESENT) return false;
  const pg = get_page_from_mfn(pte_mfn(l1e), v.domain);
  if (is_null(pg)) return false;
  let done = false;
  if (page_type(pg) == PGT_l1_page_table) done = emulate(v, va, pg);
  put_page(pg);
  return done;
}

function emulate(v: Vcpu, va: u64, pg: PageInfo): bool {
  const cpu = v.cpu;
  const rip = load<u64>(cpu, CpuState.rip);
  const code = mm_scratch(CODE);
  const s = changetype<Store>(mm_scratch(STORE));
  const e = changetype<Effect>(mm_scratch(EFFECT));
  const n = INSN_MAX - guest_read(cpu, rip, code, INSN_MAX);
  if (!decode_store(cpu, code, n, rip, s)) return false;
  resolve_bit_address(cpu, s);
  // Naturally aligned, so within one entry; and on the page that faulted.
  if ((s.ea & <u64>(s.size - 1)) != 0 || (s.ea ^ va) >> 12 != 0) return false;
  let source: u64 = 0;
  if (is_string(s.op) && s.rep != 0 && load<u64>(cpu + CpuState.gpr + 8) == 0) return false;
  if (s.reads) {
    const from = mm_scratch(SOURCE);
    store<u64>(from, 0);
    if (guest_read(cpu, s.source, from, s.size) != 0) return false;
    source = load<u64>(from);
  }
  if (!page_lock(pg)) return false;
  let done = false;
  if (page_type(pg) == PGT_l1_page_table) done = update(v, s, source, e, pg);
  page_unlock(pg);
  if (!done) return false;
  retire(cpu, s, e, rip);
  if (load<u64>(cpu, CpuState.rflags) & TF) pv_inject_hw_exception(VEC_DB, 0);
  return true;
}

/** Makes the store in the locked table. */
function update(v: Vcpu, s: Store, source: u64, e: Effect, pg: PageInfo): bool {
  const d = v.domain;
  const at = map_domain_page(page_to_mfn(pg)) + (<usize>s.ea & 0xff8);
  const shift = (s.ea & 7) << 3;
  const mask: u64 = s.size == 8 ? u64.MAX_VALUE : ((<u64>1 << (<u64>s.size << 3)) - 1) << shift;
  let made = false;
  while (!made) {
    const old = atomic.load<u64>(at);
    compute(v.cpu, s, (old & mask) >> shift, source, e);
    const wanted = (old & ~mask) | (e.value << shift);
    const l1e = adjust_guest_l1e(wanted);
    let keep = !present(old) && !present(l1e);
    if (present(l1e)) {
      if (l1e & L1_DISALLOW_MASK) return false;
      keep = present(old) && l1e_keeps_references(old, l1e);
      if (!keep && get_page_from_l1e(l1e, d, d) != 0) return false;
    }
    // The MMU may have set A or D meanwhile.
    if (atomic.cmpxchg<u64>(at, old, l1e) != old) {
      if (!keep) put_page_from_l1e(l1e);
      continue;
    }
    if (is_downgrade(old, l1e)) note_downgrade(d);
    frame_entry_modified(page_to_mfn(pg), <u32>at & 0xff8);
    if (!keep) put_page_from_l1e(old);
    made = true;
  }
  return true;
}
