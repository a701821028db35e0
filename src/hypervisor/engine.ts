// The engine as the hypervisor sees it (docs/architecture.md, "Runtime interface"): run() from interpreter.wasm, the
// rest from runtime.wasm. `cpu` is the machine address of a CpuState.

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

/** Drops contexts whose L4 frame is at this machine address (it is no longer a table). */
// @ts-ignore: decorator
@external("engine", "tlb_forget_root")
export declare function tlb_forget_root(root: u32): void;

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

/** After this no tag at all on this pCPU maps the frame. */
// @ts-ignore: decorator
@external("engine", "tlb_purge_frame")
export declare function tlb_purge_frame(mfn: u32): void;

/** Copies from the vCPU's current address space; returns the bytes NOT copied. */
// @ts-ignore: decorator
@external("engine", "guest_read")
export declare function guest_read(cpu: usize, va: u64, dst: usize, len: u32): u32;

// @ts-ignore: decorator
@external("engine", "guest_write")
export declare function guest_write(cpu: usize, va: u64, src: usize, len: u32): u32;

/** Machine address of the byte at va, or 0. */
// @ts-ignore: decorator
@external("engine", "guest_translate")
export declare function guest_translate(cpu: usize, va: u64, write: u32): u32;

/** Machine address of the LDT's descriptor that `sel` names (within ldt_ents), or 0: the fault recorded in exit_* if `raising`. */
// @ts-ignore: decorator
@external("engine", "ldt_entry")
export declare function ldt_entry(cpu: usize, sel: u32, raising: bool): u32;

/** Machine address of the L1 entry that maps va, or 0. */
// @ts-ignore: decorator
@external("engine", "walk_pte")
export declare function walk_pte(cpu: usize, va: u64): u32;

/** The hypervisor changed guest bytes itself: drops decoded code there. */
// @ts-ignore: decorator
@external("engine", "code_written")
export declare function code_written(mfn: u32, offset: u32, len: u32): void;

// @ts-ignore: decorator
@external("engine", "rflags_get")
export declare function rflags_get(cpu: usize): u64;

// @ts-ignore: decorator
@external("engine", "rflags_set")
export declare function rflags_set(cpu: usize, v: u64): void;
