// Timers. Each pCPU has a pairing heap of Timer structs, linked through the structs themselves, under its timer_lock.
// A timer's function runs on its pCPU with no lock held.
import { PerCpu, SOFTIRQ_TIMER, percpu_of, raise_softirq, this_cpu } from "../state";
import { spin_lock, spin_unlock, stop_if_panicked } from "../spinlock";
import { slot } from "../percpu";
import { pcpu_kick } from "../sched/kick";
import { timer_function } from "./timer_functions";

/** One that was killed: it cannot be armed any more. */
const TIMER_DEAD: u32 = 0;
export const TIMER_SINGLESHOT: u32 = 1;
export const TIMER_PERIODIC: u32 = 2;
export const TIMER_POLL: u32 = 3;
export const TIMER_WATCHDOG: u32 = 4;
/** The schedulers': one a domain, one a pool. */
export const TIMER_SCHED_DOMAIN: u32 = 5;
export const TIMER_SCHED_POOL: u32 = 6;
/** A local APIC's (hvm/vlapic.ts). */
export const TIMER_VLAPIC: u32 = 7;

@unmanaged
export class Timer {
  /** System time at which it is due. */
  expires: u64;
  /** pCPU whose heap it belongs to. */
  cpu: u32;
  /** TIMER_* and what it is about (Vcpu, or Domain; `arg` tells several of one kind apart). */
  kind: u32;
  data: usize;
  arg: u32;
  active: u32;
  /** Pairing heap: first child, next sibling, and previous sibling or parent. */
  child: Timer;
  next: Timer;
  prev: Timer;
}

const NONE = changetype<Timer>(0);

// @ts-ignore: decorator
@inline
function lock_of(p: PerCpu): usize {
  return changetype<usize>(p) + offsetof<PerCpu>("timer_lock");
}

function meld(a: Timer, b: Timer): Timer {
  if (changetype<usize>(a) == 0) return b;
  if (changetype<usize>(b) == 0) return a;
  if (b.expires < a.expires) {
    const t = a;
    a = b;
    b = t;
  }
  // b becomes a's first child
  b.next = a.child;
  if (changetype<usize>(a.child) != 0) a.child.prev = b;
  b.prev = a;
  a.child = b;
  return a;
}

/** Melds a list of siblings into one heap, in two passes without recursion. */
function meld_siblings(first: Timer): Timer {
  let pairs = NONE;
  while (changetype<usize>(first) != 0) {
    const a = first;
    const b = a.next;
    first = changetype<usize>(b) != 0 ? b.next : NONE;
    a.next = NONE;
    a.prev = NONE;
    if (changetype<usize>(b) != 0) {
      b.next = NONE;
      b.prev = NONE;
    }
    const m = meld(a, b);
    m.next = pairs;
    pairs = m;
  }
  let root = NONE;
  while (changetype<usize>(pairs) != 0) {
    const n = pairs.next;
    pairs.next = NONE;
    root = meld(root, pairs);
    pairs = n;
  }
  return root;
}

function set_root(p: PerCpu, root: Timer): void {
  p.timer_heap = changetype<usize>(root);
  p.timer_next = changetype<usize>(root) != 0 ? root.expires : 0;
}

function heap_insert(p: PerCpu, t: Timer): void {
  t.child = NONE;
  t.next = NONE;
  t.prev = NONE;
  t.active = 1;
  set_root(p, meld(changetype<Timer>(p.timer_heap), t));
}

function heap_remove(p: PerCpu, t: Timer): void {
  t.active = 0;
  const kids = meld_siblings(t.child);
  t.child = NONE;
  if (changetype<usize>(t) == p.timer_heap) {
    set_root(p, kids);
    return;
  }
  if (t.prev.child == t) t.prev.child = t.next;
  else t.prev.next = t.next;
  if (changetype<usize>(t.next) != 0) t.next.prev = t.prev;
  t.next = NONE;
  t.prev = NONE;
  set_root(p, meld(changetype<Timer>(p.timer_heap), kids));
}

/** Locks the heap that the timer is on now. */
function lock_timer(t: Timer): PerCpu {
  let p = percpu_of(t.cpu);
  spin_lock(lock_of(p));
  while (percpu_of(t.cpu) != p) {
    spin_unlock(lock_of(p));
    p = percpu_of(t.cpu);
    spin_lock(lock_of(p));
  }
  return p;
}

export function init_timer(t: Timer, kind: u32, data: usize, arg: u32, cpu: u32): void {
  t.kind = kind;
  t.data = data;
  t.arg = arg;
  t.cpu = cpu;
  t.active = 0;
}

/** (Re)arms the timer for system time `expires`. */
export function set_timer(t: Timer, expires: u64): void {
  const p = lock_timer(t);
  if (t.kind == TIMER_DEAD) {
    spin_unlock(lock_of(p));
    return;
  }
  if (t.active) heap_remove(p, t);
  t.expires = expires;
  heap_insert(p, t);
  const first = p.timer_heap == changetype<usize>(t);
  spin_unlock(lock_of(p));
  if (first) {
    raise_softirq(p, SOFTIRQ_TIMER);
    if (p.slot != slot) pcpu_kick(p);
  }
}

export function stop_timer(t: Timer): void {
  const p = lock_timer(t);
  if (t.active) heap_remove(p, t);
  spin_unlock(lock_of(p));
}

/** Stops it for good: when this returns its function does not run and will not. The caller holds no lock it takes. */
export function kill_timer(t: Timer): void {
  const p = lock_timer(t);
  if (t.active) heap_remove(p, t);
  // Its function, if it runs just now, may want to arm it again.
  t.kind = TIMER_DEAD;
  spin_unlock(lock_of(p));
  if (p.slot != slot) {
    while (atomic.load<usize>(changetype<usize>(p) + offsetof<PerCpu>("timer_running")) == changetype<usize>(t)) stop_if_panicked();
  }
}

/** Moves it to another pCPU's heap. */
export function migrate_timer(t: Timer, cpu: u32): void {
  if (t.cpu == cpu) return;
  const p = lock_timer(t);
  const active = t.active;
  if (active) heap_remove(p, t);
  t.cpu = cpu;
  spin_unlock(lock_of(p));
  if (active) set_timer(t, t.expires);
}

/** Runs what is due on this pCPU. */
export function run_timers(now: u64): void {
  const p = this_cpu();
  while (p.timer_next != 0 && p.timer_next <= now) {
    spin_lock(lock_of(p));
    const t = changetype<Timer>(p.timer_heap);
    if (changetype<usize>(t) == 0 || t.expires > now) {
      spin_unlock(lock_of(p));
      return;
    }
    heap_remove(p, t);
    atomic.store<usize>(changetype<usize>(p) + offsetof<PerCpu>("timer_running"), changetype<usize>(t));
    spin_unlock(lock_of(p));
    timer_function(t, now);
    atomic.store<usize>(changetype<usize>(p) + offsetof<PerCpu>("timer_running"), 0);
  }
}
