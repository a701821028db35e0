/** Makes the decoder's tables (decode-tables.ts, build/decoder.bin) from the encodings and from what the interpreter is built with. */
import type { Struct } from '../../abi/layout.ts';
import * as T from '../decode-tables.ts';
import type { InterpreterTables } from '../interpreter/generate.ts';
import type { Encoding } from '../semantics/table.ts';
import { type Candidate, Candidates, candidate } from './candidates.ts';

const OPCODES = 4 * 256;
const log2 = (n: number): number => 31 - Math.clz32(n);
const bitsFor = (n: number): number => log2(n) + 2;
const shiftOf = (bits: number): number => 32 - bits;
const hash = (key: number, shift: number): number => Math.imul(key, T.HASH_FACTOR) >>> shift;

/** The image's bytes, and where the next table goes. */
class Image {
  readonly view: DataView<ArrayBuffer> = new DataView(new ArrayBuffer(T.DECODER_BYTES));
  private at = T.DecoderTables.size;

  /** Room for n structs or numbers of `size` bytes: its address, which goes into the header. */
  table(field: keyof typeof T.DecoderTables.off, n: number, size: number): number {
    const at = Math.ceil(this.at / 8) * 8;
    this.at = at + n * size;
    if (this.at > T.DECODER_BYTES) throw new Error(`decoder: its tables take more than ${T.DECODER_BYTES} bytes`);
    this.view.setUint32(T.DecoderTables.off[field], at, true);
    return at;
  }
  header(field: keyof typeof T.DecoderTables.off, value: number): void {
    this.view.setUint32(T.DecoderTables.off[field], value, true);
  }
  /** Fields of a struct at `at`; lists fill arrays. */
  put(s: Struct, at: number, values: Readonly<Record<string, number | readonly number[]>>): void {
    for (const { name, stride, offset, count } of s.fields) {
      const v = values[name];
      const list: readonly number[] = v === undefined ? [] : typeof v === 'number' ? [v] : v;
      if (list.length > count) throw new Error(`decoder: ${list.length} values for ${s.name}.${name}`);
      for (const [i, n] of list.entries()) {
        const a = at + offset + i * stride;
        if (n < 0 || n >= 2 ** (stride * 8)) throw new Error(`decoder: ${s.name}.${name} cannot be ${n}`);
        if (stride === 1) this.view.setUint8(a, n);
        else if (stride === 2) this.view.setUint16(a, n, true);
        else this.view.setUint32(a, n, true);
      }
    }
  }
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.view.buffer, 0, this.at);
  }
}

/** All tables, from address 0 on. */
export function decoderTables(encodings: readonly Encoding[], tables: InterpreterTables): Uint8Array<ArrayBuffer> {
  const image = new Image();
  const candidates = encodings.map((e, index) => candidate(e, index));
  putOpcodes(image, candidates);
  const at = image.table('encodings', encodings.length, T.EncodingEntry.size);
  for (const [i, c] of candidates.entries()) putEncoding(image, at + i * T.EncodingEntry.size, c);
  putForms(image, encodings, tables);
  putFusions(image, tables);
  return image.bytes();
}

function putOpcodes(image: Image, candidates: readonly Candidate[]): void {
  const maps = Array.from({ length: OPCODES }, () => new Candidates());
  for (const c of candidates) for (let i = 0; i < c.e.span; i++) maps[c.e.map * 256 + c.e.opcode + i].add(c);
  for (const m of maps) m.sort();
  const opcodes = image.table('opcodes', OPCODES, T.OpcodeEntry.size);
  const numbers = maps.flatMap((m) => m.list.map((c) => c.index));
  const lists = image.table('lists', numbers.length, 2);
  for (const [i, n] of numbers.entries()) image.view.setUint16(lists + i * 2, n, true);
  let first = 0;
  for (const [i, m] of maps.entries()) {
    const flags = (m.anyModrm ? T.OPCODE_ANY_MODRM : 0) | (m.allModrm ? T.OPCODE_ALL_MODRM : 0);
    image.put(T.OpcodeEntry, opcodes + i * T.OpcodeEntry.size, { first, count: m.list.length, flags });
    first += m.list.length;
  }
}

const PREFIX = {
  '': T.PREFIX_ANY,
  NP: T.PREFIX_NONE,
  '66': T.PREFIX_66,
  F3: T.PREFIX_F3,
  F2: T.PREFIX_F2,
} as const;

function flagsOf(c: Candidate): number {
  const { e } = c;
  const first = e.operands[0]?.code ?? '';
  const always = first !== '' && 'MOXY'.includes(first);
  return [
    [c.memoryOnly, T.ENCODING_MEMORY],
    [c.registerOnly, T.ENCODING_REGISTER],
    [e.attrs.has('w1'), T.ENCODING_W1],
    [e.attrs.has('w0'), T.ENCODING_W0],
    [e.attrs.has('b0'), T.ENCODING_B0],
    [e.attrs.has('r0'), T.ENCODING_R0],
    [e.attrs.has('r1'), T.ENCODING_R1],
    [e.hasModrm, T.ENCODING_HAS_MODRM],
    [c.mayAddress, T.ENCODING_MAY_ADDRESS],
    [c.memoryForms, T.ENCODING_MEMORY_FORMS],
    [c.hasX, T.ENCODING_HAS_X],
    [c.pop, T.ENCODING_POP],
    [c.lock && always, T.ENCODING_LOCK],
    [c.lock && first !== '' && 'EWQ'.includes(first), T.ENCODING_LOCK_RM],
    [c.rep, T.ENCODING_REP],
    [c.shortAddress, T.ENCODING_SHORT_ADDRESS],
    [c.d64, T.ENCODING_D64],
    [e.cc, T.ENCODING_CC],
  ].reduce((flags, [set, bit]) => flags | (set ? (bit as number) : 0), PREFIX[e.prefix] as number);
}

function putEncoding(image: Image, at: number, c: Candidate): void {
  const { e } = c;
  const logs = e.sizes.map((sizes) => sizes.map(log2));
  image.put(T.EncodingEntry, at, {
    flags: flagsOf(c),
    modrm: Math.max(0, e.modrm),
    modrm_span: e.modrm < 0 ? 0 : e.modrmSpan,
    digit: e.digit < 0 ? T.NO_DIGIT : e.digit,
    operands: e.operands.length,
    sizes: logs.map((l) => l.reduce((set, n) => set | (1 << n), 0)),
    smallest: logs.map((l) => l[0] ?? 0),
    largest: logs.map((l) => l.at(-1) ?? 0),
    operand: e.operands.map(
      (o) =>
        T.OPERAND[o.code as keyof typeof T.OPERAND] |
        (T.OPERAND_SIZE[o.size === '' ? 'none' : o.size] << T.OPERAND_SIZE_SHIFT) |
        (o.fixed << T.OPERAND_FIXED_SHIFT),
    ),
  });
}

function putForms(image: Image, encodings: readonly Encoding[], { rows }: InterpreterTables): void {
  const bits = bitsFor(rows.length);
  const forms = image.table('forms', rows.length, T.FormEntry.size);
  const slots = image.table('form_hash', 1 << bits, 2);
  image.header('form_shift', shiftOf(bits));
  for (const [i, { encoding, key, handlers, ends }] of rows.entries()) {
    const codes = encodings[encoding].operands.map((o) => o.code);
    const branches = codes.includes('J');
    const two = codes.filter((c) => c === 'I').length > 1;
    const number = encoding * T.FORM_KEYS + key;
    const flags =
      (ends ? T.FORM_ENDS : 0) | (branches ? T.FORM_BRANCHES : 0) | (!branches && two ? T.FORM_TWO_IMMEDIATES : 0);
    image.put(T.FormEntry, forms + i * T.FormEntry.size, { key: number, handlers, flags });
    const mask = (1 << bits) - 1;
    let h = hash(number, shiftOf(bits));
    while (image.view.getUint16(slots + h * 2, true) !== 0) h = (h + 1) & mask;
    image.view.setUint16(slots + h * 2, i + 1, true);
  }
}

interface Step {
  readonly node: number;
  readonly handler: number;
  readonly next: number;
  fused: number;
}

function putFusions(image: Image, { fused, firstFused }: InterpreterTables): void {
  image.header('first_fused', firstFused);
  const count = Object.keys(fused).length;
  image.header('fused_count', count);
  const lengths = image.table('fused_lengths', count, 1);
  const steps = new Map<number, Step>();
  const keyOf = (node: number, handler: number) => node * 65536 + handler;
  for (const [sequence, superinstruction] of Object.entries(fused)) {
    let step: Step | undefined;
    const handlers = sequence.split(',').map(Number);
    image.view.setUint8(lengths + superinstruction - firstFused, handlers.length);
    for (const handler of handlers) {
      const node: number = step?.next ?? 0;
      const key = keyOf(node, handler);
      step = steps.get(key) ?? { node, handler, next: steps.size + 1, fused: 0 };
      steps.set(key, step);
    }
    if (step) step.fused = superinstruction;
  }
  const bits = bitsFor(Math.max(1, steps.size));
  const entries = image.table('fusions', 1 << bits, T.FusionEntry.size);
  image.header('fusion_shift', shiftOf(bits));
  const mask = (1 << bits) - 1;
  for (const [key, step] of steps) {
    let h = hash(key, shiftOf(bits));
    const at = () => entries + h * T.FusionEntry.size;
    while (image.view.getUint16(at() + T.FusionEntry.off.next, true) !== 0) h = (h + 1) & mask;
    image.put(T.FusionEntry, at(), { ...step });
  }
}
