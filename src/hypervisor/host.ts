// What the hypervisor asks of the machine it runs on (docs/architecture.md, module "host"). None of these may be
// called with a spinlock held, except panic.

/** The host's monotonic clock in ns. */
// @ts-ignore: decorator
@external("host", "now")
export declare function host_now(): i64;

/** Nanoseconds since 1970 at machine boot. */
// @ts-ignore: decorator
@external("host", "wall")
export declare function host_wall(): f64;

/** Sleeps while the u32 at `addr` equals `expected`, at most `timeout_ns` (negative: for ever). */
// @ts-ignore: decorator
@external("host", "wait")
export declare function host_wait(addr: usize, expected: u32, timeout_ns: f64): void;

/** Wakes every thread that sleeps on the u32 at `addr`. */
// @ts-ignore: decorator
@external("host", "notify")
export declare function host_notify(addr: usize): void;

/** One or more lines of UTF-8 text for the hypervisor's log. */
// @ts-ignore: decorator
@external("host", "log")
export declare function host_log(ptr: usize, len: u32): void;

/** The machine is broken: report the text; does not return. */
// @ts-ignore: decorator
@external("host", "panic")
export declare function host_panic(ptr: usize, len: u32): void;

/** 64 random bits. */
// @ts-ignore: decorator
@external("host", "random")
export declare function host_random(): i64;
