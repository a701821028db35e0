/* Work for tests of scheduling, as the command line says:
 *   busy     computes for ever
 *   idle     sleeps for ever, without a timer
 *   work N   N units of checksummed work (some 10^6 instructions each), prints the sum, and powers off
 *   io N     sleeps 5 ms N times, and prints by how many microseconds it woke too late: the median and the 99th percentile
 *   toggle   computes and sleeps in turn, some milliseconds each, for ever
 */
#include "../lib/lib.h"

const char test_name[] = "load";

#define US 1000ul
#define MS 1000000ul
#define MAX_SAMPLES 4096

static u32 late[MAX_SAMPLES];
static u8 buffer[1 << 16];

static const char *after(const char *word) {
  const char *s = si->cmd_line;
  while (*word && *s == *word) s++, word++;
  if (*word) return 0;
  while (*s == ' ') s++;
  return s;
}
static u64 number(const char *s) {
  u64 n = 0;
  while (*s >= '0' && *s <= '9') n = n * 10 + (*s++ - '0');
  return n;
}

/* Integer arithmetic and loads and stores over 64 KiB. */
static u64 unit(u64 x) {
  for (u32 round = 0; round < 8; round++) {
    for (u32 i = 0; i < sizeof(buffer); i += 8) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      u64 *p = (u64 *)(buffer + i);
      *p += x;
      x += *p >> 3;
    }
  }
  return x;
}

static void sleep_until(u64 at) {
  upcalls_off();
  while (now() < at) {
    HC1(set_timer_op, at);
    HC2(sched_op, SCHED_block, 0);
    upcalls_off();
  }
}

static void io(u32 n) {
  if (n > MAX_SAMPLES) n = MAX_SAMPLES;
  for (u32 i = 0; i < n; i++) {
    u64 at = now() + 5 * MS;
    sleep_until(at);
    late[i] = (now() - at) / US;
    unit(i);
  }
  for (u32 i = 1; i < n; i++) {
    u32 x = late[i], j = i;
    for (; j > 0 && late[j - 1] > x; j--) late[j] = late[j - 1];
    late[j] = x;
  }
  printf("late: %u median, %u p99 us\n", late[n / 2], late[n * 99 / 100]);
  stop(SHUTDOWN_poweroff);
}

static void acknowledge(struct regs *r) {
  (void)r;
  /* In this order: what Xen sets meanwhile makes another upcall. */
  shared->vcpu_info[0].evtchn_upcall_pending = 0;
  __asm__ volatile("" ::: "memory");
  shared->vcpu_info[0].evtchn_pending_sel = 0;
  __asm__ volatile("" ::: "memory");
  for (u32 i = 0; i < 64; i++) shared->evtchn_pending[i] = 0;
}

void test_main(void) {
  HC3(vcpu_op, VCPU_stop_periodic, 0, 0);
  struct {
    u32 virq, vcpu, port;
  } v = {VIRQ_TIMER, 0, 0};
  HC2(event_channel_op, EVTCHN_bind_virq, P(&v));
  on_event = acknowledge;
  set_mask(v.port, false);
  const char *n;
  if (after("busy"))
    for (u64 x = 1;;) x = unit(x);
  if (after("idle"))
    for (;;) {
      upcalls_off();
      HC2(sched_op, SCHED_block, 0);
    }
  if (after("toggle"))
    for (u64 x = 1;;) {
      x = unit(x);
      sleep_until(now() + 2 * MS);
    }
  if ((n = after("work"))) {
    u64 x = 1;
    for (u64 i = number(n); i > 0; i--) x = unit(x);
    printf("sum %x\n", x);
    stop(SHUTDOWN_poweroff);
  }
  if ((n = after("io"))) io(number(n));
  fail("no such command");
}
