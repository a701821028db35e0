/**
 * Threads of TypeScript domains besides dom0's: how one gets its CPU slot, enters the hypervisor, and is stopped.
 *
 * A thread may be killed at any instruction, but not inside the hypervisor, where it may hold a lock. So every call passes
 * a gate: a word that says "inside", and one that says "no more". Who stops a thread closes the gate, waits until nobody is
 * inside, which no hypercall of such a domain takes long to reach, and then ends it. A thread that finds the gate closed
 * stays in front of it: it must not go on and tidy up, as its successor takes over what it leaves.
 */
import type { BootTime } from './clock.ts';
import { type HypervisorExports, hostImports } from './hypervisor-thread.ts';

/** Words of the gate. */
const INSIDE = 0;
const CLOSED = 1;
/** How often the gate is looked at while a thread is inside, in ms, and when it is taken to be lost there. */
const GATE_POLL_MS = 1;
const GATE_LIMIT_MS = 10_000;

/** What a thread needs to enter the hypervisor; can be posted to a Worker. */
export interface DomainThreadData {
  readonly hypervisor: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly slot: number;
  readonly boot: BootTime;
  readonly gate: SharedArrayBuffer;
}

export const newGate = (): SharedArrayBuffer => new SharedArrayBuffer(8);

/** Closes the gate; when this resolves, the thread is outside the hypervisor for good. */
export async function closeGate(gate: SharedArrayBuffer): Promise<void> {
  const words = new Int32Array(gate);
  Atomics.store(words, CLOSED, 1);
  const deadline = Date.now() + GATE_LIMIT_MS;
  while (Atomics.load(words, INSIDE) !== 0) {
    if (Date.now() > deadline) throw new Error('a domain’s thread does not come out of the hypervisor');
    await new Promise((resolve) => setTimeout(resolve, GATE_POLL_MS));
  }
}

/** What dom0/kernel builds on, as of a Machine: hypercalls of the domain that is attached to the slot. */
export interface DomainPort {
  readonly memory: WebAssembly.Memory;
  readonly hypervisor: HypervisorExports;
  hypercall(op: number, a1?: bigint, a2?: bigint, a3?: bigint, a4?: bigint, a5?: bigint): bigint;
}

/** Enters the hypervisor on the calling thread, once. It runs no guest code and so has no engine. */
export function enterHypervisor(data: DomainThreadData, log: (text: string) => void): DomainPort {
  const engine: Record<string, () => never> = {};
  for (const { module, name } of WebAssembly.Module.imports(data.hypervisor)) {
    if (module !== 'engine') continue;
    engine[name] = () => {
      throw new Error(`${name}: this thread has no engine`);
    };
  }
  const instance = new WebAssembly.Instance(data.hypervisor, {
    ...hostImports({ memory: data.memory, boot: data.boot, log }),
    engine,
  });
  const exports = instance.exports as unknown as HypervisorExports;
  const words = new Int32Array(data.gate);
  const guarded =
    <A extends unknown[], R>(f: (...args: A) => R) =>
    (...args: A): R => {
      Atomics.store(words, INSIDE, 1);
      if (Atomics.load(words, CLOSED) !== 0) {
        Atomics.store(words, INSIDE, 0);
        for (;;) Atomics.wait(words, CLOSED, 1);
      }
      try {
        return f(...args);
      } finally {
        Atomics.store(words, INSIDE, 0);
      }
    };
  const hypervisor: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(exports)) {
    if (typeof value === 'function') hypervisor[name] = guarded(value as (...args: unknown[]) => unknown);
  }
  (hypervisor.cpu_init as HypervisorExports['cpu_init'])(data.slot, 1);
  const call = hypervisor.hypercall as HypervisorExports['hypercall'];
  return {
    memory: data.memory,
    hypervisor: hypervisor as unknown as HypervisorExports,
    hypercall: (op, a1 = 0n, a2 = 0n, a3 = 0n, a4 = 0n, a5 = 0n) => call(op, a1, a2, a3, a4, a5),
  };
}
