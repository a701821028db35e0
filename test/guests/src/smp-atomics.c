/*
 * Locked instructions between vCPUs: none is lost, whatever the operand's size and alignment (Intel SDM vol. 3, 9.1.2: a locked
 * access is atomic even if it crosses a cache line or a page). cpus=N, rounds=N.
 */
#include "../lib/smp.h"
const char test_name[] = "smp-atomics";

static u8 area[3 * PAGE_SIZE] __attribute__((aligned(4096)));
static u64 pair[2] __attribute__((aligned(16)));
static u64 mixed[2] __attribute__((aligned(16)));
static u8 halves[128] __attribute__((aligned(128)));
static volatile u64 plain;
static struct barrier barrier;
static volatile u64 counted, even;
static u64 cpus, rounds;

#define AT64(offset) ((volatile u64 *)(area + (offset)))
#define AT32(offset) ((volatile u32 *)(area + (offset)))
#define AT16(offset) ((volatile u16 *)(area + (offset)))
enum {
  ALIGNED = 0, WITHIN = 67, LINE = 252, PAGE = PAGE_SIZE - 3, WORD = 2 * PAGE_SIZE - 1, XADD = 1021, EXCHANGE = 2 * PAGE_SIZE - 50, SPIN = 2 * PAGE_SIZE + 61,
};

/* The low half counts, the high half is its square; both change at once or not at all. */
static void count_pair(u64 *p) {
  u64 low = 0, high = 0;
  u8 done;
  do
    __asm__ volatile("mov %1, %%rbx; inc %%rbx; mov %%rbx, %%rcx; imul %%rcx, %%rcx; lock cmpxchg16b (%4); setz %0"
                     : "=q"(done), "+a"(low), "+d"(high), "+m"(*(unsigned __int128 *)p)
                     : "r"(p)
                     : "rbx", "rcx", "cc");
  while (!done);
}
/* Adds one to the low half, keeps the high one. */
static void add_by_16(u64 *p) {
  u64 low = 0, high = 0;
  u8 done;
  do
    __asm__ volatile("mov %1, %%rbx; inc %%rbx; mov %2, %%rcx; lock cmpxchg16b (%4); setz %0"
                     : "=q"(done), "+a"(low), "+d"(high), "+m"(*(unsigned __int128 *)p)
                     : "r"(p)
                     : "rbx", "rcx", "cc");
  while (!done);
}

static void work(u64 cpu) {
  meet(&barrier, cpus);
  for (u64 i = 0; i < rounds; i++) {
    __asm__ volatile("lock incq %0" : "+m"(*AT64(ALIGNED)));
    __asm__ volatile("lock incq %0" : "+m"(*AT64(WITHIN)));
    __asm__ volatile("lock addl $1, %0" : "+m"(*AT32(LINE + 2)));
    __asm__ volatile("lock incq %0" : "+m"(*AT64(PAGE)));
    __asm__ volatile("lock incw %0" : "+m"(*AT16(WORD)));
    u64 one = 1;
    __asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(*AT64(XADD)));
    u64 old = *AT64(EXCHANGE), seen;
    for (;;) {
      seen = old;
      __asm__ volatile("lock cmpxchgq %2, %1" : "+a"(seen), "+m"(*AT64(EXCHANGE)) : "r"(old + 1));
      if (seen == old) break;
      old = seen;
    }
    count_pair(pair);
    /* A spinlock whose word crosses a cache line. */
    u32 taken;
    for (u32 turn = 0;; relax(&turn)) {
      taken = 1;
      __asm__ volatile("xchgl %0, %1" : "+r"(taken), "+m"(*AT32(SPIN)) : : "memory");
      if (!taken) break;
    }
    plain = plain + 1;
    __asm__ volatile("movl $0, %0" : "=m"(*AT32(SPIN)) : : "memory");
  }
  /* Some count in 16 bytes, or in 8 that cross a line, while others count in 8 aligned ones of these. */
  meet(&barrier, cpus);
  if (cpu & 1) {
    for (u64 i = 0; i < rounds; i++) {
      add_by_16(mixed);
      __asm__ volatile("lock addq $0x10000, %0" : "+m"(*(u64 *)(halves + 62)));
    }
    __atomic_fetch_add(&counted, 1, __ATOMIC_SEQ_CST);
  } else {
    u64 n = 0;
    for (; counted < cpus / 2; n++) {
      __asm__ volatile("lock incq %0" : "+m"(mixed[0]));
      __asm__ volatile("lock incq %0" : "+m"(*(u64 *)(halves + 64)));
    }
    __atomic_fetch_add(&even, n, __ATOMIC_SEQ_CST);
  }
  meet(&barrier, cpus);
}

static void is(const char *what, u64 value, u64 wanted) {
  if (value != wanted) printf("%s: %u, not %u\n", what, value, wanted);
  ok(what, value == wanted);
}

void test_main(void) {
  cpus = option("cpus", 2);
  rounds = option("rounds", 2000);
  for (u32 i = 1; i < cpus; i++) start_vcpu(i, work, i);
  work(0);
  u64 n = cpus * rounds;
  is("aligned", *AT64(ALIGNED), n);
  is("within a line", *AT64(WITHIN), n);
  is("across a line", *AT32(LINE + 2), (u32)n);
  is("across a page", *AT64(PAGE), n);
  is("a word across a page", *AT16(WORD), (u16)n);
  is("xadd", *AT64(XADD), n);
  is("cmpxchg", *AT64(EXCHANGE), n);
  is("cmpxchg16b", pair[0], n);
  is("its other half", pair[1], n * n);
  u64 odd = cpus / 2 * rounds;
  is("8 and 16 bytes", mixed[0], odd + even);
  is("aligned and not", *(u64 *)(halves + 64), odd + even);
  is("xchg as a lock", plain, n);
  for (u32 i = 1; i < cpus; i++) await_down(i);
}
