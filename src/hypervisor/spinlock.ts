// Spinlocks in machine memory. A lock is a u64 field of a struct: low half the holder's slot + 1 (0: free), high half
// the address of its name (a string constant: the same address in every instance of this module). A bounded spin that
// fails is a deadlock: the machine panics with the lock's name and holder.
import { add_locks_held, slot, slot_kind } from "./percpu";
import { MachineInfo, MACHINE_INFO_ADDRESS } from "./abi";
import { log_start, log_str, log_dec, panic_line } from "./log";

/** Spins before a held lock is called a deadlock: many seconds, as the host may have put the holder's thread aside. */
const SPIN_LIMIT: u64 = 4_000_000_000;

/** Initialises the lock at `lock`; `name` must be a string literal. */
export function spin_lock_init(lock: usize, name: string): void {
  store<u32>(lock, changetype<usize>(name), 4);
  atomic.store<u32>(lock, 0);
}

/** Takes the lock. Not recursive. */
export function spin_lock(lock: usize): void {
  const me = slot + 1;
  if (atomic.cmpxchg<u32>(lock, 0, me) != 0) spin_slow(lock, me);
  add_locks_held(1);
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
  log_str(changetype<string>(load<u32>(lock, 4)));
  log_str("' held by slot ");
  log_dec(atomic.load<u32>(lock) - 1);
  log_str(", wanted by slot ");
  log_dec(slot);
  panic_line();
}

/** Takes the lock if it is free. */
export function spin_trylock(lock: usize): bool {
  if (atomic.cmpxchg<u32>(lock, 0, slot + 1) != 0) return false;
  add_locks_held(1);
  return true;
}

export function spin_unlock(lock: usize): void {
  if (atomic.load<u32>(lock) != slot + 1) {
    log_start();
    log_str("lock '");
    log_str(changetype<string>(load<u32>(lock, 4)));
    log_str("' released by a slot that does not hold it");
    panic_line();
  }
  add_locks_held(-1);
  atomic.store<u32>(lock, 0);
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
