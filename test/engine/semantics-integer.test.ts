/** Every form of every integer and system encoding records: descriptions keep the builder's rules in all of them. */
import { describe, expect, test } from 'vitest';
import { Builder } from '../../src/engine/semantics/builder.ts';
import { forms } from '../../src/engine/semantics/forms.ts';
import { integer } from '../../src/engine/semantics/integer.ts';
import type { Node } from '../../src/engine/semantics/ir.ts';
import { type Encoding, parseEncoding } from '../../src/engine/semantics/table.ts';
import { UNDEFINED_FLAGS, undefinedFlags } from '../../src/engine/semantics/undefined-flags.ts';
import { OPCODES } from '../../src/engine/wasm/opcodes.ts';

const encodings = integer.flatMap((i) => i.encodings.map((text) => parseEncoding(i, text)));

function* walk(nodes: readonly Node[]): Generator<Node> {
  for (const n of nodes) {
    yield n;
    if (n.k === 'if') {
      yield* walk(n.then);
      yield* walk(n.else);
    }
  }
}

const INTEGER_STORE = { 1: ['i32', 'i64'], 2: ['i32', 'i64'], 4: ['i32', 'i64'], 8: ['i64'] } as Record<
  number,
  string[]
>;

describe('descriptions', () => {
  for (const e of encodings) {
    test(`${e.insn.name}: ${e.text}`, () => {
      let n = 0;
      for (const f of forms(e)) {
        n++;
        const b = new Builder(f.form);
        e.insn.describe(b);
        for (const node of walk(b.finish().nodes)) {
          if (node.k === 'op') expect(node.op === 'select' || node.op in OPCODES, node.op).toBe(true);
          if (node.k === 'if') expect(node.cond.t).toBe('i32');
          if (node.k === 'jump') expect(node.target.t).toBe('i64');
          if (node.k === 'load') expect(node.addr.t).toBe('i64');
          if (node.k === 'probe') expect(node.p.addr.t).toBe('i64');
          if (node.k === 'setregop' || node.k === 'set' || node.k === 'pstore') {
            expect(INTEGER_STORE[node.bytes]).toContain(node.v.t);
          }
        }
      }
      expect(n).toBeGreaterThan(0);
    });
  }
});

describe('the table', () => {
  /** What the decoder tells encodings of one opcode apart by. */
  const identity = (e: Encoding, opcode: number) =>
    [
      e.prefix,
      e.map,
      opcode,
      e.digit,
      e.modrm,
      ...['mem', 'reg', 'i64', 'o64', 'w0', 'w1', 'b0', 'r0', 'r1'].filter((a) => e.attrs.has(a)),
    ].join();

  test('has no encoding twice', () => {
    const seen = new Map<string, string>();
    for (const e of encodings) {
      for (let i = 0; i < e.span; i++) {
        const memory = e.operands.some((o) => o.code === 'M') ? 'M' : '';
        const id = identity(e, e.opcode + i) + memory;
        expect(seen.get(id), `${e.insn.name} ${e.text}`).toBe(undefined);
        seen.set(id, e.text);
      }
    }
  });

  test('fills the one-byte map except prefixes, x87 and what does not exist', () => {
    const have = new Set<number>();
    for (const e of encodings) if (e.map === 0) for (let i = 0; i < e.span; i++) have.add(e.opcode + i);
    const missing = Array.from({ length: 256 }, (_, i) => i).filter((i) => !have.has(i));
    const prefixes = [0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    const x87 = [0x9b, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];
    expect(missing).toEqual([...prefixes, ...x87].sort((a, b) => a - b));
  });
});

describe('undefined flags', () => {
  test('are listed for instructions that exist', () => {
    const names = new Set(integer.map((i) => i.name));
    for (const name of Object.keys(UNDEFINED_FLAGS)) expect(names).toContain(name);
  });
  test('depend on the count of shifts', () => {
    expect(undefinedFlags('shl', 32, 1)).toBe(0x10);
    expect(undefinedFlags('shl', 32, 5)).toBe(0x810);
    expect(undefinedFlags('shl', 8, 8)).toBe(0x811);
    expect(undefinedFlags('add')).toBe(0);
  });
});
