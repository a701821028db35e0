/** A PV guest's own memory hypercalls: base pointers, update_va_mapping, descriptors, and page-table stores. */
import { beforeEach, describe, expect, test } from 'vitest';
import { FIRST_RESERVED_GDT_ENTRY } from '../../src/abi/arch-x86.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import { HYPERCALL, MMUEXT, UVMF, VMASST_CMD, VMASST_TYPE } from '../../src/abi/xen.ts';
import { CODE_PAGE, GuestCalls, STACK_PAGE, start, va } from './guest-script.ts';
import {
  A,
  D,
  G,
  GUEST_KERNEL,
  type GuestScript,
  MmMachine,
  makeGuest,
  P,
  PAGE,
  pte,
  RW,
  type TestGuest,
  US,
} from './mm-machine.ts';

let m: MmMachine;
let g: TestGuest;
let c: GuestCalls;
const at = (mfn: number, i: number) => mfn * PAGE + i * 8;

beforeEach(() => {
  m = new MmMachine();
  g = makeGuest(m);
  c = new GuestCalls(m, g);
  start(m, g);
});

/** Runs a guest that collects results. */
function results(script: (r: number[]) => GuestScript): number[] {
  const r: number[] = [];
  m.guest(() => script(r));
  return r;
}

test('base pointers: only L4s of its own; itself by DOMID_SELF only', () => {
  const r = results(function* (r) {
    r.push(yield* c.mmuext(MMUEXT.NEW_BASEPTR, g.l4));
    r.push(yield* c.mmuext(MMUEXT.NEW_BASEPTR, g.l3));
    r.push(yield* c.mmuext(MMUEXT.NEW_BASEPTR, 0x102));
    r.push(yield* c.mmuext(MMUEXT.NEW_BASEPTR, g.l4, 0, g.domid));
    r.push(yield* c.mmuext(MMUEXT.NEW_USER_BASEPTR, g.l4));
    r.push(yield* c.mmuext(MMUEXT.NEW_USER_BASEPTR, 0));
    r.push(yield* c.mmuext(MMUEXT.UNPIN_TABLE, g.l4, 0, 0));
  });
  expect(r).toEqual([0, -ERRNO.EINVAL, -ERRNO.EINVAL, -ERRNO.ESRCH, 0, 0, -ERRNO.EPERM]);
});

test('the M2P appears in a root table: with the first base pointer, or at validation with m2p_strict', () => {
  expect(m.entry(g.l4, 256)).not.toBe(0n);
  const second = g.mfns[30];
  results(function* () {
    yield* c.mmuUpdate(at(g.l1, 30), pte(second, P));
    m.setEntry(second, 0, m.entry(g.l4, 0));
    expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, second)).toBe(0);
    expect(m.entry(second, 256)).toBe(0n);
    expect(yield* c.mmuext(MMUEXT.UNPIN_TABLE, second)).toBe(0);
    expect(yield* c.call(HYPERCALL.vm_assist, 0, 32)).toBe(0);
    expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, second)).toBe(0);
    expect(m.entry(second, 256)).toBe(m.entry(g.l4, 256));
    // As a user-mode root it has none.
    expect(yield* c.mmuext(MMUEXT.NEW_USER_BASEPTR, second)).toBe(0);
    expect(m.entry(second, 256)).toBe(0n);
  });
});

test('the M2P can be read by the guest, not written, and says which pfn a frame is', () => {
  const entry = (mfn: number) => 0xffff_8000_0000_0000n + BigInt(mfn) * 8n;
  const root = BigInt(g.l4) << 12n;
  expect(m.view.getBigUint64(m.walk(root, entry(g.mfns[17]), false), true)).toBe(17n);
  expect(m.walk(root, entry(g.mfns[17]), true)).toBe(0);
  results(function* () {
    expect(yield* c.mmuUpdate((g.mfns[17] * PAGE) | 1, 1234n)).toBe(0);
    expect(yield* c.mmuUpdate((0x102 * PAGE) | 1, 1234n)).toBe(-ERRNO.EINVAL);
  });
  expect(m.view.getBigUint64(m.walk(root, entry(g.mfns[17]), false), true)).toBe(1234n);
});

test('update_va_mapping', () => {
  const r = results(function* (r) {
    r.push(yield* c.call(HYPERCALL.update_va_mapping, va(100), pte(g.mfns[40], P | RW), UVMF.INVLPG));
    r.push(yield* c.call(HYPERCALL.update_va_mapping, va(100), pte(g.l1, P | RW), 0));
    r.push(yield* c.call(HYPERCALL.update_va_mapping, 1n << 40n, 0, 0));
    r.push(yield* c.call(HYPERCALL.update_va_mapping, 0xffff_8000_0000_0000n, 0, 0));
    r.push(yield* c.call(HYPERCALL.update_va_mapping, 1n << 63n, 0, 0));
    r.push(yield* c.call(HYPERCALL.update_va_mapping, va(100), 0, UVMF.TLB_FLUSH | UVMF.ALL));
    r.push(yield* c.call(HYPERCALL.update_va_mapping, va(100), 0, 0xdead0000n | BigInt(UVMF.TLB_FLUSH)));
    r.push(yield* c.call(HYPERCALL.update_va_mapping_otherdomain, va(100), pte(g.mfns[40], P), 0, 0));
    r.push(yield* c.call(HYPERCALL.update_va_mapping_otherdomain, va(100), pte(g.mfns[40], P), 0, 55));
  });
  expect(r).toEqual([
    0,
    -ERRNO.EBUSY,
    -ERRNO.EINVAL,
    -ERRNO.EINVAL,
    -ERRNO.EINVAL,
    0,
    -ERRNO.EFAULT,
    -ERRNO.EPERM,
    -ERRNO.ESRCH,
  ]);
  expect(m.tlbCalls.some((s) => s === `tlb_flush_page ${g.domid} ${va(100)}`)).toBe(true);
});

test('a frame that stops being writable is dropped from write tags', () => {
  results(function* () {
    yield* c.call(HYPERCALL.update_va_mapping, va(40), pte(g.mfns[40], P), 0);
    m.tlbCalls.length = 0;
    expect(yield* c.mmuext(MMUEXT.PIN_L1_TABLE, g.mfns[40])).toBe(0);
  });
  expect(m.tlbCalls).toContain(`tlb_drop_writable ${g.mfns[40]}`);
});

describe('descriptors', () => {
  const CODE64 = 0x00af_9b00_0000_ffffn;
  test('a GDT page is checked and not writable while it is one', () => {
    const page = g.mfns[30];
    const frames = c.argHost;
    m.setEntry(page, 2, CODE64);
    const r = results(function* (r) {
      m.view.setBigUint64(frames, BigInt(page), true);
      // Still mapped writable.
      r.push(yield* c.call(HYPERCALL.set_gdt, va(20), 512));
      yield* c.mmuUpdate(at(g.l1, 30), pte(page, P));
      m.view.setBigUint64(frames, BigInt(page), true);
      r.push(yield* c.call(HYPERCALL.set_gdt, va(20), 512));
      r.push(yield* c.mmuUpdate(at(g.l1, 30), pte(page, P | RW)));
      r.push(yield* c.call(HYPERCALL.update_descriptor, page * PAGE + 24, CODE64));
      // An LDT descriptor, and a misaligned address.
      r.push(yield* c.call(HYPERCALL.update_descriptor, page * PAGE + 24, 0x0000_8200_0000_ffffn));
      r.push(yield* c.call(HYPERCALL.update_descriptor, page * PAGE + 20, CODE64));
      r.push(yield* c.call(HYPERCALL.set_gdt, va(20), FIRST_RESERVED_GDT_ENTRY + 1));
      r.push(yield* c.call(HYPERCALL.set_gdt, 1n << 40n, 512));
      // No GDT: the page is an ordinary one again.
      r.push(yield* c.call(HYPERCALL.set_gdt, va(20), 0));
      r.push(yield* c.mmuUpdate(at(g.l1, 30), pte(page, P | RW)));
    });
    const { EINVAL, EBUSY, EFAULT } = ERRNO;
    expect(r).toEqual([-EINVAL, 0, -EBUSY, 0, -EINVAL, -EINVAL, -EINVAL, -EFAULT, 0, 0]);
    expect(m.entry(page, 2)).toBe(CODE64 | (3n << 45n));
    expect(m.entry(page, 3)).toBe(CODE64 | (3n << 45n));
  });

  test('an LDT needs a page-aligned guest address and at most 8192 entries', () => {
    const r = results(function* (r) {
      for (const [base, n] of [
        [va(30), 4],
        [va(30, 8), 4],
        [va(30), 8193],
        [0xffff_8000_0000_0000n, 4],
        [0n, 0],
      ] as const)
        r.push(yield* c.mmuext(MMUEXT.SET_LDT, base, n));
    });
    expect(r).toEqual([0, -ERRNO.EINVAL, -ERRNO.EINVAL, -ERRNO.EINVAL, 0]);
  });
});

describe('stores to page tables (ptwr)', () => {
  const WRITE_FAULT = 7;
  const L1_VA = va(3);
  const RAX = 0;
  const RCX = 1;
  const RSP = 4;
  const KERNEL = US | GUEST_KERNEL;

  beforeEach(() => {
    m.guest(function* () {
      expect(yield* c.call(HYPERCALL.vm_assist, VMASST_CMD.enable, VMASST_TYPE.writable_pagetables)).toBe(0);
    });
  });

  /** One instruction at CODE_PAGE that faults on entry `slot` (plus `offset` bytes) of the L1; where it goes on. */
  function storeAt(code: number[], regs: Record<number, bigint>, slot: number, offset = 0): bigint {
    m.bytes.set(code, g.mfns[CODE_PAGE] * PAGE);
    let rip = 0n;
    m.guest(function* () {
      rip = yield {
        va: L1_VA + BigInt(slot * 8 + offset),
        error: WRITE_FAULT,
        rip: va(CODE_PAGE),
        regs: { [RSP]: va(STACK_PAGE + 1), ...regs },
      };
    });
    return rip - va(CODE_PAGE);
  }
  const address = (slot: number, offset = 0) => L1_VA + BigInt(slot * 8 + offset);

  test('mov', () => {
    expect(storeAt([0x48, 0x89, 0x08], { [RAX]: address(100), [RCX]: pte(g.mfns[40], P | RW) }, 100)).toBe(3n);
    expect(m.entry(g.l1, 100)).toBe(pte(g.mfns[40], P | RW | KERNEL));
    // mov qword [rax], imm32: gone again.
    expect(storeAt([0x48, 0xc7, 0x00, 0, 0, 0, 0], { [RAX]: address(100) }, 100)).toBe(7n);
    expect(m.entry(g.l1, 100)).toBe(0n);
  });

  test('xchg gives the old entry', () => {
    const old = m.entry(g.l1, 30);
    let rcx = 0n;
    m.bytes.set([0x48, 0x87, 0x08], g.mfns[CODE_PAGE] * PAGE);
    m.guest(function* () {
      yield { va: address(30), error: WRITE_FAULT, rip: va(CODE_PAGE), regs: { [RAX]: address(30), [RCX]: 0n } };
      rcx = m.guestRegister(RCX);
    });
    expect(rcx).toBe(old);
    expect(m.entry(g.l1, 30)).toBe(0n);
  });

  test('lock and, or, btr, cmpxchg; bytes and words of an entry', () => {
    // lock andb $~2, (rax): write protection.
    expect(storeAt([0xf0, 0x80, 0x20, 0xfd], { [RAX]: address(30) }, 30)).toBe(4n);
    expect(m.entry(g.l1, 30)).toBe(pte(g.mfns[30], P | KERNEL));
    // or qword [rax], 0x60
    expect(storeAt([0x48, 0x83, 0x08, 0x60], { [RAX]: address(30) }, 30)).toBe(4n);
    expect(m.entry(g.l1, 30)).toBe(pte(g.mfns[30], P | KERNEL | A | D));
    // lock btr qword [rax], 5
    expect(storeAt([0xf0, 0x48, 0x0f, 0xba, 0x30, 5], { [RAX]: address(30) }, 30)).toBe(6n);
    expect(m.entry(g.l1, 30)).toBe(pte(g.mfns[30], P | KERNEL | D));
    // lock cmpxchg [rcx], rdx
    const before = m.entry(g.l1, 30);
    expect(
      storeAt([0xf0, 0x48, 0x0f, 0xb1, 0x11], { [RAX]: before, [RCX]: address(30), 2: pte(g.mfns[31], P | US) }, 30),
    ).toBe(5n);
    expect(m.entry(g.l1, 30)).toBe(pte(g.mfns[31], P | US | G));
    // mov dword [rax+4], 0: high half.
    expect(storeAt([0xc7, 0x40, 0x04, 0, 0, 0, 0], { [RAX]: address(30) }, 30, 4)).toBe(7n);
    expect(m.entry(g.l1, 30) >> 32n).toBe(0n);
  });

  test('what mmu_update would refuse is a fault of the guest: it goes to its trap handler', () => {
    const handler = va(CODE_PAGE, 0x800);
    m.guest(function* () {
      const h = c.argHost;
      m.bytes.set([14, 0, 0x33, 0xe0, 0, 0, 0, 0], h);
      m.view.setBigUint64(h + 8, handler, true);
      m.bytes.fill(0, h + 16, h + 32);
      expect(yield* c.call(HYPERCALL.set_trap_table, va(20))).toBe(0);
    });
    const old = m.entry(g.l1, 30);
    // Nor is a store made for a guest that did not ask for it.
    const assist = (cmd: number) => () =>
      (function* () {
        yield* c.call(HYPERCALL.vm_assist, cmd, VMASST_TYPE.writable_pagetables);
      })();
    m.guest(assist(VMASST_CMD.disable));
    expect(storeAt([0x48, 0x89, 0x08], { [RAX]: address(30), [RCX]: 0n }, 30)).toBe(handler - va(CODE_PAGE));
    m.guest(assist(VMASST_CMD.enable));
    const refused: [number[], Record<number, bigint>][] = [
      [[0x48, 0x89, 0x08], { [RAX]: address(30), [RCX]: pte(g.l1, P | RW) }],
      [[0x48, 0x89, 0x08], { [RAX]: address(30), [RCX]: pte(0x102, P) }],
      [[0x48, 0x89, 0x08], { [RAX]: address(30), [RCX]: pte(g.mfns[30], P | 8n) }],
      // Not aligned: bytes of two entries.
      [[0x48, 0x89, 0x08], { [RAX]: address(30, 1), [RCX]: 0n }],
      // movdqa is not a store that is emulated.
      [[0x66, 0x0f, 0x7f, 0x00], { [RAX]: address(30) }],
    ];
    for (const [code, regs] of refused) {
      expect(storeAt(code, regs, 30)).toBe(handler - va(CODE_PAGE));
      expect(m.entry(g.l1, 30)).toBe(old);
    }
  });
});
