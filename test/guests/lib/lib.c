/* The library of the test guests: start of day, console, traps, page-table look-up, the closing line. */
#include "lib.h"
#include <stdarg.h>

struct start_info *si;
struct shared_info *shared;
bool (*on_trap)(struct regs *);
void (*on_event)(struct regs *);
volatile u32 upcalls;
struct jump fault_jump;
struct fault fault;
bool expecting;
static bool failed;
static struct console_ring *ring;
static u8 shared_page[PAGE_SIZE] __attribute__((aligned(4096)));

void *memset(void *p, int c, size_t n) {
  __asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(c) : "memory");
  return p;
}
void *memcpy(void *d, const void *s, size_t n) {
  void *r = d;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
  return r;
}

/* Text goes to Xen's console (a release build refuses) and to the PV console ring, waiting a while for room there. */
static char line[256];
static u32 line_at;
static void flush(void) {
  HC3(console_io, 0, line_at, P(line));
  if (ring) {
    for (u32 i = 0; i < line_at; i++) {
      for (u32 wait = 0; *(volatile u32 *)&ring->out_prod - *(volatile u32 *)&ring->out_cons >= sizeof ring->out; wait++) {
        if (wait == 1000000) {
          ring = NULL;
          return;
        }
        HC2(sched_op, SCHED_yield, 0);
      }
      ring->out[ring->out_prod % sizeof ring->out] = line[i];
      __asm__ volatile("" ::: "memory");
      ring->out_prod++;
    }
    u32 port = si->console_evtchn;
    HC2(event_channel_op, EVTCHN_send, P(&port));
  }
  line_at = 0;
}
static void put(char c) {
  line[line_at++] = c;
  if (c == '\n' || line_at == sizeof line) flush();
}
void print(const char *s) {
  while (*s) put(*s++);
}
static void number(u64 v, u32 base) {
  char b[24];
  u32 n = 0;
  do b[n++] = "0123456789abcdef"[v % base];
  while (v /= base);
  while (n) put(b[--n]);
}
void printf(const char *f, ...) {
  va_list a;
  va_start(a, f);
  for (; *f; f++) {
    if (*f != '%') {
      put(*f);
      continue;
    }
    switch (*++f) {
    case 's': print(va_arg(a, const char *)); break;
    case 'c': put((char)va_arg(a, int)); break;
    case 'd': {
      s64 v = va_arg(a, s64);
      if (v < 0) put('-');
      number(v < 0 ? -(u64)v : (u64)v, 10);
      break;
    }
    case 'u': number(va_arg(a, u64), 10); break;
    case 'x': number(va_arg(a, u64), 16); break;
    default: put(*f);
    }
  }
  va_end(a);
}

const char *errno_name(s64 rc) {
  static const struct {
    s64 n;
    const char *name;
  } names[] = {{1, "EPERM"},  {2, "ENOENT"},   {3, "ESRCH"},   {5, "EIO"},     {6, "ENXIO"},        {7, "E2BIG"},  {11, "EAGAIN"},
               {12, "ENOMEM"}, {13, "EACCES"}, {14, "EFAULT"}, {16, "EBUSY"},  {17, "EEXIST"},      {19, "ENODEV"}, {22, "EINVAL"},
               {28, "ENOSPC"}, {34, "ERANGE"}, {38, "ENOSYS"}, {61, "ENODATA"}, {62, "ETIME"},      {75, "EOVERFLOW"},
               {85, "ERESTART"}, {95, "EOPNOTSUPP"}};
  for (u32 i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].n == -rc) return names[i].name;
  return NULL;
}
static void result(s64 rc) {
  const char *name = rc < 0 ? errno_name(rc) : NULL;
  if (name) print(name);
  else printf("%d", rc);
}
void check(const char *what, s64 rc, s64 expected) {
  printf("%s: ", what);
  result(rc);
  if (rc != expected) {
    print(" (not ");
    result(expected);
    print(")");
    failed = true;
  }
  put('\n');
}
void ok(const char *what, bool good) {
  printf("%s: %s\n", what, good ? "yes" : "no");
  if (!good) failed = true;
}
static const char *const vectors[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS",
                                      "#NP", "#SS", "#GP", "#PF", "15", "#MF", "#AC", "#MC", "#XM"};
static void vector_name(int v) {
  if (v < 0) print("none");
  else if (v < 20) print(vectors[v]);
  else printf("vector %d", (s64)v);
}
void check_fault(const char *what, int expected) {
  printf("%s: ", what);
  vector_name(fault.vector);
  if (fault.vector >= 0 && (fault.vector == 13 || fault.vector == 14)) printf(" error %x", fault.error);
  if (fault.vector != expected) {
    print(" (not ");
    vector_name(expected);
    print(")");
    failed = true;
  }
  put('\n');
}
void fail(const char *why) {
  printf("failed: %s\n", why);
  failed = true;
}
void stop(u32 reason) {
  struct {
    u32 reason;
  } s = {reason};
  for (;;) HC2(sched_op, SCHED_shutdown, P(&s));
}
static void close_with(const char *word) {
  if (line_at) put('\n');
  printf("Test result: %s\n", word);
  stop(SHUTDOWN_poweroff);
}
void skip(const char *why) {
  printf("skipped: %s\n", why);
  close_with("SKIP");
  __builtin_unreachable();
}
void done(void) {
  close_with(failed ? "FAILURE" : "SUCCESS");
  __builtin_unreachable();
}

void trap(struct regs *r) {
  if (r->vector == 256) {
    upcalls++;
    if (on_event) {
      on_event(r);
      return;
    }
    shared->vcpu_info[0].evtchn_upcall_pending = 0;
    u64 sel = __atomic_exchange_n(&shared->vcpu_info[0].evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    for (u32 i = 0; i < 64; i++)
      if (sel >> i & 1) __atomic_exchange_n(&shared->evtchn_pending[i], 0, __ATOMIC_SEQ_CST);
    return;
  }
  if (expecting) {
    fault = (struct fault){(int)r->vector, r->error, shared->vcpu_info[0].cr2, r->rip};
    expecting = false;
    resume(&fault_jump);
  }
  if (on_trap && on_trap(r)) return;
  printf("unexpected trap %u error %x at %x cr2 %x\n", r->vector, r->error, r->rip, shared->vcpu_info[0].cr2);
  close_with("ERROR");
}

u64 *entry_of(const void *va, int level) {
  u64 *table = (u64 *)si->pt_base;
  for (int l = 4;; l--) {
    u64 *e = table + (P(va) >> (12 + (l - 1) * 9) & 511);
    if (l == level) return e;
    if (!(*e & PTE_P)) return NULL;
    table = va_of_mfn(PTE_MFN(*e));
  }
}
u64 entry_ma(const void *va, int level) {
  u64 *e = entry_of(va, level);
  return mfn_of(e) << 12 | (P(e) & 4095);
}
s64 mmu_update_for(u64 ptr, u64 val, u64 foreigndom) {
  struct mmu_update u = {ptr, val};
  return HC4(mmu_update, P(&u), 1, 0, foreigndom);
}
s64 mmu_update1(u64 ptr, u64 val) { return mmu_update_for(ptr, val, DOMID_SELF); }
s64 mmuext(u32 cmd, u64 arg1, u64 arg2) {
  struct mmuext_op op = {cmd, arg1, arg2};
  return HC4(mmuext_op, P(&op), 1, 0, DOMID_SELF);
}
s64 map_self(const void *va, u64 flags) {
  return HC3(update_va_mapping, P(va), mfn_of(va) << 12 | flags, UVMF_INVLPG | UVMF_LOCAL);
}

u64 now(void) {
  volatile struct vcpu_time_info *t = &shared->vcpu_info[0].time;
  u32 v;
  u64 ns;
  do {
    v = t->version;
    __asm__ volatile("" ::: "memory");
    u32 lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    u64 delta = ((u64)hi << 32 | lo) - t->tsc_timestamp;
    delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
    ns = t->system_time + (u64)(((unsigned __int128)delta * t->tsc_to_system_mul) >> 32);
    __asm__ volatile("" ::: "memory");
  } while (v & 1 || v != t->version);
  return ns;
}

extern const u64 entries[32], entry80;
extern u8 event_entry[], failsafe_entry[], kernel_stack_top[];

void set_traps(void) {
  struct trap_info traps[34];
  memset(traps, 0, sizeof traps);
  u32 n = 0;
  for (u32 v = 0; v < 32; v++) {
    if (v == 2 || v == 9 || v == 15 || (v > 19 && v != 30)) continue;
    traps[n++] = (struct trap_info){(u8)v, v == 3 || v == 4 ? 3 : 0, 0xe033, entries[v]};
  }
  traps[n++] = (struct trap_info){0x80, 3, 0xe033, entry80};
  HC1(set_trap_table, P(traps));
}

__attribute__((used)) void guest_main(struct start_info *start) {
  si = start;
  HC3(update_va_mapping, P(shared_page), si->shared_info | KERNEL_RW, UVMF_INVLPG);
  shared = (struct shared_info *)shared_page;
  memset(shared->evtchn_mask, 0xff, sizeof shared->evtchn_mask);
  if (!(si->flags & 2)) ring = va_of_mfn(si->console_mfn);
  set_traps();
  struct {
    u16 type, flags;
    u64 address;
  } cb = {CALLBACK_event, 0, P(event_entry)};
  HC2(callback_op, 0, P(&cb));
  cb.type = CALLBACK_failsafe;
  cb.address = P(failsafe_entry);
  HC2(callback_op, 0, P(&cb));
  HC2(stack_switch, 0xe02b, P(kernel_stack_top));
  printf("Test: %s\n", test_name);
  test_main();
  done();
}
