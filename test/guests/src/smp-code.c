/*
 * Code that one vCPU changes and another executes (Intel SDM vol. 3, 9.1.3, cross-modifying code): after the other has seen a
 * flag and executed a serialising instruction, it executes the new bytes. rounds=N.
 */
#include "../lib/smp.h"
const char test_name[] = "smp-code";

static u8 code[2][PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u64 number, answer, seen, stop_running, ran, backwards;
static u64 rounds;

static void serialise(void) {
  u32 a = 0, b, c = 0, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}
static u32 call(void) {
  u32 v;
  __asm__ volatile("call *%1" : "=a"(v) : "r"(code[0]) : "memory");
  return v;
}
/* mov $value, %eax; ret, at the page's start. */
static void compose(u8 *at, u32 value) {
  at[0] = 0xb8;
  *(volatile u32 *)(at + 1) = value;
  at[5] = 0xc3;
}

/* Answers each number with what the function gives then; in between it runs all the time. */
static void answering(u64 cpu) {
  (void)cpu;
  for (u64 done = 0; !stop_running;) {
    u64 n = number;
    serialise();
    u32 v = call();
    ran++;
    if (n != done) {
      seen = v;
      answer = done = n;
    } else if (v < (u32)n) backwards++;
    __asm__ volatile("lock incq %0" : "+m"(*(u64 *)(code[0] + 2048)));
  }
}

static u64 stale;
static void announce(u64 i) {
  __atomic_store_n(&number, i, __ATOMIC_SEQ_CST);
  await_value(&answer, i);
  if (seen != i) stale++;
}

void test_main(void) {
  rounds = option("rounds", 1000);
  compose(code[0], 0);
  start_vcpu(1, answering, 1);
  u64 i = 0;
  for (; i < rounds;) {
    i++;
    *(volatile u32 *)(code[0] + 1) = (u32)i;
    announce(i);
  }
  ok("stores to code are seen", stale == 0);
  for (u64 end = i + rounds; i < end;) {
    i++;
    *(volatile u32 *)(code[0] + 1) = (u32)i;
    __asm__ volatile("lock incq %0" : "+m"(*(u64 *)(code[0] + 2048)));
    announce(i);
    call();
  }
  ok("when both execute it, with data beside it", stale == 0);
  for (u64 end = i + rounds; i < end;) {
    i++;
    compose(code[1], (u32)i);
    s64 rc = mmuext(MMUEXT_COPY_PAGE, mfn_of(code[0]), mfn_of(code[1]));
    if (rc) check("copy_page", rc, 0);
    announce(i);
  }
  ok("copies by Xen are seen", stale == 0);
  for (u64 end = i + rounds; i < end;) {
    i++;
    u8 bytes[8];
    compose(bytes, (u32)i);
    memcpy(code[0], bytes, 6);
    announce(i);
  }
  ok("string stores are seen", stale == 0);
  ok("nothing old is executed", backwards == 0);
  stop_running = 1;
  await_down(1);
}
