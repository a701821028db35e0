// One pCPU alone in guest code: how an instruction is made atomic that wasm has no atomic for (locked operations on 16
// bytes, or on bytes that are not aligned). The engine calls stop_others in the middle of such an instruction, so nothing
// here may wait for a pCPU that could wait for this one: whoever finds another at it leaves guest code and waits there.
import { slot } from "./percpu";
import { Hypervisor, PerCpu, percpu_of, xen } from "./state";
import { relax } from "./spinlock";
import { pcpu_kick } from "./sched/kick";

// @ts-ignore: decorator
@inline
function word(): usize {
  return changetype<usize>(xen()) + offsetof<Hypervisor>("exclusive");
}

/** Gets every other pCPU out of guest memory and keeps it out until resume_others. False: another pCPU is doing so. */
export function stop_others(): bool {
  const x = xen();
  if (atomic.cmpxchg<u32>(word(), 0, slot + 1) != 0) return false;
  for (let i: u32 = 0; i < x.pcpus; i++) {
    if (i == slot) continue;
    const p = percpu_of(i);
    const in_guest = changetype<usize>(p) + offsetof<PerCpu>("in_guest");
    if (!atomic.load<u32>(in_guest)) continue;
    pcpu_kick(p);
    for (let turn: u32 = 1; atomic.load<u32>(in_guest) != 0; turn++) relax(turn, in_guest, 1);
  }
  return true;
}

export function resume_others(): void {
  atomic.store<u32>(word(), 0);
}

/** Must this pCPU stay out of guest code now? */
// @ts-ignore: decorator
@inline
export function is_stopped(): bool {
  return atomic.load<u32>(word()) != 0;
}

/** Returns when no pCPU is alone in guest code; this one is outside. */
export function await_resume(): void {
  for (let turn: u32 = 1; ; turn++) {
    const by = atomic.load<u32>(word());
    if (by == 0) return;
    relax(turn, word(), by);
  }
}
