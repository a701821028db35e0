/*
 * One vCPU changes page tables while another uses them: when a flush has returned, the other sees the new mapping; when a
 * frame has become a page table, the other cannot write to it; when it loads CR3 again, it sees what was changed since,
 * without a flush. rounds=N.
 */
#include "../lib/smp.h"
const char test_name[] = "smp-tlb";

static u8 window[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u64 pages[2][512] __attribute__((aligned(4096)));
static u64 root2[512] __attribute__((aligned(4096)));
static u64 rounds, root1_mfn;

/* What vCPU 1 is to do; it answers by the same number. */
enum { IDLE, READ, WRITE, SWITCH_AWAY, SWITCH_BACK, END };
static volatile u64 request, answer, number, seen, faults;

/* vCPU 1's stores to a page that is a table now fault; they are `mov %rax, (%rdx)`. */
static bool skip_store(struct regs *r) {
  if (r->vector != 14 || *(u8 *)r->rip != 0x48) return false;
  r->rip += 3;
  faults++;
  return true;
}

/* Reads, or writes, all the time, and says what it read after it saw the request's number. */
static void other(u64 cpu) {
  (void)cpu;
  u64 done = 0;
  for (u32 turn = 0;; ) {
    u64 n = number;
    switch (request) {
    case READ: {
      u64 value = *(volatile u64 *)window;
      if (n != done) seen = value;
      break;
    }
    case WRITE:
      __asm__ volatile("mov %0, (%1)" : : "a"(0x1000ul + n), "d"(window) : "memory");
      break;
    case SWITCH_AWAY:
      if (n != done) {
        seen = *(volatile u64 *)window;
        mmuext(MMUEXT_NEW_BASEPTR, mfn_of(root2), 0);
        seen += *(volatile u64 *)window;
      }
      break;
    case SWITCH_BACK:
      if (n != done) {
        mmuext(MMUEXT_NEW_BASEPTR, root1_mfn, 0);
        seen = *(volatile u64 *)window;
      }
      break;
    case END: return;
    default: relax(&turn);
    }
    if (n != done) answer = done = n;
  }
}

static void ask(u64 what) {
  request = what;
  number++;
  await_value(&answer, number);
}
static void map_window(u64 mfn, u64 pte_flags, u64 uvmf) {
  s64 rc = HC3(update_va_mapping, P(window), mfn ? mfn << 12 | pte_flags : 0, uvmf);
  if (rc) check("update_va_mapping", rc, 0);
}
static u64 target(u64 i) { return mfn_of((void *)pages[i & 1]); }

enum { ALL_PAGE, MULTI_PAGE, ALL, MULTI, BY_MAPPING };
static void flushes(const char *what, u32 how) {
  u64 stale = 0;
  u64 mask = 2;
  map_window(target(0), KERNEL_RW, UVMF_INVLPG | UVMF_ALL);
  ask(READ);
  for (u64 i = 1; i <= rounds; i++) {
    map_window(target(i), KERNEL_RW, how == BY_MAPPING ? UVMF_INVLPG | UVMF_ALL : UVMF_NONE);
    if (how == ALL_PAGE) mmuext(MMUEXT_INVLPG_ALL, P(window), 0);
    if (how == MULTI_PAGE) mmuext(MMUEXT_INVLPG_MULTI, P(window), P(&mask));
    if (how == ALL) mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0);
    if (how == MULTI) mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, P(&mask));
    ask(READ);
    if (seen != pages[i & 1][0]) stale++;
  }
  request = IDLE;
  if (stale) printf("%u stale of %u\n", stale, rounds);
  ok(what, stale == 0);
}

/* The page that vCPU 1 writes to becomes a page table, without any flush. */
static void writable(void) {
  u64 changed = 0, refused = 0;
  faults = 0;
  for (u64 i = 0; i < rounds; i++) {
    for (u32 k = 0; k < 512; k++) pages[0][k] = 0;
    map_window(target(0), KERNEL_RW, UVMF_INVLPG | UVMF_ALL);
    ask(WRITE);
    /* Our own mapping of it, then the one that it writes through. */
    map_self((void *)pages[0], KERNEL_RO);
    /* Made read-only in turn, or taken away. */
    map_window(i & 1 ? target(0) : 0, KERNEL_RO, UVMF_NONE);
    s64 rc = mmuext(MMUEXT_PIN_L1, target(0), 0);
    u64 was = pages[0][0];
    if (rc) refused++; /* it is no table if its first entry is something that may not be */
    else
      for (u32 k = 0; k < 2000; k++)
        if (pages[0][0] != was) changed++;
    request = IDLE;
    ask(IDLE);
    if (!rc) {
      if (pages[0][0] != was) changed++;
      mmuext(MMUEXT_UNPIN, target(0), 0);
    }
    map_self((void *)pages[0], KERNEL_RW);
  }
  ok("a page table is not written to", changed == 0);
  if (refused) printf("%u refused\n", refused);
  ok("the stores fault", faults != 0);
  pages[0][0] = 11;
}

/* vCPU 1 leaves the address space; comes back; nobody has flushed. */
static void reload(void) {
  u64 stale = 0;
  memcpy(root2, (void *)si->pt_base, PAGE_SIZE);
  for (u32 i = 256; i < 272; i++) root2[i] = 0;
  map_self(root2, KERNEL_RO);
  check("a second root", mmuext(MMUEXT_PIN_L4, mfn_of(root2), 0), 0);
  map_window(target(0), KERNEL_RW, UVMF_INVLPG | UVMF_ALL);
  for (u64 i = 1; i <= rounds; i++) {
    ask(SWITCH_AWAY);
    if (seen != 2 * pages[(i - 1) & 1][0]) stale++;
    map_window(target(i), KERNEL_RW, UVMF_NONE);
    ask(SWITCH_BACK);
    if (seen != pages[i & 1][0]) stale++;
  }
  request = IDLE;
  ok("a loaded CR3 sees what was changed", stale == 0);
}

void test_main(void) {
  rounds = option("rounds", 300);
  root1_mfn = mfn_of((void *)si->pt_base);
  on_trap = skip_store;
  pages[0][0] = 11;
  pages[1][0] = 22;
  start_vcpu(1, other, 1);
  flushes("invlpg everywhere", ALL_PAGE);
  flushes("invlpg on some", MULTI_PAGE);
  flushes("flush everywhere", ALL);
  flushes("flush on some", MULTI);
  flushes("update_va_mapping with invlpg", BY_MAPPING);
  writable();
  reload();
  request = END;
  await_down(1);
}
