// How long guest code may run until something is due, in instructions: nothing interrupts it but its fuel and kicks. So each
// vCPU's speed is measured: the median of the last three measurements counts, as the host may put a pCPU's thread aside in the
// middle of one, and smoothed. Measurements take what there is, stays of a few instructions too: else one for which little
// fuel seems enough would never be measured again.
import { Vcpu } from "../domain";
import { current } from "../percpu";
import { sched_deadline } from "../sched/sched";
import { PerCpu, xen } from "../state";

/** Bytes of fuel one guest instruction costs (a decoded record). */
export const FUEL_PER_INSN: i32 = 32;
/** Instructions a run may take: V8 replaces a loop's baseline code only when it is entered again. */
const MAX_INSNS: u64 = 1_000_000;
const MIN_INSNS: u64 = 2_000;
/** Instructions of one measurement. */
const LESSON: u64 = 10_000;
/** Bounds of what is believed, and what a new vCPU is taken for, in ps an instruction. */
const LEAST: u64 = 100;
const MOST: u64 = 1_000_000;
export const FIRST_PS_PER_INSN: u32 = 10_000;
const DETERMINISTIC_PS_PER_INSN: u64 = 1000;
/** Without a deadline within this long (ns), a run is as long as may be. */
const FAR: u64 = 100_000_000;

/** Fuel for v until the next timer or the end of its slice. */
export function fuel_for(p: PerCpu, v: Vcpu, now: u64): i32 {
  let deadline = sched_deadline();
  if (p.timer_next != 0 && p.timer_next < deadline) deadline = p.timer_next;
  let insns = MAX_INSNS;
  if (deadline < now + FAR) {
    const ns = deadline > now ? deadline - now : 0;
    insns = (ns * 1000) / (xen().deterministic ? DETERMINISTIC_PS_PER_INSN : <u64>v.ps_per_insn);
    if (insns > MAX_INSNS) insns = MAX_INSNS;
    if (insns < MIN_INSNS) insns = MIN_INSNS;
  }
  return <i32>insns * FUEL_PER_INSN;
}

function median(a: u32, b: u32, c: u32): u32 {
  return max<u32>(min<u32>(a, b), min<u32>(max<u32>(a, b), c));
}

/** The current vCPU has run PerCpu.ran_insns instructions, its exits included, since PerCpu.ran_from until `now`. */
export function learn_speed(p: PerCpu, now: u64): void {
  const insns = p.ran_insns;
  if (insns == 0) return;
  p.ran_insns = 0;
  const v = current;
  v.lesson_insns += insns;
  v.lesson_ns += now - p.ran_from;
  if (v.lesson_insns < LESSON) return;
  const ps = <u32>min<u64>(MOST, max<u64>(LEAST, (v.lesson_ns * 1000) / v.lesson_insns));
  v.lesson_insns = 0;
  v.lesson_ns = 0;
  v.ps_per_insn = (v.ps_per_insn * 3 + median(ps, v.ps_before0, v.ps_before1)) >> 2;
  v.ps_before1 = v.ps_before0;
  v.ps_before0 = ps;
}
