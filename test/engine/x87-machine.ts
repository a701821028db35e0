/**
 * Runs x87 descriptions without the rest of the engine: the floating-point part of the runtime compiled alone, with flat
 * memory in place of the MMU, and an evaluator of the recorded nodes.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';
import { Builder } from '../../src/engine/semantics/builder.ts';
import { forms } from '../../src/engine/semantics/forms.ts';
import type { Code, Node, Val } from '../../src/engine/semantics/ir.ts';
import { type Encoding, parseEncoding } from '../../src/engine/semantics/table.ts';
import { x87 } from '../../src/engine/semantics/x87.ts';
import { CpuState, EXIT, VEC } from '../../src/engine/state.ts';
import { getStatusWord, setStatusWord } from './status-word.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A flat address space: every address is readable and writable where it stands; below 4096 nothing is. */
const MMU = `
import { CpuState } from '../../../build/abi/engine';
export function raise(cpu: usize, vector: u32, has_error: u32, error: u32): void {
  store<u32>(cpu, vector, CpuState.exit_vector);
}
export function probe_read(cpu: usize, va: u64, bytes: u32): u32 {
  if (va < 4096) raise(cpu, 14, 1, 0);
  return va < 4096 ? 0 : u32(va);
}
export function probe_write(cpu: usize, va: u64, bytes: u32): u32 { return probe_read(cpu, va, bytes); }
export function commit(cpu: usize): void {}
export function guest_read(cpu: usize, va: u64, dst: u32, len: u32): u32 { memory.copy(dst, u32(va), len); return 0; }
`;

const ABI = `export namespace CpuState {
${CpuState.fields.map((f) => `export const ${f.name}: usize = ${f.offset};`).join('\n')}
}
${['EXIT', 'VEC']
  .map((n, i) => {
    const values = Object.entries([EXIT, VEC][i]).map(([k, v]) => `export const ${k}: u32 = ${v};`);
    return `export namespace ${n} { ${values.join(' ')} }`;
  })
  .join('\n')}`;

const ENTRY = `
export * from './src/engine/runtime/softfloat/sse';
export * from './src/engine/runtime/x87';
`;

type Helper = (...args: (number | bigint)[]) => number | bigint;

/** Addresses in the test's memory. */
export const CPU = 0x10000;
export const MEMORY = 0x20000;
const CODE = 0x30000;

export interface Runtime {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly fn: Readonly<Record<string, Helper>>;
}

/** Compile and instantiate the floating-point runtime. */
export async function floatRuntime(): Promise<Runtime> {
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await main(
    ['float.ts', '-o', 'float.wasm', '--runtime', 'stub', '-O2', '--noAssert', '--importMemory', '--enable', 'simd'],
    {
      readFile(name) {
        if (name === 'float.ts') return ENTRY;
        if (name === 'build/abi/engine.ts') return ABI;
        if (name === 'src/engine/runtime/mmu.ts') return MMU;
        try {
          return readFileSync(join(ROOT, name), 'utf8');
        } catch {
          return null;
        }
      },
      writeFile(name, contents) {
        if (name === 'float.wasm') wasm = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error || !wasm) throw new Error(`${error?.message}\n${stderr}`);
  const memory = new WebAssembly.Memory({ initial: 16 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm as BufferSource), { env: { memory } });
  return {
    view: new DataView(memory.buffer),
    bytes: new Uint8Array(memory.buffer),
    fn: instance.exports as unknown as Record<string, Helper>,
  };
}

/** One encoding in 64-bit mode at operand size `opsize`, recorded. */
export interface Recorded {
  readonly encoding: Encoding;
  readonly opsize: number;
  readonly code: Code;
}

export function recordAll(): Recorded[] {
  const out: Recorded[] = [];
  for (const insn of x87) {
    for (const text of insn.encodings) {
      const encoding = parseEncoding(insn, text);
      for (const f of forms(encoding)) {
        const b = new Builder(f.form);
        insn.describe(b);
        const code = b.finish();
        if (f.form.long) out.push({ encoding, opsize: f.opsize, code });
      }
    }
  }
  return out;
}

/** Machine code of an encoding, memory operand [rdi], stack operand ST(i). */
export function assemble(r: Recorded, i: number): number[] {
  const e = r.encoding;
  const prefix = r.opsize === 2 ? [0x66] : [];
  if (!e.hasModrm) return [...prefix, e.opcode];
  return [...prefix, e.opcode, e.modrm >= 0 ? e.modrm + i : (e.digit << 3) | 7];
}

/**
 * Run one instruction with its memory operand at MEMORY and its stack operand ST(i). Gives the exception vector, or -1.
 */
export function execute(rt: Runtime, r: Recorded, i: number): number {
  const { view } = rt;
  const machine = assemble(r, i);
  rt.bytes.set(machine, CODE);
  const values: (number | bigint)[] = [];
  const vars: (number | bigint)[] = [];
  const probes = new Map<number, number>();
  const get = (v: Val) => values[v.id];
  const int = (v: Val) => Number(values[v.id]);

  const load = (at: number, bytes: number, signed: boolean, t: string): number | bigint => {
    let v = 0n;
    for (let k = bytes - 1; k >= 0; k--) v = (v << 8n) | BigInt(rt.bytes[at + k]);
    if (signed) v = BigInt.asIntN(bytes * 8, v);
    return t === 'i64' ? BigInt.asIntN(64, v) : Number(BigInt.asIntN(32, v));
  };
  const store = (at: number, bytes: number, v: number | bigint) => {
    let x = BigInt.asUintN(64, BigInt(v));
    for (let k = 0; k < bytes; k++, x >>= 8n) view.setUint8(at + k, Number(x & 0xffn));
  };

  /** A pure wasm operation. */
  const op = (n: Extract<Node, { k: 'op' }>): number | bigint => {
    const name = n.op.split('.')[1];
    if (name === 'const') return n.imm![0];
    const a = n.args.map(get);
    if (n.op === 'i32.wrap_i64') return Number(BigInt.asIntN(32, a[0] as bigint));
    if (n.op === 'i64.extend_i32_u') return BigInt((a[0] as number) >>> 0);
    if (n.op === 'i64.extend_i32_s') return BigInt(a[0]);
    if (n.op === 'select') return a[2] ? a[0] : a[1];
    const bits = n.args[0].t === 'i64' ? 64 : 32;
    const [x, y = 0n] = a.map((v) => BigInt.asUintN(bits, BigInt(v)));
    const s = BigInt(bits - 1);
    const table: Record<string, () => bigint> = {
      add: () => x + y,
      sub: () => x - y,
      and: () => x & y,
      or: () => x | y,
      xor: () => x ^ y,
      shl: () => x << (y & s),
      shr_u: () => x >> (y & s),
      eq: () => BigInt(x === y),
      ne: () => BigInt(x !== y),
      lt_s: () => BigInt(BigInt.asIntN(bits, x) < BigInt.asIntN(bits, y)),
      ge_s: () => BigInt(BigInt.asIntN(bits, x) >= BigInt.asIntN(bits, y)),
      eqz: () => BigInt(x === 0n),
      extend16_s: () => BigInt.asIntN(16, x),
      popcnt: () => BigInt(x.toString(2).replaceAll('0', '').length),
    };
    if (!table[name]) throw new Error(`evaluator: ${n.op}`);
    const v = table[name]();
    return n.out.t === 'i64' ? BigInt.asIntN(64, v) : Number(BigInt.asIntN(32, v));
  };

  const FLAG = { z: CpuState.off.fz, s: CpuState.off.fs, c: CpuState.off.fc, x: CpuState.off.fx } as const;

  /** -2: goes on; else the instruction has ended. */
  const run = (nodes: readonly Node[]): number => {
    for (const n of nodes) {
      switch (n.k) {
        case 'op':
          values[n.out.id] = op(n);
          break;
        case 'immop':
        case 'regop':
          values[n.out.id] = i;
          break;
        case 'ea':
          values[n.out.id] = BigInt(MEMORY);
          break;
        case 'get':
          values[n.out.id] = load(CPU + n.off, n.bytes, n.signed, n.t);
          break;
        case 'set':
          store(CPU + n.off, n.bytes, get(n.v));
          break;
        case 'load':
          values[n.out.id] = load(int(n.addr), n.bytes, n.signed, n.t);
          break;
        case 'probe':
          probes.set(n.p.id, int(n.p.addr));
          break;
        case 'pload':
          values[n.out.id] = load(probes.get(n.p.id)! + n.at, n.bytes, n.signed, n.t);
          break;
        case 'pstore':
          store(probes.get(n.p.id)! + n.at, n.bytes, get(n.v));
          break;
        case 'commit':
          break;
        case 'flags':
          for (const w of ['z', 's', 'c', 'x'] as const) {
            const v = n[w];
            if (v) store(CPU + FLAG[w], 8, get(v));
          }
          break;
        case 'flagword':
          values[n.out.id] = load(CPU + FLAG[n.w], 8, true, 'i64');
          break;
        case 'cond':
          values[n.out.id] = get(n.word);
          break;
        case 'nextrip':
          values[n.out.id] = BigInt(CODE + machine.length);
          break;
        case 'length':
          values[n.out.id] = machine.length;
          break;
        case 'setvar':
          vars[n.v] = get(n.val);
          break;
        case 'getvar':
          values[n.out.id] = vars[n.v];
          break;
        case 'call': {
          const f = rt.fn[n.name];
          if (!f) throw new Error(`no helper ${n.name}`);
          const v = f(CPU, ...n.args.map(get));
          if (n.out) values[n.out.id] = v;
          break;
        }
        case 'if': {
          const end = run(int(n.cond) ? n.then : n.else);
          if (end !== -2) return end;
          break;
        }
        case 'raise':
          return n.vector;
        case 'faulted':
          return view.getUint32(CPU + CpuState.off.exit_vector, true);
        default:
          throw new Error(`evaluator: node ${n.k}`);
      }
    }
    return -2;
  };
  const end = run(r.code.nodes);
  return end === -2 ? -1 : end;
}

// ── state as text, in the form test/cpu/x87/native.c speaks ───────────────────────────────────────────────────────

export interface State {
  fcw: number;
  fsw: number;
  /** Full tag word. */
  ftw: number;
  /** CF PF AF ZF SF OF. */
  flags: number;
  memory: string;
  /** ST(0) to ST(7). */
  st: string[];
}

const hexBytes = (b: Uint8Array) => Buffer.from(b).toString('hex');

export function setState(rt: Runtime, s: State): void {
  const { view, bytes } = rt;
  const o = CpuState.off;
  bytes.fill(0, CPU, CPU + CpuState.size);
  bytes.fill(0, MEMORY, MEMORY + 128);
  bytes.set(Buffer.from(s.memory, 'hex'), MEMORY);
  let used = 0;
  for (let i = 0; i < 8; i++) if (((s.ftw >> (i * 2)) & 3) !== 3) used |= 1 << i;
  view.setUint16(CPU + o.fcw, (s.fcw & 0x1f3f) | 0x40, true);
  setStatusWord(view, CPU, s.fsw);
  view.setUint16(CPU + o.ftw, used, true);
  rt.fn.fp_summary(CPU);
  const top = (s.fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) bytes.set(Buffer.from(s.st[i], 'hex'), CPU + o.st + ((top + i) & 7) * 16);
  const bit = (n: number) => BigInt((s.flags >> n) & 1);
  const cf = bit(0);
  view.setBigUint64(CPU + o.fz, 1n - bit(6), true);
  view.setBigUint64(CPU + o.fs, (bit(7) << 63n) | (1n - bit(2)), true);
  view.setBigUint64(CPU + o.fc, (cf << 63n) | ((cf ^ bit(11)) << 62n), true);
  view.setBigUint64(CPU + o.fx, bit(4) << 4n, true);
}

export function getState(rt: Runtime): State {
  const { view, bytes } = rt;
  const o = CpuState.off;
  const fsw = getStatusWord(view, CPU);
  const fs = view.getBigUint64(CPU + o.fs, true);
  const fc = view.getBigUint64(CPU + o.fc, true);
  const fx = view.getBigUint64(CPU + o.fx, true);
  let parity = Number(fs & 0xffn);
  for (const n of [4, 2, 1]) parity ^= parity >> n;
  const flags =
    Number(fc >> 63n) |
    ((~parity & 1) << 2) |
    (Number((fx ^ fs) & 0x10n) ? 0x10 : 0) |
    (view.getBigUint64(CPU + o.fz, true) === 0n ? 0x40 : 0) |
    (Number(fs >> 63n) << 7) |
    (Number((fc ^ (fc << 1n)) >> 63n) & 1 ? 0x800 : 0);
  const st: string[] = [];
  for (let i = 0; i < 8; i++) {
    const at = CPU + o.st + ((((fsw >> 11) & 7) + i) & 7) * 16;
    st.push(hexBytes(bytes.subarray(at, at + 10)));
  }
  return {
    fcw: view.getUint16(CPU + o.fcw, true),
    fsw,
    ftw: Number(rt.fn.fp_full_tags(CPU)),
    flags,
    memory: hexBytes(bytes.subarray(MEMORY, MEMORY + 112)),
    st,
  };
}
