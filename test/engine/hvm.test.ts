/** Ring 0 in an HVM container: events through the IDT, syscall and back, control registers, the p2m, TLB contexts. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  CpuState,
  EVENT,
  EXIT,
  GPR,
  IO_IN,
  NPF_EXEC,
  NPF_WRITE,
  P2M_R,
  P2M_W,
  SEG,
  TLB_ENTRIES,
  VEC,
} from '../../src/engine/state.ts';
import { PTE, Sandbox } from './sandbox.ts';

const { off } = CpuState;
const CODE = 0x400000n;
const USER = 0x500000n;
const STACK = 0x600000n;
const TABLES = 0x700000n;
const DATA = 0x10000000n;
const GDT = TABLES;
const TSS = TABLES + 0x400n;
const IDT = TABLES + 0x1000n;
const KERNEL = PTE.P | PTE.RW;
const KERNEL_CS = 0x10;
const KERNEL_SS = 0x18;
const USER_SS = 0x2b;
const USER_CS = 0x33;
const hlt = 0xf4;
const HANDLER = CODE + 0x800n;

describe.each([
  ['interpreted', false],
  ['translated', true],
] as const)('%s', (_tier, translated) => {
  let s: Sandbox;
  let leaf: (gfn: number) => number;

  const d64 = (at: bigint, v: bigint) =>
    s.poke(
      at,
      [...Array(8)].map((_, i) => Number((v >> BigInt(8 * i)) & 0xffn)),
    );
  const q = (at: bigint) => new DataView(s.peek(at, 8).buffer).getBigUint64(0, true);

  /** An interrupt gate to `rip`. */
  function gate(vector: number, rip: bigint, o: { type?: number; dpl?: number; ist?: number; cs?: number } = {}): void {
    const { type = 14, dpl = 0, ist = 0, cs = KERNEL_CS } = o;
    const low =
      (rip & 0xffffn) |
      (BigInt(cs) << 16n) |
      (BigInt(ist) << 32n) |
      (BigInt(type | (dpl << 5) | 0x80) << 40n) |
      (((rip >> 16n) & 0xffffn) << 48n);
    d64(IDT + BigInt(vector * 16), low);
    d64(IDT + BigInt(vector * 16 + 8), rip >> 32n);
  }

  function setSel(seg: number, v: number): void {
    s.view.setUint16(s.cpu + off.sel + seg * 2, v, true);
  }
  const sel = (seg: number) => s.view.getUint16(s.cpu + off.sel + seg * 2, true);

  function level(cpl: 0 | 3): void {
    s.set32('cpl', cpl);
    setSel(SEG.CS, cpl ? USER_CS : KERNEL_CS);
    setSel(SEG.SS, cpl ? USER_SS : KERNEL_SS);
    s.call('hvm_enter', s.cpu);
  }

  beforeEach(() => {
    s = new Sandbox();
    const root = s.allocate();
    s.allocate();
    leaf = (gfn) => {
      const at = root * 4096 + (gfn >> 10) * 4;
      if (!s.view.getUint32(at, true)) s.view.setUint32(at, s.allocate() * 4096, true);
      return s.view.getUint32(at, true) + (gfn & 1023) * 4;
    };
    for (let gfn = 0; gfn < 16384; gfn++) s.view.setUint32(leaf(gfn), gfn * 4096 + (P2M_R | P2M_W), true);
    s.map(CODE, KERNEL);
    s.map(USER);
    s.map(STACK, KERNEL);
    s.map(STACK - 4096n, KERNEL);
    s.map(TABLES, KERNEL);
    s.map(IDT, KERNEL);
    s.map(DATA);
    s.set32('hvm', 1);
    s.set32('p2m', root * 4096);
    s.set64('guest_cr3', BigInt(s.root));
    s.set64('cr4', 0x6a0n);
    s.set64('cr0', 0x80050033n);
    for (const [i, d] of [
      0n,
      0n,
      0x00af9b000000ffffn,
      0x00cf93000000ffffn,
      0x00cffb000000ffffn,
      0x00cff3000000ffffn,
      0x00affb000000ffffn,
    ].entries()) {
      d64(GDT + BigInt(i * 8), d);
    }
    const tss = 0x0000890000000067n | ((TSS & 0xffffffn) << 16n) | (((TSS >> 24n) & 0xffn) << 56n);
    d64(GDT + 0x40n, tss);
    d64(GDT + 0x48n, TSS >> 32n);
    d64(TSS + 4n, STACK);
    d64(TSS + 36n, STACK - 0x800n);
    s.set64('gdt_base', GDT);
    s.set32('gdt_limit', 0x4f);
    s.set64('idt_base', IDT);
    s.set32('idt_limit', 0xfff);
    s.set64('tr_base', TSS);
    s.set32('tr_limit', 0x67);
    s.setGpr(GPR.RSP, STACK + 0x100n);
    level(0);
  });

  /** Kernel code, then hlt; the exit. */
  function run(code: number[], at = CODE): number {
    s.poke(at, [...code, hlt]);
    if (translated) {
      s.set64('rip', at);
      s.engine.translator!.translateNow(s.cpu);
    }
    return s.run(at);
  }
  const exit = () => ({ reason: s.get32('exit_reason'), vector: s.get32('exit_vector'), error: s.get32('exit_error') });
  const inject = (vector: number, event: number, error?: number) =>
    s.call('hvm_inject', s.cpu, vector, event, error === undefined ? 0 : 1, error ?? 0);
  const slots = (n: number) => [...Array(n)].map((_, i) => q(s.gpr(GPR.RSP) + BigInt(8 * i)));

  describe('events', () => {
    it('an interrupt at CPL 0 stays on its stack, aligned', () => {
      gate(0x30, HANDLER);
      s.setGpr(GPR.RSP, STACK + 0x109n);
      s.set64('rip', CODE + 5n);
      expect(inject(0x30, EVENT.INTERRUPT)).toBe(1);
      expect(s.gpr(GPR.RSP)).toBe(STACK + 0x100n - 40n);
      expect(slots(5).filter((_, i) => i !== 2)).toEqual([
        CODE + 5n,
        BigInt(KERNEL_CS),
        STACK + 0x109n,
        BigInt(KERNEL_SS),
      ]);
      expect(slots(5)[2] & 0x200n).toBe(0x200n);
      expect([s.get64('rip'), s.get64('rflags') & 0x200n, sel(SEG.SS)]).toEqual([HANDLER, 0n, KERNEL_SS]);
    });
    it('one at CPL 3 takes the stack of the TSS, and iretq comes back', () => {
      gate(0x30, HANDLER);
      level(3);
      s.setGpr(GPR.RSP, 0x7000n);
      s.set64('rip', USER + 3n);
      expect(inject(0x30, EVENT.INTERRUPT)).toBe(1);
      expect(s.gpr(GPR.RSP)).toBe(STACK - 40n);
      expect(slots(5).filter((_, i) => i !== 2)).toEqual([USER + 3n, BigInt(USER_CS), 0x7000n, BigInt(USER_SS)]);
      expect([s.get32('cpl'), sel(SEG.CS), sel(SEG.SS)]).toEqual([0, KERNEL_CS, 0]);
      // iretq; the user's code then is hlt, which it must not execute.
      s.poke(USER + 3n, [hlt]);
      s.poke(HANDLER, [0x48, 0xcf]);
      expect(s.run(HANDLER)).toBe(EXIT.EXCEPTION);
      expect([exit().vector, s.get64('rip'), s.get32('cpl'), s.gpr(GPR.RSP)]).toEqual([VEC.GP, USER + 3n, 3, 0x7000n]);
      expect([sel(SEG.CS), sel(SEG.SS), s.get64('rflags') & 0x200n]).toEqual([USER_CS, USER_SS, 0x200n]);
    });
    it('an exception pushes its error code; a trap gate leaves IF, and IST its own stack', () => {
      gate(VEC.PF, HANDLER, { type: 15, ist: 1 });
      s.set64('rip', CODE);
      expect(inject(VEC.PF, EVENT.EXCEPTION, 0x7)).toBe(1);
      expect(s.gpr(GPR.RSP)).toBe(STACK - 0x800n - 48n);
      expect(slots(2)).toEqual([7n, CODE]);
      expect(slots(4)[3] & (1n << 16n)).toBe(1n << 16n);
      expect(s.get64('rflags') & 0x200n).toBe(0x200n);
    });
    it('int n from user mode needs a gate of DPL 3', () => {
      gate(0x80, HANDLER, { dpl: 3 });
      gate(0x81, HANDLER);
      gate(VEC.GP, HANDLER + 16n);
      level(3);
      s.set64('rip', USER);
      expect(inject(0x80, EVENT.SOFTWARE)).toBe(1);
      expect(s.get64('rip')).toBe(HANDLER);
      level(3);
      expect(inject(0x81, EVENT.SOFTWARE)).toBe(1);
      expect([s.get64('rip'), q(s.gpr(GPR.RSP))]).toEqual([HANDLER + 16n, BigInt(0x81 * 8 + 2)]);
    });
    it('int n returns behind it, and faults at it', () => {
      gate(0x80, HANDLER, { dpl: 3 });
      gate(VEC.GP, HANDLER + 16n);
      level(3);
      expect([run([0xcd, 0x80], USER), s.get64('rip')]).toEqual([EXIT.SOFTINT, USER]);
      expect([inject(0x80, EVENT.SOFTWARE), slots(1)[0]]).toEqual([1, USER + 2n]);
      level(3);
      expect([run([0xcd, 0x81], USER), inject(0x81, EVENT.SOFTWARE)]).toEqual([EXIT.SOFTINT, 1]);
      expect(slots(2)).toEqual([BigInt(0x81 * 8 + 2), USER]);
    });
    it('a fault on the way is delivered instead; a second contributory one is #DF, and one in it a triple fault', () => {
      gate(VEC.GP, HANDLER);
      gate(VEC.DF, HANDLER + 32n, { ist: 1 });
      // No gate 0x31: #GP(0x31 * 8 + IDT + EXT).
      expect(inject(0x31, EVENT.INTERRUPT)).toBe(1);
      expect([s.get64('rip'), q(s.gpr(GPR.RSP))]).toEqual([HANDLER, BigInt(0x31 * 8 + 3)]);
      // #GP whose gate is no gate.
      d64(IDT + BigInt(VEC.GP * 16), 0n);
      expect(inject(VEC.GP, EVENT.EXCEPTION, 0)).toBe(1);
      expect([s.get64('rip'), q(s.gpr(GPR.RSP))]).toEqual([HANDLER + 32n, 0n]);
      d64(IDT + BigInt(VEC.DF * 16), 0n);
      const before = s.get64('rip');
      expect(inject(VEC.GP, EVENT.EXCEPTION, 0)).toBe(0);
      expect([exit().reason, s.get64('rip')]).toEqual([EXIT.TRIPLE_FAULT, before]);
    });
    it('a stack that is not mapped: #PF while delivering, then #DF, on its IST', () => {
      gate(VEC.PF, HANDLER);
      gate(VEC.DF, HANDLER + 32n, { ist: 1 });
      s.setGpr(GPR.RSP, 0x55550000n);
      expect(inject(VEC.PF, EVENT.EXCEPTION, 2)).toBe(1);
      expect([s.get64('rip'), s.get64('cr2')]).toEqual([HANDLER + 32n, 0x55550000n - 8n]);
      // Only its lower page is missing.
      s.setGpr(GPR.RSP, STACK - 4096n + 24n);
      expect(inject(VEC.PF, EVENT.EXCEPTION, 2)).toBe(1);
      expect([s.get64('rip'), s.get64('cr2')]).toEqual([HANDLER + 32n, STACK - 4096n - 8n]);
    });
    it('a TSS that does not reach to the stack pointer is #TS', () => {
      gate(0x30, HANDLER, { ist: 1 });
      gate(VEC.TS, HANDLER + 16n);
      s.set32('tr_limit', 42);
      setSel(SEG.TR, 0x40);
      expect(inject(0x30, EVENT.INTERRUPT)).toBe(1);
      expect([s.get64('rip'), slots(1)[0]]).toEqual([HANDLER + 16n, 0x41n]);
    });
  });

  describe('system calls', () => {
    it('syscall and sysretq go there and back', () => {
      s.set64('efer', 0xd01n);
      s.set64('star', (0x23n << 48n) | (0x10n << 32n));
      s.set64('lstar', HANDLER);
      s.set64('sfmask', 0x40700n);
      // Kernel: swapgs; swapgs; sysretq.
      s.poke(HANDLER, [0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07]);
      level(3);
      s.setGpr(GPR.RSP, 0x7000n);
      // stc; syscall; hlt
      expect(run([0xf9, 0x0f, 0x05], USER)).toBe(EXIT.EXCEPTION);
      expect([s.get64('rip'), s.get32('cpl'), sel(SEG.CS), sel(SEG.SS)]).toEqual([USER + 3n, 3, USER_CS, USER_SS]);
      expect([s.gpr(GPR.RCX), s.gpr(GPR.RSP)]).toEqual([USER + 3n, 0x7000n]);
      expect(s.gpr(GPR.R11) & 0x201n).toBe(0x201n);
    });
    it('the kernel of a system call has the flags that SFMASK leaves', () => {
      s.set64('efer', 0xd01n);
      s.set64('star', (0x23n << 48n) | (0x10n << 32n));
      s.set64('lstar', HANDLER);
      s.set64('sfmask', 0x700n);
      s.poke(HANDLER, [hlt]);
      level(3);
      expect(run([0x0f, 0x05], USER)).toBe(EXIT.HLT);
      expect([s.get32('cpl'), sel(SEG.CS), sel(SEG.SS), s.get64('rflags') & 0x200n]).toEqual([
        0,
        KERNEL_CS,
        KERNEL_SS,
        0n,
      ]);
    });
    it('a single step ends with the flags that syscall and sysret load', () => {
      s.set64('efer', 0xd01n);
      s.set64('star', (0x23n << 48n) | (0x10n << 32n));
      s.set64('lstar', HANDLER);
      s.set64('sfmask', 0x700n);
      level(3);
      s.set64('rflags', 0x302n);
      expect([run([0x0f, 0x05], USER), s.get64('rip'), s.get32('cpl')]).toEqual([EXIT.PREEMPT, HANDLER, 0]);
      s.set64('sfmask', 0n);
      level(3);
      s.set64('rflags', 0x302n);
      expect([run([0x0f, 0x05], USER), exit().vector, s.get64('rip')]).toEqual([EXIT.EXCEPTION, VEC.DB, HANDLER]);
      // sysretq from a kernel that is stepped
      s.setGpr(GPR.R11, 0x202n);
      expect([run([0x48, 0x0f, 0x07]), s.get64('rip'), s.get32('cpl')]).toEqual([EXIT.PREEMPT, USER + 2n, 3]);
    });
    it('RF that iret loads does not outlive its instruction', () => {
      gate(VEC.PF, HANDLER);
      s.set64('rip', CODE + 0x100n);
      s.poke(CODE + 0x100n, [hlt]);
      s.poke(HANDLER, [0x58, 0x48, 0xcf]);
      inject(VEC.PF, EVENT.EXCEPTION, 0);
      expect([s.run(HANDLER), s.get64('rip'), s.get64('rflags') & 0x10000n]).toEqual([EXIT.HLT, CODE + 0x101n, 0n]);
    });
    it('swapgs changes the bases, at CPL 0 only', () => {
      s.view.setBigUint64(s.cpu + off.segbase + SEG.GS * 8, 0x1111n, true);
      s.set64('kernel_gs_base', 0x2222n);
      expect(run([0x0f, 0x01, 0xf8])).toBe(EXIT.HLT);
      expect([s.view.getBigUint64(s.cpu + off.segbase + SEG.GS * 8, true), s.get64('kernel_gs_base')]).toEqual([
        0x2222n,
        0x1111n,
      ]);
      level(3);
      expect([run([0x0f, 0x01, 0xf8], USER), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
    });
  });

  describe('exits', () => {
    it.each([
      ['in al, 0x42', [0xe4, 0x42], 0x42, 1 | IO_IN],
      ['out 0xe9, al', [0xe6, 0xe9], 0xe9, 1],
      ['in eax, dx', [0xed], 0xcf8, 4 | IO_IN],
      ['out dx, ax', [0x66, 0xef], 0xcf8, 2],
    ])('%s', (_, code, port, error) => {
      s.setGpr(GPR.RDX, 0x1_0cf8n);
      expect(run(code)).toBe(EXIT.IO);
      expect([exit().vector, exit().error, s.get64('rip'), s.get32('exit_len')]).toEqual([
        port,
        error,
        CODE,
        code.length,
      ]);
    });
    it.each([
      ['in al, 0x42', [0xe4, 0x42], 0x1234_5678_9abc_deffn],
      ['in ax, dx', [0x66, 0xed], 0x1234_5678_9abc_ffffn],
      ['in eax, dx', [0xed], 0xffff_ffffn],
      ['in eax, dx with REX.W', [0x48, 0xed], 0xffff_ffffn],
    ])('%s is all ones where nothing answers at any port', (_, code, rax) => {
      s.set32('no_ports', 1);
      s.setGpr(GPR.RAX, 0x1234_5678_9abc_def0n);
      expect(run([...code, 0xf4])).toBe(EXIT.HLT);
      expect(s.gpr(GPR.RAX)).toBe(rax);
      expect([run([0xe6, 0xe9]), exit().vector]).toEqual([EXIT.IO, 0xe9]);
      level(3);
      expect([run(code, USER), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
    });
    it('with REX.W a port has four bytes', () => {
      expect([run([0x48, 0xed]), exit().error]).toEqual([EXIT.IO, 4 | IO_IN]);
      expect([run([0x48, 0xef]), exit().error]).toEqual([EXIT.IO, 4]);
    });
    it('ports at CPL 3 go by the bitmap of the TSS', () => {
      level(3);
      s.poke(TSS + 102n, [0x68, 0]);
      expect([run([0xe4, 0x42], USER), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
      s.set32('tr_limit', 0x67 + 0x20);
      expect(run([0xe4, 0x42], USER)).toBe(EXIT.IO);
      s.poke(TSS + 0x68n + 8n, [4]);
      expect([run([0xe4, 0x42], USER), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
      s.set64('rflags', 0x3202n);
      expect(run([0xe4, 0x42], USER)).toBe(EXIT.IO);
      // Two bytes of it are read, whatever lies behind.
      s.set64('rflags', 0x202n);
      s.map(DATA, KERNEL);
      s.set64('tr_base', DATA + 0xf80n);
      s.poke(DATA + 0xf80n + 102n, [0x76, 0]);
      expect(run([0xe4, 0x42], USER)).toBe(EXIT.IO);
    });
    it('MSRs that are not the engine’s', () => {
      s.setGpr(GPR.RCX, 0x80bn);
      expect([run([0x0f, 0x30]), exit().error, s.get32('exit_len')]).toEqual([EXIT.MSR, 1, 2]);
      expect([run([0x0f, 0x32]), exit().error, s.get64('rip')]).toEqual([EXIT.MSR, 0, CODE]);
    });
    it('MSRs that are', () => {
      s.setGpr(GPR.RCX, 0xc0000082n);
      s.setGpr(GPR.RAX, 0x81000000n);
      s.setGpr(GPR.RDX, 0xffffffffn);
      expect(run([0x0f, 0x30, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x32])).toBe(EXIT.HLT);
      expect([s.get64('lstar'), s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([
        0xffffffff81000000n,
        0x81000000n,
        0xffffffffn,
      ]);
      s.setGpr(GPR.RDX, 0x12340000n);
      expect([run([0x0f, 0x30]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
      level(3);
      expect([run([0x0f, 0x32], USER), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
    });
    it('sti leaves at the next taken branch when an interrupt waits', () => {
      expect([run([0xfa, 0xeb, 0x00, 0xfb, 0xeb, 0x00]), s.get64('rip')]).toEqual([EXIT.HLT, CODE + 7n]);
      s.set32('irq_wanted', 1);
      // cli; jmp; sti; jmp; hlt
      expect([run([0xfa, 0xeb, 0x00, 0xfb, 0xeb, 0x00]), s.get64('rip')]).toEqual([EXIT.PREEMPT, CODE + 6n]);
    });
    it('so does mov to cr8, if it lowers the priority', () => {
      const code = [0x44, 0x0f, 0x22, 0xc0];
      s.set32('irq_wanted', 1);
      s.setGpr(GPR.RAX, 5n);
      // And to rcx.
      expect([run([...code, 0x44, 0x0f, 0x20, 0xc1]), s.get64('cr8'), s.gpr(GPR.RCX)]).toEqual([EXIT.HLT, 5n, 5n]);
      s.setGpr(GPR.RAX, 4n);
      expect([run(code), s.get64('rip'), s.get64('cr8')]).toEqual([EXIT.PREEMPT, CODE + 4n, 4n]);
    });
  });

  describe('memory', () => {
    const mov = [0x48, 0x89, 0x03];
    const load = [0x48, 0x8b, 0x03];
    it('the user’s rights: supervisor pages fault, and are not found in a TLB that the kernel filled', () => {
      s.setGpr(GPR.RBX, TABLES);
      expect(run(load)).toBe(EXIT.HLT);
      level(3);
      expect([run(load, USER), exit().vector, exit().error, s.get64('cr2')]).toEqual([
        EXIT.EXCEPTION,
        VEC.PF,
        5,
        TABLES,
      ]);
      level(0);
      expect(run(load)).toBe(EXIT.HLT);
    });
    it('a page that the p2m does not have: NPF, with the guest-physical address', () => {
      s.setGpr(GPR.RBX, DATA + 8n);
      const frame = Number((s.view.getBigUint64(s.pte(DATA), true) >> 12n) & 0xfffffn);
      s.view.setUint32(leaf(frame), 0, true);
      s.call('tlb_flush_domain', 1);
      expect([run(load), s.get64('exit_gpa'), exit().error]).toEqual([EXIT.NPF, (BigInt(frame) << 12n) | 8n, 0]);
      expect([run(mov), s.get64('rip'), exit().error]).toEqual([EXIT.NPF, CODE, NPF_WRITE]);
      // Read-only: reads go, writes do not.
      s.view.setUint32(leaf(frame), frame * 4096 + P2M_R, true);
      expect(run(load)).toBe(EXIT.HLT);
      expect([run(mov), exit().error]).toEqual([EXIT.NPF, NPF_WRITE]);
      // Far beyond the p2m.
      s.view.setBigUint64(s.pte(DATA), 0x30_0000_0000n | KERNEL, true);
      s.call('tlb_flush_domain', 1);
      expect([run(load), s.get64('exit_gpa')]).toEqual([EXIT.NPF, 0x30_0000_0008n]);
      s.setGpr(GPR.RAX, DATA);
      expect([run([0xff, 0xe0]), exit().error]).toEqual([EXIT.NPF, NPF_EXEC]);
    });
    it('gfns are not machine frames', () => {
      const frame = s.allocate();
      s.view.setUint32(leaf(0x200000 - 1), frame * 4096 + (P2M_R | P2M_W), true);
      s.view.setBigUint64(s.pte(DATA), (0x1fffffn << 12n) | KERNEL, true);
      s.call('tlb_flush_domain', 1);
      s.setGpr(GPR.RBX, DATA);
      s.setGpr(GPR.RAX, 0xabcdn);
      expect(run(mov)).toBe(EXIT.HLT);
      expect(s.view.getBigUint64(frame * 4096, true)).toBe(0xabcdn);
      // Accessed and dirty.
      expect(s.view.getBigUint64(s.pte(DATA), true) & 0x60n).toBe(0x60n);
    });
    it('a reserved bit of an entry is a fault that says so', () => {
      s.setGpr(GPR.RBX, DATA);
      s.view.setBigUint64(s.pte(DATA), s.view.getBigUint64(s.pte(DATA), true) | (1n << 45n), true);
      s.call('tlb_flush_domain', 1);
      expect([run(load), exit().vector, exit().error]).toEqual([EXIT.EXCEPTION, VEC.PF, 9]);
    });
    it.each([
      ['2 MiB', 21n, DATA + 0x5000n],
      ['1 GiB', 30n, 0x40005000n],
    ])('a reserved bit of a page of %s too, which is not marked as accessed', (_, shift, va) => {
      const entry = entryOf(va, shift);
      s.setGpr(GPR.RBX, va);
      // Read-only and the user's, which does not matter then.
      const e = PTE.P | PTE.US | 0x80n | 0x2000n;
      s.view.setBigUint64(entry, e, true);
      expect([run(mov), exit().error, s.view.getBigUint64(entry, true)]).toEqual([EXIT.EXCEPTION, 0xb, e]);
      // Bit 12 is none.
      s.view.setBigUint64(entry, (e & ~0x2000n) | 0x1000n, true);
      expect(run(load)).toBe(EXIT.HLT);
    });
    it('a page table where no memory is has reserved bits; one that cannot be written to is not marked', () => {
      s.setGpr(GPR.RBX, DATA);
      const table = s.pte(DATA) >>> 12;
      s.view.setUint32(leaf(table), table * 4096 + P2M_R, true);
      const e = s.view.getBigUint64(s.pte(DATA), true) & ~0x60n;
      s.view.setBigUint64(s.pte(DATA), e, true);
      s.call('tlb_flush_domain', 1);
      expect([run(mov), run(mov), s.view.getBigUint64(s.pte(DATA), true)]).toEqual([EXIT.HLT, EXIT.HLT, e]);
      s.view.setUint32(leaf(table), 0, true);
      s.call('tlb_flush_domain', 1);
      expect([run(mov), exit().vector, exit().error, s.get64('cr2')]).toEqual([EXIT.EXCEPTION, VEC.PF, 0xb, DATA]);
    });
    it('code that lies in a page table changes with its accessed bits', () => {
      const table = s.pte(DATA);
      s.view.setUint32(leaf(0xf4c), s.allocate() * 4096 + (P2M_R | P2M_W), true);
      const at = DATA + 0x400000n + BigInt(table & 0xfff);
      s.map(at, KERNEL, table >>> 12);
      // 03 c1 f4: add eax, ecx; hlt. With the accessed bit: and eax, ecx.
      s.view.setBigUint64(table, 0xf4c103n, true);
      s.setGpr(GPR.RCX, 3n);
      s.setGpr(GPR.RAX, 6n);
      expect([s.run(at), s.gpr(GPR.RAX)]).toEqual([EXIT.HLT, 9n]);
      s.call('tlb_flush_domain', 1);
      s.setGpr(GPR.RBX, DATA);
      expect(run(load)).toBe(EXIT.HLT);
      s.setGpr(GPR.RAX, 6n);
      expect([s.run(at), s.gpr(GPR.RAX)]).toEqual([EXIT.HLT, 2n]);
    });
    it('CR0.WP decides whether the kernel writes to read-only pages', () => {
      s.map(DATA, PTE.P);
      s.setGpr(GPR.RBX, DATA);
      expect([run(mov), exit().error]).toEqual([EXIT.EXCEPTION, 3]);
      s.setGpr(GPR.RCX, 0x80040033n);
      // mov cr0, rcx
      expect(run([0x0f, 0x22, 0xc1, ...mov])).toBe(EXIT.HLT);
    });
    it.each([
      ['2 MiB', 21n, DATA + 0x5000n, DATA + 0x1ff000n],
      ['2 MiB and its last 4 KiB', 21n, DATA + 0x1ff000n, DATA],
      ['1 GiB', 30n, 0x40005000n, 0x7ffff000n],
    ])('a stale translation stays until invlpg, of a page of %s wherever in it', (_, shift, va, other) => {
      const entry = entryOf(va, shift);
      s.view.setBigUint64(entry, (0x200000n & ~((1n << shift) - 1n)) | KERNEL | 0x80n, true);
      s.call('tlb_flush_domain', 1);
      s.setGpr(GPR.RBX, va);
      expect(run(load)).toBe(EXIT.HLT);
      s.view.setBigUint64(entry, 0n, true);
      // Of a page elsewhere nothing else goes.
      s.setGpr(GPR.RDX, other + (1n << shift));
      expect(run([0x0f, 0x01, 0x3a, ...load])).toBe(EXIT.HLT);
      s.setGpr(GPR.RDX, other);
      expect([run([0x0f, 0x01, 0x3a, ...load]), exit().vector, s.get64('rip')]).toEqual([
        EXIT.EXCEPTION,
        VEC.PF,
        CODE + 3n,
      ]);
    });
    it('mov to cr3 forgets; with bit 63 and PCIDs it does not', () => {
      s.setGpr(GPR.RBX, DATA);
      s.setGpr(GPR.RCX, BigInt(s.root));
      expect(run(load)).toBe(EXIT.HLT);
      const entry = s.view.getBigUint64(s.pte(DATA), true);
      s.view.setBigUint64(s.pte(DATA), 0n, true);
      const toCr3 = [0x0f, 0x22, 0xd9];
      expect([run([...toCr3, ...load]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.PF]);

      s.view.setBigUint64(s.pte(DATA), entry, true);
      s.setGpr(GPR.RAX, 0x206a0n);
      // mov cr4, rax (PCIDE)
      expect(run([0x0f, 0x22, 0xe0, ...load])).toBe(EXIT.HLT);
      s.view.setBigUint64(s.pte(DATA), 0n, true);
      s.setGpr(GPR.RCX, BigInt(s.root) | 5n);
      expect([run([...toCr3, ...load]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.PF]);
      // Back to PCID 0, which still has it.
      s.setGpr(GPR.RCX, BigInt(s.root) | (1n << 63n));
      expect(run([...toCr3, ...load])).toBe(EXIT.HLT);
      // mov rax, cr3 gives what was loaded.
      expect([run([0x0f, 0x20, 0xd8]), s.gpr(GPR.RAX)]).toEqual([EXIT.HLT, BigInt(s.root)]);
      // invpcid, one PCID's: rdx -> descriptor
      s.map(DATA + 4096n, KERNEL);
      d64(DATA + 4096n, 0n);
      d64(DATA + 4104n, 0n);
      s.setGpr(GPR.RDX, DATA + 4096n);
      s.setGpr(GPR.RCX, 1n);
      expect([run([0x66, 0x0f, 0x38, 0x82, 0x0a, ...load]), exit().vector, s.get64('rip')]).toEqual([
        EXIT.EXCEPTION,
        VEC.PF,
        CODE + 5n,
      ]);
    });
    it('what is global stays when CR3 is loaded, and goes to new address spaces; invlpg and CR4.PGE forget it everywhere', () => {
      const entry = s.view.getBigUint64(s.pte(DATA), true);
      const global = entry | 0x100n;
      const toCr3 = [0x0f, 0x22, 0xd9];
      s.set64('cr4', 0x206a0n);
      s.setGpr(GPR.RBX, DATA);
      const fill = (e: bigint) => {
        s.view.setBigUint64(s.pte(DATA), e, true);
        s.call('tlb_flush_domain', 1);
        expect(run([...load, ...mov])).toBe(EXIT.HLT);
        s.view.setBigUint64(s.pte(DATA), 0n, true);
      };
      const faults = (code: number[]) => run([...code, ...load]) === EXIT.EXCEPTION && exit().vector === VEC.PF;
      s.setGpr(GPR.RCX, BigInt(s.root));
      fill(global);
      expect(faults(toCr3)).toBe(false);
      // A PCID that has no context yet; also to write.
      s.setGpr(GPR.RCX, BigInt(s.root) | 7n);
      expect(faults(toCr3)).toBe(false);
      expect(run(mov)).toBe(EXIT.HLT);
      s.setGpr(GPR.RDX, DATA);
      expect(faults([0x0f, 0x01, 0x3a])).toBe(true);
      s.setGpr(GPR.RCX, BigInt(s.root) | (1n << 63n));
      expect(faults(toCr3)).toBe(true);
      // The frame of a global page with write tags in two contexts: when code is decoded there, both are gone.
      fill(global);
      s.setGpr(GPR.RCX, BigInt(s.root) | 9n);
      expect(faults(toCr3)).toBe(false);
      const frame = Number((entry >> 12n) & 0xfffffn);
      s.call('code_protect', frame);
      for (const pcid of [9n, 0n]) {
        s.setGpr(GPR.RCX, BigInt(s.root) | pcid | (1n << 63n));
        expect([run([...toCr3, ...mov]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.PF]);
      }
      // Not global: not in a new address space.
      fill(entry);
      s.setGpr(GPR.RCX, BigInt(s.root) | 11n);
      expect(faults(toCr3)).toBe(true);
      // Without PGE nothing is.
      s.set64('cr4', 0x20620n);
      s.setGpr(GPR.RCX, BigInt(s.root));
      expect(run(toCr3)).toBe(EXIT.HLT);
      fill(global);
      expect(faults(toCr3)).toBe(true);
    });
    describe('many pages, some global, some in one place of the TLBs', () => {
      const pages = [0x1000_0000n, 0x1003_f000n, 0x1004_0000n, 0x107f_f000n, 0x2000_0000n, 0x2003_f000n, 0x3000_0000n];
      const place = (va: bigint) => (va >> 12n) & BigInt(TLB_ENTRIES - 1);
      const CODE_AT = 0x100n;
      let entries: Map<bigint, bigint>;
      /** Those that the TLBs have, for data and code: global or not. */
      let known: Map<bigint, boolean>;
      beforeEach(() => {
        s.set64('cr4', 0x206a0n);
        known = new Map();
        entries = new Map(
          pages.map((va, i) => {
            s.map(va, KERNEL);
            // No two alike, as frames with the same code have it in common until one is written to.
            s.poke(va + CODE_AT, [hlt, i]);
            const entry = s.view.getBigUint64(s.pte(va), true);
            s.view.setBigUint64(s.pte(va), 0n, true);
            return [va, entry];
          }),
        );
        s.call('tlb_flush_domain', 1);
      });
      /** The TLBs get the page, which then is not mapped any more. */
      function use(va: bigint, global: boolean): void {
        s.view.setBigUint64(s.pte(va), entries.get(va)! | (global ? 0x100n : 0n), true);
        s.setGpr(GPR.RBX, va);
        expect([run([...load, ...mov]), s.run(va + CODE_AT)]).toEqual([EXIT.HLT, EXIT.HLT]);
        s.view.setBigUint64(s.pte(va), 0n, true);
        for (const other of pages) if (place(other) === place(va)) known.delete(other);
        known.set(va, global);
      }
      function loadCr3(pcid: bigint): void {
        s.setGpr(GPR.RCX, BigInt(s.root) | pcid);
        expect(run([0x0f, 0x22, 0xd9])).toBe(EXIT.HLT);
        for (const [va, global] of known) if (!global) known.delete(va);
      }
      const look = (va: bigint) => {
        s.setGpr(GPR.RBX, va);
        return [run(load), s.run(va + CODE_AT)].map((x) => x === EXIT.HLT);
      };
      it('a load of CR3 keeps the global ones alone', () => {
        let x = 20;
        const rnd = (n: number) => {
          x = (Math.imul(x, 1103515245) + 12345) >>> 0;
          return (x >>> 16) % n;
        };
        for (let i = 0; i < 300; i++) {
          const va = pages[rnd(pages.length)];
          if (!known.has(va)) use(va, rnd(2) === 1);
          if (rnd(3) === 0) loadCr3(0n);
          const found = pages.map(look);
          expect([i, found]).toEqual([i, pages.map((va) => [known.has(va), known.has(va)])]);
        }
      });
      it('a new address space has the global ones alone, and what it forgets the old one still has', () => {
        for (const va of pages) use(va, va !== pages[1] && va !== pages[5]);
        const before = pages.filter((va) => known.has(va));
        loadCr3(3n);
        expect(pages.map(look)).toEqual(pages.map((va) => [known.has(va), known.has(va)]));
        expect(known.size).toBe(before.length - 1);
        loadCr3(3n);
        expect(pages.map(look)).toEqual(pages.map((va) => [known.has(va), known.has(va)]));
        // Back, without forgetting.
        s.setGpr(GPR.RCX, BigInt(s.root) | (1n << 63n));
        expect(run([0x0f, 0x22, 0xd9])).toBe(EXIT.HLT);
        expect(pages.map(look)).toEqual(pages.map((va) => [before.includes(va), before.includes(va)]));
      });
      it('none is left after all were forgotten', () => {
        for (const forget of ['tlb_reset', 'xtlb_reset'] as const) {
          for (const va of pages) use(va, true);
          s.call(forget);
          if (forget === 'tlb_reset') {
            s.call('hvm_enter', s.cpu);
            expect(pages.map(look)).toEqual(pages.map(() => [false, false]));
          } else expect(pages.map((va) => look(va)[1])).toEqual(pages.map(() => false));
        }
      });
    });
    it('EFER has automatic IBRS, and no bit beyond what there is', () => {
      s.setGpr(GPR.RCX, 0xc000_0080n);
      s.setGpr(GPR.RAX, 0x20_0d01n);
      s.setGpr(GPR.RDX, 0n);
      expect([run([0x0f, 0x30]), s.get64('efer')]).toEqual([EXIT.HLT, 0x20_0d01n]);
      s.setGpr(GPR.RAX, 0x40_0d01n);
      expect([run([0x0f, 0x30]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
    });
    it('invpcid with reserved bits in its descriptor is #GP, whatever it asks for', () => {
      s.map(DATA, KERNEL);
      d64(DATA, 0x1000n);
      s.setGpr(GPR.RDX, DATA);
      for (const type of [0n, 1n, 2n, 3n, 4n]) {
        s.setGpr(GPR.RCX, type);
        expect([run([0x66, 0x0f, 0x38, 0x82, 0x0a]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
      }
    });
    it('control and debug registers that do not exist are #UD', () => {
      // mov rax, cr10; mov cr10, rax; mov cr11, rax; mov cr12, rax; mov rax, dr8; mov dr15, rax
      for (const [op, modrm] of [
        [0x20, 0xd0],
        [0x22, 0xd0],
        [0x22, 0xd8],
        [0x22, 0xe0],
        [0x21, 0xc0],
        [0x23, 0xf8],
      ]) {
        expect([run([0x44, 0x0f, op, modrm]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.UD]);
      }
    });
    it('the code of a page that invlpg names is looked up anew', () => {
      s.map(DATA, KERNEL);
      s.poke(DATA, [0x0f, 0x01, 0x3b, hlt]);
      s.setGpr(GPR.RBX, DATA);
      expect(s.run(DATA)).toBe(EXIT.HLT);
      s.view.setBigUint64(s.pte(DATA), 0n, true);
      expect([s.run(DATA), exit().vector, s.get64('rip')]).toEqual([EXIT.EXCEPTION, VEC.PF, DATA + 3n]);
    });
    it('reserved bits of control registers are #GP', () => {
      for (const [reg, v] of [
        [0xe0, 0x306a0n | (1n << 22n)],
        [0xd8, 1n << 45n],
        [0xc0, 0x33n | (1n << 31n) | (1n << 32n)],
      ] as const) {
        s.setGpr(GPR.RAX, v);
        expect([run([0x0f, 0x22, reg]), exit().vector]).toEqual([EXIT.EXCEPTION, VEC.GP]);
      }
    });
  });

  /** Address of va's entry in the table whose entries stand for 2^shift bytes; tables above are made as needed. */
  function entryOf(va: bigint, shift: bigint): number {
    let table = s.root;
    for (const at of [39n, 30n]) {
      if (at === shift) break;
      table = Number(s.view.getBigUint64(table + Number((va >> at) & 511n) * 8, true) & 0xffffff000n);
    }
    return table + Number((va >> shift) & 511n) * 8;
  }

  describe('tables', () => {
    it('lgdt and lidt load what sgdt and sidt store', () => {
      s.setGpr(GPR.RBX, DATA);
      s.poke(DATA, [
        0x57,
        0x02,
        ...[...Array(8)].map((_, i) => Number((0xffffffff82000000n >> BigInt(8 * i)) & 0xffn)),
      ]);
      s.setGpr(GPR.RDX, DATA + 0x40n);
      expect(run([0x0f, 0x01, 0x13, 0x0f, 0x01, 0x02])).toBe(EXIT.HLT);
      expect(s.peek(DATA + 0x40n, 10)).toEqual(s.peek(DATA, 10));
      expect(run([0x0f, 0x01, 0x1b, 0x0f, 0x01, 0x0a])).toBe(EXIT.HLT);
      expect([s.get64('idt_base'), s.get32('idt_limit')]).toEqual([0xffffffff82000000n, 0x257]);
    });
    it('ltr takes the TSS and makes it busy', () => {
      s.set64('tr_base', 0n);
      s.setGpr(GPR.RAX, 0x40n);
      expect(run([0x0f, 0x00, 0xd8])).toBe(EXIT.HLT);
      expect([s.get64('tr_base'), s.get32('tr_limit'), sel(SEG.TR)]).toEqual([TSS, 0x67, 0x40]);
      expect((q(GDT + 0x40n) >> 40n) & 15n).toBe(11n);
      expect([run([0x0f, 0x00, 0xd8]), exit().vector, exit().error]).toEqual([EXIT.EXCEPTION, VEC.GP, 0x40]);
    });
    it('a descriptor may lie across the end of a page, whose next frame is another', () => {
      s.map(DATA + 4096n, KERNEL, s.allocate() + 1);
      const at = DATA + 0xffcn;
      d64(at, 0x00af9b000000ffffn);
      s.set64('ldt_base', at);
      s.set32('ldt_ents', 1);
      s.setGpr(GPR.RCX, 4n);
      // lar eax, cx
      expect([run([0x0f, 0x02, 0xc1]), s.gpr(GPR.RAX)]).toEqual([EXIT.HLT, 0xaf9b00n]);
      d64(at, 0x0000890010000067n);
      d64(at + 8n, 0n);
      s.set64('gdt_base', at - 0x40n);
      s.setGpr(GPR.RAX, 0x40n);
      // ltr ax
      expect([run([0x0f, 0x00, 0xd8]), s.get64('tr_base'), q(at)]).toEqual([EXIT.HLT, 0x1000n, 0x00008b0010000067n]);
    });
    it('a table that is mapped read-only is not marked: #PF, and nothing loaded', () => {
      d64(GDT + 0x28n, 0x00cff2000000ffffn);
      s.map(GDT, PTE.P, Number((s.view.getBigUint64(s.pte(GDT), true) >> 12n) & 0xfffffn));
      s.setGpr(GPR.RAX, 0x2bn);
      // mov es, ax
      expect([run([0x8e, 0xc0]), exit().vector, exit().error]).toEqual([EXIT.EXCEPTION, VEC.PF, 3]);
      expect([s.get64('cr2') >> 12n, s.get64('rip')]).toEqual([GDT >> 12n, CODE]);
      // Marked already, it is loaded.
      s.setGpr(GPR.RAX, 0x18n);
      expect([run([0x8e, 0xc0]), sel(SEG.ES)]).toEqual([EXIT.HLT, 0x18]);
    });
    it('32-bit code without paging goes to long mode', () => {
      // What PVH kernels do: cr4.PAE, cr3, EFER.LME, cr0.PG, far jump.
      s.set64('cr0', 0x11n);
      s.set64('cr4', 0n);
      s.set64('efer', 0n);
      s.set32('mode', 1);
      setSel(SEG.CS, 0x20 & ~3);
      d64(GDT + 0x20n, 0x00cf9b000000ffffn);
      s.call('hvm_enter', s.cpu);
      const frame = s.allocate();
      s.map(BigInt(frame) << 12n, KERNEL, frame);
      const at = BigInt(frame) << 12n;
      const gdt = Number((s.view.getBigUint64(s.pte(GDT), true) >> 12n) & 0xfffffn);
      s.map(BigInt(gdt) << 12n, KERNEL, gdt);
      s.set64('gdt_base', BigInt(gdt) << 12n);
      const imm = (v: number | bigint) => [...Array(4)].map((_, i) => Number((BigInt(v) >> BigInt(8 * i)) & 0xffn));
      const code = [
        0xb8,
        ...imm(0x20),
        0x0f,
        0x22,
        0xe0,
        0xb8,
        ...imm(s.root),
        0x0f,
        0x22,
        0xd8,
        0xb9,
        ...imm(0xc0000080),
        0x31,
        0xd2,
        0xb8,
        ...imm(0x100),
        0x0f,
        0x30,
        0xb8,
        ...imm(0x80000011),
        0x0f,
        0x22,
        0xc0,
      ];
      const target = at + BigInt(code.length + 7);
      const bytes = [...code, 0xea, ...imm(target), KERNEL_CS, 0, 0x48, 0xb8, ...imm(0x1234), ...imm(1), hlt];
      for (const [i, x] of bytes.entries()) s.u8[frame * 4096 + i] = x;
      expect(s.run(at)).toBe(EXIT.HLT);
      expect([s.get32('mode'), s.get64('efer'), s.gpr(GPR.RAX)]).toEqual([0, 0x500n, 0x1_0000_1234n]);
    });
  });
});
