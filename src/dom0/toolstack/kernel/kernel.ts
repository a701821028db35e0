/** A kernel's ELF file (`unpack.ts` takes it out of other images) becomes a `Kernel`, which says what to load where and how to start it. */
import { copyOf, inMemory, type KernelBytes } from './bytes.ts';
import { isElf, parseElf, type Segment } from './elf.ts';
import { KernelError } from './error.ts';
import { parseXenNotes, XEN_NOTE_NAME, type XenNotes } from './xen-notes.ts';

export type { KernelBytes } from './bytes.ts';
export type { Segment } from './elf.ts';
export { KernelError } from './error.ts';
export type { XenNotes } from './xen-notes.ts';

export interface Kernel {
  /** The ELF file. */
  readonly elf: KernelBytes;
  /** e_entry. */
  readonly entry: bigint;
  readonly segments: readonly Segment[];
  readonly notes: XenNotes;
}

/** What the ELF file says. Throws KernelError if it is no x86-64 kernel that knows Xen. */
export function parseKernel(file: KernelBytes | Uint8Array): Kernel {
  const elf = file instanceof Uint8Array ? inMemory(file) : file;
  if (!isElf(copyOf(elf, 0, Math.min(4, elf.size)))) throw new KernelError('what it holds is no ELF file');
  const { entry, segments, notes: raw } = parseElf(elf, XEN_NOTE_NAME);
  const notes = parseXenNotes(raw);
  if (!notes) {
    throw new KernelError(
      'has no Xen notes: it was built without support for Xen (Linux: CONFIG_XEN_PV or CONFIG_PVH)',
    );
  }
  return { elf, entry, segments, notes };
}
