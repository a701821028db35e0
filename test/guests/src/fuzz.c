/*
 * A hostile guest: random and mutated hypercalls, structured by the ABI tables (fuzz-abi.h), from two vCPUs that use the same
 * memory for their arguments, so that each changes what the other's calls read. Command line: seed, and calls to make.
 */
#include "../lib/fuzz-abi.h"
#include "../lib/grant.h"
#include "../lib/smp.h"

const char test_name[] = "fuzz";

#define PLAY 64
#define ARGS 16
/* Entries of tables that are used most: when a number is torn, those of our own L1 where nothing is that we need. */
#define SLOT 300
#define NOPS (sizeof fuzz_ops / sizeof *fuzz_ops)

/* What the calls may do anything to: pages, the arguments, and an address range that is not mapped behind these. */
static u8 play[PLAY][PAGE_SIZE] __attribute__((aligned(4096)));
static u8 args[ARGS][PAGE_SIZE] __attribute__((aligned(4096)));
static u8 unmapped[4][PAGE_SIZE] __attribute__((aligned(4096)));
static u8 grant_table[PAGE_SIZE] __attribute__((aligned(4096)));
static u64 play_mfn[PLAY];
static domid_t self;
static volatile u64 calls[2], answered[2];
static u64 goal;

struct cpu {
  u64 seed;
  struct jump again;
};
static struct cpu cpus[2];

static u64 any(struct cpu *c) {
  c->seed ^= c->seed << 13;
  c->seed ^= c->seed >> 7;
  c->seed ^= c->seed << 17;
  return c->seed * 0x2545f4914f6cdd1d;
}
static u64 below(struct cpu *c, u64 n) { return (any(c) >> 33) % n; }

static u64 number(struct cpu *c) {
  switch (below(c, 8)) {
  case 0: case 1: case 2: return below(c, 8);
  case 3: return below(c, 256);
  case 4: return (1ul << below(c, 64)) - below(c, 3);
  case 5: return 0xffffffff - below(c, 3);
  case 6: return -(s64)below(c, 4);
  default: return any(c);
  }
}

static u64 domid(struct cpu *c) {
  switch (below(c, 10)) {
  case 0: return 0;
  case 1: return 0x7ff0 + below(c, 8);
  case 2: return below(c, 0x10000);
  case 3: case 4: case 5: return (u64)(self + below(c, 7) - 3) & 0x7fff;
  case 6: return self;
  default: return DOMID_SELF;
  }
}

/* What we run on, which would only end us. */
static bool is_vital(u64 mfn) {
  if (mfn >= 0x10000) return false;
  u64 pfn = M2P[mfn];
  if (pfn >= si->nr_pages || ((const u64 *)si->mfn_list)[pfn] != mfn) return false;
  const u8 *va = (const u8 *)(VIRT_BASE + (pfn << 12));
  return (va < play[0] || va >= play[PLAY]) && (va < args[0] || va >= args[ARGS]);
}

static u64 frame_of_any_kind(struct cpu *c) {
  switch (below(c, 16)) {
  case 0: return below(c, 0x20000);
  case 1: return any(c) & 0xffffffffffful;
  case 2: return PTE_MFN(*entry_of(play[below(c, PLAY)], (int)(1 + below(c, 4))));
  case 3: return mfn_of(entry_of(play[0], (int)(1 + below(c, 4)))); /* seldom: see below */
  case 4: return play_mfn[below(c, PLAY)] ^ (1ul << (8 + below(c, 10))); /* not what we run on */
  case 5: return mfn_of(args[below(c, ARGS)]);
  default: return play_mfn[below(c, PLAY)];
  }
}

static u64 frame(struct cpu *c) {
  for (;;) {
    u64 mfn = frame_of_any_kind(c);
    if (!is_vital(mfn) || !below(c, 100)) return mfn;
  }
}

static u64 pointer(struct cpu *c) {
  switch (below(c, 16)) {
  case 0: return 0;
  case 1: return any(c);
  case 2: return 0xffff800000000000ul + below(c, 0x80000000000);
  case 3: return P(unmapped) - below(c, 64);
  case 4: return P(play[below(c, PLAY)]) + below(c, PAGE_SIZE);
  case 5: return 0xffffffffffffffc0ul + below(c, 64);
  case 6: return P(args) + below(c, sizeof args);
  default: return P(args) + below(c, sizeof args / 64) * 64;
  }
}

static u64 pte(struct cpu *c) {
  static const u16 flags[] = {0x067, 0x065, 0x061, 0x063, 0x007, 0x005, 0x001, 0x003, 0x087, 0x018, 0x107, 0x000, 0xe67};
  u64 e = frame(c) << 12 | flags[below(c, sizeof flags / sizeof *flags)];
  return below(c, 16) ? e : e ^ 1ul << below(c, 64);
}

/* Machine address of a page-table entry: of our own tables seldom others than those of the pages that we play with. */
static u64 entry(struct cpu *c) {
  if (!below(c, 500)) return frame(c) << 12 | below(c, 512) << 3;
  if (!below(c, 3)) return entry_ma(play[below(c, PLAY)], 1);
  return play_mfn[below(c, PLAY)] << 12 | (below(c, 3) ? SLOT + below(c, 4) : below(c, 512)) << 3;
}

static u64 value(struct cpu *c, u8 kind) {
  switch (kind) {
  case k_domid: return domid(c);
  case k_pointer: return pointer(c);
  case k_frame: return frame(c);
  case k_count: return below(c, 4) ? below(c, 5) : below(c, 3) ? below(c, 70) : number(c);
  case k_flags: return below(c, 4) ? below(c, 32) : number(c);
  case k_port: return below(c, 8) ? below(c, 16) : number(c);
  case k_ref: return below(c, 8) ? below(c, 48) : number(c);
  case k_vcpu: return below(c, 8) ? below(c, 2) : number(c);
  case k_address: return below(c, 4) ? P(play[below(c, PLAY)]) : below(c, 2) ? entry(c) : pointer(c);
  case k_pte: return pte(c);
  case k_entry: return entry(c) | (below(c, 4) ? 0 : below(c, 8));
  default: return number(c);
  }
}

/* Fills in a structure at `at`, which may not be writable now. */
static void fill(struct cpu *c, u8 *at, const struct fuzz_op *o) {
  const struct fuzz_field *f = fuzz_fields + o->first;
  for (u32 i = 0; i < o->fields; i++, f++) {
    if (!below(c, 12)) continue; /* what was there: an earlier answer, another structure */
    u64 v = below(c, 24) ? value(c, f->kind) : any(c);
    if (o->call == HC_mmuext_op && f->offset == 0 && below(c, 16)) v = o->cmd;
    memcpy(at + f->offset, &v, f->size);
  }
}

static void handlers(void) {
  extern u8 event_entry[], failsafe_entry[];
  set_traps();
  struct {
    u16 type, flags;
    u64 address;
  } cb[2] = {{CALLBACK_event, 0, P(event_entry)}, {CALLBACK_failsafe, 0, P(failsafe_entry)}};
  for (u32 i = 0; i < 2; i++) HC2(callback_op, 0, P(&cb[i]));
}

/* What ends or blinds a guest is rare, as a dead one tries nothing. True: not this time. */
static bool spare(struct cpu *c, const struct fuzz_op *o) {
  switch (o->call) {
  case HC_sched_op: return o->cmd == SCHED_yield ? false : below(c, 3000);
  case HC_iret: case HC_stack_switch: case HC_set_trap_table: case 4: case 6: case HC_callback_op: return below(c, 3000);
  case HC_vcpu_op: return o->cmd == VCPU_down && below(c, 3000);
  case HC_multicall: return below(c, 4);
  }
  return false;
}

static void fuzz_call(struct cpu *c) {
  const struct fuzz_op *o = &fuzz_ops[below(c, NOPS)];
  if (spare(c, o)) return;
  u64 a[5];
  u64 at = P(args) + below(c, sizeof args / 64) * 64;
  if (!below(c, 16)) at = pointer(c);
  u32 n = (u32)(below(c, 3) ? 1 : 1 + below(c, 8));
  if (o->fields && at >= P(args) && at < P(args + ARGS - 1))
    for (u32 i = 0; i < n; i++) fill(c, (u8 *)at + i * o->size, o);
  if (o->call == HC_multicall) {
    struct multicall_entry *m = (struct multicall_entry *)at;
    if (at < P(args) || at >= P(args + ARGS - 1)) return;
    for (u32 i = 0; i < n; i++) {
      const struct fuzz_op *p = &fuzz_ops[below(c, NOPS)];
      m[i].op = spare(c, p) ? HC_xen_version : p->call;
      for (u32 k = 0; k < 5; k++) m[i].args[k] = p->args[k] == k_cmd ? p->cmd : p->args[k] == k_arg ? pointer(c) : value(c, p->args[k]);
    }
  }
  for (u32 k = 0; k < 5; k++) {
    switch (o->args[k]) {
    case k_cmd: a[k] = below(c, 32) ? o->cmd : number(c); break;
    case k_arg: a[k] = at; break;
    case k_count: a[k] = below(c, o->call == HC_multicall ? 200 : 3) ? n : value(c, k_count); break;
    default: a[k] = value(c, o->args[k]);
    }
  }
  u64 call = below(c, 200) ? o->call : below(c, 70);
  if (call != o->call && (call == HC_iret || call == HC_sched_op || call == HC_stack_switch || call == 4 || call == 0)) return;
  calls[c - cpus]++;
  if (hypercall(call, a[0], a[1], a[2], a[3], a[4]) >= 0) answered[c - cpus]++;
  /* A list of calls may have taken them away. */
  if (call == HC_multicall) handlers();
}

/* A page becomes something that has a chance to be a table of its level, or an ordinary page again. */
static void reshape(struct cpu *c) {
  u32 i = (u32)below(c, PLAY);
  u64 *page = (u64 *)play[i];
  calls[c - cpus]++;
  if (!below(c, 8)) {
    map_self(args[below(c, ARGS)], KERNEL_RW);
    return;
  }
  if (!below(c, 3)) {
    HC3(update_va_mapping, P(page), play_mfn[i] << 12 | KERNEL_RW, UVMF_INVLPG | (below(c, 2) ? UVMF_ALL : 0));
    return;
  }
  u32 level = i % 4;
  for (u32 k = 0; k < 4; k++) {
    u64 to = play_mfn[below(c, PLAY / 4) * 4 + (level ? level - 1 : below(c, 4))];
    page[below(c, 4) ? SLOT + below(c, 4) : below(c, 512)] = below(c, 8) ? to << 12 | (level || !below(c, 3) ? 0x67 : 0x65) : pte(c);
  }
  HC3(update_va_mapping, P(page), play_mfn[i] << 12 | KERNEL_RO, UVMF_INVLPG | UVMF_ALL);
}

static void regrant(struct cpu *c) {
  struct entry e = {(u16)(below(c, 8) ? permit_access | (below(c, 3) ? 0 : readonly) : below(c, 0x200)), (domid_t)domid(c), (u32)frame(c)};
  if (below(c, 8)) memcpy(grant_table + (8 + below(c, 40)) * 8, &e, 8);
  else { /* as version 2 has it */
    struct entry2 e2 = {e.flags | (below(c, 2) ? sub_page : 0), e.domid, (u16)below(c, 4200), (u16)below(c, 4200), below(c, 2) ? e.frame : below(c, 48)};
    memcpy(grant_table + (8 + below(c, 40)) * 16, &e2, 16);
  }
}

static void round_of(struct cpu *c) {
  switch (below(c, 16)) {
  case 0: reshape(c); break;
  case 1: regrant(c); break;
  case 2: *(volatile u64 *)(P(args) + below(c, sizeof args) / 8 * 8) = any(c); break;
  case 3: *(volatile u64 *)pointer(c) = pte(c); break; /* ptwr, and faults */
  default: fuzz_call(c);
  }
}

static void run(struct cpu *c) {
  /* A trap comes back here. */
  save(&c->again);
  while (calls[0] + calls[1] < goal) round_of(c);
}
static void second(u64 arg) { run(&cpus[arg]); }

static bool trapped(struct regs *r) {
  (void)r;
  resume(&cpus[this_cpu()].again);
}
static void upcall(struct regs *r) {
  struct vcpu_info *v = &shared->vcpu_info[this_cpu()];
  r->rflags &= ~0x200ul; /* events stay masked: a vcpu_info that was moved is not acknowledged here */
  v->evtchn_upcall_pending = 0;
  __atomic_exchange_n(&v->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
}

static u64 parse(const char **s) {
  u64 v = 0;
  while (**s == ' ') (*s)++;
  while (**s >= '0' && **s <= '9') v = v * 10 + (u64)(*(*s)++ - '0');
  return v;
}

void test_main(void) {
  const char *s = si->cmd_line;
  u64 seed = parse(&s);
  goal = parse(&s);
  self = own_domid();
  u64 frames[1] = {0};
  setup_table(frames, 1);
  HC3(update_va_mapping, P(grant_table), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG);
  for (u32 i = 0; i < PLAY; i++) play_mfn[i] = mfn_of(play[i]);
  for (u32 i = 0; i < 4; i++) HC3(update_va_mapping, P(unmapped[i]), 0, UVMF_INVLPG);
  HC2(vm_assist, 0, 2);
  cpus[0].seed = seed * 0x9e3779b97f4a7c15 | 1;
  cpus[1].seed = seed * 0xd1342543de82ef95 | 1;
  on_trap = trapped;
  on_event = upcall;
  start_vcpu(1, second, 1);
  run(&cpus[0]);
  printf("calls %u answered %u\n", calls[0] + calls[1], answered[0] + answered[1]);
}
