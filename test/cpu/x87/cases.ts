/**
 * x87 cases: for every encoding, states worth trying. Deterministic, so that recording again gives the same cases.
 */
import type { Recorded, State } from '../../engine/x87-machine.ts';
import { assemble } from '../../engine/x87-machine.ts';

export interface X87Case {
  readonly recorded: Recorded;
  /** Stack operand. */
  readonly i: number;
  readonly code: string;
  readonly state: State;
}

/** xorshift64*; `below(n)` gives 0..n-1. */
export function random(seed: number) {
  let s = (BigInt(seed) * 0x9e3779b97f4a7c15n + 1n) & 0xffffffffffffffffn;
  const bits = () => {
    s ^= (s << 13n) & 0xffffffffffffffffn;
    s ^= s >> 7n;
    s ^= (s << 17n) & 0xffffffffffffffffn;
    return (s * 0x2545f4914f6cdd1dn) & 0xffffffffffffffffn;
  };
  const below = (n: number) => Number(bits() >> 33n) % n;
  return { bits, below, pick: <T>(list: readonly T[]): T => list[below(list.length)] };
}
type Random = ReturnType<typeof random>;

const bytes = (v: bigint, n: number) => {
  const b = Buffer.alloc(n);
  for (let i = 0; i < n; i++) b[i] = Number((v >> BigInt(8 * i)) & 0xffn);
  return b.toString('hex');
};
/** An 80-bit number from sign-and-exponent and significand. */
export const f80 = (se: number, sig: bigint) => bytes((BigInt(se) << 64n) | (sig & 0xffffffffffffffffn), 10);

const INT = 1n << 63n;
/** Exponent and significand of positive numbers worth trying. */
const EDGES: readonly (readonly [number, bigint])[] = [
  [0, 0n],
  [0, 1n],
  [0, INT - 1n],
  [0, INT], // pseudo-denormal
  [0, INT | 1n],
  [1, INT],
  [1, INT | 1n],
  [2, 0xffffffffffffffffn],
  [0x3fff, INT],
  [0x3fff, INT | 1n],
  [0x3ffe, 0xffffffffffffffffn],
  [0x3ffe, INT],
  [0x3ffe, 0xfffffffffffff800n],
  [0x3fff, 0xc000000000000000n],
  [0x4000, INT],
  [0x4000, 0xa000000000000000n],
  [0x4000, 0xc90fdaa22168c235n],
  [0x3ffe, 0xb504f333f9de6484n],
  [0x3fbf, INT], // 2^-64
  [0x3fc0, INT],
  [0x400d, 0xfffe000000000000n], // 32767
  [0x400d, 0xffff000000000000n], // 32767.5
  [0x400e, INT], // 32768
  [0x401d, 0xfffffffe00000000n], // 2^31 - 1
  [0x401e, INT],
  [0x403a, 0xde0b6b3a763ffff0n], // 10^18 - 1
  [0x403a, 0xde0b6b3a76400000n],
  [0x403d, 0xfffffffffffffffen],
  [0x403e, INT],
  [0x403e, INT | 1n],
  [0x403e, 0xffffffffffffffffn],
  [0x407e, INT],
  [0x407e, 0xffffff7fffffffffn],
  [0x407e, 0xffffff8000000000n],
  [0x3f81, INT],
  [0x3f81, 0xffffff0000000001n],
  [0x3f6a, INT],
  [0x3f6a, INT | 1n],
  [0x43fe, 0xfffffffffffffbffn],
  [0x43fe, 0xfffffffffffffc00n],
  [0x3c01, INT],
  [0x3c00, 0xffffffffffffffffn],
  [0x3bcd, INT],
  [0x3bcc, INT | 1n],
  [0x7ffe, 0xffffffffffffffffn],
  [0x7ffe, INT],
  [0x7fff, INT],
  [0x7fff, 0xc000000000000000n],
  [0x7fff, 0xc123456789abcdefn],
  [0x7fff, 0xa000000000000000n], // signalling
  [0x7fff, 0x8000000000000001n],
  [0x7fff, 0n], // pseudo-infinity
  [0x7fff, 0x4000000000000001n], // pseudo-NaN
  [0x1234, 0x7fffffffffffffffn], // unnormal
  [0x3fff, 0n],
];

function number(r: Random): string {
  const s = r.below(2) << 15;
  const sig = () => {
    let v = r.bits();
    // often few significant bits, or long runs
    if (r.below(3) === 0) v &= ~((1n << BigInt(r.below(63))) - 1n);
    else if (r.below(4) === 0) v |= (1n << BigInt(r.below(63))) - 1n;
    return v | INT;
  };
  switch (r.below(8)) {
    case 0:
    case 1:
    case 2: {
      const [e, m] = r.pick(EDGES);
      return f80(s | e, m);
    }
    case 3:
      return f80(s | (0x3fff - 10 + r.below(20)), sig());
    case 4:
      return f80(s | (0x3fff - 70 + r.below(140)), sig());
    case 5:
      return f80(s | r.below(0x7fff), sig());
    case 6:
      return f80(s | r.pick([0, 0, 1, 2, 64, 0x7ffe, 0x7ffd]), r.below(2) ? sig() : sig() >> BigInt(r.below(64)));
    default: {
      // an integer, perhaps and a half
      const n = BigInt(r.below(1 << r.below(30))) * 2n + BigInt(r.below(2));
      if (n === 0n) return f80(s, 0n);
      const len = n.toString(2).length;
      return f80(s | (0x3fff + len - 2), n << BigInt(64 - len));
    }
  }
}

const F32 = [
  0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x3f800001, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x7fa00000, 0x40490fdb,
];
const F64 = [
  0n,
  1n,
  0xfffffffffffffn,
  0x10000000000000n,
  0x3ff0000000000000n,
  0x3ff0000000000001n,
  0x7fefffffffffffffn,
  0x7ff0000000000000n,
  0x7ff8000000000000n,
  0x7ff4000000000000n,
  0x400921fb54442d18n,
];

/** Contents of the memory operand. */
function memory(name: string, size: number, r: Random): string {
  if (name === 'fbld') {
    let v = 0n;
    for (let k = 0; k < 18; k++) v = (v << 4n) | BigInt(r.below(10));
    if (r.below(4) === 0) v >>= BigInt(4 * r.below(18));
    return bytes(v | (BigInt(r.below(2)) << 79n), 10);
  }
  if (name === 'fld' && size === 0) return number(r);
  if (name === 'fldcw') return bytes(BigInt(r.below(0x2000)), 2);
  if (name === 'fldenv' || name === 'frstor') return '';
  if (name[1] === 'i') return bytes(r.below(4) ? r.bits() >> BigInt(r.below(64)) : 1n << BigInt(r.below(64)), size);
  const sign = BigInt(r.below(2));
  if (size === 4) return bytes((sign << 31n) | (r.below(2) ? BigInt(r.pick(F32)) : r.bits() & 0x7fffffffn), 4);
  if (size === 8) return bytes((sign << 63n) | (r.below(2) ? r.pick(F64) : r.bits() >> 1n), 8);
  return bytes(r.bits(), 8).repeat(14);
}

/** A state image for fldenv and frstor. */
function image(wide: boolean, save: boolean, r: Random): string {
  const [cw, sw, tw] = [r.below(0x2000), r.below(0x10000), r.below(0x10000)];
  const n = wide ? 4 : 2;
  let s = [cw, sw, tw].map((v) => bytes(BigInt(v), n)).join('');
  s += '00'.repeat((wide ? 28 : 14) - s.length / 2);
  if (save) for (let k = 0; k < 8; k++) s += number(r);
  return s;
}

/** `count` cases of one encoding. */
export function casesOf(recorded: Recorded, count: number, seed: number): X87Case[] {
  const { encoding } = recorded;
  const name = encoding.insn.name;
  const r = random(seed);
  const out: X87Case[] = [];
  for (let k = 0; k < count; k++) {
    const i = encoding.modrmSpan === 8 ? r.pick([0, 1, 1, 2, 3, 7]) : 0;
    const mask = r.below(3) ? 0x3f : r.below(64);
    const fcw = mask | 0x40 | (r.pick([0, 2, 3, 3, 3]) << 8) | (r.below(4) << 10);
    const top = r.below(8);
    // Flags that are set are masked ones, else frstor would leave an exception pending.
    const fsw = (top << 11) | (r.below(8) << 8) | (r.below(2) << 14) | (r.below(64) & mask) | (r.below(4) ? 0 : 0x40);
    const push = /^f(i|b)?ld/.test(name) || name === 'fxtract' || name === 'fptan' || name === 'fsincos';
    let ftw = 0;
    for (let n = 0; n < 8; n++) {
      const valid = r.below(24) ? n < 4 || (n < 7 && r.below(2)) || (n === 7 && !push) : r.below(2);
      if (!valid) ftw |= 3 << (((top + n) & 7) * 2);
    }
    // Registers that take no part hold small constants.
    const plain = name !== 'fnsave';
    const st = Array.from({ length: 8 }, (_, n) => (plain && n > 1 && n !== i ? f80(0x4000 + n, INT) : number(r)));
    const related = r.below(4) === 0;
    if (related) {
      // operands of like size
      const v = Buffer.from(st[0], 'hex');
      v[r.below(8)] ^= 1 << r.below(8);
      v[8] ^= r.below(4);
      v[9] ^= r.below(2) << 7;
      st[encoding.modrmSpan === 8 && i ? i : 1] = v.toString('hex');
    }
    const operand = encoding.operands[0];
    const size = operand?.code === 'M' ? ({ w: 2, d: 4, q: 8 }[operand.size as 'w'] ?? 0) : 0;
    const mem = /^f(ldenv|rstor)$/.test(name)
      ? image(recorded.opsize !== 2, name === 'frstor', r)
      : memory(name, size, r);
    const flags = r.below(0x1000) & 0x8d5;
    const code = Buffer.from(assemble(recorded, i)).toString('hex');
    out.push({ recorded, i, code, state: { fcw, fsw, ftw, flags, memory: mem || '00', st } });
  }
  return out;
}

/** Whether the encoding's results are only approximated: compared with a tolerance of one unit in the last place. */
export const TRANSCENDENTAL = /^f(2xm1|yl2xp1|yl2x|ptan|patan|sincos|sin|cos)$/;
