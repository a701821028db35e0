/**
 * Scheduling parameters: domctl scheduler_op of domains and vCPUs, sysctl scheduler_op of a pool (public/domctl.h, sysctl.h).
 * A call for another scheduler than the one of the domain's pool is refused with EINVAL.
 */
import {
  DOMCTL_SCHEDOP,
  DomctlSchedCredit,
  DomctlSchedparamVcpu,
  DomctlSchedRtds,
  DomctlSchedulerOp,
  DomctlSchedV,
  SCHEDRT_extra,
  XEN_SCHEDULER,
} from '../../../abi/domctl.ts';
import { SYSCTL_SCHEDOP, SysctlCredit2Schedule, SysctlCreditSchedule, SysctlSchedulerOp } from '../../../abi/sysctl.ts';
import type { Hypercalls } from '../hypercalls.ts';
import type { StructView } from '../memory.ts';

/** Schedulers whose domains have a weight and a cap. */
export type WeightedScheduler = typeof XEN_SCHEDULER.CREDIT | typeof XEN_SCHEDULER.CREDIT2;

export interface WeightParams {
  /** 1 to 65535, 256 by default: share of the CPU beside others, of each vCPU. */
  readonly weight: number;
  /** Most CPU it gets, in percent of one pCPU; 0: no limit. */
  readonly cap: number;
}

export interface RtdsParams {
  /** µs. */
  readonly period: number;
  /** µs of each period that are reserved; at most the period. */
  readonly budget: number;
  /** May use CPU time that nobody has reserved. */
  readonly extratime: boolean;
}

export interface RtdsVcpu extends RtdsParams {
  readonly vcpu: number;
}

export interface CreditPoolParams {
  /** 1 to 1000. */
  readonly tsliceMs: number;
  /** 100 to 500000, or 0: a vCPU that has run for less is not pre-empted. */
  readonly ratelimitUs: number;
  /** 0 to 100000: a vCPU that ran more lately than this is not moved to another pCPU. */
  readonly migrationDelayUs: number;
}

/** "Leave it as it is" of credit's and credit2's putinfo. */
const KEEP_WEIGHT = 0;
const KEEP_CAP = 0xffff;

/** vCPUs of one getvcpuinfo or putvcpuinfo. */
const VCPU_CHUNK = 64;

export class SchedulerCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /** Weight and cap of a domain under credit or credit2. */
  domainGet(domid: number, scheduler: WeightedScheduler): WeightParams {
    return this.xen.domctl.op(
      'scheduler_op',
      domid,
      DomctlSchedulerOp,
      (u) => u.set('sched_id', scheduler).set('cmd', DOMCTL_SCHEDOP.getinfo),
      (u) => {
        const p = u.nested('u', DomctlSchedCredit);
        return { weight: p.get('weight'), cap: p.get('cap') };
      },
    );
  }

  /** What is left out stays as it is. */
  domainPut(domid: number, scheduler: WeightedScheduler, p: Partial<WeightParams>): void {
    this.xen.domctl.op('scheduler_op', domid, DomctlSchedulerOp, (u) => {
      u.set('sched_id', scheduler).set('cmd', DOMCTL_SCHEDOP.putinfo);
      u.nested('u', DomctlSchedCredit)
        .set('weight', p.weight ?? KEEP_WEIGHT)
        .set('cap', p.cap ?? KEEP_CAP);
    });
  }

  /** rtds: what a new vCPU of the domain gets. */
  rtdsGet(domid: number): RtdsParams {
    return this.xen.domctl.op(
      'scheduler_op',
      domid,
      DomctlSchedulerOp,
      (u) => u.set('sched_id', XEN_SCHEDULER.RTDS).set('cmd', DOMCTL_SCHEDOP.getinfo),
      (u) => readRtds(u.nested('u', DomctlSchedRtds)),
    );
  }

  /** rtds: the same for every vCPU of the domain. */
  rtdsPut(domid: number, p: RtdsParams): void {
    this.xen.domctl.op('scheduler_op', domid, DomctlSchedulerOp, (u) => {
      u.set('sched_id', XEN_SCHEDULER.RTDS).set('cmd', DOMCTL_SCHEDOP.putinfo);
      writeRtds(u.nested('u', DomctlSchedRtds), p);
    });
  }

  /** rtds: parameters of these vCPUs, in the order asked. */
  rtdsVcpusGet(domid: number, vcpus: readonly number[]): RtdsVcpu[] {
    const out: RtdsVcpu[] = [];
    for (let i = 0; i < vcpus.length; i += VCPU_CHUNK)
      out.push(
        ...this.rtdsVcpus(
          'getvcpuinfo',
          domid,
          vcpus.slice(i, i + VCPU_CHUNK).map((vcpu) => ({ vcpu })),
        ),
      );
    return out;
  }

  rtdsVcpusPut(domid: number, vcpus: readonly RtdsVcpu[]): void {
    for (let i = 0; i < vcpus.length; i += VCPU_CHUNK)
      this.rtdsVcpus('putvcpuinfo', domid, vcpus.slice(i, i + VCPU_CHUNK));
  }

  private rtdsVcpus(
    cmd: 'getvcpuinfo' | 'putvcpuinfo',
    domid: number,
    vcpus: readonly (Partial<RtdsParams> & { readonly vcpu: number })[],
  ): RtdsVcpu[] {
    let at = 0;
    const entry = (i: number) => this.xen.memory.struct(at + i * DomctlSchedparamVcpu.size, DomctlSchedparamVcpu);
    return this.xen.domctl.op(
      'scheduler_op',
      domid,
      DomctlSchedulerOp,
      (u, s) => {
        at = s.bytes(vcpus.length * DomctlSchedparamVcpu.size);
        vcpus.forEach(({ vcpu, period = 0, budget = 0, extratime = false }, i) => {
          const e = entry(i).set('vcpuid', vcpu);
          writeRtds(e.nested('u', DomctlSchedRtds), { period, budget, extratime });
        });
        u.set('sched_id', XEN_SCHEDULER.RTDS).set('cmd', DOMCTL_SCHEDOP[cmd]);
        u.nested('u', DomctlSchedV).set('vcpus', at).set('nr_vcpus', vcpus.length);
      },
      () => vcpus.map(({ vcpu }, i) => ({ vcpu, ...readRtds(entry(i).nested('u', DomctlSchedRtds)) })),
    );
  }

  /** credit: parameters of a pool. */
  creditPoolGet(pool: number): CreditPoolParams {
    return this.pool(pool, XEN_SCHEDULER.CREDIT, 'getinfo', (u) => {
      const p = u.nested('u', SysctlCreditSchedule);
      return {
        tsliceMs: p.get('tslice_ms'),
        ratelimitUs: p.get('ratelimit_us'),
        migrationDelayUs: p.get('vcpu_migr_delay_us'),
      };
    });
  }

  creditPoolPut(pool: number, p: CreditPoolParams): void {
    this.pool(pool, XEN_SCHEDULER.CREDIT, 'putinfo', undefined, (u) => {
      u.nested('u', SysctlCreditSchedule)
        .set('tslice_ms', p.tsliceMs)
        .set('ratelimit_us', p.ratelimitUs)
        .set('vcpu_migr_delay_us', p.migrationDelayUs);
    });
  }

  /** credit2: a vCPU that has run for less (µs; 100 to 500000, or 0) is not pre-empted. */
  credit2PoolGet(pool: number): { ratelimitUs: number } {
    return this.pool(pool, XEN_SCHEDULER.CREDIT2, 'getinfo', (u) => ({
      ratelimitUs: u.nested('u', SysctlCredit2Schedule).get('ratelimit_us'),
    }));
  }

  credit2PoolPut(pool: number, p: { readonly ratelimitUs: number }): void {
    this.pool(pool, XEN_SCHEDULER.CREDIT2, 'putinfo', undefined, (u) => {
      u.nested('u', SysctlCredit2Schedule).set('ratelimit_us', p.ratelimitUs);
    });
  }

  private pool<T>(
    pool: number,
    scheduler: number,
    cmd: keyof typeof SYSCTL_SCHEDOP,
    result?: (u: StructView<keyof typeof SysctlSchedulerOp.off>) => T,
    fill?: (u: StructView<keyof typeof SysctlSchedulerOp.off>) => void,
  ): T {
    return this.xen.sysctl.op(
      'scheduler_op',
      SysctlSchedulerOp,
      (u) => {
        u.set('cpupool_id', pool).set('sched_id', scheduler).set('cmd', SYSCTL_SCHEDOP[cmd]);
        fill?.(u);
      },
      (u) => result?.(u) as T,
    );
  }
}

function readRtds(p: StructView<keyof typeof DomctlSchedRtds.off>): RtdsParams {
  return { period: p.get('period'), budget: p.get('budget'), extratime: (p.get('flags') & SCHEDRT_extra) !== 0 };
}

function writeRtds(p: StructView<keyof typeof DomctlSchedRtds.off>, v: RtdsParams): void {
  p.set('period', v.period)
    .set('budget', v.budget)
    .set('flags', v.extratime ? SCHEDRT_extra : 0);
}
