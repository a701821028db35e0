// Shoot-downs: one pCPU's page tables or frames have changed, and no other may go on using what its TLBs or decoded code
// say. The request is put in the other pCPU's ring; one that touches guest memory now (in_guest) is kicked and waited for;
// any other owes nothing, as it serves its ring before it touches guest memory again (guest_enter).
import { AreaHeader, MachineInfo, MACHINE_INFO_ADDRESS } from "./abi";
import { slot, slot_kind } from "./percpu";
import { PerCpu, SOFTIRQ_SHOOTDOWN, percpu_of, raise_softirq, this_cpu, xen } from "./state";
import { spin_lock, spin_unlock, stop_if_panicked } from "./spinlock";
import { pcpu_kick } from "./sched/kick";
import { shootdown_local } from "./mm/tlbflush";

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

function request(p: PerCpu, kind: u32, domain: u32, mfn: u32, va: u64): u32 {
  spin_lock(lock_of(p));
  if (p.shoot_count < RING) {
    const r = changetype<ShootRequest>(p.shoot_ring + p.shoot_count * 24);
    r.va = va;
    r.kind = kind;
    r.domain = domain;
    r.mfn = mfn;
    p.shoot_count += 1;
  } else {
    // Too many to name: that pCPU forgets everything.
    const area = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.area_base) + p.slot * load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.area_size);
    atomic.store<u32>(area, 1, AreaHeader.flush_request);
  }
  const n = atomic.add<u32>(asked_of(p), 1) + 1;
  spin_unlock(lock_of(p));
  raise_softirq(p, SOFTIRQ_SHOOTDOWN);
  return n;
}

/** Asks every other pCPU; returns when none uses the old translations any more. */
export function shootdown_others(kind: u32, domain: u32, mfn: u32, va: u64): void {
  const x = xen();
  if (changetype<usize>(x) == 0) return;
  for (let i: u32 = 0; i < x.pcpus; i++) {
    if (i == slot) continue;
    const p = percpu_of(i);
    if (!p.online) continue;
    const n = request(p, kind, domain, mfn, va);
    const in_guest = changetype<usize>(p) + offsetof<PerCpu>("in_guest");
    if (!atomic.load<u32>(in_guest)) continue;
    pcpu_kick(p);
    while (atomic.load<u32>(in_guest) && <i32>(atomic.load<u32>(done_of(p)) - n) < 0) {
      if (slot_kind == 0) serve_shootdowns();
      stop_if_panicked();
    }
  }
}

/** Serves this pCPU's ring. */
export function serve_shootdowns(): void {
  const p = this_cpu();
  if (p.shoot_count == 0) {
    atomic.store<u32>(done_of(p), atomic.load<u32>(asked_of(p)));
    return;
  }
  spin_lock(lock_of(p));
  const n = p.shoot_count;
  for (let i: u32 = 0; i < n; i++) {
    const r = changetype<ShootRequest>(p.shoot_ring + i * 24);
    shootdown_local(r.kind, r.domain, r.mfn, r.va);
  }
  p.shoot_count = 0;
  atomic.store<u32>(done_of(p), atomic.load<u32>(asked_of(p)));
  spin_unlock(lock_of(p));
}
