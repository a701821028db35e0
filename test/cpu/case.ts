/**
 * A case: machine code, the state it starts from (a seed and what differs from it), and what the real CPU made of it.
 * Recorded files are gzipped text, one group of cases a block:
 *
 *     # add | 01 Ev,Gv | 64 op8 mem lock
 *     f0480118 seed 1f2 a=10000040 @40=0102 > @40=0304 f=246
 *
 * `seed N` and overrides give the input; after `>` what is different from the input afterwards. Fields are named as in
 * state.ts (values in hexadecimal, xmm and x87 registers as bytes in memory order); `@off=bytes` is window memory;
 * `at` the address of the code (default DEFAULT_AT); `ip` the address where it ended (default: after the code);
 * `x=vector[:error[:cr2]]` the exception that ended it (default: the int3 after it, at ip).
 */
import { DEFAULT_AT, FIELDS } from './state.ts';

export interface Poke {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface Exception {
  readonly vector: number;
  readonly error: number;
  readonly cr2: bigint;
}

export interface Case {
  readonly mode: 0 | 1;
  readonly at: number;
  readonly code: Uint8Array;
  readonly seed: number;
  /** Field name (state.ts) → value as a hexadecimal string, as the recorded files have it. */
  readonly over: ReadonlyMap<string, string>;
  readonly pokes: readonly Poke[];
}

export interface Outcome {
  readonly ip: bigint;
  /** null: ended at the int3 after it. */
  readonly exception: Exception | null;
  readonly changed: ReadonlyMap<string, string>;
  readonly memory: readonly Poke[];
}

export interface Group {
  /** Instruction name, encoding line, form: `add | 01 Ev,Gv | 64 op8 mem lock`. */
  readonly title: string;
  readonly cases: Case[];
  readonly outcomes: Outcome[];
}

export const hex = (b: Uint8Array): string => Buffer.from(b.buffer, b.byteOffset, b.length).toString('hex');
export const unhex = (s: string): Uint8Array => new Uint8Array(Buffer.from(s, 'hex'));

/** Registers wider than 8 bytes are written as bytes, the others as numbers. */
export function fieldText(block: Uint8Array, name: string): string {
  const [at, bytes] = FIELDS[name];
  if (bytes > 8) return hex(block.subarray(at, at + bytes));
  let v = 0n;
  for (let i = bytes - 1; i >= 0; i--) v = (v << 8n) | BigInt(block[at + i]);
  return v.toString(16);
}

export function setField(block: Uint8Array, name: string, text: string): void {
  const f = FIELDS[name];
  if (!f) throw new Error(`no field ${name}`);
  const [at, bytes] = f;
  if (bytes > 8) {
    block.set(unhex(text), at);
    return;
  }
  let v = BigInt(`0x${text}`);
  for (let i = 0; i < bytes; i++) {
    block[at + i] = Number(v & 0xffn);
    v >>= 8n;
  }
}

/** Fields in which two blocks differ. */
export function diffBlocks(before: Uint8Array, after: Uint8Array): Map<string, string> {
  const changed = new Map<string, string>();
  for (const [name, [at, bytes]] of Object.entries(FIELDS)) {
    for (let i = 0; i < bytes; i++) {
      if (before[at + i] !== after[at + i]) {
        changed.set(name, fieldText(after, name));
        break;
      }
    }
  }
  return changed;
}

const pokeText = (p: Poke) => `@${p.offset.toString(16)}=${hex(p.bytes)}`;

export function formatCase(c: Case, o: Outcome): string {
  const w = [hex(c.code), `seed ${c.seed.toString(16)}`];
  if (c.at !== DEFAULT_AT) w.push(`at=${c.at.toString(16)}`);
  for (const [k, v] of c.over) w.push(`${k}=${v}`);
  for (const p of c.pokes) w.push(pokeText(p));
  w.push('>');
  for (const [k, v] of o.changed) w.push(`${k}=${v}`);
  for (const p of o.memory) w.push(pokeText(p));
  if (o.ip !== BigInt(c.at + c.code.length)) w.push(`ip=${o.ip.toString(16)}`);
  if (o.exception) {
    const { vector, error, cr2 } = o.exception;
    let x = vector.toString();
    if (error || cr2) x += `:${error.toString(16)}`;
    if (cr2) x += `:${cr2.toString(16)}`;
    w.push(`x=${x}`);
  }
  return w.join(' ');
}

export function parseCase(line: string, mode: 0 | 1): [Case, Outcome] {
  const words = line.split(' ');
  const code = unhex(words[0]);
  const seed = Number.parseInt(words[2], 16);
  let at = DEFAULT_AT;
  const over = new Map<string, string>();
  const pokes: Poke[] = [];
  const changed = new Map<string, string>();
  const memory: Poke[] = [];
  let ip: bigint | undefined;
  let exception: Exception | null = null;
  let after = false;
  for (let i = 3; i < words.length; i++) {
    const w = words[i];
    if (w === '>') {
      after = true;
      continue;
    }
    const eq = w.indexOf('=');
    const key = w.slice(0, eq);
    const value = w.slice(eq + 1);
    if (key[0] === '@')
      (after ? memory : pokes).push({ offset: Number.parseInt(key.slice(1), 16), bytes: unhex(value) });
    else if (key === 'at') at = Number.parseInt(value, 16);
    else if (key === 'ip') ip = BigInt(`0x${value}`);
    else if (key === 'x') {
      const [vector, error = '0', cr2 = '0'] = value.split(':');
      exception = { vector: Number(vector), error: Number.parseInt(error, 16), cr2: BigInt(`0x${cr2}`) };
    } else (after ? changed : over).set(key, value);
  }
  return [
    { mode, at, code, seed, over, pokes },
    { ip: ip ?? BigInt(at + code.length), exception, changed, memory },
  ];
}

/** The block a case starts from. */
export function applyOverrides(block: Uint8Array, c: Case): Uint8Array {
  for (const [k, v] of c.over) setField(block, k, v);
  return block;
}

export function formatGroups(groups: readonly Group[]): string {
  const lines: string[] = [];
  for (const g of groups) {
    lines.push(`# ${g.title}`);
    for (let i = 0; i < g.cases.length; i++) lines.push(formatCase(g.cases[i], g.outcomes[i]));
  }
  return `${lines.join('\n')}\n`;
}

export function parseGroups(text: string): Group[] {
  const groups: Group[] = [];
  let mode: 0 | 1 = 0;
  for (const line of text.split('\n')) {
    if (!line) continue;
    if (line.startsWith('# ')) {
      groups.push({ title: line.slice(2), cases: [], outcomes: [] });
      mode = / \| 32 op/.test(line) ? 1 : 0;
      continue;
    }
    const [c, o] = parseCase(line, mode);
    const g = groups[groups.length - 1];
    g.cases.push(c);
    g.outcomes.push(o);
  }
  return groups;
}
