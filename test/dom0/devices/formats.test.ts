/**
 * One suite for every image format: a model of the disk beside the image, crashes after every write to the file, and files
 * that are damaged or hostile.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openImage } from '../../../src/dom0/backends/block/formats/formats.ts';
import { decompress, frameLength } from '../../../src/dom0/backends/block/formats/qcow2/compressed.ts';
import { createQcow2 } from '../../../src/dom0/backends/block/formats/qcow2/create.ts';
import { HostFile } from '../../../src/dom0/backends/block/host-file.ts';
import { type BlockImage, ImageError } from '../../../src/dom0/backends/block/image.ts';
import { IMAGE_KINDS, type ImageKind, readAll, rng, scatter } from './image-kinds.ts';
import { canLoop, detachLoop, loopDevice } from './loop.ts';

const SIZE = 3 << 20;
/** Operations of a run of the model, crashes, and mutations of an image, for each format. */
const STEPS = Number(process.env.BLOCK_STEPS ?? 25);
const CRASHES = Number(process.env.BLOCK_CRASHES ?? 3);
const MUTATIONS = Number(process.env.BLOCK_MUTATIONS ?? 10);

const devices: string[] = [];
/** Where `create` makes something else than the file that it is asked for. */
const KINDS: readonly (ImageKind & { readonly device?: true })[] = [
  ...IMAGE_KINDS,
  ...(canLoop ? [{ ...IMAGE_KINDS[0], name: 'block device of the host', device: true as const }] : []),
];

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'formats-'));
});
afterAll(() => {
  for (const device of devices) detachLoop(device);
  rmSync(dir, { recursive: true, force: true });
});

let serial = 0;
function make(kind: (typeof KINDS)[number], size = SIZE): { path: string; content: Uint8Array } {
  const path = join(dir, `image-${serial++}`);
  const content = kind.create(path, size);
  if (!kind.device) return { path, content };
  devices.push(loopDevice(path)!);
  return { path: devices.at(-1)!, content };
}
const open = (kind: ImageKind, path: string, readOnly = false) => openImage(path, kind.format, { readOnly });

/** One random operation on both. */
function step(image: BlockImage, model: Uint8Array, random: () => number): void {
  const length = 512 * Math.ceil(random() ** 3 * 400);
  const at = 512 * Math.floor(random() * ((SIZE - length) / 512 + 1));
  const what = random();
  if (what < 0.6) {
    const data = new Uint8Array(length).map((_, i) => (i * 31 + Math.floor(at / 512)) & 0xff);
    image.write(at, scatter(data, random));
    model.set(data, at);
  } else if (what < 0.9) {
    const got = new Uint8Array(length);
    image.read(at, scatter(got, random));
    expect(Buffer.compare(got, model.subarray(at, at + length))).toBe(0);
  } else if (what < 0.95 && image.discardGranularity > 0) {
    image.discard(at, length);
    // What was discarded may read as anything; the model takes what it is.
    image.read(at, [model.subarray(at, at + length)]);
  } else image.flush();
}

describe.each(KINDS.map((k) => [k.name, k] as const))('%s', (_, kind) => {
  it('reads what was written, and after it was closed', () => {
    const { path, content } = make(kind);
    const random = rng(1);
    for (let life = 0; life < 3; life++) {
      const image = open(kind, path);
      expect(image.size).toBe(SIZE);
      for (let i = 0; i < STEPS; i++) step(image, content, random);
      image.close();
    }
    const image = open(kind, path, true);
    expect(Buffer.compare(readAll(image), content)).toBe(0);
    image.close();
  });

  it('loses nothing that was written when its process ends at any write to the file', () => {
    const random = rng(2);
    const { path, content } = make(kind);
    const write = HostFile.prototype.write;
    try {
      for (let crash = 0; crash < CRASHES; crash++) {
        // Its descriptor stays open, unlike that of a process that ended: no locks.
        const image = openImage(path, kind.format, { readOnly: false, lock: false });
        let left = 1 + Math.floor(random() * 60);
        HostFile.prototype.write = function (position, from) {
          if (left-- === 0) throw new Error('crash');
          write.call(this, position, from);
        };
        let at = 0;
        let data = new Uint8Array(0);
        try {
          for (;;) {
            const length = 512 * (1 + Math.floor(random() * 300));
            at = 512 * Math.floor(random() * ((SIZE - length) / 512 + 1));
            data = new Uint8Array(length).fill(crash + 1);
            image.write(at, [data]);
            content.set(data, at);
            if (random() < 0.2) image.flush();
          }
        } catch (e) {
          expect((e as Error).message).toBe('crash');
        }
        HostFile.prototype.write = write;
        // The write that was under way is there sector by sector, or not.
        const after = openImage(path, kind.format, { readOnly: true, lock: false });
        const got = readAll(after);
        after.close();
        for (let s = at; s < at + data.length; s += 512) {
          const now = got.subarray(s, s + 512);
          if (now.every((b) => b === crash + 1)) content.set(now, s);
        }
        expect(Buffer.compare(got, content)).toBe(0);
      }
    } finally {
      HostFile.prototype.write = write;
    }
  });

  it('that is damaged gives an error that says so, or is still a disk of its size', () => {
    const { path, content } = make(kind);
    const image = open(kind, path);
    const random = rng(3);
    for (let i = 0; i < 30; i++) step(image, content, random);
    image.close();
    const good = readFileSync(path);
    for (let i = 0; i < MUTATIONS; i++) {
      const bad = Buffer.from(good);
      for (let n = 0; n < 1 + random() * 3; n++) {
        // Most of what matters is at the ends, in units of 4 bytes.
        const at = random() < 0.7 ? Math.floor(random() * 2048) : Math.floor(random() * bad.length);
        const end = random() < 0.15 ? bad.length - 1 - Math.min(at, bad.length - 1) : at % bad.length;
        bad[end] = [0, 1, 0x7f, 0x80, 0xff, Math.floor(random() * 256)][Math.floor(random() * 6)];
      }
      const cut = random() < 0.1 ? bad.subarray(0, Math.floor(random() * bad.length)) : bad;
      writeFileSync(path, cut);
      try {
        const damaged = open(kind, path, random() < 0.5);
        try {
          const limited = Math.min(damaged.size, 8 << 20);
          damaged.read(0, [new Uint8Array(limited)]);
          if (damaged.discardGranularity > 0) damaged.write(0, [new Uint8Array(Math.min(damaged.size, 1 << 20))]);
        } finally {
          damaged.close();
        }
      } catch (e) {
        expect(e, `mutation ${i}`).toBeInstanceOf(ImageError);
      }
    }
  });
});

describe('a chain of backing files', () => {
  it('that is a loop, or has no format, or is not there, is refused', () => {
    const [a, b] = [join(dir, 'loop-a'), join(dir, 'loop-b')];
    createQcow2(a, { size: SIZE, backing: { name: 'loop-b', format: 'qcow2' } });
    createQcow2(b, { size: SIZE, backing: { name: 'loop-a', format: 'qcow2' } });
    expect(() => openImage(a, 'qcow2', { readOnly: true })).toThrow(/behind itself/);
    const lone = join(dir, 'lone');
    createQcow2(lone, { size: SIZE, backing: { name: 'nowhere', format: 'raw' } });
    expect(() => openImage(lone, 'qcow2', { readOnly: true })).toThrow(/nowhere is not there/);
    const bytes = readFileSync(lone);
    bytes.writeUInt32BE(0x6803_f857, 104); // now a table of feature names
    writeFileSync(lone, bytes);
    expect(() => openImage(lone, 'qcow2', { readOnly: true })).toThrow(/what format/);
  });

  it('is read through, and never written', () => {
    const base = join(dir, 'chain-0');
    writeFileSync(base, new Uint8Array(SIZE).fill(1));
    for (let i = 1; i <= 5; i++) {
      const format = i === 1 ? 'raw' : 'qcow2';
      createQcow2(join(dir, `chain-${i}`), { size: SIZE, backing: { name: `chain-${i - 1}`, format } });
      const image = openImage(join(dir, `chain-${i}`), 'qcow2', { readOnly: false });
      image.write(i * 1024, [new Uint8Array(512).fill(i + 1)]);
      image.close();
    }
    const before = readFileSync(join(dir, 'chain-4'));
    copyFileSync(join(dir, 'chain-5'), join(dir, 'chain-copy'));
    const image = openImage(join(dir, 'chain-5'), 'qcow2', { readOnly: false });
    image.write(0, [new Uint8Array(SIZE / 2).fill(9)]);
    image.close();
    expect(readFileSync(join(dir, 'chain-4')).equals(before)).toBe(true);
    const copy = openImage(join(dir, 'chain-copy'), 'qcow2', { readOnly: true });
    const got = readAll(copy);
    copy.close();
    for (let i = 1; i <= 5; i++) expect(got[i * 1024]).toBe(i + 1);
    expect(got[512]).toBe(1);
  });
});

it('a zstd frame ends where it says, whatever follows', () => {
  const random = rng(4);
  for (let i = 0; i < 60; i++) {
    const cluster = 1 << (9 + (i % 9));
    const plain = new Uint8Array(cluster).map(() => (random() < 0.3 ? random() * 256 : i % 3));
    if (i % 4 === 0) plain.fill(7);
    const params = { [constants.ZSTD_c_checksumFlag]: i % 2, [constants.ZSTD_c_contentSizeFlag]: (i >> 1) % 2 };
    const frame = zstdCompressSync(plain, { params });
    const packed = Buffer.concat([frame, Buffer.from([0x28, 0xb5, 1, 2, 3])]);
    expect(frameLength(packed)).toBe(frame.length);
    expect(Buffer.compare(decompress(packed, 'zstd', cluster), plain)).toBe(0);
    expect(() => decompress(packed.subarray(0, frame.length - 1 - (i % 5)), 'zstd', cluster)).toThrow();
  }
});

it('what is no file, or no image, is refused', () => {
  expect(() => openImage(dir, 'raw', { readOnly: true })).toThrow(/neither a file nor a block device/);
  expect(() => openImage('/dev/null', 'raw', { readOnly: true })).toThrow(/neither a file nor a block device/);
  expect(() => openImage(join(dir, 'none'), 'raw', { readOnly: true })).toThrow(/no such file/);
  writeFileSync(join(dir, 'text'), 'hello');
  for (const format of ['qcow2', 'vhd']) {
    expect(() => openImage(join(dir, 'text'), format, { readOnly: true })).toThrow(/is no (qcow2|VHD) image/);
  }
  expect(() => openImage(join(dir, 'text'), 'toString', { readOnly: true })).toThrow(/there is no image format/);
});
