// Getting another CPU's attention: out of guest code through the running vCPU's pending word, out of sleep through the
// CPU's wake word. Nothing here is a host import (notify is a wasm instruction), so locks may be held.
import { CpuState, PENDING } from "../abi";
import { Vcpu } from "../domain";
import { PerCpu, percpu_of, this_cpu, xen } from "../state";
import { slot } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";

/** Makes pCPU p pass through its main loop soon. */
export function pcpu_kick(p: PerCpu): void {
  if (p.slot == slot) return;
  const lock = changetype<usize>(p) + offsetof<PerCpu>("current_lock");
  // Under the lock the vCPU stays this pCPU's, so its struct cannot go away.
  spin_lock(lock);
  atomic.store<u32>(p.current.cpu + CpuState.pending, PENDING);
  spin_unlock(lock);
  const word = changetype<usize>(p) + offsetof<PerCpu>("wake_word");
  atomic.add<u32>(word, 1);
  if (atomic.load<u32>(changetype<usize>(p) + offsetof<PerCpu>("idle")) == 2) atomic.notify(word, -1);
}

/** The thread that sleeps on the word is woken when this pCPU schedules, at the latest; it may end its sleep by itself before. */
function owe_wake(p: PerCpu, word: usize): void {
  if (p.owed_wake != word) pay_wake(p);
  p.owed_wake = word;
}

/** Wakes the thread whose wake is owed. If its domain is gone, nobody or somebody wakes for nothing. */
export function pay_wake(p: PerCpu): void {
  if (p.owed_wake == 0) return;
  atomic.notify(p.owed_wake, -1);
  p.owed_wake = 0;
}

/** The vCPU has something to look at: gets it out of guest code if it runs elsewhere; wakes a TypeScript domain's thread. */
export function vcpu_poke(v: Vcpu): void {
  if (v.domain.is_ts) {
    const word = changetype<usize>(v) + offsetof<Vcpu>("wake_word");
    atomic.add<u32>(word, 1);
    if (slot < xen().pcpus && atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("wake_later")) != 0) owe_wake(this_cpu(), word);
    else atomic.notify(word, -1);
    if (xen().deterministic && slot < xen().pcpus) this_cpu().spoke_to = changetype<usize>(v);
    return;
  }
  if (atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("is_running"))) {
    const p = percpu_of(v.processor);
    if (p.slot == slot) atomic.store<u32>(v.cpu + CpuState.pending, PENDING);
    else pcpu_kick(p);
  }
}
