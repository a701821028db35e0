/** The decompressors against the real tools, on data of several kinds; and the recorded files of test/dom0/kernels. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatOf } from '../../src/dom0/toolstack/kernel/decompress/index.ts';
import { compress, fixture, TOOLS, tinyKernel } from '../dom0/kernels/make.ts';

/** Real machine code, text, noise, and long runs. */
const DATA: Record<string, Buffer> = {
  code: readFileSync(process.execPath).subarray(0x100_0000, 0x120_0000),
  text: Buffer.from(Array.from({ length: 60_000 }, (_, i) => `line ${i * i}\n`).join('')),
  noise: randomBytes(1 << 18),
  zeros: Buffer.alloc(9 << 20),
  empty: Buffer.alloc(0),
  byte: Buffer.from('x'),
};

/** Other options than the Linux build's. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  'xz in blocks': ['xz', '-T2', '--block-size=300000', '-c'],
  'xz, SHA-256': ['xz', '-1', '--check=sha256', '-c'],
  'xz, no check': ['xz', '-0', '--check=none', '-c'],
  'xz, other properties': ['xz', '--lzma2=preset=6,lc=1,lp=3,pb=0', '-c'],
  'lzop -1': ['lzop', '-1', '-c'],
  'lzop, checksums': ['lzop', '-3', '--crc32', '-CC', '-c'],
  'bzip2 -1': ['bzip2', '-1', '-c'],
  'lz4 -l -1': ['lz4', '-l', '-1', '-c'],
};

function roundTrip(packed: Uint8Array, data: Buffer): void {
  expect(Buffer.from(formatOf(packed)!.decompress(packed, data.length)).equals(data)).toBe(true);
}

describe.each(Object.keys(TOOLS))('.%s', (suffix) => {
  it.each(Object.keys(DATA))('%s', (kind) => {
    roundTrip(compress(suffix, DATA[kind]), DATA[kind]);
  });

  it('holds the tiny kernel', () => {
    roundTrip(readFileSync(fixture(suffix)), Buffer.from(tinyKernel()));
  });
});

describe.each(Object.keys(VARIANTS))('%s', (name) => {
  it.each(Object.keys(DATA))('%s', (kind) => {
    const [tool, ...args] = VARIANTS[name];
    const input = DATA[kind];
    const packed = execFileSync(tool, args, { input, stdio: ['pipe', 'pipe', 'ignore'], maxBuffer: 1 << 28 });
    roundTrip(packed, input);
  });
});
