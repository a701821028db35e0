/* Event channels: every operation's answers with the 2-level ABI, then with FIFO; delivery, masking, polling. */
#include "../lib/lib.h"

const char test_name[] = "evtchn";

#define OP(n, arg) HC2(event_channel_op, EVTCHN_##n, P(arg))

struct alloc {
  domid_t dom, remote_dom;
  u32 port;
};
struct interdomain {
  domid_t remote_dom;
  u32 remote_port, local_port;
};
struct virq {
  u32 virq, vcpu, port;
};
struct pirq {
  u32 pirq, flags, port;
};
struct ipi {
  u32 vcpu, port;
};
struct status {
  domid_t dom;
  u32 port, status, vcpu;
  union {
    struct {
      domid_t dom;
    } unbound;
    struct {
      domid_t dom;
      u32 port;
    } interdomain;
    u32 pirq, virq;
  } u;
};
struct bind_vcpu {
  u32 port, vcpu;
};
struct init_control {
  u64 control_gfn;
  u32 offset, vcpu;
  u8 link_bits, pad[7];
};

static u32 control_page[1024] __attribute__((aligned(4096)));
static u32 array[1024] __attribute__((aligned(4096)));

static s64 close(u32 port) { return OP(close, &port); }
static s64 send(u32 port) { return OP(send, &port); }
static s64 unmask(u32 port) { return OP(unmask, &port); }
static void show_status(const char *what, u32 port) {
  struct status s = {.dom = DOMID_SELF, .port = port};
  s64 rc = OP(status, &s);
  if (rc) {
    check(what, rc, 0);
    return;
  }
  printf("%s: status %u vcpu %u", what, (u64)s.status, (u64)s.vcpu);
  if (s.status == 1) print(s.u.unbound.dom ? " for a guest" : " for dom0");
  if (s.status == 4) printf(" virq %u", (u64)s.u.virq);
  if (s.status == 2) print(s.u.interdomain.dom == DOMID_SELF ? " to self" : s.u.interdomain.dom ? " to some domain" : " to dom0");
  print("\n");
}

static u32 loop_a, loop_b;

static void binding(void) {
  struct alloc a = {DOMID_SELF, DOMID_SELF, 0};
  check("alloc_unbound for self", OP(alloc_unbound, &a), 0);
  loop_a = a.port;
  show_status("its status", loop_a);
  struct alloc x = {DOMID_SELF, 0, 0};
  check("alloc_unbound for dom0", OP(alloc_unbound, &x), 0);
  show_status("its status", x.port);
  check("send to an unbound port", send(x.port), 0);
  check("close it", close(x.port), 0);
  check("close it twice", close(x.port), -EINVAL);
  check("send to a closed port", send(x.port), -EINVAL);
  show_status("status of a closed port", x.port);
  x = (struct alloc){0, DOMID_SELF, 0};
  check("alloc_unbound in dom0", OP(alloc_unbound, &x), -EPERM);
  x = (struct alloc){0x7000, DOMID_SELF, 0};
  check("alloc_unbound in no such domain", OP(alloc_unbound, &x), -ESRCH);
  x = (struct alloc){DOMID_SELF, 0x7000, 0};
  check("alloc_unbound for no such domain", OP(alloc_unbound, &x), 0);
  close(x.port);
  struct interdomain i = {DOMID_SELF, loop_a, 0};
  check("bind_interdomain to self", OP(bind_interdomain, &i), 0);
  loop_b = i.local_port;
  show_status("status of one end", loop_a);
  show_status("status of the other", loop_b);
  i = (struct interdomain){DOMID_SELF, loop_a, 0};
  check("bind_interdomain again", OP(bind_interdomain, &i), -EINVAL);
  i = (struct interdomain){DOMID_SELF, 3000, 0};
  check("bind_interdomain to a free port", OP(bind_interdomain, &i), -EINVAL);
  i = (struct interdomain){DOMID_SELF, 0xffffffff, 0};
  check("bind_interdomain to a bad port", OP(bind_interdomain, &i), -EINVAL);
  i = (struct interdomain){0x7000, 1, 0};
  check("bind_interdomain to no such domain", OP(bind_interdomain, &i), -ESRCH);
  i = (struct interdomain){0, 1, 0};
  check("bind_interdomain to a port of dom0", OP(bind_interdomain, &i), -EINVAL);

  struct virq v = {VIRQ_DEBUG, 0, 0};
  check("bind_virq DEBUG", OP(bind_virq, &v), 0);
  show_status("its status", v.port);
  struct virq w = {VIRQ_DEBUG, 0, 0};
  check("bind_virq twice", OP(bind_virq, &w), -EEXIST);
  check("send to a virq", send(v.port), -EINVAL);
  check("close the virq", close(v.port), 0);
  w = (struct virq){24, 0, 0};
  check("bind_virq 24", OP(bind_virq, &w), -EINVAL);
  w = (struct virq){VIRQ_TIMER, 7, 0};
  check("bind_virq on no such vcpu", OP(bind_virq, &w), -ENOENT);
  w = (struct virq){VIRQ_CONSOLE, 0, 0};
  check("bind_virq CONSOLE (global)", OP(bind_virq, &w), 0);
  if (w.port) close(w.port);
  w = (struct virq){VIRQ_DOM_EXC, 1, 0};
  check("bind_virq, global on vcpu 1", OP(bind_virq, &w), -EINVAL);
  w = (struct virq){5, 0, 0};
  check("bind_virq 5", OP(bind_virq, &w), 0);
  if (w.port) close(w.port);
  struct ipi p = {0, 0};
  check("bind_ipi", OP(bind_ipi, &p), 0);
  show_status("its status", p.port);
  check("send to an ipi", send(p.port), 0);
  check("close the ipi", close(p.port), 0);
  p.vcpu = 9;
  check("bind_ipi of no such vcpu", OP(bind_ipi, &p), -ENOENT);
  struct pirq q = {1, 0, 0};
  check("bind_pirq", OP(bind_pirq, &q), -EPERM);
  q.pirq = 0xffffff;
  check("bind_pirq out of range", OP(bind_pirq, &q), -EINVAL);
  struct bind_vcpu b = {loop_a, 0};
  check("bind_vcpu", OP(bind_vcpu, &b), 0);
  b.vcpu = 5;
  check("bind_vcpu of no such vcpu", OP(bind_vcpu, &b), -ENOENT);
  b = (struct bind_vcpu){3000, 0};
  check("bind_vcpu of a free port", OP(bind_vcpu, &b), -EINVAL);
  struct status s = {.dom = 0, .port = 1};
  check("status in dom0", OP(status, &s), -EPERM);
  s = (struct status){.dom = DOMID_SELF, .port = 0xffffff};
  check("status of a bad port", OP(status, &s), -EINVAL);
  show_status("status of port 0", 0);
  check("close port 0", close(0), -EINVAL);
  check("close a bad port", close(0x12345678), -EINVAL);
  check("send to port 0", send(0), -EINVAL);
  check("unmask a bad port", unmask(0x12345678), -EINVAL);
  check("unmask a free port", unmask(3000), -EINVAL);
  check("command 99", HC2(event_channel_op, 99, P(&p)), -ENOSYS);
  check("bad pointer", HC2(event_channel_op, EVTCHN_send, 0x1000), -EFAULT);
  struct {
    domid_t dom;
  } r = {0};
  check("reset of dom0", OP(reset, &r), -EPERM);
}

static void upcall_none(struct regs *r) { (void)r; }

static void two_level(void) {
  upcalls_off();
  set_mask(loop_a, false);
  ok("binding made the new end pending", pending(loop_b));
  clear_pending(loop_b);
  check("send over the loop", send(loop_b), 0);
  ok("it is pending", pending(loop_a));
  ok("the other end is not", !pending(loop_b));
  ok("the selector says so", shared->vcpu_info[0].evtchn_pending_sel >> (loop_a / 64) & 1);
  ok("an upcall is pending", shared->vcpu_info[0].evtchn_upcall_pending == 1);
  ok("but masked", upcalls == 0);
  upcalls_on();
  ok("unmasked, it came", upcalls == 1);
  ok("mask is back as it was", shared->vcpu_info[0].evtchn_upcall_mask == 0);
  ok("it is not pending any more", !pending(loop_a));
  set_mask(loop_a, true);
  send(loop_b);
  ok("a masked port becomes pending", pending(loop_a));
  ok("without an upcall", upcalls == 1);
  check("unmask it", unmask(loop_a), 0);
  ok("then the upcall comes", upcalls == 2);
  set_mask(loop_a, false);
  send(loop_b);
  ok("upcall at once", upcalls == 3);
  on_event = upcall_none;
  upcalls_off();
  shared->evtchn_pending[loop_a / 64] |= 1ul << (loop_a % 64);
  send(loop_b);
  ok("already pending: no selector", (shared->vcpu_info[0].evtchn_pending_sel >> (loop_a / 64) & 1) == 0);
  clear_pending(loop_a);
  on_event = NULL;
  u32 ports[2] = {loop_a, loop_b};
  u64 before = now();
  struct {
    u64 ports;
    u32 nr;
    u64 timeout;
  } poll = {P(ports), 1, before + 2000000};
  check("poll with a timeout", HC2(sched_op, SCHED_poll, P(&poll)), 0);
  ok("it waited", now() - before >= 1900000);
  set_mask(loop_a, true);
  send(loop_b);
  poll.timeout = 0;
  check("poll a pending port", HC2(sched_op, SCHED_poll, P(&poll)), 0);
  clear_pending(loop_a);
  ports[0] = 0xffffff;
  check("poll a bad port", HC2(sched_op, SCHED_poll, P(&poll)), -EINVAL);
  poll.nr = 129;
  check("poll 129 ports", HC2(sched_op, SCHED_poll, P(&poll)), -EINVAL);
  poll.nr = 1;
  poll.ports = 0x1000;
  check("poll, bad pointer", HC2(sched_op, SCHED_poll, P(&poll)), -EFAULT);
  /* Many ports. */
  u32 n = 0, first = 0, last = 0;
  for (;;) {
    struct ipi p = {0, 0};
    s64 rc = OP(bind_ipi, &p);
    if (rc) {
      check("ports run out", rc, -ENOSPC);
      break;
    }
    if (!n++) first = p.port;
    last = p.port;
  }
  printf("last port: %u\n", (u64)last);
  for (u32 p = first; p <= last; p++)
    if (p != loop_a && p != loop_b && p != si->console_evtchn && p != si->store_evtchn) close(p);
}

static void fifo(void) {
  struct {
    u32 port, priority;
  } prio = {loop_a, 3};
  check("set_priority before FIFO", OP(set_priority, &prio), -ENOSYS);
  u64 gfn = mfn_of(array);
  check("expand_array before FIFO", OP(expand_array, &gfn), -EOPNOTSUPP);
  struct init_control c = {mfn_of(control_page), 0, 3, 0, {0}};
  check("init_control of no such vcpu", OP(init_control, &c), -ENOENT);
  c.vcpu = 0;
  c.offset = 4040;
  check("init_control across the page", OP(init_control, &c), -EINVAL);
  c.offset = 4;
  check("init_control misaligned", OP(init_control, &c), -EINVAL);
  c.offset = 0;
  c.control_gfn = 0xffffffffff;
  check("init_control of a bad frame", OP(init_control, &c), -EINVAL);
  c.control_gfn = mfn_of(control_page);
  upcalls_off();
  set_mask(loop_a, true);
  check("init_control", OP(init_control, &c), 0);
  printf("link bits: %u\n", (u64)c.link_bits);
  check("init_control twice", OP(init_control, &c), -EINVAL);
  ok("control block is ready", control_page[0] == 0);
  check("set_priority without an array", OP(set_priority, &prio), 0);
  gfn = 0xffffffffff;
  check("expand_array with a bad frame", OP(expand_array, &gfn), -EINVAL);
  gfn = mfn_of(array);
  check("expand_array", OP(expand_array, &gfn), 0);
  prio.priority = 16;
  check("set_priority 16", OP(set_priority, &prio), -EINVAL);
  prio = (typeof(prio)){3000, 3};
  check("set_priority of a free port", OP(set_priority, &prio), -EINVAL);
  prio = (typeof(prio)){loop_a, 3};
  check("set_priority 3", OP(set_priority, &prio), 0);
  ok("word of a fresh port", array[loop_a] == 0 || array[loop_a] == 1u << 30);
  array[loop_a] = 0;
  send(loop_b);
  printf("word when sent: %x\n", (u64)array[loop_a]);
  printf("ready queue 3: %x\n", (u64)control_page[0] >> 3 & 1);
  ok("head of queue 3 is the port", control_page[2 + 3] == loop_a);
  ok("an upcall is pending", shared->vcpu_info[0].evtchn_upcall_pending);
  send(loop_b);
  printf("word when sent twice: %x\n", (u64)array[loop_a]);
  /* Take it off as a guest would: clear LINKED, ready bit, PENDING. */
  control_page[0] = 0;
  array[loop_a] &= ~(1u << 29);
  array[loop_a] &= ~(1u << 31);
  shared->vcpu_info[0].evtchn_upcall_pending = 0;
  array[loop_a] |= 1u << 30;
  send(loop_b);
  printf("word when sent masked: %x\n", (u64)array[loop_a]);
  ok("queue stays empty", (control_page[0] & 8) == 0);
  check("unmask", unmask(loop_a), 0);
  printf("word when unmasked: %x\n", (u64)array[loop_a]);
  printf("ready queue 3: %x\n", (u64)control_page[0] >> 3 & 1);
  array[loop_a] = 0;
  control_page[0] = 0;
  shared->vcpu_info[0].evtchn_upcall_pending = 0;
  /* Two ports in one queue: linked. */
  struct ipi p = {0, 0};
  OP(bind_ipi, &p);
  prio = (typeof(prio)){p.port, 3};
  OP(set_priority, &prio);
  send(loop_b);
  send(p.port);
  ok("linked to the next", (array[loop_a] & 0x1ffff) == p.port);
  printf("word of the last: %x\n", (u64)array[p.port]);
  struct bind_vcpu b = {p.port, 0};
  check("bind_vcpu with FIFO", OP(bind_vcpu, &b), -EINVAL);
  show_status("status with FIFO", p.port);
}

void test_main(void) {
  binding();
  two_level();
  fifo();
}
