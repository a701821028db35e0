/** The ELF notes named "Xen" (public/elfnote.h): how a kernel wants to be started. */
import { XEN_ELFNOTE } from '../../../abi/elfnote.ts';
import { XENFEAT } from '../../../abi/features.ts';
import type { Note } from './elf.ts';
import { KernelError } from './error.ts';

export const XEN_NOTE_NAME = 'Xen';

/** Every note, decoded; undefined: the kernel does not have it. */
export interface XenNotes {
  readonly entry?: bigint;
  readonly hypercallPage?: bigint;
  readonly virtBase?: bigint;
  readonly paddrOffset?: bigint;
  readonly xenVersion?: string;
  readonly guestOs?: string;
  readonly guestVersion?: string;
  readonly loader?: string;
  readonly paeMode?: string;
  /** From FEATURES and SUPPORTED_FEATURES, as bit masks (XENFEAT). */
  readonly featuresSupported: number;
  readonly featuresRequired: number;
  readonly bsdSymtab?: string;
  readonly hvStartLow?: bigint;
  /** Pairs (mask, value): an L1 entry with (entry & mask) == value is valid. */
  readonly l1MfnValid: readonly (readonly [bigint, bigint])[];
  readonly suspendCancel: boolean;
  readonly initP2m?: bigint;
  readonly modStartPfn: boolean;
  readonly phys32Entry?: bigint;
}

const NAME_OF = Object.fromEntries(Object.entries(XEN_ELFNOTE).map(([k, v]) => [v, k]));

function numeric(note: Note): bigint {
  const { desc } = note;
  const v = new DataView(desc.buffer, desc.byteOffset, desc.length);
  if (desc.length === 4) return BigInt(v.getUint32(0, true));
  if (desc.length === 8) return v.getBigUint64(0, true);
  throw new KernelError(`its Xen note ${NAME_OF[note.type]} has ${desc.length} bytes; a number has 4 or 8`);
}

function text(note: Note): string {
  const end = note.desc.indexOf(0);
  return new TextDecoder('latin1').decode(end < 0 ? note.desc : note.desc.subarray(0, end));
}

function l1MfnValid(note: Note): readonly (readonly [bigint, bigint])[] {
  const { desc } = note;
  const v = new DataView(desc.buffer, desc.byteOffset, desc.length);
  const size = desc.length % 16 === 0 ? 8 : 4;
  if (desc.length === 0 || desc.length % (2 * size) !== 0) {
    throw new KernelError(`its Xen note L1_MFN_VALID has ${desc.length} bytes, which are no pairs of numbers`);
  }
  const at = (i: number) => (size === 8 ? v.getBigUint64(i * 8, true) : BigInt(v.getUint32(i * 4, true)));
  return Array.from({ length: desc.length / (2 * size) }, (_, i) => [at(2 * i), at(2 * i + 1)] as const);
}

/** "a|!b": supported a and b, required b. Unknown names may be supported but not required. */
function features(list: string): { supported: number; required: number } {
  let supported = 0;
  let required = 0;
  for (const item of list.split('|').filter((s) => s !== '')) {
    const must = item.startsWith('!');
    const name = must ? item.slice(1) : item;
    const bit = XENFEAT[name as keyof typeof XENFEAT];
    if (bit === undefined) {
      if (must) throw new KernelError(`requires the feature ${name}, which is not known`);
      continue;
    }
    supported |= 1 << bit;
    if (must) required |= 1 << bit;
  }
  return { supported, required };
}

/** Decodes the notes of a kernel. `undefined` if it has none for Xen. The last of several of one type counts. */
export function parseXenNotes(all: readonly Note[]): XenNotes | undefined {
  const notes = all.filter((n) => n.name === XEN_NOTE_NAME);
  if (notes.length === 0) return undefined;
  const of = (type: number) => notes.findLast((n) => n.type === type);
  const num = (type: number) => {
    const n = of(type);
    return n && numeric(n);
  };
  const str = (type: number) => {
    const n = of(type);
    return n && text(n);
  };
  const listed = features(str(XEN_ELFNOTE.FEATURES) ?? '');
  return {
    entry: num(XEN_ELFNOTE.ENTRY),
    hypercallPage: num(XEN_ELFNOTE.HYPERCALL_PAGE),
    virtBase: num(XEN_ELFNOTE.VIRT_BASE),
    paddrOffset: num(XEN_ELFNOTE.PADDR_OFFSET),
    xenVersion: str(XEN_ELFNOTE.XEN_VERSION),
    guestOs: str(XEN_ELFNOTE.GUEST_OS),
    guestVersion: str(XEN_ELFNOTE.GUEST_VERSION),
    loader: str(XEN_ELFNOTE.LOADER),
    paeMode: str(XEN_ELFNOTE.PAE_MODE),
    featuresSupported: listed.supported | Number(BigInt.asIntN(32, num(XEN_ELFNOTE.SUPPORTED_FEATURES) ?? 0n)),
    featuresRequired: listed.required,
    bsdSymtab: str(XEN_ELFNOTE.BSD_SYMTAB),
    hvStartLow: num(XEN_ELFNOTE.HV_START_LOW),
    l1MfnValid: notes.filter((n) => n.type === XEN_ELFNOTE.L1_MFN_VALID).flatMap(l1MfnValid),
    suspendCancel: (num(XEN_ELFNOTE.SUSPEND_CANCEL) ?? 0n) !== 0n,
    initP2m: num(XEN_ELFNOTE.INIT_P2M),
    modStartPfn: (num(XEN_ELFNOTE.MOD_START_PFN) ?? 0n) !== 0n,
    phys32Entry: num(XEN_ELFNOTE.PHYS32_ENTRY),
  };
}
