/**
 * A stand-in for the hypervisor, for tests of dom0's own code: it keeps domains, frames and event channels, answers the
 * hypercalls of the domain builder, counts what is in use, and fails on demand. It checks nothing that a guest could do.
 */

import { ArchDomainconfig, VcpuGuestContext, X86_EMU } from '../../src/abi/arch-x86.ts';
import {
  CDF,
  DOMCTL,
  DOMINF,
  Domctl,
  DomctlCreatedomain,
  DomctlGetdomaininfo,
  DomctlHvmcontext,
  DomctlVcpucontext,
} from '../../src/abi/domctl.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import {
  EVTCHNOP,
  EvtchnAllocUnbound,
  EvtchnBindInterdomain,
  EvtchnBindVirq,
  EvtchnClose,
  EvtchnSend,
} from '../../src/abi/event_channel.ts';
import { HVMOP, HvmParam } from '../../src/abi/hvm/hvm_op.ts';
import { HVM_SAVE, HvmHwMtrr, HvmSaveHeader } from '../../src/abi/hvm/save.ts';
import {
  E820Entry,
  ForeignMemoryMap,
  MemAcquireResource,
  MemoryMap,
  MemoryReservation,
  XENMEM,
} from '../../src/abi/memory.ts';
import { SYSCTL, Sysctl, SysctlPhysinfo } from '../../src/abi/sysctl.ts';
import { HYPERCALL, MMUEXT, MmuextOp, SharedInfo, VcpuInfo } from '../../src/abi/xen.ts';
import { type HypervisorPort, MachineMemory } from '../../src/dom0/kernel/memory.ts';

const nameOf = (table: Record<string, number>, n: number) => Object.keys(table).find((k) => table[k] === n) ?? `${n}`;

/** What a new domain's only vCPU has: a header, a record that nobody knows, and MTRRs. */
function hvmContext(): Uint8Array {
  const kinds: [number, number, number][] = [
    [HVM_SAVE.HEADER, HvmSaveHeader.size, 0x11],
    [HVM_SAVE.LAPIC, 24, 0x22],
    [HVM_SAVE.MTRR, HvmHwMtrr.size, 0x33],
    [HVM_SAVE.END, 0, 0],
  ];
  return Uint8Array.from(
    kinds.flatMap(([typecode, length, fill]) => [
      typecode,
      0,
      0,
      0,
      length,
      length >> 8,
      0,
      0,
      ...Array(length).fill(fill),
    ]),
  );
}

interface FakeDomain {
  readonly frames: Set<number>;
  readonly pinned: Set<number>;
  readonly sharedInfo: number;
  readonly grantFrame: number;
  paused: boolean;
  maxPages: number;
  shutdown: number | undefined;
  context?: Uint8Array;
  /** Of a PVH domain: frame of each gfn, parameters, and the records of its vCPUs' state. */
  readonly hvm: boolean;
  readonly p2m: Map<number, number>;
  readonly params: Map<number, bigint>;
  hvmContext?: Uint8Array;
  /** [address, size, type] of each entry. */
  memoryMap: (readonly [number, number, number])[];
}

export class FakeXen implements HypervisorPort {
  readonly memory: WebAssembly.Memory;
  readonly mem: MachineMemory;
  readonly domains = new Map<number, FakeDomain>();
  /** Every hypercall, as `domctl createdomain`. */
  readonly calls: string[] = [];
  /** Number of the call (from 0) that fails, and with what. */
  failAt = -1;
  /** Name of calls that fail. */
  failOn = '';
  failWith: number = ERRNO.ENOMEM;
  /** Extents of more than a page that can still be had. */
  largeExtents = Number.POSITIVE_INFINITY;
  readonly sent: number[] = [];
  private readonly owner = new Map<number, number>();
  private readonly held = new Map<number, number>();
  private readonly free: number[] = [];
  private readonly ports = new Map<string, { domid: number; remote?: string; virq?: number }>();
  private nextDomid = 1;
  private nextPort = 1;
  private readonly wakeWord: number;
  readonly hypervisor;

  constructor(memoryMiB = 32) {
    this.memory = new WebAssembly.Memory({ initial: memoryMiB * 16, maximum: memoryMiB * 16, shared: true });
    for (let mfn = memoryMiB * 256 - 1; mfn >= 0x101; mfn--) this.free.push(mfn);
    this.wakeWord = 0x10_0000;
    this.hypervisor = {
      foreign_page: (domid: number, gfn: number) => {
        const mfn = this.mfn(domid, gfn);
        return this.owner.get(mfn) === domid ? mfn * 4096 : 0;
      },
      foreign_map: (domid: number, gfn: number) => {
        const mfn = this.mfn(domid, gfn);
        if (this.owner.get(mfn) !== domid) return 0;
        this.held.set(mfn, (this.held.get(mfn) ?? 0) + 1);
        return mfn * 4096;
      },
      foreign_unmap: (mfn: number) => {
        this.held.set(mfn, this.held.get(mfn)! - 1);
      },
      wake_word: () => this.wakeWord,
    };
    this.mem = new MachineMemory(this);
    this.makeDomain(0);
  }

  get freeFrames(): number {
    return this.free.length;
  }

  /** What is in use: to compare before and after. */
  get usage(): { frames: number; domains: number[]; ports: number; held: number } {
    const held = [...this.held.values()].reduce((a, b) => a + b, 0);
    return { frames: this.free.length, domains: [...this.domains.keys()], ports: this.ports.size, held };
  }

  page(mfn: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, mfn * 4096, 4096);
  }

  /** The frame that a domain calls gfn; -1: it has none of that number. */
  private mfn(domid: number, gfn: number): number {
    const d = this.domains.get(domid);
    return d?.hvm ? (d.p2m.get(gfn) ?? -1) : gfn;
  }

  /** Bytes of a PVH domain's physical memory. */
  physical(domid: number, address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; ) {
      const offset = (address + i) % 4096;
      const n = Math.min(4096 - offset, length - i);
      const mfn = this.mfn(domid, Math.floor((address + i) / 4096));
      if (mfn < 0) throw new Error(`domain ${domid} has nothing at ${(address + i).toString(16)}`);
      out.set(this.page(mfn).subarray(offset, offset + n), i);
      i += n;
    }
    return out;
  }

  private take(domid: number): number {
    const mfn = this.free.pop();
    if (mfn === undefined) return -1;
    this.owner.set(mfn, domid);
    this.page(mfn).fill(0);
    return mfn;
  }

  private makeDomain(domid: number, hvm = false): boolean {
    if (this.free.length < 2) return false;
    const [sharedInfo, grantFrame] = [this.take(domid), this.take(domid)];
    this.page(sharedInfo).fill(0);
    this.page(grantFrame).fill(0);
    const frames = new Set<number>();
    this.domains.set(domid, {
      frames,
      pinned: new Set(),
      sharedInfo,
      grantFrame,
      paused: true,
      maxPages: 0,
      shutdown: undefined,
      hvm,
      p2m: new Map(),
      params: new Map(),
      memoryMap: [],
    });
    return true;
  }

  private destroy(domid: number): number {
    const d = this.domains.get(domid);
    if (!d) return -ERRNO.ESRCH;
    for (const mfn of [...d.frames, d.sharedInfo, d.grantFrame]) {
      if (this.held.get(mfn)) throw new Error(`frame ${mfn} of domain ${domid} is freed while it is held`);
      this.owner.delete(mfn);
      this.free.push(mfn);
    }
    for (const [key, p] of this.ports) {
      if (p.domid === domid) this.ports.delete(key);
      else if (p.remote?.startsWith(`${domid}:`)) p.remote = undefined;
    }
    this.domains.delete(domid);
    return 0;
  }

  /** The domain stops by itself. */
  shutdown(domid: number, reason: number): void {
    this.domains.get(domid)!.shutdown = reason;
    this.raiseVirq(3);
  }

  private raiseVirq(virq: number): void {
    for (const [key, p] of this.ports) if (p.domid === 0 && p.virq === virq) this.setPending(Number(key.split(':')[1]));
  }

  /** An event for a port of dom0. */
  setPending(port: number): void {
    const at = this.domains.get(0)!.sharedInfo * 4096;
    const words = this.mem.words;
    Atomics.or(words, (at + SharedInfo.off.evtchn_pending) / 4 + (port >>> 5), 1 << (port & 31));
    const group = port >>> 6;
    Atomics.or(words, (at + VcpuInfo.off.evtchn_pending_sel) / 4 + (group >>> 5), 1 << (group & 31));
    Atomics.or(words, at / 4, 1);
    Atomics.add(words, this.wakeWord / 4, 1);
    Atomics.notify(words, this.wakeWord / 4);
  }

  hypercall(op: number, a1 = 0n, a2 = 0n, _a3 = 0n, a4 = 0n): bigint {
    const name = nameOf(HYPERCALL, op);
    const [x, y] = [Number(a1), Number(a2)];
    const sub =
      name === 'domctl'
        ? nameOf(DOMCTL, this.mem.struct(x, Domctl).get('cmd'))
        : name === 'sysctl'
          ? nameOf(SYSCTL, this.mem.struct(x, Sysctl).get('cmd'))
          : name === 'memory_op'
            ? nameOf(XENMEM, x)
            : name === 'event_channel_op'
              ? nameOf(EVTCHNOP, x)
              : name === 'hvm_op'
                ? nameOf(HVMOP, x)
                : '';
    const index = this.calls.push(`${name} ${sub}`.trim()) - 1;
    if (index === this.failAt || this.calls[index] === this.failOn) return BigInt(-this.failWith);
    if (name === 'domctl') return BigInt(this.domctl(sub, x));
    if (name === 'sysctl') return BigInt(this.sysctl(sub, x));
    if (name === 'memory_op') return BigInt(this.memoryOp(sub, y));
    if (name === 'event_channel_op') return BigInt(this.evtchn(sub, y));
    if (name === 'hvm_op') return BigInt(this.hvmOp(sub, y));
    if (name === 'mmuext_op') {
      for (let i = 0; i < y; i++) {
        const e = this.mem.struct(x + i * MmuextOp.size, MmuextOp);
        const mfn = e.get('arg1');
        if (this.owner.get(mfn) !== Number(a4)) return BigInt(-ERRNO.EINVAL);
        if (e.get('cmd') === MMUEXT.CLEAR_PAGE) this.page(mfn).fill(0);
        else if (e.get('cmd') === MMUEXT.PIN_L4_TABLE) this.domains.get(Number(a4))!.pinned.add(mfn);
        else return BigInt(-ERRNO.ENOSYS);
      }
      return 0n;
    }
    return BigInt(-ERRNO.ENOSYS);
  }

  private domctl(sub: string, at: number): number {
    const c = this.mem.struct(at, Domctl);
    const domid = c.get('domain');
    if (sub === 'createdomain') {
      const u = c.nested('u', DomctlCreatedomain);
      const [flags, devices] = [u.get('flags'), u.nested('arch', ArchDomainconfig).get('emulation_flags')];
      const hvm = flags === (CDF.hvm | CDF.hap) && devices === X86_EMU.LAPIC;
      if (!hvm && (flags !== 0 || devices !== 0)) return -ERRNO.EINVAL;
      if (!this.makeDomain(this.nextDomid, hvm)) return -ERRNO.ENOMEM;
      c.set('domain', this.nextDomid++);
      return 0;
    }
    const d = this.domains.get(domid);
    if (!d) return -ERRNO.ESRCH;
    switch (sub) {
      case 'destroydomain':
        return this.destroy(domid);
      case 'pausedomain':
      case 'unpausedomain':
        d.paused = sub === 'pausedomain';
        return 0;
      case 'getdomaininfo': {
        const u = c.nested('u', DomctlGetdomaininfo).set('domain', domid).set('shared_info_frame', d.sharedInfo);
        const stopped = d.shutdown === undefined ? 0 : DOMINF.shutdown | (d.shutdown << DOMINF.shutdownshift);
        u.set('flags', (d.paused ? DOMINF.paused : 0) | stopped).set('tot_pages', d.frames.size);
        return 0;
      }
      case 'setvcpucontext': {
        const ctxt = c.nested('u', DomctlVcpucontext).get('ctxt');
        d.context = this.mem.read(ctxt, VcpuGuestContext.size);
        return d.hvm ? -ERRNO.EINVAL : 0;
      }
      case 'gethvmcontext': {
        const u = c.nested('u', DomctlHvmcontext);
        const context = hvmContext();
        if (!d.hvm) return -ERRNO.EINVAL;
        const room = u.get('size');
        u.set('size', context.length);
        if (u.get('buffer') === 0) return 0;
        if (room < context.length) return -ERRNO.ENOSPC;
        this.mem.write(u.get('buffer'), context);
        return 0;
      }
      case 'sethvmcontext': {
        const u = c.nested('u', DomctlHvmcontext);
        d.hvmContext = this.mem.read(u.get('buffer'), u.get('size'));
        return d.hvm ? 0 : -ERRNO.EINVAL;
      }
      case 'max_mem':
        d.maxPages = Number(this.mem.view.getBigUint64(c.at('u'), true)) / 4;
        return 0;
      case 'max_vcpus':
      case 'setvcpuaffinity':
      case 'setnodeaffinity':
      case 'settscinfo':
      case 'set_address_size':
      case 'hypercall_init':
        return 0;
      default:
        return -ERRNO.ENOSYS;
    }
  }

  private sysctl(sub: string, at: number): number {
    if (sub !== 'physinfo') return -ERRNO.ENOSYS;
    const u = this.mem.struct(at, Sysctl).nested('u', SysctlPhysinfo);
    u.set('nr_cpus', 1)
      .set('total_pages', this.free.length + this.owner.size)
      .set('free_pages', this.free.length);
    return 0;
  }

  private memoryOp(sub: string, at: number): number {
    if (sub === 'populate_physmap') {
      const r = this.mem.struct(at, MemoryReservation);
      const domid = r.get('domid');
      const d = this.domains.get(domid);
      if (!d) return -ERRNO.ESRCH;
      const list = r.get('extent_start');
      const n = r.get('nr_extents');
      const frames = 1 << r.get('extent_order');
      for (let i = 0; i < n; i++) {
        const at = list + i * 8;
        if (d.frames.size + frames > d.maxPages || this.free.length < frames) return i;
        if (frames > 1 && this.largeExtents-- <= 0) return i;
        const gfn = Number(this.mem.view.getBigUint64(at, true));
        if (d.hvm && gfn % frames !== 0) return -ERRNO.EINVAL;
        for (let k = 0; k < frames; k++) {
          const mfn = this.take(domid);
          d.frames.add(mfn);
          if (d.hvm && d.p2m.has(gfn + k)) throw new Error(`gfn ${gfn + k} is populated twice`);
          if (d.hvm) d.p2m.set(gfn + k, mfn);
          else this.mem.view.setBigUint64(at, BigInt(mfn), true);
        }
      }
      return n;
    }
    if (sub === 'set_memory_map') {
      const a = this.mem.struct(at, ForeignMemoryMap);
      const map = a.nested('map', MemoryMap);
      this.domains.get(a.get('domid'))!.memoryMap = Array.from({ length: map.get('nr_entries') }, (_, i) => {
        const e = this.mem.struct(map.get('buffer') + i * E820Entry.size, E820Entry);
        const number = (name: 'addr' | 'size') => e.get(`${name}_hi`) * 2 ** 32 + e.get(`${name}_lo`);
        return [number('addr'), number('size'), e.get('type')] as const;
      });
      return 0;
    }
    if (sub === 'acquire_resource') {
      const r = this.mem.struct(at, MemAcquireResource);
      const d = this.domains.get(r.get('domid'));
      if (!d) return -ERRNO.ESRCH;
      this.mem.view.setBigUint64(r.get('frame_list'), BigInt(d.grantFrame), true);
      return 0;
    }
    return -ERRNO.ENOSYS;
  }

  private hvmOp(sub: string, at: number): number {
    const a = this.mem.struct(at, HvmParam);
    const d = this.domains.get(a.get('domid'));
    if (!d?.hvm) return -ERRNO.EINVAL;
    if (sub === 'set_param') d.params.set(a.get('index'), a.big('value'));
    else if (sub === 'get_param') a.set('value', d.params.get(a.get('index')) ?? 0n);
    else return -ERRNO.ENOSYS;
    return 0;
  }

  private evtchn(sub: string, at: number): number {
    const port = (domid: number, what: { remote?: string; virq?: number }) => {
      const n = this.nextPort++;
      this.ports.set(`${domid}:${n}`, { domid, ...what });
      return n;
    };
    switch (sub) {
      case 'alloc_unbound': {
        const a = this.mem.struct(at, EvtchnAllocUnbound);
        a.set('port', port(a.get('dom'), {}));
        return 0;
      }
      case 'bind_interdomain': {
        const a = this.mem.struct(at, EvtchnBindInterdomain);
        const remote = `${a.get('remote_dom')}:${a.get('remote_port')}`;
        if (!this.ports.has(remote)) return -ERRNO.EINVAL;
        const local = port(0, { remote });
        a.set('local_port', local);
        // A newly bound channel is signalled once.
        this.setPending(local);
        return 0;
      }
      case 'bind_virq': {
        const a = this.mem.struct(at, EvtchnBindVirq);
        a.set('port', port(0, { virq: a.get('virq') }));
        return 0;
      }
      case 'close':
        return this.ports.delete(`0:${this.mem.struct(at, EvtchnClose).get('port')}`) ? 0 : -ERRNO.EINVAL;
      case 'send':
        this.sent.push(this.mem.struct(at, EvtchnSend).get('port'));
        return 0;
      default:
        return -ERRNO.ENOSYS;
    }
  }
}
