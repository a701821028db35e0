/** Exits of system instructions, division of 128 bits, flags as a whole, locked operations that cross a page. */
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RFLAGS } from '../../src/engine/flags.ts';
import { CpuState, EXIT, GPR, SEG, VEC } from '../../src/engine/state.ts';
import { MACHINE_INFO_ADDRESS, MachineInfo } from '../../src/machine/layout.ts';
import { Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const DATA = 0x10000000n;
const { off } = CpuState;
const hlt = 0xf4;
const M64 = (1n << 64n) - 1n;

let s: Sandbox;
beforeAll(() => {
  s = new Sandbox();
  s.map(CODE);
  s.map(DATA);
  s.map(DATA + 4096n);
});
beforeEach(() => s.reset());

/** Run code followed by hlt; the exit. */
function run(code: number[], mode: 0 | 1 = 0): number {
  s.set32('mode', mode);
  s.poke(CODE, [...code, hlt]);
  return s.run(CODE);
}
/** Did the code run to its end? */
const completes = (code: number[], mode: 0 | 1 = 0): boolean =>
  run(code, mode) === EXIT.PRIVILEGED && s.get64('rip') === CODE + BigInt(code.length);

describe('exits', () => {
  it.each([
    ['syscall', [0x0f, 0x05], EXIT.SYSCALL],
    ['sysenter', [0x0f, 0x34], EXIT.SYSENTER],
    ['cpuid', [0x0f, 0xa2], EXIT.CPUID],
    ['vmcall', [0x0f, 0x01, 0xc1], EXIT.VMCALL],
    ['vmmcall', [0x0f, 0x01, 0xd9], EXIT.VMCALL],
    ['rdmsr', [0x0f, 0x32], EXIT.PRIVILEGED],
    ['cli', [0xfa], EXIT.PRIVILEGED],
    ['sti', [0xfb], EXIT.PRIVILEGED],
    ['in al, 0x80', [0xe4, 0x80], EXIT.PRIVILEGED],
    ['rep outsb', [0xf3, 0x6e], EXIT.PRIVILEGED],
    ['mov rax, cr3', [0x0f, 0x20, 0xd8], EXIT.PRIVILEGED],
    ['mov cr8, rax', [0x44, 0x0f, 0x22, 0xc0], EXIT.PRIVILEGED],
    ['invlpg', [0x0f, 0x01, 0x3e], EXIT.PRIVILEGED],
    ['swapgs', [0x0f, 0x01, 0xf8], EXIT.PRIVILEGED],
  ])('%s leaves at the instruction, with its length', (_, code, reason) => {
    expect(run(code)).toBe(reason);
    expect(s.get64('rip')).toBe(CODE);
    expect(s.get32('exit_len')).toBe(code.length);
  });
  it('software interrupts give their vector', () => {
    expect([run([0xcd, 0x82]), s.get32('exit_vector'), s.get32('exit_len')]).toEqual([EXIT.SOFTINT, 0x82, 2]);
    expect([run([0xcc]), s.get32('exit_vector'), s.get32('exit_len')]).toEqual([EXIT.SOFTINT, 3, 1]);
  });
  it('int1 is a trap', () => {
    expect([run([0xf1]), s.get32('exit_vector'), s.get64('rip')]).toEqual([EXIT.EXCEPTION, VEC.DB, CODE + 1n]);
  });
  it.each([
    ['ud2, also before xen cpuid', [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2]],
    ['ud1', [0x0f, 0xb9, 0xc0]],
    ['rdfsbase without CR4.FSGSBASE', [0xf3, 0x48, 0x0f, 0xae, 0xc0]],
    ['xgetbv without CR4.OSXSAVE', [0x0f, 0x01, 0xd0]],
    ['mwait', [0x0f, 0x01, 0xc9]],
    ['mov cs', [0x8e, 0xc8]],
    ['lock on a register', [0xf0, 0x01, 0xc0]],
    ['mov rax, cr1', [0x0f, 0x20, 0xc8]],
  ])('#UD: %s', (_, code) => {
    expect([run(code), s.get32('exit_vector'), s.get64('rip')]).toEqual([EXIT.EXCEPTION, VEC.UD, CODE]);
  });
  it('cli and sti change IF when IOPL allows it', () => {
    s.set64('rflags', 0x3202n);
    expect(completes([0xfa])).toBe(true);
    expect(s.get64('rflags')).toBe(0x3002n);
    expect(completes([0xfb])).toBe(true);
    expect(s.get64('rflags')).toBe(0x3202n);
  });
});

describe('clocks and registers of the system', () => {
  it('rdtsc scales machine time and adds the offset', () => {
    s.view.setUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.tsc_khz, 2_000_000, true);
    s.set64('tsc_offset', 1n << 40n);
    expect(completes([0x0f, 0x31, 0x48, 0x89, 0xc6, 0x48, 0x89, 0xd7])).toBe(true);
    const first = (s.gpr(GPR.RDI) << 32n) | s.gpr(GPR.RSI);
    expect(first).toBeGreaterThan(1n << 40n);
    expect(completes([0x0f, 0x01, 0xf9])).toBe(true);
    expect((s.gpr(GPR.RDX) << 32n) | s.gpr(GPR.RAX)).toBeGreaterThanOrEqual(first);
  });
  it('rdtsc asks the hypervisor when CR4.TSD is set', () => {
    s.set64('cr4', 4n);
    expect([run([0x0f, 0x31]), s.get64('rip')]).toEqual([EXIT.PRIVILEGED, CODE]);
  });
  it('rdrand sets CF alone', () => {
    s.call('rflags_set', s.cpu, 0x8d6n);
    expect(completes([0x48, 0x0f, 0xc7, 0xf0])).toBe(true);
    expect(s.call('rflags_get', s.cpu)).toBe(0x3n);
    expect(s.gpr(GPR.RAX)).not.toBe(0n);
  });
  it('xgetbv reads xcr0', () => {
    s.set64('cr4', 1n << 18n);
    s.setGpr(GPR.RCX, 0n);
    expect(completes([0x0f, 0x01, 0xd0])).toBe(true);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([3n, 0n]);
    s.setGpr(GPR.RCX, 1n);
    expect([run([0x0f, 0x01, 0xd0]), s.get32('exit_vector')]).toEqual([EXIT.EXCEPTION, VEC.GP]);
  });
  it('wrgsbase refuses what is not canonical', () => {
    s.set64('cr4', 1n << 16n);
    s.setGpr(GPR.RAX, 0xffff_8000_0000_0000n);
    expect(completes([0xf3, 0x48, 0x0f, 0xae, 0xd8])).toBe(true);
    expect(s.view.getBigUint64(s.cpu + off.segbase + 8 * SEG.GS, true)).toBe(0xffff_8000_0000_0000n);
    s.setGpr(GPR.RAX, 0x8000_0000_0000n);
    expect([run([0xf3, 0x48, 0x0f, 0xae, 0xd8]), s.get32('exit_vector')]).toEqual([EXIT.EXCEPTION, VEC.GP]);
  });
});

describe('flags as a whole', () => {
  it('come back as they were set', () => {
    const writable = BigInt(
      RFLAGS.STATUS | RFLAGS.TF | RFLAGS.IF | RFLAGS.DF | RFLAGS.IOPL | RFLAGS.NT | RFLAGS.AC | RFLAGS.ID,
    );
    for (let i = 0n; i < 256n; i++) {
      // All combinations of the status flags.
      const v =
        (i & 1n) | ((i & 2n) << 1n) | ((i & 4n) << 2n) | ((i & 24n) << 3n) | ((i & 32n) << 6n) | ((i & 0xc0n) << 12n);
      s.call('rflags_set', s.cpu, v);
      expect(s.call('rflags_get', s.cpu)).toBe((v & (writable | (3n << 18n))) | 2n);
    }
    s.call('rflags_set', s.cpu, M64);
    expect(s.call('rflags_get', s.cpu)).toBe(0x3f7fd7n);
  });
  it('popf at CPL 3 leaves IF and IOPL', () => {
    s.poke(DATA, [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    s.setGpr(GPR.RSP, DATA);
    s.set64('rflags', 0x202n);
    // Not TF: it would stop after the next instruction.
    s.poke(DATA + 1n, [0xfe]);
    expect(completes([0x9d])).toBe(true);
    expect(s.call('rflags_get', s.cpu)).toBe(0x244ed7n | 0x200n);
    expect(s.gpr(GPR.RSP)).toBe(DATA + 8n);
  });
});

describe('the trap flag', () => {
  it('set by popf traps after the next instruction', () => {
    s.setGpr(GPR.RSP, DATA);
    s.poke(DATA, [2, 1, 0, 0, 0, 0, 0, 0]);
    s.setGpr(GPR.RAX, 0n);
    // popf; inc eax; inc eax
    expect(run([0x9d, 0xff, 0xc0, 0xff, 0xc0])).toBe(EXIT.PREEMPT);
    expect(s.get64('rip')).toBe(CODE + 1n);
    expect([s.run(CODE + 1n), s.get32('exit_vector')]).toEqual([EXIT.EXCEPTION, VEC.DB]);
    expect([s.get64('rip'), s.gpr(GPR.RAX)]).toEqual([CODE + 3n, 1n]);
  });
});

describe('128-bit division', () => {
  const u64 = fc.oneof(
    fc.bigInt({ min: 0n, max: M64 }),
    fc.constantFrom(
      0n,
      1n,
      2n,
      M64,
      M64 - 1n,
      1n << 63n,
      (1n << 63n) - 1n,
      0xffff_ffffn,
      1n << 32n,
      (M64 << 32n) & M64,
    ),
  );
  const i = (v: bigint) => BigInt.asIntN(64, v);
  const result = (name: string, hi: bigint, lo: bigint, d: bigint) =>
    s.call(name, s.cpu, i(hi), i(lo), i(d)) ? [s.get64('ret0'), s.get64('ret1')] : undefined;
  it('unsigned', () => {
    fc.assert(
      fc.property(u64, u64, u64, (a, lo, d) => {
        for (const hi of d ? [a % d, a] : [a]) {
          const n = (hi << 64n) | lo;
          const want = d === 0n || n / d > M64 ? undefined : [n / d, n % d];
          expect(result('div128', hi, lo, d)).toEqual(want);
        }
      }),
      { numRuns: 3000 },
    );
  });
  it('signed', () => {
    fc.assert(
      fc.property(u64, u64, u64, fc.boolean(), (a, lo, d, near) => {
        // Quotients around the limit of 63 bits.
        const m = i(d) < 0n ? -i(d) : i(d);
        const hi = near && m > 1n ? BigInt.asUintN(64, i(a) % (m / 2n + 1n)) : a;
        const n = BigInt.asIntN(128, (hi << 64n) | lo);
        const q = d === 0n ? 1n << 100n : n / i(d);
        const want = q === i(q) ? [BigInt.asUintN(64, q), BigInt.asUintN(64, n % i(d))] : undefined;
        expect(result('idiv128', hi, lo, d)).toEqual(want);
      }),
      { numRuns: 3000 },
    );
  });
  it('faults at the instruction', () => {
    s.setGpr(GPR.RAX, 5n);
    s.setGpr(GPR.RDX, 7n);
    s.setGpr(GPR.RBX, 7n);
    expect([run([0x48, 0xf7, 0xf3]), s.get32('exit_vector'), s.get64('rip')]).toEqual([EXIT.EXCEPTION, VEC.DE, CODE]);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([5n, 7n]);
  });
});

describe('locked operations', () => {
  /** Address of 8 bytes of which 3 are in the next page. */
  const at = DATA + 4096n - 5n;
  const value = () => new DataView(s.peek(at, 8).buffer).getBigUint64(0, true);
  const set = (v: bigint) => s.poke(at, [...new Uint8Array(BigUint64Array.of(v).buffer)]);
  beforeEach(() => s.setGpr(GPR.RSI, at));
  it.each([
    ['lock add [rsi], rax', [0xf0, 0x48, 0x01, 0x06], (v: bigint, a: bigint) => v + a],
    ['lock neg [rsi]', [0xf0, 0x48, 0xf7, 0x1e], (v: bigint) => -v],
    ['lock not [rsi]', [0xf0, 0x48, 0xf7, 0x16], (v: bigint) => ~v],
    ['lock inc [rsi]', [0xf0, 0x48, 0xff, 0x06], (v: bigint) => v + 1n],
    ['xchg [rsi], rax', [0x48, 0x87, 0x06], (_: bigint, a: bigint) => a],
    ['lock xadd [rsi], rax', [0xf0, 0x48, 0x0f, 0xc1, 0x06], (v: bigint, a: bigint) => v + a],
    ['lock btc [rsi], 37', [0xf0, 0x48, 0x0f, 0xba, 0x3e, 37], (v: bigint) => v ^ (1n << 37n)],
  ])('%s across pages', (_, code, f) => {
    const a = 0x0123_4567_89ab_cdefn;
    const v = 0xfedc_ba98_7654_3211n;
    s.setGpr(GPR.RAX, a);
    set(v);
    expect(completes(code)).toBe(true);
    expect(value()).toBe(BigInt.asUintN(64, f(v, a)));
  });
  it('lock cmpxchg [rsi], rbx across pages', () => {
    set(5n);
    s.setGpr(GPR.RAX, 5n);
    s.setGpr(GPR.RBX, 9n);
    expect(completes([0xf0, 0x48, 0x0f, 0xb1, 0x1e])).toBe(true);
    expect(value()).toBe(9n);
    expect(completes([0xf0, 0x48, 0x0f, 0xb1, 0x1e])).toBe(true);
    expect([value(), s.gpr(GPR.RAX)]).toEqual([9n, 9n]);
  });
  it('lock bts with a register reaches beyond its operand, both ways', () => {
    s.setGpr(GPR.RSI, DATA + 2048n);
    for (const [bit, byte] of [
      [8 * 1000 + 3, 3048],
      [-8 * 1000 + 3, 1048],
    ]) {
      s.setGpr(GPR.RAX, BigInt(bit));
      expect(completes([0xf0, 0x48, 0x0f, 0xab, 0x06])).toBe(true);
      expect(s.peek(DATA + BigInt(byte), 1)[0]).toBe(8);
    }
  });
  it('cmpxchg16b needs an aligned address', () => {
    s.setGpr(GPR.RSI, DATA + 8n);
    expect([run([0xf0, 0x48, 0x0f, 0xc7, 0x0e]), s.get32('exit_vector')]).toEqual([EXIT.EXCEPTION, VEC.GP]);
    s.setGpr(GPR.RSI, DATA + 16n);
    s.poke(DATA + 16n, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    for (const r of [GPR.RAX, GPR.RDX]) s.setGpr(r, 0n);
    s.setGpr(GPR.RBX, 3n);
    s.setGpr(GPR.RCX, 4n);
    expect(completes([0xf0, 0x48, 0x0f, 0xc7, 0x0e])).toBe(true);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX), s.get64('fz')]).toEqual([1n, 2n, 1n]);
    expect(completes([0xf0, 0x48, 0x0f, 0xc7, 0x0e])).toBe(true);
    expect([...s.peek(DATA + 16n, 16)]).toEqual([3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    expect(s.get64('fz')).toBe(0n);
  });
});

describe('stack', () => {
  const slots = (a: bigint, n: number) => {
    const b = s.peek(a, n * 8);
    return Array.from({ length: n }, (_, i) => new DataView(b.buffer).getBigUint64(i * 8, true));
  };
  it('enter copies frame pointers', () => {
    const sp = DATA + 0x800n;
    s.setGpr(GPR.RSP, sp);
    s.setGpr(GPR.RBP, DATA + 0x400n);
    s.poke(DATA + 0x3f0n, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    expect(completes([0xc8, 0x20, 0x00, 0x03])).toBe(true);
    expect([s.gpr(GPR.RSP), s.gpr(GPR.RBP)]).toEqual([sp - 64n, sp - 8n]);
    expect(slots(sp - 32n, 4)).toEqual([sp - 8n, 1n, 2n, DATA + 0x400n]);
  });
  it('pop [rsp+8] addresses with the rsp after the pop', () => {
    s.setGpr(GPR.RSP, DATA);
    s.poke(DATA, [7, 0, 0, 0, 0, 0, 0, 0]);
    expect(completes([0x8f, 0x44, 0x24, 0x08])).toBe(true);
    expect(slots(DATA + 16n, 1)).toEqual([7n]);
    expect(s.gpr(GPR.RSP)).toBe(DATA + 8n);
  });
  it('a fault leaves everything as it was', () => {
    s.setGpr(GPR.RSP, DATA - 8n);
    s.setGpr(GPR.RBP, DATA);
    for (const code of [[0x55], [0x5d], [0xe8, 0, 0, 0, 0], [0xc3], [0x9c], [0x9d], [0xc8, 0x10, 0, 0]]) {
      expect([run(code), s.get32('exit_vector'), s.get64('rip')]).toEqual([EXIT.EXCEPTION, VEC.PF, CODE]);
      expect([s.gpr(GPR.RSP), s.gpr(GPR.RBP)]).toEqual([DATA - 8n, DATA]);
    }
  });
});
