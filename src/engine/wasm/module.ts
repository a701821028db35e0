/** A small WebAssembly module writer: types, imports, functions, one table, exports, element segment (binary format). */
import { OPCODES } from './opcodes.ts';

export type WasmType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
const TYPE_BYTE: Record<WasmType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
export const VOID_BLOCK = 0x40;

/** Growable byte buffer with the format's integer encodings. */
export class Bytes {
  private buf = new Uint8Array(64);
  length = 0;
  private room(n: number): void {
    if (this.length + n <= this.buf.length) return;
    const b = new Uint8Array(Math.max(this.buf.length * 2, this.length + n));
    b.set(this.buf.subarray(0, this.length));
    this.buf = b;
  }
  u8(v: number): this {
    this.room(1);
    this.buf[this.length++] = v;
    return this;
  }
  raw(b: ArrayLike<number>): this {
    const n = b.length;
    this.room(n);
    // Most are a byte or two, for which `set` takes longer.
    if (n > 16) this.buf.set(b, this.length);
    else for (let i = 0; i < n; i++) this.buf[this.length + i] = b[i];
    this.length += n;
    return this;
  }
  u32(v: number): this {
    let n = v >>> 0;
    do {
      const b = n & 0x7f;
      n >>>= 7;
      this.u8(n ? b | 0x80 : b);
    } while (n);
    return this;
  }
  s64(v: bigint): this {
    // The same bytes, without arithmetic on bigints.
    const small = Number(v);
    if (small === (small | 0)) return this.s32(small);
    let n = BigInt.asIntN(64, v);
    for (;;) {
      const b = Number(n & 0x7fn);
      n >>= 7n;
      if ((n === 0n && !(b & 0x40)) || (n === -1n && b & 0x40)) return this.u8(b);
      this.u8(b | 0x80);
    }
  }
  s32(v: number): this {
    let n = v | 0;
    for (;;) {
      const b = n & 0x7f;
      n >>= 7;
      if ((n === 0 && !(b & 0x40)) || (n === -1 && b & 0x40)) return this.u8(b);
      this.u8(b | 0x80);
    }
  }
  name(s: string): this {
    const b = new TextEncoder().encode(s);
    return this.u32(b.length).raw(b);
  }
  bytes(): Uint8Array<ArrayBuffer> {
    return this.buf.slice(0, this.length);
  }
}

export interface FuncType {
  readonly params: readonly WasmType[];
  readonly results: readonly WasmType[];
}

/** What the branch at this place of a function's code mostly does. */
export interface BranchHint {
  readonly at: number;
  readonly taken: boolean;
}

/** Code of one function: instructions by name, locals on demand. */
export class Func {
  readonly type: FuncType;
  readonly body = new Bytes();
  protected readonly locals: WasmType[] = [];
  /** Of branches in the body. */
  private readonly branchHints: BranchHint[] = [];

  constructor(type: FuncType) {
    this.type = type;
  }
  local(t: WasmType): number {
    this.locals.push(t);
    return this.type.params.length + this.locals.length - 1;
  }
  op(name: string): this {
    const b = OPCODES[name];
    if (!b) throw new Error(`no wasm instruction ${name}`);
    this.body.raw(b);
    return this;
  }
  get(l: number): this {
    this.op('local.get').body.u32(l);
    return this;
  }
  set(l: number): this {
    this.op('local.set').body.u32(l);
    return this;
  }
  tee(l: number): this {
    this.op('local.tee').body.u32(l);
    return this;
  }
  i32(v: number): this {
    this.op('i32.const').body.s32(v);
    return this;
  }
  i64(v: bigint): this {
    this.op('i64.const').body.s64(v);
    return this;
  }
  f64(v: number): this {
    this.op('f64.const').body.raw(new Uint8Array(new Float64Array([v]).buffer));
    return this;
  }
  f32(v: number): this {
    this.op('f32.const').body.raw(new Uint8Array(new Float32Array([v]).buffer));
    return this;
  }
  /** Memory instruction with its offset. Alignment hint 0, but atomics need their natural one. */
  mem(name: string, offset = 0, align = 0): this {
    this.op(name).body.u32(align).u32(offset);
    return this;
  }
  if(result?: WasmType): this {
    this.op('if').body.u8(result ? TYPE_BYTE[result] : VOID_BLOCK);
    return this;
  }
  block(result?: WasmType): this {
    this.op('block').body.u8(result ? TYPE_BYTE[result] : VOID_BLOCK);
    return this;
  }
  else(): this {
    return this.op('else');
  }
  end(): this {
    return this.op('end');
  }
  br(depth: number): this {
    this.op('br').body.u32(depth);
    return this;
  }
  loop(): this {
    this.op('loop').body.u8(VOID_BLOCK);
    return this;
  }
  /** Jump to the label that the i32 on the stack names, else to the last. */
  brTable(depths: readonly number[], otherwise: number): this {
    this.op('br_table').body.u32(depths.length);
    for (const d of depths) this.body.u32(d);
    this.body.u32(otherwise);
    return this;
  }
  brIf(depth: number): this {
    this.op('br_if').body.u32(depth);
    return this;
  }
  call(index: number): this {
    this.op('call').body.u32(index);
    return this;
  }
  returnCall(index: number): this {
    this.op('return_call').body.u32(index);
    return this;
  }
  /** Tail call through table 0. */
  returnCallIndirect(type: number): this {
    this.op('return_call_indirect').body.u32(type).u32(0);
    return this;
  }
  /** The `if` or `br_if` that comes next is hardly ever taken: a compiler may keep what it costs out of the way. */
  unlikely(): this {
    return this.hint(false);
  }
  /** That one nearly always is. */
  likely(): this {
    return this.hint(true);
  }
  private hint(taken: boolean): this {
    this.branchHints.push({ at: this.body.length, taken });
    return this;
  }
  /** The function's entry in the code section, without its size. */
  encode(): Uint8Array<ArrayBuffer> {
    return this.localsHeader().raw(this.body.bytes()).u8(0x0b).bytes();
  }
  /** Of the branches in what `encode` gives. */
  hints(): readonly BranchHint[] {
    const header = this.localsHeader().length;
    return this.branchHints.map(({ at, taken }) => ({ at: header + at, taken }));
  }
  private localsHeader(): Bytes {
    const b = new Bytes();
    const groups: [number, WasmType][] = [];
    for (const t of this.locals) {
      const last = groups.at(-1);
      if (last && last[1] === t) last[0]++;
      else groups.push([1, t]);
    }
    b.u32(groups.length);
    for (const [n, t] of groups) b.u32(n).u8(TYPE_BYTE[t]);
    return b;
  }
}

/** Eager, with the optimizing compiler as the first as well as the last tier. */
const OPTIMIZED = 2 | (2 << 2) | (2 << 4);
/** As any other function. */
const UNHINTED = 0;

export class Module {
  private readonly types: FuncType[] = [];
  private readonly typeIndex = new Map<string, number>();
  private readonly imports: { module: string; name: string; type: number }[] = [];
  private readonly funcs: { type: number; code?: Uint8Array; hints?: readonly BranchHint[] }[] = [];
  private readonly exports: { name: string; index: number }[] = [];
  private table: number[] = [];
  private tableImport: { module: string; name: string } | undefined;
  private readonly globals: { module: string; name: string }[] = [];
  /** Pages of the imported shared memory: minimum and maximum. */
  memory: { min: number; max: number; shared: boolean } = { min: 1, max: 65536, shared: true };
  exportTable = '';
  /** All functions, or those with these indices, are hot: the engine is told to compile them by its optimizing compiler, before they are called. */
  optimize: boolean | ReadonlySet<number> = false;
  /** The table has no maximum: others add to it. */
  tableGrows = false;

  type(params: readonly WasmType[], results: readonly WasmType[]): number {
    const key = `${params}>${results}`;
    let i = this.typeIndex.get(key);
    if (i === undefined) {
      i = this.types.push({ params, results }) - 1;
      this.typeIndex.set(key, i);
    }
    return i;
  }
  /** Imports come before all functions. */
  import(module: string, name: string, params: readonly WasmType[], results: readonly WasmType[]): number {
    if (this.funcs.length) throw new Error('import after the first function');
    return this.imports.push({ module, name, type: this.type(params, results) }) - 1;
  }
  /** Table 0 is another module's. */
  importTable(module: string, name: string): void {
    this.tableImport = { module, name };
  }
  /** A mutable i32 of the host's; gives its index. */
  importGlobal(module: string, name: string): number {
    return this.globals.push({ module, name }) - 1;
  }
  /** Reserve a function index; its code is set with `define`. */
  declare(params: readonly WasmType[], results: readonly WasmType[]): { index: number; func: Func } {
    const type = this.type(params, results);
    const index = this.imports.length + this.funcs.push({ type }) - 1;
    return { index, func: new Func(this.types[type]) };
  }
  /** A function body to be added later (or not) with `add`. */
  newFunc(params: readonly WasmType[], results: readonly WasmType[]): Func {
    return new Func(this.types[this.type(params, results)]);
  }
  /** Add a finished function; gives its index. */
  add(
    params: readonly WasmType[],
    results: readonly WasmType[],
    code: Uint8Array,
    hints: readonly BranchHint[] = [],
  ): number {
    return this.imports.length + this.funcs.push({ type: this.type(params, results), code, hints }) - 1;
  }
  define(index: number, code: Uint8Array): void {
    this.funcs[index - this.imports.length].code = code;
  }
  export(name: string, index: number): void {
    this.exports.push({ name, index });
  }
  /** Function indices of table 0, from slot 0. */
  setTable(indices: number[]): void {
    this.table = indices;
  }

  /** Of all functions that are no imports. */
  indices(): number[] {
    return this.funcs.map((_, i) => this.imports.length + i);
  }

  /** Custom section of V8's: how each function is to be compiled. */
  private compilationHints(hot: true | ReadonlySet<number>): Bytes {
    const b = new Bytes().name('compilationHints').u32(this.funcs.length);
    const first = this.imports.length;
    for (let i = 0; i < this.funcs.length; i++) b.u8(hot === true || hot.has(first + i) ? OPTIMIZED : UNHINTED);
    return b;
  }

  encode(): Uint8Array<ArrayBuffer> {
    const out = new Bytes().raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, b: Bytes) => {
      out.u8(id).u32(b.length).raw(b.bytes());
    };
    const types = new Bytes().u32(this.types.length);
    for (const t of this.types) {
      types.u8(0x60).u32(t.params.length);
      for (const p of t.params) types.u8(TYPE_BYTE[p]);
      types.u32(t.results.length);
      for (const r of t.results) types.u8(TYPE_BYTE[r]);
    }
    section(1, types);
    const imports = new Bytes().u32(this.imports.length + this.globals.length + (this.tableImport ? 2 : 1));
    imports
      .name('env')
      .name('memory')
      .u8(2)
      .u8(this.memory.shared ? 3 : 1)
      .u32(this.memory.min)
      .u32(this.memory.max);
    for (const i of this.imports) imports.name(i.module).name(i.name).u8(0).u32(i.type);
    if (this.tableImport) imports.name(this.tableImport.module).name(this.tableImport.name).raw([1, 0x70, 0, 0]);
    for (const g of this.globals) imports.name(g.module).name(g.name).raw([3, TYPE_BYTE.i32, 1]);
    section(2, imports);
    const decls = new Bytes().u32(this.funcs.length);
    for (const f of this.funcs) decls.u32(f.type);
    section(3, decls);
    if (this.optimize) section(0, this.compilationHints(this.optimize));
    if (this.table.length) {
      const limits = new Bytes().u8(this.tableGrows ? 0 : 1).u32(this.table.length);
      if (!this.tableGrows) limits.u32(this.table.length);
      section(4, new Bytes().u32(1).u8(0x70).raw(limits.bytes()));
    }
    const exports = new Bytes().u32(this.exports.length + (this.exportTable ? 1 : 0));
    for (const e of this.exports) exports.name(e.name).u8(0).u32(e.index);
    if (this.exportTable) exports.name(this.exportTable).u8(1).u32(0);
    section(7, exports);
    if (this.table.length) {
      const elem = new Bytes().u32(1).u32(0).u8(0x41).s32(0).u8(0x0b).u32(this.table.length);
      for (const i of this.table) elem.u32(i);
      section(9, elem);
    }
    const hinted = this.funcs.map((f, i) => ({ index: this.imports.length + i, hints: f.hints ?? [] }));
    const some = hinted.filter((f) => f.hints.length);
    if (some.length) section(0, branchHints(some));
    const code = new Bytes().u32(this.funcs.length);
    for (const [i, f] of this.funcs.entries()) {
      if (!f.code) throw new Error(`function ${i} has no code`);
      code.u32(f.code.length).raw(f.code);
    }
    section(10, code);
    return out.bytes();
  }
}

/** Custom section of the branch hinting proposal. Engines that do not know it pass over it. */
function branchHints(functions: readonly { index: number; hints: readonly BranchHint[] }[]): Bytes {
  const b = new Bytes().name('metadata.code.branch_hint').u32(functions.length);
  for (const { index, hints } of functions) {
    b.u32(index).u32(hints.length);
    for (const { at, taken } of hints)
      b.u32(at)
        .u32(1)
        .u8(taken ? 1 : 0);
  }
  return b;
}
