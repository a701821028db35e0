// Asking a pCPU to schedule. sched_lock is held.
import { PerCpu, SOFTIRQ_SCHEDULE, raise_softirq } from "../state";
import { pcpu_kick } from "./kick";

/** Makes p choose anew soon; `tickled` keeps others from counting on it meanwhile. */
export function tickle_cpu(p: PerCpu): void {
  p.sched.tickled = 1;
  raise_softirq(p, SOFTIRQ_SCHEDULE);
  pcpu_kick(p);
}

/** Makes p look at its queue again, which changed in a way that may shorten the present vCPU's time. */
export function resched_cpu(p: PerCpu): void {
  raise_softirq(p, SOFTIRQ_SCHEDULE);
  pcpu_kick(p);
}
