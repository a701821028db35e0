/** What the engines' areas take of a machine. */
import { expect, it } from 'vitest';
import { areaLayout, arenaSize } from '../../src/engine/area.ts';

it.each([
  [128, 8],
  [1536, 64],
])('a machine of %i MiB has room for %i pCPUs', (memoryMiB, pcpus) => {
  const frames = memoryMiB * 256;
  const size = (arena: number) => areaLayout(0, frames, arena).size;
  // Machine.create asks for less than half; dom0's thread decodes nothing.
  expect(size(arenaSize(frames, pcpus)) * pcpus + size(1 << 16)).toBeLessThan(memoryMiB * 2 ** 19);
});
