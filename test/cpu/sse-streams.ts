/**
 * Random streams of SSE arithmetic, a dozen or two in one block, with moves between, which the translator proves together
 * (src/engine/translator/fp-group.ts). Numbers are usual ones mostly.
 */
import type { Case } from './case.ts';
import { double, littleEndian, operands, operandsAt, single } from './fp-numbers.ts';
import { Rng } from './rng.ts';
import { DEFAULT_AT, WINDOW } from './state.ts';

/** Memory operands, 16 bytes each: doubles, or singles in every other. */
const OPERANDS = 8;
/** Few registers, so that what is written is read. */
const REGISTERS = 5;

const SD = 0xf2;
const SS = 0xf3;
const PD = 0x66;

/** Prefix (0: none), opcode, and operands: xmm, or memory if `memory`. */
function vector(r: Rng, prefix: number, opcode: number, memory: boolean, reg = r.below(REGISTERS)): number[] {
  const single = prefix === SS || prefix === 0;
  const place = r.below(OPERANDS / 2) * 2 + (single ? 1 : 0);
  const operand = memory ? [0x46 | (reg << 3), place * 16] : [0xc0 | (reg << 3) | r.below(REGISTERS)];
  return [...(prefix ? [prefix] : []), 0x0f, opcode, ...operand];
}

/** `small`: nothing but sums. */
function step(r: Rng, usual: number, small: boolean): number[] {
  const prefix = r.oneIn(6) ? r.pick([SD, PD, SS, 0]) : usual;
  // Packed ones take pairs or fours.
  const packed = prefix === PD || prefix === 0;
  const both = packed ? prefix : prefix === SD ? PD : 0;
  switch (r.below(16)) {
    case 0:
      return vector(r, both, 0x28, false); // movap
    case 1:
      return vector(r, both, 0x10, true); // movup, from memory
    case 2:
      return vector(r, prefix, 0x10, !packed || r.oneIn(2)); // movs, movup
    case 3:
      return vector(r, both, r.pick([0x14, 0x15]), false); // unpcklp, unpckhp
    case 4:
      return vector(r, both, r.pick([0x12, 0x16]), true); // movlp, movhp
    case 5:
      return vector(r, r.oneIn(2) ? prefix : both, 0x11, true); // a store
    case 6:
      return r.pick([
        [0x48, 0xff, 0xc0], // inc rax
        [0x48, 0x83, 0xc0, 1, 0x31, 0xd2], // add rax,1; xor edx,edx
        [0x48, 0x8d, 0x58, 8], // lea rbx,[rax+8]
        [0x8b, 0x46, 8], // mov eax,[rsi+8]
        vector(r, 0, 0x57, false), // xorps
        vector(r, PD, 0xef, false), // pxor
        vector(r, PD, 0x2f, false), // comisd
      ]);
    case 7:
      if (small) break;
      return vector(r, prefix, r.pick([0x51, 0x51, 0x5d, 0x5f]), r.oneIn(4)); // sqrt, min, max
    case 8:
      if (small) break;
      return vector(r, prefix, 0x5e, r.oneIn(4)); // div
  }
  const opcode = r.pick(small ? [0x58, 0x5c] : [0x58, 0x58, 0x59, 0x59, 0x59, 0x5c]); // add, mul, sub
  return vector(r, prefix, opcode, r.oneIn(4));
}

/** Two doubles or four singles. */
function lanes(r: Rng, doubles: boolean, small: boolean): Uint8Array {
  const one = doubles ? double : single;
  const list = Array.from({ length: doubles ? 2 : 4 }, () => one(r, small));
  // What was loaded as a scalar has zeros above it.
  if (r.oneIn(3)) list.fill(0n, 1);
  return Uint8Array.from(list.flatMap((v) => [...littleEndian(v, 16 / list.length)]));
}

export function sseStream(seed: number): Case {
  const r = new Rng(seed);
  const usual = r.pick([SD, SD, PD, SS, 0]);
  const doubles = usual === SD || usual === PD;
  // Sums of which are denormal.
  const small = r.oneIn(12);
  const code: number[] = [];
  for (let n = r.range(3, 30); n > 0; n--) code.push(...step(r, usual, small));
  let mxcsr = 0x1fa0;
  if (r.oneIn(6)) mxcsr = 0x1f80;
  if (r.oneIn(12)) mxcsr ^= r.pick([0x40, 0x8000, 0x2000, 0x4000, 0x800, 0x1000, 0x100]);
  const over = new Map([['mx', mxcsr.toString(16)]]);
  for (let i = 0; i < REGISTERS; i++)
    over.set(`x${i}`, Buffer.from(lanes(r, r.oneIn(8) !== doubles, small)).toString('hex'));
  const at = operandsAt(r);
  over.set('si', (WINDOW + at).toString(16));
  const pokes = operands(at, 16, OPERANDS, (n) => lanes(r, n % 2 === 0, small));
  return { mode: 0, at: DEFAULT_AT, code: Uint8Array.from(code), seed: r.u32(), over, pokes };
}
