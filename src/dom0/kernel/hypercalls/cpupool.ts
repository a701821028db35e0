/** sysctl cpupool_op (public/sysctl.h): groups of pCPUs, each with a scheduler and domains of its own. */
import { ERRNO } from '../../../abi/errno.ts';
import { CPUPOOL_OP, CPUPOOL_PAR_ANY, SysctlCpupoolOp } from '../../../abi/sysctl.ts';
import { XenctlBitmap } from '../../../abi/xen.ts';
import { HypercallError, type Hypercalls, type Scratch } from '../hypercalls.ts';
import type { StructView } from '../memory.ts';

export interface CpuPool {
  readonly id: number;
  /** XEN_SCHEDULER. */
  readonly scheduler: number;
  readonly domains: number;
  /** Bit n: pCPU n. */
  readonly cpus: bigint;
}

type Argument = StructView<keyof typeof SysctlCpupoolOp.off>;

/** Bits of a map of pCPUs: as many as the hypervisor can have. */
const MAX_CPUS = 64;

/**
 * Pool 0 is made at boot with every pCPU; domains are created in the pool that createdomain names. Errors are Xen's:
 * ENOENT no such pool, EBUSY a domain needs it, ENODEV the pCPU is not free (add) or not in the pool (remove).
 */
export class CpupoolCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  private op<T = void>(
    op: keyof typeof CPUPOOL_OP,
    fill: (u: Argument, s: Scratch) => void,
    result?: (u: Argument) => T,
  ): T {
    return this.xen.sysctl.op(
      'cpupool_op',
      SysctlCpupoolOp,
      (u, s) => fill(u.set('op', CPUPOOL_OP[op]), s),
      (u) => result?.(u) as T,
    );
  }

  /** An empty pool with scheduler `scheduler` (XEN_SCHEDULER); its id, which is the lowest that is free if none is given. */
  create(scheduler: number, id: number = CPUPOOL_PAR_ANY): number {
    return this.op(
      'CREATE',
      (u) => u.set('cpupool_id', id).set('sched_id', scheduler),
      (u) => u.get('cpupool_id'),
    );
  }

  /** The pool must have neither domains nor pCPUs. */
  destroy(id: number): void {
    this.op('DESTROY', (u) => u.set('cpupool_id', id));
  }

  /** The pool `id` or the next one after it; undefined: there is none. */
  private from(id: number): CpuPool | undefined {
    let map = 0;
    try {
      return this.op(
        'INFO',
        (u, s) => {
          map = s.bitmap(0n, MAX_CPUS);
          u.set('cpupool_id', id);
          u.nested('cpumap', XenctlBitmap).set('bitmap', map).set('nr_bits', MAX_CPUS);
        },
        (u) => ({
          id: u.get('cpupool_id'),
          scheduler: u.get('sched_id'),
          domains: u.get('n_dom'),
          cpus: this.xen.memory.view.getBigUint64(map, true),
        }),
      );
    } catch (e) {
      if (e instanceof HypercallError && e.errno === ERRNO.ENOENT) return undefined;
      throw e;
    }
  }

  /** The pool `id`; undefined: there is none. */
  info(id: number): CpuPool | undefined {
    const pool = this.from(id);
    return pool?.id === id ? pool : undefined;
  }

  /** Every pool, in ascending order. */
  list(): CpuPool[] {
    const out: CpuPool[] = [];
    for (let pool = this.from(0); pool; pool = this.from(pool.id + 1)) out.push(pool);
    return out;
  }

  /** Puts a free pCPU (undefined: any) into the pool. */
  addCpu(id: number, cpu: number = CPUPOOL_PAR_ANY): void {
    this.op('ADDCPU', (u) => u.set('cpupool_id', id).set('cpu', cpu));
  }

  /** Takes a pCPU (undefined: any) out; vCPUs that may run on no other of the pool lose their hard affinity. */
  removeCpu(id: number, cpu: number = CPUPOOL_PAR_ANY): void {
    this.op('RMCPU', (u) => u.set('cpupool_id', id).set('cpu', cpu));
  }

  /** Moves a domain (not domain 0) into a pool that has pCPUs. Its scheduling parameters become that scheduler's defaults. */
  moveDomain(id: number, domid: number): void {
    this.op('MOVEDOMAIN', (u) => u.set('cpupool_id', id).set('domid', domid));
  }

  /** pCPUs in no pool: bit n is pCPU n. */
  freeCpus(): bigint {
    let map = 0;
    return this.op(
      'FREEINFO',
      (u, s) => {
        map = s.bitmap(0n, MAX_CPUS);
        u.nested('cpumap', XenctlBitmap).set('bitmap', map).set('nr_bits', MAX_CPUS);
      },
      () => this.xen.memory.view.getBigUint64(map, true),
    );
  }
}
