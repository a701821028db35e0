/**
 * One pCPU's engine: the runtime, the interpreter and the decoder over a shared machine memory and a private engine area.
 * `exports` is what the hypervisor imports as module "engine".
 */
import { areaLayout } from './area.ts';
import { type EngineHost, type Fn, instantiateRuntime } from './bare.ts';
import { type CacheRuntime, CodeCache } from './decode/code-cache.ts';
import { TRANSLATION_MIB } from './translator/library.ts';
import type { Maker, Workshop } from './translator/maker.ts';
import { Translator, type TranslatorOptions } from './translator/translator.ts';

/** The built parts, loaded by the platform (files in Node, fetch in a browser). Modules can be posted to workers. */
export interface EngineParts {
  readonly runtime: WebAssembly.Module;
  readonly interpreter: WebAssembly.Module;
  /** The decoder's tables (decode-tables.ts). */
  readonly decoder: Uint8Array;
}

export interface EngineOptions extends EngineParts {
  readonly memory: WebAssembly.Memory;
  /** Address of this pCPU's engine area (area.ts) and the machine's number of frames. */
  readonly area: number;
  readonly frames: number;
  readonly arenaSize?: number;
  /** Memory for translated code in MiB; 0: everything is interpreted. Default 200. */
  readonly translationMiB?: number;
  /** Translations that an earlier engine saved. */
  readonly translations?: Uint8Array;
  /** Another thread that translates, or who does on this one: one of them, if there is memory for translations. */
  readonly workshop?: Workshop;
  readonly maker?: Pick<Maker, 'make'>;
  /** As in TranslatorOptions. */
  readonly compiled?: TranslatorOptions['compiled'];
  readonly host: EngineHost;
}

export interface Engine {
  readonly cache: CodeCache;
  /** Undefined: everything is interpreted. */
  readonly translator: Translator | undefined;
  /** run(cpu) and the runtime's exports. */
  readonly exports: Record<string, Fn> & { run(cpu: number): number };
}

export function createEngine(o: EngineOptions): Engine {
  const cache = new CodeCache(o.memory, areaLayout(o.area, o.frames, o.arenaSize), o.decoder);
  let translator: Translator | undefined;
  const rt = instantiateRuntime(o.runtime, o.memory, o.host, {
    translate: (cpu: number) => cache.translate(cpu >>> 0),
    code_table: (mfn: number, mode: number) => cache.codeTable(mfn, mode as 0 | 1),
    forget: (mfn: number) => cache.forget(mfn),
    flush: () => cache.flush(),
    invalidate: (mfn: number, offset: number, len: number) => cache.invalidate(mfn, offset, len),
  });
  cache.rt = rt as unknown as CacheRuntime;
  const interpreter = new WebAssembly.Instance(o.interpreter, {
    env: { memory: o.memory },
    runtime: rt as WebAssembly.ModuleImports,
    decoder: {
      step: (cpu: number) => cache.step(cpu >>> 0),
      straddle: (cpu: number, rec: number) => cache.straddle(cpu >>> 0, rec >>> 0),
      own_handler: (rec: number) => cache.translations?.ownHandler(rec >>> 0),
      sample: (cpu: number) => translator?.sample(cpu >>> 0),
      gap: (cpu: number) => translator?.gap(cpu >>> 0),
    },
  });
  const limitMiB = o.translationMiB ?? TRANSLATION_MIB;
  if (limitMiB > 0) {
    translator = new Translator({
      memory: o.memory,
      cache,
      table: interpreter.exports.table as WebAssembly.Table,
      engine: interpreter.exports as WebAssembly.ModuleImports,
      runtime: rt as WebAssembly.ModuleImports,
      limitMiB,
      workshop: o.workshop,
      maker: o.maker,
      compiled: o.compiled,
    });
    if (o.translations) translator.restore(o.translations);
  }
  (rt.mmu_init as (area: number) => void)(o.area);
  return { cache, translator, exports: { ...rt, run: interpreter.exports.run as (cpu: number) => number } };
}
