/** An HVM container whose registers, tables and code are anything: every access stays within the frames of its p2m. */
import { describe, expect, it } from 'vitest';
import { CpuState, EVENT, EXIT, GPR, P2M_R, P2M_W, SEG } from '../../src/engine/state.ts';
import { PTE, Sandbox } from './sandbox.ts';

const { off } = CpuState;
const GUEST_FRAMES = 24;
const ROUNDS = 200;

/** Numbers from a seed. */
function numbers(seed: number): (n: number) => number {
  let x = seed >>> 0;
  return (n) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
}

/** Instructions of ring 0 and of segments, with registers as operands or [rbx]. */
const CODE = [
  [0x0f, 0x01, 0x13], // lgdt [rbx]
  [0x0f, 0x01, 0x1b], // lidt [rbx]
  [0x0f, 0x01, 0x3b], // invlpg [rbx]
  [0x0f, 0x00, 0xd0], // lldt ax
  [0x0f, 0x00, 0xd8], // ltr ax
  [0x0f, 0x02, 0xc8], // lar ecx, ax
  [0x0f, 0x03, 0xc8], // lsl ecx, ax
  [0x0f, 0x00, 0xe0], // verr ax
  [0x8e, 0xd0], // mov ss, ax
  [0x8e, 0xd8], // mov ds, ax
  [0x8e, 0xe0], // mov fs, ax
  [0x0f, 0x22, 0xd8], // mov cr3, rax
  [0x0f, 0x22, 0xe0], // mov cr4, rax
  [0x0f, 0x22, 0xc0], // mov cr0, rax
  [0x66, 0x0f, 0x38, 0x82, 0x03], // invpcid rax, [rbx]
  [0x48, 0xcf], // iretq
  [0x48, 0xcb], // far ret
  [0xff, 0x2b], // far jmp [rbx]
  [0xff, 0x1b], // far call [rbx]
  [0x48, 0x0f, 0x07], // sysretq
  [0x0f, 0x05], // syscall
  [0x48, 0x8b, 0x03], // mov rax, [rbx]
  [0x48, 0x89, 0x03], // mov [rbx], rax
  [0x9c], // pushf
  [0x9d], // popf
  [0xe4, 0x42], // in
  [0x0f, 0x30], // wrmsr
];

describe('an HVM container of any contents', () => {
  it('keeps to its own frames', () => {
    const s = new Sandbox();
    const root = s.allocate();
    s.allocate();
    const leaf = s.allocate();
    s.view.setUint32(root * 4096, leaf * 4096, true);
    // Every second frame is somebody else's.
    const frames: number[] = [];
    const others: number[] = [];
    for (let i = 0; i < GUEST_FRAMES; i++) {
      frames.push(s.allocate());
      const other = s.allocate();
      others.push(other);
      s.u8.fill(0xa5, other * 4096, other * 4096 + 4096);
    }
    const exits = new Map<number, number>();
    for (let round = 0; round < ROUNDS; round++) {
      const n = numbers(round);
      const pick = <T>(list: readonly T[]) => list[n(list.length)];
      for (let g = 0; g < 1024; g++) s.view.setUint32(leaf * 4096 + g * 4, 0, true);
      for (let g = 0; g < GUEST_FRAMES; g++) {
        if (n(20) === 0) continue;
        s.view.setUint32(leaf * 4096 + g * 4, frames[g] * 4096 + (n(10) ? P2M_R | P2M_W : P2M_R), true);
      }
      const entry = (table: number) => {
        const bits = PTE.P | (n(9) ? PTE.RW : 0n) | (n(9) ? PTE.US : 0n) | (n(30) ? 0n : 0x80n) | (n(30) ? 0n : PTE.NX);
        const next = table === 0 ? 1 + n(2) : table < 3 ? 3 + n(2) : table < 5 ? 5 + n(3) : n(GUEST_FRAMES);
        const at = n(30) ? BigInt(next) : BigInt(n(2 ** 28)) << BigInt(n(16));
        return n(40) ? BigInt.asUintN(64, (at << 12n) | bits | (n(2) ? 0x60n : 0n)) : 0n;
      };
      // Frames 0 to 7 are tables, an L4 first; code and data are made of selectors, descriptors and small numbers.
      for (const [g, f] of frames.entries()) {
        for (let i = 0; i < 512; i++) s.view.setBigUint64(f * 4096 + i * 8, g < 8 ? entry(g) : 0n, true);
        if (g < 8) continue;
        for (let i = 0; i < 512; i++) {
          const d = pick([
            0x00af9b000000ffffn,
            0x00cff3000000ffffn,
            0x00affb000000ffffn,
            0x8900000067n << 8n,
            0x8e0000100000n,
            8n,
            0x10n,
            0x2bn,
          ]);
          s.view.setBigUint64(f * 4096 + i * 8, d, true);
        }
        for (let at = 0; at < 200; ) {
          const code = pick(CODE);
          s.u8.set(code, f * 4096 + at);
          at += code.length;
        }
        s.u8[f * 4096 + 200] = 0xf4;
        s.call('code_written', f, 0, 4096);
      }
      const address = () => {
        const low = BigInt(n(2) ? n(4096) : 4096 - n(16));
        const va =
          (BigInt(n(8)) << 39n) | (BigInt(n(8)) << 30n) | (BigInt(n(8)) << 21n) | (BigInt(n(512)) << 12n) | low;
        return n(30) ? va : BigInt.asUintN(64, (va << 20n) - 1n);
      };
      s.call('tlb_flush_domain', 1);
      s.set32('hvm', 1);
      s.set32('p2m', root * 4096);
      s.set64('guest_cr3', n(8) ? 0n : BigInt(n(8) << 12));
      s.set64('cr4', n(2) ? 0x206a0n : 0x506a0n);
      s.set64('cr0', n(20) ? 0x80050033n : 0x33n);
      s.set64('efer', n(20) ? 0xd01n : 0x501n);
      s.set32('mode', n(10) ? 0 : 1);
      s.set64('rflags', n(10) ? 0x202n : 0x302n);
      for (const f of ['gdt_base', 'idt_base', 'ldt_base', 'tr_base'] as const) s.set64(f, address());
      for (const f of ['gdt_limit', 'idt_limit', 'tr_limit', 'ldt_ents'] as const) s.set32(f, n(0x10000));
      for (let r = 0; r < 16; r++) s.setGpr(r, n(3) ? address() : BigInt(n(0x100)));
      for (const f of ['lstar', 'cstar', 'kernel_gs_base'] as const) s.set64(f, address());
      s.set64('star', 0x23_0010_0000_0000n);
      const cpl = n(2) ? 0 : pick([0, 1, 2, 3]);
      s.set32('cpl', cpl);
      for (let seg = 0; seg < 6; seg++) s.view.setUint16(s.cpu + off.sel + seg * 2, n(0x40), true);
      s.view.setUint16(s.cpu + off.sel + SEG.CS * 2, 0x10 | cpl, true);
      s.set32('pending', 0);
      s.call('hvm_enter', s.cpu);
      let rip = address() & ~0xfffn;
      for (let step = 0; step < 12; step++) {
        const reason = s.run(rip, 50);
        exits.set(reason, (exits.get(reason) ?? 0) + 1);
        if (reason === EXIT.EXCEPTION || reason === EXIT.SOFTINT) {
          const event = reason === EXIT.EXCEPTION ? EVENT.EXCEPTION : EVENT.SOFTWARE;
          const error = [s.get32('exit_has_error') ? 1 : 0, s.get32('exit_error')];
          s.call('hvm_inject', s.cpu, s.get32('exit_vector'), event, ...error);
        } else if (n(2)) s.call('hvm_inject', s.cpu, n(256), EVENT.INTERRUPT, 0, 0);
        rip = n(3) ? address() & ~0xfffn : s.get64('rip');
        s.setGpr(GPR.RAX, n(2) ? BigInt(n(0x40)) : address());
        s.setGpr(GPR.RBX, address());
        s.set32('pending', 0);
      }
      for (const other of others) {
        const bytes = s.u8.subarray(other * 4096, other * 4096 + 4096);
        expect(bytes.every((b) => b === 0xa5)).toBe(true);
      }
    }
    // Not everything fails at once.
    for (const reason of [EXIT.PREEMPT, EXIT.EXCEPTION, EXIT.IO, EXIT.MSR, EXIT.NPF])
      expect(exits.get(reason)).toBeGreaterThan(0);
  });
});
