/** Translations that have a module in common. */
import { describe, expect, it } from 'vitest';
import { EXIT, GPR } from '../../src/engine/state.ts';
import { costOf } from '../../src/engine/translator/code.ts';
import { pack } from '../../src/engine/translator/pack.ts';
import { decodeSaved, encodeSaved, mergeSaved, type Saved } from '../../src/engine/translator/saved.ts';
import { Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const STACK = 0x7fff0000n;
const hex = (s: string) => [...Buffer.from(s.replaceAll(' ', ''), 'hex')];
/** mov eax,n; l: call f; dec ecx; jnz l; ud2; and in the next page f: add rdx,rax; ret */
const first = (n: number) => [0xb8, n & 0xff, n >> 8, 0, 0, ...hex('e8f60f0000 ffc9 75f7 0f0b')];
const second = hex('4801c2 c3');
const pages = (n: number) => CODE + BigInt(n) * 0x2000n;

/** Guest code n is run, from its first page on; `translate` it first. */
function run(s: Sandbox, n: number, translate = false): void {
  const at = pages(n);
  if (s.view.getBigUint64(s.pte(at), true) === 0n) {
    for (const [i, code] of [first(n), second].entries()) {
      s.map(at + BigInt(i) * 4096n);
      s.poke(at + BigInt(i) * 4096n, code);
    }
  }
  const start = () => {
    s.set64('rip', at);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    s.setGpr(GPR.RCX, 10n);
    s.setGpr(GPR.RDX, 0n);
  };
  start();
  if (translate) {
    // Once through, so that both pages are known.
    s.run(at, 5);
    start();
    expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
  }
  expect(s.run(at)).toBe(EXIT.EXCEPTION);
  expect(s.gpr(GPR.RDX)).toBe(BigInt(n * 10));
}

function sandbox(o: ConstructorParameters<typeof Sandbox>[0] = {}): Sandbox {
  const s = new Sandbox(o);
  s.map(STACK);
  return s;
}

/** So many translations, each a module by itself. */
function made(count: number): Saved[] {
  const s = sandbox();
  for (let n = 1; n <= count; n++) run(s, n, true);
  return decodeSaved(s.engine.translator!.save()).filter((t) => t.others.length);
}

/** In modules of so many. */
function packed(list: readonly Saved[], size: number): Uint8Array {
  const out: Saved[] = [];
  for (let at = 0; at < list.length; at += size) {
    const of = list.slice(at, at + size);
    const from = { wasm: pack(of), code: Uint8Array.of(1), functions: of.length };
    out.push(...of.map((t, index) => ({ ...t, from, index })));
  }
  return encodeSaved(out);
}

const compiled = (wasm: Uint8Array, code: Uint8Array) =>
  code.length ? new WebAssembly.Module(wasm.slice()) : undefined;

describe('a pack of translations', () => {
  const list = made(20);

  it('serves a later engine, with one instance for all, each of which finds its own pages', () => {
    expect(list).toHaveLength(20);
    let modules = 0;
    const count = (wasm: Uint8Array, code: Uint8Array) => {
      modules++;
      return compiled(wasm, code);
    };
    const s = sandbox({ translations: packed(list, 10), compiled: count });
    for (let round = 0; round < 2; round++) for (let n = 20; n > 0; n--) run(s, n);
    const t = s.engine.translator!;
    expect(modules).toBe(2);
    expect(t.stats.translated).toBe(0);
    expect(t.regionStats).toMatchObject({ installed: 20, bound: 20 });
    expect(t.used()).toHaveLength(20);
    // One that is patched goes; the others stay.
    s.poke(pages(7) + 1n, [8]);
    run(s, 6);
    s.set64('rip', pages(7));
    s.setGpr(GPR.RSP, STACK + 0x800n);
    s.setGpr(GPR.RCX, 10n);
    s.setGpr(GPR.RDX, 0n);
    s.run(pages(7));
    expect(s.gpr(GPR.RDX)).toBe(80n);
    expect(t.regionStats.dropped).toBe(1);
  });

  it('is not compiled while the guest waits: without its machine code it is as if it were not there', () => {
    const s = sandbox({ translations: packed(list, 10), compiled: () => undefined });
    run(s, 1);
    expect(s.engine.translator!.regionStats.installed).toBe(0);
    run(s, 1, true);
    expect(s.engine.translator!.stats.translated).toBeGreaterThan(0);
  });

  it('is forgotten as a whole when the memory is full, and what it had is made again', () => {
    const many = made(200);
    const saved = packed(many, 5);
    const cost = costOf(decodeSaved(saved)[0].from);
    expect(40 * cost).toBeGreaterThan(8 * 2 ** 20);
    const s = sandbox({ translations: saved, compiled, translationMiB: 4 });
    const { stats } = s.engine.translator!;
    for (let n = 1; n <= 200; n++) {
      run(s, n);
      s.engine.translator!.sample(s.cpu);
    }
    expect(stats.evictions).toBeGreaterThan(1);
    expect(stats.translated).toBe(0);
    for (let n = 1; n <= 200; n++) run(s, n, true);
    expect(stats.translated).toBeGreaterThan(100);
  });

  it('that would take much of the memory is not used', () => {
    const s = sandbox({ translations: packed(list, 20), compiled, translationMiB: 1 });
    run(s, 1);
    expect(s.engine.translator!.regionStats.installed).toBe(0);
  });

  it('is saved whole, once, and goes when none of it is used any more', () => {
    const saved = decodeSaved(packed(list, 10));
    const aged = saved.map((t, n) => ({ ...t, age: n < 10 ? n : 9 }));
    expect(encodeSaved(aged)).toHaveLength(packed(list, 10).length);
    expect(mergeSaved([aged, list], 2 ** 30)).toHaveLength(20);
    expect(mergeSaved([aged], 2 ** 30, 10)).toEqual(aged.slice(0, 10));
  });

  it('is refused with a function that it does not have', () => {
    const saved = decodeSaved(packed(list, 10));
    expect(decodeSaved(encodeSaved([{ ...saved[0], index: 10 }]))).toEqual([]);
    const from = { ...saved[0].from, functions: 11 };
    const s = sandbox({ translations: encodeSaved([{ ...saved[0], from, index: 10 }]), compiled });
    run(s, 1);
    expect(s.engine.translator!.regionStats.installed).toBe(0);
  });
});
