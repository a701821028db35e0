/** vCPUs of HVM containers: how they are made, what they are told, and what they do when guest code is left. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ArchDomainconfig, X86_EMU } from '../../src/abi/arch-x86.ts';
import {
  CDF,
  DOMCTL,
  Domctl,
  DomctlCreatedomain,
  DomctlHvmcontext,
  DomctlHvmcontextPartial,
} from '../../src/abi/domctl.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import { HVMOP, HvmEvtchnUpcallVector, HvmGetTime, HvmParam } from '../../src/abi/hvm/hvm_op.ts';
import { HVM_NR_PARAMS, HVM_PARAM } from '../../src/abi/hvm/params.ts';
import {
  HVM_ARBYTES,
  HVM_FILE_MAGIC,
  HVM_FILE_VERSION,
  HVM_SAVE,
  HvmHwCpu,
  HvmHwCpuXsave,
  HvmHwLapic,
  HvmHwLapicRegs,
  HvmHwMtrr,
  HvmSaveDescriptor,
  HvmSaveHeader,
} from '../../src/abi/hvm/save.ts';
import type { Struct } from '../../src/abi/layout.ts';
import { XENMEM } from '../../src/abi/memory.ts';
import { SCHEDOP } from '../../src/abi/sched.ts';
import { HYPERCALL, SharedInfo, VcpuInfo } from '../../src/abi/xen.ts';
import { CpuState, EVENT, EXIT, GPR, IO_IN, NPF_EXEC, NPF_WRITE, VEC } from '../../src/engine/state.ts';
import { domainField } from './domain-field.ts';
import { DomainState } from './domain-state.ts';
import { ARG_GFN, auditMachine, type Fields, gpa, HvmGuest, putStruct } from './hvm-guest.ts';
import { type GuestScript, MmMachine, PAGE, SELF } from './mm-machine.ts';
import { structOffset } from './struct-offset.ts';

const CODE_GFN = 22;
const LAPIC = 0xfee0_0000;
const IF = 0x200n;

let m: MmMachine;
let g: HvmGuest;
beforeEach(() => {
  m = new MmMachine();
  g = new HvmGuest(m);
});

type Steps<T> = Generator<never, T, bigint>;
interface Exit {
  readonly exit: number;
  readonly vector?: number;
  readonly error?: number;
  readonly length?: number;
  readonly rip?: bigint;
  readonly regs?: Readonly<Record<number, bigint>>;
}

const field = (name: keyof typeof CpuState.off) => m.view.getBigUint64(m.runningCpu + CpuState.off[name], true);
const setField = (name: keyof typeof CpuState.off, v: bigint) =>
  m.view.setBigUint64(m.runningCpu + CpuState.off[name], v, true);

/** Leaves guest code; the rip it goes on at. */
function* leave(exit: Exit): Steps<bigint> {
  return yield exit as never;
}
/** The events given to the vCPU since the last look. */
const injected = () => m.injected.splice(0);
const GP = [VEC.GP, EVENT.EXCEPTION, 1, 0];

function* rdmsr(msr: number): Steps<bigint | 'gp'> {
  yield* leave({ exit: EXIT.MSR, error: 0, length: 2, rip: gpa(CODE_GFN), regs: { [GPR.RCX]: BigInt(msr) } });
  if (m.injected.length > 0) {
    expect(injected()).toEqual([GP]);
    return 'gp';
  }
  expect(field('rip')).toBe(gpa(CODE_GFN, 2));
  return m.guestRegister(GPR.RAX) | (m.guestRegister(GPR.RDX) << 32n);
}
/** Whether it was done. */
function* wrmsr(msr: number, v: bigint): Steps<boolean> {
  const regs = { [GPR.RCX]: BigInt(msr), [GPR.RAX]: v & 0xffff_ffffn, [GPR.RDX]: v >> 32n };
  yield* leave({ exit: EXIT.MSR, error: 1, length: 2, rip: gpa(CODE_GFN), regs });
  return injected().every((e) => e.join() !== GP.join());
}

/** Runs a script of the guest that collects results. */
function run<T>(script: () => Steps<T>): T {
  let result: T | undefined;
  g.start();
  m.guest(function* () {
    result = yield* script();
  } as () => GuestScript);
  return result as T;
}

describe('createdomain', () => {
  const create = (flags: number, emulation: number, id = 0, vcpus = 2) => {
    const { rc, at } = m.domctl(DOMCTL.createdomain, id, (u) => {
      m.view.setUint32(u + DomctlCreatedomain.off.flags, flags, true);
      m.view.setUint32(u + DomctlCreatedomain.off.max_vcpus, vcpus, true);
      m.view.setUint32(u + DomctlCreatedomain.off.max_evtchn_port, 1023, true);
      m.view.setUint32(u + DomctlCreatedomain.off.grant_opts, 1, true);
      m.view.setUint32(u + DomctlCreatedomain.off.arch + ArchDomainconfig.off.emulation_flags, emulation, true);
    });
    return { rc, domid: m.view.getUint16(at + Domctl.off.domain, true) };
  };
  test('makes HVM containers that have a local APIC and nothing else', () => {
    expect(create(CDF.hvm, X86_EMU.LAPIC).rc).toBe(-ERRNO.EOPNOTSUPP);
    expect(create(CDF.hvm | CDF.hap, 0).rc).toBe(-ERRNO.EOPNOTSUPP);
    expect(create(CDF.hvm | CDF.hap, X86_EMU.LAPIC | X86_EMU.HPET).rc).toBe(-ERRNO.EOPNOTSUPP);
    expect(create(CDF.hvm | CDF.hap, 0x800).rc).toBe(-ERRNO.EINVAL);
    expect(create(0, X86_EMU.LAPIC).rc).toBe(-ERRNO.EINVAL);
    expect(create(CDF.hap, 0).rc).toBe(-ERRNO.EINVAL);
  });
  test('one vCPU, for now', () => {
    const { rc, domid } = create(CDF.hvm | CDF.hap, X86_EMU.LAPIC);
    expect(rc).toBe(0);
    expect(m.domctl(DOMCTL.max_vcpus, domid, (u) => m.view.setUint32(u, 2, true)).rc).toBe(-ERRNO.EOPNOTSUPP);
    m.destroyDomain(domid);
  });
  test('costs nothing when it is gone', () => {
    const free = m.freeFrames();
    for (let i = 0; i < 4; i++) m.destroyDomain(new HvmGuest(m, 16).domid);
    expect(m.freeFrames()).toBe(free);
    expect(auditMachine(m)).toEqual([]);
  });
  test('has TLB contexts of its own, though it has the id of one that is gone', () => {
    const { rc, domid } = create(CDF.hvm | CDF.hap, X86_EMU.LAPIC, 0, 1);
    expect(rc).toBe(0);
    const generation = () => {
      expect(m.domctl(DOMCTL.max_vcpus, domid, (u) => m.view.setUint32(u, 1, true)).rc).toBe(0);
      const vcpu = m.view.getUint32(m.view.getUint32(domainField(m.memory, domid, 'vcpu_table'), true), true);
      const cpu = m.view.getUint32(vcpu + structOffset('domain.ts', 'Vcpu', 'cpu'), true);
      return m.view.getUint32(cpu + CpuState.off.asid_generation, true);
    };
    const first = generation();
    m.destroyDomain(domid);
    expect(create(CDF.hvm | CDF.hap, X86_EMU.LAPIC, domid, 1)).toEqual({ rc: 0, domid });
    // A context may go through as many generations while it lives.
    expect(generation() - first).toBeGreaterThan(1000);
  });
});

describe('parameters', () => {
  const hvmOp = (cmd: number, domid: number, index: number, value: bigint) => {
    const at = m.arg(HvmParam.size);
    putStruct(m.view, at, HvmParam, { domid, index, value });
    return { rc: m.hypercall(HYPERCALL.hvm_op, cmd, at), value: m.view.getBigUint64(at + HvmParam.off.value, true) };
  };
  const set = (index: number, value: bigint) => hvmOp(HVMOP.set_param, g.domid, index, value).rc;
  const get = (index: number) => hvmOp(HVMOP.get_param, g.domid, index, 0n);

  test('are set and read by the toolstack', () => {
    expect(set(HVM_PARAM.STORE_PFN, 0xfeffcn)).toBe(0);
    expect(get(HVM_PARAM.STORE_PFN)).toEqual({ rc: 0, value: 0xfeffcn });
    expect(get(HVM_PARAM.TRIPLE_FAULT_REASON)).toEqual({ rc: 0, value: 1n });
    expect(set(HVM_PARAM.TRIPLE_FAULT_REASON, 9n)).toBe(-ERRNO.EINVAL);
    expect(set(HVM_PARAM.TIMER_MODE, 4n)).toBe(-ERRNO.EINVAL);
    expect(set(HVM_PARAM.TIMER_MODE, 1n)).toBe(0);
    expect(set(HVM_PARAM.VIRIDIAN, 1n)).toBe(-ERRNO.EINVAL);
    expect(set(HVM_PARAM.DM_DOMAIN, 1n)).toBe(-ERRNO.EINVAL);
    expect(set(HVM_NR_PARAMS, 0n)).toBe(-ERRNO.EINVAL);
    expect(set(HVM_PARAM.IOREQ_SERVER_PFN, 5n)).toBe(0);
    expect(set(HVM_PARAM.IOREQ_SERVER_PFN, 6n)).toBe(-ERRNO.EEXIST);
    expect(set(HVM_PARAM.IOREQ_SERVER_PFN, 5n)).toBe(0);
    const pv = m.createDomain(4);
    expect(hvmOp(HVMOP.set_param, pv, HVM_PARAM.STORE_PFN, 1n).rc).toBe(-ERRNO.EINVAL);
    expect(hvmOp(HVMOP.get_param, 99, 0, 0n).rc).toBe(-ERRNO.ESRCH);
  });
  test('are the guest’s as far as Xen lets it', () => {
    const param = (cmd: number, index: number, value = 0n) =>
      g.with(HYPERCALL.hvm_op, cmd, HvmParam, { domid: SELF, index, value });
    run(function* () {
      expect(yield* param(HVMOP.set_param, HVM_PARAM.CALLBACK_IRQ, (2n << 56n) | 0xf3n)).toBe(0);
      expect(g.field('callback_vector')).toBe(0xf3);
      expect(yield* param(HVMOP.set_param, HVM_PARAM.CALLBACK_IRQ, 1n << 56n)).toBe(0);
      expect(g.field('callback_vector')).toBe(0);
      expect(yield* param(HVMOP.set_param, HVM_PARAM.STORE_PFN, 1n)).toBe(-ERRNO.EPERM);
      expect(yield* param(HVMOP.get_param, HVM_PARAM.STORE_PFN)).toBe(0);
      expect(yield* param(HVMOP.get_param, HVM_PARAM.IDENT_PT)).toBe(-ERRNO.EPERM);
      expect(yield* param(HVMOP.get_param, HVM_PARAM.DM_DOMAIN)).toBe(-ERRNO.ENODATA);
      expect(yield* g.call(HYPERCALL.hvm_op, HVMOP.set_param, 0xf000_0000)).toBe(-ERRNO.EFAULT);
      expect(yield* g.with(HYPERCALL.hvm_op, HVMOP.get_time, HvmGetTime, {})).toBe(0);
      expect(yield* g.call(HYPERCALL.hvm_op, HVMOP.flush_tlbs, 0)).toBe(0);
      expect(yield* g.call(HYPERCALL.hvm_op, HVMOP.pagetable_dying, 0)).toBe(-ERRNO.ENOSYS);
    });
  });
});

describe('contexts', () => {
  const PVH: Fields = {
    rip: 0x100_0000,
    rbx: 0x5000,
    rflags: 2,
    cr0: 0x11,
    dr6: 0xffff_0ff0,
    dr7: 0x400,
    cs_arbytes: HVM_ARBYTES.CODE32,
    ss_arbytes: HVM_ARBYTES.DATA32,
    tr_limit: 0x67,
  };
  type Rec = readonly [type: number, s: Struct, fields: Fields, instance?: number];
  const HEADER: Rec = [HVM_SAVE.HEADER, HvmSaveHeader, { magic: HVM_FILE_MAGIC, version: HVM_FILE_VERSION }];
  const END: Rec = [HVM_SAVE.END, { ...HvmSaveHeader, size: 0, fields: [] } as unknown as Struct, {}];

  function context(records: readonly Rec[], cut = 0): { rc: number } {
    const size = records.reduce((n, [, s]) => n + HvmSaveDescriptor.size + s.size, 0) - cut;
    const buffer = m.arg(size + cut);
    let at = buffer;
    for (const [typecode, s, fields, instance] of records) {
      putStruct(m.view, at, HvmSaveDescriptor, { typecode, instance: instance ?? 0, length: s.size });
      putStruct(m.view, at + HvmSaveDescriptor.size, s, fields);
      at += HvmSaveDescriptor.size + s.size;
    }
    return m.domctl(DOMCTL.sethvmcontext, g.domid, (u) => {
      m.view.setUint32(u + DomctlHvmcontext.off.size, size, true);
      m.view.setBigUint64(u + DomctlHvmcontext.off.buffer, BigInt(buffer), true);
    });
  }
  const load = (fields: Fields) => context([HEADER, [HVM_SAVE.CPU, HvmHwCpu, { ...PVH, ...fields }], END]).rc;
  const partial = (type: number, size: number) => {
    const buffer = m.arg(size);
    const { rc, u } = m.domctl(DOMCTL.gethvmcontext_partial, g.domid, (u) => {
      m.view.setUint32(u + DomctlHvmcontextPartial.off.type, type, true);
      m.view.setBigUint64(u + DomctlHvmcontextPartial.off.bufsz, BigInt(size), true);
      m.view.setBigUint64(u + DomctlHvmcontextPartial.off.buffer, BigInt(buffer), true);
    });
    return { rc, buffer, size: Number(m.view.getBigUint64(u + DomctlHvmcontextPartial.off.bufsz, true)) };
  };

  test('a PVH kernel’s first, as libxc makes it', () => {
    expect(new DomainState(m, g.domid).onlineVcpus).toBe(0);
    expect(load({})).toBe(0);
    expect(new DomainState(m, g.domid).onlineVcpus).toBe(1);
    const { rc, buffer, size } = partial(HVM_SAVE.CPU, HvmHwCpu.size);
    expect([rc, size]).toEqual([0, HvmHwCpu.size]);
    const u64 = (name: string) => m.view.getBigUint64(buffer + HvmHwCpu.off[name as keyof typeof HvmHwCpu.off], true);
    expect([u64('rip'), u64('rbx'), u64('cr0'), u64('cr4'), u64('msr_efer')]).toEqual([
      0x100_0000n,
      0x5000n,
      0x11n,
      0n,
      0n,
    ]);
    expect(m.view.getUint32(buffer + HvmHwCpu.off.cs_arbytes, true)).toBe(HVM_ARBYTES.CODE32);
  });
  test('what the engine cannot run is refused', () => {
    const LONG: Fields = { cr0: 0x8000_0011, cr4: 0x20, msr_efer: 0x501, cs_arbytes: 0xa9b };
    for (const bad of [
      { cr0: 0x10 },
      { cr0: 0x1_0000_0011 },
      { cr0: 0x2000_0011 },
      { cr0: 0x8000_0011 },
      { cr4: 0x2000 },
      { msr_efer: 0x400 },
      { msr_efer: 0x1000 },
      { cs_base: 0x1000 },
      { cs_arbytes: 0x9b },
      { rip: 0x1_0000_0000n },
      { gs_base: 0x8000_0000_0000n },
      { flags: 2 },
      { pad0: 1 },
      { ...LONG, cr4: 0 },
      { ...LONG, cs_arbytes: 0xe9b },
      { ...LONG, rip: 0x8000_0000_0000n },
    ] as Fields[]) {
      expect([bad, load(bad)]).toEqual([bad, -ERRNO.EINVAL]);
      expect(new DomainState(m, g.domid).onlineVcpus).toBe(0);
    }
    // With automatic IBRS, too.
    expect(load({ ...LONG, msr_efer: 0x20_0501 })).toBe(0);
  });
  test('that are none are refused', () => {
    const cpu: Rec = [HVM_SAVE.CPU, HvmHwCpu, PVH];
    expect(context([cpu, END]).rc).toBe(-ERRNO.ENODATA);
    expect(context([[HVM_SAVE.HEADER, HvmSaveHeader, { magic: 1, version: 1 }], cpu, END]).rc).toBe(-ERRNO.EINVAL);
    expect(context([HEADER, cpu]).rc).toBe(-ERRNO.ENODATA);
    expect(context([HEADER, cpu], 8).rc).toBe(-ERRNO.EINVAL);
    expect(context([HEADER, [9, HvmHwCpu, PVH], END]).rc).toBe(-ERRNO.EOPNOTSUPP);
    expect(context([HEADER, [HVM_SAVE.CPU, HvmHwLapic, {}], END]).rc).toBe(-ERRNO.EINVAL);
    expect(context([HEADER, [HVM_SAVE.CPU, HvmHwCpu, PVH, 1], END]).rc).toBe(-ERRNO.EINVAL);
    const pv = m.createDomain(4);
    expect(m.domctl(DOMCTL.gethvmcontext, pv).rc).toBe(-ERRNO.EINVAL);
    expect(m.domctl(DOMCTL.sethvmcontext, pv).rc).toBe(-ERRNO.EINVAL);
  });
  test('come back as they went', () => {
    expect(load({ rax: 0x1234, msr_lstar: 0xffff_ffff_8100_0000n })).toBe(0);
    const ask = m.domctl(DOMCTL.gethvmcontext, g.domid);
    const size = m.view.getUint32(ask.u + DomctlHvmcontext.off.size, true);
    const get = (room: number) => {
      const buffer = m.arg(size);
      const { rc } = m.domctl(DOMCTL.gethvmcontext, g.domid, (u) => {
        m.view.setUint32(u + DomctlHvmcontext.off.size, room, true);
        m.view.setBigUint64(u + DomctlHvmcontext.off.buffer, BigInt(buffer), true);
      });
      return { rc, data: m.bytes.slice(buffer, buffer + size) };
    };
    expect(get(size - 1).rc).toBe(-ERRNO.ENOSPC);
    const first = get(size);
    expect(first.rc).toBe(0);
    const types: number[] = [];
    const view = new DataView(first.data.buffer);
    for (let at = 0; at < size; at += HvmSaveDescriptor.size + view.getUint32(at + 4, true))
      types.push(view.getUint16(at, true));
    expect(types).toEqual([
      HVM_SAVE.HEADER,
      HVM_SAVE.CPU,
      HVM_SAVE.LAPIC,
      HVM_SAVE.LAPIC_REGS,
      HVM_SAVE.MTRR,
      HVM_SAVE.CPU_XSAVE,
      HVM_SAVE.END,
    ]);
    const buffer = m.arg(size);
    m.bytes.set(first.data, buffer);
    const { rc } = m.domctl(DOMCTL.sethvmcontext, g.domid, (u) => {
      m.view.setUint32(u + DomctlHvmcontext.off.size, size, true);
      m.view.setBigUint64(u + DomctlHvmcontext.off.buffer, BigInt(buffer), true);
    });
    expect(rc).toBe(0);
    const second = get(size);
    // The TSC has gone on.
    const tsc = 2 * HvmSaveDescriptor.size + HvmSaveHeader.size + HvmHwCpu.off.tsc;
    first.data.fill(0, tsc, tsc + 8);
    second.data.fill(0, tsc, tsc + 8);
    expect(Buffer.from(second.data).equals(Buffer.from(first.data))).toBe(true);
  });
  test('of memory types and the local APIC are looked at', () => {
    const mtrr = (fields: Fields) =>
      context([
        HEADER,
        [HVM_SAVE.MTRR, HvmHwMtrr, { msr_pat_cr: 0x0007_0406_0007_0406n, msr_mtrr_cap: 0x508, ...fields }],
        END,
      ]).rc;
    expect(mtrr({ msr_mtrr_def_type: 0x806 })).toBe(0);
    expect(mtrr({ msr_mtrr_def_type: 0x802 })).toBe(-ERRNO.EINVAL);
    expect(mtrr({ msr_mtrr_cap: 0x507 })).toBe(-ERRNO.EINVAL);
    expect(mtrr({ msr_pat_cr: 0x2n })).toBe(-ERRNO.EINVAL);
    const { buffer } = partial(HVM_SAVE.MTRR, HvmHwMtrr.size);
    expect(m.view.getBigUint64(buffer + HvmHwMtrr.off.msr_mtrr_def_type, true)).toBe(0x806n);
    const lapic = (base: number) => context([HEADER, [HVM_SAVE.LAPIC, HvmHwLapic, { apic_base_msr: base }], END]).rc;
    expect(lapic(LAPIC + 0xd00)).toBe(0);
    expect(lapic(LAPIC + 0x500)).toBe(-ERRNO.EINVAL);
    expect(lapic(LAPIC + 1)).toBe(-ERRNO.EINVAL);
    expect(partial(HVM_SAVE.LAPIC_REGS, HvmHwLapicRegs.size).rc).toBe(0);
    expect(partial(3, 64).rc).toBe(-ERRNO.EINVAL);
    const xsave = (fields: Fields) => context([HEADER, [HVM_SAVE.CPU_XSAVE, HvmHwCpuXsave, fields], END]).rc;
    expect(xsave({ xcr0: 3, xcr0_accum: 3 })).toBe(0);
    expect(xsave({ xcr0: 2 })).toBe(-ERRNO.EINVAL);
    expect(xsave({ xcr0: 7 })).toBe(-ERRNO.EINVAL);
    expect(xsave({ xcr0: 3, xstate_bv: 4 })).toBe(-ERRNO.EINVAL);
  });
});

describe('the local APIC', () => {
  const MSR_APIC_BASE = 0x1b;
  const x2 = (reg: number) => 0x800 + (reg >> 4);
  function* enable(): Steps<void> {
    expect(yield* wrmsr(MSR_APIC_BASE, BigInt(LAPIC) | 0xd00n)).toBe(true);
    expect(yield* wrmsr(x2(0xf0), 0x1ffn)).toBe(true);
  }

  test('changes its mode as Intel says', () => {
    run(function* () {
      expect(yield* rdmsr(MSR_APIC_BASE)).toBe(BigInt(LAPIC) | 0x900n);
      expect(yield* rdmsr(x2(0x20))).toBe('gp');
      expect(yield* wrmsr(MSR_APIC_BASE, BigInt(LAPIC) | 0x500n)).toBe(false);
      expect(yield* wrmsr(MSR_APIC_BASE, BigInt(LAPIC) | 0x901n)).toBe(false);
      yield* enable();
      expect(yield* rdmsr(x2(0x20))).toBe(0n);
      expect(yield* rdmsr(x2(0x30))).toBe(0x50014n);
      expect(yield* rdmsr(x2(0xd0))).toBe(1n);
      expect(yield* rdmsr(x2(0xe0))).toBe('gp');
      expect(yield* wrmsr(MSR_APIC_BASE, BigInt(LAPIC) | 0x900n)).toBe(false);
      expect(yield* wrmsr(MSR_APIC_BASE, BigInt(LAPIC) | 0x100n)).toBe(true);
      expect(yield* wrmsr(MSR_APIC_BASE, BigInt(LAPIC) | 0xd00n)).toBe(false);
    });
  });
  test('x2APIC registers refuse bits that are none', () => {
    run(function* () {
      yield* enable();
      for (const [reg, bad] of [
        [0x80, 0x100n],
        [0xb0, 1n],
        [0xf0, 0x400n],
        [0x280, 1n],
        [0x300, 0x1000n],
        [0x320, 0x40000n],
        [0x3e0, 4n],
        [0x380, 1n << 32n],
        [0x3f0, 0x100n],
        [0x20, 0n],
        [0x390, 0n],
      ] as const)
        expect([reg, yield* wrmsr(x2(reg), bad)]).toEqual([reg, false]);
    });
  });
  test('looks again when the guest has lowered its task priority by CR8', () => {
    run(function* () {
      const wanted = () => m.view.getUint32(m.runningCpu + CpuState.off.irq_wanted, true);
      yield* enable();
      setField('rflags', IF | 2n);
      setField('cr8', 5n);
      expect(yield* wrmsr(x2(0x3f0), 0x41n)).toBe(true);
      expect([wanted(), injected()]).toEqual([1, []]);
      setField('cr8', 3n);
      yield* leave({ exit: EXIT.PREEMPT });
      expect([wanted(), injected()]).toEqual([0, [[0x41, EVENT.INTERRUPT, 0, 0]]]);
      // What waits for the end of another waits for an exit.
      expect(yield* wrmsr(x2(0x3f0), 0x42n)).toBe(true);
      expect([wanted(), injected()]).toEqual([0, []]);
    });
  });
  test('delivers by priority when the guest takes interrupts', () => {
    run(function* () {
      yield* enable();
      expect(yield* wrmsr(x2(0x3f0), 0x41n)).toBe(true);
      expect(yield* wrmsr(x2(0x3f0), 0x62n)).toBe(true);
      // Not yet: the flag is clear, and the engine is asked to say when it is set.
      expect(m.view.getUint32(m.runningCpu + CpuState.off.irq_wanted, true)).toBe(1);
      setField('rflags', IF | 2n);
      yield* leave({ exit: EXIT.HLT });
      expect(injected()).toEqual([[0x62, EVENT.INTERRUPT, 0, 0]]);
      // In service: the lower waits until it has ended.
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      expect(injected()).toEqual([]);
      expect(yield* rdmsr(x2(0xa0))).toBe(0x60n);
      yield* leave({
        exit: EXIT.MSR,
        error: 1,
        length: 2,
        regs: { [GPR.RCX]: BigInt(x2(0xb0)), [GPR.RAX]: 0n, [GPR.RDX]: 0n },
      });
      expect(injected()).toEqual([[0x41, EVENT.INTERRUPT, 0, 0]]);
      yield* wrmsr(x2(0xb0), 0n);
      yield* wrmsr(x2(0x80), 0x50n);
      yield* wrmsr(x2(0x3f0), 0x42n);
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      expect(injected()).toEqual([]);
      // cr8 is the upper half of the task priority.
      expect(field('cr8')).toBe(5n);
      setField('cr8', 0n);
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      expect(injected()).toEqual([[0x42, EVENT.INTERRUPT, 0, 0]]);
    });
  });
  test('the timer fires once, or again and again', () => {
    run(function* () {
      yield* enable();
      setField('rflags', IF | 2n);
      yield* wrmsr(x2(0x3e0), 0xbn);
      yield* wrmsr(x2(0x320), 0x71n);
      yield* wrmsr(x2(0x380), 100_000n);
      expect(yield* rdmsr(x2(0x390))).toBeGreaterThan(0n);
      yield* leave({ exit: EXIT.HLT });
      expect(injected()).toEqual([[0x71, EVENT.INTERRUPT, 0, 0]]);
      expect(yield* rdmsr(x2(0x390))).toBe(0n);
      yield* wrmsr(x2(0xb0), 0n);
      yield* wrmsr(x2(0x320), 0x2_0072n);
      yield* wrmsr(x2(0x380), 100_000n);
      for (let i = 0; i < 3; i++) {
        yield* leave({ exit: EXIT.HLT });
        expect(injected()).toEqual([[0x72, EVENT.INTERRUPT, 0, 0]]);
        yield* wrmsr(x2(0xb0), 0n);
      }
      yield* wrmsr(x2(0x380), 0n);
    });
  });

  test('a vCPU that is paused has no ticks', () => {
    const mmio = [0x89, 0x0b];
    const write = function* (reg: number, x: number): Steps<bigint> {
      m.bytes.set(mmio, g.mfn(CODE_GFN) * PAGE);
      setField('exit_gpa', BigInt(LAPIC + reg));
      return yield* leave({ exit: EXIT.NPF, error: NPF_WRITE, rip: gpa(CODE_GFN), regs: { [GPR.RCX]: BigInt(x) } });
    };
    const ticks = () => injected().filter(([vector]) => vector === 0x40).length;
    run(function* () {
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      yield* write(0xf0, 0x1ff);
      yield* write(0x320, 0x20040);
      yield* write(0x380, 100_000); // 2 ms
    });
    expect(m.domctlPause(g.domid)).toBe(0);
    // The pCPU sleeps until the first, and then for good.
    expect(() => m.guest(function* () {} as () => GuestScript)).toThrow(/did not end/);
    expect(ticks()).toBe(0);
    m.unpause(g.domid);
    m.guest(function* () {
      for (let i = 0; i < 3; i++) {
        setField('rflags', IF | 2n);
        yield* leave({ exit: EXIT.HLT });
        yield* write(0xb0, 0);
      }
    } as () => GuestScript);
    expect(ticks()).toBeGreaterThan(1);
  });
});

describe('accesses where no memory is', () => {
  function* access(code: number[], at: number, error: number, regs: Record<number, bigint> = {}): Steps<number> {
    m.bytes.set(code, g.mfn(CODE_GFN) * PAGE);
    setField('exit_gpa', BigInt(at));
    return Number(yield* leave({ exit: EXIT.NPF, error, rip: gpa(CODE_GFN), regs })) - CODE_GFN * PAGE;
  }
  test('reach the local APIC’s page', () => {
    run(function* () {
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      // mov eax,[rbx]; mov r9d,[r12+disp8]; mov eax,[disp32]; mov rax,moffs
      expect(yield* access([0x8b, 0x03], LAPIC + 0x30, 0)).toBe(2);
      expect(m.guestRegister(GPR.RAX)).toBe(0x50014n);
      expect(yield* access([0x45, 0x8b, 0x4c, 0x24, 0x10], LAPIC + 0x30, 0)).toBe(5);
      expect(m.guestRegister(9)).toBe(0x50014n);
      expect(yield* access([0x8b, 0x04, 0x25, 0x30, 0x70, 0x5f, 0xff], LAPIC + 0x30, 0)).toBe(7);
      // movzx ecx, byte [rbx+disp32]
      expect(yield* access([0x0f, 0xb6, 0x8b, 0, 1, 0, 0], LAPIC + 0x32, 0)).toBe(7);
      expect(m.guestRegister(GPR.RCX)).toBe(5n);
      // mov [rbx],ecx; mov dword [rbx],imm32; xchg [rbx],eax
      expect(yield* access([0x89, 0x0b], LAPIC + 0xf0, NPF_WRITE, { [GPR.RCX]: 0x1ffn })).toBe(2);
      expect(yield* access([0xc7, 0x03, 0xff, 1, 0, 0], LAPIC + 0xf0, NPF_WRITE)).toBe(6);
      expect(yield* access([0x87, 0x03], LAPIC + 0x80, NPF_WRITE, { [GPR.RAX]: 0x20n })).toBe(2);
      expect(m.guestRegister(GPR.RAX)).toBe(0n);
      expect(yield* access([0x8b, 0x03], LAPIC + 0x80, 0)).toBe(2);
      expect(m.guestRegister(GPR.RAX)).toBe(0x20n);
    });
  });
  test('find ones elsewhere, and write nothing', () => {
    run(function* () {
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      expect(yield* access([0x48, 0x8b, 0x03], 0xe000_0000, 0)).toBe(3);
      expect(m.guestRegister(GPR.RAX)).toBe(0xffff_ffff_ffff_ffffn);
      expect(yield* access([0x66, 0x8b, 0x03], 0xe000_0000, 0, { [GPR.RAX]: 0n })).toBe(3);
      expect(m.guestRegister(GPR.RAX)).toBe(0xffffn);
      expect(yield* access([0x88, 0x03], 0xe000_0000, NPF_WRITE)).toBe(2);
    });
    expect(new DomainState(m, g.domid).shutdown).toBe(false);
  });
  test('in 32-bit code addresses end at 4 GiB', () => {
    const list = m.list([0xfffff]);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, list, 1, 0)).toBe(1);
    m.bytes.set([0x8b, 0x03], g.mfn(0xfffff) * PAGE + 0xffe);
    run(function* () {
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      m.view.setUint32(m.runningCpu + CpuState.off.mode, 1, true);
      setField('exit_gpa', 0xe000_0000n);
      expect(yield* leave({ exit: EXIT.NPF, error: 0, rip: 0xffff_fffen })).toBe(0n);
    });
  });
  test.each([
    ['another instruction', [0x0f, 0x6f, 0x03], 0],
    ['a fetch', [0x8b, 0x03], NPF_EXEC],
  ])('%s ends the domain', (_name, code, error) => {
    expect(() =>
      run(function* () {
        yield* leave({ exit: EXIT.CPUID, length: 2 });
        yield* access(code, 0xe000_0000, error);
      }),
    ).toThrow(/did not end/);
    const state = new DomainState(m, g.domid);
    expect([state.shutdown, state.reason]).toEqual([true, 3]);
    expect(m.log.join('')).toMatch(/not emulated: gpa=0xe0000000/);
  });
  test('a triple fault reboots it', () => {
    expect(() => run(() => leave({ exit: EXIT.TRIPLE_FAULT }))).toThrow(/did not end/);
    const state = new DomainState(m, g.domid);
    expect([state.shutdown, state.reason]).toEqual([true, 1]);
  });
  test('a halt that nothing can end is the domain’s end', () => {
    expect(() => run(() => leave({ exit: EXIT.HLT }))).toThrow(/did not end/);
    const state = new DomainState(m, g.domid);
    expect([state.shutdown, state.reason]).toEqual([true, 0]);
  });
});

describe('other ways out of guest code', () => {
  test('ports read as ones', () => {
    run(function* () {
      for (const [bytes, expected] of [
        [1, 0x1234_56ffn],
        [2, 0x1234_ffffn],
        [4, 0xffff_ffffn],
      ] as const) {
        const rip = yield* leave({
          exit: EXIT.IO,
          vector: 0xcfc,
          error: bytes | IO_IN,
          length: 1,
          rip: 0x1000n,
          regs: { [GPR.RAX]: 0x1234_5678n },
        });
        expect([rip, m.guestRegister(GPR.RAX)]).toEqual([0x1001n, expected]);
      }
      for (const c of 'port\n')
        yield* leave({
          exit: EXIT.IO,
          vector: 0xe9,
          error: 1,
          length: 1,
          regs: { [GPR.RAX]: BigInt(c.charCodeAt(0)) },
        });
    });
    expect(m.log.join('')).toContain(`(d${g.domid}) port\n`);
  });
  test('CPUID', () => {
    const cpuid = function* (leaf: number, sub = 0): Steps<number[]> {
      yield* leave({ exit: EXIT.CPUID, length: 2, regs: { [GPR.RAX]: BigInt(leaf), [GPR.RCX]: BigInt(sub) } });
      return [GPR.RAX, GPR.RBX, GPR.RCX, GPR.RDX].map((r) => Number(m.guestRegister(r)));
    };
    run(function* () {
      expect((yield* cpuid(0x4000_0000))[0]).toBe(0x4000_0004);
      expect(yield* cpuid(0x4000_0004)).toEqual([0x1c, 0, g.domid, 0]);
      expect((yield* cpuid(1))[2] & (1 << 27)).toBe(0);
      setField('cr4', 1n << 18n);
      expect((yield* cpuid(1))[2] & (1 << 27)).toBe(1 << 27);
      expect((yield* cpuid(7))[1] & 0x401).toBe(0x401);
      expect((yield* cpuid(0x8000_0001))[3] & (1 << 26)).toBe(1 << 26);
      expect((yield* cpuid(0x8000_0000))[0]).toBe(0x8000_0021);
      // Automatic IBRS, which a PV guest could not switch on.
      expect((yield* cpuid(0x8000_0021))[0]).toBe(1 << 8);
    });
  });
  test('MSRs', () => {
    run(function* () {
      expect(yield* rdmsr(0xfe)).toBe(0x508n);
      expect(yield* wrmsr(0xfe, 0x508n)).toBe(false);
      expect(yield* rdmsr(0x277)).toBe(0x0007_0406_0007_0406n);
      expect(yield* wrmsr(0x277, 0x0007_0106_0007_0106n)).toBe(true);
      expect(yield* rdmsr(0x277)).toBe(0x0007_0106_0007_0106n);
      expect(yield* wrmsr(0x277, 2n)).toBe(false);
      expect(yield* wrmsr(0x26f, 0x0606_0606_0606_0606n)).toBe(true);
      expect(yield* rdmsr(0x26f)).toBe(0x0606_0606_0606_0606n);
      expect(yield* wrmsr(0x20f, 0xff_fff0_0800n)).toBe(true);
      expect(yield* wrmsr(0x210, 0n)).toBe(false);
      expect(yield* rdmsr(0x251)).toBe('gp');
      expect(yield* wrmsr(0x176, 0x8000_0000_0000n)).toBe(false);
      expect(yield* rdmsr(0x4000_0001)).toBe('gp');
      expect(yield* rdmsr(0xdead)).toBe('gp');
      expect(yield* wrmsr(0xdead, 0n)).toBe(false);
      expect(yield* rdmsr(0x400)).toBe(0xffff_ffff_ffff_ffffn);
      expect(yield* wrmsr(0x401, 1n)).toBe(false);
      // The hypercall page.
      expect(yield* wrmsr(0x4000_0000, gpa(30))).toBe(true);
      const at = g.mfn(30) * PAGE + 12 * 32;
      expect([...m.bytes.subarray(at, at + 9)]).toEqual([0xb8, 12, 0, 0, 0, 0x0f, 0x01, 0xd9, 0xc3]);
      expect(yield* wrmsr(0x4000_0000, gpa(30) + 1n)).toBe(false);
      expect(yield* wrmsr(0x4000_0000, 0xf000_0000n)).toBe(false);
    });
  });
  test('hypercalls are the kernel’s, and 64-bit', () => {
    run(function* () {
      expect(yield* g.call(HYPERCALL.xen_version, 0)).toBe(0x40011);
      m.view.setUint32(m.runningCpu + CpuState.off.cpl, 3, true);
      expect(yield* g.call(HYPERCALL.xen_version, 0)).toBe(-ERRNO.EPERM);
      m.view.setUint32(m.runningCpu + CpuState.off.cpl, 0, true);
      expect(yield* g.call(4096, 0)).toBe(-ERRNO.ENOSYS);
      m.view.setUint32(m.runningCpu + CpuState.off.mode, 1, true);
      expect((yield* g.call(HYPERCALL.xen_version, 0)) | 0).toBe(-ERRNO.ENOSYS);
      m.view.setUint32(m.runningCpu + CpuState.off.mode, 0, true);
    });
  });
  test('exceptions and int n go back to the guest', () => {
    run(function* () {
      yield* leave({ exit: EXIT.EXCEPTION, vector: VEC.GP, error: 0x18 });
      yield* leave({ exit: EXIT.EXCEPTION, vector: VEC.UD });
      yield* leave({ exit: EXIT.EXCEPTION, vector: VEC.DB });
      yield* leave({ exit: EXIT.PRIVILEGED });
      // The engine moves rip when it delivers the event.
      const rip = yield* leave({ exit: EXIT.SOFTINT, vector: 0x80, length: 2, rip: 0x2000n });
      expect(rip).toBe(0x2000n);
    });
    expect(injected()).toEqual([
      [VEC.GP, EVENT.EXCEPTION, 1, 0x18],
      [VEC.UD, EVENT.EXCEPTION, 0, 0],
      [VEC.DB, EVENT.EXCEPTION, 0, 0],
      GP,
      [0x80, EVENT.SOFTWARE, 0, 0],
    ]);
  });
});

describe('single steps', () => {
  test('go on behind instructions that the hypervisor does', () => {
    run(function* () {
      setField('rflags', 0x302n);
      const rip = gpa(CODE_GFN);
      yield* leave({ exit: EXIT.CPUID, length: 2, rip });
      expect(field('rip')).toBe(rip + 2n);
      yield* leave({ exit: EXIT.MSR, error: 0, length: 2, rip, regs: { [GPR.RCX]: 0xfen } });
      yield* leave({ exit: EXIT.MSR, error: 0, length: 2, rip, regs: { [GPR.RCX]: 0xdeadn } });
    });
    expect(injected()).toEqual([[VEC.DB, EVENT.EXCEPTION, 0, 0], [VEC.DB, EVENT.EXCEPTION, 0, 0], GP]);
  });
});

describe('events', () => {
  const shared = () => g.field('shared_info');
  const pending = (on: boolean) => {
    m.bytes[shared() + SharedInfo.off.vcpu_info + VcpuInfo.off.evtchn_upcall_pending] = on ? 1 : 0;
  };
  test('come by the callback vector, whatever the upcall mask says', () => {
    run(function* () {
      const via = { domid: SELF, index: HVM_PARAM.CALLBACK_IRQ, value: (2n << 56n) | 0xf3n };
      yield* g.with(HYPERCALL.hvm_op, HVMOP.set_param, HvmParam, via);
      m.bytes[shared() + SharedInfo.off.vcpu_info + VcpuInfo.off.evtchn_upcall_mask] = 1;
      pending(true);
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      expect(injected()).toEqual([]);
      expect(m.view.getUint32(m.runningCpu + CpuState.off.irq_wanted, true)).toBe(1);
      setField('rflags', IF | 2n);
      yield* leave({ exit: EXIT.PREEMPT });
      expect(injected()).toEqual([[0xf3, EVENT.INTERRUPT, 0, 0]]);
      pending(false);
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      expect(injected()).toEqual([]);
      // A pending event ends a halt, and a block.
      pending(true);
      yield* leave({ exit: EXIT.HLT });
      expect(injected()).toEqual([[0xf3, EVENT.INTERRUPT, 0, 0]]);
      expect(yield* g.call(HYPERCALL.sched_op, SCHEDOP.block)).toBe(0);
      pending(false);
    });
  });
  test('come by a vector of the vCPU’s own', () => {
    run(function* () {
      yield* leave({ exit: EXIT.CPUID, length: 2 });
      setField('rflags', IF | 2n);
      yield* wrmsr(0x1b, BigInt(LAPIC) | 0xd00n);
      yield* wrmsr(0x80f, 0x1ffn);
      expect(yield* upcall(1, 0x50)).toBe(-ERRNO.ENOENT);
      expect(yield* upcall(0, 8)).toBe(-ERRNO.EINVAL);
      expect(yield* upcall(0, 0x50)).toBe(0);
    });
    expect(injected()).toEqual([[0x50, EVENT.INTERRUPT, 0, 0]]);
  });
});

/** The structure has a field of one byte, which putStruct has not. */
function* upcall(vcpu: number, vector: number): Steps<number> {
  m.view.setUint32(g.argHost, vcpu, true);
  m.bytes[g.argHost + HvmEvtchnUpcallVector.off.vector] = vector;
  return yield* g.call(HYPERCALL.hvm_op, HVMOP.set_evtchn_upcall_vector, gpa(ARG_GFN));
}
