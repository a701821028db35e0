/** src/abi against what the public headers said when offsets.json was recorded (test/abi/offsets.ts). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { printModules, printTable } from '../../scripts/gen-abi.ts';
import { struct, union } from '../../src/abi/layout.ts';
import { type Answers, questions, RECORDED } from './offsets.ts';

const recorded: Answers = JSON.parse(readFileSync(RECORDED, 'utf8'));
const facts = await questions();

describe('tables of the public interface', () => {
  test('every size, offset and number is the headers’', () => {
    const ours = Object.fromEntries(facts.map((q) => [q.key, q.ours]));
    expect(ours).toEqual(recorded);
  });

  test('nothing is asked twice', () => {
    const keys = facts.map((q) => q.key);
    expect(keys.length).toBe(new Set(keys).size);
  });
});

describe('layout', () => {
  test('natural alignment, arrays, nested structures, tail padding', () => {
    const inner = struct('inner', [
      ['a', 'u8'],
      ['b', 'u32'],
    ]);
    const s = struct('s', [
      ['x', 'u8', 3],
      ['in', inner, 2],
      ['y', 'u16'],
      ['z', 'u64'],
      ['w', 'u8'],
    ]);
    expect(s.off).toEqual({ x: 0, in: 4, y: 20, z: 24, w: 32 });
    expect(s.size).toBe(40);
  });

  test('a union is as large as its largest member', () => {
    const u = union('u', [
      ['a', 'u8', 9],
      ['b', 'u32'],
    ]);
    expect(u).toMatchObject({ size: 12, align: 4, off: { a: 0, b: 0 } });
  });
});

describe('AssemblyScript output', () => {
  test('types follow the values', () => {
    expect(printTable('T', { a: 1, b: 0x1_0000_0000, c: -1, d: 1n << 63n })).toBe(
      'export namespace T {\n  export const a: u32 = 1;\n  export const b: u64 = 0x100000000;\n' +
        '  export const c: i32 = -1;\n  export const d: u64 = 0x8000000000000000;\n}\n',
    );
  });

  test('keywords and names that begin with a digit are changed', () => {
    expect(printTable('T', { yield: 0, '4gb': 1 })).toBe(
      'export namespace T {\n  export const yield_: u32 = 0;\n  export const _4gb: u32 = 1;\n}\n',
    );
  });

  test('errors are signed', () => {
    expect(printTable('ERRNO', { EPERM: 1 })).toContain('EPERM: i64 = 1');
  });

  test('what is no table is left out', () => {
    expect(printTable('f', () => 1)).toBe('');
    expect(printTable('names', ['a', 'b'])).toBe('');
  });

  test('a name may be exported once', async () => {
    await expect(printModules(['src/abi/errno.ts', 'src/abi/errno.ts'])).rejects.toThrow('ERRNO is exported by');
  });
});
