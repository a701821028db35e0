/** Every form of every MMX and SSE encoding records: descriptions keep the builder's rules in all of them. */
import { describe, expect, test } from 'vitest';
import { Builder } from '../../src/engine/semantics/builder.ts';
import { forms } from '../../src/engine/semantics/forms.ts';
import type { Node, Val } from '../../src/engine/semantics/ir.ts';
import { mmx } from '../../src/engine/semantics/mmx.ts';
import { sse } from '../../src/engine/semantics/sse.ts';
import { parseEncoding } from '../../src/engine/semantics/table.ts';
import { OPCODES } from '../../src/engine/wasm/opcodes.ts';

const encodings = [...sse, ...mmx].flatMap((i) => i.encodings.map((text) => parseEncoding(i, text)));

function* walk(nodes: readonly Node[]): Generator<Node> {
  for (const n of nodes) {
    yield n;
    if (n.k === 'if') {
      yield* walk(n.then);
      yield* walk(n.else);
    }
  }
}

/** Operand types of the vector instructions, from their names. */
function expectedArgs(op: string): string[] | undefined {
  const [shape, name] = op.split('.');
  if (name === undefined || !/^(v128|[if]\d+x\d+)$/.test(shape) || name === 'const') return undefined;
  const lane = { i8x16: 'i32', i16x8: 'i32', i32x4: 'i32', i64x2: 'i64', f32x4: 'f32', f64x2: 'f64' }[shape];
  if (name === 'splat') return [lane!];
  if (name.startsWith('replace_lane')) return ['v128', lane!];
  if (name === 'shl' || name.startsWith('shr_')) return ['v128', 'i32'];
  if (name === 'bitselect') return ['v128', 'v128', 'v128'];
  const one =
    /^(extract_lane|not|abs|neg|sqrt|ceil|floor|trunc|nearest|convert|promote|demote|extend_|extadd|any_true|all_true|bitmask|popcnt)/;
  return one.test(name) ? ['v128'] : ['v128', 'v128'];
}

describe('descriptions', () => {
  for (const e of encodings) {
    test(`${e.insn.name}: ${e.text}`, () => {
      let n = 0;
      for (const f of forms(e)) {
        n++;
        const b = new Builder(f.form);
        e.insn.describe(b);
        const code = b.finish();
        expect(code.nodes.length > 0 || /fence/.test(e.insn.name)).toBe(true);
        for (const node of walk(code.nodes)) {
          if (node.k === 'op') {
            expect(node.op === 'select' || node.op in OPCODES, node.op).toBe(true);
            const want = expectedArgs(node.op);
            if (want) expect([node.op, ...node.args.map((a: Val) => a.t)]).toEqual([node.op, ...want]);
            if (node.op === 'i8x16.shuffle') expect(node.imm!.length).toBe(16);
          }
          if (node.k === 'setregop') {
            const kind = f.form.operands[node.i].kind;
            expect(['gpr', 'xmm', 'mmx']).toContain(kind);
            // A 4-byte integer write would clear what lies above it: right for general registers only.
            if (kind !== 'gpr' && node.bytes === 4) expect(node.v.t).toBe('f32');
          }
        }
      }
      expect(n).toBeGreaterThan(0);
    });
  }
});

test('no two encodings claim the same opcode', () => {
  const seen = new Map<string, string>();
  for (const e of encodings) {
    const source = e.operands.find((o) => 'WQEMUNR'.includes(o.code))?.code ?? '';
    const rm =
      'M' === source ? ['m'] : 'UNR'.includes(source) && source ? ['r'] : e.modrm >= 0 ? [`=${e.modrm}`] : ['r', 'm'];
    for (const k of rm) {
      const key = [e.prefix, e.map, e.opcode, e.digit, k].join(' ');
      expect(seen.get(key), `${e.text} and ${seen.get(key)}`).toBeUndefined();
      seen.set(key, e.text);
    }
  }
});
