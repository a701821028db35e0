/** What the page tables of a vCPU map, as runs of virtual pages that follow each other in the dump as well. */
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from '../../../abi/arch-x86.ts';
import { PF } from './format.ts';
import type { GuestPages } from './guest-pages.ts';

export interface Mapping {
  /** Canonical address. */
  readonly va: bigint;
  /** Place of the first page among the guest's pages. */
  readonly index: number;
  pages: number;
  /** PF. */
  readonly flags: number;
}

const ENTRIES = 512;
/** Linux shares tables between the mapping of its image and that of all memory. */
const MAX_VISITS = 4;
const PRESENT = 1n;
const RW = 2n;
const NX = 1n << 63n;
const FRAME = 0x000f_ffff_ffff_f000n;

/** Frame of an entry; entries of guests are theirs to write, so it may be any number. */
const frameOf = (entry: bigint) => Number((entry & FRAME) >> 12n);

/**
 * Walks the tables from the L4 frame `root`; `read` gives a frame's 8-byte entries. A table that is linked again and
 * again (Linux fills its sparse pfn-to-mfn list so) is followed MAX_VISITS times.
 */
export function mappings(root: number, pages: GuestPages, read: (mfn: number) => BigUint64Array): Mapping[] {
  const out: Mapping[] = [];
  const visits = new Map<number, number>();
  const leaf = (va: bigint, index: number, flags: number) => {
    const last = out.at(-1);
    const follows =
      last && last.flags === flags && last.index + last.pages === index && last.va + BigInt(last.pages) * 4096n === va;
    if (follows) last.pages += 1;
    else out.push({ va, index, pages: 1, flags });
  };
  const walk = (mfn: number, level: number, base: bigint, flags: number): void => {
    const before = visits.get(mfn) ?? 0;
    if (pages.indexOf(mfn) < 0 || before === MAX_VISITS) return;
    visits.set(mfn, before + 1);
    const entries = read(mfn);
    for (let i = 0; i < ENTRIES; i++) {
      const entry = entries[i];
      if ((entry & PRESENT) === 0n) continue;
      const va = BigInt.asUintN(64, BigInt.asIntN(48, base | (BigInt(i) << BigInt(12 + 9 * level))));
      if (level === 3 && va >= HYPERVISOR_VIRT_START && va < HYPERVISOR_VIRT_END) continue;
      const own = flags & (PF.R | (entry & RW ? PF.W : 0) | (entry & NX ? 0 : PF.X));
      if (level > 0) walk(frameOf(entry), level - 1, va, own);
      else {
        const index = pages.indexOf(frameOf(entry));
        if (index >= 0) leaf(va, index, own);
      }
    }
  };
  walk(root, 3, 0n, PF.R | PF.W | PF.X);
  return out;
}
