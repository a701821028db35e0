/*
 * Event channels, timers and vCPUs going down and up while several vCPUs do so at once. First two vCPUs wake each other by
 * IPIs, blocked and polling: none is lost. Then all do random things to each other. rounds=N, cpus=N, seed=N.
 */
#include "../lib/smp.h"
const char test_name[] = "smp-events";

static struct barrier barrier, pair;
static u64 cpus, rounds, seed;
static u32 ports[2];
static volatile u64 got[2];
static volatile u64 finished;

static s64 bind_ipi(u32 vcpu, u32 *port) {
  struct {
    u32 vcpu, port;
  } b = {vcpu, 0};
  s64 rc = HC2(event_channel_op, EVTCHN_bind_ipi, P(&b));
  *port = b.port;
  return rc;
}
static s64 on_port(u32 op, u32 port) {
  struct {
    u32 port;
  } a = {port};
  return HC2(event_channel_op, op, P(&a));
}

/* Upcalls: each vCPU's own; IPIs that the first part waits for are counted. */
static void event(struct regs *r) {
  (void)r;
  u32 me = this_cpu();
  shared->vcpu_info[me].evtchn_upcall_pending = 0;
  u64 sel = __atomic_exchange_n(&shared->vcpu_info[me].evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
  for (u32 i = 0; i < 64; i++) {
    if (!(sel >> i & 1)) continue;
    u64 bits = shared->evtchn_pending[i] & ~shared->evtchn_mask[i];
    for (u32 k = 0; k < 64; k++) {
      if (!(bits >> k & 1)) continue;
      clear_pending(i * 64 + k);
      if (me < 2 && i * 64 + k == ports[me]) got[me]++;
    }
  }
}

static void off(u32 me) {
  shared->vcpu_info[me].evtchn_upcall_mask = 1;
  __asm__ volatile("" ::: "memory");
}
/* Waits until the IPI has come for the nth time. */
static void wait_blocked(u32 me, u64 n) {
  for (;;) {
    off(me);
    if (got[me] >= n) break;
    HC2(sched_op, SCHED_block, 0); /* with upcalls on; an event that came meanwhile ends it at once */
  }
}
static void wait_polling(u32 me) {
  struct {
    u64 ports;
    u32 nr;
    u64 timeout;
  } poll = {P(&ports[me]), 1, 0};
  while (!pending(ports[me])) HC2(sched_op, SCHED_poll, P(&poll));
  clear_pending(ports[me]);
}

static void ping_pong(u32 me, bool polling) {
  for (u64 i = 1; i <= rounds; i++) {
    if (me == 0) on_port(EVTCHN_send, ports[1]);
    if (polling) wait_polling(me);
    else wait_blocked(me, i);
    if (me == 1) on_port(EVTCHN_send, ports[0]);
  }
}

static u64 next(u64 *s) {
  *s = *s * 6364136223846793005ul + 1442695040888963407ul;
  return *s >> 33;
}

/* One random thing. Nothing may hang: who goes down or sleeps is brought back by vCPU 0 or by a timeout. */
static void anything(u32 me, u64 *s, u64 *mine) {
  u32 other = (u32)(next(s) % cpus);
  struct {
    u64 ports;
    u32 nr;
    u64 timeout;
  } poll = {P(mine), 1, now() + next(s) % 200000};
  struct {
    u64 at;
    u32 flags;
  } once = {now() + next(s) % 300000, 0};
  struct {
    u64 period;
  } tick = {1000000 + next(s) % 3000000};
  struct {
    u32 port, vcpu;
  } move = {(u32)mine[next(s) % 4], other};
  u32 k = (u32)(next(s) % 4);
  switch (next(s) % 16) {
  case 0: {
    u32 port;
    if (!mine[k] && !bind_ipi(other, &port)) {
      mine[k] = port;
      set_mask(port, next(s) & 1);
    }
    break;
  }
  case 1:
    if (mine[k]) on_port(EVTCHN_close, (u32)mine[k]);
    mine[k] = 0;
    break;
  case 2:
  case 3:
  case 4: on_port(EVTCHN_send, mine[k] ? (u32)mine[k] : (u32)(next(s) % 64)); break;
  case 5: HC2(event_channel_op, EVTCHN_bind_vcpu, P(&move)); break;
  case 6: on_port(EVTCHN_unmask, (u32)mine[k]); break;
  case 7: HC2(sched_op, SCHED_poll, P(&poll)); break;
  case 8: HC3(vcpu_op, VCPU_set_singleshot, me, P(&once)); break;
  case 9: HC3(vcpu_op, VCPU_set_periodic, other, P(&tick)); break;
  case 10: HC3(vcpu_op, VCPU_stop_periodic, other, 0); break;
  case 11: HC3(vcpu_op, VCPU_stop_singleshot, me, 0); break;
  case 12: HC2(sched_op, SCHED_yield, 0); break;
  case 13:
    if (me) HC3(vcpu_op, VCPU_down, me, 0); /* vCPU 0 has it up again */
    break;
  case 14: {
    u64 info[6];
    HC3(vcpu_op, VCPU_get_runstate_info, other, P(info));
    break;
  }
  case 15: HC3(vcpu_op, VCPU_up, other, 0); break;
  }
}

static void random_part(u32 me) {
  u64 s = seed * 1000 + me, mine[4] = {0};
  for (u64 i = 0; i < rounds; i++) {
    anything(me, &s, mine);
    if (me == 0)
      for (u32 v = 1; v < cpus; v++) HC3(vcpu_op, VCPU_up, v, 0);
  }
  for (u32 k = 0; k < 4; k++)
    if (mine[k]) on_port(EVTCHN_close, (u32)mine[k]);
}

static void other(u64 me) {
  if (me == 1) {
    ping_pong(1, false);
    off(1);
    meet(&pair, 2);
    ping_pong(1, true);
  }
  meet(&barrier, cpus);
  random_part((u32)me);
  off((u32)me);
  __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

void test_main(void) {
  cpus = option("cpus", 4);
  rounds = option("rounds", 2000);
  seed = option("seed", 1);
  on_event = event;
  for (u32 i = 0; i < 2; i++) {
    check("bind_ipi", bind_ipi(i, &ports[i]), 0);
    set_mask(ports[i], false);
  }
  for (u32 i = 1; i < cpus; i++) start_vcpu(i, other, i);
  u64 began = now();
  ping_pong(0, false);
  off(0);
  printf("blocked: %u ns a round trip\n", (now() - began) / rounds);
  set_mask(ports[0], true);
  set_mask(ports[1], true);
  meet(&pair, 2);
  began = now();
  ping_pong(0, true);
  printf("polling: %u ns a round trip\n", (now() - began) / rounds);
  meet(&barrier, cpus);
  random_part(0);
  /* Whoever is down now has not finished. */
  for (u32 turn = 0; finished != cpus - 1; relax(&turn))
    for (u32 v = 1; v < cpus; v++)
      if (finished != cpus - 1) HC3(vcpu_op, VCPU_up, v, 0);
  ok("all came to the end", true);
}
