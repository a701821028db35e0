/** The statistics that the hypervisor keeps in machine memory (stats-table.ts), summed over all CPUs, by name. */
import { HYPERCALL } from '../abi/xen.ts';
import { ENGINE_COUNTERS } from '../engine/counters.ts';
import { EXIT } from '../engine/state.ts';
import { MACHINE_INFO_ADDRESS, MachineInfo } from './layout.ts';
import { CpuStats } from './stats-table.ts';

export interface Count {
  readonly count: bigint;
  /** Nanoseconds in all; 0n unless the machine takes times (MachineOptions.timing). */
  readonly ns: bigint;
}

export interface MachineStats {
  /** Guest instructions retired. */
  readonly instructions: bigint;
  /** What the engine counts, by what it is (ENGINE_COUNTERS). */
  readonly engine: ReadonlyMap<string, bigint>;
  /** By name (HYPERCALL). A multicall's time contains its parts'. */
  readonly hypercalls: ReadonlyMap<string, Count>;
  /** Why guest code was left (EXIT), and how long what it asked for took. */
  readonly exits: ReadonlyMap<string, Count>;
  /** Exceptions of guest code, by vector. */
  readonly exceptions: ReadonlyMap<string, bigint>;
  /** Nanoseconds in guest code, translating included; 0n without timing. */
  readonly guestNs: bigint;
}

const VECTORS: Record<number, string> = {
  0: '#DE',
  1: '#DB',
  3: '#BP',
  6: '#UD',
  7: '#NM',
  8: '#DF',
  10: '#TS',
  11: '#NP',
  12: '#SS',
  13: '#GP',
  14: '#PF',
  16: '#MF',
  17: '#AC',
  19: '#XM',
};

const nameOf = (names: Record<string, number>, i: number) =>
  Object.keys(names).find((name) => names[name] === i) ?? `${i}`;

type StatsField = keyof typeof CpuStats.off;

/** The counts of now. */
export function readStats(memory: WebAssembly.Memory): MachineStats {
  const view = new DataView(memory.buffer);
  const info = (name: keyof typeof MachineInfo.off) =>
    view.getUint32(MACHINE_INFO_ADDRESS + MachineInfo.off[name], true);
  const table = info('stats');
  const slots = table === 0 ? 0 : info('slots');
  const sum = (field: StatsField, i = 0) => {
    let total = 0n;
    for (let slot = 0; slot < slots; slot++)
      total += view.getBigUint64(table + slot * CpuStats.size + CpuStats.off[field] + i * 8, true);
    return total;
  };
  const length = (field: StatsField) => CpuStats.fields.find((f) => f.name === field)!.count;
  const named = <T>(field: StatsField, name: (i: number) => string, value: (i: number) => T) =>
    new Map(
      Array.from({ length: length(field) }, (_, i) => i)
        .filter((i) => sum(field, i) > 0n)
        .map((i) => [name(i), value(i)] as const),
    );
  const counted = (field: StatsField, ns: StatsField) => (i: number) => ({ count: sum(field, i), ns: sum(ns, i) });
  return {
    instructions: sum('instructions'),
    engine: new Map(ENGINE_COUNTERS.map(({ what }, i) => [what, sum('engine', i)])),
    hypercalls: named('hypercalls', (i) => nameOf(HYPERCALL, i), counted('hypercalls', 'hypercall_ns')),
    exits: named('exits', (i) => nameOf(EXIT, i), counted('exits', 'exit_ns')),
    exceptions: named(
      'exceptions',
      (i) => VECTORS[i] ?? `vector ${i}`,
      (i) => sum('exceptions', i),
    ),
    guestNs: sum('guest_ns'),
  };
}
