/** Offsets of fields in the hypervisor's own structures, worked out from their declarations as the compiler does. */
import { readFileSync } from 'node:fs';

const SIZE: Record<string, number> = { u8: 1, i8: 1, bool: 1, u16: 2, i16: 2, u64: 8, i64: 8, f64: 8 };

/** Offsets by field, of the classes that were asked for. */
const known = new Map<string, Map<string, number>>();

function offsets(file: string, name: string): Map<string, number> {
  const source = readFileSync(new URL(`../../src/hypervisor/${file}`, import.meta.url), 'utf8');
  const body = new RegExp(`class ${name} \\{([^]*?)\\n\\}`).exec(source)?.[1];
  if (!body) throw new Error(`${file} has no class ${name}`);
  const all = new Map<string, number>();
  let at = 0;
  for (const [, f, type] of body.matchAll(/^ {2}(\w+): (\w+);$/gm)) {
    const size = SIZE[type] ?? 4;
    at = Math.ceil(at / size) * size;
    all.set(f, at);
    at += size;
  }
  return all;
}

/** Byte offset of `field` in the class `name` of src/hypervisor/`file`; pointers and u32 have 4 bytes. */
export function structOffset(file: string, name: string, field: string): number {
  const key = `${file} ${name}`;
  const all = known.get(key) ?? offsets(file, name);
  known.set(key, all);
  const at = all.get(field);
  if (at === undefined) throw new Error(`${name} has no field ${field}`);
  return at;
}
