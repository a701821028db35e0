/**
 * The decoder of the runtime (records for the interpreter) against that of the translator: the same bytes are the same
 * instruction, with the same operands, or none for the same reason.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AreaHeader } from '../../src/engine/area.ts';
import { type Decoded, InstructionDecoder } from '../../src/engine/decode/decode.ts';
import { operandSlot } from '../../src/engine/decode/slots.ts';
import {
  CODE_BYTES,
  DECODED_LONG,
  DECODED_SHORT,
  DECODED_UD,
  DecoderTables,
  MAX_LENGTH,
} from '../../src/engine/decode-tables.ts';
import { FUSION_PLAN } from '../../src/engine/interpreter/fusion.ts';
import { generateInterpreter } from '../../src/engine/interpreter/generate.ts';
import { allEncodings } from '../../src/engine/semantics/index.ts';
import { CpuState, Record32, SCALE_ADDR16, SCALE_STACK } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const { off } = CpuState;
const R = Record32.off;
const OFFSET = 0x234;
const FAILURE = { ud: DECODED_UD, long: DECODED_LONG, short: DECODED_SHORT } as const;

const encodings = allEncodings();
const { tables } = generateInterpreter(encodings, FUSION_PLAN);
const rows = new Map(tables.rows.map((r) => [r.encoding * 4096 + r.key, r]));
const decoder = new InstructionDecoder(encodings);
const s = new Sandbox();
const code = s.view.getUint32(s.area + AreaHeader.off.decoder, true) + DecoderTables.off.code;
const record = s.allocate() * 4096;
const offsets = Array.from({ length: 4 }, () => s.allocate() * 4096)[0];

type Fields = Record<Exclude<keyof typeof R, 'imm'>, number> & { low: number; high: number };

/** What a record of the instruction has at page offset OFFSET; undefined: there is no form for it. */
function expected(d: Decoded): Fields | undefined {
  const row = rows.get(d.encoding * 4096 + d.key);
  if (!row) return undefined;
  const e = encodings[d.encoding];
  const next = OFFSET + d.length;
  const rip = d.memory && d.base === 16;
  const gpr = (n: number) => (n >= 0 ? off.gpr + n * 8 : off.zero);
  const codes = e.operands.map((o) => o.code);
  const branch = codes.includes('J');
  const two = codes.filter((c) => c === 'I').length > 1;
  const long = BigInt.asIntN(64, d.imm);
  return {
    handler: row.handlers[!d.memory ? 0 : d.addr32 ? 2 : d.index >= 0 || d.seg >= 0 ? 1 : 0],
    r0: operandSlot(e, 0, d),
    r1: operandSlot(e, 1, d),
    r2: operandSlot(e, 2, d),
    base: rip ? off.page : d.memory ? gpr(d.base) : off.zero,
    index: d.memory ? gpr(d.index) : off.zero,
    seg: d.seg >= 0 ? off.segbase + d.seg * 8 : off.zero,
    scale: d.scale | (d.addr16 ? SCALE_ADDR16 : 0) | (d.stack ? SCALE_STACK : 0),
    len: d.length,
    next,
    disp: rip ? (d.disp + next) | 0 : d.disp,
    low: branch ? 0 : Number(BigInt.asIntN(32, long)),
    high: branch ? (next + d.rel) | 0 : two ? d.imm2 | 0 : Number(long >> 32n),
  };
}

const U8 = ['scale', 'len'];
const WORDS = ['handler', 'disp'];

function written(): Fields {
  const v = s.view;
  const of = (name: string, at: number) =>
    WORDS.includes(name) ? v.getInt32(at, true) : U8.includes(name) ? v.getUint8(at) : v.getUint16(at, true);
  const fields = Object.entries(R).filter(([name]) => name !== 'imm');
  return {
    ...Object.fromEntries(fields.map(([name, at]) => [name, of(name, record + at)])),
    low: v.getInt32(record + R.imm, true),
    high: v.getInt32(record + R.imm + 4, true),
  } as Fields;
}

/** Both decoders on the first n bytes; how they differ, if they do. */
function difference(bytes: Uint8Array, n: number, mode: 0 | 1): string | undefined {
  s.u8.set(bytes.subarray(0, n), code);
  const got = s.call('decode_one', n, mode, record, OFFSET);
  const d = decoder.decode(bytes, 0, n, mode);
  const fields = typeof d === 'string' ? undefined : expected(d);
  const length = typeof d === 'string' ? FAILURE[d] : fields ? d.length : FAILURE.ud;
  const text = () => `${Buffer.from(bytes.subarray(0, n)).toString('hex')} in mode ${mode}`;
  if (got !== length) return `${text()}: length ${got}, not ${length}`;
  if (!fields) return undefined;
  const is = JSON.stringify(written());
  const should = JSON.stringify(Object.fromEntries(Object.keys(written()).map((k) => [k, fields[k as keyof Fields]])));
  return is === should ? undefined : `${text()}: ${is}, not ${should}`;
}

const MODES = [0, 1] as const;
const PREFIXES = [[], [0x66], [0xf3], [0xf2], [0x67], [0xf0], [0x48], [0x66, 0x48], [0x45], [0x36], [0x64, 0x67]];
const ESCAPES = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
/** A step through the modrm bytes that meets each of their parts. */
const SOME = 11;
const TAIL = [0x9c, 0xf1, 0x82, 0x73, 0x64, 0xd5, 0x46, 0xb7, 0x28, 0x99, 0x8a, 0xfb];

const PROGRAM = readFileSync(process.execPath).subarray(0x100_0000, 0x104_0000);

/** Handlers of a run's instructions. */
function runOf(fuse: boolean): number[] {
  s.u8.fill(0, offsets, offsets + 4 * 4096);
  const n = (s.call('decode_run', offsets, 0, CODE_BYTES, 0, record, fuse ? 1 : 0) as number) & 0xff;
  return Array.from({ length: n }, (_, i) => s.view.getUint32(record + i * Record32.size, true));
}

describe('the decoder of the runtime', () => {
  it('reads each opcode with the modrm bytes as the translator does', () => {
    const wrong: string[] = [];
    for (const mode of MODES)
      for (const prefix of PREFIXES)
        for (const map of ESCAPES)
          for (let opcode = 0; opcode < 256; opcode++)
            for (let modrm = 0; modrm < 256; modrm += prefix.length > 0 ? SOME : 1) {
              const bytes = Uint8Array.from([...prefix, ...map, opcode, modrm, ...TAIL]).subarray(0, MAX_LENGTH);
              const found = wrong.length < 20 ? difference(bytes, bytes.length, mode) : undefined;
              if (found) wrong.push(found);
            }
    expect(wrong).toEqual([]);
  });

  it('reads any bytes, and any part of them', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: MAX_LENGTH, maxLength: MAX_LENGTH }),
        fc.integer({ min: 1, max: MAX_LENGTH }),
        fc.constantFrom(...MODES),
        (bytes, n, mode) => {
          expect(difference(bytes, n, mode)).toBeUndefined();
        },
      ),
      { numRuns: 20_000 },
    );
  });

  it('reads a program', () => {
    for (let at = 0; at + MAX_LENGTH < PROGRAM.length; at++)
      expect(difference(PROGRAM.subarray(at, at + MAX_LENGTH), MAX_LENGTH, 0)).toBeUndefined();
  });

  it('gives records the longest superinstruction that begins there', () => {
    let fused = 0;
    for (let at = 0; at + CODE_BYTES < PROGRAM.length; at += CODE_BYTES) {
      s.u8.set(PROGRAM.subarray(at, at + CODE_BYTES), code);
      const plain = runOf(false);
      const wanted = plain.map((handler, i) => {
        const sequences = [4, 3, 2].map((n) => plain.slice(i, i + n).join());
        const longest = sequences.find((q, k) => i + 4 - k <= plain.length && tables.fused[q] !== undefined);
        if (longest) fused++;
        return longest ? tables.fused[longest] : handler;
      });
      expect(runOf(true)).toEqual(wanted);
    }
    expect(fused).toBeGreaterThan(100);
  });
});
