/** domctl (public/domctl.h, version 0x15): what the control domain does with other domains. */
import { ArchDomainconfig, CpuidLeaf, MsrEntry, VcpuGuestContext } from '../../../abi/arch-x86.ts';
import {
  DOMCTL,
  DOMINF,
  Domctl,
  DomctlAddressSize,
  DomctlCpuPolicy,
  DomctlCreatedomain,
  DomctlGdbsxDomstatus,
  DomctlGdbsxMemio,
  DomctlGdbsxPauseunpVcpu,
  DomctlGetdomaininfo,
  DomctlGetpageframeinfo3,
  DomctlGetvcpuinfo,
  DomctlHvmcontext,
  DomctlHypercallInit,
  DomctlMaxMem,
  DomctlMaxVcpus,
  DomctlNodeaffinity,
  DomctlSendtrigger,
  DomctlSetdebugging,
  DomctlSettimeoffset,
  DomctlTscInfo,
  DomctlVcpuaffinity,
  DomctlVcpucontext,
  VCPUAFFINITY,
  XEN_DOMCTL_INTERFACE_VERSION,
} from '../../../abi/domctl.ts';
import { ERRNO } from '../../../abi/errno.ts';
import type { Struct } from '../../../abi/layout.ts';
import { HYPERCALL, XenctlBitmap } from '../../../abi/xen.ts';
import { HypercallError, type Hypercalls, type Scratch } from '../hypercalls.ts';
import type { StructView } from '../memory.ts';

export interface CreateDomain {
  /** 0: the hypervisor chooses. */
  readonly domid?: number;
  /** 16 bytes. */
  readonly handle: Uint8Array;
  /** CDF. */
  readonly flags: number;
  readonly maxVcpus: number;
  readonly maxEvtchnPort: number;
  readonly maxGrantFrames: number;
  readonly maxMaptrackFrames: number;
  /** Highest grant-table version: 1 or 2. */
  readonly grantVersion: number;
  readonly cpupool: number;
  /** X86_EMU. */
  readonly emulationFlags: number;
  readonly ssidref?: number;
}

export interface DomainInfo {
  readonly domid: number;
  /** DOMINF. */
  readonly flags: number;
  readonly dying: boolean;
  readonly hvm: boolean;
  readonly shutdown: boolean;
  /** SHUTDOWN; meaningful if `shutdown`. */
  readonly shutdownReason: number;
  readonly paused: boolean;
  readonly blocked: boolean;
  readonly running: boolean;
  /** Pages (4 KiB). */
  readonly totPages: number;
  readonly maxPages: number;
  readonly outstandingPages: number;
  readonly sharedInfoFrame: bigint;
  /** ns. */
  readonly cpuTime: bigint;
  readonly onlineVcpus: number;
  readonly maxVcpuId: number;
  readonly ssidref: number;
  readonly handle: Uint8Array;
  readonly cpupool: number;
}

export interface VcpuStatus {
  readonly online: boolean;
  readonly blocked: boolean;
  readonly running: boolean;
  readonly cpuTime: bigint;
  readonly cpu: number;
}

export interface CpuidLeafValue {
  readonly leaf: number;
  readonly subleaf: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

export interface CpuPolicy {
  readonly leaves: readonly CpuidLeafValue[];
  readonly msrs: readonly { readonly idx: number; readonly flags: number; readonly val: bigint }[];
}

/** vcpu_id of gdbsx_domstatus that names none. */
const NO_VCPU = 0xffff_ffff;

/** Bits of CPU maps that are passed: as many as the hypervisor can have. */
const CPU_BITS = 64;

export function readDomainInfo(xen: Hypercalls, at: number): DomainInfo {
  const v = xen.memory.struct(at, DomctlGetdomaininfo);
  const flags = v.get('flags');
  return {
    domid: v.get('domain'),
    flags,
    dying: (flags & DOMINF.dying) !== 0,
    hvm: (flags & DOMINF.hvm_guest) !== 0,
    shutdown: (flags & DOMINF.shutdown) !== 0,
    shutdownReason: (flags >>> DOMINF.shutdownshift) & DOMINF.shutdownmask,
    paused: (flags & DOMINF.paused) !== 0,
    blocked: (flags & DOMINF.blocked) !== 0,
    running: (flags & DOMINF.running) !== 0,
    totPages: v.get('tot_pages'),
    maxPages: Number(v.big('max_pages')),
    outstandingPages: v.get('outstanding_pages'),
    sharedInfoFrame: v.big('shared_info_frame'),
    cpuTime: v.big('cpu_time'),
    onlineVcpus: v.get('nr_online_vcpus'),
    maxVcpuId: v.get('max_vcpu_id'),
    ssidref: v.get('ssidref'),
    handle: xen.memory.read(v.at('handle'), 16),
    cpupool: v.get('cpupool'),
  };
}

export class DomctlCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /**
   * One domctl: `fill` writes the argument, `result` reads what came back. The name of the operation is in the error.
   * For the groups of calls that are built on domctl (scheduler.ts).
   */
  op<N extends string, T = void>(
    name: keyof typeof DOMCTL,
    domid: number,
    arg?: Struct<N>,
    fill?: (u: StructView<N>, s: Scratch) => void,
    result?: (u: StructView<N>, d: StructView<'domain'>) => T,
  ): T {
    return this.xen.scratch((s) => {
      const d = s.struct(Domctl);
      d.set('cmd', DOMCTL[name]).set('interface_version', XEN_DOMCTL_INTERFACE_VERSION).set('domain', domid);
      const u = d.nested('u', arg ?? (Domctl as Struct<string> as Struct<N>));
      if (arg) fill?.(u, s);
      this.xen.call(`domctl ${name} of domain ${domid}`, HYPERCALL.domctl, d.address);
      return result?.(u, d as StructView<string>) as T;
    });
  }

  /** Returns the new domain's id. It is paused, without vCPUs or memory. */
  createDomain(c: CreateDomain): number {
    return this.op(
      'createdomain',
      c.domid ?? 0,
      DomctlCreatedomain,
      (u) => {
        u.set('ssidref', c.ssidref ?? 0)
          .set('flags', c.flags)
          .set('max_vcpus', c.maxVcpus);
        u.set('max_evtchn_port', c.maxEvtchnPort).set('max_grant_frames', c.maxGrantFrames);
        u.set('max_maptrack_frames', c.maxMaptrackFrames).set('grant_opts', c.grantVersion);
        u.set('cpupool_id', c.cpupool);
        u.nested('arch', ArchDomainconfig).set('emulation_flags', c.emulationFlags);
        this.xen.memory.write(u.at('handle'), c.handle.subarray(0, 16));
      },
      (_, d) => d.get('domain'),
    );
  }

  /** Kills the domain and frees what it has. Returns when that is done, frames that others hold apart. */
  destroyDomain(domid: number): void {
    for (;;) {
      try {
        this.op('destroydomain', domid);
        return;
      } catch (e) {
        if (!(e instanceof HypercallError) || e.errno !== ERRNO.EAGAIN) throw e;
      }
    }
  }

  pauseDomain(domid: number): void {
    this.op('pausedomain', domid);
  }

  unpauseDomain(domid: number): void {
    this.op('unpausedomain', domid);
  }

  /** undefined: there is no such domain. */
  getDomainInfo(domid: number): DomainInfo | undefined {
    try {
      const info = this.op(
        'getdomaininfo',
        domid,
        DomctlGetdomaininfo,
        () => {},
        (u) => readDomainInfo(this.xen, u.address),
      );
      // The call answers for the next domain if this one is gone.
      return info.domid === domid ? info : undefined;
    } catch (e) {
      if (e instanceof HypercallError && e.errno === ERRNO.ESRCH) return undefined;
      throw e;
    }
  }

  setMaxVcpus(domid: number, max: number): void {
    this.op('max_vcpus', domid, DomctlMaxVcpus, (u) => u.set('max', max));
  }

  /** Bit n: may (hard), would rather (soft) run on pCPU n. Returns what is in force. */
  setVcpuAffinity(domid: number, vcpu: number, hard?: bigint, soft?: bigint): { hard?: bigint; soft?: bigint } {
    return this.affinity('setvcpuaffinity', domid, vcpu, hard, soft);
  }

  getVcpuAffinity(domid: number, vcpu: number): { hard?: bigint; soft?: bigint } {
    return this.affinity('getvcpuaffinity', domid, vcpu, 0n, 0n);
  }

  private affinity(
    op: 'setvcpuaffinity' | 'getvcpuaffinity',
    domid: number,
    vcpu: number,
    hard?: bigint,
    soft?: bigint,
  ) {
    const maps: Record<string, number> = {};
    const read = (name: string): bigint | undefined =>
      maps[name] === undefined ? undefined : this.xen.memory.view.getBigUint64(maps[name], true);
    return this.op(
      op,
      domid,
      DomctlVcpuaffinity,
      (u, s) => {
        let flags = 0;
        for (const [name, value, flag] of [
          ['cpumap_hard', hard, VCPUAFFINITY.HARD],
          ['cpumap_soft', soft, VCPUAFFINITY.SOFT],
        ] as const) {
          if (value === undefined) continue;
          flags |= flag;
          maps[name] = s.bitmap(value, CPU_BITS);
          u.nested(name, XenctlBitmap).set('bitmap', maps[name]).set('nr_bits', CPU_BITS);
        }
        u.set('vcpu', vcpu).set('flags', flags);
      },
      () => ({ hard: read('cpumap_hard'), soft: read('cpumap_soft') }),
    );
  }

  setNodeAffinity(domid: number, nodes: bigint): void {
    this.op('setnodeaffinity', domid, DomctlNodeaffinity, (u, s) => {
      u.nested('nodemap', XenctlBitmap).set('bitmap', s.bitmap(nodes, CPU_BITS)).set('nr_bits', CPU_BITS);
    });
  }

  setMaxMem(domid: number, kib: number): void {
    this.op('max_mem', domid, DomctlMaxMem, (u) => u.set('max_memkb', kib));
  }

  setTscInfo(domid: number, mode: number, khz = 0, incarnation = 0, elapsedNs = 0n): void {
    this.op('settscinfo', domid, DomctlTscInfo, (u) => {
      u.set('tsc_mode', mode).set('gtsc_khz', khz).set('incarnation', incarnation).set('elapsed_nsec', elapsedNs);
    });
  }

  /** Seconds that the domain's wall clock is ahead of the machine's. */
  setTimeOffset(domid: number, seconds: number): void {
    this.op('settimeoffset', domid, DomctlSettimeoffset, (u) => u.set('time_offset_seconds', seconds));
  }

  /** 64 (or 32) bits wide PV guest. Before the domain has memory. */
  setAddressSize(domid: number, bits: number): void {
    this.op('set_address_size', domid, DomctlAddressSize, (u) => u.set('size', bits));
  }

  /** Fills frame `gmfn` of the domain with the hypercall page. */
  hypercallInit(domid: number, gmfn: number | bigint): void {
    this.op('hypercall_init', domid, DomctlHypercallInit, (u) => u.set('gmfn', gmfn));
  }

  /** Loads a vCPU's start state; `fill` writes it (all zeros before). The domain must be paused. */
  setVcpuContext(domid: number, vcpu: number, fill: (c: StructView<keyof typeof VcpuGuestContext.off>) => void): void {
    this.op('setvcpucontext', domid, DomctlVcpucontext, (u, s) => {
      const ctxt = s.struct(VcpuGuestContext);
      fill(ctxt);
      u.set('vcpu', vcpu).set('ctxt', ctxt.address);
    });
  }

  /** A copy of a vCPU's state (VcpuGuestContext). */
  getVcpuContext(domid: number, vcpu: number): Uint8Array {
    let at = 0;
    return this.op(
      'getvcpucontext',
      domid,
      DomctlVcpucontext,
      (u, s) => {
        at = s.bytes(VcpuGuestContext.size);
        u.set('vcpu', vcpu).set('ctxt', at);
      },
      () => this.xen.memory.read(at, VcpuGuestContext.size),
    );
  }

  /** Loads records of an HVM domain's state (abi/hvm/save.ts), from their header to END. The domain must be paused. */
  setHvmContext(domid: number, records: Uint8Array): void {
    this.op('sethvmcontext', domid, DomctlHvmcontext, (u, s) => {
      const buffer = s.bytes(records.length);
      this.xen.memory.write(buffer, records);
      u.set('size', records.length).set('buffer', buffer);
    });
  }

  /** All records of an HVM domain's state. */
  getHvmContext(domid: number): Uint8Array {
    const size = this.op(
      'gethvmcontext',
      domid,
      DomctlHvmcontext,
      () => {},
      (u) => u.get('size'),
    );
    let buffer = 0;
    return this.op(
      'gethvmcontext',
      domid,
      DomctlHvmcontext,
      (u, s) => {
        buffer = s.bytes(size);
        u.set('size', size).set('buffer', buffer);
      },
      (u) => this.xen.memory.read(buffer, u.get('size')),
    );
  }

  getVcpuInfo(domid: number, vcpu: number): VcpuStatus {
    return this.op(
      'getvcpuinfo',
      domid,
      DomctlGetvcpuinfo,
      (u) => u.set('vcpu', vcpu),
      (u) => ({
        online: u.get('online') !== 0,
        blocked: u.get('blocked') !== 0,
        running: u.get('running') !== 0,
        cpuTime: u.big('cpu_time'),
        cpu: u.get('cpu'),
      }),
    );
  }

  /** PFINFO of `count` frames from `first` on, at most 1024: XTAB for those that are not the domain's. */
  getPageFrameInfo(domid: number, first: number, count: number): Uint32Array {
    let list = 0;
    return this.op(
      'getpageframeinfo3',
      domid,
      DomctlGetpageframeinfo3,
      (u, s) => {
        list = s.bytes(count * 8);
        const frames = new Uint32Array(this.xen.memory.buffer, list, count * 2);
        for (let i = 0; i < count; i++) frames[2 * i] = first + i;
        u.set('num', count).set('array', list);
      },
      () => new Uint32Array(this.xen.memory.buffer, list, count * 2).filter((_, i) => i % 2 === 0),
    );
  }

  /** SENDTRIGGER. */
  sendTrigger(domid: number, trigger: number, vcpu = 0): void {
    this.op('sendtrigger', domid, DomctlSendtrigger, (u) => u.set('trigger', trigger).set('vcpu', vcpu));
  }

  setDebugging(domid: number, enable: boolean): void {
    this.op('setdebugging', domid, DomctlSetdebugging, (u) => u.set('enable', enable ? 1 : 0));
  }

  /** Copies guest memory at `va`, as vCPU 0 maps it, from its start to the first byte that is not there. */
  readGuest(domid: number, va: bigint, length: number): Uint8Array {
    return this.xen.scratch((s) => {
      const at = s.bytes(length);
      return this.xen.memory.read(at, this.guestMemory(domid, va, at, length, 0));
    });
  }

  /** Writes guest memory at `va`, whatever its mapping allows; returns the bytes written. Page tables cannot be. */
  writeGuest(domid: number, va: bigint, data: Uint8Array): number {
    return this.xen.scratch((s) => {
      const at = s.bytes(data.length);
      this.xen.memory.write(at, data);
      return this.guestMemory(domid, va, at, data.length, 1);
    });
  }

  /** Bytes copied. */
  private guestMemory(domid: number, va: bigint, buffer: number, length: number, write: 0 | 1): number {
    return this.xen.scratch((s) => {
      const d = s.struct(Domctl);
      d.set('cmd', DOMCTL.gdbsx_guestmemio).set('interface_version', XEN_DOMCTL_INTERFACE_VERSION).set('domain', domid);
      const u = d.nested('u', DomctlGdbsxMemio);
      u.set('gva', va).set('uva', buffer).set('len', length).set('gwr', write);
      const r = Number(this.xen.raw(HYPERCALL.domctl, d.address));
      // A part is no error here.
      if (r < 0 && r !== -ERRNO.EFAULT) throw new HypercallError(`domctl gdbsx_guestmemio of domain ${domid}`, -r);
      return length - u.get('remain');
    });
  }

  /** Stops one vCPU of a paused domain beyond that pause; counted. */
  pauseVcpu(domid: number, vcpu: number): void {
    this.op('gdbsx_pausevcpu', domid, DomctlGdbsxPauseunpVcpu, (u) => u.set('vcpu', vcpu));
  }

  unpauseVcpu(domid: number, vcpu: number): void {
    this.op('gdbsx_unpausevcpu', domid, DomctlGdbsxPauseunpVcpu, (u) => u.set('vcpu', vcpu));
  }

  /** A vCPU that stopped its debugged domain, and with which exception; told once. undefined: none is left to tell. */
  debugEvent(domid: number): { vcpu: number; vector: number } | undefined {
    return this.op(
      'gdbsx_domstatus',
      domid,
      DomctlGdbsxDomstatus,
      () => {},
      (u) => (u.get('vcpu_id') === NO_VCPU ? undefined : { vcpu: u.get('vcpu_id'), vector: u.get('vcpu_ev') }),
    );
  }

  /** CPUID leaves and MSRs that the domain sees. Only before it has run. */
  setCpuPolicy(domid: number, policy: CpuPolicy): void {
    this.op('set_cpu_policy', domid, DomctlCpuPolicy, (u, s) => {
      const leaves = s.bytes(policy.leaves.length * CpuidLeaf.size);
      policy.leaves.forEach((l, i) => {
        const v = this.xen.memory.struct(leaves + i * CpuidLeaf.size, CpuidLeaf);
        v.set('leaf', l.leaf).set('subleaf', l.subleaf).set('a', l.a).set('b', l.b).set('c', l.c).set('d', l.d);
      });
      const msrs = s.bytes(policy.msrs.length * MsrEntry.size);
      policy.msrs.forEach((m, i) => {
        const v = this.xen.memory.struct(msrs + i * MsrEntry.size, MsrEntry);
        v.set('idx', m.idx).set('flags', m.flags).set('val', m.val);
      });
      u.set('nr_leaves', policy.leaves.length).set('leaves', leaves);
      u.set('nr_msrs', policy.msrs.length).set('msrs', msrs);
    });
  }
}
