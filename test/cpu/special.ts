/**
 * Cases that do not come from the table: opcodes that do not exist, prefixes that are not allowed, instructions too long
 * or cut off by the end of a page, and short streams of instructions, whose flags feed each other.
 */
import { type FormOf, forms } from '../../src/engine/semantics/forms.ts';
import type { Encoding } from '../../src/engine/semantics/table.ts';
import { type Case, unhex } from './case.ts';
import { type GeneratedGroup, makeCase } from './generate.ts';
import { Rng, seedOf } from './rng.ts';
import { CODE, CODE_SIZE, DEFAULT_AT } from './state.ts';
import { encodings } from './tables.ts';

const plain = (mode: 0 | 1, code: Uint8Array, seed: number, at = DEFAULT_AT): Case => ({
  mode,
  at,
  code,
  seed,
  over: new Map(),
  pokes: [],
});

/** Code in hexadecimal; [what, modes, codes]. */
const UNDEFINED: readonly (readonly [string, readonly (0 | 1)[], string])[] = [
  ['reserved opcodes', [0, 1], '0f0b 0fb9c0 0fffc0 0f04 0f0a 0f0c 0f24c0 0f26c0 0f36 0f39 0fa6c0 0fa7c0 0f3bc0'],
  [
    'not in 64-bit mode',
    [0],
    '06 07 0e 16 17 1e 1f 27 2f 37 3f 60 61 9a0000000000 82c000 ce d40a d50a ea000000000000 d6',
  ],
  ['lock without a memory destination', [0, 1], 'f001c0 f0f7d8 f087c0 f00fb1c8 f00fabc8 f0fec0'],
  [
    'lock on what cannot be locked',
    [0, 1],
    'f08900 f03900 f08500 f08d00 f090 f00fa300 f0d100 f0ff30 f0f720 f00faf00 f0c3 f0e800000000',
  ],
  ['undefined digits', [0, 1], 'fed0 feff fff8 8fc8 8fd0 c6c800 c7c800000000 0fba00 0fba08 0fc700 0fc710'],
  ['memory forms that need memory', [0, 1], '8dc0 0fc7c8 0fc7d0 62c0 c4c0 c5c0'],
  [
    'reserved x87 opcodes',
    [0, 1],
    'd9d1 d9e2 d9e6 d9ef d908 dae0 daea dbe5 dbf8 dbe6 ddf0 ddf8 de00d8 deda dfe1 dffa db20 db30 dd28',
  ],
];

function undefinedOpcodes(): GeneratedGroup[] {
  const out: GeneratedGroup[] = [];
  for (const [what, modes, codes] of UNDEFINED) {
    for (const mode of modes) {
      const g: GeneratedGroup = { title: `${what.replace(/ /g, '-')} | bytes | ${mode ? 32 : 64} op4`, cases: [] };
      for (const [i, code] of codes.split(' ').entries()) g.cases.push(plain(mode, unhex(code), 0x100 + i * 8));
      out.push(g);
    }
  }
  return out;
}

/** Prefixes without effect, many of them, up to and beyond fifteen bytes. */
function lengths(): GeneratedGroup[] {
  const out: GeneratedGroup[] = [];
  for (const mode of [0, 1] as const) {
    const g: GeneratedGroup = { title: `length | prefixes | ${mode ? 32 : 64} op4`, cases: [] };
    const r = new Rng(seedOf(g.title));
    const tails = [
      '01d8',
      '8b0424',
      '0fafc1',
      'b878563412',
      '81c078563412',
      '6689c8',
      '0f58c1',
      mode ? '40' : '48ffc0',
    ];
    for (const tail of tails) {
      for (let n = 8; n <= 16; n++) {
        const prefixes = Array.from({ length: n }, () => r.pick(['26', '3e', '36', '2e', '66', '26']));
        g.cases.push(plain(mode, unhex(prefixes.join('') + tail), r.below(0x10000) * 8));
      }
    }
    out.push(g);
  }
  return out;
}

const SIMPLE =
  /^(add|or|adc|sbb|and|sub|xor|cmp|test|inc|dec|neg|not|mov|movzx|movsx|movsxd|lea|xchg|cmov|set|bswap|cbw|cwd|cwde|cdqe|cdq|cqo|push|pop|xadd|cmpxchg)(n?[bceglopsz]{1,3})?$/;

function simpleForms(mode: 0 | 1): [Encoding, FormOf][] {
  const list: [Encoding, FormOf][] = [];
  for (const e of encodings()) {
    if (!SIMPLE.test(e.insn.name) || e.operands.some((o) => 'SCDOXY'.includes(o.code)) || e.insn.fpu) continue;
    if (/^(push|pop)/.test(e.insn.name) && !e.operands.length) continue;
    if (e.map === 0 && (e.opcode === 0x8c || e.opcode === 0x8e)) continue; // segment registers
    for (const f of forms(e)) if (f.mode === mode && !f.lock && !f.memory && !f.rep) list.push([e, f]);
  }
  return list;
}

/** Two to eight instructions on registers (now and then one on the stack), perhaps with a conditional branch at the end. */
function streams(): GeneratedGroup[] {
  const out: GeneratedGroup[] = [];
  for (const [mode, n] of [
    [0, 2500],
    [1, 800],
  ] as const) {
    const g: GeneratedGroup = { title: `stream | instructions | ${mode ? 32 : 64} op4`, cases: [] };
    const r = new Rng(seedOf(g.title));
    const list = simpleForms(mode);
    if (!list.length) continue;
    for (let i = 0; i < n; i++) {
      const bytes: number[] = [];
      for (let k = r.range(2, 8); k > 0; k--) {
        const [e, f] = r.pick(list);
        const c = makeCase(e, f, r, { keepRsp: true });
        if (!c.over.size && !c.pokes.length && bytes.length + c.code.length < 56) bytes.push(...c.code);
      }
      if (r.oneIn(2)) bytes.push(0x70 | r.below(16), r.below(100));
      if (bytes.length) g.cases.push(plain(mode, Uint8Array.from(bytes), r.below(0x20_0000) * 8));
    }
    out.push(g);
  }
  return out;
}

/** Instructions across a page boundary inside the code region, and at its end, where they are cut off. */
function boundaries(): GeneratedGroup[] {
  const out: GeneratedGroup[] = [];
  for (const mode of [0, 1] as const) {
    const r = new Rng(seedOf(`boundaries ${mode}`));
    const across: GeneratedGroup = { title: `across | page boundary | ${mode ? 32 : 64} op4`, cases: [] };
    const cut: GeneratedGroup = { title: `cut | end of code | ${mode ? 32 : 64} op4`, cases: [] };
    const codes = [
      '01d8',
      '6601d8',
      'b878563412',
      '81c078563412',
      '0fafc1',
      '0f58c1',
      '69c078563412',
      '8b042500100010',
    ];
    if (!mode) codes.push('48b8887766554433221100'.slice(0, 20), '4801d8', '48c7c078563412', 'f3480fb8c1');
    for (const hex of codes) {
      const code = unhex(hex);
      for (let k = 1; k < code.length; k++) {
        across.cases.push(plain(mode, code, r.below(0x10000) * 8, CODE + 0x9000 - k));
        cut.cases.push(plain(mode, code.slice(0, k), r.below(0x10000) * 8, CODE + CODE_SIZE - k));
      }
    }
    out.push(across, cut);
  }
  return out;
}

export const special = (): GeneratedGroup[] => [...undefinedOpcodes(), ...lengths(), ...boundaries(), ...streams()];
