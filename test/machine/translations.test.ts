/** Translations with their machine code, from one machine to the next. */
import { expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import type { TranslationStore } from '../../src/dom0/translations.ts';
import { decodeSaved, encodeSaved } from '../../src/engine/translator/saved.ts';
import { codeOf } from '../../src/machine/machine-code.ts';
import { createLoad, sleep } from '../guests/load-guest.ts';

class Kept implements TranslationStore {
  bytes = new Uint8Array();
  load = () => this.bytes;
  async save(b: Uint8Array<ArrayBuffer>): Promise<void> {
    this.bytes = b;
  }
}

/** What a machine counted that ran the guest. */
async function work(store: TranslationStore): Promise<Record<string, number>> {
  const host = await Host.create({ memoryMiB: 256, pcpus: 1, translations: store });
  try {
    const { domain, output } = createLoad(host, 'load', 'work 30');
    domain.unpause();
    const deadline = performance.now() + 30_000;
    while (!output().includes('sum') && performance.now() < deadline) await sleep(20);
    expect(output()).toContain('sum');
  } finally {
    await host.stop();
  }
  return host.machine.decoderStats[0];
}

it('serve the next machine, which says what it used', async () => {
  const store = new Kept();
  const first = await work(store);
  expect(first['translations made']).toBeGreaterThan(0);
  const saved = decodeSaved(store.bytes);
  expect(saved.length).toBeGreaterThan(0);
  for (const t of saved) {
    expect(t.age).toBe(0);
    expect(t.code).toEqual(codeOf(new WebAssembly.Module(t.wasm.slice())));
  }

  // One more that nobody has a use for.
  const other = { ...saved[0], bytes: saved[0].bytes.map((b) => b ^ 0xff) };
  store.bytes = encodeSaved([other, ...saved]);
  const second = await work(store);
  expect(second['translations put in place']).toBeGreaterThan(0);
  expect(second['translations made']).toBeLessThan(first['translations made']);
  const ages = decodeSaved(store.bytes).map((t) => t.age);
  expect(ages).toContain(0);
  expect(ages).toContain(1);
});
