/**
 * Functions taken out of modules that module.ts wrote, and put together in one. They keep their code; what it names by number
 * (functions, types, globals) is numbered anew. Imports of the same names become one.
 */
import { type BranchHint, Bytes, type FuncType, Module, type WasmType } from './module.ts';
import { type Immediate, immediatesOf, OPCODES } from './opcodes.ts';
import { Reader } from './reader.ts';

/** A function of a module, by the number at which it is exported. */
export interface Linked {
  readonly wasm: Uint8Array;
  readonly index: number;
}

interface Import {
  readonly module: string;
  readonly name: string;
}
interface Defined {
  readonly type: number;
  readonly code: Uint8Array;
  hints: readonly BranchHint[];
}

/** What module.ts writes of a module whose functions are hot. */
interface Parsed {
  readonly types: FuncType[];
  readonly functions: (Import & { readonly type: number })[];
  readonly globals: Import[];
  readonly defined: Defined[];
  /** Export name → function index, imports among them. */
  readonly exports: Map<string, number>;
}

/** Of this name, in the module of functions it will be in at `index`. */
export type Rename = (i: Import, index: number) => string;

/** One module that exports `of[n]` as `n`. Throws if one is not what module.ts writes, or calls another function of its module. */
export function link(of: readonly Linked[], rename: Rename): Uint8Array<ArrayBuffer> {
  const parsed = new Map<Uint8Array, Parsed>();
  const parts = of.map(({ wasm, index }, n) => {
    const m = parsed.get(wasm) ?? parse(wasm);
    parsed.set(wasm, m);
    return new Part(m, index, n);
  });
  const out = new Module();
  out.optimize = true;
  out.memory = { min: 16, max: 65536, shared: true };
  out.importTable('engine', 'table');
  const symbols = new Symbols(out);
  for (const p of parts) p.declare(symbols, rename);
  for (const [n, p] of parts.entries()) out.export(`${n}`, p.add(out));
  return out.encode();
}

/** What the new module imports, each once. */
class Symbols {
  private readonly out: Module;
  private readonly known = new Map<string, number>();
  constructor(out: Module) {
    this.out = out;
  }
  type(t: FuncType): number {
    return this.out.type(t.params, t.results);
  }
  function(i: Import, t: FuncType): number {
    return this.once(`function ${i.module} ${i.name}`, () => this.out.import(i.module, i.name, t.params, t.results));
  }
  global(module: string, name: string): number {
    return this.once(`global ${module} ${name}`, () => this.out.importGlobal(module, name));
  }
  private once(key: string, make: () => number): number {
    const n = this.known.get(key) ?? make();
    this.known.set(key, n);
    return n;
  }
}

/** A function on its way from one module into another. */
class Part {
  private readonly from: Parsed;
  private readonly f: Defined;
  /** Where it will be. */
  private readonly n: number;
  private readonly references: readonly Reference[];
  private numbers: readonly number[] = [];

  constructor(from: Parsed, index: number, n: number) {
    const f = from.exports.get(`${index}`);
    if (f === undefined || f < from.functions.length) throw new Error(`link: no function ${index}`);
    this.from = from;
    this.f = from.defined[f - from.functions.length];
    this.n = n;
    this.references = referencesOf(this.f.code);
  }

  /** Import what the function names. */
  declare(to: Symbols, rename: Rename): void {
    const { types, functions, globals } = this.from;
    this.numbers = this.references.map(({ kind, index }) => {
      if (kind === 'type') return to.type(types[index]);
      const i = kind === 'function' ? functions[index] : globals[index];
      if (!i) throw new Error(`link: ${kind} ${index} is not imported`);
      if (kind === 'function') return to.function(i, types[functions[index].type]);
      return to.global(i.module, rename(i, this.n));
    });
  }

  /** Its index there. */
  add(out: Module): number {
    const { code, hints, type } = this.f;
    const { params, results } = this.from.types[type];
    const b = new Bytes();
    const moved: BranchHint[] = [];
    let done = 0;
    const upTo = (at: number) => {
      for (let h = hints[moved.length]; h && h.at <= at; h = hints[moved.length])
        moved.push({ at: b.length + h.at - done, taken: h.taken });
      b.raw(code.subarray(done, at));
    };
    for (const [i, { at, end }] of this.references.entries()) {
      upTo(at);
      b.u32(this.numbers[i]);
      done = end;
    }
    upTo(code.length);
    return out.add(params, results, b.bytes(), moved);
  }
}

const TYPES: Record<number, WasmType> = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64', 123: 'v128' };

function parse(wasm: Uint8Array): Parsed {
  const r = new Reader(wasm);
  r.raw(8);
  const p: Parsed = { types: [], functions: [], globals: [], defined: [], exports: new Map() };
  let types: number[] = [];
  const hints = new Map<number, BranchHint[]>();
  while (!r.ended) {
    const id = r.u8();
    const s = new Reader(r.raw());
    if (id === 0 && s.name() === 'metadata.code.branch_hint')
      s.list(() =>
        hints.set(
          s.u32(),
          s.list(() => hint(s)),
        ),
      );
    else if (id === 1) p.types.push(...s.list(() => functionType(s)));
    else if (id === 2) s.list(() => imported(s, p));
    else if (id === 3) types = s.list(() => s.u32());
    else if (id === 7) s.list(() => exported(s, p));
    else if (id === 10) s.list(() => p.defined.push({ type: types[p.defined.length], code: s.raw(), hints: [] }));
    else if (id !== 0) throw new Error(`link: section ${id}`);
  }
  for (const [index, of] of hints) p.defined[index - p.functions.length].hints = of;
  return p;
}

function functionType(s: Reader): FuncType {
  s.u8();
  return { params: s.list(() => TYPES[s.u8()]), results: s.list(() => TYPES[s.u8()]) };
}

function hint(s: Reader): BranchHint {
  const at = s.u32();
  return { at, taken: s.raw()[0] === 1 };
}

function imported(s: Reader, p: Parsed): void {
  const i = { module: s.name(), name: s.name() };
  const kind = s.u8();
  if (kind === 0) p.functions.push({ ...i, type: s.u32() });
  else if (kind === 3) {
    s.raw(2);
    p.globals.push(i);
  } else {
    // The table and the memory, which all have in common.
    if (kind === 1) s.u8();
    const limits = s.u8();
    s.u32();
    if (limits & 1) s.u32();
  }
}

function exported(s: Reader, p: Parsed): void {
  const name = s.name();
  const kind = s.u8();
  const index = s.u32();
  if (kind === 0) p.exports.set(name, index);
}

/** A number in a function's code that names what is numbered by module. */
interface Reference {
  readonly at: number;
  readonly end: number;
  readonly kind: 'function' | 'global' | 'type';
  readonly index: number;
}

interface Instruction {
  readonly immediates: readonly Immediate[];
  readonly refers: Reference['kind'] | undefined;
}

/** By opcode; what has a prefix by (prefix << 16) + number. */
const INSTRUCTIONS = new Map<number, Instruction>(
  Object.entries(OPCODES).map(([name, bytes]) => {
    const r = new Reader(Uint8Array.from(bytes));
    return [opcode(r), { immediates: immediatesOf(name), refers: referred(name) }];
  }),
);

function opcode(r: Reader): number {
  const first = r.u8();
  return first < 0xfc ? first : (first << 16) + r.u32();
}

function referred(name: string): Reference['kind'] | undefined {
  if (/^(return_)?call$/.test(name)) return 'function';
  if (/^(return_)?call_indirect$/.test(name)) return 'type';
  return name.startsWith('global.') ? 'global' : undefined;
}

function referencesOf(code: Uint8Array): Reference[] {
  const found: Reference[] = [];
  const r = new Reader(code);
  for (let n = r.u32(); n > 0; n--) {
    r.u32();
    r.u8();
  }
  while (!r.ended) {
    const start = r.at;
    const i = INSTRUCTIONS.get(opcode(r));
    if (!i) throw new Error(`link: instruction ${code.subarray(start, r.at)}`);
    for (const [n, kind] of i.immediates.entries()) {
      const at = r.at;
      if (typeof kind === 'number') r.raw(kind);
      else if (kind === 'leb') {
        // Of what is longer, which names nothing, the value is of no use.
        const index = r.u32();
        if (n === 0 && i.refers) found.push({ at, end: r.at, kind: i.refers, index });
      } else for (let more = r.u32() + 1; more > 0; more--) r.u32();
    }
  }
  return found;
}
