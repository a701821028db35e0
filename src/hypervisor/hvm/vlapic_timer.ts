// The timer of a local APIC: one-shot and periodic; its bus runs at 100 MHz, as Xen's (APIC_BUS_CYCLE_NS).
import { Domain, Vcpu } from "../domain";
import { NOW } from "../time/clock";
import { TIMER_VLAPIC, init_timer, kill_timer, migrate_timer, set_timer, stop_timer } from "../time/timer";
import { APIC_LVTT, APIC_TDCR, APIC_TMICT, LVT_MASKED, Vlapic, vcpu_vlapic, vlapic_get_reg, vlapic_set_irq, vlapic_set_reg } from "./vlapic";

const APIC_BUS_CYCLE_NS: u64 = 10;
/** Shortest period that a guest may have interrupts in. */
const PERIOD_MIN: u64 = 900_000;
export const LVTT_PERIODIC: u32 = 1 << 17;

export function vlapic_timer_init(v: Vcpu, l: Vlapic): void {
  init_timer(l.timer, TIMER_VLAPIC, changetype<usize>(v), 0, v.processor);
}
export function vlapic_timer_kill(l: Vlapic): void {
  kill_timer(l.timer);
}
export function vlapic_timer_stop(l: Vlapic): void {
  stop_timer(l.timer);
}
export function vlapic_timer_migrate(v: Vcpu): void {
  migrate_timer(vcpu_vlapic(v).timer, v.processor);
}

function periodic(l: Vlapic): bool {
  return (vlapic_get_reg(l, APIC_LVTT) & LVTT_PERIODIC) != 0;
}

/** Nanoseconds from the initial count to 0. */
function period_of(l: Vlapic): u64 {
  const ns = APIC_BUS_CYCLE_NS * <u64>vlapic_get_reg(l, APIC_TMICT) * <u64>l.timer_divisor;
  return periodic(l) && ns < PERIOD_MIN ? PERIOD_MIN : ns;
}

/** Counts from the initial count again. */
export function vlapic_timer_start(l: Vlapic): void {
  if (vlapic_get_reg(l, APIC_TMICT) == 0) {
    stop_timer(l.timer);
    return;
  }
  l.timer_last_update = NOW();
  set_timer(l.timer, l.timer_last_update + period_of(l));
}

/** The current count. */
export function vlapic_get_tmcct(l: Vlapic): u32 {
  const initial = vlapic_get_reg(l, APIC_TMICT);
  if (initial == 0) return 0;
  const passed = (NOW() - l.timer_last_update) / (APIC_BUS_CYCLE_NS * <u64>l.timer_divisor);
  if (periodic(l)) return initial - <u32>(passed % <u64>initial);
  return passed >= <u64>initial ? 0 : initial - <u32>passed;
}

/** TDCR was written: bits 0, 1 and 3 say by what power of two, 7 by one. */
export function vlapic_set_tdcr(l: Vlapic, x: u32): void {
  const bits = x & 0xb;
  vlapic_set_reg(l, APIC_TDCR, bits);
  l.timer_divisor = 1 << ((((bits & 3) | ((bits & 8) >> 1)) + 1) & 7);
}

// @ts-ignore: decorator
@inline
function stalled_of(l: Vlapic): usize {
  return changetype<usize>(l) + offsetof<Vlapic>("timer_stalled");
}

function is_paused(v: Vcpu): bool {
  const counts = atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_count")) |
    atomic.load<u32>(changetype<usize>(v.domain) + offsetof<Domain>("pause_count"));
  return counts != 0;
}

/** The next tick; what was missed is not made up for: it falls on the grid. */
function arm_again(l: Vlapic, now: u64): void {
  const period = period_of(l);
  const last = now - ((now - l.timer_last_update) % period);
  l.timer_last_update = last;
  set_timer(l.timer, last + period);
}

export function vlapic_timer_fired(v: Vcpu, now: u64): void {
  const l = vcpu_vlapic(v);
  const lvtt = vlapic_get_reg(l, APIC_LVTT);
  if (vlapic_get_reg(l, APIC_TMICT) == 0) return;
  if (!(lvtt & LVT_MASKED)) vlapic_set_irq(v, lvtt & 0xff, false);
  if (!periodic(l)) return;
  // A vCPU that stands still, perhaps for good, needs no ticks.
  if (is_paused(v)) {
    atomic.store<u32>(stalled_of(l), 1);
    if (is_paused(v) || atomic.xchg<u32>(stalled_of(l), 0) == 0) return;
  }
  arm_again(l, now);
}

/** The vCPU runs again. */
export function vlapic_timer_resume(v: Vcpu, now: u64): void {
  const l = vcpu_vlapic(v);
  if (atomic.load<u32>(stalled_of(l)) == 0 || atomic.xchg<u32>(stalled_of(l), 0) == 0) return;
  if (periodic(l) && vlapic_get_reg(l, APIC_TMICT) != 0) arm_again(l, now);
}
