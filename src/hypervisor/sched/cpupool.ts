// CPU pools (Xen's common/sched/cpupool.c): every pCPU belongs to one pool or to none, every domain to one; a pool has a
// scheduler. Pools, their masks and who is in them are guarded by sched_lock; `cpupool_busy` makes the operations that change
// them exclude each other over a longer time. None of this is called with a lock held.
import { CPUPOOL_PAR_ANY, ERRNO } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { get_domain_from, put_domain } from "../domain_list";
import { log_dec, log_end, log_start, log_str, panic } from "../log";
import { xfree, xzalloc } from "../mm/xmalloc";
import { domain_pause, domain_unpause } from "../pause";
import { SOFTIRQ_SCHEDULE, Hypervisor, PerCpu, percpu_of, raise_softirq, xen } from "../state";
import { spin_lock, spin_unlock, stop_if_panicked } from "../spinlock";
import { NOW } from "../time/clock";
import { TIMER_SCHED_POOL, init_timer, kill_timer } from "../time/timer";
import { affinity_broken, all_cpus, in_mask } from "./affinity";
import { domain_enter, domain_leave } from "./init";
import { pcpu_kick } from "./kick";
import { vcpu_replace } from "./migrate";
import { sched_lock } from "./sched";
import { sched_cpu_add, sched_cpu_remove, sched_known, sched_pool_free, sched_pool_init } from "./scheduler";
import { CpuPool, NO_POOL, POOL_ALLOCATION, SCHED_CPU_SIZE, SchedCpu, pool_timer } from "./unit";

const ANY: u32 = CPUPOOL_PAR_ANY;

// @ts-ignore: decorator
@inline
function busy(): usize {
  return changetype<usize>(xen()) + offsetof<Hypervisor>("cpupool_busy");
}

/** One operation at a time; another's caller is told to come again. */
export function cpupools_take(): bool {
  return atomic.cmpxchg<u32>(busy(), 0, 1) == 0;
}
export function cpupools_release(): void {
  atomic.store<u32>(busy(), 0);
}

/** The pool `id`, or with `next` the first with an id not below; null: none. sched_lock or cpupools_take. */
export function cpupool_find(id: u32, next: bool): CpuPool {
  let c = xen().cpupools;
  while (changetype<usize>(c) != 0 && c.id < id) c = c.next;
  if (changetype<usize>(c) != 0 && !next && c.id != id) return NO_POOL;
  return c;
}

/** Is there such a pool, with pCPUs? */
export function cpupool_usable(id: u32): bool {
  spin_lock(sched_lock());
  const c = cpupool_find(id, false);
  const ok = changetype<usize>(c) != 0 && c.cpus != 0;
  spin_unlock(sched_lock());
  return ok;
}

function new_pool(id: u32, sched_id: u32): CpuPool {
  const c = changetype<CpuPool>(xzalloc(POOL_ALLOCATION, 8));
  if (changetype<usize>(c) == 0) return c;
  c.id = id;
  c.sched_id = sched_id;
  init_timer(pool_timer(c), TIMER_SCHED_POOL, changetype<usize>(c), 0, 0);
  if (!sched_pool_init(c)) {
    xfree(changetype<usize>(c));
    return NO_POOL;
  }
  return c;
}

/** Pool 0 with every pCPU, at boot. */
export function cpupools_boot(): void {
  const x = xen();
  if (!sched_known(x.sched_id)) panic("the scheduler that was asked for is not there");
  const c = new_pool(0, x.sched_id);
  if (changetype<usize>(c) == 0) panic("no memory for CPU pool 0");
  x.cpupools = c;
  for (let i: u32 = 0; i < x.pcpus; i++) join(c, i);
}

/** sched_lock is held, or nothing runs yet. */
function join(c: CpuPool, cpu: u32): void {
  const s = percpu_of(cpu).sched;
  const common = offsetof<SchedCpu>();
  memory.fill(changetype<usize>(s) + common, 0, SCHED_CPU_SIZE - common);
  s.pool = c;
  c.cpus |= (<u64>1) << cpu;
  sched_cpu_add(c, cpu);
}

/** The new pool's id in CpuPool.id of the result's place: >= 0 is the id, else -errno. */
export function cpupool_create(id: u32, sched_id: u32): i64 {
  if (!sched_known(sched_id)) return -ERRNO.ENOENT;
  let at = id;
  if (id == ANY) {
    at = 0;
    for (let c = xen().cpupools; changetype<usize>(c) != 0 && c.id == at; c = c.next) at++;
  } else if (changetype<usize>(cpupool_find(id, false)) != 0) return -ERRNO.EEXIST;
  const c = new_pool(at, sched_id);
  if (changetype<usize>(c) == 0) return -ERRNO.ENOMEM;
  spin_lock(sched_lock());
  // Pool 0 is always before it.
  let before = xen().cpupools;
  while (changetype<usize>(before.next) != 0 && before.next.id < at) before = before.next;
  c.next = before.next;
  before.next = c;
  spin_unlock(sched_lock());
  return <i64>at;
}

export function cpupool_destroy(id: u32): i64 {
  const c = cpupool_find(id, false);
  if (changetype<usize>(c) == 0) return -ERRNO.ENOENT;
  spin_lock(sched_lock());
  const used = c.n_dom != 0 || c.cpus != 0;
  if (!used) {
    let before = xen().cpupools;
    while (before.next != c) before = before.next;
    before.next = c.next;
  }
  spin_unlock(sched_lock());
  if (used) return -ERRNO.EBUSY;
  kill_timer(pool_timer(c));
  sched_pool_free(c);
  xfree(changetype<usize>(c));
  return 0;
}

/** pCPUs in use that are in no pool. */
export function free_cpus(): u64 {
  let mask: u64 = 0;
  for (let m = all_cpus(); m != 0; m &= m - 1) {
    const cpu = <u32>ctz(m);
    const s = percpu_of(cpu).sched;
    if (changetype<usize>(s.pool) == 0 && !s.offline) mask |= (<u64>1) << cpu;
  }
  return mask;
}

/** cpu may be ANY. */
export function cpupool_add_cpu(id: u32, cpu: u32): i64 {
  const c = cpupool_find(id, false);
  if (changetype<usize>(c) == 0) return -ERRNO.ENOENT;
  const free = free_cpus();
  if (cpu == ANY) {
    if (free == 0) return -ERRNO.ENODEV;
    cpu = <u32>ctz(free);
  }
  if (cpu >= xen().pcpus) return -ERRNO.EINVAL;
  if (!in_mask(free, cpu)) return -ERRNO.ENODEV;
  spin_lock(sched_lock());
  join(c, cpu);
  spin_unlock(sched_lock());
  poke(percpu_of(cpu));
  return 0;
}

/** Gets the pCPU to schedule. */
function poke(p: PerCpu): void {
  raise_softirq(p, SOFTIRQ_SCHEDULE);
  pcpu_kick(p);
}

/** cpu may be ANY. Returns when the pCPU runs nothing any more. */
export function cpupool_remove_cpu(id: u32, cpu: u32): i64 {
  const c = cpupool_find(id, false);
  if (changetype<usize>(c) == 0) return -ERRNO.ENOENT;
  if (cpu == ANY) {
    if (c.cpus == 0) return -ERRNO.ENODEV;
    cpu = 63 - <u32>clz(c.cpus);
  }
  if (cpu >= xen().pcpus) return -ERRNO.EINVAL;
  if (!in_mask(c.cpus, cpu)) return -ERRNO.ENODEV;
  const p = percpu_of(cpu);
  spin_lock(sched_lock());
  // The last one stays while there is a domain (dom0's threads need none, but pool 0 must be able to take domains).
  const last = c.cpus == (<u64>1) << cpu && (c.n_dom != 0 || c.id == 0);
  if (!last) {
    c.cpus &= ~((<u64>1) << cpu);
    p.sched.pool = NO_POOL;
  }
  spin_unlock(sched_lock());
  if (last) return -ERRNO.EBUSY;
  poke(p);
  move_away(c, cpu);
  while (!atomic.load<u32>(changetype<usize>(p.idle_vcpu) + offsetof<Vcpu>("is_running"))) stop_if_panicked();
  // What ran there may have been given this processor by a look at the old mask; nothing can from now on.
  move_away(c, cpu);
  spin_lock(sched_lock());
  sched_cpu_remove(c, cpu);
  spin_unlock(sched_lock());
  return 0;
}

/** The pCPU is no more of pool c: its vCPUs get other processors, and those that may run on no other all of them. */
function move_away(c: CpuPool, cpu: u32): void {
  let d = get_domain_from(0);
  while (changetype<usize>(d) != 0) {
    const next = d.domid + 1;
    if (d.pool == c && !d.is_ts) {
      for (let i: u32 = 0; i < d.max_vcpus; i++) {
        const v = domain_vcpu(d, i);
        if (changetype<usize>(v) != 0) move_vcpu_away(v, cpu);
      }
    }
    put_domain(d);
    d = get_domain_from(next);
  }
}

function move_vcpu_away(v: Vcpu, cpu: u32): void {
  const now = NOW();
  let broken = false;
  spin_lock(sched_lock());
  if (affinity_broken(v)) {
    v.cpu_hard_affinity = u64.MAX_VALUE;
    broken = true;
  }
  // One that runs goes by itself (sched.ts, settle).
  if (v.processor == cpu && !v.is_running) vcpu_replace(v, now);
  spin_unlock(sched_lock());
  if (!broken) return;
  log_start();
  log_str("Breaking affinity for d");
  log_dec(v.domain.domid);
  log_str("v");
  log_dec(v.vcpu_id);
  log_end();
}

/** d (no TypeScript domain) moves to pool `id`, with the default parameters and no affinity. The caller has a reference. */
export function cpupool_move_domain(d: Domain, id: u32): i64 {
  if (d.pool.id == id) return 0;
  const c = cpupool_find(id, false);
  if (changetype<usize>(c) == 0) return -ERRNO.ENOENT;
  domain_pause(d);
  const now = NOW();
  spin_lock(sched_lock());
  const ok = c.cpus != 0;
  if (ok) {
    domain_leave(d);
    domain_enter(d, c, now);
  }
  spin_unlock(sched_lock());
  domain_unpause(d);
  return ok ? 0 : -ERRNO.ENOENT;
}

/** Takes a pCPU out of use. pCPU 0 stays, and so does the last one of a pool that is needed. */
export function cpu_offline(cpu: u32): i64 {
  if (cpu == 0 || cpu >= xen().pcpus) return -ERRNO.EINVAL;
  const s = percpu_of(cpu).sched;
  if (s.offline) return -ERRNO.EINVAL;
  if (changetype<usize>(s.pool) != 0) {
    const rc = cpupool_remove_cpu(s.pool.id, cpu);
    if (rc != 0) return rc;
  }
  s.offline = 1;
  return 0;
}

/** Brings it back, into pool 0. */
export function cpu_online(cpu: u32): i64 {
  if (cpu >= xen().pcpus) return -ERRNO.EINVAL;
  const s = percpu_of(cpu).sched;
  if (!s.offline) return -ERRNO.EINVAL;
  s.offline = 0;
  return cpupool_add_cpu(0, cpu);
}
