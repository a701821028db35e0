/**
 * One pCPU's engine: the runtime, the interpreter and the decoder over a shared machine memory and a private engine area.
 * `exports` is what the hypervisor imports as module "engine".
 */
import { AreaHeader, areaLayout } from './area.ts';
import { type CacheRuntime, CodeCache } from './decode/code-cache.ts';
import type { Maker, Workshop } from './translator/maker.ts';
import { Translator, type TranslatorOptions } from './translator/translator.ts';

/** What the engine asks of the machine it is part of (clock, entropy). */
export interface EngineHost {
  /** Nanoseconds since machine boot. */
  now(): number;
  /** 64 random bits. */
  random(): bigint;
  /** Gets every other pCPU out of guest code and keeps it out; 0: another pCPU is doing so, try again later. */
  stopOthers(): number;
  /** Lets them in again. */
  resumeOthers(): void;
}

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

export const TRANSLATION_MIB = 200;

/** Among whom the code owners are shared: their address, this pCPU's number (0 to 63), and how many there are. */
export interface AreaSharing {
  readonly codeOwners: number;
  readonly cpu: number;
  readonly cpus: number;
}

/** Write an area's header; once, before the only engine that ever uses it. Its memory is zero. */
export function prepareArea(
  memory: WebAssembly.Memory,
  area: number,
  frames: number,
  sharing: AreaSharing,
  arenaSize?: number,
): void {
  const l = areaLayout(area, frames, arenaSize);
  const v = new DataView(memory.buffer, area);
  const set = (name: keyof typeof AreaHeader.off, value: number) => v.setUint32(AreaHeader.off[name], value, true);
  set('contexts', l.contexts);
  set('tlbs', l.tlbs);
  set('xtlbs', l.xtlbs);
  set('xglobals', l.xglobals);
  set('jumps', l.jumps);
  set('write_map', l.writeMap);
  set('code_map', l.codeMap);
  v.setBigUint64(AreaHeader.off.own_bit, 1n << BigInt(sharing.cpu), true);
  set('code_owners', sharing.codeOwners);
  set('shared', sharing.cpus > 1 ? 1 : 0);
  set('decoder', l.decoder);
  set('arena', l.arena);
  set('arena_end', l.arenaEnd);
  set('arena_used', l.arena);
  set('mem_frames', frames);
}

type Fn = (...args: never[]) => unknown;

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
  const runtime = new WebAssembly.Instance(o.runtime, {
    env: {
      memory: o.memory,
      abort: () => {
        throw new Error('engine runtime: abort');
      },
    },
    decoder: {
      // Machine addresses above 2 GiB arrive as negative numbers.
      translate: (cpu: number) => cache.translate(cpu >>> 0),
      code_table: (mfn: number, mode: number) => cache.codeTable(mfn, mode as 0 | 1),
      forget: (mfn: number) => cache.forget(mfn),
      flush: () => cache.flush(),
      invalidate: (mfn: number, offset: number, len: number) => cache.invalidate(mfn, offset, len),
    },
    host: {
      now: o.host.now,
      random: () => o.host.random(),
      stop_others: () => o.host.stopOthers(),
      resume_others: () => o.host.resumeOthers(),
    },
  });
  const rt = runtime.exports as Record<string, Fn>;
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
