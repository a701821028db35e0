/**
 * What of an engine needs no decoder: a pCPU's area, and the runtime's instance, which is all that a thread has which enters the
 * hypervisor but runs no guest code.
 */
import { AreaHeader, areaLayout } from './area.ts';

/** What the engine asks of the machine it is part of (clock, entropy). */
export interface EngineHost {
  /** The host's monotonic clock in ns (MachineInfo.boot_ns says when the machine booted). */
  now(): bigint;
  /** 64 random bits. */
  random(): bigint;
  /** Gets every other pCPU out of guest code and keeps it out; 0: another pCPU is doing so, try again later. */
  stopOthers(): number;
  /** Lets them in again. */
  resumeOthers(): void;
}

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
  set('tlb_bits', l.tlbBits);
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

export type Fn = (...args: never[]) => unknown;

/** Imports `decoder` of the runtime. Machine addresses above 2 GiB arrive as negative numbers. */
export interface DecoderImports extends WebAssembly.ModuleImports {
  translate(cpu: number): number;
  code_table(mfn: number, mode: number): number;
  forget(mfn: number): void;
  flush(): void;
  invalidate(mfn: number, offset: number, len: number): void;
}

/** The runtime's exports over a machine's memory. `mmu_init` is still to be called. */
export function instantiateRuntime(
  runtime: WebAssembly.Module,
  memory: WebAssembly.Memory,
  host: EngineHost,
  decoder: DecoderImports,
): Record<string, Fn> {
  const { exports } = new WebAssembly.Instance(runtime, {
    env: {
      memory,
      abort: () => {
        throw new Error('engine runtime: abort');
      },
    },
    decoder,
    host: {
      now: host.now,
      random: host.random,
      stop_others: host.stopOthers,
      resume_others: host.resumeOthers,
    },
  });
  return exports as Record<string, Fn>;
}

const none = (): never => {
  throw new Error('this thread runs no guest code');
};

/** The runtime without an interpreter, over an area of its own: it walks page tables for the hypervisor. Its area has no code. */
export function createBareEngine(
  runtime: WebAssembly.Module,
  memory: WebAssembly.Memory,
  area: number,
  host: EngineHost,
): Record<string, Fn> & { run(cpu: number): number } {
  const nothing = () => {};
  const decoder = { translate: none, code_table: none, forget: nothing, flush: nothing, invalidate: nothing };
  const rt = instantiateRuntime(runtime, memory, host, decoder);
  (rt.mmu_init as (area: number) => void)(area);
  return { ...rt, run: none };
}
