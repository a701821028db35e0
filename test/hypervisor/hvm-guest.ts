/**
 * An HVM container for tests on an MmMachine: its vCPU has paging off, so that its scripts' handles are guest-physical addresses,
 * and runs no code of its own.
 */
import type { Struct } from '../../src/abi/layout.ts';
import { MemoryReservation, XENMEM } from '../../src/abi/memory.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { CpuState } from '../../src/engine/state.ts';
import { MACHINE_INFO_ADDRESS, MachineInfo } from '../../src/machine/layout.ts';
import { domainField } from './domain-field.ts';
import { MachineAudit } from './machine-audit.ts';
import { type MmMachine, PAGE, SELF } from './mm-machine.ts';
import { structOffset } from './struct-offset.ts';

/** gfn of the page that the guest's hypercall arguments lie in. */
export const ARG_GFN = 20;
export const gpa = (gfn: number, offset = 0) => BigInt(gfn * PAGE + offset);
export const INVALID_GFN = 0xffff_ffff_ffff_ffffn;

export type Fields = Record<string, number | bigint>;
type Script<T> = Generator<never, T, bigint>;

export function putStruct(view: DataView, at: number, s: Struct, fields: Fields): void {
  new Uint8Array(view.buffer).fill(0, at, at + s.size);
  for (const [name, v] of Object.entries(fields)) {
    const f = s.fields.find((x) => x.name === name);
    if (!f) throw new Error(`${s.name} has no field ${name}`);
    if (f.stride === 8) view.setBigUint64(at + f.offset, BigInt(v), true);
    else if (f.stride === 4) view.setUint32(at + f.offset, Number(v), true);
    else view.setUint16(at + f.offset, Number(v), true);
  }
}

export class HvmGuest {
  readonly m: MmMachine;
  readonly domid: number;

  /** `pages` pages from gfn 0 on; it may have as many again. */
  constructor(m: MmMachine, pages = 64) {
    this.m = m;
    this.domid = m.createDomain(pages * 2, true);
    const list = m.list(Array.from({ length: pages }, (_, i) => i));
    const done = m.reservation(XENMEM.populate_physmap, this.domid, list, pages, 0);
    if (done !== pages) throw new Error(`populate_physmap: ${done} of ${pages}`);
  }

  field(name: string): number {
    return this.m.view.getUint32(domainField(this.m.memory, this.domid, name), true);
  }

  /** The p2m's entry; its frame, 0: none; and its type. */
  entry(gfn: number): number {
    return this.m.p2mEntry(this.field('p2m'), BigInt(gfn));
  }
  mfn(gfn: number): number {
    return this.entry(gfn) >>> 12;
  }
  /** What the M2P says of a frame. */
  gfnOf(mfn: number): bigint {
    const heap = this.m.view.getUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.heap_start, true);
    return this.m.view.getBigUint64(this.m.view.getUint32(heap + M2P, true) + mfn * 8, true);
  }

  /** Addresses of vCPU 0 and of its CpuState. */
  get vcpu(): number {
    return this.m.view.getUint32(this.field('vcpu_table'), true);
  }
  get cpu(): number {
    return this.m.view.getUint32(this.vcpu + CPU, true);
  }

  /** Makes vCPU 0 runnable, in 64-bit mode and ring 0: as if its kernel had come so far. */
  start(): void {
    const { vcpu, cpu } = this;
    this.m.view.setUint32(cpu + CpuState.off.mode, 0, true);
    this.m.view.setUint32(cpu + CpuState.off.cpl, 0, true);
    this.m.view.setUint32(vcpu + IS_INITIALISED, 1, true);
    this.m.view.setUint32(vcpu + PAUSE_FLAGS, 0, true);
    this.m.unpause(this.domid);
  }

  get argHost(): number {
    return this.mfn(ARG_GFN) * PAGE;
  }

  *call(op: number, ...args: (number | bigint)[]): Script<number> {
    return Number(yield { op, args } as never);
  }

  /** A hypercall with one structure, which lies at argHost afterwards. */
  *with(op: number, cmd: number, s: Struct, fields: Fields, ...more: number[]): Script<number> {
    putStruct(this.m.view, this.argHost, s, fields);
    return yield* this.call(op, cmd, gpa(ARG_GFN), ...more);
  }

  *memoryOp(cmd: number, s: Struct, fields: Fields): Script<number> {
    return yield* this.with(HYPERCALL.memory_op, cmd, s, { domid: SELF, ...fields });
  }

  *reservation(cmd: number, gfns: readonly (number | bigint)[], order = 0): Script<number> {
    gfns.forEach((g, i) => {
      this.m.view.setBigUint64(this.argHost + 2048 + i * 8, BigInt(g), true);
    });
    return yield* this.memoryOp(cmd, MemoryReservation, {
      extent_start: gpa(ARG_GFN, 2048),
      nr_extents: gfns.length,
      extent_order: order,
    });
  }

  u16(offset: number): number {
    return this.m.view.getUint16(this.argHost + offset, true);
  }
  u32(offset: number): number {
    return this.m.view.getUint32(this.argHost + offset, true);
  }
}

const CPU = structOffset('domain.ts', 'Vcpu', 'cpu');
const IS_INITIALISED = structOffset('domain.ts', 'Vcpu', 'is_initialised');
const PAUSE_FLAGS = structOffset('domain.ts', 'Vcpu', 'pause_flags');
const M2P = structOffset('mm/state.ts', 'MmState', 'm2p');

/** What is wrong with the machine's references, p2ms and locks. */
export function auditMachine(m: MmMachine, foreign: readonly number[] = []): string[] {
  const audit = new MachineAudit(m.memory);
  return [...audit.heldLocks(), ...audit.check(foreign)];
}
