/** A pCPU's half of the hypervisor's thread: an engine with all that runs guest code. */
import { createEngine, type Engine, type EngineOptions, type EngineParts } from '../engine/engine.ts';
import { createThread, type HypervisorExports, type ThreadOptions } from './hypervisor-thread.ts';
import { moduleOf } from './machine-code.ts';
import { type WorkshopEnd, workshopAt } from './workshop.ts';

export interface PcpuOptions extends ThreadOptions {
  readonly arenaSize: number;
  /** As in MachineOptions. */
  readonly translationMiB?: number;
  readonly translations?: Uint8Array;
  /** Where translations are made; absent: on this thread, by `maker`. */
  readonly workshop?: WorkshopEnd;
  readonly maker?: EngineOptions['maker'];
}

export function createPcpu(o: PcpuOptions, parts: EngineParts): { engine: Engine; hypervisor: HypervisorExports } {
  let engine: Engine | undefined;
  const hypervisor = createThread(o, (host) => {
    engine = createEngine({ ...o, ...parts, compiled: moduleOf, workshop: o.workshop && workshopAt(o.workshop), host });
    return engine.exports;
  });
  return { engine: engine!, hypervisor };
}
