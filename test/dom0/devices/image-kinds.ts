/** Every kind of disk image that can be written, as the tests of formats make and open them. */
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { openImage } from '../../../src/dom0/backends/block/formats/formats.ts';
import { createQcow2 } from '../../../src/dom0/backends/block/formats/qcow2/create.ts';
import { createVhd } from '../../../src/dom0/backends/block/formats/vhd/create.ts';
import type { BlockImage } from '../../../src/dom0/backends/block/image.ts';

export interface ImageKind {
  readonly name: string;
  readonly format: string;
  /** Makes `path`, of `size` bytes; returns what the guest reads at first. */
  create(path: string, size: number): Uint8Array;
}

/** What lies behind an image: smaller than it by some sectors. */
function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 9)) & 0xff);
}

function behind(path: string, size: number, make: (path: string) => void): Uint8Array {
  const short = size - 5 * 512;
  const below = new Uint8Array(size);
  below.set(pattern(short));
  make(`${path}.base`);
  return below;
}

const rawBase = (path: string, size: number) =>
  behind(path, size, (base) => writeFileSync(base, pattern(size - 5 * 512)));

const qcow2 = (name: string, options: { version?: 2 | 3; clusterBits?: number; backing?: boolean }): ImageKind => ({
  name,
  format: 'qcow2',
  create(path, size) {
    const content = options.backing ? rawBase(path, size) : new Uint8Array(size);
    const backing = options.backing ? { name: basename(`${path}.base`), format: 'raw' } : undefined;
    createQcow2(path, { ...options, size, backing });
    return content;
  },
});

export const IMAGE_KINDS: readonly ImageKind[] = [
  {
    name: 'raw',
    format: 'raw',
    create(path, size) {
      writeFileSync(path, new Uint8Array(size));
      return new Uint8Array(size);
    },
  },
  qcow2('qcow2', {}),
  qcow2('qcow2 with small clusters', { clusterBits: 9 }),
  qcow2('qcow2 version 2', { version: 2, clusterBits: 12 }),
  qcow2('qcow2 with a backing file', { clusterBits: 12, backing: true }),
  qcow2('qcow2 version 2 with a backing file', { version: 2, backing: true }),
  ...(['fixed', 'dynamic'] as const).map(
    (type): ImageKind => ({
      name: `vhd ${type}`,
      format: 'vhd',
      create(path, size) {
        createVhd(path, { size, type });
        return new Uint8Array(size);
      },
    }),
  ),
  {
    name: 'vhd differencing',
    format: 'vhd',
    create(path, size) {
      const content = new Uint8Array(size);
      const base = `${path}.base`;
      createVhd(base, { size });
      content.set(pattern(size / 2), 512 * 3);
      const image = openImage(base, 'vhd', { readOnly: false });
      image.write(512 * 3, [content.subarray(512 * 3, 512 * 3 + size / 2)]);
      image.close();
      createVhd(path, { size, parent: { name: basename(base), path: base } });
      return content;
    },
  },
];

export const readAll = (image: BlockImage): Uint8Array => {
  const all = new Uint8Array(image.size);
  image.read(0, [all]);
  return all;
};

/** Pieces of whole sectors, as a ring's segments are. */
export function scatter(bytes: Uint8Array, random: () => number): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const n = Math.min(bytes.length - at, 512 * (1 + Math.floor(random() * 8)));
    out.push(bytes.subarray(at, at + n));
    at += n;
  }
  return out;
}

/** Numbers from 0 to 1, the same for a seed. */
export function rng(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1_664_525) + 1_013_904_223) >>> 0;
    return s / 2 ** 32;
  };
}
