/**
 * An audit of the frame table against what refers to frames: page tables, pins, root tables, GDTs, grant mappings. Every
 * reference and type reference must be accounted for, and no page table or descriptor page be mapped writable.
 */
import { CpuState } from '../../src/engine/state.ts';
import { MACHINE_INFO_ADDRESS, MachineInfo } from '../../src/machine/layout.ts';
import { type MmMachine, P, PAGE, RW } from './mm-machine.ts';
import { structOffset } from './struct-offset.ts';

/** PageInfo (src/hypervisor/mm/frame.ts). */
const INFO_SIZE = 32;
const COUNT_INFO = 0;
const TYPE_INFO = 4;
const OWNER = 8;
const ALLOCATED = 1 << 31;
const XEN_HEAP = 1 << 30;
const COUNT_MASK = (1 << 26) - 1;
const TYPE_COUNT_MASK = (1 << 24) - 1;
const PINNED = 1 << 28;
const VALIDATED = 1 << 27;
const LOCKED = 1 << 26;
const PARTIAL = 1 << 25;
const PARTIAL_PUT = 1 << 24;
const PROGRESS = structOffset('mm/frame.ts', 'PageInfo', 'progress');
export const TYPE = { none: 0, l1: 1, l2: 2, l3: 3, l4: 4, segDesc: 5, shared: 6, writable: 7 } as const;

export interface FrameInfo {
  readonly count: number;
  readonly allocated: boolean;
  readonly xenHeap: boolean;
  readonly type: number;
  readonly typeCount: number;
  readonly pinned: boolean;
  readonly validated: boolean;
  readonly locked: boolean;
  /** A page table whose check, or its end, was stopped in between: entries that hold references; and is its count somebody's? */
  readonly partial: { readonly entries: number; readonly owned: boolean } | undefined;
  readonly owner: number;
}

export function frameInfo(m: { readonly view: DataView }, mfn: number): FrameInfo {
  const heap = m.view.getUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.heap_start, true);
  const at = heap + PAGE + mfn * INFO_SIZE;
  const c = m.view.getUint32(at + COUNT_INFO, true);
  const t = m.view.getUint32(at + TYPE_INFO, true);
  return {
    count: c & COUNT_MASK,
    allocated: (c & ALLOCATED) !== 0,
    xenHeap: (c & XEN_HEAP) !== 0,
    type: t >>> 29,
    typeCount: t & TYPE_COUNT_MASK,
    pinned: (t & PINNED) !== 0,
    validated: (t & VALIDATED) !== 0,
    locked: (t & LOCKED) !== 0,
    partial:
      t & PARTIAL
        ? { entries: m.view.getUint32(at + PROGRESS, true) & 0x3ff, owned: (t & PARTIAL_PUT) !== 0 }
        : undefined,
    owner: m.view.getUint32(at + OWNER, true),
  };
}

/** References from elsewhere: `typed` ones also count for the type. */
export interface Held {
  readonly mfn: number;
  readonly typed: boolean;
}

/** Differences between what the frame table says of `frames` and what is found, as text; empty if all is well. */
export function audit(m: MmMachine, frames: readonly number[], held: readonly Held[]): string[] {
  const wrong: string[] = [];
  const set = new Set(frames);
  const info = new Map(frames.map((f) => [f, frameInfo(m, f)]));
  const refs = new Map(frames.map((f) => [f, 0]));
  const types = new Map(frames.map((f) => [f, 0]));
  const add = (mfn: number, typed: boolean) => {
    refs.set(mfn, (refs.get(mfn) ?? 0) + 1);
    if (typed) types.set(mfn, (types.get(mfn) ?? 0) + 1);
  };
  for (const h of held) add(h.mfn, h.typed);
  for (const mfn of frames) {
    const f = info.get(mfn) as FrameInfo;
    if (f.allocated) add(mfn, false);
    // A page of the Xen heap is writable for its domain from the start.
    if (f.xenHeap) types.set(mfn, (types.get(mfn) ?? 0) + 1);
    if (f.pinned) add(mfn, true);
    if (f.locked) wrong.push(`mfn ${mfn} is locked`);
    const table = f.type >= TYPE.l1 && f.type <= TYPE.l4 && f.typeCount > 0;
    if (!table) continue;
    if (!f.validated && !f.partial) wrong.push(`mfn ${mfn} has type ${f.type} but is not validated`);
    if (f.validated && f.partial) wrong.push(`mfn ${mfn} is validated and partial`);
    if (f.partial) {
      // A reference of its own, and a type count that is nobody's unless one is dropping it.
      add(mfn, false);
      if (!f.partial.owned) types.set(mfn, (types.get(mfn) ?? 0) + 1);
    }
    for (let i = 0; i < (f.partial?.entries ?? 512); i++) {
      if (f.type === TYPE.l4 && i >= 256 && i < 272) continue;
      const e = m.entry(mfn, i);
      if (!(e & P)) continue;
      const to = Number((e >> 12n) & 0xff_ffff_ffffn);
      if (!set.has(to)) {
        wrong.push(`mfn ${mfn} (type ${f.type}) slot ${i} names ${to}, which is none of the guests'`);
        continue;
      }
      const target = info.get(to) as FrameInfo;
      if (f.type === TYPE.l1) {
        add(to, (e & RW) !== 0n);
        if (e & RW && target.type !== TYPE.writable)
          wrong.push(`mfn ${to} of type ${target.type} is mapped writable by ${mfn} slot ${i}`);
      } else if (to !== mfn) {
        add(to, true);
        if (target.type !== f.type - 1 && target.type !== f.type)
          wrong.push(`mfn ${mfn} (type ${f.type}) slot ${i} names ${to} of type ${target.type}`);
        if (target.type === f.type && e & RW) wrong.push(`linear page table ${mfn} slot ${i} is writable`);
      } else if (e & RW) wrong.push(`table ${mfn} maps itself writable`);
    }
  }
  for (const mfn of frames) {
    const f = info.get(mfn) as FrameInfo;
    if (f.count !== refs.get(mfn))
      wrong.push(`mfn ${mfn} (type ${f.type}) has ${f.count} references, found ${refs.get(mfn)}`);
    if (f.typeCount !== types.get(mfn))
      wrong.push(`mfn ${mfn} has ${f.typeCount} references of type ${f.type}, found ${types.get(mfn)}`);
  }
  return wrong;
}

const VCPU_SIZE = 1024;
const OLD_GUEST_TABLE = structOffset('domain.ts', 'Vcpu', 'old_guest_table');

/** The table that a vCPU is still dropping. */
export function oldTable(m: MmMachine, cpu: number): Held[] {
  const mfn = m.view.getUint32(cpu - VCPU_SIZE + OLD_GUEST_TABLE, true);
  return mfn ? [{ mfn, typed: true }] : [];
}

/** Frames that a vCPU's GDT holds. */
export function gdtFrames(m: MmMachine, cpu: number): Held[] {
  const out: Held[] = [];
  for (let i = 0; i < 14; i++) {
    const mfn = m.view.getUint32(cpu + CpuState.off.gdt_frames + i * 4, true);
    if (mfn) out.push({ mfn, typed: true });
  }
  return out;
}
