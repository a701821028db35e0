// The engine as the hypervisor sees it (docs/architecture.md, "Runtime interface"): run() from interpreter.wasm, the
// rest from runtime.wasm. `cpu` is the machine address of a CpuState.
import { frame_bytes_modified } from "./mm/tlbflush";
import { enter_guest_memory, leave_guest_memory } from "./shootdown";

/** Runs guest code until something leaves it; returns exit_reason (EXIT.*). */
// @ts-ignore: decorator
@external("engine", "run")
export declare function run(cpu: usize): u32;

// @ts-ignore: decorator
@external("engine", "mmu_init")
export declare function mmu_init(area: u32): void;

/**
 * Makes (cpu.domain, root machine address) the active address space. A dormant context is reused only if `generation`
 * (the domain's downgrade generation) is what it was when the context was last active.
 */
// @ts-ignore: decorator
@external("engine", "tlb_switch")
export declare function tlb_switch(cpu: usize, root: u32, generation: u32): void;

/** Forgets the translations of the active context (local flush, CR3 reload). */
// @ts-ignore: decorator
@external("engine", "tlb_flush_current")
export declare function tlb_flush_current(cpu: usize): void;

/** Forgets every translation in every context; the active one must be named again by tlb_switch. */
// @ts-ignore: decorator
@external("engine", "tlb_reset")
export declare function tlb_reset(): void;

// @ts-ignore: decorator
@external("engine", "tlb_flush_domain")
export declare function tlb_flush_domain(domain: u32): void;

// @ts-ignore: decorator
@external("engine", "tlb_flush_page")
export declare function tlb_flush_page(domain: u32, va: u64): void;

/** After this no write tag on this pCPU maps the frame. */
// @ts-ignore: decorator
@external("engine", "tlb_drop_writable")
export declare function tlb_drop_writable(mfn: u32): void;

/** The frame is going to hold decoded code: no pCPU gets a write tag for it any more, and this one has none. */
// @ts-ignore: decorator
@external("engine", "code_protect")
export declare function code_protect(mfn: u32): void;

/** Forgets the decoded code of the frame on this pCPU. */
// @ts-ignore: decorator
@external("engine", "code_forget")
export declare function code_forget(mfn: u32): void;

/** Forgets all decoded code of this pCPU. */
// @ts-ignore: decorator
@external("engine", "code_flush")
export declare function code_flush(): void;

// @ts-ignore: decorator
@external("engine", "guest_read")
declare function engine_guest_read(cpu: usize, va: u64, dst: usize, len: u32): u32;

// @ts-ignore: decorator
@external("engine", "guest_translate")
declare function engine_guest_translate(cpu: usize, va: u64, write: u32): u32;

// @ts-ignore: decorator
@external("engine", "ldt_entry")
declare function engine_ldt_entry(cpu: usize, sel: u32, raising: bool): u32;

/** Copies from the vCPU's current address space; returns the bytes NOT copied. */
export function guest_read(cpu: usize, va: u64, dst: usize, len: u32): u32 {
  enter_guest_memory();
  const left = engine_guest_read(cpu, va, dst, len);
  leave_guest_memory();
  return left;
}

/** Copies to the vCPU's current address space; returns the bytes NOT copied. */
export function guest_write(cpu: usize, va: u64, src: usize, len: u32): u32 {
  while (len != 0) {
    enter_guest_memory();
    const at = engine_guest_translate(cpu, va, 1);
    const room: u32 = 4096 - (at & 0xfff);
    const n = len < room ? len : room;
    if (at != 0) memory.copy(at, src, n);
    leave_guest_memory();
    if (at == 0) return len;
    frame_bytes_modified(at >> 12, at & 0xfff, n);
    va += n;
    src += n;
    len -= n;
  }
  return 0;
}

/**
 * The 8 bytes of the LDT's descriptor that `sel` names (within ldt_ents); 0 (an absent descriptor) if they cannot be read.
 */
export function ldt_descriptor(cpu: usize, sel: u32): u64 {
  enter_guest_memory();
  const at = engine_ldt_entry(cpu, sel, false);
  const d = at != 0 ? load<u64>(at) : 0;
  leave_guest_memory();
  return d;
}

/**
 * HVM: delivers an event (EVENT.*) through the vCPU's IDT. 1: done; 0: nothing has changed, and exit_reason says why (NPF, TRIPLE_FAULT).
 * Reads and writes guest memory: hvm_deliver (hvm/exits.ts) is the one way to it.
 */
// @ts-ignore: decorator
@external("engine", "hvm_inject")
export declare function hvm_inject(cpu: usize, vector: u32, event: u32, has_error: u32, error: u32): u32;

/** HVM: the vCPU is on this pCPU now, or cr0, guest_cr3, cr4, efer, cpl or mode were changed: names the TLB contexts. */
// @ts-ignore: decorator
@external("engine", "hvm_enter")
export declare function hvm_enter(cpu: usize): void;

/** The hypervisor changed guest bytes itself: drops decoded code there. */
// @ts-ignore: decorator
@external("engine", "code_written")
export declare function code_written(mfn: u32, offset: u32, len: u32): void;

/** The vCPU's debug registers were changed. */
// @ts-ignore: decorator
@external("engine", "watch_update")
export declare function watch_update(cpu: usize): void;

/** Execution breakpoints at rip, as bits of DR6. */
// @ts-ignore: decorator
@external("engine", "watch_breakpoints")
export declare function watch_breakpoints(cpu: usize): u32;

// @ts-ignore: decorator
@external("engine", "rflags_get")
export declare function rflags_get(cpu: usize): u64;

// @ts-ignore: decorator
@external("engine", "rflags_set")
export declare function rflags_set(cpu: usize, v: u64): void;
