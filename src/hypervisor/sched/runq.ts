// The run queue: one for the machine, ordered by virtual run time (the idea of credit2: time used, scaled by weight,
// decides who is next). All of it under sched_lock. This file and sched.ts are the whole scheduler's policy.
import { Vcpu } from "../domain";
import { xen } from "../state";
import { MICROSECS, MILLISECS } from "../time/clock";

/** Longest time on a CPU while others wait. */
export const TIME_SLICE: u64 = 10 * MILLISECS;
/** A vCPU that has run for less is not pre-empted by one that woke up (xl's sched_ratelimit_us). */
export const RATELIMIT: u64 = 500 * MICROSECS;
/** What a sleeper may be ahead of the others by when it wakes. */
const SLEEPER_BONUS: u64 = 5 * MILLISECS;

const NONE = changetype<Vcpu>(0);

export function runq_insert(v: Vcpu): void {
  const x = xen();
  let at = changetype<Vcpu>(x.runq_tail);
  // Equal times: first come, first served.
  while (changetype<usize>(at) != 0 && at.vtime > v.vtime) at = changetype<Vcpu>(at.runq_prev);
  if (changetype<usize>(at) == 0) {
    v.runq_prev = 0;
    v.runq_next = x.runq_head;
    x.runq_head = changetype<usize>(v);
  } else {
    v.runq_prev = changetype<usize>(at);
    v.runq_next = at.runq_next;
    at.runq_next = changetype<usize>(v);
  }
  if (v.runq_next != 0) changetype<Vcpu>(v.runq_next).runq_prev = changetype<usize>(v);
  else x.runq_tail = changetype<usize>(v);
  v.on_runq = 1;
  x.runq_len += 1;
}

export function runq_remove(v: Vcpu): void {
  const x = xen();
  if (v.runq_prev != 0) changetype<Vcpu>(v.runq_prev).runq_next = v.runq_next;
  else x.runq_head = v.runq_next;
  if (v.runq_next != 0) changetype<Vcpu>(v.runq_next).runq_prev = v.runq_prev;
  else x.runq_tail = v.runq_prev;
  v.on_runq = 0;
  x.runq_len -= 1;
}

/** First in line that may run on the pCPU, or null. */
export function runq_first(pcpu: u32): Vcpu {
  let v = changetype<Vcpu>(xen().runq_head);
  while (changetype<usize>(v) != 0) {
    if ((v.cpu_hard_affinity >> pcpu) & 1) return v;
    v = changetype<Vcpu>(v.runq_next);
  }
  return NONE;
}

/** Charges v for the time from its sched_start to `now`. */
export function charge(v: Vcpu, now: u64): void {
  if (now <= v.sched_start) return;
  const weight = v.domain.sched_weight;
  v.vtime += ((now - v.sched_start) * 256) / (weight ? weight : 256);
  v.sched_start = now;
}

/** A vCPU that slept starts a little ahead of the queue, but cannot save up its sleep. `floor`: least vtime in use. */
export function settle_sleeper(v: Vcpu, floor: u64): void {
  const least = floor > SLEEPER_BONUS ? floor - SLEEPER_BONUS : 0;
  if (v.vtime < least) v.vtime = least;
}
