/** The pages of a PV domain: its frames, by the pfn that the machine-to-physical table has for them. */
import { PFINFO } from '../../../abi/domctl.ts';
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';

export interface GuestPages {
  /** In ascending order, and the frame of each. A pfn that the guest gave to several frames is there as often. */
  readonly pfns: Float64Array;
  readonly mfns: Uint32Array;
  /** Place of a frame in these arrays; -1: it is not the domain's, or has no pfn. */
  indexOf(mfn: number): number;
}

/** Frames asked about at once. */
const BATCH = 1024;
/** What a guest may call its frames is its own to say; beyond this it is no page number. */
const MAX_PFN = 2 ** 40;
/** Entries of the machine-to-physical table in 2 MiB. */
const ENTRIES_PER_EXTENT = 2 ** 18;

/** Every page that the domain, which is paused, has now. */
export function guestPages(xen: Hypercalls, domid: number): GuestPages {
  const end = xen.memoryOp.maximumRamPage() + 1;
  const extents = xen.memoryOp.machphysMfnList();
  const found: { pfn: number; mfn: number }[] = [];
  for (let first = 0; first < end; first += BATCH) {
    const types = xen.domctl.getPageFrameInfo(domid, first, Math.min(BATCH, end - first));
    for (const [i, type] of types.entries()) {
      if (type === PFINFO.XTAB) continue;
      const mfn = first + i;
      const at = extents[Math.floor(mfn / ENTRIES_PER_EXTENT)] * PAGE_SIZE + (mfn % ENTRIES_PER_EXTENT) * 8;
      const pfn = Number(xen.memory.view.getBigUint64(at, true));
      if (pfn < MAX_PFN) found.push({ pfn, mfn });
    }
  }
  found.sort((a, b) => a.pfn - b.pfn);
  const index = new Int32Array(end).fill(-1);
  for (const [i, { mfn }] of found.entries()) index[mfn] = i;
  return {
    pfns: Float64Array.from(found, (f) => f.pfn),
    mfns: Uint32Array.from(found, (f) => f.mfn),
    indexOf: (mfn) => (mfn < end ? index[mfn] : -1),
  };
}
