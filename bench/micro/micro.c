/*
 * A PV kernel that measures the hypervisor's hot paths. It prints "micro: NAME NANOSECONDS" for each: the best of several
 * rounds, less what the same instructions take without the hypervisor. As `pong` it answers events until it is destroyed; as
 * `ping DOMID PORT` it measures round trips to such a domain.
 */
#include "../../test/guests/lib/lib.h"

const char test_name[] = "micro";

enum { ROUNDS = 7 };

static u64 best_of(u64 (*round)(u64), u64 times) {
  u64 best = ~0ul;
  for (u32 i = 0; i < ROUNDS; i++) {
    u64 ns = round(times);
    if (ns < best) best = ns;
  }
  return best;
}

/* Per operation, in tenths of a nanosecond; `base` is what to take off a round. */
static void report(const char *name, u64 ns, u64 base, u64 operations) {
  u64 tenths = ns > base ? (ns - base) * 10 / operations : 0;
  printf("micro: %s %u.%u\n", name, tenths / 10, tenths % 10);
}

/* What a call through the hypercall page does, but for the syscall instruction. */
extern u8 no_hypercall[];
__asm__(
    "no_hypercall:\n"
    "  push %rcx\n  push %r11\n  mov $17, %eax\n  pop %r11\n  pop %rcx\n  ret\n");
static u64 empty_round(u64 times) {
  u64 start = now();
  while (times--) {
    u64 a = 0, b = 0;
    __asm__ volatile("call *%2" : "+D"(a), "+S"(b) : "b"(P(no_hypercall)) : "rax", "rcx", "r11", "memory");
  }
  return now() - start;
}

#define ROUND(name, statement)     \
  static u64 name(u64 times) {     \
    u64 start = now();             \
    while (times--) {              \
      statement;                   \
    }                              \
    return now() - start;          \
  }

static u8 page_a[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 page_b[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 window[32 * PAGE_SIZE] __attribute__((aligned(4096)));
static u64 second_l4[512] __attribute__((aligned(4096)));
static u8 user_stack[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 kernel_stack[PAGE_SIZE] __attribute__((aligned(4096)));
static u64 mfn_a, mfn_b, first_root, second_root;
static struct mmu_update batch[32];
static struct mmuext_op switches[2];
static u32 loop_port;
static volatile u64 *l1_entry;

ROUND(null_round, HC2(xen_version, 0, 0))
ROUND(stack_round, HC2(stack_switch, 0xe02b, P(kernel_stack) + PAGE_SIZE))
ROUND(segment_round, HC2(set_segment_base, 0, 0x1000))
ROUND(fpu_round, HC1(fpu_taskswitch, 0))
ROUND(timer_round, HC1(set_timer_op, ~0ul >> 2))
ROUND(yield_round, HC2(sched_op, SCHED_yield, 0))
ROUND(send_round, HC2(event_channel_op, EVTCHN_send, P(&loop_port)))
ROUND(va_round, HC3(update_va_mapping, P(window), (times & 1 ? mfn_a : mfn_b) << 12 | KERNEL_RW, UVMF_INVLPG | UVMF_LOCAL);
      *(volatile u8 *)window = 1)
ROUND(single_round, batch[0].val = (times & 1 ? mfn_a : mfn_b) << 12 | KERNEL_RW; HC4(mmu_update, P(batch), 1, 0, DOMID_SELF))
ROUND(batch_round, for (u32 i = 0; i < 32; i++) batch[i].val = (times & 1 ? mfn_a : mfn_b) << 12 | KERNEL_RW;
      HC4(mmu_update, P(batch), 32, 0, DOMID_SELF))
ROUND(ptwr_round, *l1_entry = (times & 1 ? mfn_a : mfn_b) << 12 | KERNEL_RW)
ROUND(switch_round, HC4(mmuext_op, P(&switches[times & 1]), 1, 0, DOMID_SELF))

static struct mmuext_op local_flush = {MMUEXT_TLB_FLUSH_LOCAL, 0, 0}, local_page = {MMUEXT_INVLPG_LOCAL, 0, 0};
ROUND(local_flush_round, HC4(mmuext_op, P(&local_flush), 1, 0, DOMID_SELF))
ROUND(invlpg_round, HC4(mmuext_op, P(&local_page), 1, 0, DOMID_SELF))

/* Events are let in by the iret that ends the upcall of the one before. */
extern u8 upcall_entry[];
static void upcalls_round_setup(void) {
  struct {
    u16 type, flags;
    u64 address;
  } cb = {CALLBACK_event, 0, P(upcall_entry)};
  HC2(callback_op, 0, P(&cb));
}
volatile u8 *upcall_pending;
__asm__(
    "upcall_entry:\n"
    "  pop %rcx\n  pop %r11\n"
    "  push %rax\n"
    "  mov upcall_pending, %rax\n"
    "  movb $0, (%rax)\n"
    "  pop %rax\n"
    "  pushq $0\n"
    "  jmp hypercall_page + 23 * 32\n");
ROUND(upcall_round, shared->vcpu_info[0].evtchn_upcall_pending = 1; HC2(xen_version, 0, 0))

/* User mode: its own L4 with the kernel's mappings, as Linux has it. */
extern u8 syscall_entry[], fault_entry[], user_syscalls[], user_faults[];
u64 back_rsp;
void to_user(u64 rip, u64 rsp, u64 count);
__asm__(
    "to_user:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, back_rsp\n"
    "  mov %rdx, %rbx\n"
    "  pushq $0xe02b\n  push %rsi\n  pushq $0x202\n  pushq $0xe033\n  push %rdi\n  pushq $0\n"
    "  jmp hypercall_page + 23 * 32\n"
    "syscall_entry:\n"
    "  test %eax, %eax\n"
    "  jnz 1f\n"
    "  pop %rcx\n  pop %r11\n"
    "  pushq $0x100\n" /* VGCF_in_syscall */
    "  jmp hypercall_page + 23 * 32\n"
    "1: mov back_rsp, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"
    "fault_entry:\n" /* steps over the two bytes that faulted */
    "  pop %rcx\n  pop %r11\n  add $8, %rsp\n"
    "  addq $2, (%rsp)\n"
    "  pushq $0\n"
    "  jmp hypercall_page + 23 * 32\n"
    "user_syscalls:\n"
    "  xor %eax, %eax\n"
    "  syscall\n"
    "  dec %rbx\n"
    "  jnz user_syscalls\n"
    "  mov $1, %eax\n"
    "  syscall\n"
    "user_faults:\n"
    "  xor %ecx, %ecx\n"
    "1: movb (%rcx), %al\n"
    "  dec %rbx\n"
    "  jnz 1b\n"
    "  mov $1, %eax\n"
    "  syscall\n");

static u64 in_user(const u8 *code, u64 times) {
  u64 start = now();
  to_user(P(code), P(user_stack) + PAGE_SIZE - 64, times);
  return now() - start;
}
static u64 user_syscall_round(u64 times) { return in_user(user_syscalls, times); }
static u64 user_fault_round(u64 times) { return in_user(user_faults, times); }

static void make_second_l4(void) {
  first_root = mfn_of((void *)si->pt_base);
  second_root = mfn_of(second_l4);
  for (u32 i = 0; i < 512; i++)
    if (i < 256 || i >= 272) second_l4[i] = ((u64 *)si->pt_base)[i];
  if (map_self(second_l4, KERNEL_RO) || mmuext(MMUEXT_PIN_L4, second_root, 0)) fail("no second L4");
  switches[0] = (struct mmuext_op){MMUEXT_NEW_BASEPTR, first_root, 0};
  switches[1] = (struct mmuext_op){MMUEXT_NEW_BASEPTR, second_root, 0};
}

static void user_mode(void) {
  struct {
    u16 type, flags;
    u64 address;
  } cb = {CALLBACK_syscall, 1, P(syscall_entry)};
  struct trap_info traps[2] = {{14, 4, 0xe033, P(fault_entry)}, {0}};
  HC2(callback_op, 0, P(&cb));
  HC1(set_trap_table, P(traps));
  if (mmuext(MMUEXT_NEW_USER_BASEPTR, second_root, 0)) fail("no user L4");
  HC2(stack_switch, 0xe02b, P(kernel_stack) + PAGE_SIZE);
  report("pv_syscall", best_of(user_syscall_round, 20000), 0, 20000);
  report("page_fault", best_of(user_fault_round, 20000), 0, 20000);
}

static void one_domain(void) {
  const u64 n = 20000;
  struct {
    domid_t dom, remote;
    u32 port;
  } alloc = {DOMID_SELF, DOMID_SELF, 0};
  struct {
    domid_t remote;
    u32 remote_port, local_port;
  } bind;
  mfn_a = mfn_of(page_a);
  mfn_b = mfn_of(page_b);
  u64 base = best_of(empty_round, n);
  report("loop", base, 0, n);
  report("null_hypercall", best_of(null_round, n), base, n);
  report("stack_switch", best_of(stack_round, n), base, n);
  report("set_segment_base", best_of(segment_round, n), base, n);
  report("fpu_taskswitch", best_of(fpu_round, n), base, n);
  report("set_timer", best_of(timer_round, n), base, n);
  report("yield", best_of(yield_round, n), base, n);
  HC2(event_channel_op, EVTCHN_alloc_unbound, P(&alloc));
  bind.remote = DOMID_SELF;
  bind.remote_port = alloc.port;
  HC2(event_channel_op, EVTCHN_bind_interdomain, P(&bind));
  loop_port = bind.local_port;
  report("event_send", best_of(send_round, n), base, n);
  upcall_pending = &shared->vcpu_info[0].evtchn_upcall_pending;
  upcalls_round_setup();
  upcalls_on();
  report("hypercall_and_upcall", best_of(upcall_round, n), base, n);
  upcalls_off();
  for (u32 i = 0; i < 32; i++) batch[i].ptr = entry_ma(window + i * PAGE_SIZE, 1);
  report("mmu_update_single", best_of(single_round, n), base, n);
  report("mmu_update_entry", best_of(batch_round, n / 32), base / 32, n / 32 * 32);
  report("update_va_mapping", best_of(va_round, n), base, n);
  HC2(vm_assist, 0, 2); /* enable writable_pagetables */
  l1_entry = entry_of(window, 1);
  report("ptwr", best_of(ptwr_round, n), 0, n);
  make_second_l4();
  report("new_baseptr", best_of(switch_round, n), base, n);
  HC4(mmuext_op, P(&switches[0]), 1, 0, DOMID_SELF);
  local_page.arg1 = P(window);
  report("tlb_flush_local", best_of(local_flush_round, n), base, n);
  report("invlpg_local", best_of(invlpg_round, n), base, n);
  user_mode();
}

static u64 number_at(const char **at) {
  u64 n = 0;
  while (**at == ' ') ++*at;
  while (**at >= '0' && **at <= '9') n = n * 10 + (u64)(*(*at)++ - '0');
  return n;
}

static u32 ping_port;
static void await(u32 port) {
  struct {
    const u32 *ports;
    u32 count, pad;
    u64 timeout;
  } poll = {&port, 1, 0, 0};
  while (!pending(port)) HC2(sched_op, SCHED_poll, P(&poll));
  clear_pending(port);
}
ROUND(ping_round, HC2(event_channel_op, EVTCHN_send, P(&ping_port)); await(ping_port))

static void ping(const char *at) {
  struct {
    domid_t remote;
    u32 remote_port, local_port;
  } bind;
  bind.remote = (domid_t)number_at(&at);
  bind.remote_port = (u32)number_at(&at);
  check("bind to the other domain", HC2(event_channel_op, EVTCHN_bind_interdomain, P(&bind)), 0);
  ping_port = bind.local_port;
  clear_pending(ping_port);
  report("event_ping_pong", best_of(ping_round, 5000), 0, 5000);
}

static void pong(const char *at) {
  u32 port = (u32)number_at(&at);
  for (;;) {
    await(port);
    HC2(event_channel_op, EVTCHN_send, P(&port));
  }
}

static bool starts(const char *s, const char *with, const char **rest) {
  while (*with) if (*s++ != *with++) return false;
  *rest = s;
  return true;
}

void test_main(void) {
  const char *rest;
  upcalls_off();
  if (starts(si->cmd_line, "ping", &rest)) ping(rest);
  else if (starts(si->cmd_line, "pong", &rest)) pong(rest);
  else one_domain();
}
