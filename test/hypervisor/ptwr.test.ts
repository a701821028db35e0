/** The stores that ptwr makes for a guest, each form and size, against what the manual says they compute. */
import { beforeAll, describe, expect, test } from 'vitest';
import { HYPERCALL, VMASST_CMD, VMASST_TYPE } from '../../src/abi/xen.ts';
import { CpuState } from '../../src/engine/state.ts';
import { CODE_PAGE, GuestCalls, STACK_PAGE, start, va } from './guest-script.ts';
import { MmMachine, makeGuest, PAGE, type TestGuest } from './mm-machine.ts';

/** Entry of the L1 that is stored to. It stays not present, so any value may be written. */
const SLOT = 200;
const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSI = 6;
const RDI = 7;

let m: MmMachine;
let g: TestGuest;

beforeAll(() => {
  m = new MmMachine();
  g = makeGuest(m);
  start(m, g);
  const c = new GuestCalls(m, g);
  m.guest(function* () {
    yield* c.call(HYPERCALL.vm_assist, VMASST_CMD.enable, VMASST_TYPE.writable_pagetables);
  });
});

interface Flags {
  cf: boolean;
  zf: boolean;
  sf: boolean;
  of: boolean;
  pf: boolean;
}
interface Case {
  code: number[];
  entry: bigint;
  /** Byte offset of the operand in the entry. */
  offset?: number;
  regs?: Record<number, bigint>;
  /** Carry on entry. */
  cf?: boolean;
  /** Bytes of code that are not executed (a repeated instruction stays). */
  stays?: boolean;
  /** Where a call goes. */
  to?: bigint;
  /** Bytes of XMM9. */
  xmm?: readonly [bigint, bigint];
}
interface Outcome {
  entry: bigint;
  regs: bigint[];
  flags: Flags;
}

const ADDRESS = (offset = 0) => va(3, SLOT * 8 + offset);

/** Runs one instruction that faults on the entry (rdi holds its address). */
function run({ code, entry, offset = 0, regs = {}, cf = false, stays = false, to, xmm }: Case): Outcome {
  m.bytes.set(code, g.mfns[CODE_PAGE] * PAGE);
  m.setEntry(g.l1, SLOT, entry);
  let out: Outcome | undefined;
  m.guest(function* () {
    // Nothing runs between: set the carry and an overflow of 0 by hand.
    const fc = m.runningCpu + CpuState.off.fc;
    m.view.setBigUint64(fc, cf ? 3n << 62n : 0n, true);
    for (const half of [0, 1])
      m.view.setBigUint64(m.runningCpu + CpuState.off.xmm + 9 * 16 + half * 8, xmm?.[half] ?? 0n, true);
    const rip = yield {
      va: ADDRESS(offset),
      error: 7,
      rip: va(CODE_PAGE),
      regs: { 4: va(STACK_PAGE + 1), [RDI]: ADDRESS(), ...regs },
    };
    expect(rip).toBe(to ?? va(CODE_PAGE) + BigInt(stays ? 0 : code.length));
    const cpu = m.runningCpu;
    const word = (at: number) => m.view.getBigUint64(cpu + at, true);
    const c = word(CpuState.off.fc);
    const s = word(CpuState.off.fs);
    let parity = Number(s & 0xffn);
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    out = {
      entry: m.entry(g.l1, SLOT),
      regs: Array.from({ length: 16 }, (_, n) => m.guestRegister(n)),
      flags: {
        cf: c >> 63n === 1n,
        zf: word(CpuState.off.fz) === 0n,
        sf: s >> 63n === 1n,
        of: c >> 63n !== ((c >> 62n) & 1n),
        pf: !(parity & 1),
      },
    };
  });
  return out as Outcome;
}

const mask = (size: number) => (1n << BigInt(size * 8)) - 1n;
const signed = (v: bigint, size: number) => BigInt.asIntN(size * 8, v);
/** The entry with its operand replaced. */
const put = (entry: bigint, offset: number, size: number, v: bigint) => {
  const shift = BigInt(offset * 8);
  return (entry & ~(mask(size) << shift)) | ((v & mask(size)) << shift);
};
/** Prefixes for an operand of this size, and the opcode of its form. */
const form = (op: number, size: number) => [
  ...(size === 2 ? [0x66] : []),
  ...(size === 8 ? [0x48] : []),
  size === 1 ? op : op | 1,
];

const VALUES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffff_ffff_fffen,
  0x8000_0000_0000_0000n,
  0x1234_5678_9abc_def0n,
];

const ALU = ['add', 'or', 'adc', 'sbb', 'and', 'sub', undefined, undefined] as const;
ALU.forEach((name, kind) => {
  if (!name) return;
  for (const size of [1, 2, 4, 8]) {
    test(`${name} r/m, r of ${size} bytes`, () => {
      // Not the low bytes of the entry, so that it does not become present; whole entries take even values only.
      const offset = size === 8 ? 0 : 4;
      for (const a0 of VALUES) {
        for (const b0 of VALUES) {
          const a = size === 8 ? a0 & ~1n : a0 & mask(size);
          const b = b0 & mask(size);
          const cf = (a0 ^ b0) % 3n === 0n;
          const c = (name === 'adc' || name === 'sbb') && cf ? 1n : 0n;
          const minus = name === 'sub' || name === 'sbb';
          const full = name === 'or' ? a | b : name === 'and' ? a & b : minus ? a - b - c : a + b + c;
          const exact = minus ? signed(a, size) - signed(b, size) - c : signed(a, size) + signed(b, size) + c;
          const r = full & mask(size);
          if (size === 8 && r & 1n) continue;
          const entry = put(0x5550_0000_0aa0n, offset, size, a);
          const out = run({ code: [...form(kind << 3, size), 0x4f, offset], entry, offset, regs: { [RCX]: b0 }, cf });
          expect(out.entry).toBe(put(entry, offset, size, r));
          const logic = name === 'or' || name === 'and';
          expect(out.flags).toMatchObject({
            zf: r === 0n,
            sf: signed(r, size) < 0n,
            cf: !logic && (minus ? full < 0n : full > mask(size)),
            of: !logic && signed(r, size) !== exact,
          });
        }
      }
    });
  }
});

test('xor with an immediate, lock or not', () => {
  expect(run({ code: [0x48, 0x83, 0x37, 0xfe], entry: 0x10n }).entry).toBe(0xffff_ffff_ffff_ffeen);
  expect(run({ code: [0xf0, 0x81, 0x77, 0x04, 1, 0, 0, 0x80], entry: 0x10n, offset: 4 }).entry).toBe(
    0x8000_0001_0000_0010n,
  );
  expect(run({ code: [0xf0, 0x80, 0x37, 0xf0], entry: 0x10n }).entry).toBe(0xe0n);
});

test('inc and dec leave the carry alone; not leaves all flags; neg sets the carry', () => {
  const inc = run({ code: [0xff, 0x47, 0x04], entry: 0x7fff_ffff_0000_0010n, offset: 4, cf: true });
  expect(inc.entry).toBe(0x8000_0000_0000_0010n);
  expect(inc.flags).toMatchObject({ cf: true, of: true, sf: true, zf: false });
  const dec = run({ code: [0xfe, 0x4f, 0x04], entry: 0x1_0000_0010n, offset: 4 });
  expect(dec.entry).toBe(0x10n);
  expect(dec.flags).toMatchObject({ cf: false, of: false, sf: false, zf: true, pf: true });
  const not = run({ code: [0xf7, 0x57, 0x04], entry: 0xffff_fff0_0000_0010n, offset: 4, cf: true });
  expect(not.entry).toBe(0xf_0000_0010n);
  expect(not.flags.cf).toBe(true);
  const neg = run({ code: [0x48, 0xf7, 0x1f], entry: 2n });
  expect(neg.entry).toBe(0xffff_ffff_ffff_fffen);
  expect(neg.flags).toMatchObject({ cf: true, of: false, sf: true, zf: false });
});

test('xchg, xadd, cmpxchg with what they leave in registers', () => {
  const x = run({
    code: [0x87, 0x4f, 0x04],
    entry: 0x1111_2222_3333_4440n,
    offset: 4,
    regs: { [RCX]: 0xffff_ffff_aaaa_bbbbn },
  });
  expect([x.entry, x.regs[RCX]]).toEqual([0xaaaa_bbbb_3333_4440n, 0x1111_2222n]);
  const xb = run({ code: [0x86, 0x6f, 0x05], entry: 0x1111_2222_3333_4440n, offset: 5, regs: { [RCX]: 0x1234n } });
  expect([xb.entry, xb.regs[RCX]]).toEqual([0x1111_1222_3333_4440n, 0x2234n]);
  const xadd = run({ code: [0xf0, 0x48, 0x0f, 0xc1, 0x0f], entry: 0x40n, regs: { [RCX]: 0x20n } });
  expect([xadd.entry, xadd.regs[RCX], xadd.flags.zf]).toEqual([0x60n, 0x40n, false]);
  const equal = run({ code: [0xf0, 0x48, 0x0f, 0xb1, 0x0f], entry: 0x40n, regs: { [RAX]: 0x40n, [RCX]: 0x80n } });
  expect([equal.entry, equal.regs[RAX], equal.flags.zf]).toEqual([0x80n, 0x40n, true]);
  const unequal = run({
    code: [0x0f, 0xb1, 0x4f, 0x04],
    entry: 0x77_0000_0040n,
    offset: 4,
    regs: { [RAX]: 0xffff_ffff_0000_0078n, [RCX]: 1n },
  });
  expect([unequal.entry, unequal.regs[RAX], unequal.flags]).toEqual([
    0x77_0000_0040n,
    0x77n,
    { zf: false, cf: false, sf: false, of: false, pf: false },
  ]);
  const regs = { [RAX]: 0x40n, [RDX]: 0x1n, [RBX]: 0x60n, [RCX]: 0x2n };
  const eight = run({ code: [0xf0, 0x0f, 0xc7, 0x0f], entry: 0x1_0000_0040n, regs });
  expect([eight.entry, eight.flags.zf]).toEqual([0x2_0000_0060n, true]);
  const not8 = run({ code: [0xf0, 0x0f, 0xc7, 0x0f], entry: 0x1_0000_0080n, regs });
  expect([not8.entry, not8.flags.zf, not8.regs[RAX], not8.regs[RDX]]).toEqual([0x1_0000_0080n, false, 0x80n, 1n]);
});

test('bts, btr, btc: by immediate, and by a register whose value may lie in another word', () => {
  const bts = run({ code: [0xf0, 0x48, 0x0f, 0xba, 0x2f, 70], entry: 0n });
  expect([bts.entry, bts.flags.cf]).toEqual([0x40n, false]);
  const btc = run({ code: [0x48, 0x0f, 0xba, 0x3f, 6], entry: 0x40n });
  expect([btc.entry, btc.flags.cf]).toEqual([0n, true]);
  // rdi points two entries below; bit 133 of the string is bit 5 of ours.
  const btr = run({ code: [0x48, 0x0f, 0xb3, 0x0f], entry: 0x60n, regs: { [RDI]: ADDRESS(-16), [RCX]: 133n } });
  expect([btr.entry, btr.flags.cf]).toEqual([0x40n, true]);
  const back = run({
    code: [0x0f, 0xab, 0x0f],
    entry: 0n,
    regs: { [RDI]: ADDRESS(8), [RCX]: BigInt.asUintN(64, -60n) },
  });
  expect(back.entry).toBe(0x10n);
});

test('mov forms, movnti, setcc', () => {
  expect(run({ code: [0x48, 0xc7, 0x07, 0xf0, 0xff, 0xff, 0xff], entry: 2n }).entry).toBe(0xffff_ffff_ffff_fff0n);
  expect(run({ code: [0x66, 0xc7, 0x47, 0x06, 0x34, 0x12], entry: 2n, offset: 6 }).entry).toBe(0x1234_0000_0000_0002n);
  expect(run({ code: [0xc6, 0x07, 0x80], entry: 2n }).entry).toBe(0x80n);
  expect(run({ code: [0x48, 0x0f, 0xc3, 0x0f], entry: 2n, regs: { [RCX]: 0x1234_5678n } }).entry).toBe(0x1234_5678n);
  // mov byte [rdi + 1], ch
  expect(run({ code: [0x88, 0x6f, 0x01], entry: 2n, offset: 1, regs: { [RCX]: 0xab00n } }).entry).toBe(0xab02n);
  // setc, setnc
  expect(run({ code: [0x0f, 0x92, 0x47, 0x04], entry: 2n, offset: 4, cf: true }).entry).toBe(0x1_0000_0002n);
  expect(run({ code: [0x0f, 0x93, 0x47, 0x04], entry: 0xff_0000_0002n, offset: 4, cf: true }).entry).toBe(2n);
  // mov [moffs64], rax
  const moffs = [...new Uint8Array(new BigUint64Array([ADDRESS()]).buffer)];
  expect(run({ code: [0x48, 0xa3, ...moffs], entry: 2n, regs: { [RAX]: 0x70n } }).entry).toBe(0x70n);
});

test('address forms: base, index and scale, displacements, rip', () => {
  const base = { [RCX]: 0x20n };
  // [rax + rdx * 8 - 8]
  const sib = run({
    code: [0x48, 0x89, 0x4c, 0xd0, 0xf8],
    entry: 0n,
    regs: { ...base, [RAX]: ADDRESS(-32), [RDX]: 5n },
  });
  expect(sib.entry).toBe(0x20n);
  // [r9 * 1 + disp32]
  const noBase = run({ code: [0x4a, 0x89, 0x0c, 0x0d, 8, 0, 0, 0], entry: 0n, regs: { ...base, 9: ADDRESS(-8) } });
  expect(noBase.entry).toBe(0x20n);
  const disp = Number(ADDRESS() - va(CODE_PAGE) - 7n);
  const rip = run({
    code: [0x48, 0x89, 0x0d, ...new Uint8Array(new Int32Array([disp]).buffer)],
    entry: 0n,
    regs: base,
  });
  expect(rip.entry).toBe(0x20n);
  // a32: the upper half of the address does not count
  expect(
    run({ code: [0x67, 0x48, 0x89, 0x0f], entry: 0n, regs: { ...base, [RDI]: ADDRESS() | (1n << 40n) } }).entry,
  ).toBe(0x20n);
});

test('stos and movs, one element at a time', () => {
  const stos = run({ code: [0x48, 0xab], entry: 2n, regs: { [RAX]: 0x80n } });
  expect([stos.entry, stos.regs[RDI]]).toEqual([0x80n, ADDRESS(8)]);
  const rep = run({ code: [0xf3, 0x48, 0xab], entry: 2n, regs: { [RAX]: 0x80n, [RCX]: 2n }, stays: true });
  expect([rep.entry, rep.regs[RDI], rep.regs[RCX]]).toEqual([0x80n, ADDRESS(8), 1n]);
  const last = run({ code: [0xf3, 0x48, 0xab], entry: 2n, regs: { [RAX]: 0x40n, [RCX]: 1n } });
  expect([last.entry, last.regs[RCX]]).toEqual([0x40n, 0n]);
  m.setEntry(g.mfns[40], 3, 0x1230n);
  const movs = run({ code: [0x48, 0xa5], entry: 2n, regs: { [RSI]: va(40, 24) } });
  expect([movs.entry, movs.regs[RSI], movs.regs[RDI]]).toEqual([0x1230n, va(40, 32), ADDRESS(8)]);
});

/** What a shift or rotation by one bit does to a value of `size` bytes and to the carry. */
const STEPS: Record<string, (v: bigint, cf: bigint, bits: bigint) => readonly [bigint, bigint]> = {
  rol: (v, _, n) => [(v << 1n) | (v >> (n - 1n)), v >> (n - 1n)],
  ror: (v, _, n) => [(v >> 1n) | ((v & 1n) << (n - 1n)), v & 1n],
  rcl: (v, cf, n) => [(v << 1n) | cf, v >> (n - 1n)],
  rcr: (v, cf, n) => [(v >> 1n) | (cf << (n - 1n)), v & 1n],
  shl: (v, _, n) => [v << 1n, v >> (n - 1n)],
  shr: (v) => [v >> 1n, v & 1n],
  sar: (v, _, n) => [(v >> 1n) | (v & (1n << (n - 1n))), v & 1n],
};

describe.each([
  ['rol', 0],
  ['ror', 1],
  ['rcl', 2],
  ['rcr', 3],
  ['shl', 4],
  ['shr', 5],
  ['shl', 6],
  ['sar', 7],
] as const)('%s (/%i)', (name, ext) => {
  test.each([1, 2, 4, 8])('of %i bytes, by 1, by an immediate, by cl', (size) => {
    const offset = size === 8 ? 0 : 4;
    const bits = BigInt(size * 8);
    for (const a0 of VALUES) {
      for (const count of [0, 1, 2, 7, 8, 13, 31, 33, 63]) {
        const a = size === 8 ? a0 & ~1n : a0 & mask(size);
        const cf = (a0 + BigInt(count)) % 3n === 0n;
        let [v, c] = [a, cf ? 1n : 0n];
        for (let n = count & (size === 8 ? 63 : 31); n > 0; n--) {
          const [next, carry] = STEPS[name](v, c, bits);
          [v, c] = [next & mask(size), carry & 1n];
        }
        if (size === 8 && v & 1n) continue; // It would become present.
        const entry = put(0x5550_0000_0aa0n, offset, size, a);
        const common = { entry, offset, cf, regs: { [RCX]: 0xab00n | BigInt(count) } };
        const modrm = [0x47 | (ext << 3), offset];
        const outs = [run({ ...common, code: [...form(0xd2, size), ...modrm] })];
        outs.push(run({ ...common, code: [...form(0xc0, size), ...modrm, count] }));
        if (count === 1) outs.push(run({ ...common, code: [...form(0xd0, size), ...modrm] }));
        for (const out of outs) {
          expect(out.entry).toBe(put(entry, offset, size, v));
          expect(out.flags.cf).toBe(c === 1n);
          if (count === 0) continue;
          if (ext >= 4) expect(out.flags).toMatchObject({ zf: v === 0n, sf: signed(v, size) < 0n });
          const top = (x: bigint) => (x >> (bits - 1n)) & 1n;
          const of = ext % 2 === 0 ? top(v) ^ c : ext === 5 ? top(a) : ext === 7 ? 0n : top(v) ^ top(v << 1n);
          if (count === 1) expect(out.flags.of).toBe(of === 1n);
        }
      }
    }
  });
});

test('shld and shrd bring in the register’s bits', () => {
  const regs = { [RCX]: 0xf00d_0000_0000_0ff8n, [RDX]: 0n };
  const shld = run({ code: [0x48, 0x0f, 0xa4, 0x0f, 12], entry: 0x8001_2345_6789_abc0n, regs });
  expect([shld.entry, shld.flags.cf, shld.flags.sf]).toEqual([0x1234_5678_9abc_0f00n, false, false]);
  const shrd = run({ code: [0x48, 0x0f, 0xac, 0x0f, 12], entry: 0x8001_2345_6789_a800n, regs });
  expect([shrd.entry, shrd.flags.cf, shrd.flags.sf]).toEqual([0xff88_0012_3456_789an, true, true]);
  // 32 bits by cl (0xf8 & 31 = 24)
  const cl = run({ code: [0x0f, 0xa5, 0x57, 0x04], entry: 0x1122_3344_0000_0020n, offset: 4, regs });
  expect(cl.entry).toBe(0x4400_0000_0000_0020n);
});

test('push: registers, immediates, operands in memory', () => {
  const regs = { 4: ADDRESS(8), [RCX]: 0x1230n, 9: 0x4560n };
  const push = (code: number[], more: Partial<Case> = {}) => run({ code, entry: 2n, regs, ...more });
  const rcx = push([0x51]);
  expect([rcx.entry, rcx.regs[4]]).toEqual([0x1230n, ADDRESS()]);
  expect(push([0x41, 0x51]).entry).toBe(0x4560n);
  expect(push([0x6a, 0xf0]).entry).toBe(0xffff_ffff_ffff_fff0n);
  expect(push([0x68, 0x10, 0x20, 0, 0x80]).entry).toBe(0xffff_ffff_8000_2010n);
  const word = push([0x66, 0x68, 0x34, 0x12], { offset: 6, regs: { 4: ADDRESS(8) } });
  expect([word.entry, word.regs[4]]).toEqual([0x1234_0000_0000_0002n, ADDRESS(6)]);
  expect(push([0xff, 0xf1]).entry).toBe(0x1230n);
  m.setEntry(g.mfns[40], 3, 0x9870n);
  expect(push([0xff, 0x36], { regs: { ...regs, [RSI]: va(40, 24) } }).entry).toBe(0x9870n);
  // The value of rsp is that before.
  const rsp = push([0x54], { regs: { 4: ADDRESS(8) } });
  expect([rsp.entry, rsp.regs[4]]).toEqual([ADDRESS(8), ADDRESS()]);
});

test('call pushes where it returns to', () => {
  // Behind a call of an even length, that the entry does not become present.
  const at = (n: number) => va(CODE_PAGE) + BigInt(n);
  const regs = { 4: ADDRESS(8), [RCX]: at(0x100) };
  const direct = run({ code: [0x2e, 0xe8, 0x10, 0, 0, 0], entry: 2n, regs, to: at(0x16) });
  expect([direct.entry, direct.regs[4]]).toEqual([at(6), ADDRESS()]);
  expect(run({ code: [0xff, 0xd1], entry: 2n, regs, to: at(0x100) }).entry).toBe(at(2));
  m.setEntry(g.mfns[40], 3, at(0x200));
  const memory = run({ code: [0xff, 0x16], entry: 2n, regs: { ...regs, [RSI]: va(40, 24) }, to: at(0x200) });
  expect(memory.entry).toBe(at(2));
});

test('SSE stores of up to 8 bytes', () => {
  const xmm = [0x1122_3344_5566_7788n, 0x99aa_bbcc_ddee_ff00n] as const;
  const store = (code: number[], offset = 0) => run({ code, entry: 2n, offset, xmm }).entry;
  expect(store([0xf3, 0x44, 0x0f, 0x11, 0x4f, 0x04], 4)).toBe(0x5566_7788_0000_0002n); // movss
  expect(store([0xf2, 0x44, 0x0f, 0x11, 0x0f])).toBe(xmm[0]); // movsd
  expect(store([0x44, 0x0f, 0x13, 0x0f])).toBe(xmm[0]); // movlps
  expect(store([0x66, 0x44, 0x0f, 0x17, 0x0f])).toBe(xmm[1]); // movhpd
  expect(store([0x66, 0x44, 0x0f, 0x7e, 0x4f, 0x04], 4)).toBe(0x5566_7788_0000_0002n); // movd
  expect(store([0x66, 0x4c, 0x0f, 0x7e, 0x0f])).toBe(xmm[0]); // movq
  expect(store([0x66, 0x44, 0x0f, 0xd6, 0x0f])).toBe(xmm[0]); // movq
});
