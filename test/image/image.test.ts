/** The image builder, as far as it needs no tools: its options, and how a stream becomes a sparse image. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkOptions, type DebianOptions } from '../../src/image/debian.ts';
import { BLOCK, copySparse } from '../../src/image/sparse.ts';

async function* pieces(bytes: Uint8Array, sizes: readonly number[]) {
  let at = 0;
  for (let n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length];
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

describe('copySparse', () => {
  it('leaves out zeros and nothing else, however the stream is cut', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 3 * BLOCK }), { minLength: 1, maxLength: 5 });
    const marks = fc.array(fc.nat(6 * BLOCK), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(sizes, marks, fc.integer({ min: 1, max: 6 * BLOCK }), async (cut, set, length) => {
        const bytes = new Uint8Array(length);
        for (const at of set) if (at < length) bytes[at] = 1 + (at % 255);
        const copy = new Uint8Array(length);
        const written: number[] = [];
        const total = await copySparse(pieces(bytes, cut), {
          write(position, data) {
            written.push(position);
            copy.set(data, position);
          },
        });
        expect(total).toBe(length);
        expect(Buffer.compare(copy, bytes)).toBe(0);
        const blocks = new Set(set.filter((at) => at < length).map((at) => at - (at % BLOCK)));
        expect(new Set(written)).toEqual(blocks);
      }),
      { numRuns: 100 },
    );
  });
});

describe('options', () => {
  const good: DebianOptions = { sizeMiB: 2048, suite: 'bookworm', flavour: 'cloud', hostname: 'debian' };

  it('that make sense are taken', () => {
    expect(() => checkOptions(good)).not.toThrow();
    expect(() => checkOptions({ ...good, user: 'me', password: 'x y', packages: ['g++', 'libc6-dev'] })).not.toThrow();
  });

  it.each<[Partial<DebianOptions>, string]>([
    [{ sizeMiB: 10 }, 'a size of 10 MiB'],
    [{ sizeMiB: 1024.5 }, 'a size of 1024.5 MiB'],
    [{ suite: 'book worm' }, 'the suite "book worm"'],
    [{ hostname: 'a.b' }, 'the hostname "a.b"'],
    [{ hostname: '-' }, 'the hostname'],
    [{ user: 'Me', password: 'x' }, 'the user "Me"'],
    [{ user: 'me' }, 'could not log in'],
    [{ password: 'secret\nroot:x' }, 'the password must be one line'],
    [{ packages: ['a b'] }, '"a b" is no name of a package'],
    [{ packages: ['--help'] }, 'no name of a package'],
    [{ sshKeys: ['a\nb'] }, 'one line'],
    [{ mirror: 'file' }, 'the mirror'],
  ])('%j are refused', (wrong, message) => {
    expect(() => checkOptions({ ...good, ...wrong })).toThrow(message);
    expect(() => checkOptions({ ...good, ...wrong })).not.toThrow(/secret/);
  });
});
