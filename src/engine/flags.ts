/**
 * Lazy status flags, free of case distinctions: four 64-bit words in CpuState from which each flag is one or two
 * operations, whatever instruction set them.
 *
 *   ZF = (fz == 0)
 *   SF = bit 63 of fs                       (results are stored sign-extended from the operand size)
 *   PF = even parity of the low byte of fs
 *   CF = bit 63 of fc
 *   OF = bit 63 of fc XOR bit 62 of fc      (bit 62: the carry into the sign bit)
 *   AF = bit 4 of (fx XOR fs)               (fx = a XOR b for a sum or difference)
 *
 * For a sum r = a + b of n bits, fc = ((a & b) | ((a | b) & ~r)) << (64 - n);
 * for a difference r = a - b,    fc = ((~a & b) | ((~a | b) & r)) << (64 - n).
 * Bits 61..0 of fc, and bits other than 4 of fx, have no meaning.
 *
 * To set flags to given values (popf, sahf, iret): fz = ZF ? 0 : 1; fs = SF << 63 | (PF ? 0 : 1);
 * fc = CF << 63 | (CF ^ OF) << 62; fx = AF << 4.
 */
export const RFLAGS = {
  CF: 1 << 0,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
  STATUS: 0x8d5,
} as const;

/**
 * Where translated code has the flags: 0 the words in CpuState, 1 four locals, else kind << 2 | log2(operand bytes): they
 * follow from operands and result (FlagRecipe in semantics/ir.ts). Those of an inc or dec are 8 bits further up, over what CF follows from
 * (translator/flag-steps.ts).
 */
export const FLAG_KIND = {
  ADD: 1,
  SUB: 2,
  ADC: 3,
  SBB: 4,
  LOGIC: 5,
  INC: 6,
  DEC: 7,
  RESULT: 8,
  SHL: 9,
  SHR: 10,
  SAR: 11,
} as const;
