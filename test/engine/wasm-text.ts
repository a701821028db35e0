/** A wasm function's code as text, one instruction a line: for pinned output. Knows what src/engine/wasm/opcodes.ts knows. */
import { OPCODES } from '../../src/engine/wasm/opcodes.ts';
import { Reader } from '../../src/engine/wasm/reader.ts';

const NAMES = new Map(Object.entries(OPCODES).map(([name, bytes]) => [bytes.join(), name]));
const TYPES: Record<number, string> = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64', 123: 'v128', 64: '' };

/** Immediates of an instruction, as text. */
function immediates(name: string, r: Reader): string {
  if (/^(if|block|loop)$/.test(name)) return TYPES[r.u8()] ?? '?';
  if (name === 'br_table') return Array.from({ length: r.u32() + 1 }, () => r.u32()).join(' ');
  if (/^(return_)?call_indirect$/.test(name)) return `${r.u32()} ${r.u32()}`;
  if (/^(local|global)\.|^br|call$/.test(name)) return String(r.u32());
  if (/^i(32|64)\.const$/.test(name)) return String(r.s64());
  const raw = (n: number) => Buffer.from(Array.from({ length: n }, () => r.u8())).toString('hex');
  if (name === 'f32.const') return raw(4);
  if (name === 'f64.const') return raw(8);
  if (name === 'v128.const' || name === 'i8x16.shuffle') return raw(16);
  if (/_lane$/.test(name)) return String(r.u8());
  if (/\.(load|store|atomic)/.test(name)) {
    r.u32();
    return `+${r.u32()}`;
  }
  return '';
}

/** The longest function of a module. */
export function functionText(module: Uint8Array): string {
  const r = new Reader(module);
  r.at = 8;
  while (r.at < module.length) {
    const id = r.u8();
    const size = r.u32();
    if (id !== 10) {
      r.at += size;
      continue;
    }
    const bodies = Array.from({ length: r.u32() }, () => {
      const n = r.u32();
      const body = module.subarray(r.at, r.at + n);
      r.at += n;
      return body;
    });
    return bodyText(bodies.reduce((a, b) => (b.length > a.length ? b : a)));
  }
  throw new Error('no code section');
}

function bodyText(body: Uint8Array): string {
  const r = new Reader(body);
  for (let n = r.u32(); n > 0; n--) {
    r.u32();
    r.u8();
  }
  const out: string[] = [];
  let depth = 0;
  while (r.at < body.length) {
    const key = [r.u8()];
    while (!NAMES.has(key.join())) {
      if (key.length > 4) throw new Error(`instruction ${key}`);
      key.push(r.u8());
    }
    const name = NAMES.get(key.join())!;
    if (name === 'end' || name === 'else') depth--;
    if (depth < 0) break;
    out.push(`${'  '.repeat(depth)}${name} ${immediates(name, r)}`.trimEnd());
    if (/^(if|block|loop|else)$/.test(name)) depth++;
  }
  return `${out.join('\n')}\n`;
}
