/**
 * An independent walk over a whole machine whose domains are paused: all page tables, vCPUs, grant tables and mappings, from
 * which each frame's references and type references, and each grant's uses, must come out as the hypervisor has them. Nothing
 * but tables of its own may be mapped writable as tables are not, no frame be mapped that is neither owned nor granted, and
 * no lock be held.
 */
import { GNTMAP } from '../../src/abi/grant_table.ts';
import { CpuState, P2M_R, P2M_ROOT_ENTRIES, P2M_W } from '../../src/engine/state.ts';
import { MACHINE_INFO_ADDRESS, MachineInfo } from '../../src/machine/layout.ts';
import { type FrameInfo, frameInfo, TYPE } from './frame-audit.ts';
import { structOffset } from './struct-offset.ts';

const PAGE = 4096;
const P = 1;
const RW = 2;
/** mm/p2m.ts. */
const P2M_TYPE = { ram: 1, grantRw: 2, grantRo: 3 };
const INVALID_M2P_ENTRY = 0xffff_ffff_ffff_ffffn;
const XEN_SLOTS = [256, 272];

const offsets = <const N extends readonly string[]>(file: string, name: string, fields: N) =>
  Object.fromEntries(fields.map((f) => [f, structOffset(file, name, f)])) as Record<N[number], number>;

const HV = offsets('state.ts', 'Hypervisor', [
  'domain_list',
  'percpu',
  'slots',
  'domlist_lock',
  'sched_lock',
  'virq_lock',
]);
const CPU = offsets('state.ts', 'PerCpu', ['current_lock', 'timer_lock', 'shoot_lock']);
const PERCPU_STRIDE = 256;
const DOMAIN_LOCKS = [
  'domain_lock',
  'p2m_lock',
  'page_alloc_lock',
  'evtchn_lock',
  'shutdown_lock',
  'evtchn_fifo_lock',
  'console_lock',
] as const;
const D = offsets('domain.ts', 'Domain', [
  ...DOMAIN_LOCKS,
  'domid',
  'next',
  'is_ts',
  'is_hvm',
  'is_dying',
  'p2m',
  'privileged',
  'vcpu_table',
  'max_vcpus',
  'grant_table',
  'evtchn_fifo',
  'tot_pages',
  'hypercall_counts',
]);
const V = offsets('domain.ts', 'Vcpu', [
  'cpu',
  'guest_table',
  'guest_table_user',
  'old_guest_table',
  'vcpu_info_mfn',
  'evtchn_fifo',
  'virq_lock',
]);
const GT = offsets('grant/table.ts', 'GrantTable', [
  'lock',
  'maptrack_lock',
  'version',
  'nr_frames',
  'active',
  'maptrack',
  'maptrack_frames',
]);
const ACTIVE = offsets('grant/table.ts', 'ActiveEntry', ['pin', 'domid', 'mfn']);
const ACTIVE_SIZE = 32;
const MM = offsets('mm/state.ts', 'MmState', ['heap_lock', 'xmalloc_lock', 'm2p']);

/** Frames that the control domain's code has mapped with a reference (MachineMemory.foreignMap). */
export type ForeignFrames = Iterable<number>;

interface GrantMapping {
  readonly mapper: number;
  readonly granter: number;
  readonly ref: number;
  readonly flags: number;
  readonly mfn: number;
  /** The mapping has its references itself; a PV domain's page tables have them instead. */
  readonly holds: boolean;
}

export class MachineAudit {
  readonly view: DataView;
  private readonly frames: number;
  private readonly hv: number;

  constructor(memory: WebAssembly.Memory) {
    this.view = new DataView(memory.buffer);
    this.frames = this.u32(MACHINE_INFO_ADDRESS + MachineInfo.off.mem_frames);
    this.hv = this.u32(MACHINE_INFO_ADDRESS + MachineInfo.off.hypervisor);
  }

  private u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** Addresses of the domains' structures. */
  private domains(): number[] {
    const all: number[] = [];
    for (let d = this.u32(this.hv + HV.domain_list); d !== 0; d = this.u32(d + D.next)) all.push(d);
    return all;
  }

  private vcpus(d: number): number[] {
    const table = this.u32(d + D.vcpu_table);
    return Array.from({ length: this.u32(d + D.max_vcpus) }, (_, i) => this.u32(table + i * 4)).filter((v) => v !== 0);
  }

  /** Hypercalls that a domain has made. */
  hypercalls(domid: number): number {
    const d = this.domains().find((x) => this.u32(x + D.domid) === domid);
    const counts = d === undefined ? 0 : this.u32(d + D.hypercall_counts);
    let n = 0;
    if (counts) for (let i = 0; i < 64; i++) n += Number(this.view.getBigUint64(counts + i * 8, true));
    return n;
  }

  /** Names of locks that are held. */
  heldLocks(): string[] {
    const held: string[] = [];
    const look = (name: string, at: number) => {
      if (this.u32(at) !== 0) held.push(`${name} (slot ${this.u32(at) - 1})`);
    };
    for (const l of ['domlist_lock', 'sched_lock', 'virq_lock'] as const) look(l, this.hv + HV[l]);
    for (let i = 0; i < this.u32(this.hv + HV.slots); i++) {
      const p = this.u32(this.hv + HV.percpu) + i * PERCPU_STRIDE;
      for (const l of ['current_lock', 'timer_lock', 'shoot_lock'] as const) look(`${l} of CPU ${i}`, p + CPU[l]);
    }
    const mm = this.u32(MACHINE_INFO_ADDRESS + MachineInfo.off.heap_start);
    for (const l of ['heap_lock', 'xmalloc_lock'] as const) look(l, mm + MM[l]);
    for (const d of this.domains()) {
      const domid = this.u32(d + D.domid);
      for (const l of DOMAIN_LOCKS) look(`${l} of domain ${domid}`, d + D[l]);
      for (const v of this.vcpus(d)) look(`virq_lock of a vCPU of domain ${domid}`, v + V.virq_lock);
      const gt = this.u32(d + D.grant_table);
      if (gt)
        for (const l of ['lock', 'maptrack_lock'] as const) look(`grant table's ${l} of domain ${domid}`, gt + GT[l]);
    }
    return held;
  }

  private mappings(d: number): GrantMapping[] {
    const gt = this.u32(d + D.grant_table);
    const out: GrantMapping[] = [];
    for (let f = 0; f < this.u32(gt + GT.maptrack_frames); f++) {
      const page = this.u32(this.u32(gt + GT.maptrack) + f * 4);
      for (let at = page; at < page + PAGE; at += 16) {
        const flags = this.u32(at + 8);
        if (!(flags & (GNTMAP.host_map | GNTMAP.device_map))) continue;
        out.push({
          mapper: d,
          granter: this.u32(at + 4),
          ref: this.u32(at),
          flags,
          mfn: this.u32(at + 12),
          holds: this.u32(d + D.is_ts) !== 0 || this.u32(d + D.is_hvm) !== 0,
        });
      }
    }
    return out;
  }

  /** What is wrong, as text; empty if all is well. Every domain but TypeScript ones is paused. */
  check(foreign: ForeignFrames): string[] {
    const wrong: string[] = [];
    const refs = new Int32Array(this.frames);
    const types = new Int32Array(this.frames);
    const add = (mfn: number, typed: boolean) => {
      refs[mfn]++;
      if (typed) types[mfn]++;
    };
    const info: (FrameInfo | undefined)[] = [];
    for (let mfn = 0; mfn < this.frames; mfn++) {
      const f = frameInfo(this, mfn);
      // Free frames, and those of the Xen heap that no domain has.
      info.push(f.owner !== 0 && f.count !== 0 ? f : undefined);
    }
    const domains = this.domains();
    const domidOf = new Map(domains.map((d) => [d, this.u32(d + D.domid)]));
    const mappings = domains.flatMap((d) => this.mappings(d));
    const granted = new Set(
      mappings.filter((m) => m.flags & GNTMAP.host_map).map((m) => `${m.mapper} ${m.mfn} ${m.granter}`),
    );
    for (const mfn of foreign) add(mfn, true);
    for (const d of domains) this.vcpuReferences(d, add);
    for (const m of mappings) {
      const typed = !(m.flags & GNTMAP.readonly);
      if (m.flags & GNTMAP.device_map) add(m.mfn, typed);
      if (m.flags & GNTMAP.host_map && m.holds) add(m.mfn, typed);
    }
    for (const [mfn, f] of info.entries())
      if (f) this.frameReferences(mfn, f, info, add, types, domidOf, granted, wrong);
    for (const [mfn, f] of info.entries()) {
      if (!f) {
        if (refs[mfn] !== 0) wrong.push(`mfn ${mfn} is referred to ${refs[mfn]} times, and is nobody's`);
        continue;
      }
      if (f.count !== refs[mfn])
        wrong.push(`mfn ${mfn} (type ${f.type}) has ${f.count} references, found ${refs[mfn]}`);
      if (f.typeCount !== types[mfn])
        wrong.push(`mfn ${mfn} has ${f.typeCount} references of type ${f.type}, found ${types[mfn]}`);
    }
    this.checkPins(domains, mappings, wrong);
    for (const d of domains)
      if (this.u32(d + D.p2m) && !this.u32(d + D.is_dying)) this.checkP2m(d, info, mappings, wrong);
    return wrong.slice(0, 20);
  }

  private vcpuReferences(d: number, add: (mfn: number, typed: boolean) => void): void {
    const typed = (mfn: number) => {
      if (mfn) add(mfn, true);
    };
    for (const v of this.vcpus(d)) {
      for (const f of ['guest_table', 'guest_table_user', 'old_guest_table', 'vcpu_info_mfn'] as const)
        typed(this.u32(v + V[f]));
      const cpu = this.u32(v + V.cpu);
      for (let i = 0; i < 14; i++) typed(this.u32(cpu + CpuState.off.gdt_frames + i * 4));
      const fifo = this.u32(v + V.evtchn_fifo);
      if (fifo) typed(this.u32(fifo));
    }
    const arrays = this.u32(d + D.evtchn_fifo);
    // Frames of the event array, and behind the room for all of them their number (evtchn/fifo.ts).
    if (arrays) for (let i = 0; i < this.u32(arrays + 128 * 4); i++) typed(this.u32(arrays + i * 4));
  }

  private frameReferences(
    mfn: number,
    f: FrameInfo,
    info: readonly (FrameInfo | undefined)[],
    add: (mfn: number, typed: boolean) => void,
    types: Int32Array,
    domidOf: ReadonlyMap<number, number>,
    granted: ReadonlySet<string>,
    wrong: string[],
  ): void {
    if (f.allocated) add(mfn, false);
    // Writable for its domain from the start, and until it is freed.
    if (f.xenHeap) types[mfn]++;
    if (f.pinned) add(mfn, true);
    if (f.locked) wrong.push(`mfn ${mfn} is locked`);
    if (f.type < TYPE.l1 || f.type > TYPE.l4 || f.typeCount === 0) return;
    if (f.validated === (f.partial !== undefined)) wrong.push(`table ${mfn} is neither checked nor partly so, or both`);
    if (f.partial) {
      add(mfn, false);
      if (!f.partial.owned) types[mfn]++;
    }
    const entries = f.partial?.entries ?? 512;
    for (let i = 0; i < entries; i++) {
      if (f.type === TYPE.l4 && i >= XEN_SLOTS[0] && i < XEN_SLOTS[1]) continue;
      const low = this.u32(mfn * PAGE + i * 8);
      if (!(low & P)) continue;
      const high = this.u32(mfn * PAGE + i * 8 + 4) & 0xf_ffff;
      const to = high * 0x10_0000 + (low >>> 12);
      const target = info[to];
      const what = `mfn ${mfn} (type ${f.type}) slot ${i} names ${to}`;
      if (!target) {
        wrong.push(`${what}, which is nobody's`);
        continue;
      }
      if (f.type === TYPE.l1) {
        add(to, (low & RW) !== 0);
        if (low & RW && target.type !== TYPE.writable) wrong.push(`${what} of type ${target.type}, writable`);
        if (target.owner !== f.owner && !granted.has(`${f.owner} ${to} ${domidOf.get(target.owner)}`))
          wrong.push(`${what}, which is neither its owner's nor granted`);
      } else if (to !== mfn) {
        add(to, true);
        if (target.owner !== f.owner) wrong.push(`${what}, another domain's`);
        if (target.type !== f.type - 1 && target.type !== f.type) wrong.push(`${what} of type ${target.type}`);
        if (target.type === f.type && low & RW) wrong.push(`${what}, linear and writable`);
      } else if (low & RW) wrong.push(`${what}, itself, writable`);
    }
  }

  /**
   * A p2m names the domain's own frames, each at the gfn that the M2P gives it and at no other, or frames that it has mapped
   * by grants, as many times as there are mappings with these rights.
   */
  private checkP2m(
    d: number,
    info: readonly (FrameInfo | undefined)[],
    mappings: readonly GrantMapping[],
    wrong: string[],
  ): void {
    const m2p = this.u32(this.u32(MACHINE_INFO_ADDRESS + MachineInfo.off.heap_start) + MM.m2p);
    const domid = this.u32(d + D.domid);
    const places = new Map<number, number>();
    const granted = new Map<string, number>();
    for (const m of mappings) {
      if (m.mapper !== d || !(m.flags & GNTMAP.host_map)) continue;
      const key = `${m.mfn} ${m.flags & GNTMAP.readonly ? P2M_TYPE.grantRo : P2M_TYPE.grantRw}`;
      granted.set(key, (granted.get(key) ?? 0) + 1);
    }
    for (let i = 0; i < P2M_ROOT_ENTRIES; i++) {
      const leaf = this.u32(this.u32(d + D.p2m) + i * 4);
      for (let j = 0; leaf && j < 1024; j++) {
        const entry = this.u32(leaf + j * 4);
        if (!entry) continue;
        const mfn = entry >>> 12;
        const type = (entry >>> 4) & 15;
        const what = `gfn ${i * 1024 + j} of domain ${domid} names mfn ${mfn}`;
        if ((entry & 3) !== (type === P2M_TYPE.grantRo ? P2M_R : P2M_R | P2M_W))
          wrong.push(`${what} with other rights`);
        if (type !== P2M_TYPE.ram) {
          const left = (granted.get(`${mfn} ${type}`) ?? 0) - 1;
          granted.set(`${mfn} ${type}`, left);
          if (left < 0) wrong.push(`${what} by a grant that it has not mapped so`);
          continue;
        }
        if (info[mfn]?.owner !== d || !info[mfn].allocated) wrong.push(`${what}, which it does not own`);
        if (places.has(mfn)) wrong.push(`${what}, as gfn ${places.get(mfn)} does`);
        places.set(mfn, i * 1024 + j);
      }
    }
    for (const [key, left] of granted)
      if (left > 0) wrong.push(`domain ${domid} has mapped ${key}, and it is not in its p2m`);
    for (const [mfn, f] of info.entries()) {
      if (f?.owner !== d) continue;
      const gfn = this.view.getBigUint64(m2p + mfn * 8, true);
      if (gfn !== INVALID_M2P_ENTRY ? places.get(mfn) !== Number(gfn) : places.has(mfn))
        wrong.push(`mfn ${mfn} of domain ${domid} has gfn ${gfn} by the M2P and ${places.get(mfn)} by the p2m`);
    }
  }

  /** The uses of each grant are those of the mappings there are. */
  private checkPins(domains: readonly number[], mappings: readonly GrantMapping[], wrong: string[]): void {
    const pins = new Map<string, number>();
    for (const m of mappings) {
      const readonly = (m.flags & GNTMAP.readonly) !== 0;
      let pin = 0;
      if (m.flags & GNTMAP.host_map) pin += readonly ? 1 << 8 : 1;
      if (m.flags & GNTMAP.device_map) pin += readonly ? 1 << 24 : 1 << 16;
      const key = `${m.granter} ${m.ref}`;
      pins.set(key, (pins.get(key) ?? 0) + pin);
    }
    for (const d of domains) {
      const gt = this.u32(d + D.grant_table);
      const domid = this.u32(d + D.domid);
      for (let frame = 0; gt && frame < this.u32(gt + GT.nr_frames); frame++) {
        const page = this.u32(this.u32(gt + GT.active) + frame * 4);
        for (let i = 0; i < 512; i++) {
          const pin = this.u32(page + i * ACTIVE_SIZE + ACTIVE.pin);
          const found = pins.get(`${domid} ${frame * 512 + i}`) ?? 0;
          if (pin !== found)
            wrong.push(
              `grant ${frame * 512 + i} of domain ${domid} has uses ${pin.toString(16)}, found ${found.toString(16)}`,
            );
        }
      }
    }
  }
}
