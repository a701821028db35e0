/**
 * Makes the cases: for each form of each encoding (operand size, register or memory, lock, rep, condition, mode) a number
 * of them with operands, addressing forms, immediates and states chosen at random from edge values. The same table gives
 * the same cases: each form has a seed of its own, so a new instruction leaves the others' cases alone.
 */
import { type FormOf, forms, operandBytes } from '../../src/engine/semantics/forms.ts';
import type { Encoding } from '../../src/engine/semantics/table.ts';
import type { Case, Poke } from './case.ts';
import { type Choice, encode, HIGH_BYTE, type Memory } from './encode.ts';
import { addressing, addressing16, moffs, place } from './operands.ts';
import { type Context, prepare } from './prepare.ts';
import { Rng, seedOf } from './rng.ts';
import { DEFAULT_AT, FLAVOURS, GPR_NAMES, WINDOW, WINDOW_SIZE } from './state.ts';
import { encodings, excluded, type FileName, fileOf } from './tables.ts';
import { int64 } from './values.ts';

export interface GeneratedGroup {
  readonly title: string;
  readonly cases: Case[];
}

const GS_PREFIX = 0x65;

/** What the float operands of an instruction are: a kind of state.ts `lanes`, or -1. */
function operandKind(e: Encoding, memorySize: string): number {
  const name = e.insn.name;
  if (memorySize === 'ss') return 1;
  if (memorySize === 'sd') return 2;
  const file = fileOf(e);
  if (file === 'x87') {
    if (/^fi/.test(name)) return 0;
    return memorySize === 'd' ? 1 : memorySize === 'q' ? 2 : 3;
  }
  if (file !== 'vector') return -1;
  if (/ps$|^cvtps|ss$/.test(name)) return 1;
  if (/pd$|^cvtt?pd|sd$/.test(name)) return 2;
  return name.startsWith('p') ? 0 : -1;
}

/** Registers of the xmm file: a seed's flavour. */
function flavour(r: Rng, e: Encoding, kind: number): number {
  if (fileOf(e) !== 'vector') return 5;
  if (/^cvtt?ps/.test(e.insn.name)) return 1;
  if (/^cvtt?[sp]d/.test(e.insn.name)) return 2;
  if (/^cvttss|^cvtss/.test(e.insn.name)) return 1;
  return kind >= 0 && !r.oneIn(6) ? kind : 5;
}

/** With an address size prefix: 32 bits in 64-bit mode, 16 in compatibility mode. */
const shortAddress = (f: FormOf): boolean => f.form.addrsize < (f.mode ? 4 : 8);

/** No memory can be mapped where only 16 bits of address reach (vm.mmap_min_addr): engine/strings.test.ts has these. */
const outOfReach = (e: Encoding, f: FormOf): boolean => f.form.addrsize === 2 && e.operands[0]?.code !== 'J';

/** Forms in which Intel's and AMD's processors differ by design. */
function differsByMaker(e: Encoding, f: FormOf): boolean {
  // near branches with a 66 prefix: AMD truncates rip, Intel ignores the prefix
  if (e.operands.some((o) => o.code === 'J') && f.opsize === 2) return true;
  // far pointers with REX.W: AMD ignores REX.W
  return f.opsize === 8 && /^(jmpf|callf|l[defgs]s)$/.test(e.insn.name);
}

/** How many cases a form gets. */
function count(e: Encoding, f: FormOf): number {
  const name = e.insn.name;
  let n = 12;
  const file = fileOf(e);
  if (file === 'x87')
    n = /^f(2xm1|yl2x|ptan|patan|sin|cos|sincos|yl2xp1|prem1?|sqrt|scale|xtract|rndint|bld|bstp)$/.test(name) ? 60 : 24;
  else if (file === 'vector') {
    n = 14;
    if (/^(add|sub|mul|div|sqrt|min|max|cmp|comi|ucomi|cvt|round|dp|hadd|hsub|addsub|rcp|rsqrt)/.test(name)) n = 40;
    if (/^pcmp.str/.test(name)) n = 80;
  }
  if (/^i?div$|^i?mul$/.test(name)) n = 24;
  if (f.rep) n = 16;
  if (f.lock) n = 8;
  if (e.cc) n = 3;
  if (f.mode === 1 && e.sizes[0].length) n = Math.ceil(n / 3);
  if (e.operands.length === 0 && !e.attrs.has('v') && file === 'integer') n = Math.min(n, 8);
  return n;
}

function formTitle(e: Encoding, f: FormOf): string {
  const words = [f.mode ? '32' : '64', `op${f.opsize}`];
  if (f.memory !== null) words.push(f.memory ? 'mem' : 'reg');
  if (f.lock) words.push('lock');
  if (f.rep) words.push(f.rep);
  if (shortAddress(f)) words.push(`addr${f.form.addrsize * 8}`);
  return `${e.insn.name} | ${e.text.replace(/\s+/g, ' ').trim()} | ${words.join(' ')}`;
}

/** One register operand. */
function register(r: Rng, e: Encoding, i: number, opsize: number, long: boolean, rexFree: boolean): number {
  const o = e.operands[i];
  const n = long ? 16 : 8;
  switch (o.code) {
    case 'E':
    case 'G':
    case 'R':
    case 'Z': {
      const bytes = operandBytes(o, opsize);
      if (bytes === 1 && (rexFree || !long)) {
        const k = r.below(8);
        return k >= 4 ? k | HIGH_BYTE : k;
      }
      const limit = rexFree ? 8 : n;
      if (o.code === 'Z' && e.attrs.has('b0')) return r.below(8);
      return r.below(limit);
    }
    case 'W':
    case 'V':
    case 'U':
      return r.below(n);
    case 'S':
      return r.pick([0, 3, 0, 3, 0, 1, 2, 4, 5]);
    default:
      return r.below(8);
  }
}

/** One case of a form. */
export function makeCase(e: Encoding, f: FormOf, r: Rng, o: { keepRsp?: boolean } = {}): Case {
  const long = f.mode === 0;
  const over = new Map<string, string>();
  const pokes: Poke[] = [];
  const setField = (name: string, text: string) => over.set(name, text);
  const setReg = (n: number, v: bigint) => {
    if (!long && n >= 8) return;
    setField(GPR_NAMES[n], BigInt.asUintN(long ? 64 : 32, v).toString(16));
  };
  const pokeBytes = (address: bigint, bytes: Uint8Array) => {
    const offset = Number(address - BigInt(WINDOW));
    const from = Math.max(0, -offset);
    const to = Math.min(bytes.length, WINDOW_SIZE - offset);
    if (to > from) pokes.push({ offset: offset + from, bytes: bytes.slice(from, to) });
  };
  const poke = (address: bigint, v: bigint, bytes: number) => {
    const b = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i++) b[i] = Number((v >> BigInt(8 * i)) & 0xffn);
    pokeBytes(address, b);
  };

  // High-byte registers exclude REX, so the whole instruction is then made of the first eight.
  const hasByteReg = e.operands.some((o, i) => 'EGRZ'.includes(o.code) && operandBytes(e.operands[i], f.opsize) === 1);
  const rexFree = hasByteReg && r.oneIn(2) && !(long && f.opsize === 8);
  const regs = e.operands.map((_, i) => register(r, e, i, f.opsize, long, rexFree));
  if (o.keepRsp) for (const [i, n] of regs.entries()) if (n === 4) regs[i] = 5;
  const reserved = new Set<number>();
  const memoryOperand = e.operands.find((o) => 'MO'.includes(o.code) || (f.memory && 'EWQ'.includes(o.code)));
  const string = e.operands.some((o) => o.code === 'X' || o.code === 'Y') || e.attrs.has('a');
  const segments =
    long &&
    (e.operands.some((o) => o.code === 'X') || /^(lods|movs|cmps|outs|xlat|maskmov)/.test(e.insn.name)) &&
    !(f.form.addrsize === 4 && /^maskmov/.test(e.insn.name)) &&
    r.oneIn(8);
  const kind = operandKind(e, memoryOperand?.size ?? '');
  const c: Context = {
    r,
    e,
    f,
    long,
    reserved,
    regs,
    imms: [],
    setReg,
    setField,
    onMemory: () => {},
    poke,
    pokeBytes,
    align: 0,
    segments,
  };
  prepare(c);

  let memory: Memory | null = null;
  if (memoryOperand) {
    const bytes = operandBytes(memoryOperand, f.opsize) || 16;
    const aligned = memoryOperand.size === 'x' || c.align === 16;
    if (memoryOperand.code !== 'O' && !long && r.oneIn(16)) memory = addressing16(r);
    else {
      const address = c.address ?? place(r, bytes, kind, aligned);
      if (rexFree) for (let i = 8; i < 16; i++) reserved.add(i);

      memory =
        memoryOperand.code === 'O'
          ? moffs(f.mode, r.oneIn(20) && long ? 0x8000_0000_0000_0000n : address)
          : addressing(r, f.mode, address, reserved, setReg);
      // A non-canonical address now and then: stack-based ones are #SS, others #GP.
      if (long && !memory.small && memory.base >= 0 && memory.index < 0 && r.oneIn(40)) {
        setReg(memory.base, r.pick([0x8000_0000_0000_0000n, 0x0001_0000_0000_0000n, 0x1234_5678_9abc_def0n]));
      } else c.onMemory(address);
    }
  }
  let immAt = 0;
  const imms: bigint[] = [];
  for (const o of e.operands) {
    if (o.code === 'I') imms.push(c.imms[immAt++] ?? (r.oneIn(2) ? int64(r) : BigInt(r.u32())));
  }
  const choice: Choice = {
    mode: f.mode,
    opsize: f.opsize,
    lock: f.lock,
    rep: f.rep,
    cc: f.cc,
    regs,
    memory,
    imms,
    rel: r.pick([0, 0, 1, 5, 0x7f, -0x80, -100, r.range(1, 127), r.range(-127, -20)]),
    rex: long && !rexFree && r.oneIn(20),
    segPrefix: segments ? GS_PREFIX : 0,
    addrPrefix: string && shortAddress(f),
    at: DEFAULT_AT,
  };
  const wideRel = e.operands.some((o) => o.code === 'J' && o.size !== 'b');
  const chosen =
    wideRel && r.oneIn(2) ? { ...choice, rel: r.pick([0x7000, -0x7000, 0x1000, 0x7fff_0000, -0x9000]) } : choice;
  return { mode: f.mode, at: chosen.at, code: encode(e, chosen), seed: seedFor(r, flavour(r, e, kind)), over, pokes };
}

/** A fresh state seed of a flavour (see state.ts). */
const seedFor = (r: Rng, f: number): number => r.below(0x20_0000) * FLAVOURS + f;

/** All cases of one recorded file. */
export function fromTable(file: FileName): GeneratedGroup[] {
  const groups = new Map<string, GeneratedGroup>();
  for (const e of encodings()) {
    if (fileOf(e) !== file || excluded(e)) continue;
    for (const f of forms(e)) {
      if (differsByMaker(e, f) || outOfReach(e, f)) continue;
      const title = formTitle(e, f);
      const r = new Rng(seedOf(`${title} ${f.cc}`));
      let g = groups.get(title);
      if (!g) {
        g = { title, cases: [] };
        groups.set(title, g);
      }
      for (let i = count(e, f); i > 0; i--) {
        g.cases.push(makeCase(e, f, r));
      }
    }
  }
  return [...groups.values()];
}
