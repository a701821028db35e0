/** Event channels between dom0 and a PV guest: both ABIs, every operation, hostile arguments (public/event_channel.h). */
import { beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import {
  EVTCHN_FIFO,
  EVTCHNOP,
  EVTCHNSTAT,
  EvtchnAllocUnbound,
  EvtchnBindInterdomain,
  EvtchnBindIpi,
  EvtchnBindVcpu,
  EvtchnBindVirq,
  EvtchnFifoControlBlock,
  EvtchnInitControl,
  EvtchnSetPriority,
  EvtchnStatus,
} from '../../src/abi/event_channel.ts';
import type { Struct } from '../../src/abi/layout.ts';
import { SCHEDOP } from '../../src/abi/sched.ts';
import { DOMID, HYPERCALL, SharedInfo, VIRQ } from '../../src/abi/xen.ts';
import { GPR } from '../../src/engine/state.ts';
import { CpuGuest } from './cpu-guest.ts';
import { ARG_PAGE, STACK_PAGE, va } from './guest-script.ts';

let t: CpuGuest;
beforeEach(() => {
  t = new CpuGuest();
});

type Fields = Record<string, number | bigint>;

function put(at: number, s: Struct, fields: Fields): void {
  t.m.bytes.fill(0, at, at + s.size);
  for (const f of s.fields) {
    const v = fields[f.name];
    if (v === undefined) continue;
    if (f.stride === 8) t.m.view.setBigUint64(at + f.offset, BigInt(v), true);
    else if (f.stride === 4) t.m.view.setUint32(at + f.offset, Number(v), true);
    else t.m.view.setUint16(at + f.offset, Number(v), true);
  }
}
const u32 = (at: number) => t.m.view.getUint32(at, true);

/** An operation of the guest's; the result, and where the argument lies. */
function* guest(cmd: number, s: Struct, fields: Fields) {
  put(t.c.argHost, s, fields);
  return yield* t.c.call(HYPERCALL.event_channel_op, cmd, va(ARG_PAGE));
}
const out = (s: Struct, name: string) => u32(t.c.argHost + s.off[name as never]);
/** The same of dom0's. */
function dom0(cmd: number, s: Struct, fields: Fields): { rc: number; at: number } {
  const at = t.m.arg(s.size);
  put(at, s, fields);
  return { rc: t.m.hypercall(HYPERCALL.event_channel_op, cmd, at), at };
}
const one = (port: number) => ({ port });
const Port = EvtchnStatusPort();
function EvtchnStatusPort(): Struct {
  return {
    name: 'port',
    size: 4,
    align: 4,
    fields: [{ name: 'port', type: 'u32', count: 1, offset: 0, stride: 4 }],
    off: { port: 0 },
  };
}

/** dom0 offers a port to the guest, which binds it: both ports. */
function* connect() {
  const { rc, at } = dom0(EVTCHNOP.alloc_unbound, EvtchnAllocUnbound, { dom: 0, remote_dom: t.g.domid });
  expect(rc).toBe(0);
  const remote = u32(at + EvtchnAllocUnbound.off.port);
  expect(yield* guest(EVTCHNOP.bind_interdomain, EvtchnBindInterdomain, { remote_dom: 0, remote_port: remote })).toBe(
    0,
  );
  return { remote, local: out(EvtchnBindInterdomain, 'local_port') };
}

describe('2-level', () => {
  test('a bound pair: binding and sending make the other end pending', () => {
    t.results(function* () {
      const shared = t.shared;
      const dom0Shared = t.m.sharedInfoFrame(0) * 4096;
      const { remote, local } = yield* connect();
      expect(local).toBe(1);
      expect(t.isPending(shared, local)).toBe(true);
      expect(t.upcallPending(shared)).toBe(1);
      expect(t.isPending(dom0Shared, remote)).toBe(false);
      const wake = u32(Number(t.m.dom0.wake_word()));
      expect(yield* guest(EVTCHNOP.send, Port, one(local))).toBe(0);
      expect(t.isPending(dom0Shared, remote)).toBe(true);
      expect(u32(Number(t.m.dom0.wake_word()))).toBe(wake + 1);
      // pending already: nobody is told again
      expect(yield* guest(EVTCHNOP.send, Port, one(local))).toBe(0);
      expect(u32(Number(t.m.dom0.wake_word()))).toBe(wake + 1);
    });
  });

  test('a thread that can wait is not woken by who signals it before that one has nothing more to do', () => {
    t.results(function* () {
      const shared = t.m.sharedInfoFrame(0) * 4096;
      const words = new Int32Array(t.m.view.buffer as SharedArrayBuffer);
      const wake = Number(t.m.dom0.wake_word()) >>> 2;
      const { remote, local } = yield* connect();
      // Whether a thread that sleeps on the word is still asleep after a signal.
      const signal = function* () {
        t.m.bytes[shared] = 0; // handled: the upcall's byte, the selector, the port
        t.m.view.setBigUint64(shared + 8, 0n, true);
        words[(shared + SharedInfo.off.evtchn_pending) >>> 2] &= ~(1 << remote);
        const before = words[wake];
        void Atomics.waitAsync(words, wake, before);
        expect(yield* guest(EVTCHNOP.send, Port, one(local))).toBe(0);
        expect([t.isPending(shared, remote), words[wake]]).toEqual([true, before + 1]);
      };
      const asleep = () => Atomics.notify(words, wake) === 1;
      yield* signal();
      expect(asleep()).toBe(false);
      words[Number(t.m.dom0.wake_later()) >>> 2] = 1;
      yield* signal();
      expect(asleep()).toBe(true);
      yield* signal();
      expect(yield* t.c.call(HYPERCALL.sched_op, SCHEDOP.yield, 0)).toBe(0);
      expect(asleep()).toBe(false);
    });
  });

  test('a masked port becomes pending without an upcall; unmask makes up for it', () => {
    t.results(function* () {
      const shared = t.shared;
      const { remote, local } = yield* connect();
      t.m.bytes[shared] = 0;
      t.m.view.setBigUint64(shared + 8, 0n, true);
      t.m.view.setBigUint64(shared + 0x800, 0n, true);
      t.m.view.setBigUint64(shared + 0xa00, 1n << BigInt(local), true);
      expect(dom0(EVTCHNOP.send, Port, one(remote)).rc).toBe(0);
      expect([t.isPending(shared, local), t.upcallPending(shared)]).toEqual([true, 0]);
      expect(yield* guest(EVTCHNOP.unmask, Port, one(local))).toBe(0);
      expect(t.upcallPending(shared)).toBe(1);
      expect(t.m.view.getBigUint64(shared + 8, true)).toBe(1n);
    });
  });

  test('closing one end leaves the other unbound, to be bound anew by the same domain only', () => {
    t.results(function* () {
      const { remote, local } = yield* connect();
      expect(yield* guest(EVTCHNOP.close, Port, one(local))).toBe(0);
      expect(yield* guest(EVTCHNOP.close, Port, one(local))).toBe(-ERRNO.EINVAL);
      const s = dom0(EVTCHNOP.status, EvtchnStatus, { dom: DOMID.SELF, port: remote });
      expect(u32(s.at + EvtchnStatus.off.status)).toBe(EVTCHNSTAT.unbound);
      expect(t.m.view.getUint16(s.at + EvtchnStatus.off.u, true)).toBe(t.g.domid);
      const bind = { remote_dom: 0, remote_port: remote };
      expect(dom0(EVTCHNOP.bind_interdomain, EvtchnBindInterdomain, bind).rc).toBe(-ERRNO.EINVAL);
      expect(yield* guest(EVTCHNOP.bind_interdomain, EvtchnBindInterdomain, bind)).toBe(0);
      expect(out(EvtchnBindInterdomain, 'local_port')).toBe(local);
    });
  });

  test('an event enters the guest’s handler with events masked', () => {
    t.results(function* () {
      const shared = t.shared;
      const { remote, local } = yield* connect();
      t.m.bytes[shared] = 0;
      t.m.view.setBigUint64(shared + 8, 0n, true);
      t.m.view.setBigUint64(shared + 0x800, 0n, true);
      expect(yield* t.c.call(HYPERCALL.set_callbacks, 0x7900, 0x7a00, 0x7b00)).toBe(0);
      t.setMask(shared, false);
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      dom0(EVTCHNOP.send, Port, one(remote));
      yield* t.c.call(HYPERCALL.xen_version, 0);
      expect(t.field('rip')).toBe(0x7900n);
      expect(t.mask(shared)).toBe(1);
      expect(t.isPending(shared, local)).toBe(true);
    });
  });
});

describe('VIRQs and IPIs', () => {
  test('per-vCPU VIRQs bind once; global ones on vCPU 0', () => {
    const E = ERRNO;
    const r = t.results(function* (r) {
      const virq = (virq: number, vcpu: number) => guest(EVTCHNOP.bind_virq, EvtchnBindVirq, { virq, vcpu });
      r.push(yield* virq(VIRQ.TIMER, 0));
      r.push(yield* virq(VIRQ.TIMER, 0));
      r.push(yield* virq(VIRQ.TIMER, 1));
      r.push(yield* virq(24, 0));
      r.push(yield* virq(VIRQ.CONSOLE, 1));
      r.push(yield* guest(EVTCHNOP.bind_ipi, EvtchnBindIpi, { vcpu: 0 }));
      const ipi = out(EvtchnBindIpi, 'port');
      r.push(yield* guest(EVTCHNOP.send, Port, one(ipi)));
      r.push(t.isPending(t.shared, ipi) ? 1 : 0);
      // bound to their vCPU for good
      r.push(yield* guest(EVTCHNOP.bind_vcpu, EvtchnBindVcpu, { port: ipi, vcpu: 0 }));
      r.push(yield* guest(EVTCHNOP.bind_ipi, EvtchnBindIpi, { vcpu: 9 }));
    });
    expect(r).toEqual([0, -E.EEXIST, -E.ENOENT, -E.EINVAL, -E.EINVAL, 0, 0, 1, -E.EINVAL, -E.ENOENT]);
  });

  test('a domain’s death is VIRQ_DOM_EXC to dom0', () => {
    const v = dom0(EVTCHNOP.bind_virq, EvtchnBindVirq, { virq: VIRQ.DOM_EXC, vcpu: 0 });
    expect(v.rc).toBe(0);
    const port = u32(v.at + EvtchnBindVirq.off.port);
    t.m.destroyDomain(t.g.domid);
    expect(t.isPending(t.m.sharedInfoFrame(0) * 4096, port)).toBe(true);
  });
});

describe('hostile arguments', () => {
  test('each is an errno', () => {
    const E = ERRNO;
    const r = t.results(function* (r) {
      r.push(yield* guest(EVTCHNOP.alloc_unbound, EvtchnAllocUnbound, { dom: 0, remote_dom: 0 }));
      r.push(yield* guest(EVTCHNOP.alloc_unbound, EvtchnAllocUnbound, { dom: 77, remote_dom: 0 }));
      r.push(yield* guest(EVTCHNOP.bind_interdomain, EvtchnBindInterdomain, { remote_dom: 0, remote_port: 5000 }));
      r.push(yield* guest(EVTCHNOP.bind_interdomain, EvtchnBindInterdomain, { remote_dom: 77, remote_port: 1 }));
      for (const port of [0, 5, 4096, 0xffff_ffff]) r.push(yield* guest(EVTCHNOP.send, Port, one(port)));
      r.push(yield* guest(EVTCHNOP.status, EvtchnStatus, { dom: 0, port: 1 }));
      r.push(yield* guest(EVTCHNOP.reset, EvtchnAllocUnbound, { dom: 0 }));
      r.push(yield* guest(EVTCHNOP.set_priority, EvtchnSetPriority, { port: 5000, priority: 3 }));
      r.push(yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.send, 0x7fff_0000));
      r.push(yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.send, 0xffff_8000_0000_0000n));
      r.push(yield* t.c.call(HYPERCALL.event_channel_op, 99, va(ARG_PAGE)));
    });
    const inval = -E.EINVAL;
    expect(r.slice(0, 4)).toEqual([-E.EPERM, -E.ESRCH, inval, -E.ESRCH]);
    expect(r.slice(4, 8)).toEqual([inval, inval, inval, inval]);
    expect(r.slice(8)).toEqual([-E.EPERM, -E.EPERM, inval, -E.EFAULT, -E.EFAULT, -E.ENOSYS]);
  });

  test('a guest can have as many ports as its limit says', () => {
    t.results(function* () {
      let n = 0;
      for (;;) {
        const rc = yield* guest(EVTCHNOP.bind_ipi, EvtchnBindIpi, { vcpu: 0 });
        if (rc !== 0) {
          expect(rc).toBe(-ERRNO.ENOSPC);
          break;
        }
        n++;
      }
      // max_evtchn_port 1023, and port 0 is never given
      expect(n).toBe(1023);
    });
    const free = t.m.freeFrames();
    t.m.destroyDomain(t.g.domid);
    expect(t.m.freeFrames()).toBeGreaterThan(free + 64);
  });
});

describe('FIFO', () => {
  const CONTROL = 40;
  const ARRAY = 41;
  const PENDING = 2 ** EVTCHN_FIFO.PENDING;
  const LINKED = 2 ** EVTCHN_FIFO.LINKED;
  const word = (port: number) => t.g.mfns[ARRAY] * 4096 + port * 4;
  const control = () => t.g.mfns[CONTROL] * 4096 + 256;
  const head = (priority: number) => u32(control() + EvtchnFifoControlBlock.off.head + priority * 4);
  const ready = () => u32(control());

  function* init() {
    const arg = { control_gfn: t.g.mfns[CONTROL], offset: 256, vcpu: 0 };
    expect(yield* guest(EVTCHNOP.init_control, EvtchnInitControl, arg)).toBe(0);
    expect(t.m.bytes[t.c.argHost + EvtchnInitControl.off.link_bits]).toBe(17);
    t.m.view.setBigUint64(t.c.argHost, BigInt(t.g.mfns[ARRAY]), true);
    return yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.expand_array, va(ARG_PAGE));
  }
  function* ipi() {
    expect(yield* guest(EVTCHNOP.bind_ipi, EvtchnBindIpi, { vcpu: 0 })).toBe(0);
    return out(EvtchnBindIpi, 'port');
  }

  test('events queue in order of their priority; a second one is linked behind the first', () => {
    t.results(function* () {
      expect(yield* init()).toBe(0);
      const [a, b, c] = [yield* ipi(), yield* ipi(), yield* ipi()];
      expect(yield* guest(EVTCHNOP.set_priority, EvtchnSetPriority, { port: c, priority: 0 })).toBe(0);
      for (const p of [a, b, c]) expect(yield* guest(EVTCHNOP.send, Port, one(p))).toBe(0);
      expect([head(7), head(0)]).toEqual([a, c]);
      expect(ready()).toBe((1 << 7) | 1);
      expect(u32(word(a))).toBe(PENDING + LINKED + b);
      expect(u32(word(b))).toBe(PENDING + LINKED);
      expect(t.upcallPending(t.shared)).toBe(1);
    });
  });

  test('a port that was last in one queue and is bound anew for another takes nothing from the first', () => {
    t.results(function* () {
      expect(yield* init()).toBe(0);
      const p = yield* ipi();
      expect(yield* guest(EVTCHNOP.set_priority, EvtchnSetPriority, { port: p, priority: 0 })).toBe(0);
      expect(yield* guest(EVTCHNOP.send, Port, one(p))).toBe(0);
      // The guest handles it, and closes the port.
      t.m.view.setUint32(word(p), 0, true);
      t.m.view.setUint32(control() + EvtchnFifoControlBlock.off.head, 0, true);
      t.m.view.setUint32(control(), 0, true);
      expect(yield* guest(EVTCHNOP.close, Port, one(p))).toBe(0);
      expect(yield* ipi()).toBe(p);
      expect(yield* guest(EVTCHNOP.send, Port, one(p))).toBe(0);
      const q = yield* ipi();
      expect(yield* guest(EVTCHNOP.set_priority, EvtchnSetPriority, { port: q, priority: 0 })).toBe(0);
      expect(yield* guest(EVTCHNOP.send, Port, one(q))).toBe(0);
      expect([head(7), head(0)]).toEqual([p, q]);
      expect(u32(word(p))).toBe(PENDING + LINKED);
    });
  });

  test('what was pending before the array had its page is delivered with it', () => {
    t.results(function* () {
      const a = yield* ipi();
      expect(yield* guest(EVTCHNOP.send, Port, one(a))).toBe(0);
      expect(yield* init()).toBe(0);
      expect(head(7)).toBe(a);
    });
  });

  test('a guest that scribbles over its words only confuses itself', () => {
    t.results(function* () {
      yield* init();
      const [a, b] = [yield* ipi(), yield* ipi()];
      yield* guest(EVTCHNOP.send, Port, one(a));
      t.m.view.setUint32(word(a), 0xffff_ffff, true);
      expect(yield* guest(EVTCHNOP.send, Port, one(b))).toBe(0);
      t.m.bytes.fill(0xff, control(), control() + 72);
      expect(yield* guest(EVTCHNOP.close, Port, one(b))).toBe(0);
      expect(yield* guest(EVTCHNOP.send, Port, one(a))).toBe(0);
    });
    t.m.destroyDomain(t.g.domid);
  });

  test('bad frames and offsets are refused; the pages come back with reset', () => {
    const E = ERRNO;
    const r = t.results(function* (r) {
      const arg = (gfn: number, offset: number, vcpu = 0) =>
        guest(EVTCHNOP.init_control, EvtchnInitControl, { control_gfn: gfn, offset, vcpu });
      r.push(yield* arg(0x102, 0));
      r.push(yield* arg(t.g.l4, 0));
      r.push(yield* arg(t.g.mfns[CONTROL], 4090));
      r.push(yield* arg(t.g.mfns[CONTROL], 4));
      r.push(yield* arg(t.g.mfns[CONTROL], 0, 5));
      t.m.view.setBigUint64(t.c.argHost, 1n, true);
      r.push(yield* t.c.call(HYPERCALL.event_channel_op, EVTCHNOP.expand_array, va(ARG_PAGE)));
      r.push(yield* init());
      r.push(yield* arg(t.g.mfns[CONTROL], 256));
      r.push(yield* guest(EVTCHNOP.reset, EvtchnAllocUnbound, { dom: DOMID.SELF }));
      // back in the 2-level ABI
      const a = yield* ipi();
      yield* guest(EVTCHNOP.send, Port, one(a));
      r.push(t.isPending(t.shared, a) ? 1 : 0);
    });
    const inval = -E.EINVAL;
    expect(r).toEqual([inval, inval, inval, inval, -E.ENOENT, -E.EOPNOTSUPP, 0, inval, 0, 1]);
  });
});
