/** How a PV guest's kernel is entered and left: bounce frames, system calls, iret, emulated instructions (XEN-ABI 2.2, 2.3). */
import { beforeEach, describe, expect, test } from 'vitest';
import { FLAT, SEGBASE, TrapInfo } from '../../src/abi/arch-x86.ts';
import { CALLBACKF_mask_events, CALLBACKOP, CALLBACKTYPE, CallbackRegister } from '../../src/abi/callback.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import { PHYSDEVOP } from '../../src/abi/physdev.ts';
import { HYPERCALL, MMUEXT } from '../../src/abi/xen.ts';
import { CpuState, EXIT, GPR, SEG, VEC } from '../../src/engine/state.ts';
import { CpuGuest } from './cpu-guest.ts';
import { DomainState } from './domain-state.ts';
import { ARG_PAGE, CODE_PAGE, STACK_PAGE, va } from './guest-script.ts';
import { P, pte } from './mm-machine.ts';

let t: CpuGuest;
beforeEach(() => {
  t = new CpuGuest();
});

const IF = 0x200n;
/** Installs handlers: vector → [address, dpl, mask events]. */
function* setTraps(entries: Record<number, [address: bigint, dpl: number, mask?: boolean]>) {
  let at = t.c.argHost;
  for (const [vector, [address, dpl, mask]] of [...Object.entries(entries), ['0', [0n, 0]] as const]) {
    t.m.bytes[at + TrapInfo.off.vector] = Number(vector);
    t.m.bytes[at + TrapInfo.off.flags] = dpl | (mask ? 4 : 0);
    t.m.view.setUint16(at + TrapInfo.off.cs, FLAT.KERNEL_CS, true);
    t.m.view.setBigUint64(at + TrapInfo.off.address, address, true);
    at += TrapInfo.size;
  }
  return yield* t.c.call(HYPERCALL.set_trap_table, va(ARG_PAGE));
}

function* callback(type: number, address: bigint, flags = 0) {
  const at = t.c.argHost;
  t.m.view.setUint16(at + CallbackRegister.off.type, type, true);
  t.m.view.setUint16(at + CallbackRegister.off.flags, flags, true);
  t.m.view.setBigUint64(at + CallbackRegister.off.address, address, true);
  return yield* t.c.call(HYPERCALL.callback_op, CALLBACKOP.register, va(ARG_PAGE));
}

describe('exceptions in the kernel', () => {
  test('a frame without error code, on the same stack, aligned to 16', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.UD]: [0x7000n, 0] });
      t.setMask(t.shared, false);
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x808));
      t.setReg(GPR.RCX, 0x11n);
      t.setReg(GPR.R11, 0x22n);
      t.setField('rflags', 0x202n | 0x1_0100n);
      expect(yield* t.leave({ exit: EXIT.EXCEPTION, vector: VEC.UD, rip: 0x5000n })).toBe(0x7000n);
      expect(t.reg(GPR.RSP)).toBe(va(STACK_PAGE, 0x800) - 56n);
      // rcx r11 rip cs rflags rsp ss; the kernel's cs shows RPL 0
      expect(t.stack(7)).toEqual([0x11n, 0x22n, 0x5000n, 0xe030n, 0x302n | 0x1_0000n, va(STACK_PAGE, 0x808), 0xe02bn]);
      // TF and RF are off in the handler
      expect(t.field('rflags')).toBe(0x202n);
      expect([t.sel(SEG.CS), t.sel(SEG.SS)]).toEqual([0xe033, 0xe02b]);
    });
  });

  test('error code and event mask: IF in the frame is the mask, and a gate may set it', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.GP]: [0x7000n, 0, true] });
      const shared = t.shared;
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      t.setMask(shared, false);
      yield* t.leave({ exit: EXIT.EXCEPTION, vector: VEC.GP, error: 0x1238, rip: 0x5000n });
      expect(t.stack(8).slice(2, 6)).toEqual([0x1238n, 0x5000n, 0xe030n, 0x202n]);
      expect(t.mask(shared)).toBe(1);
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      yield* t.leave({ exit: EXIT.EXCEPTION, vector: VEC.GP, error: 0, rip: 0x5000n });
      // the mask of before is in bits 32 to 39 of cs
      expect(t.stack(8)[4]).toBe(0x1_0000_e030n);
      expect(t.stack(8)[5] & IF).toBe(0n);
    });
  });

  test('#PF: cr2 is in vcpu_info, the error code says kernel', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.PF]: [0x7000n, 0] });
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      yield { va: 0xdead000n, error: 6, rip: 0x5000n };
      expect(t.stack(8)[2]).toBe(2n);
      expect(t.m.view.getBigUint64(t.shared + 16, true)).toBe(0xdead000n);
    });
  });

  test.each([
    ['no handler', 'without a handler', () => {}],
    ['a stack that is not mapped', 'not mapped', () => t.setReg(GPR.RSP, 0x7fff_0000n)],
    ['a stack in the hypervisor’s range', 'address range', () => t.setReg(GPR.RSP, 0xffff_8300_0000_1000n)],
  ])('%s: the domain crashes, alone', (_, why, prepare) => {
    expect(() =>
      t.m.guest(function* () {
        if (why !== 'without a handler') yield* setTraps({ [VEC.UD]: [0x7000n, 0] });
        t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
        prepare();
        yield { exit: EXIT.EXCEPTION, vector: VEC.UD, rip: 0x5000n };
      }),
    ).toThrow(/did not end/);
    expect(t.m.log.join('')).toContain(why);
    const d = new DomainState(t.m, t.g.domid);
    expect([d.shutdown, d.reason]).toEqual([true, 3]);
    t.m.destroyDomain(t.g.domid);
  });
});

describe('software interrupts', () => {
  test('int3 needs no privilege; int n needs the gate’s; otherwise #GP with the gate’s selector', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.BP]: [0x7000n, 0], 64: [0x7100n, 0], 65: [0x7200n, 1], [VEC.GP]: [0x7300n, 0] });
      const rsp = va(STACK_PAGE, 0x800);
      t.setReg(GPR.RSP, rsp);
      expect(yield* t.leave({ exit: EXIT.SOFTINT, vector: 3, length: 1, rip: 0x5000n })).toBe(0x7000n);
      expect(t.stack(3)[2]).toBe(0x5001n);
      t.setReg(GPR.RSP, rsp);
      // the kernel counts as ring 1
      expect(yield* t.leave({ exit: EXIT.SOFTINT, vector: 0x40, length: 2, rip: 0x5000n })).toBe(0x7300n);
      expect(t.stack(4).slice(2)).toEqual([0x202n, 0x5000n]);
      t.setReg(GPR.RSP, rsp);
      expect(yield* t.leave({ exit: EXIT.SOFTINT, vector: 0x41, length: 2, rip: 0x5000n })).toBe(0x7200n);
      expect(t.stack(3)[2]).toBe(0x5002n);
    });
  });
});

describe('user mode', () => {
  /** To user mode at 0x6000 with the given cs and ss, by the iret hypercall. */
  function* iret(cs: number, flags = 0n, rflags = 0x202n, ss = FLAT.USER_SS) {
    const frame = [0xaaan, 0x111n, 0x222n, flags, 0x6000n, BigInt(cs), rflags, 0x9000n, BigInt(ss)];
    const rsp = va(STACK_PAGE, 0x600);
    frame.forEach((v, i) => {
      t.m.view.setBigUint64(t.host(rsp) + i * 8, v, true);
    });
    t.setReg(GPR.RSP, rsp);
    return yield* t.c.call(HYPERCALL.iret);
  }
  /** A user page table that maps what the kernel's does. */
  function* userTable() {
    const l4 = t.g.mfns[30];
    yield* t.c.mmuUpdate(t.g.l1 * 4096 + 30 * 8, pte(l4, P));
    t.m.setEntry(l4, 0, t.m.entry(t.g.l4, 0));
    expect(yield* t.c.mmuext(MMUEXT.PIN_L4_TABLE, l4)).toBe(0);
    expect(yield* t.c.mmuext(MMUEXT.NEW_USER_BASEPTR, l4)).toBe(0);
    return l4;
  }

  test('iret to it and syscall from it: tables, stack and gs base change hands', () => {
    t.results(function* () {
      const l4 = yield* userTable();
      yield* callback(CALLBACKTYPE.syscall, 0x7700n, CALLBACKF_mask_events);
      yield* t.c.call(HYPERCALL.stack_switch, FLAT.KERNEL_SS, va(STACK_PAGE, 0xff8));
      expect(yield* t.c.call(HYPERCALL.set_segment_base, SEGBASE.GS_KERNEL, 0x1000)).toBe(0);
      expect(yield* t.c.call(HYPERCALL.set_segment_base, SEGBASE.GS_USER, 0x2000)).toBe(0);
      const shared = t.shared;
      expect(yield* iret(FLAT.USER_CS)).toBe(0xaaa);
      expect(t.field('rip')).toBe(0x6000n);
      expect(t.field('cr3')).toBe(BigInt(l4) << 12n);
      expect([t.reg(GPR.R11), t.reg(GPR.RCX), t.reg(GPR.RSP)]).toEqual([0x111n, 0x222n, 0x9000n]);
      expect(t.m.view.getBigUint64(t.cpu + segbase(SEG.GS), true)).toBe(0x2000n);
      expect(t.mask(shared)).toBe(0);
      t.setField('rflags', 0x602n);
      expect(yield* t.leave({ exit: EXIT.SYSCALL, length: 2, rip: 0x6000n })).toBe(0x7700n);
      expect(t.field('cr3')).toBe(BigInt(t.g.l4) << 12n);
      expect(t.m.view.getBigUint64(t.cpu + segbase(SEG.GS), true)).toBe(0x1000n);
      expect(t.reg(GPR.RSP)).toBe(va(STACK_PAGE, 0xff0) - 56n);
      // rcx is the return address, r11 the flags, DF is off in the frame already
      expect(t.stack(7)).toEqual([0x6002n, 0x602n, 0x6002n, 0xe033n, 0x202n, 0x9000n, 0xe02bn]);
      expect(t.mask(shared)).toBe(1);
    });
  });

  test('iret flags: IF is the mask, IOPL and VM stay out, in_syscall takes rcx and r11 from rip and rflags', () => {
    t.results(function* () {
      yield* userTable();
      yield* iret(FLAT.USER_CS, 0x100n, 0x2_3005n);
      expect([t.reg(GPR.RCX), t.reg(GPR.R11)]).toEqual([0x6000n, 0x2_3005n]);
      expect(t.field('rflags')).toBe(0x207n);
      expect(t.mask(t.shared)).toBe(1);
    });
  });

  test('a bad selector in the frame is the user’s #GP', () => {
    t.results(function* () {
      yield* userTable();
      yield* setTraps({ [VEC.GP]: [0x7300n, 0] });
      yield* t.c.call(HYPERCALL.stack_switch, FLAT.KERNEL_SS, va(STACK_PAGE, 0x800));
      yield* iret(0x13b);
      expect(t.field('rip')).toBe(0x7300n);
      expect(t.stack(4).slice(2)).toEqual([0x138n, 0x6000n]);
    });
  });

  test('without a syscall callback it is #UD at the syscall', () => {
    t.results(function* () {
      yield* userTable();
      yield* setTraps({ [VEC.UD]: [0x7600n, 0] });
      yield* t.c.call(HYPERCALL.stack_switch, FLAT.KERNEL_SS, va(STACK_PAGE, 0x800));
      yield* iret(FLAT.USER_CS);
      expect(yield* t.leave({ exit: EXIT.SYSCALL, length: 2, rip: 0x6000n })).toBe(0x7600n);
      expect(t.stack(4)[2]).toBe(0x6000n);
    });
  });

  test('sysenter: rip 0, cs 3; without a callback #GP', () => {
    t.results(function* () {
      yield* userTable();
      yield* setTraps({ [VEC.GP]: [0x7300n, 0] });
      yield* t.c.call(HYPERCALL.stack_switch, FLAT.KERNEL_SS, va(STACK_PAGE, 0x800));
      yield* iret(FLAT.USER_CS);
      expect(yield* t.leave({ exit: EXIT.SYSENTER, length: 2, rip: 0x6000n })).toBe(0x7300n);
      yield* callback(CALLBACKTYPE.sysenter, 0x7800n);
      yield* iret(FLAT.USER_CS);
      expect(yield* t.leave({ exit: EXIT.SYSENTER, length: 2, rip: 0x6000n })).toBe(0x7800n);
      expect(t.stack(4).slice(2)).toEqual([0n, 3n]);
    });
  });

  test('the kernel cannot be left for it without a user table', () => {
    expect(() =>
      t.m.guest(function* () {
        yield* iret(FLAT.USER_CS);
      }),
    ).toThrow(/did not end/);
    expect(t.m.log.join('')).toContain('without a user page table');
  });
});

const segbase = (n: number) => CpuState.off.segbase + n * 8;

describe('callbacks and segment bases', () => {
  test('addresses must be canonical, types known; the ones a kernel needs cannot be taken back', () => {
    const r = t.results(function* (r) {
      r.push(yield* callback(CALLBACKTYPE.event, 0x8000_0000_0000n));
      r.push(yield* callback(CALLBACKTYPE.event, 0x8000n));
      r.push(yield* callback(99, 0x8000n));
      t.m.view.setUint16(t.c.argHost, CALLBACKTYPE.event, true);
      r.push(yield* t.c.call(HYPERCALL.callback_op, CALLBACKOP.unregister, va(ARG_PAGE)));
      t.m.view.setUint16(t.c.argHost, CALLBACKTYPE.sysenter, true);
      r.push(yield* t.c.call(HYPERCALL.callback_op, CALLBACKOP.unregister, va(ARG_PAGE)));
      r.push(yield* t.c.call(HYPERCALL.callback_op, 9, va(ARG_PAGE)));
      r.push(yield* t.c.call(HYPERCALL.callback_op, CALLBACKOP.register, 0x7fff_0000n));
      r.push(yield* t.c.call(HYPERCALL.set_segment_base, SEGBASE.FS, 0x8000_0000_0000n));
      r.push(yield* t.c.call(HYPERCALL.set_segment_base, 9, 0));
    });
    const E = ERRNO;
    expect(r).toEqual([-E.EINVAL, 0, -E.ENOSYS, -E.EINVAL, 0, -E.ENOSYS, -E.EFAULT, -E.EINVAL, -E.EINVAL]);
  });
});

describe('emulated instructions', () => {
  function* emulate(bytes: number[], exit: number = EXIT.PRIVILEGED, vector = 0) {
    t.m.bytes.set(bytes, t.g.mfns[CODE_PAGE] * 4096);
    return yield* t.leave({ exit, vector, rip: va(CODE_PAGE) });
  }
  const after = (bytes: number[]) => va(CODE_PAGE, bytes.length);

  test('forced cpuid: the hypervisor’s leaves, and OSXSAVE for the kernel', () => {
    t.results(function* () {
      const forced = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];
      t.setReg(GPR.RAX, 0x4000_0000n);
      expect(yield* emulate(forced, EXIT.EXCEPTION, VEC.UD)).toBe(after(forced));
      const text = [GPR.RBX, GPR.RCX, GPR.RDX].map((r) => {
        const b = Buffer.alloc(4);
        b.writeUInt32LE(Number(t.reg(r)));
        return b.toString();
      });
      expect(text.join('')).toBe('XenVMMXenVMM');
      expect(t.reg(GPR.RAX)).toBe(0x4000_0005n);
      t.setReg(GPR.RAX, 1n);
      yield* emulate(forced, EXIT.EXCEPTION, VEC.UD);
      expect((t.reg(GPR.RCX) >> 27n) & 1n).toBe(1n);
      // No automatic IBRS: EFER is the hypervisor's.
      t.setReg(GPR.RAX, 0x8000_0021n);
      yield* emulate(forced, EXIT.EXCEPTION, VEC.UD);
      expect(t.reg(GPR.RAX)).toBe(0n);
    });
  });

  test('I/O needs IOPL; ports that are not there read as ones', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.GP]: [0x7300n, 0] });
      const inb = [0xec];
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      t.setReg(GPR.RDX, 0x3f8n);
      expect(yield* emulate(inb)).toBe(0x7300n);
      t.m.view.setUint32(t.c.argHost, 1, true);
      expect(yield* t.c.call(HYPERCALL.physdev_op, PHYSDEVOP.set_iopl, va(ARG_PAGE))).toBe(0);
      t.setReg(GPR.RAX, 0x1234_5678_9abc_de00n);
      t.setReg(GPR.RDX, 0x3f8n);
      expect(yield* emulate(inb)).toBe(after(inb));
      expect(t.reg(GPR.RAX)).toBe(0x1234_5678_9abc_deffn);
      // in eax, dx clears the upper half
      expect(yield* emulate([0xed])).toBe(after([0xed]));
      expect(t.reg(GPR.RAX)).toBe(0xffff_ffffn);
    });
  });

  test('rep insb stops at the byte that faults', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.PF]: [0x7400n, 0] });
      t.m.view.setUint32(t.c.argHost, 1, true);
      yield* t.c.call(HYPERCALL.physdev_op, PHYSDEVOP.set_iopl, va(ARG_PAGE));
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      t.setReg(GPR.RDX, 0x3f8n);
      t.setReg(GPR.RCX, 8n);
      // the last three bytes of the last page that is mapped
      t.setReg(GPR.RDI, va(63, 4093));
      t.setField('rflags', 0x202n);
      expect(yield* emulate([0xf3, 0x6c])).toBe(0x7400n);
      expect([t.reg(GPR.RCX), t.reg(GPR.RDI)]).toEqual([5n, va(64)]);
    });
  });

  test('control registers: only TS of cr0 may change; cr4 shows what the guest owns', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.GP]: [0x7300n, 0] });
      const rax = { mov_rax_cr0: [0x0f, 0x20, 0xc0], mov_cr0_rax: [0x0f, 0x22, 0xc0] };
      yield* emulate(rax.mov_rax_cr0);
      const cr0 = t.reg(GPR.RAX);
      expect(cr0).toBe(0x8005_0033n);
      t.setReg(GPR.RAX, cr0 | 8n);
      expect(yield* emulate(rax.mov_cr0_rax)).toBe(after(rax.mov_cr0_rax));
      yield* emulate(rax.mov_rax_cr0);
      expect(t.reg(GPR.RAX)).toBe(cr0 | 8n);
      t.setReg(GPR.RAX, cr0 & ~0x8000_0000n);
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      expect(yield* emulate(rax.mov_cr0_rax)).toBe(0x7300n);
    });
  });

  test('rdmsr of an unknown register: 0 before there is a #GP handler, #GP after', () => {
    t.results(function* () {
      const rdmsr = [0x0f, 0x32];
      t.setReg(GPR.RCX, 0x1234n);
      t.setReg(GPR.RAX, 1n);
      expect(yield* emulate(rdmsr)).toBe(after(rdmsr));
      expect(t.reg(GPR.RAX)).toBe(0n);
      yield* setTraps({ [VEC.GP]: [0x7300n, 0] });
      t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
      t.setReg(GPR.RCX, 0x1234n);
      expect(yield* emulate(rdmsr)).toBe(0x7300n);
    });
  });

  test('what is not emulated is #GP: hlt, lgdt, invd', () => {
    t.results(function* () {
      yield* setTraps({ [VEC.GP]: [0x7300n, 0] });
      for (const bytes of [[0xf4], [0x0f, 0x01, 0x10], [0x0f, 0x08]]) {
        t.setReg(GPR.RSP, va(STACK_PAGE, 0x800));
        expect(yield* emulate(bytes)).toBe(0x7300n);
      }
    });
  });
});
