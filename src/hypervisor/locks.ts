// Every kind of spinlock, in the order in which they nest: while one is held, only a later kind may be taken, or another of
// the same kind at a higher address. docs/locks.md says what each guards. With MachineInfo.check_locks set, spin_lock
// checks the order and panics when it is broken (tests with several pCPUs run so).

export const LOCK_shutdown: u32 = 1;
export const LOCK_domain: u32 = 2;
export const LOCK_grant_table: u32 = 3;
export const LOCK_maptrack: u32 = 4;
export const LOCK_domlist: u32 = 5;
export const LOCK_evtchn: u32 = 6;
export const LOCK_virq_handlers: u32 = 7;
export const LOCK_virq: u32 = 8;
export const LOCK_event_channel: u32 = 9;
export const LOCK_evtchn_fifo: u32 = 10;
export const LOCK_console: u32 = 11;
export const LOCK_p2m: u32 = 12;
export const LOCK_page_alloc: u32 = 13;
export const LOCK_heap: u32 = 14;
export const LOCK_xmalloc: u32 = 15;
export const LOCK_sched: u32 = 16;
export const LOCK_timer: u32 = 17;
export const LOCK_shootdown: u32 = 18;
export const LOCK_current: u32 = 19;

export function lock_name(kind: u32): string {
  switch (kind) {
    case LOCK_shutdown:
      return "shutdown";
    case LOCK_domain:
      return "domain";
    case LOCK_p2m:
      return "p2m";
    case LOCK_page_alloc:
      return "page_alloc";
    case LOCK_domlist:
      return "domlist";
    case LOCK_evtchn:
      return "evtchn";
    case LOCK_grant_table:
      return "grant table";
    case LOCK_maptrack:
      return "maptrack";
    case LOCK_virq_handlers:
      return "virq handlers";
    case LOCK_virq:
      return "virq";
    case LOCK_event_channel:
      return "event channel";
    case LOCK_evtchn_fifo:
      return "evtchn_fifo";
    case LOCK_console:
      return "console";
    case LOCK_heap:
      return "heap";
    case LOCK_xmalloc:
      return "xmalloc";
    case LOCK_sched:
      return "sched";
    case LOCK_timer:
      return "timer";
    case LOCK_shootdown:
      return "shootdown";
    case LOCK_current:
      return "current";
    default:
      return "?";
  }
}
