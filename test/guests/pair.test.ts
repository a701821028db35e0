/** Two domains that map, copy and transfer each other's pages at the same time, on two pCPUs and on one. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { MEMORY_MIB } from './runs.ts';

const kernel = new Uint8Array(readFileSync(new URL('./images/pair.elf', import.meta.url)));

it.each([
  [2, 25],
  [1, 6],
])('on %i pCPUs', { timeout: 60_000 }, async (pcpus, rounds) => {
  const host = await Host.create({ memoryMiB: 128, pcpus });
  try {
    const free = () => host.xen.sysctl.physInfo().freePages;
    // What the control domain makes once, on first use.
    const texts: string[] = [];
    const before = free();
    const guests = [1, 2].map((peer) => {
      const domain = host.toolstack.create({
        name: `pair${peer}`,
        memoryMiB: MEMORY_MIB,
        vcpus: 1,
        kernel,
        kernelName: 'pair.elf',
        cmdline: `peer=${peer} rounds=${rounds}`,
        onReboot: 'preserve',
        onCrash: 'preserve',
      });
      const chunks: Uint8Array[] = [];
      domain.console.attach({ paces: false, write: (b) => chunks.push(b.slice()) > 0, onDrain: () => {} });
      return { domain, text: () => Buffer.concat(chunks).toString('latin1').replaceAll('\r', '') };
    });
    expect(guests[1].domain.domid).toBe(guests[0].domain.domid + 1);
    for (const g of guests) g.domain.unpause();
    for (const g of guests) {
      expect(await g.domain.ended).toBe('poweroff');
      g.domain.console.event();
      texts.push(g.text());
    }
    for (const text of texts) {
      expect(text).toContain(`mapped ${rounds * 8}, copied ${rounds * 16}, transferred ${rounds}\n`);
      expect(text).toContain('Test result: SUCCESS');
    }
    for (const g of guests) g.domain.destroy();
    expect(free()).toBe(before);
  } finally {
    await host.stop();
  }
});
