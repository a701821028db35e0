/** xen_version, domctl and sysctl: what a control domain asks, what others are told, and bad arguments (public/version.h, domctl.h, sysctl.h). */
import { beforeEach, describe, expect, test } from 'vitest';
import { CpuidLeaf, CpuUserRegs, VcpuGuestContext, VGCF } from '../../src/abi/arch-x86.ts';
import {
  CDF,
  DOMCTL,
  DOMCTL_SCHEDOP,
  Domctl,
  DomctlCpuPolicy,
  DomctlCreatedomain,
  DomctlGetdomaininfo,
  DomctlHypercallInit,
  DomctlSchedulerOp,
  DomctlVcpuaffinity,
  DomctlVcpucontext,
  VCPUAFFINITY,
  XEN_DOMCTL_INTERFACE_VERSION,
  XEN_SCHEDULER,
} from '../../src/abi/domctl.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import { XENFEAT } from '../../src/abi/features.ts';
import {
  CPU_POLICY,
  SYSCTL,
  Sysctl,
  SysctlCpuPolicy,
  SysctlGetdomaininfolist,
  SysctlReadconsole,
  XEN_SYSCTL_INTERFACE_VERSION,
} from '../../src/abi/sysctl.ts';
import { CompileInfo, FeatureInfo, PlatformParameters, XENVER } from '../../src/abi/version.ts';
import { HYPERCALL, XenctlBitmap } from '../../src/abi/xen.ts';
import { CpuGuest } from './cpu-guest.ts';
import { DomainState } from './domain-state.ts';
import { ARG_PAGE, va } from './guest-script.ts';

let t: CpuGuest;
beforeEach(() => {
  t = new CpuGuest();
});
const text = (at: number, n: number) =>
  Buffer.from(t.m.bytes.slice(at, at + n))
    .toString()
    .replace(/\0.*$/s, '');
const u32 = (at: number) => t.m.view.getUint32(at, true);

describe('xen_version', () => {
  const version = (cmd: number, at = 0) => t.m.hypercall(HYPERCALL.xen_version, cmd, at);

  test('4.17.7, and what it was made of', () => {
    expect(version(XENVER.version)).toBe(0x40011);
    expect(version(XENVER.pagesize)).toBe(4096);
    const at = t.m.arg(1024);
    expect(version(XENVER.extraversion, at)).toBe(0);
    expect(text(at, 16)).toBe('.7');
    expect(version(XENVER.capabilities, at)).toBe(0);
    expect(text(at, 1024)).toBe('xen-3.0-x86_64 hvm-3.0-x86_64 ');
    expect(version(XENVER.compile_info, at)).toBe(0);
    expect(text(at + CompileInfo.off.compile_by, 16)).toBe('xenolith');
    expect(version(XENVER.platform_parameters, at)).toBe(0);
    expect(t.m.view.getBigUint64(at + PlatformParameters.off.virt_start, true)).toBe(0xffff_8000_0000_0000n);
    expect(version(99, at)).toBe(-ERRNO.ENOSYS);
    expect(version(XENVER.extraversion, 0)).toBe(-ERRNO.EFAULT);
  });

  test('features of a guest; dom0 has its own bit; no second submap', () => {
    const at = t.m.arg(FeatureInfo.size);
    expect(version(XENVER.get_features, at)).toBe(0);
    expect((u32(at + FeatureInfo.off.submap) >>> XENFEAT.dom0) & 1).toBe(1);
    const r = t.results(function* (r) {
      t.m.view.setUint32(t.c.argHost, 0, true);
      r.push(yield* t.c.call(HYPERCALL.xen_version, XENVER.get_features, va(ARG_PAGE)));
      const f = u32(t.c.argHost + FeatureInfo.off.submap);
      r.push((f >>> XENFEAT.dom0) & 1, (f >>> XENFEAT.mmu_pt_update_preserve_ad) & 1);
      r.push((f >>> XENFEAT.writable_page_tables) & 1);
      t.m.view.setUint32(t.c.argHost, 1, true);
      r.push(yield* t.c.call(HYPERCALL.xen_version, XENVER.get_features, va(ARG_PAGE)));
      yield* t.c.call(HYPERCALL.xen_version, XENVER.commandline, va(ARG_PAGE));
      expect(text(t.c.argHost, 32)).toBe('<denied>');
    });
    expect(r).toEqual([0, 0, 1, 0, -ERRNO.EINVAL]);
  });
});

describe('domctl', () => {
  const create = (fill: (u: number) => void, domid = 0) =>
    t.m.domctl(DOMCTL.createdomain, domid, (u) => {
      t.m.view.setUint32(u + DomctlCreatedomain.off.max_vcpus, 1, true);
      t.m.view.setUint32(u + DomctlCreatedomain.off.max_evtchn_port, 1023, true);
      t.m.view.setUint32(u + DomctlCreatedomain.off.grant_opts, 1, true);
      fill(u);
    });

  test('only a privileged domain, with the right version, about a domain that is there', () => {
    const at = t.m.arg(Domctl.size);
    t.m.view.setUint32(at, DOMCTL.pausedomain, true);
    t.m.view.setUint32(at + Domctl.off.interface_version, 0x14, true);
    expect(t.m.hypercall(HYPERCALL.domctl, at)).toBe(-ERRNO.EACCES);
    expect(t.m.hypercall(HYPERCALL.domctl, 0)).toBe(-ERRNO.EFAULT);
    expect(t.m.domctl(DOMCTL.pausedomain, 77).rc).toBe(-ERRNO.ESRCH);
    expect(t.m.domctl(DOMCTL.pausedomain, 0).rc).toBe(-ERRNO.EINVAL);
    expect(t.m.domctl(DOMCTL.destroydomain, 0).rc).toBe(-ERRNO.EINVAL);
    expect(t.m.domctl(999, t.g.domid).rc).toBe(-ERRNO.ENOSYS);
    const r = t.results(function* (r) {
      t.m.view.setUint32(t.c.argHost + Domctl.off.interface_version, XEN_DOMCTL_INTERFACE_VERSION, true);
      r.push(yield* t.c.call(HYPERCALL.domctl, va(ARG_PAGE)));
      r.push(yield* t.c.call(HYPERCALL.domctl, 0x7fff_0000));
      t.m.view.setUint32(t.c.argHost + Sysctl.off.interface_version, XEN_SYSCTL_INTERFACE_VERSION, true);
      r.push(yield* t.c.call(HYPERCALL.sysctl, va(ARG_PAGE)));
    });
    expect(r).toEqual([-ERRNO.EPERM, -ERRNO.EFAULT, -ERRNO.EPERM]);
  });

  test('createdomain refuses what is not there, and gives ids that only grow', () => {
    const set = (name: keyof typeof DomctlCreatedomain.off, v: number) => (u: number) =>
      t.m.view.setUint32(u + DomctlCreatedomain.off[name], v, true);
    expect(create(set('flags', CDF.hvm)).rc).toBe(-ERRNO.EOPNOTSUPP);
    expect(create(set('flags', 0x8000_0000)).rc).toBe(-ERRNO.EINVAL);
    expect(create(set('max_vcpus', 0)).rc).toBe(-ERRNO.EINVAL);
    expect(create(set('max_vcpus', 129)).rc).toBe(-ERRNO.EINVAL);
    expect(create(set('grant_opts', 0)).rc).toBe(-ERRNO.EINVAL);
    expect(create(set('cpupool_id', 1)).rc).toBe(-ERRNO.ENOENT);
    expect(create(() => {}, t.g.domid).rc).toBe(-ERRNO.EEXIST);
    const ids = [1, 2, 3].map(() => {
      const { rc, at } = create(() => {});
      expect(rc).toBe(0);
      const id = t.m.view.getUint16(at + Domctl.off.domain, true);
      t.m.destroyDomain(id);
      return id;
    });
    expect(ids).toEqual([t.g.domid + 1, t.g.domid + 2, t.g.domid + 3]);
  });

  test('a domain that was created and destroyed has cost nothing', () => {
    const free = t.m.freeFrames();
    for (let i = 0; i < 5; i++) {
      const { at } = create(() => {});
      const id = t.m.view.getUint16(at + Domctl.off.domain, true);
      t.m.domctl(DOMCTL.max_vcpus, id, (u) => t.m.view.setUint32(u, 1, true));
      t.m.destroyDomain(id);
    }
    expect(t.m.freeFrames()).toBe(free);
  });

  test('a domain’s policy may lack features, and have none that the CPU has not', () => {
    const { at } = create(() => {});
    const id = t.m.view.getUint16(at + Domctl.off.domain, true);
    const set = (leaf: number, word: 'a' | 'b' | 'c' | 'd', value: number) => {
      const e = t.m.arg(CpuidLeaf.size);
      t.m.view.setUint32(e, leaf, true);
      t.m.view.setUint32(e + CpuidLeaf.off.subleaf, 0xffff_ffff, true);
      t.m.view.setUint32(e + CpuidLeaf.off[word], value, true);
      return t.m.domctl(DOMCTL.set_cpu_policy, id, (u) => {
        t.m.view.setUint32(u + DomctlCpuPolicy.off.nr_leaves, 1, true);
        t.m.view.setUint32(u + DomctlCpuPolicy.off.nr_msrs, 0, true);
        t.m.view.setBigUint64(u + DomctlCpuPolicy.off.leaves, BigInt(e), true);
      }).rc;
    };
    expect(set(1, 'c', 1 << 0)).toBe(0);
    expect(set(1, 'c', 1 << 3)).toBe(-ERRNO.EINVAL);
    expect([set(0x8000_0008, 'b', 4), set(0x8000_0008, 'b', 8)]).toEqual([0, -ERRNO.EINVAL]);
    // Automatic IBRS, to a PV domain.
    expect([set(0x8000_0021, 'a', 0), set(0x8000_0021, 'a', 1 << 8)]).toEqual([0, -ERRNO.EINVAL]);
  });

  test('getdomaininfo answers for the next domain if that one is not there', () => {
    const { rc, u } = t.m.domctl(DOMCTL.getdomaininfo, 1);
    expect([rc, t.m.view.getUint16(u + DomctlGetdomaininfo.off.domain, true)]).toEqual([0, t.g.domid]);
    expect(t.m.domctl(DOMCTL.getdomaininfo, t.g.domid + 1).rc).toBe(-ERRNO.ESRCH);
  });

  test('pauses are counted', () => {
    const state = () => new DomainState(t.m, t.g.domid).paused;
    expect(state()).toBe(false);
    t.m.domctl(DOMCTL.pausedomain, t.g.domid);
    t.m.domctl(DOMCTL.pausedomain, t.g.domid);
    t.m.unpause(t.g.domid);
    expect(state()).toBe(true);
    t.m.unpause(t.g.domid);
    expect(state()).toBe(false);
    expect(t.m.domctl(DOMCTL.unpausedomain, t.g.domid).rc).toBe(-ERRNO.EINVAL);
  });

  test('a vCPU’s context comes back as it was set; what cannot be is refused', () => {
    const at = t.m.arg(VcpuGuestContext.size);
    const get = t.m.domctl(DOMCTL.getvcpucontext, t.g.domid, (u) => {
      t.m.view.setBigUint64(u + DomctlVcpucontext.off.ctxt, BigInt(at), true);
    });
    expect(get.rc).toBe(0);
    const regs = at + VcpuGuestContext.off.user_regs;
    expect(t.m.view.getUint16(regs + CpuUserRegs.off.cs, true)).toBe(0xe033);
    expect(t.m.view.getBigUint64(at + VcpuGuestContext.off.ctrlreg + 24, true)).toBe(BigInt(t.g.l4) << 12n);
    expect(t.m.view.getBigUint64(at + VcpuGuestContext.off.flags, true) & 0x24n).toBe(0x24n);
    const copy = t.m.bytes.slice(at, at + VcpuGuestContext.size);
    const put = (change: (at: number) => void) => {
      const c = t.m.arg(VcpuGuestContext.size);
      t.m.bytes.set(copy, c);
      change(c);
      return t.m.domctl(DOMCTL.setvcpucontext, t.g.domid, (u) => {
        t.m.view.setBigUint64(u + DomctlVcpucontext.off.ctxt, BigInt(c), true);
      }).rc;
    };
    const off = VcpuGuestContext.off;
    expect(put(() => {})).toBe(0);
    const bad = 1n << 47n;
    expect(put((c) => t.m.view.setBigUint64(c + off.user_regs + CpuUserRegs.off.rip, bad, true))).toBe(-ERRNO.EINVAL);
    expect(put((c) => t.m.view.setBigUint64(c + off.trap_ctxt + 8, bad, true))).toBe(-ERRNO.EINVAL);
    expect(put((c) => t.m.view.setBigUint64(c + off.ctrlreg + 24, 0x5000n, true))).toBe(-ERRNO.EOPNOTSUPP);
  });

  test('of an x87 status word a vCPU gets TOP and what happened; the summary follows from the masks', () => {
    const { off } = VcpuGuestContext;
    const call = (op: number, content: Uint8Array) => {
      const at = t.m.arg(VcpuGuestContext.size);
      t.m.bytes.set(content, at);
      const { rc } = t.m.domctl(op, t.g.domid, (u) => {
        t.m.view.setBigUint64(u + DomctlVcpucontext.off.ctxt, BigInt(at), true);
      });
      expect(rc).toBe(0);
      return t.m.bytes.slice(at, at + VcpuGuestContext.size);
    };
    const context = call(DOMCTL.getvcpucontext, new Uint8Array(VcpuGuestContext.size));
    const view = new DataView(context.buffer);
    view.setBigUint64(off.flags, view.getBigUint64(off.flags, true) | BigInt(VGCF.i387_valid), true);
    for (const [fcw, fsw, wanted] of [
      [0x37f, 0xb8a0, 0x3820],
      [0x35f, 0x3820, 0xb8a0],
      [0x35f, 0x1000, 0x1000],
    ]) {
      view.setUint16(off.fpu_ctxt, fcw, true);
      view.setUint16(off.fpu_ctxt + 2, fsw, true);
      call(DOMCTL.setvcpucontext, context);
      const got = new DataView(call(DOMCTL.getvcpucontext, new Uint8Array(VcpuGuestContext.size)).buffer);
      expect([got.getUint16(off.fpu_ctxt, true), got.getUint16(off.fpu_ctxt + 2, true)]).toEqual([fcw, wanted]);
    }
  });

  test('affinity: no CPU at all is refused; what is in force is told', () => {
    const affinity = (map: bigint) => {
      const at = t.m.arg(8);
      t.m.view.setBigUint64(at, map, true);
      const { rc } = t.m.domctl(DOMCTL.setvcpuaffinity, t.g.domid, (u) => {
        t.m.view.setUint32(u + DomctlVcpuaffinity.off.flags, VCPUAFFINITY.HARD, true);
        const b = u + DomctlVcpuaffinity.off.cpumap_hard;
        t.m.view.setBigUint64(b + XenctlBitmap.off.bitmap, BigInt(at), true);
        t.m.view.setUint32(b + XenctlBitmap.off.nr_bits, 64, true);
      });
      return [rc, t.m.view.getBigUint64(at, true)];
    };
    expect(affinity(0xffn)).toEqual([0, 1n]);
    expect(affinity(2n)[0]).toBe(-ERRNO.EINVAL);
  });

  test('scheduler parameters are credit2’s', () => {
    const op = (cmd: number, sched: number, value = 0) =>
      t.m.domctl(DOMCTL.scheduler_op, t.g.domid, (u) => {
        t.m.view.setUint32(u + DomctlSchedulerOp.off.sched_id, sched, true);
        t.m.view.setUint32(u + DomctlSchedulerOp.off.cmd, cmd, true);
        t.m.view.setUint32(u + DomctlSchedulerOp.off.u, value, true);
      });
    expect(u32(op(DOMCTL_SCHEDOP.getinfo, XEN_SCHEDULER.CREDIT2).u + DomctlSchedulerOp.off.u)).toBe(256);
    expect(op(DOMCTL_SCHEDOP.putinfo, XEN_SCHEDULER.CREDIT2, 512).rc).toBe(0);
    expect(u32(op(DOMCTL_SCHEDOP.getinfo, XEN_SCHEDULER.CREDIT2).u + DomctlSchedulerOp.off.u)).toBe(512);
    expect(op(DOMCTL_SCHEDOP.getinfo, XEN_SCHEDULER.CREDIT).rc).toBe(-ERRNO.EINVAL);
  });

  test('the hypercall page: 32 bytes a call, into a page of the domain', () => {
    const init = (mfn: number) =>
      t.m.domctl(DOMCTL.hypercall_init, t.g.domid, (u) => {
        t.m.view.setBigUint64(u + DomctlHypercallInit.off.gmfn, BigInt(mfn), true);
      }).rc;
    expect(init(t.g.l1)).toBe(-ERRNO.EACCES);
    expect(init(0x102)).toBe(-ERRNO.EACCES);
    expect(init(t.g.mfns[40])).toBe(0);
    const slot = (n: number) =>
      Buffer.from(t.m.bytes.slice(t.g.mfns[40] * 4096 + n * 32, t.g.mfns[40] * 4096 + n * 32 + 14)).toString('hex');
    expect(slot(17)).toBe('514153b8110000000f05415b59c3');
    expect(slot(23).startsWith('51415350b8170000000f05')).toBe(true);
  });
});

describe('sysctl', () => {
  const sysctl = (cmd: number, fill: (u: number) => void = () => {}) => {
    const at = t.m.arg(Sysctl.size);
    t.m.view.setUint32(at, cmd, true);
    t.m.view.setUint32(at + Sysctl.off.interface_version, XEN_SYSCTL_INTERFACE_VERSION, true);
    fill(at + Sysctl.off.u);
    return { rc: t.m.hypercall(HYPERCALL.sysctl, at), u: at + Sysctl.off.u };
  };

  test('getdomaininfolist goes through the domains in order', () => {
    const buffer = t.m.arg(DomctlGetdomaininfo.size * 4);
    const { rc, u } = sysctl(SYSCTL.getdomaininfolist, (u) => {
      t.m.view.setUint32(u + SysctlGetdomaininfolist.off.max_domains, 4, true);
      t.m.view.setBigUint64(u + SysctlGetdomaininfolist.off.buffer, BigInt(buffer), true);
    });
    expect(rc).toBe(0);
    expect(u32(u + SysctlGetdomaininfolist.off.num_domains)).toBe(2);
    expect([0, 1].map((i) => t.m.view.getUint16(buffer + i * DomctlGetdomaininfo.size, true))).toEqual([0, t.g.domid]);
  });

  test('readconsole gives the log, and goes on where it was', () => {
    const buffer = t.m.arg(4096);
    const read = (index: number) =>
      sysctl(SYSCTL.readconsole, (u) => {
        t.m.bytes[u + SysctlReadconsole.off.incremental] = 1;
        t.m.view.setUint32(u + SysctlReadconsole.off.index, index, true);
        t.m.view.setBigUint64(u + SysctlReadconsole.off.buffer, BigInt(buffer), true);
        t.m.view.setUint32(u + SysctlReadconsole.off.count, 4096, true);
      }).u;
    const first = read(0);
    expect(text(buffer, u32(first + SysctlReadconsole.off.count))).toMatch(/^\(XEN\) Xenolith/);
    expect(u32(read(u32(first + SysctlReadconsole.off.index)) + SysctlReadconsole.off.count)).toBe(0);
  });

  test('the CPU policies: x86-64-v2, and for HVM what ring 0 has', () => {
    const policy = (index: number) => {
      const leaves = t.m.arg(CpuidLeaf.size * 32);
      const { rc, u } = sysctl(SYSCTL.get_cpu_policy, (u) => {
        t.m.view.setUint32(u + SysctlCpuPolicy.off.index, index, true);
        t.m.view.setUint32(u + SysctlCpuPolicy.off.nr_leaves, 32, true);
        t.m.view.setBigUint64(u + SysctlCpuPolicy.off.leaves, BigInt(leaves), true);
      });
      const n = rc === 0 ? u32(u + SysctlCpuPolicy.off.nr_leaves) : 0;
      return { rc, leaves: Array.from({ length: n }, (_, i) => leaves + i * CpuidLeaf.size) };
    };
    const one = (index: number) => policy(index).leaves.find((l) => u32(l) === 1)!;
    // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT
    const v2 = 0x0098_2201;
    // PCID and x2APIC; PSE, MTRR, PGE.
    const ring0 = 0x0022_0000;
    const paging = 0x0000_3008;
    for (const index of [CPU_POLICY.pv_default, CPU_POLICY.hvm_default]) {
      const hvm = index === CPU_POLICY.hvm_default;
      expect(u32(one(index) + CpuidLeaf.off.c) & v2).toBe(v2);
      expect(u32(one(index) + CpuidLeaf.off.c) & ring0).toBe(hvm ? ring0 : 0);
      expect(u32(one(index) + CpuidLeaf.off.d) & paging).toBe(hvm ? paging : 0);
      // Leaf 0x80000000 says which is the last; automatic IBRS needs an EFER of one's own.
      const [last] = policy(index).leaves.slice(-1);
      expect(u32(last)).toBe(0x8000_0021);
      expect(u32(last + CpuidLeaf.off.a)).toBe(hvm ? 1 << 8 : 0);
      expect(u32(policy(index).leaves.find((l) => u32(l) === 0x8000_0000)! + CpuidLeaf.off.a)).toBe(0x8000_0021);
    }
  });

  test('what is not there is ENOSYS', () => {
    expect(sysctl(999).rc).toBe(-ERRNO.ENOSYS);
    expect(sysctl(SYSCTL.livepatch_op).rc).toBe(-ERRNO.ENOSYS);
  });
});
