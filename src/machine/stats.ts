/** Counts that the hypervisor keeps in machine memory (src/hypervisor/stats.ts), by name. */
import { HYPERCALL } from '../abi/xen.ts';
import { EXIT } from '../engine/state.ts';
import { MACHINE_INFO_ADDRESS, MachineInfo } from './layout.ts';

export interface MachineStats {
  /** Guest instructions retired, and data TLB misses of guests. */
  readonly instructions: bigint;
  readonly tlbMisses: bigint;
  readonly hypercalls: ReadonlyMap<string, bigint>;
  /** Why guest code was left (EXIT). */
  readonly exits: ReadonlyMap<string, bigint>;
  /** Exceptions of guest code, by vector. */
  readonly exceptions: ReadonlyMap<string, bigint>;
}

/** Layout of the hypervisor's table: u64 each. */
const EXITS = 0;
const EXCEPTIONS = 128;
const HYPERCALLS = 384;
const INSTRUCTIONS = 896;
const TLB_MISSES = 904;

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

/** The counts of now. */
export function readStats(memory: WebAssembly.Memory): MachineStats {
  const view = new DataView(memory.buffer);
  const table = view.getUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.stats, true);
  const at = (offset: number) => (table === 0 ? 0n : view.getBigUint64(table + offset, true));
  const counts = (base: number, length: number, name: (i: number) => string) =>
    new Map(Array.from({ length }, (_, i) => [name(i), at(base + i * 8)] as const).filter(([, n]) => n > 0n));
  const nameOf = (names: Record<string, number>, i: number) =>
    Object.keys(names).find((name) => names[name] === i) ?? `${i}`;
  return {
    instructions: at(INSTRUCTIONS),
    tlbMisses: at(TLB_MISSES),
    hypercalls: counts(HYPERCALLS, 64, (i) => nameOf(HYPERCALL, i)),
    exits: counts(EXITS, 16, (i) => nameOf(EXIT, i)),
    exceptions: counts(EXCEPTIONS, 32, (i) => VECTORS[i] ?? `vector ${i}`),
  };
}
