// A sampling profiler. Another thread says now and then that so many nanoseconds have passed (profile_tick) and kicks the
// pCPUs; each accounts them to what it does: to the guest's instruction pointer when guest code is left, to the exit that is
// being handled, or to idling. Guest code is left at taken branches, so that is where samples lie.
import { CpuState, EXIT, GPR, HYPERCALL, PROFILE_KIND, PROFILE_RING, PROFILE_SAMPLES, ProfileRing, ProfileSample } from "./abi";
import { Vcpu, get_gpr, guest_kernel_mode } from "./domain";
import { guest_read } from "./engine";
import { alloc_xenheap_pages } from "./mm/heap";
import { scratch } from "./percpu";
import { pcpu_kick } from "./sched/kick";
import { PerCpu, percpu_of, xen } from "./state";

const RING_BYTES: u32 = PROFILE_SAMPLES + PROFILE_RING * <u32>ProfileSample.SIZE;
/** The hypercall page's stub has pushed rcx and r11. */
const CALLER_DEPTH: u64 = 16;
/** Where in the scratch page a word of the guest's stack goes. */
const WORD: u32 = 4088;

/** Gives each pCPU a ring; false: no memory. They stay until the machine ends. */
export function profile_start(): bool {
  let order: u32 = 0;
  while ((<u32>4096 << order) < RING_BYTES) order++;
  for (let i: u32 = 0; i < xen().pcpus; i++) {
    const p = percpu_of(i);
    if (p.profile_ring != 0) continue;
    const ring = alloc_xenheap_pages(order);
    if (ring == 0) return false;
    memory.fill(ring, 0, RING_BYTES);
    atomic.store<u32>(changetype<usize>(p) + offsetof<PerCpu>("profile_ring"), ring);
  }
  return true;
}

/** `ns` nanoseconds have passed since the last tick. */
export function profile_tick(ns: u32): void {
  for (let i: u32 = 0; i < xen().pcpus; i++) {
    const p = percpu_of(i);
    if (p.profile_ring == 0) continue;
    atomic.add<u32>(p.profile_ring, ns, ProfileRing.due);
    // Those that sleep account it when they wake.
    if (atomic.load<u32>(changetype<usize>(p) + offsetof<PerCpu>("idle")) == 0) pcpu_kick(p);
  }
}

/** Machine address of pCPU i's ring (ProfileRing); 0: none. */
export function profile_ring(i: u32): usize {
  return i < xen().pcpus ? percpu_of(i).profile_ring : 0;
}

// @ts-ignore: decorator
@inline
export function profile_due(ring: usize): bool {
  return ring != 0 && atomic.load<u32>(ring, ProfileRing.due) != 0;
}

/** The place of the next sample. It is no sample yet. */
function place(ring: usize): usize {
  return ring + PROFILE_SAMPLES + (load<u32>(ring, ProfileRing.made) & (PROFILE_RING - 1)) * <u32>ProfileSample.SIZE;
}

/** What is at place(ring) is a sample now, unless there is no room. */
function commit(ring: usize): void {
  const ns = atomic.xchg<u32>(ring, 0, ProfileRing.due);
  const made = load<u32>(ring, ProfileRing.made);
  if (made - atomic.load<u32>(ring, ProfileRing.taken) >= PROFILE_RING - 1) {
    store<u64>(ring, load<u64>(ring, ProfileRing.lost_ns) + ns, ProfileRing.lost_ns);
    return;
  }
  store<u32>(place(ring), ns, ProfileSample.ns);
  atomic.store<u32>(ring, made + 1, ProfileRing.made);
}

function fill(ring: usize, v: Vcpu, kind: u32, what: u32): usize {
  const s = place(ring);
  store<u64>(s, load<u64>(v.cpu, CpuState.rip), ProfileSample.rip);
  store<u64>(s, 0, ProfileSample.caller);
  store<u32>(s, <u32>load<u64>(v.cpu, CpuState.cr3), ProfileSample.root);
  store<u16>(s, <u16>v.domain.domid, ProfileSample.domid);
  store<u16>(s, <u16>v.vcpu_id, ProfileSample.vcpu);
  store<u16>(s, <u16>kind, ProfileSample.kind);
  store<u16>(s, <u16>what, ProfileSample.what);
  return s;
}

/** The vCPU has left guest code for `reason`: what was due is the guest's, and what follows is the exit's. */
export function profile_left_guest(ring: usize, v: Vcpu, reason: u32): void {
  const kernel = guest_kernel_mode(v);
  if (profile_due(ring)) {
    fill(ring, v, kernel ? PROFILE_KIND.KERNEL : PROFILE_KIND.USER, 0);
    commit(ring);
  }
  if (reason == EXIT.PREEMPT) return;
  // Registers are about to change: remember where this came from, should the exit take long.
  if (reason != EXIT.SYSCALL || !kernel) {
    fill(ring, v, PROFILE_KIND.EXIT, reason);
    return;
  }
  const op = <u32>get_gpr(v, GPR.RAX);
  const s = fill(ring, v, PROFILE_KIND.HYPERCALL, op);
  const word = scratch + WORD;
  if (op != HYPERCALL.iret && guest_read(v.cpu, get_gpr(v, GPR.RSP) + CALLER_DEPTH, word, 8) == 0) {
    store<u64>(s, load<u64>(word), ProfileSample.caller);
  }
}

/** The exit that profile_left_guest saw has been handled. */
export function profile_handled_exit(ring: usize): void {
  if (profile_due(ring)) commit(ring);
}

/** The pCPU has been idle. */
export function profile_idled(ring: usize, idle: Vcpu): void {
  if (!profile_due(ring)) return;
  fill(ring, idle, PROFILE_KIND.IDLE, 0);
  commit(ring);
}
