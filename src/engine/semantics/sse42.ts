/** SSE4.2: string comparison, pcmpgtq, crc32 (SDM vol. 2 section 4.1 and the instructions' pages). */
import { CpuState, GPR } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';
import { FPU, high, imm8, laneMask, low, packed, vop, widen } from './vector.ts';

/**
 * Length of an operand from rax or rdx: its magnitude, at most the number of elements. 32-bit unless REX.W.
 */
function explicitLength(b: Builder, gpr: number, elements: Val): Val {
  const bytes = b.size === 8 ? 8 : 4;
  const v = b.reg(gpr, bytes);
  const sign = b.shrS(v, bytes * 8 - 1);
  const magnitude = b.sub(b.xor(v, sign), sign);
  const n = bytes === 8 ? b.to('i64', elements) : elements;
  // As unsigned numbers, so that the most negative one counts as many.
  return b.to('i32', b.select(b.cmp('lt_u', magnitude, n), magnitude, n));
}

/**
 * pcmpestri pcmpestrm pcmpistri pcmpistrm. The runtime compares: it gives IntRes2 in bits 15..0, ZF (operand 2 is
 * shorter than a register) in bit 16, SF (operand 1 is) in bit 17. Lengths of -1 are implicit: up to the first zero.
 */
function compareStrings(name: string, opcode: string, explicit: boolean, result: 'index' | 'mask'): Insn {
  return insn(
    name,
    `66 0F 3A ${opcode} Vx,Wu,Ib${explicit ? ' ; y' : ''}`,
    (b) => {
      const s = b.read(1);
      const d = b.read(0);
      const imm = imm8(b, 2);
      const words = b.and(imm, b.i32(1));
      const elements = b.shrU(b.i32(16), words);
      const len1 = explicit ? explicitLength(b, GPR.RAX, elements) : b.i32(-1);
      const len2 = explicit ? explicitLength(b, GPR.RDX, elements) : b.i32(-1);
      const args = [low(b, d), high(b, d), low(b, s), high(b, s), len1, len2, imm];
      const r = b.call('pcmpstr', args, 'i32', { pure: true });
      const bits = b.and(r, b.i32(0xffff));
      const upper = b.and(imm, b.i32(0x40));
      if (result === 'index') {
        // The lowest bit set, or with imm8[6] the highest; the number of elements if none.
        const lowest = b.op('i32.ctz', 'i32', [bits]);
        const highest = b.sub(b.i32(31), b.op('i32.clz', 'i32', [bits]));
        const index = b.select(bits, b.select(upper, highest, lowest), elements);
        b.setReg(GPR.RCX, 4, index);
      } else {
        // The bits themselves, or with imm8[6] a mask of bytes or words.
        const mask = b.select(words, laneMask(b, bits, 2), laneMask(b, bits, 1));
        b.set(CpuState.off.xmm, 16, b.select(upper, mask, widen(b, bits)));
      }
      const bit = (v: Val, n: number) => b.and(b.shrU(v, n), b.i32(1));
      const none = b.i32(0);
      b.setFlags({
        c: b.cmp('ne', bits, none),
        z: bit(r, 16),
        s: bit(r, 17),
        o: bit(r, 0),
        a: none,
        p: none,
      });
    },
    FPU,
  );
}

export const sse42: Insn[] = [
  packed('pcmpgtq', ['66 0F 38 37 Vx,Wx'], (b, d, s) => vop(b, 'i64x2.gt_s', d, s)),
  compareStrings('pcmpestrm', '60', true, 'mask'),
  compareStrings('pcmpestri', '61', true, 'index'),
  compareStrings('pcmpistrm', '62', false, 'mask'),
  compareStrings('pcmpistri', '63', false, 'index'),

  // CRC-32C of a general register's value, no SSE state involved. REX.W clears the upper half too.
  insn('crc32', ['F2 0F 38 F0 Gd,Eb', 'F2 0F 38 F1 Gd,Ev'], (b) => {
    const v = b.to('i64', b.read(1));
    b.write(0, b.call('crc32c', [b.read(0), v, b.i32(b.bytes(1))], 'i32', { pure: true }));
  }),
];
