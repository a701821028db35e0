/**
 * Hostile HVM containers: random code at CPL 0 and 3, system instructions above all, with random control state, descriptor
 * tables, page tables and hypercall arguments, a fixed sequence for each seed. A container may end itself in any way; the
 * machine goes on, nobody else's memory has changed, and every reference and frame comes back.
 */
import { expect, test } from 'vitest';
import { GNTMAP, GNTTABOP, GnttabMapGrantRef, GnttabUnmapGrantRef, GTF } from '../../src/abi/grant_table.ts';
import { AddToPhysmap, MemoryReservation, RemoveFromPhysmap, XENMEM } from '../../src/abi/memory.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { CpuState } from '../../src/engine/state.ts';
import { EngineMachine } from './engine-machine.ts';
import { auditMachine, type Fields, gpa, HvmGuest, putStruct } from './hvm-guest.ts';
import { makeGuest, PAGE, SELF, type TestGuest } from './mm-machine.ts';

const SEEDS = 100;
/** Entries of guest code each gets. */
const ENTRIES = 30;
/** Times that it goes on with other code and control state, if it can. */
const ROUNDS = 15;
/** Counting all references takes longer than all the rest: once in so many. */
const AUDIT = 10;
const PAGES = 80;

// What lies at which gfn; linear addresses below 2 MiB are guest-physical ones, and those of the 4th GiB.
const [L4, L3, L2, L1, GDT, IDT, TSS, STACK, CODE, HANDLERS, ARGS] = [8, 9, 10, 11, 12, 13, 14, 20, 30, 34, 40];
const CODE_PAGES = 2;
/** Type of a domain's own page (mm/p2m.ts). */
const P2M_RAM = 0x10;
/** Where structures lie in the page of arguments. */
const AT = { map: 0x400, unmap: 0x440, reservation: 0x480, add: 0x4c0, remove: 0x500, list: 0x800 };
const LAPIC = 0xfee0_0000n;

type Random = (n: number) => number;
/** xorshift32: the same sequence everywhere. */
function random(seed: number): Random {
  let s = seed * 2654435761 || 1;
  return (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
}

const OPS = [
  HYPERCALL.memory_op,
  HYPERCALL.memory_op,
  HYPERCALL.memory_op,
  HYPERCALL.grant_table_op,
  HYPERCALL.grant_table_op,
  HYPERCALL.grant_table_op,
  HYPERCALL.hvm_op,
  HYPERCALL.hvm_op,
  HYPERCALL.event_channel_op,
  HYPERCALL.event_channel_op,
  HYPERCALL.vcpu_op,
  HYPERCALL.vcpu_op,
  HYPERCALL.multicall,
  HYPERCALL.set_timer_op,
  HYPERCALL.console_io,
  HYPERCALL.vm_assist,
  HYPERCALL.xen_version,
];
const MSRS = [
  0x10, 0x1b, 0x174, 0x175, 0x176, 0x1a0, 0x200, 0x250, 0x277, 0x2ff, 0x400, 0x808, 0x80b, 0x80f, 0x830, 0x832, 0x838,
  0x83e, 0x83f, 0x4000_0000, 0xc000_0080, 0xc000_0081, 0xc000_0082, 0xc000_0084, 0xc000_0100, 0xc000_0101, 0xc000_0102,
  0xc000_0103,
];
const bytes = (v: bigint, n: number) => Array.from({ length: n }, (_, i) => Number((v >> BigInt(8 * i)) & 0xffn));

class Hostile {
  readonly g: HvmGuest;
  private readonly m: EngineMachine;
  private readonly rnd: Random;
  /** It soon breaks its own tables and state; others live longer. */
  private readonly wild: boolean;
  private readonly pv: TestGuest;

  constructor(m: EngineMachine, rnd: Random, pv: TestGuest) {
    this.m = m;
    this.rnd = rnd;
    this.wild = rnd(2) === 0;
    this.pv = pv;
    this.g = new HvmGuest(m, PAGES);
  }

  /** Machine addresses of the pages that are written to here. */
  private readonly hosts = new Map<number, number>();

  /** Has it still got them all, as memory of its own? */
  mayGoOn(): boolean {
    const own = [
      L4,
      L3,
      L2,
      L1,
      GDT,
      IDT,
      TSS,
      HANDLERS,
      ARGS,
      ...Array.from({ length: CODE_PAGES }, (_, i) => CODE + i),
    ];
    const entries = own.map((gfn) => this.g.entry(gfn));
    for (const [i, gfn] of own.entries()) this.hosts.set(gfn, (entries[i] >>> 12) * PAGE);
    return entries.every((e) => (e & 0xff0) === P2M_RAM);
  }
  private host(gfn: number): number {
    return this.hosts.get(gfn)!;
  }
  private set(gfn: number, offset: number, v: bigint): void {
    this.m.view.setBigUint64(this.host(gfn) + offset, BigInt.asUintN(64, v), true);
  }

  /** Numbers that code gets wrong. */
  private number(): bigint {
    const r = this.rnd;
    const v = [
      () => BigInt(r(8)),
      () => BigInt(r(200)),
      () => gpa(ARGS, r(16) * 8),
      () => gpa(ARGS, 4096 - r(16)),
      () => gpa(STACK, r(4096)),
      () => gpa(r(PAGES), r(512) * 8),
      () => gpa(r(512)),
      () => BigInt(r(PAGES + 40)),
      () => LAPIC + BigInt(r(64) * 16),
      () => 1n << BigInt(r(64)),
      () => (1n << BigInt(r(64))) - BigInt(r(3)),
      () => 0x8000_0000_0000n - BigInt(r(16)),
      () => 0xffff_ffff_ffff_ffffn - BigInt(r(64)),
      () => 0x7ff0n,
    ][r(14)]();
    return BigInt.asUintN(64, v);
  }

  private table(gfn: number): bigint {
    const r = this.rnd;
    return (BigInt(r(8) ? gfn : r(1 << 21)) << 12n) | BigInt([7, 7, 7, 0x67, 0x87, 3, 5, 0x1e7][r(8)]);
  }

  /** Page tables, descriptor tables, handlers, arguments. */
  prepare(): void {
    const { rnd: r } = this;
    for (let i = 0; i < 512; i++) this.set(L1, i * 8, gpa(i) | 7n);
    this.set(L4, 0, gpa(L3) | 7n);
    this.set(L3, 0, gpa(L2) | 7n);
    this.set(L3, 24, 0xc000_0087n);
    this.set(L2, 0, gpa(L1) | 7n);
    for (let n = this.wild ? r(4) : 0; n > 0; n--) this.set(L1, r(512) * 8, this.table(r(PAGES)));
    if (this.wild && r(6) === 0) this.set([L4, L3, L2][r(3)], r(4) * 8, this.table([L3, L2, L1, r(PAGES)][r(4)]));
    const tss = gpa(TSS);
    const gdt = [
      0n,
      0n,
      0x00af9b000000ffffn,
      0x00cf93000000ffffn,
      0x00cffb000000ffffn,
      0x00cff3000000ffffn,
      0x00affb000000ffffn,
      0n,
      0x0000890000000067n | ((tss & 0xffffffn) << 16n),
      0n,
    ];
    for (const [i, d] of gdt.entries()) this.set(GDT, i * 8, d);
    for (let n = this.wild ? r(3) : 0; n > 0; n--) this.set(GDT, r(16) * 8, this.number() ^ gdt[r(10)]);
    for (let i = 0; i < 16; i++)
      this.set(TSS, 4 + i * 8, !this.wild || r(6) ? gpa(STACK + r(4), 0xff0) : this.number());
    for (let v = 0; v < 256; v++) {
      const at = gpa(HANDLERS, r(32) * 64);
      const attributes = !this.wild || r(12) ? (r(3) ? 0x8e : 0xef) : r(256);
      const low = (at & 0xffffn) | (0x10n << 16n) | (BigInt(r(3) ? 0 : r(8)) << 32n) | (BigInt(attributes) << 40n);
      this.set(IDT, v * 16, low | (((at >> 16n) & 0xffffn) << 48n));
      this.set(IDT, v * 16 + 8, 0n);
    }
    for (let n = this.wild ? r(20) : 0; n > 0; n--) this.set(IDT, r(512) * 8, this.number());
    // Back, or better not, as the instruction would fault again: somewhere else.
    for (let i = 0; i < 32; i++) {
      const end = gpa(HANDLERS, (i + 1) * 64);
      const jump = [0xe9, ...bytes(gpa(CODE, r(CODE_PAGES * PAGE)) - end, 4)];
      this.fill(
        HANDLERS,
        i * 64,
        (i + 1) * 64,
        this.any(jump, jump, jump, [0x48, 0xcf], [0x48, 0x83, 0xc4, 8, 0x48, 0xcf]),
      );
    }
    for (let p = 0; p < CODE_PAGES; p++)
      this.fill(CODE + p, 0, p === CODE_PAGES - 1 ? PAGE : PAGE, [0xe9, ...bytes(BigInt(-p * PAGE - PAGE), 4)]);
    this.args();
  }

  /** Arguments of hypercalls: numbers, and at the start now and then a grant to be mapped. */
  private args(): void {
    const { rnd: r } = this;
    for (let i = 0; i < 512; i++) this.set(ARGS, i * 8, r(3) ? BigInt(r(24)) : this.number());
    const put = (at: number, type: Parameters<typeof putStruct>[2], fields: Fields) =>
      putStruct(this.m.view, this.host(ARGS) + at, type, fields);
    const gfn = () => r(PAGES + 40);
    const host_addr = gpa(r(3) ? 100 + r(4) : gfn());
    const flags = GNTMAP.host_map | (r(2) ? GNTMAP.readonly : 0);
    if (r(3)) this.m.view.setUint16(this.host(ARGS), SELF, true);
    put(AT.map, GnttabMapGrantRef, { host_addr, flags, ref: 8 + r(3), dom: this.pv.domid });
    put(AT.unmap, GnttabUnmapGrantRef, { host_addr, handle: r(4) });
    const list = { extent_start: gpa(ARGS, AT.list), nr_extents: r(5), extent_order: r(8) ? 0 : r(4), domid: SELF };
    put(AT.reservation, MemoryReservation, list);
    put(AT.add, AddToPhysmap, { domid: SELF, size: r(4), space: r(6), idx: r(3) ? r(4) : gfn(), gpfn: gfn() });
    put(AT.remove, RemoveFromPhysmap, { domid: SELF, gpfn: gfn() });
    for (let n = 0; n < 8; n++) this.set(ARGS, AT.list + n * 8, BigInt(gfn()));
  }

  /** A hypercall with arguments that may be right. */
  private sensible(): [op: number, ...args: bigint[]] {
    const { rnd: r } = this;
    const at = (offset: number) => gpa(ARGS, offset);
    switch (r(7)) {
      case 0:
      case 1:
        return [HYPERCALL.grant_table_op, BigInt(GNTTABOP.map_grant_ref), at(AT.map), 1n];
      case 2:
        return [HYPERCALL.grant_table_op, BigInt(GNTTABOP.unmap_grant_ref), at(AT.unmap), 1n];
      case 3:
        return [HYPERCALL.memory_op, BigInt(XENMEM.add_to_physmap), at(AT.add)];
      case 4:
        return [HYPERCALL.memory_op, BigInt(XENMEM.remove_from_physmap), at(AT.remove)];
      default: {
        const cmd = [XENMEM.increase_reservation, XENMEM.decrease_reservation, XENMEM.populate_physmap][r(3)];
        return [HYPERCALL.memory_op, BigInt(cmd), at(AT.reservation)];
      }
    }
  }

  /** Random code from `from` to `to` in a page, and at its end `last`. */
  private fill(gfn: number, from: number, to: number, last: number[]): void {
    let at = from;
    for (;;) {
      const code = this.snippet();
      if (at + code.length + last.length > to) break;
      this.m.bytes.set(code, this.host(gfn) + at);
      at += code.length;
    }
    this.m.bytes.fill(0x90, this.host(gfn) + at, this.host(gfn) + to);
    this.m.bytes.set(last, this.host(gfn) + to - last.length);
  }

  private load(reg: number, v: bigint): number[] {
    return [reg > 7 ? 0x49 : 0x48, 0xb8 | (reg & 7), ...bytes(v, 8)];
  }
  private absolute(op: number[], ext: number, v: bigint): number[] {
    return [...op, 4 | (ext << 3), 0x25, ...bytes(v & 0x7fff_ffffn, 4)];
  }
  private any(...of: number[][]): number[] {
    return of[this.rnd(of.length)];
  }

  private snippet(): number[] {
    const { rnd: r } = this;
    let kind = r(16);
    if (!this.wild && [0, 2, 3, 4, 5, 13, 14, 15].includes(kind) && r(8)) kind = 8;
    switch (kind) {
      case 0: {
        const n = [0, 2, 3, 4, 8][r(5)];
        const v = [this.number(), 0x8005_0033n ^ (1n << BigInt(r(32))), gpa(L4), 0x6a0n ^ (1n << BigInt(r(20)))][r(4)];
        return [...this.load(0, v), ...(n === 8 ? [0x44] : []), 0x0f, 0x20 | (r(4) ? 2 : 0), 0xc0 | ((n & 7) << 3)];
      }
      case 1:
        return [...this.load(0, this.number()), 0x0f, r(2) ? 0x23 : 0x21, 0xc0 | r(64)];
      case 2: {
        const v = [this.number(), LAPIC | 0x900n | BigInt(r(2) << 10), 0xd01n, BigInt(r(1 << 20))][r(4)];
        return [
          ...this.load(1, BigInt(r(12) ? MSRS[r(MSRS.length)] : r(0x1000))),
          ...this.load(0, v),
          ...this.load(2, r(3) ? 0n : v >> 32n),
          0x0f,
          r(3) ? 0x30 : 0x32,
        ];
      }
      case 3:
        return this.any(
          this.absolute([0x0f, 0x01], 2 + r(2), this.number()),
          this.absolute([0x0f, 0x01], 7, this.number()),
          this.absolute([0x66, 0x0f, 0x38, 0x82], 0, gpa(ARGS)),
          [0xb8, ...bytes(BigInt(r(10) * 8 + r(4)), 4), 0x0f, 0x00, 0xd0 | (r(2) << 3)],
          [0x0f, 0x01, 0xf0 | r(8)],
          [0x0f, 0x06],
        );
      case 4:
        return this.any(
          [0x48, 0xcf],
          [0xcf],
          [0x48, 0x0f, 0x07],
          [0x0f, 0x07],
          [0x0f, 0x05],
          [0x0f, 0x34],
          [0x0f, 0x35],
          [0x48, 0xcb],
        );
      case 5:
        return this.any([0xcd, r(256)], [0xcc], [0xf1], [0x0f, 0x0b], [0xfa], [0xfb], [0xfb, 0xf4], [0x9c], [0x9d]);
      case 6:
        return [
          0xb2,
          r(2) ? 0xe9 : r(256),
          ...this.any([0xec], [0xed], [0xee], [0xef], [0x66, 0xef], [0xf3, 0x6e], [0x6d], [0xe4, r(256)], [0xe6, 0xe9]),
        ];
      case 7:
        return this.any(
          [0x0f, 0x01, 0xf8],
          [0x0f, 0x01, 0xf9],
          [0x0f, 0x01, 0xd0],
          [0x0f, 0x01, 0xd1],
          [0x0f, 0xa2],
          [0x0f, 0x09],
          [0x0f, 0xc7, 0xf0],
        );
      case 8:
      case 9:
      case 10: {
        // sched_op ends it all too often.
        const any = r(40) ? (r(8) ? OPS[r(OPS.length)] : r(64)) : HYPERCALL.sched_op;
        const [op, ...args] = r(2) ? this.sensible() : [any, BigInt(r(28)), gpa(ARGS), BigInt(r(3))];
        return [
          ...[7, 6, 2, 10, 8].flatMap((n, i) => this.load(n, r(20) ? (args[i] ?? 0n) : this.number())),
          ...[0xb8, ...bytes(BigInt(op), 4), 0x0f, 0x01, r(2) ? 0xc1 : 0xd9],
        ];
      }
      case 11:
      case 12: {
        const at = [LAPIC + BigInt(r(64) * 16), gpa(PAGES + r(200), r(4096)), LAPIC + BigInt(r(4096)), this.number()][
          r(4)
        ];
        const access = this.any(
          [0x89, 0x08],
          [0x8b, 0x08],
          [0x88, 0x08],
          [0x8a, 0x20],
          [0x87, 0x08],
          [0x86, 0x20],
          [0xc7, 0x00, r(256), 0, r(4), 0],
          [0xc6, 0, 9],
          [0x0f, 0xb6, 0x08],
          [0x48, 0x0f, 0xbf, 0x08],
          [0x66, 0x89, 0x08],
          [0x48, 0x8b, 0x08],
          ...(!this.wild || r(12)
            ? []
            : [
                [0x01, 0x08],
                [0xff, 0x30],
                [0x0f, 0xae, 0x00],
                [0xf3, 0xa4],
                [0x48, 0x89, 0xc4],
              ]),
        );
        return [...this.load(0, at), ...this.load(1, BigInt(r(3) ? r(1 << 20) : r(256))), ...access];
      }
      case 13: {
        // Its own tables.
        const at = gpa([L1, L1, L2, L3, L4, GDT, IDT, IDT, TSS][r(9)], r(512) * 8);
        return [...this.load(0, at), ...this.load(1, r(2) ? this.table(r(PAGES)) : this.number()), 0x48, 0x89, 0x08];
      }
      case 14:
        return [
          ...this.load(4, r(4) ? gpa(STACK + r(4), 0xf00) : this.number()),
          ...this.any([0x8e, 0xd0], [0x8e, 0xd8], [0x50], [0x58]),
        ];
      default:
        return Array.from({ length: 1 + r(6) }, () => r(256));
    }
  }

  /** Every event leads to an instruction that is none, by IST 1. */
  spin(): void {
    this.set(L1, HANDLERS * 8, gpa(HANDLERS) | 7n);
    this.set(L1, STACK * 8, gpa(STACK) | 7n);
    this.set(TSS, 36, gpa(STACK, 0xff0));
    const handler = gpa(HANDLERS);
    for (let v = 0; v < 256; v++) {
      this.set(
        IDT,
        v * 16,
        (handler & 0xffffn) | (0x10n << 16n) | (1n << 32n) | (0x8en << 40n) | ((handler >> 16n) << 48n),
      );
      this.set(IDT, v * 16 + 8, 0n);
    }
    this.m.bytes.set([0x0f, 0x0b], this.host(HANDLERS));
    this.m.bytes.set([0x0f, 0x0b], this.host(CODE));
  }

  /** All but once in n times, and always if it is not wild. */
  private sane(n: number): boolean {
    return !this.wild || this.rnd(n) !== 0;
  }

  /** Registers and control state; the vCPU may run. */
  begin(): void {
    const { rnd: r, m } = this;
    const { cpu } = this.g;
    const { off } = CpuState;
    const set = (name: keyof typeof off, v: bigint) =>
      m.view.setBigUint64(cpu + off[name], BigInt.asUintN(64, v), true);
    const set32 = (name: keyof typeof off, v: number) => m.view.setUint32(cpu + off[name], v, true);
    for (let i = 0; i < 16; i++)
      m.view.setBigUint64(cpu + off.gpr + i * 8, this.wild ? this.number() : gpa(STACK, 0xf00), true);
    m.view.setBigUint64(cpu + off.gpr + 32, gpa(STACK, 0xf00), true);
    const user = r(this.wild ? 3 : 8) === 0;
    set32('cpl', user ? 3 : 0);
    set('cr0', this.sane(5) ? 0x8005_0033n : 0x8000_0001n | (BigInt(r(1 << 6)) << 1n));
    set('cr4', this.sane(5) ? 0x706a0n : 0x20n | (BigInt(r(0x800)) & 0x7fcn));
    set('efer', this.sane(5) ? 0xd01n : 0x500n);
    set('guest_cr3', this.sane(30) ? gpa(L4) : gpa(r(PAGES + 10)));
    set('gdt_base', this.sane(30) ? gpa(GDT) : this.number());
    set32('gdt_limit', this.sane(30) ? 0x4f : r(0x10000));
    set('idt_base', this.sane(30) ? gpa(IDT) : this.number());
    set32('idt_limit', this.sane(30) ? 0xfff : r(0x10000));
    set('tr_base', this.sane(30) ? gpa(TSS) : this.number());
    set32('tr_limit', this.sane(30) ? 0x67 : r(0x10000));
    set('star', 0x0023_0010_0000_0000n);
    set('lstar', r(3) ? gpa(HANDLERS) : this.number());
    set('rflags', 0x2n | (r(2) ? 0x200n : 0n) | (this.sane(8) ? 0n : 0x100n) | (BigInt(r(4)) << 12n));
    set('rip', gpa(CODE, 0));
    const sel = [0x2b, user ? 0x33 : 0x10, user ? 0x2b : 0x18, 0x2b, 0, 0, 0, 0];
    for (const [i, s] of sel.entries()) m.view.setUint16(cpu + off.sel + i * 2, s, true);
  }
}

test('exceptions without end, on a stack that does not move, leave the pCPU to others in time', () => {
  const m = new EngineMachine();
  const t = new Hostile(m, random(1), makeGuest(m));
  t.g.start();
  expect(t.mayGoOn()).toBe(true);
  t.prepare();
  t.begin();
  t.spin();
  m.runGuests(3000);
  expect(m.entries).toBe(3000);
  expect(m.turns).toBeGreaterThan(2);
});

test('nothing that an HVM container does harms anyone else', { timeout: 60_000 }, () => {
  const m = new EngineMachine();
  const pv = makeGuest(m);
  const hvm = new HvmGuest(m, 32);
  const table = m.grantFrame(pv.domid);
  const grant = (ref: number, flags: number, domid: number) => {
    m.view.setUint16(table * PAGE + ref * 8 + 2, domid, true);
    m.view.setUint32(table * PAGE + ref * 8 + 4, pv.mfns[20 + ref], true);
    m.view.setUint16(table * PAGE + ref * 8, flags, true);
  };
  // Page 28 of the PV domain may be written to.
  const others = [...pv.mfns.filter((_, i) => i !== 28), ...Array.from({ length: 32 }, (_, i) => hvm.mfn(i))];
  for (const mfn of others)
    if (!pv.mfns.slice(0, 4).includes(mfn)) m.bytes.fill(mfn & 0xff, mfn * PAGE, (mfn + 1) * PAGE);
  const memory = () => Buffer.concat(others.map((mfn) => m.bytes.subarray(mfn * PAGE, (mfn + 1) * PAGE)));
  const before = memory();
  const free = m.freeFrames();
  let mapped = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const what = `seed ${seed}`;
    const t = new Hostile(m, random(seed), pv);
    grant(8, GTF.permit_access, t.g.domid);
    grant(9, GTF.permit_access | GTF.readonly, t.g.domid);
    t.g.start();
    for (let round = 0; round < ROUNDS && t.mayGoOn(); round++) {
      t.prepare();
      t.begin();
      m.runGuests(ENTRIES);
    }
    // Not so that the guest runs once more.
    m.domctlPause(t.g.domid);
    if (t.g.field('maps_foreign')) mapped++;
    if (seed % AUDIT === 0) expect(auditMachine(m), what).toEqual([]);
    m.destroyDomain(t.g.domid);
    expect(m.freeFrames(), what).toBe(free);
    expect(memory().equals(before), what).toBe(true);
  }
  // They live long enough to try something.
  expect(m.entries).toBeGreaterThan(SEEDS * 20);
  expect(mapped).toBeGreaterThan(SEEDS / 10);
});
