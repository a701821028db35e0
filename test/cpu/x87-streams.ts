/**
 * Random streams of x87 instructions, a dozen or two in one block: what the translator does itself of them goes by what it
 * knows of the whole block (src/engine/translator/x87-stack.ts). Numbers are usual ones mostly, and the stack is rarely
 * left empty or full.
 */
import type { Case } from './case.ts';
import { double, littleEndian, number, operands, operandsAt, single } from './fp-numbers.ts';
import { Rng } from './rng.ts';
import { DEFAULT_AT, WINDOW } from './state.ts';

/** Memory operands, 8 bytes each. */
const OPERANDS = 16;

/** In hexadecimal, as a case names registers. */
function register(r: Rng): string {
  const { sign, exponent, fraction } = number(r, 63, 16383);
  // Neither zeros nor denormals have the integer bit; a few others lack it too.
  const integer = exponent === 0n || r.oneIn(64) ? 0n : 1n << 63n;
  return Buffer.from(littleEndian(fraction | integer | (exponent << 64n) | (sign << 79n), 10)).toString('hex');
}

/** An instruction, and how many registers it pops (-1: pushes). */
type Step = readonly [pops: number, ...code: number[]];

/** With a memory operand: [rsi + disp8], of 8-byte places; every other has a double, the rest a single. */
function memory(r: Rng, pops: number, opcode: number, digit: number, wide: boolean): Step {
  const place = r.below(OPERANDS / 2) * 2 + (wide ? 0 : 1);
  return [pops, opcode, 0x46 | (digit << 3), place * 8];
}

function push(r: Rng, i: number): Step {
  switch (r.below(8)) {
    case 0:
      return memory(r, -1, 0xd9, 0, false);
    case 1:
      return [-1, 0xd9, 0xc0 + i];
    case 2:
      return [-1, 0xd9, r.pick([0xe8, 0xeb, 0xee])];
    case 3:
      return memory(r, -1, 0xdb, 0, false); // fild
    default:
      return memory(r, -1, 0xdd, 0, true);
  }
}

function compute(r: Rng, i: number): Step {
  const digit = r.pick([0, 0, 1, 1, 1, 4, 5, 6, 7]);
  switch (r.below(8)) {
    case 0:
      return memory(r, 0, 0xd8, digit, false);
    case 1:
      return memory(r, 0, r.pick([0xda, 0xde]), digit, false);
    case 2:
    case 3:
      return memory(r, 0, 0xdc, digit, true);
    case 4:
      return [1, 0xde, 0xc0 + digit * 8 + i];
    case 5:
      return [0, 0xdc, 0xc0 + digit * 8 + i];
    default:
      return [0, 0xd8, 0xc0 + digit * 8 + i];
  }
}

function store(r: Rng, i: number): Step {
  const pops = r.below(2);
  switch (r.below(6)) {
    case 0:
      return memory(r, pops, 0xd9, 2 + pops, false);
    case 1:
      return memory(r, pops, 0xdb, 2 + pops, false); // fist
    case 2:
    case 3:
      return [pops, 0xdd, 0xd0 + pops * 8 + i];
    default:
      return memory(r, pops, 0xdd, 2 + pops, true);
  }
}

function other(r: Rng, i: number): Step {
  switch (r.below(16)) {
    case 0:
    case 1:
      return [0, 0xd9, 0xe0]; // fchs
    case 2:
      return [0, 0xd9, 0xe1]; // fabs
    case 3:
      return [0, 0xd9, r.pick([0xfa, 0xfc, 0xe5])]; // fsqrt, frndint, fxam
    case 4:
      return [0, 0xdf, 0xe0]; // fnstsw ax
    case 5: {
      const pops = r.below(2);
      return r.oneIn(2) ? [pops, 0xdb + pops * 4, 0xf0 + i] : [pops, 0xd8, 0xd0 + pops * 8 + i]; // fcomi, fcom
    }
    case 6:
      return [2, 0xde, 0xd9]; // fcompp
    case 7:
      return [0, 0xd9, r.pick([0xf6, 0xf7])]; // fdecstp, fincstp
    case 8:
      return r.oneIn(2) ? [0, 0xda, 0xc0 + i] : memory(r, 0, 0xd9, 5, true); // fcmovb, fldcw
    case 9: // addsd, paddd mm0, inc rax
      return r.pick<Step>([
        [0, 0xf2, 0x0f, 0x58, 0xc1],
        [0, 0x0f, 0xfe, 0xc1],
        [0, 0x48, 0xff, 0xc0],
      ]);
    case 10: // fnclex, ffree, fnop
      return r.pick<Step>([
        [0, 0xdb, 0xe2],
        [0, 0xdd, 0xc0 + i],
        [0, 0xd9, 0xd0],
      ]);
    default:
      return [0, 0xd9, 0xc8 + i]; // fxch
  }
}

/** With `depth` registers in use. */
function step(r: Rng, depth: number): Step {
  const i = r.below(r.oneIn(16) ? 8 : Math.max(1, Math.min(8, depth)));
  const room = depth < 8 || r.oneIn(16);
  const some = depth > 1 || r.oneIn(16);
  const kind = r.below(some ? 16 : 5);
  if (kind < 3 && room) return push(r, i);
  if (kind < 10) return compute(r, i);
  return kind < 13 && some ? store(r, i) : other(r, i);
}

export function x87Stream(seed: number): Case {
  const r = new Rng(seed);
  const depth = r.range(0, 7);
  const top = r.below(8);
  const code: number[] = [];
  let now = depth;
  for (let n = r.range(3, 30); n > 0; n--) {
    const [pops, ...bytes] = step(r, now);
    code.push(...bytes);
    now = Math.min(8, Math.max(0, now - pops));
  }
  // Physical registers in use.
  let used = 0;
  for (let i = 0; i < depth; i++) used |= 1 << ((top + i) & 7);
  let control = 0x37f;
  if (r.oneIn(6)) control = 0x27f;
  if (r.oneIn(12)) control = (control & ~0xc00) | (r.below(4) << 10);
  if (r.oneIn(12)) control &= ~r.below(64);
  const over = new Map([
    ['cw', control.toString(16)],
    ['sw', ((top << 11) | (r.oneIn(4) ? r.u32() & 0x4720 & ~(~control & 0x20) : 0)).toString(16)],
    ['tw', used.toString(16)],
  ]);
  for (let i = 0; i < 8; i++) over.set(`m${i}`, register(r));
  const at = operandsAt(r);
  over.set('si', (WINDOW + at).toString(16));
  const pokes = operands(at, 8, OPERANDS, (n) => littleEndian(n % 2 ? single(r) : double(r), 8));
  return { mode: 0, at: DEFAULT_AT, code: Uint8Array.from(code), seed: r.u32(), over, pokes };
}
