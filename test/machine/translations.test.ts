/** Translations with their machine code, from one machine to the next, and of two domains with one kernel. */
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

/** What a machine of one pCPU counted that ran so many guests at once; all of them must have computed the same. */
async function work(store: TranslationStore, guests = 1, linger = 0): Promise<Record<string, number>> {
  const host = await Host.create({ memoryMiB: 256, pcpus: 1, translations: store });
  try {
    const all = Array.from({ length: guests }, (_, i) => createLoad(host, `load${i}`, 'work 30'));
    for (const { domain } of all) domain.unpause();
    const deadline = performance.now() + 30_000;
    const sums = () => all.map((g) => /sum.*/.exec(g.output())?.[0]);
    while (sums().includes(undefined) && performance.now() < deadline) await sleep(20);
    expect(sums()[0]).toBeDefined();
    expect(new Set(sums()).size).toBe(1);
    await sleep(linger);
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
    expect(t.from.code).toEqual(codeOf(new WebAssembly.Module(t.from.wasm.slice())));
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

it('are packed in a quiet time, and serve the next machine from there', async () => {
  const store = new Kept();
  await work(store);
  const saved = decodeSaved(store.bytes);
  // As many as a pack has, and some, for code that no guest has but the first.
  const others = Array.from({ length: 80 }, (_, n) => ({ ...saved[0], bytes: saved[0].bytes.map((b) => b ^ (n + 1)) }));
  // And as many before these among which is one that is no module.
  const cut = { ...saved[0].from, wasm: saved[0].from.wasm.subarray(0, 90) };
  const damaged = { ...saved[0], bytes: saved[0].bytes.map((b) => b ^ 0xff), from: cut };
  const refused = Array.from({ length: 63 }, (_, n) => ({
    ...saved[0],
    bytes: saved[0].bytes.map((b) => b ^ (n + 100)),
    from: { ...saved[0].from },
  }));
  store.bytes = encodeSaved([damaged, ...refused, ...saved, ...others]);
  await work(store, 1, 3000);
  const packed = decodeSaved(store.bytes).filter((t) => t.from.functions > 1);
  expect(packed).toHaveLength(64);
  expect(new Set(packed.map((t) => t.from)).size).toBe(1);
  expect(packed.filter((t) => t.age === 0)).toHaveLength(saved.length);
  expect(packed[0].from.code).toEqual(codeOf(new WebAssembly.Module(packed[0].from.wasm.slice())));
  const third = await work(store);
  expect(third['translations put in place']).toBeGreaterThan(0);
  expect(third['bytes of wasm']).toBeGreaterThanOrEqual(packed[0].from.wasm.length);
  expect(third['translations made']).toBeLessThanOrEqual(1);
}, 30_000);

it('are made once for two domains with one kernel', async () => {
  const alone = await work(new Kept());
  const both = await work(new Kept(), 2);
  expect(both['pages shared']).toBeGreaterThan(0);
  expect(both['translations made']).toBeLessThan(2 * alone['translations made']);
});
