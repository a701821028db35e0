/**
 * The test guests on Xenolith, line by line as under real Xen (expected/ is recorded there, see real-xen.ts). Afterwards
 * every frame is back.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { runGuest } from './run-guest.ts';
import { expectedPath, imagePath, MEMORY_MIB, RUNS } from './runs.ts';

let host: Host;
let failure: Error | undefined;

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1, checkLocks: true });
  host.onFailure((e) => {
    failure = e;
  });
  // A second domain, whose frames the page-table guest may not map.
  host.toolstack.create({
    name: 'neighbour',
    memoryMiB: MEMORY_MIB,
    vcpus: 1,
    kernel: new Uint8Array(readFileSync(imagePath(RUNS[0]))),
    kernelName: 'neighbour',
    cmdline: '',
  });
});
afterAll(() => host?.stop());

describe('test guests', () => {
  it.each(RUNS.map((r) => [r.name, r] as const))('%s', async (_, r) => {
    const result = await runGuest(host, r);
    expect(result.transcript).toBe(readFileSync(expectedPath(r), 'utf8'));
    expect(result.freeAfter).toBe(result.freeBefore);
    expect(failure).toBeUndefined();
  });
});
