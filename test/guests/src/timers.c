/* Time and timers: vcpu_time_info, singleshot and periodic timers, set_timer_op, runstate. */
#include "../lib/lib.h"

const char test_name[] = "timers";

#define MS 1000000ul
static u32 port;
static volatile u32 ticks;
static u64 runstate_area[8] __attribute__((aligned(64)));

static void tick(struct regs *r) {
  (void)r;
  shared->vcpu_info[0].evtchn_upcall_pending = 0;
  shared->vcpu_info[0].evtchn_pending_sel = 0;
  if (pending(port)) {
    clear_pending(port);
    ticks++;
  }
}
static s64 vcpu_op(u32 cmd, void *arg) { return HC3(vcpu_op, cmd, 0, P(arg)); }
static s64 singleshot(u64 at, u32 flags) {
  struct {
    u64 at;
    u32 flags;
  } s = {at, flags};
  return vcpu_op(VCPU_set_singleshot, &s);
}
/* Sleep until an event comes. */
static void block(void) { HC2(sched_op, SCHED_block, 0); }
static void wait_ticks(u32 n, u64 limit) {
  u64 end = now() + limit;
  while (ticks < n && now() < end) {
    upcalls_off();
    if (ticks < n) block();
  }
}

static void clock(void) {
  volatile struct vcpu_time_info *t = &shared->vcpu_info[0].time;
  ok("version is even", !(t->version & 1));
  ok("there is a scale", t->tsc_to_system_mul != 0);
  u64 last = now(), first = last;
  bool monotone = true;
  for (u32 i = 0; i < 100000; i++) {
    u64 n = now();
    if (n < last) monotone = false;
    last = n;
  }
  ok("time never goes back", monotone);
  ok("time goes on", last > first);
  ok("wall clock is set", shared->wc_sec > 1000000000 && !(shared->wc_version & 1));
}

void test_main(void) {
  clock();
  struct {
    u32 virq, vcpu, port;
  } v = {VIRQ_TIMER, 0, 0};
  check("bind_virq TIMER", HC2(event_channel_op, EVTCHN_bind_virq, P(&v)), 0);
  port = v.port;
  check("stop the periodic tick", vcpu_op(VCPU_stop_periodic, NULL), 0);
  on_event = tick;
  clear_pending(port);
  set_mask(port, false);
  upcalls_on();
  ticks = 0;
  u64 start = now();
  check("singleshot in 5 ms", singleshot(start + 5 * MS, 0), 0);
  wait_ticks(1, 2000 * MS);
  ok("it fired", ticks == 1);
  ok("not too early", now() - start >= 5 * MS - 100000);
  check("singleshot in the past", singleshot(start, 0), 0);
  wait_ticks(2, 2000 * MS);
  ok("it fired at once", ticks == 2);
  check("singleshot in the past, future only", singleshot(start, 1), 0);
  wait_ticks(3, 2000 * MS);
  ok("it fires all the same", ticks == 3);
  check("singleshot in 20 ms", singleshot(now() + 20 * MS, 1), 0);
  check("stop it", vcpu_op(VCPU_stop_singleshot, NULL), 0);
  upcalls_on();
  u64 end = now() + 40 * MS;
  while (now() < end) HC2(sched_op, SCHED_yield, 0);
  ok("it did not fire", ticks == 3);
  struct {
    u64 period;
  } p = {10 * MS};
  ticks = 0;
  start = now();
  upcalls_on();
  check("periodic, 10 ms", vcpu_op(VCPU_set_periodic, &p), 0);
  /* Xen runs it only while the vCPU runs. */
  for (end = start + 5000 * MS; ticks < 5 && now() < end;) HC2(sched_op, SCHED_yield, 0);
  ok("five ticks came", ticks >= 5);
  ok("in not less than their time", now() - start >= 35 * MS);
  check("stop it", vcpu_op(VCPU_stop_periodic, NULL), 0);
  p.period = 1000;
  check("periodic, 1 us", vcpu_op(VCPU_set_periodic, &p), -EINVAL);
  p.period = 1ul << 62;
  check("periodic, for ever", vcpu_op(VCPU_set_periodic, &p), -EINVAL);
  vcpu_op(VCPU_stop_periodic, NULL);
  ticks = 0;
  check("set_timer_op in 5 ms", HC1(set_timer_op, now() + 5 * MS), 0);
  wait_ticks(1, 2000 * MS);
  ok("it fired", ticks == 1);
  check("set_timer_op, off", HC1(set_timer_op, 0), 0);
  upcalls_on();
  check("singleshot, bad pointer", HC3(vcpu_op, VCPU_set_singleshot, 0, 0x1000), -EFAULT);
  check("singleshot of no such vcpu", HC3(vcpu_op, VCPU_set_singleshot, 5, P(&p)), -ENOENT);

  struct {
    u32 state;
    u64 entry, time[4];
  } r;
  check("get_runstate_info", vcpu_op(VCPU_get_runstate_info, &r), 0);
  ok("running", r.state == 0);
  u64 sum = r.time[0] + r.time[1] + r.time[2] + r.time[3];
  ok("times add up to the time of entry or more", sum > 0);
  u64 blocked = r.time[2];
  singleshot(now() + 10 * MS, 0);
  ticks = 0;
  wait_ticks(1, 2000 * MS);
  vcpu_op(VCPU_get_runstate_info, &r);
  ok("blocked time has grown", r.time[2] - blocked >= 8 * MS);
  u64 area = P(runstate_area);
  check("register runstate area", vcpu_op(VCPU_register_runstate, &area), 0);
  ok("it is filled in", runstate_area[1] != 0);
  upcalls_off();
}
