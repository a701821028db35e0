/**
 * Struct layouts as data. One table describes a structure; the TypeScript side reads offsets from it
 * (`StartInfo.off.nr_pages`), and `scripts/gen-abi.ts` prints the same numbers as AssemblyScript namespaces
 * (`load<u64>(p, StartInfo.nr_pages)`), so the two sides cannot disagree.
 *
 * Layout follows the System V x86-64 C ABI: natural alignment, tail padding to the struct's alignment.
 */

export type Scalar = 'u8' | 'u16' | 'u32' | 'u64' | 'i8' | 'i16' | 'i32' | 'i64' | 'v128';

export type FieldType = Scalar | Struct;

/** `[name, type]` or `[name, type, count]`. */
export type FieldDef = readonly [string, FieldType, number?];

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly count: number;
  readonly offset: number;
  /** Size of one element in bytes. */
  readonly stride: number;
}

export interface Struct<N extends string = string> {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly fields: readonly Field[];
  /** Byte offset of each field. */
  readonly off: Readonly<Record<N, number>>;
}

const SCALAR_SIZE: Record<Scalar, number> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  v128: 16,
};

export function sizeOf(t: FieldType): number {
  return typeof t === 'string' ? SCALAR_SIZE[t] : t.size;
}

export function alignOf(t: FieldType): number {
  return typeof t === 'string' ? SCALAR_SIZE[t] : t.align;
}

const roundUp = (n: number, a: number) => Math.ceil(n / a) * a;

/** A C `struct`. */
export function struct<const F extends readonly FieldDef[]>(
  name: string,
  defs: F,
  opts: { align?: number } = {},
): Struct<F[number][0]> {
  let at = 0;
  let align = opts.align ?? 1;
  const fields: Field[] = [];
  const off: Record<string, number> = {};
  for (const [fname, type, count = 1] of defs) {
    const a = alignOf(type);
    align = Math.max(align, a);
    at = roundUp(at, a);
    if (fname in off) throw new Error(`struct ${name}: field ${fname} twice`);
    fields.push({ name: fname, type, count, offset: at, stride: sizeOf(type) });
    off[fname] = at;
    at += sizeOf(type) * count;
  }
  return { name, size: roundUp(at, align), align, fields, off: off as Record<F[number][0], number> };
}

/** A C `union`: every member at offset 0. */
export function union<const F extends readonly FieldDef[]>(name: string, defs: F): Struct<F[number][0]> {
  let size = 0;
  let align = 1;
  const fields: Field[] = [];
  const off: Record<string, number> = {};
  for (const [fname, type, count = 1] of defs) {
    align = Math.max(align, alignOf(type));
    size = Math.max(size, sizeOf(type) * count);
    fields.push({ name: fname, type, count, offset: 0, stride: sizeOf(type) });
    off[fname] = 0;
  }
  return { name, size: roundUp(size, align), align, fields, off: off as Record<F[number][0], number> };
}

/** Named integer constants of one public header. 64-bit values are bigint. */
export type Constants = Readonly<Record<string, number | bigint>>;
