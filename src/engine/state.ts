/**
 * The guest CPU's state as it lies in machine memory: one `CpuState` per vCPU, 64-byte aligned, inside the
 * hypervisor's vCPU area. The engine's generated code, its AssemblyScript runtime, the hypervisor and the
 * TypeScript side all use this one table (AssemblyScript gets it as `CpuState.*` from scripts/gen-abi.ts).
 *
 * Offsets below 65536 are "operand slots": a decoded record names a register operand by its byte offset here.
 */
import { struct } from '../abi/layout.ts';

export const CpuState = struct(
  'CpuState',
  [
    /** rax rcx rdx rbx rsp rbp rsi rdi r8..r15. `ah` is the byte at gpr+1. */
    ['gpr', 'u64', 16],
    /** Always 0: the slot of an absent base, index or segment. */
    ['zero', 'u64'],
    /** Linear address of the page that is executing (rip-relative operands use it as base). */
    ['page', 'u64'],
    /** Instruction pointer; up to date only outside generated code. */
    ['rip', 'u64'],
    // Lazy status flags: see src/engine/flags.ts.
    ['fz', 'u64'],
    ['fs', 'u64'],
    ['fc', 'u64'],
    ['fx', 'u64'],
    /** rflags without CF PF AF ZF SF OF: TF IF DF IOPL NT RF VM AC VIF VIP ID, and bit 1 set. */
    ['rflags', 'u64'],
    /** Segment bases: es cs ss ds fs gs. In 64-bit mode es, cs, ss and ds are 0. */
    ['segbase', 'u64', 6],
    /** Segment selectors: es cs ss ds fs gs ldtr tr. */
    ['sel', 'u16', 8],
    /** 0: 64-bit mode; 1: compatibility (32-bit) mode. Index of the decoder's and code cache's mode. */
    ['mode', 'u32'],
    /** Current privilege level. */
    ['cpl', 'u32'],
    /** Bit 3 (TS) makes x87/MMX/SSE instructions raise #NM. */
    ['cr0', 'u64'],
    ['cr2', 'u64'],
    /** Machine address of the L4 table in use. */
    ['cr3', 'u64'],
    ['cr4', 'u64'],
    ['efer', 'u64'],
    ['xcr0', 'u64'],
    /** Machine address of the active context's data TLB (TlbEntry[]) and of its execute TLB (XtlbEntry[]). */
    ['tlb', 'u32'],
    ['xtlb', 'u32'],
    /** Machine address of the active context's jump cache (JumpEntry[], see jump-cache.ts). */
    ['jumps', 'u32'],
    /**
     * Fuel, in bytes of decoded records (32 a guest instruction). On entry: how much may run. On exit: what is left
     * (may be slightly negative: fuel is tested at taken branches only).
     */
    ['fuel', 'i32'],
    /** Non-zero: leave guest code at the next taken branch (any thread may set it, atomically). */
    ['pending', 'u32'],
    /** Fuel until the translator looks again at what runs; not above 0: a whole slice. */
    ['slice', 'i32'],
    /** Where the last slice ended: a translation's slot; PREEMPTED_INSIDE or PREEMPTED_PASSING; 0: elsewhere, or it has been looked at. */
    ['preempted', 'i32'],
    /** Entries from the hypervisor and exits from translated to interpreted code until the translator is told of one; not above 0: of the next. */
    ['gap', 'i32'],
    /** Guest instructions retired in this vCPU so far (updated at each exit from guest code). */
    ['icount', 'u64'],
    // Why generated code stopped: see src/engine/exits.ts.
    ['exit_reason', 'u32'],
    ['exit_vector', 'u32'],
    /** Error code if exit_has_error, else 0; for EXIT_IO the port and direction. */
    ['exit_error', 'u32'],
    ['exit_has_error', 'u32'],
    /** Length in bytes of the instruction that caused the exit. */
    ['exit_len', 'u32'],
    /** The instruction was mov ss or pop ss, or loaded flags without TF itself (HVM): no single-step trap follows it. Kept while RFLAGS.TF is set only. */
    ['int_shadow', 'u32'],
    ['fcw', 'u16'],
    /**
     * Without TOP, which is in `ftop`: where a register lies must not wait for the flags of the instruction before. ES and B are set if, and only
     * if, an exception is that fcw does not mask.
     */
    ['fsw', 'u16'],
    /** Abridged tag word as FXSAVE stores it: bit n set = physical register n in use. */
    ['ftw', 'u16'],
    ['fop', 'u16'],
    ['mxcsr', 'u32'],
    ['fcs', 'u16'],
    ['fds', 'u16'],
    /** Physical number of ST(0). */
    ['ftop', 'u16'],
    ['fip', 'u64'],
    ['fdp', 'u64'],
    ['tsc_offset', 'u64'],
    ['tsc_aux', 'u32'],
    /** Machine frame of each of the 16 GDT pages (0: not present, reads as absent descriptor), and limit in bytes - 1. */
    ['gdt_limit', 'u32'],
    ['gdt_frames', 'u32', 16],
    /** Linear base and number of 8-byte entries of the LDT. */
    ['ldt_base', 'u64'],
    ['ldt_ents', 'u32'],
    /** Machine address of the L4 table that maps the LDT: the guest kernel's, in user mode too. 0: none. */
    ['ldt_root', 'u32'],
    /** Identifies the domain to the TLB (contexts of other domains are never hit). */
    ['domain', 'u32'],
    /** SWAPGS partner (unused by the engine in PV). */
    ['kernel_gs_base', 'u64'],
    ['dr', 'u64', 8],
    /** Physical registers R0..R7: significand at +0 (also MMx), sign and exponent at +8 (u16). */
    ['st', 'v128', 8],
    ['xmm', 'v128', 16],
    /**
     * Accesses that have no single host address (page-crossing, guarded): the runtime reads into and writes from here.
     * Probes hand out this address; `commit` moves written bytes to the two pieces.
     */
    ['bounce', 'v128', 4],
    ['bounce_host0', 'u32'],
    ['bounce_host1', 'u32'],
    ['bounce_len0', 'u32'],
    ['bounce_len', 'u32'],
    /** Scratch for results of helpers that return more than one value. */
    ['ret0', 'u64'],
    ['ret1', 'u64'],
    // Engine counters (u64 each), see src/engine/counters.ts
    ['n_tlb_miss', 'u64'],
    ['n_xtlb_miss', 'u64'],
    ['n_tlb_flush', 'u64'],
    /** Result of the runtime's SIMD helpers. */
    ['simd_r', 'v128'],
    /** Image that fxsave, xsave and their counterparts build or take apart: legacy region and XSAVE header. */
    ['xsave_image', 'v128', 36],
    /** Breakpoints that DR7 enables (runtime/watch.ts): bit n watches data at DRn, bit n+4 execution. 0: nothing is looked at. */
    ['watch', 'u32'],
    /** The next instruction is executed by itself, whatever it touches or wherever it lies. */
    ['watch_step', 'u32'],
    /** Data breakpoints that it met, as the bits B0 to B3 of DR6. */
    ['watch_hits', 'u32'],
    // An HVM container's vCPU (PVH): the engine has ring 0, the guest's own page tables and a p2m below them (runtime/hvm/).
    /** Non-zero: HVM. */
    ['hvm', 'u32'],
    /** Machine address of the domain's p2m root (P2M_ROOT_ENTRIES words, see there). */
    ['p2m', 'u32'],
    /** CR3 as the guest loaded it: guest-physical address and PCID (`cr3` is the machine address of what it names). */
    ['guest_cr3', 'u64'],
    /** Task priority (bits 3..0). */
    ['cr8', 'u64'],
    ['gdt_base', 'u64'],
    ['idt_base', 'u64'],
    ['idt_limit', 'u32'],
    ['tr_limit', 'u32'],
    ['tr_base', 'u64'],
    ['star', 'u64'],
    ['lstar', 'u64'],
    ['cstar', 'u64'],
    ['sfmask', 'u64'],
    ['sysenter_cs', 'u64'],
    ['sysenter_esp', 'u64'],
    ['sysenter_eip', 'u64'],
    /** Names the vCPU's own translations (vCPU id), and which of them are still good: changed by whoever moves it to another pCPU. */
    ['asid', 'u32'],
    ['asid_generation', 'u32'],
    /** Non-zero: an interrupt waits for RFLAGS.IF; guest code is left at the next taken branch after it is set. */
    ['irq_wanted', 'u32'],
    /** TLB contexts that the kernel and user mode had last (a hint). */
    ['kernel_context', 'u32'],
    ['user_context', 'u32'],
    /** Non-zero: nothing answers at any port. What `in` reads is ones then, without an exit; `out` leaves guest code as ever. */
    ['no_ports', 'u32'],
    /** Of EXIT.NPF: the guest-physical address. */
    ['exit_gpa', 'u64'],
  ],
  { align: 64 },
);

/** One data-TLB entry. A tag is the linear page address (bits 11..0 zero), or none that can be found there (`no_page` in runtime/tlb.ts). */
export const TlbEntry = struct('TlbEntry', [
  ['rtag', 'u64'],
  ['wtag', 'u64'],
  /** host address = (u32)linear + addend (mod 2^32). */
  ['addend', 'u32'],
  ['mfn', 'u32'],
  ['pad', 'u64'],
]);

/** One execute-TLB entry, its tag a page address or TLB_INVALID. `code` is the machine address of the frame's offset table (u32[4096], record address or 0). */
export const XtlbEntry = struct('XtlbEntry', [
  ['tag', 'u64'],
  ['code', 'u32'],
  ['mfn', 'u32'],
]);

/**
 * What XtlbEntry.code leads to, of a page of code and a mode: the offset table, a u32 for each of its bytes (the address of the record
 * decoded there, or 0), and the near table, a u32 for each NEAR of them: the record that was last gone to there, or 0.
 */
export const OFFSETS_BYTES = 4096 * 4;
export const NEAR = 16;
export const NEAR_BYTES = (4096 / NEAR) * 4;
/** Of both; the address of those made before them follows (AreaHeader.code_tables). */
export const CODE_TABLE_BYTES = OFFSETS_BYTES + NEAR_BYTES;

/** Entries of each TLB (powers of two). One entry a page, at its place: what a guest uses at a time has to fit without two pages for one place. */
export const TLB_ENTRIES = 4096;
export const XTLB_ENTRIES = 2048;
/** A tag no page address equals. */
export const TLB_INVALID = 1n;

/** One entry of a jump cache: the translation (function table slot) at a linear address. */
export const JumpEntry = struct('JumpEntry', [
  ['target', 'u64'],
  /** Twice the target's offset in its page, plus 1: what the translation is given in the place of a record. */
  ['place', 'u32'],
  ['handler', 'u32'],
]);
/** Entries of a jump cache: so many for each of so many pages (powers of two). */
export const JUMP_PAGES = 32;
export const JUMPS_PER_PAGE = 128;

/** Decoded instruction record, 32 bytes, written by the decoder and read by the interpreter's handlers. */
export const Record32 = struct('Record32', [
  /** Index of the handler in the function table. */
  ['handler', 'u32'],
  /** Slots (byte offsets in CpuState) of up to three register operands, in operand order r0 r1 r2. */
  ['r0', 'u16'],
  ['r1', 'u16'],
  /** Memory operand: base, index and segment-base slots, scale as a shift count (with SCALE_* bits above it). */
  ['base', 'u16'],
  ['index', 'u16'],
  ['seg', 'u16'],
  ['scale', 'u8'],
  /** Instruction length in bytes. */
  ['len', 'u8'],
  /** Offset in the page of the next instruction (1..4096+14). */
  ['next', 'u16'],
  ['r2', 'u16'],
  /** Displacement, sign-extended; for rip-relative operands disp + next with base = page slot. */
  ['disp', 'i32'],
  /**
   * Immediate, sign-extended. Direct branches: low half = record address of the target or 0 when not linked; high half
   * = target minus page address (i32).
   */
  ['imm', 'i64'],
]);

/**
 * Fields of a direct branch's record, which has no operands, where its link to another page lies: the record that was found for its
 * target, and the offset table of that one's page (0: no link). It holds where the execute TLB has this table for the target.
 */
export const FAR = { rec: Record32.off.r0, code: Record32.off.disp } as const;

/** Fuel between two looks of the translator at what runs, if it has not put another number in CpuState.slice. */
export const SLICE = 20_000 * Record32.size;
/** Of so many entries from the hypervisor, and exits from translated code to interpreted code, the translator is told of one, if it has not put another number in CpuState.gap. */
export const GAP_PERIOD = 1024;

/** Bits of Record32.scale above the shift count: 16-bit addressing; the access is through the stack segment. */
export const SCALE_ADDR16 = 0x80;
export const SCALE_STACK = 0x40;
/** Value of exit_has_error: a non-canonical address, which becomes #SS(0) or #GP(0) by the record's SCALE_STACK. */
export const NON_CANONICAL = 2;
/** CpuState.pending while somebody wants the CPU: above all fuel, so that a poll is one comparison with what is left. */
export const PENDING = 0x7fffffff;
/** Values of CpuState.preempted: the translation goes on there by itself, round a loop; or on, which happens to slices alone. */
export const PREEMPTED_INSIDE = -4;
export const PREEMPTED_PASSING = -5;

export const SEG = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;
export const GPR = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const;

/** Exception vectors (Intel SDM vol. 3 table 6-1). */
export const VEC = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const;

/** Values of CpuState.exit_reason: why `run` returned. rip is that of the instruction unless said otherwise. */
export const EXIT = {
  /** Fuel used up or `pending` set; rip is the next instruction to run. */
  PREEMPT: 0,
  /** An exception: exit_vector, exit_has_error, exit_error; cr2 for #PF. */
  EXCEPTION: 1,
  /** `int n` (exit_vector = n), exit_len its length; `int3` and `into` too (EXCEPTION is for the others). */
  SOFTINT: 2,
  /** `syscall` (exit_len = 2). Nothing but rip is changed by the engine. */
  SYSCALL: 3,
  /** `sysenter`. */
  SYSENTER: 4,
  /** `cpuid`. */
  CPUID: 5,
  /** A privileged instruction at CPL > 0 that the hypervisor may emulate; reported as #GP(0) would be. */
  PRIVILEGED: 6,
  /** `hlt` at CPL 0 (HVM; unused in PV). */
  HLT: 7,
  /** vmcall/vmmcall. */
  VMCALL: 8,
  /**
   * The instruction needs the agreement of other pCPUs; nothing has changed, and it is to be executed again afterwards:
   * exit_vector says what (RENDEZVOUS), exit_error about which frame.
   */
  RENDEZVOUS: 9,
  // HVM only; exit_len is the instruction's length and rip its address.
  /** `in` or `out`: exit_vector the port, exit_error the bytes (1, 2, 4) and IO_IN; the value is rax's. */
  IO: 10,
  /** `rdmsr` (exit_error 0) or `wrmsr` (1) at CPL 0, of one that the engine does not keep. */
  MSR: 11,
  /** The p2m has no such page, or not with these rights: exit_gpa, and NPF_* in exit_error. Nothing has changed. */
  NPF: 12,
  /** An exception could not be delivered, nor the double fault that followed from it. */
  TRIPLE_FAULT: 13,
} as const;

export const IO_IN = 0x80;
export const NPF_WRITE = 1;
export const NPF_EXEC = 2;

/**
 * A domain's p2m, as the engine walks it: root word gfn >> 10 is the machine address of a page of words (0: none), and word gfn & 1023
 * of that the machine address of the frame with P2M_R and P2M_W below (0: no page; the rest of the low bits is the hypervisor's).
 */
export const P2M_ROOT_ENTRIES = 2048;
export const P2M_R = 1;
export const P2M_W = 2;
/** How an event is delivered (hvm_inject): an interrupt, an exception, or `int n`, whose gate's DPL counts. */
export const EVENT = { INTERRUPT: 0, EXCEPTION: 1, SOFTWARE: 2 } as const;

/** What an instruction waits for at EXIT.RENDEZVOUS. */
export const RENDEZVOUS = {
  /** It writes to a frame that other pCPUs hold decoded code of: they must drop it. */
  CODE_WRITTEN: 0,
  /** It is the first to be decoded from its frame on this pCPU: no pCPU may have a write tag for it (code_protect). */
  CODE_FIRST: 1,
  /** Another pCPU executes something exclusively: it waits until that is done. */
  EXCLUSIVE: 2,
  /** It lies in a page with an execution breakpoint, or touches what is watched: it is to be executed by itself (watch_step). */
  WATCHED: 3,
  /** That was done: there is nothing to do. */
  STEPPED: 4,
} as const;
