/**
 * The engine's private area of one pCPU in machine memory: TLB contexts, maps from frames to decoded code, and the
 * arena of decoded records. Only that pCPU touches it. Sizes are address space: untouched pages cost nothing.
 */
import { struct } from '../abi/layout.ts';
import { TLB_ENTRIES, TlbEntry, XTLB_ENTRIES, XtlbEntry } from './state.ts';

/** Address spaces whose translations a pCPU keeps at once. */
export const TLB_CONTEXTS = 8;

/** One TLB context: whose translations it holds. */
export const TlbContext = struct('TlbContext', [
  ['domain', 'u32'],
  /** Machine address of the L4 table, or 0 when free. */
  ['root', 'u32'],
  /** Generation of the domain's page tables when it was last active. */
  ['generation', 'u32'],
  /** Clock value of the last activation (least recently used is replaced). */
  ['used', 'u32'],
]);

export const AreaHeader = struct('AreaHeader', [
  /** Address of the contexts, and of the first context's data and execute TLBs (one after the other). */
  ['contexts', 'u32'],
  ['tlbs', 'u32'],
  ['xtlbs', 'u32'],
  /** u32 per machine frame: address of the one TlbEntry with a live write tag for it, 0 none, 1 several. */
  ['write_map', 'u32'],
  /** u32 per machine frame and mode: address of the frame's offset table, or 0: no decoded code. */
  ['code_map0', 'u32'],
  ['code_map1', 'u32'],
  /** The arena for offset tables and records: bounds and next free byte. */
  ['arena', 'u32'],
  ['arena_end', 'u32'],
  ['arena_next', 'u32'],
  ['current', 'u32'],
  ['clock', 'u32'],
  ['mem_frames', 'u32'],
  /** Another thread asks (atomically) that this pCPU forget everything before it runs guest code again. */
  ['flush_request', 'u32'],
]);

const page = (n: number) => Math.ceil(n / 4096) * 4096;

export interface AreaLayout {
  readonly size: number;
  readonly contexts: number;
  readonly tlbs: number;
  readonly xtlbs: number;
  readonly writeMap: number;
  readonly codeMap: readonly [number, number];
  readonly arena: number;
  readonly arenaEnd: number;
}

/** Arena size in bytes: 32 a decoded instruction and 16 KiB for each code page. */
export const ARENA_SIZE = 64 << 20;

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
  const writeMap = take(frames * 4);
  const codeMap = [take(frames * 4), take(frames * 4)] as const;
  const arena = take(arenaSize);
  return { size: at - base, contexts, tlbs, xtlbs, writeMap, codeMap, arena, arenaEnd: at };
}
