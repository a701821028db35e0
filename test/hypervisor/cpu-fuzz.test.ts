/**
 * A hostile guest: random hypercalls, arguments, exits and registers, a fixed sequence for each seed. It may end itself in
 * any way; the machine goes on, and every frame comes back.
 */
import { expect, test } from 'vitest';
import { TrapInfo } from '../../src/abi/arch-x86.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { CpuState, EXIT } from '../../src/engine/state.ts';
import { CpuGuest } from './cpu-guest.ts';
import { ARG_PAGE, CODE_PAGE, STACK_PAGE, va } from './guest-script.ts';
import type { GuestScript } from './mm-machine.ts';

const OPS = [
  HYPERCALL.set_trap_table,
  HYPERCALL.stack_switch,
  HYPERCALL.set_callbacks,
  HYPERCALL.fpu_taskswitch,
  HYPERCALL.set_debugreg,
  HYPERCALL.get_debugreg,
  HYPERCALL.multicall,
  HYPERCALL.set_timer_op,
  HYPERCALL.xen_version,
  HYPERCALL.console_io,
  HYPERCALL.vm_assist,
  HYPERCALL.iret,
  HYPERCALL.vcpu_op,
  HYPERCALL.set_segment_base,
  HYPERCALL.nmi_op,
  HYPERCALL.callback_op,
  HYPERCALL.event_channel_op,
  HYPERCALL.event_channel_op,
  HYPERCALL.event_channel_op,
  HYPERCALL.physdev_op,
  HYPERCALL.sysctl,
  HYPERCALL.domctl,
  HYPERCALL.hvm_op,
  HYPERCALL.platform_op,
  HYPERCALL.xenpmu_op,
];
const STEPS = 300;
/** Steps that all guests together made. */
let steps = 0;

/** xorshift32: the same sequence everywhere. */
function random(seed: number): (n: number) => number {
  let s = seed * 2654435761 || 1;
  return (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
}

function script(t: CpuGuest, rnd: (n: number) => number): GuestScript {
  /** Numbers that code gets wrong. */
  const number = (): bigint =>
    [
      () => BigInt(rnd(8)),
      () => BigInt(rnd(200)),
      () => va(ARG_PAGE, rnd(4096)),
      () => va(ARG_PAGE, 4096 - rnd(16)),
      () => va(STACK_PAGE, rnd(4096)),
      () => va(rnd(70)),
      () => BigInt(t.g.mfns[rnd(64)]),
      () => BigInt(t.m.sharedInfoFrame(t.g.domid)),
      () => 0x7ff0n + BigInt(rnd(5)),
      () => (1n << BigInt(rnd(64))) - BigInt(rnd(3)),
      () => 0xffff_8000_0000_0000n + BigInt(rnd(65536)),
      () => 0xffff_ffff_ffff_ffffn - BigInt(rnd(64)),
    ][rnd(12)]() & 0xffff_ffff_ffff_ffffn;
  const fill = (page: number) => {
    const at = t.g.mfns[page] * 4096;
    for (let i = 0; i < 32; i++) {
      if (rnd(3) === 0) t.m.view.setBigUint64(at + i * 8, number(), true);
      else t.m.view.setUint32(at + i * 8, rnd(20), true);
    }
  };
  return (function* () {
    // Handlers for all vectors, so that the first fault is not the end.
    for (let v = 0; v < 256; v++) {
      const at = t.g.mfns[CODE_PAGE] * 4096 + v * TrapInfo.size;
      t.m.bytes.set([v, 3], at);
      t.m.view.setBigUint64(at + TrapInfo.off.address, v === 255 ? 0n : va(CODE_PAGE, 2048), true);
    }
    yield { op: HYPERCALL.set_trap_table, args: [va(CODE_PAGE)] };
    yield { op: HYPERCALL.set_callbacks, args: [va(CODE_PAGE), va(CODE_PAGE), va(CODE_PAGE)] };
    for (let i = 0; i < STEPS; i++) {
      steps++;
      if (rnd(8)) t.setReg(4, va(STACK_PAGE, 0xff0));
      if (rnd(2)) fill(ARG_PAGE);
      if (rnd(4) === 0) t.m.bytes[t.shared + rnd(2)] = rnd(2);
      // The ways to end oneself are rare.
      if (rnd(60) === 0) {
        yield { op: rnd(2) ? HYPERCALL.sched_op : HYPERCALL.sched_op_compat, args: [number(), number()] };
        continue;
      }
      if (rnd(8) !== 0) {
        yield { op: OPS[rnd(OPS.length)], args: [number(), number(), number(), number(), number()] };
        continue;
      }
      for (let k = 0; k < 6; k++) t.m.bytes[t.g.mfns[CODE_PAGE] * 4096 + k] = rnd(256);
      if (rnd(2))
        t.m.bytes.set(
          [[0x0f, 0x66, 0xf3, 0x6c, 0xe4][rnd(5)], [0x20, 0x22, 0x30, 0x32, 0x6e][rnd(5)]],
          t.g.mfns[CODE_PAGE] * 4096,
        );
      if (rnd(4) !== 0) t.setReg(4, va(STACK_PAGE, 0xff0));
      t.setReg(rnd(16), number());
      if (rnd(4) !== 0) t.setReg(4, va(STACK_PAGE, 0xff0));
      t.m.view.setUint16(t.cpu + CpuState.off.sel + rnd(8) * 2, rnd(65536), true);
      yield {
        exit: [
          EXIT.EXCEPTION,
          EXIT.SOFTINT,
          EXIT.SYSCALL,
          EXIT.SYSENTER,
          EXIT.CPUID,
          EXIT.PRIVILEGED,
          EXIT.PREEMPT,
          EXIT.VMCALL,
          55,
        ][rnd(9)],
        vector: rnd(256),
        error: rnd(65536),
        length: rnd(16),
        rip: rnd(2) ? va(CODE_PAGE) : number(),
      };
    }
  })() as GuestScript;
}

test('nothing that a guest does harms anyone else', { timeout: 60_000 }, () => {
  steps = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const t = new CpuGuest();
    const neighbours = t.m.freeFrames();
    try {
      t.m.guest(() => script(t, random(seed)));
    } catch (e) {
      // It shut itself down, crashed, or sleeps for good: anything but the hypervisor's own failure.
      expect((e as Error).message, `seed ${seed}`).toMatch(/^the guest's script did not end/);
    }
    t.m.destroyDomain(t.g.domid);
    // The domain had 64 pages, and its tables and structures.
    expect(t.m.freeFrames(), `seed ${seed}`).toBeGreaterThanOrEqual(neighbours + 64);
    expect(t.m.hypercall(HYPERCALL.xen_version, 0)).toBe(0x40011);
  }
  // They live long enough to try something.
  expect(steps).toBeGreaterThan(100 * 20);
});
