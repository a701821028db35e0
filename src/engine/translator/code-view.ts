/**
 * What the translator sees of guest code: pages by their distance from the one that a region starts in, as the execute TLB
 * maps them at the moment. Code of other pages is used only if it has been executed.
 */
import { Record32 } from '../state.ts';

const PAGE = 4096;
/** Pages of a region's code besides the first are at most so far away, so that offsets are 32-bit integers. */
export const MAX_DELTA = 2 ** 18;
/** Most pages of a region besides the first. */
export const MAX_OTHERS = 12;

export interface CodeView {
  /** The bytes of the page `delta` pages on; undefined: not to be had. The same at each call. */
  page(delta: number): Uint8Array | undefined;
  /** Has control been at this offset? What has not is left to the interpreter. */
  seen(offset: number): boolean;
  /** Does a translation stand there? */
  translated(offset: number): boolean;
  /** Was it lately seen to run? */
  warm(offset: number): boolean;
}

/**
 * Pages that may become part of a region, three numbers each: how many pages on it is, its frame, and the machine address of its
 * offset table of decoded code. Flat, as it is sent to another thread.
 */
export type PageList = Int32Array<ArrayBuffer>;

/** A view of machine memory. Each page is copied once; other pCPUs may write meanwhile. `slots`: handlers from this number on are translations; `warm`: offsets that were lately seen to run. */
export function memoryView(
  memory: WebAssembly.Memory,
  pages: PageList,
  slots: number,
  warm: readonly number[] = [],
  everything = false,
): CodeView {
  const recent = new Set(warm);
  const u8 = new Uint8Array(memory.buffer);
  const i32 = new Int32Array(memory.buffer);
  const at = new Map<number, { readonly mfn: number; readonly table: number }>();
  for (let i = 0; i < pages.length; i += 3) at.set(pages[i], { mfn: pages[i + 1] >>> 0, table: pages[i + 2] >>> 0 });
  const copies = new Map<number, Uint8Array>();
  const record = (offset: number): number => {
    const delta = pageOf(offset);
    const p = at.get(delta);
    return p ? i32[(p.table >>> 2) + offset - delta * PAGE] >>> 0 : 0;
  };
  return {
    page(delta) {
      const p = at.get(delta);
      if (!p) return undefined;
      let copy = copies.get(delta);
      if (!copy) {
        copy = u8.slice(p.mfn * PAGE, p.mfn * PAGE + PAGE);
        copies.set(delta, copy);
      }
      return copy;
    },
    seen(offset) {
      return everything ? at.has(pageOf(offset)) : record(offset) !== 0;
    },
    translated(offset) {
      const r = record(offset);
      return r !== 0 && i32[(r + Record32.off.handler) >>> 2] >= slots;
    },
    warm: (offset) => recent.has(offset),
  };
}

export const pageOf = (offset: number): number => Math.floor(offset / PAGE);
