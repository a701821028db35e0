// Domain watchdogs (SCHEDOP_watchdog): two a domain, each of which shuts it down when not poked in time.
import { ERRNO, SHUTDOWN } from "../abi";
import { Domain } from "../domain";
import { Timer, TIMER_WATCHDOG, init_timer, kill_timer, set_timer, stop_timer } from "../time/timer";
import { NOW, SECONDS } from "../time/clock";
import { domain_shutdown } from "../shutdown";
import { spin_lock, spin_unlock } from "../spinlock";
import { xzalloc, xfree } from "../mm/xmalloc";
import { log_dec, log_end, log_start, log_str } from "../log";

const NR_WATCHDOGS: u32 = 2;

function timer_of(d: Domain, i: u32): Timer {
  return changetype<Timer>(d.watchdog_timers + i * <u32>offsetof<Timer>());
}

export function watchdogs_create(d: Domain): bool {
  const t = xzalloc(NR_WATCHDOGS * <u32>offsetof<Timer>(), 8);
  if (t == 0) return false;
  d.watchdog_timers = t;
  for (let i: u32 = 0; i < NR_WATCHDOGS; i++) init_timer(timer_of(d, i), TIMER_WATCHDOG, changetype<usize>(d), i, 0);
  return true;
}

/** The domain is dying: none will fire any more. */
export function watchdogs_kill(d: Domain): void {
  for (let i: u32 = 0; i < NR_WATCHDOGS; i++) kill_timer(timer_of(d, i));
}

export function watchdogs_free(d: Domain): void {
  if (d.watchdog_timers != 0) xfree(d.watchdog_timers);
  d.watchdog_timers = 0;
}

export function watchdog_fired(d: Domain, i: u32): void {
  log_start();
  log_str("Watchdog timer ");
  log_dec(i);
  log_str(" fired for domain ");
  log_dec(d.domid);
  log_end();
  domain_shutdown(d, SHUTDOWN.watchdog);
}

/** id 0: start one, giving its id; else poke it, or stop it with time-out 0. Seconds. */
export function domain_watchdog(d: Domain, id: u32, timeout: u32): i64 {
  if (id > NR_WATCHDOGS) return -ERRNO.EINVAL;
  const deadline = NOW() + <u64>timeout * SECONDS;
  const lock = changetype<usize>(d) + offsetof<Domain>("domain_lock");
  spin_lock(lock);
  let rc: i64 = 0;
  if (id == 0) {
    if (timeout == 0) rc = -ERRNO.EINVAL;
    else {
      rc = -ERRNO.ENOSPC;
      for (let i: u32 = 0; i < NR_WATCHDOGS; i++) {
        if (d.watchdog_inuse & (1 << i)) continue;
        d.watchdog_inuse |= 1 << i;
        set_timer(timer_of(d, i), deadline);
        rc = <i64>i + 1;
        break;
      }
    }
  } else if (!(d.watchdog_inuse & (1 << (id - 1)))) rc = -ERRNO.EINVAL;
  else if (timeout == 0) {
    stop_timer(timer_of(d, id - 1));
    d.watchdog_inuse &= ~(1 << (id - 1));
  } else set_timer(timer_of(d, id - 1), deadline);
  spin_unlock(lock);
  return rc;
}
