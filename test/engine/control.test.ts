/** Leaving guest code: fuel, pending requests, single steps, exits, arena exhaustion. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CpuState, EXIT, GPR, VEC } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const STACK = 0x7fff0000n;
const UD2 = [0x0f, 0x0b];
/** dec rcx; jnz -5 */
const LOOP = [0x48, 0xff, 0xc9, 0x75, 0xfb];

let s: Sandbox;
beforeEach(() => {
  s = new Sandbox();
  s.map(CODE);
  s.map(STACK);
  s.setGpr(GPR.RSP, STACK + 0x800n);
});

const fuelLeft = () => s.view.getInt32(s.cpu + CpuState.off.fuel, true) / 32;

describe('fuel', () => {
  it('counts every instruction once, whatever the path', () => {
    s.poke(CODE, [...LOOP, ...UD2]);
    s.setGpr(GPR.RCX, 100n);
    expect(s.run(CODE, 1000)).toBe(EXIT.EXCEPTION);
    expect(s.get64('icount')).toBe(200n);
    expect(fuelLeft()).toBe(800);
  });

  it('is tested at taken branches, and running in slices changes nothing', () => {
    s.poke(CODE, [...LOOP, ...UD2]);
    for (const slice of [1, 2, 3, 7, 50]) {
      s.setGpr(GPR.RCX, 100n);
      s.set64('icount', 0n);
      let rip = CODE;
      let turns = 0;
      for (;;) {
        const r = s.run(rip, slice);
        rip = s.get64('rip');
        if (r !== EXIT.PREEMPT) break;
        expect(rip).toBe(CODE);
        turns++;
      }
      expect(s.get64('icount')).toBe(200n);
      expect(turns).toBe(Math.ceil(99 / Math.ceil(slice / 2)) - (99 % Math.ceil(slice / 2) === 0 ? 0 : 1));
    }
  });

  it('stops an endless loop of one jump', () => {
    s.poke(CODE, [0xeb, 0xfe]);
    expect(s.run(CODE, 500)).toBe(EXIT.PREEMPT);
    expect(s.get64('icount')).toBe(500n);
  });

  it('a pending request stops a loop at its next branch', () => {
    s.poke(CODE, [...LOOP, ...UD2]);
    s.setGpr(GPR.RCX, 100n);
    expect(s.run(CODE, 20)).toBe(EXIT.PREEMPT);
    s.set32('pending', 1);
    expect(s.run(CODE, 1000)).toBe(EXIT.PREEMPT);
    expect(s.get64('icount')).toBe(20n);
  });
});

describe('calls and returns', () => {
  it('run through the stack, across pages', () => {
    s.map(CODE + 0x1000n);
    // call +0x1000-… ; ud2 — callee at CODE+0x1000: mov eax, 42; ret
    s.poke(CODE, [0xe8, 0xfb, 0x0f, 0, 0, ...UD2]);
    s.poke(CODE + 0x1000n, [0xb8, 42, 0, 0, 0, 0xc3]);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(42n);
    expect(s.gpr(GPR.RSP)).toBe(STACK + 0x800n);
    expect(s.get64('rip')).toBe(CODE + 5n);
    expect(s.get64('icount')).toBe(3n);
  });

  it('falls through into the next page', () => {
    s.map(CODE + 0x1000n);
    s.poke(CODE + 0xffdn, [0x48, 0xff, 0xc0]);
    s.poke(CODE + 0x1000n, [0x48, 0xff, 0xc0, ...UD2]);
    s.setGpr(GPR.RAX, 0n);
    expect(s.run(CODE + 0xffdn)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(2n);
    expect(s.get64('icount')).toBe(2n);
  });

  it('a return to a non-canonical address is #GP there', () => {
    s.poke(STACK + 0x800n, [0, 0, 0, 0, 0, 0, 0, 0x12]);
    s.poke(CODE, [0xc3]);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.get32('exit_vector')).toBe(VEC.GP);
  });
});

describe('single step (RFLAGS.TF)', () => {
  it('runs one instruction and raises #DB with DR6.BS', () => {
    s.poke(CODE, [0x48, 0xff, 0xc0, 0xeb, 0x01, 0x90, ...UD2]);
    s.setGpr(GPR.RAX, 0n);
    s.set64('rflags', 0x302n);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.get32('exit_vector')).toBe(VEC.DB);
    expect(s.get64('rip')).toBe(CODE + 3n);
    expect(s.view.getBigUint64(s.cpu + CpuState.off.dr + 48, true) & 0x4000n).toBe(0x4000n);
    expect(fuelLeft()).toBe(999);
    // A taken jump.
    expect(s.run(CODE + 3n)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get64('rip')]).toEqual([VEC.DB, CODE + 6n]);
    // An instruction that faults raises its own exception.
    expect(s.run(CODE + 6n)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get64('rip')]).toEqual([VEC.UD, CODE + 6n]);
    expect(s.get64('icount')).toBe(2n);
  });

  it('steps over an instruction that crosses a page', () => {
    s.map(CODE + 0x1000n);
    s.poke(CODE + 0xffen, [0x48, 0xff, 0xc0]);
    s.set64('rflags', 0x302n);
    s.setGpr(GPR.RAX, 0n);
    expect(s.run(CODE + 0xffen)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get64('rip'), s.gpr(GPR.RAX)]).toEqual([VEC.DB, CODE + 0x1001n, 1n]);
  });
});

describe('single step of string instructions and stack switches', () => {
  const steps = (code: number[], n: number) => {
    s.poke(CODE, [...code, ...UD2]);
    s.set64('rflags', 0x302n);
    const at: number[] = [];
    for (let rip = CODE; at.length < n; rip = s.get64('rip')) {
      const reason = s.run(rip);
      if (reason === EXIT.EXCEPTION) expect(s.get32('exit_vector')).toBe(VEC.DB);
      at.push(reason === EXIT.EXCEPTION ? Number(s.get64('rip') - CODE) : -1);
    }
    return at;
  };
  it.each([
    ['movs', 0xa4],
    ['stos', 0xaa],
    ['lods', 0xac],
    ['scas', 0xae],
    ['cmps', 0xa6],
  ])('repeated %s traps after each element', (name, opcode) => {
    s.poke(STACK, new Array(16).fill(0));
    for (const [r, v] of [
      [GPR.RAX, 0n],
      [GPR.RCX, 3n],
      [GPR.RSI, STACK],
      [GPR.RDI, STACK + 8n],
    ] as const)
      s.setGpr(r, v);
    expect(steps([0xf3, opcode, 0x90], 4), name).toEqual([0, 0, 2, 3]);
    expect(s.gpr(GPR.RCX)).toBe(0n);
  });
  it('mov ss holds the trap until after the next instruction', () => {
    const gdt = s.allocate();
    s.view.setBigUint64(gdt * 4096 + 8, 0x00cf_f300_0000_ffffn, true);
    s.view.setUint32(s.cpu + CpuState.off.gdt_frames, gdt, true);
    s.set32('gdt_limit', 15);
    s.setGpr(GPR.RAX, 0x0bn);
    // mov ss, eax; nop; nop
    expect(steps([0x8e, 0xd0, 0x90, 0x90], 3)).toEqual([-1, 3, 4]);
  });
});

describe('exits', () => {
  it.each([
    ['syscall', [0x0f, 0x05], EXIT.SYSCALL],
    ['cpuid', [0x0f, 0xa2], EXIT.CPUID],
    ['int 0x80', [0xcd, 0x80], EXIT.SOFTINT],
    ['int3', [0xcc], EXIT.SOFTINT],
    ['hlt', [0xf4], EXIT.PRIVILEGED],
    ['cli', [0xfa], EXIT.PRIVILEGED],
    ['mov rax, cr3', [0x0f, 0x20, 0xd8], EXIT.PRIVILEGED],
    ['rdmsr', [0x0f, 0x32], EXIT.PRIVILEGED],
    ['in al, dx', [0xec], EXIT.PRIVILEGED],
  ] as const)('%s', (_n, code, reason) => {
    s.poke(CODE, [0x90, ...code]);
    expect(s.run(CODE)).toBe(reason);
    expect(s.get64('rip')).toBe(CODE + 1n);
    expect(s.get32('exit_len')).toBe(code.length);
  });
});

describe('compatibility mode', () => {
  it('runs 32-bit code with 32-bit addresses', () => {
    s.reset(1);
    s.setGpr(GPR.RSP, 0xdead_0000_0000_0000n | (STACK + 0x800n));
    // inc eax; push eax; pop ecx; pusha; popa; ud2
    s.setGpr(GPR.RAX, 0xffff_ffff_0000_0001n);
    s.poke(CODE, [0x40, 0x50, 0x59, 0x60, 0x61, ...UD2]);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.get32('exit_vector')).toBe(VEC.UD);
    expect(s.gpr(GPR.RAX)).toBe(2n);
    expect(s.gpr(GPR.RCX)).toBe(2n);
    expect(s.gpr(GPR.RSP) & 0xffffffffn).toBe(STACK + 0x800n);
  });

  it('the same bytes mean other things in the two modes', () => {
    s.poke(CODE, [0x48, 0xff, 0xc0, ...UD2]); // 64: inc rax; 32: dec eax; inc eax
    s.setGpr(GPR.RAX, 5n);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(6n);
    s.reset(1);
    s.setGpr(GPR.RAX, 5n);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(5n);
  });
});

describe('the arena of decoded code', () => {
  it('is emptied when full, and execution goes on', () => {
    const pages = 600; // offset tables alone exceed the sandbox's 8 MiB
    const frame = s.map(CODE);
    void frame;
    for (let i = 0; i < pages; i++) {
      const va = CODE + BigInt(i) * 0x1000n;
      if (i) s.map(va);
      // inc rax; jmp to the next page; and no two pages are the same
      s.poke(va, [0x48, 0xff, 0xc0, 0xe9, 0xf8, 0x0f, 0, 0, i & 0xff, i >> 8]);
    }
    const end = CODE + BigInt(pages) * 0x1000n;
    s.map(end);
    s.poke(end, UD2);
    for (let round = 1; round <= 2; round++) {
      s.setGpr(GPR.RAX, 0n);
      expect(s.run(CODE, 100_000)).toBe(EXIT.EXCEPTION);
      expect(s.gpr(GPR.RAX)).toBe(BigInt(pages));
    }
    expect(s.engine.cache.stats.flushes).toBeGreaterThan(0);
  });
});
