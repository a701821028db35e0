/* Hardware breakpoints of a PV guest: what is watched, what #DB says of it, and what it leaves alone. */
#include "../lib/lib.h"

const char test_name[] = "debug";

#define EXECUTE 0
#define WRITE 1
#define ACCESS 3
#define DR6_INIT 0xffff0ff0
#define TF 0x100
#define RF 0x10000

static volatile u8 page[8192] __attribute__((aligned(4096)));
#define AT(offset) ((volatile u64 *)(page + (offset)))

static volatile u32 traps;
static volatile u64 dr6, trapped_at, counter_then;
static bool resume_flag, stop_steps;

static bool debug_trap(struct regs *r) {
  if (r->vector != 1) return false;
  traps++;
  dr6 = HC1(get_debugreg, 6) & 0x400f;
  trapped_at = r->rip;
  counter_then = r->rcx;
  HC2(set_debugreg, 6, DR6_INIT);
  if (resume_flag) r->rflags |= RF;
  if (stop_steps) r->rflags &= ~(u64)TF;
  return true;
}

static void watch(u32 n, u64 address, u32 type, u32 length) {
  HC2(set_debugreg, n, address);
  u64 dr7 = HC1(get_debugreg, 7);
  dr7 &= ~((u64)3 << 2 * n | (u64)15 << (16 + 4 * n));
  u64 len = length == 8 ? 2 : length - 1;
  dr7 |= (u64)2 << 2 * n | (type | len << 2) << (16 + 4 * n);
  HC2(set_debugreg, 7, dr7);
}
static void watch_nothing(void) { HC2(set_debugreg, 7, 0x400); }

/* One instruction; where it ends is `after`. */
#define SEE(what, code, ...)                                              \
  do {                                                                    \
    u64 after;                                                            \
    traps = 0, dr6 = 0, trapped_at = 0;                                   \
    __asm__ volatile("lea 1f(%%rip), %0\n\t" code "\n1:\tnop" : "=&r"(after) : __VA_ARGS__ : "rax", "memory", "cc"); \
    printf("%s: %u traps, dr6 %x%s\n", what, (u64)traps, dr6, traps && trapped_at == after ? ", after it" : ""); \
  } while (0)

static __attribute__((noinline)) u64 function(u64 n) {
  __asm__ volatile("" ::: "memory");
  return n + 1;
}

void test_main(void) {
  on_trap = debug_trap;
  page[0] = 1;
  watch(0, P(AT(16)), WRITE, 8);
  SEE("write of what is watched", "movq $5, (%1)", "r"(AT(16)));
  ok("it was written", *AT(16) == 5);
  SEE("read of it", "movq (%1), %%rax", "r"(AT(16)));
  SEE("write beside it", "movq $5, (%1)", "r"(AT(24)));
  SEE("write of a part", "movb $5, 3(%1)", "r"(AT(16)));
  SEE("write across its start", "movl $5, -2(%1)", "r"(AT(16)));
  SEE("locked addition", "lock addl $5, (%1)", "r"(AT(16)));
  SEE("exchange", "xchg %%rax, (%1)", "r"(AT(16)));
  watch(0, P(AT(16)), ACCESS, 4);
  SEE("read where accesses are watched", "movq (%1), %%rax", "r"(AT(16)));
  SEE("read of the next four bytes", "movl 4(%1), %%eax", "r"(AT(16)));
  watch(1, P(AT(64)), WRITE, 1);
{
    volatile void *from = AT(16), *to = AT(64);
    traps = 0;
    __asm__ volatile("movsb" : "+S"(from), "+D"(to)::"memory");
    printf("two at once: %u traps, dr6 %x\n", (u64)traps, dr6);
  }
  watch_nothing();
  SEE("nothing is watched", "movq $5, (%1)", "r"(AT(16)));

  watch(3, P(AT(4096)), WRITE, 2);
  SEE("write across two pages", "movq $5, -4(%1)", "r"(AT(4096)));
  SEE("write that ends before it", "movl $5, -4(%1)", "r"(AT(4096)));
  watch_nothing();

  /* A long string that passes what is watched. */
  watch(2, P(page + 100), WRITE, 1);
  traps = 0;
  {
    u64 n = 200;
    volatile u8 *to = page;
    __asm__ volatile("rep stosb" : "+c"(n), "+D"(to) : "a"(7) : "memory");
    printf("rep stosb: %u traps, dr6 %x, %u elements left then, %u at the end\n", (u64)traps, dr6, counter_then, n);
  }
  ok("all is written", page[0] == 7 && page[100] == 7 && page[199] == 7 && page[200] != 7);

  /* Much happens in the page, some of it is watched. */
  traps = 0;
  for (u64 i = 0; i < 200000; i++) {
    page[300 + (i & 63)] = (u8)i;
    if (i % 20000 == 0) page[100] = (u8)i;
  }
  printf("in a loop: %u traps\n", (u64)traps);
  watch_nothing();

  resume_flag = true;
  watch(1, P(function), EXECUTE, 1);
  traps = 0;
  u64 sum = 0;
  for (u64 i = 0; i < 10; i++) sum = function(sum);
  printf("calls of a function: %u traps, dr6 %x, at its start: %s, result %u\n", (u64)traps, dr6,
         trapped_at == P(function) ? "yes" : "no", sum);
  watch_nothing();
  traps = 0;
  for (u64 i = 0; i < 100000; i++) sum = function(sum);
  printf("nothing is watched: %u traps, result %u\n", (u64)traps, sum);
  resume_flag = false;

  /* A single step that writes. */
  watch(0, P(AT(16)), WRITE, 8);
  stop_steps = true;
  traps = 0;
  __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; movq $6, (%0); nop" ::"r"(AT(16)) : "memory", "cc");
  printf("a step that writes: %u traps, dr6 %x\n", (u64)traps, dr6);
  watch_nothing();
  done();
}
