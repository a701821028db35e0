// Shoot-downs: one pCPU's page tables or frames have changed, and no other may go on using what its TLBs or decoded code
// say. The request is put in the other pCPU's ring; one that touches guest memory now (in_guest) is kicked and waited for;
// any other owes nothing, as it serves its ring before it touches guest memory again: run_vcpu before guest code, and
// enter_guest_memory before the hypervisor's own copies. A pCPU that waits is never in_guest itself, so two that want
// something of each other do not wait for each other.
import { Domain } from "./domain";
import { current, slot, slot_kind } from "./percpu";
import { PerCpu, SOFTIRQ_SHOOTDOWN, percpu_of, raise_softirq, this_cpu, xen } from "./state";
import { relax, spin_lock, spin_unlock } from "./spinlock";
import { pcpu_kick } from "./sched/kick";
import { SHOOT_EVERYTHING, shootdown_local, walk_clock } from "./mm/tlbflush";

@unmanaged
class ShootRequest {
  va: u64;
  kind: u32;
  domain: u32;
  mfn: u32;
  pad: u32;
}

const RING: u32 = 64;
/** Bytes of one pCPU's ring. */
export const SHOOT_RING_SIZE: u32 = RING * 24;

/** Every pCPU, as a mask. */
export const ALL_PCPUS: u64 = u64.MAX_VALUE;

// @ts-ignore: decorator
@inline
function lock_of(p: PerCpu): usize {
  return changetype<usize>(p) + offsetof<PerCpu>("shoot_lock");
}
// @ts-ignore: decorator
@inline
function asked_of(p: PerCpu): usize {
  return changetype<usize>(p) + offsetof<PerCpu>("shoot_asked");
}
// @ts-ignore: decorator
@inline
function done_of(p: PerCpu): usize {
  return changetype<usize>(p) + offsetof<PerCpu>("shoot_done");
}
// @ts-ignore: decorator
@inline
function in_guest_of(p: PerCpu): usize {
  return changetype<usize>(p) + offsetof<PerCpu>("in_guest");
}

/** Puts a request in p's ring; returns its number. */
function request(p: PerCpu, kind: u32, domain: u32, mfn: u32, va: u64): u32 {
  spin_lock(lock_of(p));
  if (p.shoot_count < RING) {
    const r = changetype<ShootRequest>(p.shoot_ring + p.shoot_count * 24);
    r.va = va;
    r.kind = kind;
    r.domain = domain;
    r.mfn = mfn;
    p.shoot_count += 1;
  } else p.shoot_overflow = 1;
  const n = atomic.add<u32>(asked_of(p), 1) + 1;
  spin_unlock(lock_of(p));
  raise_softirq(p, SOFTIRQ_SHOOTDOWN);
  return n;
}

/** Asks the other pCPUs of `mask`; returns when none of them uses the old translations or code any more. */
export function shootdown_others(mask: u64, kind: u32, domain: u32, mfn: u32, va: u64): void {
  const x = xen();
  if (changetype<usize>(x) == 0) return;
  // All are asked before any is waited for.
  const numbers = this_cpu().shoot_sent;
  let waited: u64 = 0;
  for (let i: u32 = 0; i < x.pcpus; i++) {
    if (i == slot || !((mask >> i) & 1)) continue;
    const p = percpu_of(i);
    if (!p.online) continue;
    store<u32>(numbers + (i << 2), request(p, kind, domain, mfn, va));
    if (!atomic.load<u32>(in_guest_of(p))) continue;
    pcpu_kick(p);
    waited |= (<u64>1) << i;
  }
  for (let i: u32 = 0; waited != 0; i++, waited >>= 1) {
    if (waited & 1) await_served(percpu_of(i), load<u32>(numbers + (i << 2)));
  }
}

function await_served(p: PerCpu, n: u32): void {
  for (let turn: u32 = 1; ; turn++) {
    const done = atomic.load<u32>(done_of(p));
    if (<i32>(done - n) >= 0 || !atomic.load<u32>(in_guest_of(p))) return;
    relax(turn, done_of(p), done);
  }
}

/** Returns when every pCPU of `mask` has been outside guest memory once since the call. */
export function await_outside(mask: u64): void {
  const x = xen();
  for (let i: u32 = 0; i < x.pcpus; i++) {
    if (i == slot || !((mask >> i) & 1)) continue;
    const p = percpu_of(i);
    const entered = atomic.load<u32>(changetype<usize>(p) + offsetof<PerCpu>("entries"));
    if (!atomic.load<u32>(in_guest_of(p))) continue;
    pcpu_kick(p);
    for (let turn: u32 = 1; atomic.load<u32>(in_guest_of(p)) != 0; turn++) {
      if (atomic.load<u32>(changetype<usize>(p) + offsetof<PerCpu>("entries")) != entered) break;
      relax(turn, in_guest_of(p), 1);
    }
  }
}

/** The pCPUs that touch guest memory at this moment, this one left out. */
export function others_in_guest(): u64 {
  const x = xen();
  if (changetype<usize>(x) == 0) return 0;
  let mask: u64 = 0;
  for (let i: u32 = 0; i < x.pcpus; i++) {
    if (i != slot && atomic.load<u32>(in_guest_of(percpu_of(i)))) mask |= (<u64>1) << i;
  }
  return mask;
}

/** Those of them whose page walks can find a frame of `owner` (null: of anybody): in its own tables, or mapped by another. */
export function others_that_map(owner: Domain): u64 {
  const others = others_in_guest();
  if (changetype<usize>(owner) == 0) return others;
  let mask: u64 = 0;
  for (let m = others; m != 0; m &= m - 1) {
    const cpu = ctz(m);
    const p = percpu_of(<u32>cpu);
    const d = atomic.load<usize>(changetype<usize>(p) + offsetof<PerCpu>("guest_domain"));
    // If that domain is gone its pCPU has been outside since, and whatever stands here instead says nothing wrong.
    if (d == changetype<usize>(owner) || atomic.load<u32>(d + offsetof<Domain>("maps_foreign")) != 0) mask |= (<u64>1) << cpu;
  }
  return mask;
}

/** Serves this pCPU's ring. Not from within guest code. */
export function serve_shootdowns(): void {
  const p = this_cpu();
  spin_lock(lock_of(p));
  if (p.shoot_overflow) {
    // Too many to name: forget everything.
    shootdown_local(SHOOT_EVERYTHING, 0, 0, 0);
    p.shoot_overflow = 0;
  } else {
    for (let i: u32 = 0; i < p.shoot_count; i++) {
      const r = changetype<ShootRequest>(p.shoot_ring + i * 24);
      shootdown_local(r.kind, r.domain, r.mfn, r.va);
    }
  }
  p.shoot_count = 0;
  atomic.store<u32>(done_of(p), atomic.load<u32>(asked_of(p)));
  spin_unlock(lock_of(p));
}

/**
 * The hypervisor is about to read or write guest memory through this pCPU's TLBs: what others have asked for is done first,
 * and who asks from now on waits until leave_guest_memory. Nothing in between may wait for another CPU.
 */
export function enter_guest_memory(): void {
  if (slot_kind != 0 || xen().pcpus == 1) return;
  const p = this_cpu();
  announce_entry(p);
  const softirq = changetype<usize>(p) + offsetof<PerCpu>("softirq");
  if (atomic.load<u32>(softirq) & SOFTIRQ_SHOOTDOWN) {
    atomic.and<u32>(softirq, ~SOFTIRQ_SHOOTDOWN);
    serve_shootdowns();
  }
}

export function leave_guest_memory(): void {
  if (slot_kind != 0 || xen().pcpus == 1) return;
  atomic.store<u32>(in_guest_of(this_cpu()), 0);
}

/** From here on who takes translations away waits for this pCPU. */
export function announce_entry(p: PerCpu): void {
  p.entries += 1;
  p.walk_clock = walk_clock();
  atomic.store<usize>(changetype<usize>(p) + offsetof<PerCpu>("guest_domain"), changetype<usize>(current.domain));
  atomic.store<u32>(in_guest_of(p), 1);
}
