/**
 * What every thread that enters the hypervisor sets up: its own instances of the engine runtime and of the hypervisor
 * over the machine's memory. pCPU workers also run guest code; threads of TypeScript domains only make hypercalls, and load
 * nothing of the decoder and the interpreter.
 */

import { createBareEngine, type EngineHost, type Fn } from '../engine/bare.ts';
import { type BootTime, hostClock } from './clock.ts';

/** Of every thread. */
export interface ThreadOptions {
  readonly hypervisor: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly frames: number;
  readonly slot: number;
  /** Engine area of this slot. */
  readonly area: number;
  readonly boot: BootTime;
  /** Seed of the random source in deterministic mode; absent: real entropy. */
  readonly seed?: number;
  readonly log: (text: string) => void;
}

export interface HypervisorExports {
  boot(cpus: number): void;
  cpu_init(slot: number, kind: number): void;
  pcpu_main(): void;
  hypercall(op: number, a1: bigint, a2: bigint, a3: bigint, a4: bigint, a5: bigint): bigint;
  foreign_page(domid: number, mfn: number): number;
  stop_others(): number;
  resume_others(): void;
  ts_domain_create(asked: number, maxEvtchnPort: number, maxMaptrackFrames: number): number;
  ts_thread_attach(slot: number, domid: number, mfn: number, pages: number): number;
  ts_thread_detach(slot: number): number;
  [name: string]: unknown;
}

/** The hypervisor found one of its invariants broken; the machine has stopped. */
export class HypervisorPanic extends Error {}

function randomSource(seed?: number): () => bigint {
  if (seed === undefined) {
    const buf = new BigUint64Array(64);
    let at = buf.length;
    return () => {
      if (at === buf.length) {
        crypto.getRandomValues(buf);
        at = 0;
      }
      return buf[at++];
    };
  }
  // splitmix64: reproducible, for deterministic mode only.
  let s = BigInt(seed);
  const M = (1n << 64n) - 1n;
  return () => {
    s = (s + 0x9e3779b97f4a7c15n) & M;
    let z = s;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & M;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & M;
    return z ^ (z >> 31n);
  };
}

/** Modules `env` and `host` of the hypervisor's imports. */
export function hostImports(o: Pick<ThreadOptions, 'memory' | 'boot' | 'seed' | 'log'>) {
  const random = randomSource(o.seed);
  const i32 = new Int32Array(o.memory.buffer);
  const u8 = new Uint8Array(o.memory.buffer);
  const text = (ptr: number, len: number) => new TextDecoder().decode(u8.slice(ptr >>> 0, (ptr >>> 0) + len));
  return {
    env: {
      memory: o.memory,
      abort: () => {
        throw new HypervisorPanic('hypervisor: abort');
      },
    },
    host: {
      now: hostClock,
      wall: () => o.boot.wall,
      wait: (addr: number, expected: number, timeout: number) => {
        Atomics.wait(i32, addr >>> 2, expected | 0, timeout < 0 ? Number.POSITIVE_INFINITY : timeout / 1e6);
      },
      notify: (addr: number) => {
        Atomics.notify(i32, addr >>> 2);
      },
      log: (ptr: number, len: number) => o.log(text(ptr, len)),
      panic: (ptr: number, len: number) => {
        throw new HypervisorPanic(text(ptr, len));
      },
      random: () => BigInt.asIntN(64, random()),
    },
  };
}

/**
 * The hypervisor's exports on the calling thread; `engine` makes what it imports as module `engine`. pCPUs have whole engines
 * (pcpu.ts).
 */
export function createThread(o: ThreadOptions, engine: (host: EngineHost) => Record<string, Fn>): HypervisorExports {
  const imports = hostImports(o);
  const { now, random } = imports.host;
  const instance = new WebAssembly.Instance(o.hypervisor, {
    ...imports,
    engine: engine({
      now,
      random,
      stopOthers: () => hypervisor.stop_others(),
      resumeOthers: () => hypervisor.resume_others(),
    }) as WebAssembly.ModuleImports,
  });
  const hypervisor = instance.exports as unknown as HypervisorExports;
  return hypervisor;
}

/** On a thread that runs no guest code. */
export const createBareThread = (o: ThreadOptions & { readonly runtime: WebAssembly.Module }): HypervisorExports =>
  createThread(o, (host) => createBareEngine(o.runtime, o.memory, o.area, host));
