/* A domain that sleeps most of the time: how late is it woken? Command line: wakes= (default 200). Prints microseconds. */
#include "../lib/smp.h"

const char test_name[] = "delay";

#define MAX 1000
static u64 late[MAX];

void test_main(void) {
  u64 n = option("wakes", 200);
  if (n > MAX) n = MAX;
  struct {
    u32 virq, vcpu, port;
  } b = {VIRQ_TIMER, 0, 0};
  check("bind the timer", HC2(event_channel_op, EVTCHN_bind_virq, P(&b)), 0);
  set_mask(b.port, false);
  for (u64 i = 0; i < n; i++) {
    u64 at = now() + 2000000;
    /* Else the timer may fire before the vCPU blocks, and nothing would wake it then. */
    upcalls_off();
    while (now() < at) {
      HC1(set_timer_op, at);
      HC2(sched_op, SCHED_block, 0);
      upcalls_off();
    }
    u64 l = now() - at, k = i;
    for (; k > 0 && late[k - 1] > l; k--) late[k] = late[k - 1];
    late[k] = l;
  }
  printf("median %u, 90 %% %u, most %u\n", late[n / 2] / 1000, late[n * 9 / 10] / 1000, late[n - 1] / 1000);
}
