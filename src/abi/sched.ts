/** sched_op (public/sched.h). */
import { struct } from './layout.ts';

export const SCHEDOP = {
  yield: 0,
  block: 1,
  shutdown: 2,
  poll: 3,
  remote_shutdown: 4,
  shutdown_code: 5,
  watchdog: 6,
  pin_override: 7,
} as const;

/** Why a domain stopped. */
export const SHUTDOWN = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, soft_reset: 5, MAX: 5 } as const;

export const SchedShutdown = struct('sched_shutdown', [['reason', 'u32']]);

/** timeout: absolute, ns of system time; 0: none. */
export const SchedPoll = struct('sched_poll', [
  ['ports', 'u64'],
  ['nr_ports', 'u32'],
  ['timeout', 'u64'],
]);

export const SchedRemoteShutdown = struct('sched_remote_shutdown', [
  ['domain_id', 'u16'],
  ['reason', 'u32'],
]);

/** timeout in seconds. */
export const SchedWatchdog = struct('sched_watchdog', [
  ['id', 'u32'],
  ['timeout', 'u32'],
]);

export const SchedPinOverride = struct('sched_pin_override', [['pcpu', 'i32']]);
