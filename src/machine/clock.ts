/** The only reader of the host's clocks. One per thread; all threads of a machine agree on its boot time. */

export interface BootTime {
  /** Host's monotonic clock at machine boot, in ns (of `monotonic()`). */
  readonly mono: number;
  /** Nanoseconds since 1970 at machine boot. */
  readonly wall: number;
}

/** Host monotonic time in ns, the same clock in every thread of this process. */
function monotonic(): number {
  // performance.now() counts from timeOrigin, which differs between threads.
  if (typeof process !== 'undefined' && process.hrtime) return Number(process.hrtime.bigint());
  return (performance.timeOrigin + performance.now()) * 1e6;
}

export function bootTime(): BootTime {
  return { mono: monotonic(), wall: Date.now() * 1e6 };
}

/** Pairs of readings from which two clocks' difference is taken: one of them is not interrupted. */
const READINGS = 200;

/**
 * monotonic() less this thread's performance.now(), in ns. Of several readings the one that took least time counts: guests
 * see the threads' clocks side by side, so they must agree within less than it takes to pass a value from one to another.
 */
function clockDifference(): number {
  let best = Number.POSITIVE_INFINITY;
  let difference = 0;
  for (let i = 0; i < READINGS; i++) {
    const before = monotonic();
    const now = performance.now() * 1e6;
    const took = monotonic() - before;
    if (took >= best) continue;
    best = took;
    difference = before + took / 2 - now;
  }
  return difference;
}

/** ns since machine boot, cheap (about 55 ns a call) and never backwards in one thread. */
export function createClock(boot: BootTime): () => number {
  const offset = clockDifference() - boot.mono;
  // Looking the global up takes a fifth of the time.
  const clock = performance;
  let last = 0;
  return () => {
    const t = clock.now() * 1e6 + offset;
    if (t > last) last = t;
    return last;
  };
}
