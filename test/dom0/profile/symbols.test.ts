/** Names of guests' functions from all the places they can come from. */
import { describe, expect, it } from 'vitest';
import { kallsyms } from '../../../src/dom0/profile/kallsyms.ts';
import { elfSymbols, readSymbols, Symbols, systemMap } from '../../../src/dom0/profile/symbols.ts';

const BASE = 0xffff_ffff_8100_0000n;

describe('look-up', () => {
  const symbols = new Symbols([
    { address: BASE + 0x40n, name: 'second' },
    { address: BASE, name: 'first' },
  ]);
  it.each([
    [-1n, undefined],
    [0n, 'first'],
    [0x3fn, 'first'],
    [0x40n, 'second'],
    [0x10_003fn, 'second'],
    [0x10_0040n, undefined],
  ])('%x', (offset, name) => {
    expect(symbols.find(BASE + offset)).toBe(name);
  });

  it('of none', () => {
    expect(new Symbols([]).find(BASE)).toBeUndefined();
  });
});

it('System.map and /proc/kallsyms: code only, and nothing that was hidden', () => {
  const text =
    'ffffffff81000000 T _text\nffffffff82000000 D data\n0000000000000000 t hidden\nffffffffc0000010 t f\t[module]\n';
  expect(systemMap(text)).toEqual([
    { address: BASE, name: '_text' },
    { address: 0xffff_ffff_c000_0010n, name: 'f' },
  ]);
});

/** An ELF file with nothing but sections: code, symbols, their names. `symbols`: name, st_info, section, value. */
function elf(symbols: readonly (readonly [string, number, number, bigint])[]): Uint8Array {
  const strings = Buffer.from(`\0${symbols.map(([name]) => name).join('\0')}\0`, 'latin1');
  const table = Buffer.alloc(24 * (symbols.length + 1));
  let at = 1;
  for (const [i, [name, info, section, value]] of symbols.entries()) {
    const to = 24 * (i + 1);
    table.writeUInt32LE(at, to);
    table.writeUInt8(info, to + 4);
    table.writeUInt16LE(section, to + 6);
    table.writeBigUInt64LE(value, to + 8);
    at += name.length + 1;
  }
  const header = Buffer.alloc(64);
  header.write('\x7fELF', 'latin1');
  header.writeBigUInt64LE(BigInt(64 + table.length + strings.length), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(4, 60);
  const section = (type: number, flags: bigint, offset: number, size: number, link: number) => {
    const h = Buffer.alloc(64);
    h.writeUInt32LE(type, 4);
    h.writeBigUInt64LE(flags, 8);
    h.writeBigUInt64LE(BigInt(offset), 24);
    h.writeBigUInt64LE(BigInt(size), 32);
    h.writeUInt32LE(link, 40);
    return h;
  };
  const sections = [
    section(0, 0n, 0, 0, 0),
    section(1, 6n, 0, 0, 0),
    section(2, 0n, 64, table.length, 3),
    section(3, 0n, 64 + table.length, strings.length, 0),
  ];
  return Buffer.concat([header, table, strings, ...sections]);
}

describe('ELF symbol table', () => {
  const FUNC = 2;
  const file = elf([
    ['main', 0x10 | FUNC, 1, 0x40_1000n],
    ['label', 0, 1, 0x40_1100n],
    ['data', 1, 2, 0x40_2000n],
    ['file.c', 4, 0xfff1, 0n],
    ['undefined', FUNC, 0, 0n],
  ]);

  it('functions, and labels in code', () => {
    expect(elfSymbols(file)).toEqual([
      { address: 0x40_1000n, name: 'main' },
      { address: 0x40_1100n, name: 'label' },
    ]);
    expect(readSymbols(file)).toEqual(elfSymbols(file));
  });

  it('a file that is cut has none', () => {
    for (let length = 0; length < file.length - 64; length += 7)
      expect(elfSymbols(file.subarray(0, length))).toEqual([]);
  });
});

/** A kernel's table as scripts/kallsyms writes it, with every second token unused. */
function table(layout: '6.1' | '6.4', names: readonly string[], percpu = 0): Uint8Array {
  const pieces: Buffer[] = [];
  const put = (...parts: Buffer[]) => {
    for (const part of parts) pieces.push(part, Buffer.alloc(-part.length & 7));
  };
  const u16 = (v: readonly number[]) => Buffer.from(new Uint16Array(v).buffer);
  const u32 = (v: readonly number[]) => Buffer.from(new Uint32Array(v).buffer);
  const offsets = u32(names.map((_, i) => (i < percpu ? i * 8 : -1 - i * 16)));
  const base = Buffer.from(new BigUint64Array([BASE]).buffer);
  const tokens = Array.from({ length: 256 }, (_, i) =>
    i >= 0x20 && i < 0x7f ? String.fromCharCode(i) : i === 1 ? 'fun' : '',
  );
  const encoded: Buffer[] = [];
  const markers: number[] = [];
  let at = 0;
  for (const [i, name] of names.entries()) {
    const bytes = [...name.replaceAll('fun', '\x01')].map((c) => c.charCodeAt(0));
    const length = bytes.length < 0x80 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
    if (i % 256 === 0) markers.push(at);
    encoded.push(Buffer.from([...length, ...bytes]));
    at += length.length + bytes.length;
  }
  const index: number[] = [];
  let from = 0;
  for (const token of tokens) {
    index.push(from);
    from += token.length + 1;
  }
  put(Buffer.alloc(4096, 0xaa));
  if (layout === '6.1') put(offsets, base);
  put(u32([names.length]), Buffer.concat(encoded), u32(markers));
  if (layout === '6.4') put(Buffer.alloc(names.length * 3, 0x5a));
  put(Buffer.from(`${tokens.join('\0')}\0`, 'latin1'), u16(index));
  if (layout === '6.4') put(offsets, base);
  put(Buffer.alloc(64));
  return Buffer.concat(pieces);
}

describe('kallsyms in an image', () => {
  const names = Array.from({ length: 1500 }, (_, i) => `${'TtdW'[i % 4]}fun_${i}`);
  names[700] = `T${'long'.repeat(40)}`;

  it.each(['6.1', '6.4'] as const)('as in Linux %s', (layout) => {
    const found = kallsyms(table(layout, names));
    expect(found.length).toBe(1500 - 375);
    expect(found[0]).toEqual({ address: BASE, name: 'fun_0' });
    expect(found.find((s) => s.name === 'fun_1001')!.address).toBe(BASE + 16016n);
    expect(found.find((s) => s.name.startsWith('longlong'))!.address).toBe(BASE + 11200n);
  });

  it('per-CPU symbols are offsets themselves', () => {
    const found = kallsyms(table('6.1', names, 10));
    expect(found[1]).toEqual({ address: 8n, name: 'fun_1' });
    expect(found.find((s) => s.name === 'fun_12')!.address).toBe(BASE + 192n);
  });

  it('nothing is made of a table that is cut or damaged', () => {
    const whole = table('6.1', names);
    for (const length of [0, 100, 4100, 9000, 20_000, whole.length - 600])
      expect(kallsyms(whole.subarray(0, length))).toEqual([]);
    const damaged = Uint8Array.from(whole);
    damaged[4096 + 6000 + 8 + 8 + 300] ^= 0x40;
    expect(() => kallsyms(damaged)).not.toThrow();
  });

  it('a file of another kind has no symbols', () => {
    expect(readSymbols(new TextEncoder().encode('hello\n'))).toEqual([]);
    expect(readSymbols(new Uint8Array(0))).toEqual([]);
  });
});
