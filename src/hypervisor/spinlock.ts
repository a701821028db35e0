// Spinlocks in machine memory. A lock is a u64 field of a struct: low half the holder's slot + 1 (0: free), high half its
// kind (locks.ts). A bounded spin that fails is a deadlock: the machine panics with the lock's name and holder.
import { lock_name } from "./locks";
import { add_locks_held, check_locks, locks_held, slot, slot_kind } from "./percpu";
import { this_cpu } from "./state";
import { MachineInfo, MACHINE_INFO_ADDRESS } from "./abi";
import { log_start, log_str, log_dec, panic_line } from "./log";

/** Spins before a held lock is called a deadlock: many seconds, as the host may have put the holder's thread aside. */
const SPIN_LIMIT: u64 = 4_000_000_000;

/** Initialises the lock at `lock`; `kind` is LOCK_*. */
export function spin_lock_init(lock: usize, kind: u32): void {
  store<u32>(lock, kind, 4);
  atomic.store<u32>(lock, 0);
}

// @ts-ignore: decorator
@inline
function kind_of(lock: usize): u32 {
  return load<u32>(lock, 4);
}

/** Takes the lock. Not recursive. */
export function spin_lock(lock: usize): void {
  if (check_locks) check_order(lock);
  const me = slot + 1;
  if (atomic.cmpxchg<u32>(lock, 0, me) != 0) spin_slow(lock, me);
  add_locks_held(1);
  if (check_locks) note_held(lock);
}

function spin_slow(lock: usize, me: u32): void {
  for (let n: u64 = 0; n < SPIN_LIMIT; n++) {
    const held = atomic.load<u32>(lock);
    if (held == me) break;
    if (held != 0) relax(<u32>n + 1, lock, held);
    if (held == 0 && atomic.cmpxchg<u32>(lock, 0, me) == 0) return;
  }
  log_start();
  log_str("deadlock on lock '");
  log_str(lock_name(kind_of(lock)));
  log_str("' held by slot ");
  log_dec(atomic.load<u32>(lock) - 1);
  log_str(", wanted by slot ");
  log_dec(slot);
  panic_line();
}

/** Takes the lock if it is free. As it does not wait, the order does not matter. */
export function spin_trylock(lock: usize): bool {
  if (atomic.cmpxchg<u32>(lock, 0, slot + 1) != 0) return false;
  add_locks_held(1);
  if (check_locks) note_held(lock);
  return true;
}

export function spin_unlock(lock: usize): void {
  if (atomic.load<u32>(lock) != slot + 1) {
    log_start();
    log_str("lock '");
    log_str(lock_name(kind_of(lock)));
    log_str("' released by a slot that does not hold it");
    panic_line();
  }
  if (check_locks) note_released(lock);
  add_locks_held(-1);
  atomic.store<u32>(lock, 0);
}

/** Most locks that are held at once. */
const MAX_HELD: u32 = 16;
/** Bytes of PerCpu.held. */
export const HELD_SIZE: u32 = MAX_HELD << 2;

/** Panics if a lock is held that `lock` may not be taken under. */
function check_order(lock: usize): void {
  const held = this_cpu().held;
  for (let i: u32 = 0; i < locks_held; i++) {
    const other = <usize>load<u32>(held + (i << 2));
    if (kind_of(other) < kind_of(lock) || (kind_of(other) == kind_of(lock) && other < lock)) continue;
    log_start();
    log_str("lock order: '");
    log_str(lock_name(kind_of(lock)));
    log_str("' wanted while '");
    log_str(lock_name(kind_of(other)));
    log_str("' is held");
    panic_line();
  }
}

function note_held(lock: usize): void {
  if (locks_held > MAX_HELD) {
    log_start();
    log_str("too many locks held");
    panic_line();
  }
  store<u32>(this_cpu().held + ((locks_held - 1) << 2), <u32>lock);
}

function note_released(lock: usize): void {
  const held = this_cpu().held;
  let i: u32 = 0;
  while (i < locks_held && load<u32>(held + (i << 2)) != <u32>lock) i++;
  for (; i + 1 < locks_held; i++) store<u32>(held + (i << 2), load<u32>(held + ((i + 1) << 2)));
}

export function spin_is_held(lock: usize): bool {
  return atomic.load<u32>(lock) == slot + 1;
}

/** Turns of a waiting loop before the thread is put aside (some 30 µs), and for how long (ns; the host adds to it). */
const TURNS: u32 = 0x3fff;
const ASIDE: i64 = 20_000;

/**
 * One turn of a loop that waits for another CPU, until the u32 at `word` is no longer `value`; `turn` counts from 1. Who is
 * waited for may have been put aside by the host, for want of cores: then the waiter lets go of its own for a moment.
 */
export function relax(turn: u32, word: usize, value: u32): void {
  if ((turn & TURNS) != 0) return;
  stop_if_panicked();
  // A wasm instruction, not a host import. A browser's main thread may not sleep.
  if (slot_kind == 0) atomic.wait<i32>(word, <i32>value, ASIDE);
}

/** Called in every loop that waits for another CPU: one that has panicked will not answer. */
export function stop_if_panicked(): void {
  if (atomic.load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.panic)) {
    log_start();
    log_str("another CPU has panicked");
    panic_line();
  }
}
