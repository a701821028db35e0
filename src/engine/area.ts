/**
 * The engine's private area of one pCPU in machine memory: TLB contexts, what maps frames writable, and the arena of
 * decoded records. Only that pCPU writes to it. Sizes are address space: untouched pages cost nothing.
 *
 * Beside the areas lies one table that all pCPUs share: the code owners, a u64 per machine frame whose bit n says that
 * pCPU n may hold code decoded from the frame. While any bit is set no pCPU has a write tag for the frame.
 */
import { struct } from '../abi/layout.ts';
import { DECODER_BYTES } from './decode-tables.ts';
import { JUMP_PAGES, JUMPS_PER_PAGE, JumpEntry, TLB_ENTRIES, TlbEntry, XTLB_ENTRIES, XtlbEntry } from './state.ts';

/** Address spaces whose translations a pCPU keeps at once. */
export const TLB_CONTEXTS = 16;

/** One TLB context: whose translations it holds. */
export const TlbContext = struct('TlbContext', [
  ['domain', 'u32'],
  /** Machine address of the L4 table, or an HVM vCPU's address space (runtime/hvm/contexts.ts); 0 when free. */
  ['root', 'u32'],
  /** Generation of the domain's page tables when it was last active. */
  ['generation', 'u32'],
  /** Clock value of the last activation (least recently used is replaced). */
  ['used', 'u32'],
  /** Which 2 MiB of linear addresses may have translations from large pages: bit (va >> 21) & 31 of each half. */
  ['large', 'u64'],
  /** The same of 1 GiB: bit (va >> 30) & 31. */
  ['huge', 'u64'],
  /** CONTEXT. */
  ['state', 'u32'],
  ['pad', 'u32'],
]);

/**
 * What a context's TLBs hold: it has never been used, and they are zeros as yet; no translation, and each entry says so; or translations,
 * at entries whose bit is set (TLB_BITS).
 */
export const CONTEXT = { RAW: 0, EMPTY: 1, USED: 2 } as const;

/**
 * A bit for each entry of a context, in this order: data TLB entries that may be in use, those of them that are not from global pages, and the
 * same for the execute TLBs (of both modes, one after the other). Offsets in bytes.
 */
export const TLB_BITS = {
  DATA: 0,
  DATA_LOCAL: TLB_ENTRIES / 8,
  EXEC: (TLB_ENTRIES / 8) * 2,
  EXEC_LOCAL: (TLB_ENTRIES / 8) * 2 + (XTLB_ENTRIES / 8) * 2,
  BYTES: (TLB_ENTRIES / 8) * 2 + (XTLB_ENTRIES / 8) * 4,
} as const;

export const AreaHeader = struct('AreaHeader', [
  /** This pCPU's bit among the code owners. */
  ['own_bit', 'u64'],
  /** Address of the code owners. */
  ['code_owners', 'u32'],
  /** Non-zero: other pCPUs run guest code over this memory, so some instructions need their agreement (EXIT.RENDEZVOUS). */
  ['shared', 'u32'],
  /** Address of the contexts, and of the first context's data and execute TLBs (one after the other). */
  ['contexts', 'u32'],
  ['tlbs', 'u32'],
  ['xtlbs', 'u32'],
  /** Address of the first context's TLB_BITS. */
  ['tlb_bits', 'u32'],
  /** Address of the first context's jump cache. */
  ['jumps', 'u32'],
  /** u32 per machine frame: address of the one TlbEntry with a live write tag for it, 0 none, 1 several. */
  ['write_map', 'u32'],
  /** u32 per machine frame: the offset table of its decoded 64-bit code, 0 if there is none or it has not been asked for. */
  ['code_map', 'u32'],
  /** The arena for offset tables and records: bounds, and from where on it had never been used when it was last emptied (it is zero there). */
  ['arena', 'u32'],
  ['arena_end', 'u32'],
  ['arena_used', 'u32'],
  /** Newest offset table of decoded code, 0: none; the address of the one before it lies behind its near table (for instruments). */
  ['code_tables', 'u32'],
  /** The decoder's tables (decode-tables.ts). */
  ['decoder', 'u32'],
  ['current', 'u32'],
  ['clock', 'u32'],
  ['mem_frames', 'u32'],
]);

const page = (n: number) => Math.ceil(n / 4096) * 4096;

export interface AreaLayout {
  readonly base: number;
  readonly size: number;
  readonly contexts: number;
  readonly tlbs: number;
  readonly xtlbs: number;
  readonly tlbBits: number;
  readonly jumps: number;
  readonly writeMap: number;
  readonly codeMap: number;
  readonly decoder: number;
  readonly arena: number;
  readonly arenaEnd: number;
}

/** Largest arena in bytes: 32 a decoded instruction and 17 KiB for each code page. */
export const ARENA_SIZE = 64 << 20;
/** Smallest arena that a pCPU can work with. */
const ARENA_MIN = 1 << 20;

/** Arena of each of `pcpus` pCPUs of a machine with `frames` frames: all of them take a sixth of its memory at most. */
export function arenaSize(frames: number, pcpus: number): number {
  const share = page((frames * 4096) / 6 / pcpus);
  return Math.max(ARENA_MIN, Math.min(ARENA_SIZE, page(frames * 128), share));
}

/** Bytes of the code owners of a machine of `frames` frames. */
export const codeOwnersSize = (frames: number): number => page(frames * 8);

/** Layout of an area at address `base` for a machine of `frames` frames. */
export function areaLayout(base: number, frames: number, arenaSize = ARENA_SIZE): AreaLayout {
  let at = base + 4096;
  const take = (n: number) => {
    const r = at;
    at += page(n);
    return r;
  };
  const contexts = take(TLB_CONTEXTS * TlbContext.size);
  const tlbs = take(TLB_CONTEXTS * TLB_ENTRIES * TlbEntry.size);
  const xtlbs = take(TLB_CONTEXTS * 2 * XTLB_ENTRIES * XtlbEntry.size);
  const tlbBits = take(TLB_CONTEXTS * TLB_BITS.BYTES);
  const jumps = take(TLB_CONTEXTS * JUMP_PAGES * JUMPS_PER_PAGE * JumpEntry.size);
  const writeMap = take(frames * 4);
  const codeMap = take(frames * 4);
  const decoder = take(DECODER_BYTES);
  const arena = take(arenaSize);
  const tables = { contexts, tlbs, xtlbs, tlbBits, jumps, writeMap, codeMap, decoder };
  return { base, size: at - base, ...tables, arena, arenaEnd: at };
}
