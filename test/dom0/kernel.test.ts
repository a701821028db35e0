/** Kernel images: every compression, Xen notes, and files that are not what they should be. */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { DecompressError, formatOf } from '../../src/dom0/toolstack/kernel/decompress/index.ts';
import { KernelError, parseKernel } from '../../src/dom0/toolstack/kernel/kernel.ts';
import { loadKernel, unpackKernel } from '../../src/dom0/toolstack/kernel/unpack.ts';
import { fixture, TOOLS, tinyKernel } from './kernels/make.ts';
import { bzImage, linuxNotes, num, sampleText, str, tinyElf, withSize } from './kernels/tiny-kernel.ts';

const elf = tinyKernel();
const suffixes = Object.keys(TOOLS);
const packed = (suffix: string) => new Uint8Array(readFileSync(fixture(suffix)));
/** As it stands in a bzImage. */
const payload = (suffix: string) => (suffix === 'gz' ? packed('gz') : withSize(packed(suffix), elf.length));

describe.each(suffixes)('a payload compressed as .%s', (suffix) => {
  it('is found in a bzImage', () => {
    expect(Buffer.from(unpackKernel(bzImage(payload(suffix)))).equals(elf)).toBe(true);
  });

  it('may be the whole file', () => {
    expect(Buffer.from(unpackKernel(packed(suffix))).equals(elf)).toBe(true);
  });

  it('is refused if truncated anywhere', () => {
    const all = packed(suffix);
    for (let n = 1; n < all.length; n += 37) {
      const cut = withSize(all.subarray(0, n), elf.length);
      expect(() => unpackKernel(bzImage(cut)), `${n} bytes`).toThrow(KernelError);
    }
  });

  it('gives an error or an ELF file of the announced length, whatever byte is wrong', () => {
    const all = payload(suffix);
    for (let i = 8; i < all.length; i += 11) {
      const bad = all.slice();
      bad[i] ^= 1 << (i % 8);
      try {
        expect(unpackKernel(bzImage(bad)).length).toBe(elf.length);
      } catch (e) {
        expect(e, `byte ${i}`).toBeInstanceOf(KernelError);
      }
    }
  });

  it('never gives more than is allowed', () => {
    const format = formatOf(packed(suffix))!;
    for (const limit of [0, 1, 100, elf.length - 1]) {
      expect(() => format.decompress(packed(suffix), limit), `${limit}`).toThrow(DecompressError);
    }
    expect(format.decompress(packed(suffix), elf.length).length).toBe(elf.length);
  });

  it('is refused if it is not as long as announced', () => {
    if (suffix === 'gz') return;
    for (const size of [elf.length - 1, elf.length + 1]) {
      expect(() => unpackKernel(bzImage(withSize(packed(suffix), size)))).toThrow(/corrupt/);
    }
  });
});

describe('an image', () => {
  const refused = (image: Uint8Array, message: RegExp) => {
    expect(() => loadKernel(image, 'vmlinuz')).toThrow(KernelError);
    expect(() => loadKernel(image, 'vmlinuz')).toThrow(message);
  };

  it('may be a plain ELF file, or one in a bzImage', () => {
    expect(loadKernel(elf).notes.guestOs).toBe('linux');
    expect(loadKernel(bzImage(elf)).notes.guestOs).toBe('linux');
  });

  it('that is empty, or no kernel', () => {
    refused(new Uint8Array(0), /^vmlinuz is empty/);
    refused(str('#!/bin/sh\nexit 0'), /^vmlinuz is no kernel/);
    refused(new Uint8Array(100_000), /^vmlinuz is no kernel/);
    refused(gzipSync('hello'), /^vmlinuz what it holds is no ELF file/);
  });

  it('that is truncated', () => {
    const image = bzImage(payload('xz'));
    refused(image.subarray(0, 0x210), /truncated.*setup header/);
    refused(
      image.subarray(0, 3000),
      /truncated: the setup header puts the payload at bytes \d+ to \d+, the file has 3000/,
    );
    refused(elf.subarray(0, 40), /truncated/);
    refused(elf.subarray(0, 100), /truncated: the program header table/);
    refused(elf.subarray(0, 4000), /truncated: program header/);
  });

  it('of an old boot protocol', () => {
    refused(bzImage(payload('gz'), 0x0207), /boot protocol is 2\.07, 2\.08 or later/);
  });

  it('with an unknown payload', () => {
    refused(bzImage(str('what is this?')), /payload begins with 77 68 61 74/);
  });

  it('that claims to be huge', () => {
    refused(bzImage(withSize(packed('xz'), 0xffff_ffff)), /4096\.0 MiB uncompressed; at most 512\.0 MiB/);
  });

  it('for another machine', () => {
    const other = (change: (e: Uint8Array) => void) => {
      const e = elf.slice();
      change(e);
      return e;
    };
    refused(
      other((e) => e.set([183, 0], 18)),
      /is a 64-bit AArch64 kernel; an x86-64 kernel is needed/,
    );
    refused(
      other((e) => {
        e[4] = 1;
        e.set([3, 0], 18);
      }),
      /is a 32-bit i386 kernel/,
    );
    refused(
      other((e) => e.set([1], 4)),
      /is a 32-bit x86-64 \(x32\)/,
    );
    refused(
      other((e) => e.set([2], 5)),
      /big-endian/,
    );
    refused(
      other((e) => e.set([1, 0], 16)),
      /type 1, not an executable/,
    );
    refused(
      other((e) => e.set([0, 0], 56)),
      /no program headers/,
    );
  });

  it('without Xen notes', () => {
    refused(tinyElf(), /has no Xen notes: it was built without support for Xen/);
    refused(tinyElf({ notes: [{ name: 'GNU', type: 3, desc: num(1n) }] }), /has no Xen notes/);
  });

  it('with nothing to load', () => {
    refused(tinyElf({ segments: [], notes: linuxNotes() }), /nothing to load/);
    const segments = [{ paddr: 0n, data: sampleText(100), size: 10n }];
    refused(tinyElf({ segments, notes: linuxNotes() }), /more bytes in the file than in memory/);
  });

  it('never does worse than an error, whatever its bytes are', () => {
    for (let i = 0; i < 600; i++) {
      const bad = elf.slice(0, i % 5 === 0 ? i * 9 : undefined);
      for (let k = 0; k < 3; k++) bad[(i * 13 + k * 101) % Math.min(bad.length || 1, 700)] = (i * 31 + k * 77) & 0xff;
      try {
        parseKernel(bad);
      } catch (e) {
        expect(e).toBeInstanceOf(KernelError);
      }
    }
  });
});

describe('Xen notes', () => {
  it('are all understood', () => {
    const { notes } = parseKernel(elf);
    expect(notes).toEqual({
      entry: 0xffff_ffff_8010_0000n,
      hypercallPage: undefined,
      virtBase: 0xffff_ffff_8000_0000n,
      paddrOffset: 0n,
      xenVersion: 'xen-3.0',
      guestOs: 'linux',
      guestVersion: '2.6',
      loader: 'generic',
      paeMode: 'yes',
      featuresSupported: 0x8801 | (1 << 4),
      featuresRequired: 1,
      bsdSymtab: undefined,
      hvStartLow: 0xffff_8000_0000_0000n,
      l1MfnValid: [[1n, 1n]],
      suspendCancel: true,
      initP2m: 0x80_0000_0000n,
      modStartPfn: true,
      phys32Entry: 0x10_0850n,
    });
  });

  it('may be in a section', () => {
    const { notes } = parseKernel(tinyElf({ notes: linuxNotes({ HYPERCALL_PAGE: num(0x1000n) }), section: true }));
    expect(notes.hypercallPage).toBe(0x1000n);
  });

  it('of a wrong size are refused', () => {
    const bad = (type: 'ENTRY' | 'L1_MFN_VALID', n: number) => () =>
      parseKernel(tinyElf({ notes: linuxNotes({ [type]: new Uint8Array(n) }) }));
    expect(bad('ENTRY', 3)).toThrow(/note ENTRY has 3 bytes; a number has 4 or 8/);
    expect(bad('L1_MFN_VALID', 12)).toThrow(/L1_MFN_VALID/);
  });

  it('may require only features that are known', () => {
    const notes = (f: string) => linuxNotes({ FEATURES: str(f), SUPPORTED_FEATURES: undefined });
    expect(() => parseKernel(tinyElf({ notes: notes('!telepathy') }))).toThrow(/requires the feature telepathy/);
    expect(parseKernel(tinyElf({ notes: notes('telepathy|dom0') })).notes.featuresSupported).toBe(1 << 11);
  });
});
