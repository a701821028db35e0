/** sched_op, vcpu_op, timers and what a guest reads the time from (public/sched.h, vcpu.h). */
import { beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import { EVTCHNOP, EvtchnBindIpi, EvtchnBindVirq } from '../../src/abi/event_channel.ts';
import { SCHEDOP, SchedPoll, SHUTDOWN } from '../../src/abi/sched.ts';
import { VCPUOP, VcpuRegisterVcpuInfo, VcpuRunstateInfo, VcpuSetSingleshotTimer } from '../../src/abi/vcpu.ts';
import { HYPERCALL, SharedInfo, VcpuInfo, VcpuTimeInfo, VIRQ } from '../../src/abi/xen.ts';
import { CpuState, EXIT, GPR } from '../../src/engine/state.ts';
import { CpuGuest } from './cpu-guest.ts';
import { DomainState } from './domain-state.ts';
import { ARG_PAGE, STACK_PAGE, va } from './guest-script.ts';

let t: CpuGuest;
beforeEach(() => {
  t = new CpuGuest();
});

const now = () => process.hrtime.bigint();
const MS = 1_000_000n;
const set32 = (offset: number, v: number) => t.m.view.setUint32(t.c.argHost + offset, v, true);
const set64 = (offset: number, v: number | bigint) => t.m.view.setBigUint64(t.c.argHost + offset, BigInt(v), true);
const sched = (cmd: number) => t.c.call(HYPERCALL.sched_op, cmd, va(ARG_PAGE));
const vcpu = (cmd: number, id = 0) => t.c.call(HYPERCALL.vcpu_op, cmd, id, va(ARG_PAGE));

function* bindIpi() {
  set32(EvtchnBindIpi.off.vcpu, 0);
  yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.bind_ipi, va(ARG_PAGE));
  return t.m.view.getUint32(t.c.argHost + EvtchnBindIpi.off.port, true);
}
function* bindTimer() {
  set32(EvtchnBindVirq.off.virq, VIRQ.TIMER);
  set32(EvtchnBindVirq.off.vcpu, 0);
  yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.bind_virq, va(ARG_PAGE));
  return t.m.view.getUint32(t.c.argHost + EvtchnBindVirq.off.port, true);
}
/** Lets the hypervisor look at its timers until `until` says yes, 2 s at most. */
function* wait(until: () => boolean) {
  const end = now() + 2000n * MS;
  while (!until() && now() < end) yield* t.leave({ exit: EXIT.PREEMPT });
}

describe('poll', () => {
  function* poll(ports: number[], timeout: bigint) {
    ports.forEach((p, i) => {
      set32(64 + i * 4, p);
    });
    set64(SchedPoll.off.ports, va(ARG_PAGE, 64));
    set32(SchedPoll.off.nr_ports, ports.length);
    set64(SchedPoll.off.timeout, timeout);
    return yield* sched(SCHEDOP.poll);
  }

  test('returns at once if a port is pending, and at the time-out if not', () => {
    t.results(function* () {
      const port = yield* bindIpi();
      const start = now();
      expect(yield* poll([port], start + 20n * MS)).toBe(0);
      expect(now() - start).toBeGreaterThanOrEqual(20n * MS);
      set32(0, port);
      yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.send, va(ARG_PAGE));
      const again = now();
      expect(yield* poll([port], again + 2000n * MS)).toBe(0);
      expect(now() - again).toBeLessThan(1000n * MS);
    });
  });

  test('bad arguments', () => {
    const r = t.results(function* (r) {
      r.push(yield* poll([5000], now() + MS));
      set32(SchedPoll.off.nr_ports, 200);
      r.push(yield* sched(SCHEDOP.poll));
      set32(SchedPoll.off.nr_ports, 1);
      set64(SchedPoll.off.ports, 0x7fff_0000);
      r.push(yield* sched(SCHEDOP.poll));
      r.push(yield* t.c.call(HYPERCALL.sched_op, SCHEDOP.poll, 0xffff_8000_0000_0000n));
    });
    expect(r).toEqual([-ERRNO.EINVAL, -ERRNO.EINVAL, -ERRNO.EFAULT, -ERRNO.EFAULT]);
  });
});

describe('timers', () => {
  test('a single shot fires once, not before its time; block waits for it', () => {
    t.results(function* () {
      const port = yield* bindTimer();
      const shared = t.shared;
      yield* vcpu(VCPUOP.stop_periodic_timer);
      t.m.view.setBigUint64(shared + SharedInfo.off.evtchn_pending, 0n, true);
      t.m.bytes[shared] = 0;
      const due = now() + 15n * MS;
      set64(VcpuSetSingleshotTimer.off.timeout_abs_ns, due);
      set32(VcpuSetSingleshotTimer.off.flags, 0);
      expect(yield* vcpu(VCPUOP.set_singleshot_timer)).toBe(0);
      expect(yield* t.c.call(HYPERCALL.set_callbacks, 0x7900, 0x7a00, 0x7b00)).toBe(0);
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      expect(yield* sched(SCHEDOP.block)).toBe(0);
      expect(now()).toBeGreaterThanOrEqual(due);
      expect(t.isPending(shared, port)).toBe(true);
    });
  });

  test('the periodic tick runs at 100 Hz until it is stopped; periods below 1 ms are refused', () => {
    t.results(function* () {
      const port = yield* bindTimer();
      const shared = t.shared;
      yield* wait(() => t.isPending(shared, port));
      expect(t.isPending(shared, port)).toBe(true);
      set64(0, 100_000);
      expect(yield* vcpu(VCPUOP.set_periodic_timer)).toBe(-ERRNO.EINVAL);
      expect(yield* vcpu(VCPUOP.stop_periodic_timer)).toBe(0);
      t.m.view.setBigUint64(shared + SharedInfo.off.evtchn_pending, 0n, true);
      const end = now() + 30n * MS;
      yield* wait(() => now() > end);
      expect(t.isPending(shared, port)).toBe(false);
    });
  });
});

describe('time and state that a guest reads', () => {
  test('TSC parameters give system time; the version is even', () => {
    t.results(function* () {
      yield* t.c.call(HYPERCALL.xen_version, 0);
      const ti = t.shared + VcpuInfo.off.time;
      expect(t.m.view.getUint32(ti + VcpuTimeInfo.off.version, true) & 1).toBe(0);
      const mul = BigInt(t.m.view.getUint32(ti + VcpuTimeInfo.off.tsc_to_system_mul, true));
      const shift = t.m.view.getInt8(ti + VcpuTimeInfo.off.tsc_shift);
      const ticks = 1_000_000_000n;
      const scaled = shift >= 0 ? ticks << BigInt(shift) : ticks >> BigInt(-shift);
      expect((scaled * mul) >> 32n).toBe(1_000_000_000n);
      const at = t.m.view.getBigUint64(ti + VcpuTimeInfo.off.system_time, true);
      expect(now() - at).toBeLessThan(5000n * MS);
    });
  });

  test('the runstate area is written when it is registered, and adds up', () => {
    t.results(function* () {
      set64(0, va(ARG_PAGE, 512));
      expect(yield* vcpu(VCPUOP.register_runstate_memory_area)).toBe(0);
      const at = t.c.argHost + 512;
      expect(t.m.view.getInt32(at + VcpuRunstateInfo.off.state, true)).toBe(0);
      expect(yield* vcpu(VCPUOP.get_runstate_info)).toBe(0);
      const times = [0, 1, 2, 3].map((i) =>
        t.m.view.getBigUint64(t.c.argHost + VcpuRunstateInfo.off.time + i * 8, true),
      );
      expect(times[0]).toBeGreaterThan(0n);
      set64(0, 0xffff_8000_0000_0000n);
      expect(yield* vcpu(VCPUOP.register_runstate_memory_area)).toBe(-ERRNO.EFAULT);
    });
  });

  test('vcpu_info can move into the guest’s memory once, inside one page; all events are pending then', () => {
    const E = ERRNO;
    const r = t.results(function* (r) {
      const register = (mfn: number, offset: number) => {
        set64(VcpuRegisterVcpuInfo.off.mfn, mfn);
        set32(VcpuRegisterVcpuInfo.off.offset, offset);
        return vcpu(VCPUOP.register_vcpu_info);
      };
      r.push(yield* register(t.g.mfns[40], 4090));
      r.push(yield* register(t.g.mfns[40], 3));
      r.push(yield* register(0x102, 0));
      r.push(yield* register(t.g.l1, 0));
      r.push(yield* register(t.g.mfns[40], 128));
      r.push(yield* register(t.g.mfns[41], 128));
      const info = t.g.mfns[40] * 4096 + 128;
      r.push(t.m.bytes[info]);
      expect(t.m.view.getBigUint64(info + VcpuInfo.off.evtchn_pending_sel, true)).toBe(0xffff_ffff_ffff_ffffn);
    });
    expect(r).toEqual([-E.ENXIO, -E.ENXIO, -E.EINVAL, -E.EINVAL, 0, -E.EINVAL, 1]);
    t.m.destroyDomain(t.g.domid);
  });

  test('vCPUs that do not exist, are not initialised, or are the last', () => {
    const E = ERRNO;
    const r = t.results(function* (r) {
      r.push(yield* vcpu(VCPUOP.is_up, 1));
      r.push(yield* vcpu(VCPUOP.is_up, 8191));
      r.push(yield* vcpu(VCPUOP.is_up));
      r.push(yield* vcpu(VCPUOP.initialise));
      r.push(yield* vcpu(VCPUOP.up));
      r.push(yield* vcpu(99));
    });
    expect(r).toEqual([-E.ENOENT, -E.ENOENT, 1, -E.EEXIST, 0, -E.ENOSYS]);
  });
});

describe('shutdown', () => {
  const ends = (script: () => Generator<never, unknown, bigint>) =>
    expect(() =>
      t.m.guest(function* () {
        yield* script();
      } as never),
    ).toThrow(/did not end/);

  test.each(Object.entries(SHUTDOWN).filter(([k]) => k !== 'MAX'))(
    '%s is reported, and the domain stops',
    (_, code) => {
      ends(function* () {
        set32(0, code);
        yield* sched(SCHEDOP.shutdown);
      });
      const d = new DomainState(t.m, t.g.domid);
      expect([d.shutdown, d.reason]).toEqual([true, code]);
      const free = t.m.freeFrames();
      t.m.destroyDomain(t.g.domid);
      expect(t.m.freeFrames()).toBeGreaterThanOrEqual(free + 64);
    },
  );

  test('the last vCPU that goes down powers the domain off', () => {
    ends(function* () {
      yield* vcpu(VCPUOP.down);
    });
    const d = new DomainState(t.m, t.g.domid);
    expect([d.shutdown, d.reason]).toEqual([true, SHUTDOWN.poweroff]);
  });

  test('a guest cannot shut dom0 down, or one that is not there', () => {
    const r = t.results(function* (r) {
      for (const domid of [0, 77]) {
        set32(0, domid);
        set32(4, 0);
        r.push(yield* sched(SCHEDOP.remote_shutdown));
      }
      r.push(yield* sched(99));
    });
    expect(r).toEqual([-ERRNO.EPERM, -ERRNO.ESRCH, -ERRNO.ENOSYS]);
  });

  test('watchdogs: two, with ids; one that is not poked ends the domain', () => {
    const r = t.results(function* (r) {
      const dog = (id: number, timeout: number) => {
        set32(0, id);
        set32(4, timeout);
        return sched(SCHEDOP.watchdog);
      };
      for (const [id, timeout] of [
        [0, 0],
        [0, 100],
        [0, 100],
        [0, 100],
        [3, 1],
        [2, 0],
        [2, 5],
        [1, 0],
      ]) {
        r.push(yield* dog(id, timeout));
      }
    });
    const E = ERRNO;
    expect(r).toEqual([-E.EINVAL, 1, 2, -E.ENOSPC, -E.EINVAL, 0, -E.EINVAL, 0]);
  });
});

test('fuel is set for each stay in guest code, and never more than a million instructions', () => {
  t.results(function* () {
    yield* t.leave({ exit: EXIT.PREEMPT });
    const fuel = t.m.view.getInt32(t.cpu + CpuState.off.fuel, true);
    expect(fuel).toBeGreaterThan(0);
    expect(fuel).toBeLessThanOrEqual(32_000_000);
  });
});
