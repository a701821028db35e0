/** Makes the decoder's tables (decode-tables.ts, build/decoder.bin) from the encodings and from what the interpreter is built with. */
import type { Struct } from '../../abi/layout.ts';
import * as T from '../decode-tables.ts';
import type { InterpreterTables } from '../interpreter/generate.ts';
import type { Encoding } from '../semantics/table.ts';
import { type Candidate, type Candidates, opcodes } from './candidates.ts';

const log2 = (n: number): number => 31 - Math.clz32(n);
const bitsFor = (n: number): number => log2(n) + 2;
const shiftOf = (bits: number): number => 32 - bits;

/** Where a key goes in a hash table of 2^bits entries: the first free one from its own. */
function freeEntry(key: number, bits: number, isFree: (n: number) => boolean): number {
  let n = Math.imul(key, T.HASH_FACTOR) >>> shiftOf(bits);
  while (!isFree(n)) n = (n + 1) & ((1 << bits) - 1);
  return n;
}

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
  const maps = opcodes(encodings);
  putOpcodes(image, maps);
  const at = image.table('encodings', encodings.length, T.EncodingEntry.size);
  for (const c of maps.flatMap((m) => m.list)) putEncoding(image, at + c.index * T.EncodingEntry.size, c);
  putForms(image, encodings, tables);
  putFusions(image, tables);
  return image.bytes();
}

function putOpcodes(image: Image, maps: readonly Candidates[]): void {
  const entries = image.table('opcodes', maps.length, T.OpcodeEntry.size);
  const numbers = maps.flatMap((m) => m.list.map((c) => c.index));
  const lists = image.table('lists', numbers.length, 2);
  for (const [i, n] of numbers.entries()) image.view.setUint16(lists + i * 2, n, true);
  let first = 0;
  for (const [i, m] of maps.entries()) {
    const flags = (m.anyModrm ? T.OPCODE_ANY_MODRM : 0) | (m.allModrm ? T.OPCODE_ALL_MODRM : 0);
    image.put(T.OpcodeEntry, entries + i * T.OpcodeEntry.size, { first, count: m.list.length, flags });
    first += m.list.length;
  }
}

function putEncoding(image: Image, at: number, c: Candidate): void {
  const { e, flags } = c;
  const logs = e.sizes.map((sizes) => sizes.map(log2));
  image.put(T.EncodingEntry, at, {
    flags,
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
    const n = freeEntry(number, bits, (n) => image.view.getUint16(slots + n * 2, true) === 0);
    image.view.setUint16(slots + n * 2, i + 1, true);
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
  const at = (n: number) => entries + n * T.FusionEntry.size;
  for (const [key, step] of steps) {
    const n = freeEntry(key, bits, (n) => image.view.getUint16(at(n) + T.FusionEntry.off.next, true) === 0);
    image.put(T.FusionEntry, at(n), { ...step });
  }
}
