/* A domain that keeps a pCPU, and the hypervisor on it, as busy as it can, for ever. Command line: mode=, see below. */
#include "../lib/grant.h"
#include "../lib/smp.h"

const char test_name[] = "storm";

#define TABLES 240
#define BATCH 65536
static u64 l1s[TABLES][512] __attribute__((aligned(4096)));
static u64 l2[512] __attribute__((aligned(4096)));
static u8 page[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 other[PAGE_SIZE] __attribute__((aligned(4096)));
static union {
  struct mmu_update updates[BATCH];
  struct multicall_entry calls[BATCH / 4];
  struct copy copies[BATCH / 4];
  u64 frames[BATCH];
} a;

static void spin(void) {
  for (;;) __asm__ volatile("" ::: "memory");
}

/* Checks and takes apart 240 tables of 512 entries at a time. */
static void pin(void) {
  for (u32 i = 0; i < TABLES; i++) {
    for (u32 k = 0; k < 512; k++) l1s[i][k] = mfn_of(page) << 12 | PTE_P | PTE_U;
    l2[i] = mfn_of(l1s[i]) << 12 | PTE_P | PTE_U | PTE_RW;
    map_self(l1s[i], KERNEL_RO);
  }
  map_self(l2, KERNEL_RO);
  for (;;) {
    if (mmuext(MMUEXT_PIN_L2, mfn_of(l2), 0)) fail("pin");
    if (mmuext(MMUEXT_UNPIN, mfn_of(l2), 0)) fail("unpin");
  }
}

static void update(void) {
  for (u32 i = 0; i < BATCH; i++) a.updates[i] = (struct mmu_update){entry_ma(other, 1), mfn_of(page) << 12 | (i & 1 ? KERNEL_RW : KERNEL_RO)};
  for (;;)
    if (HC4(mmu_update, P(a.updates), BATCH, 0, DOMID_SELF)) fail("mmu_update");
}

static void lists(void) {
  for (;;) {
    for (u32 i = 0; i < BATCH / 4; i++) a.calls[i] = (struct multicall_entry){HC_xen_version, 0, {0}};
    if (HC2(multicall, P(a.calls), BATCH / 4)) fail("multicall");
  }
}

static void copies(void) {
  for (u32 i = 0; i < BATCH / 4; i++) a.copies[i] = (struct copy){{mfn_of(page), DOMID_SELF, 0}, {mfn_of(other), DOMID_SELF, 0}, 4096, 0, 0};
  for (;;)
    if (op(op_copy, a.copies, BATCH / 4)) fail("copy");
}

/* Pages given back and taken again. */
static void reserve(void) {
  struct {
    u64 extents, n;
    u32 order, flags;
    domid_t dom;
  } r = {P(a.frames), TABLES, 0, 0, DOMID_SELF};
  for (u32 i = 0; i < TABLES; i++) {
    a.frames[i] = mfn_of(l1s[i]);
    HC3(update_va_mapping, P(l1s[i]), 0, UVMF_INVLPG);
  }
  for (;;) {
    if (HC2(memory_op, 1, P(&r)) != TABLES) fail("decrease_reservation");
    for (u32 i = 0; i < TABLES; i++) a.frames[i] = pfn_of(l1s[i]);
    if (HC2(memory_op, 6, P(&r)) != TABLES) fail("populate_physmap");
  }
}

/* The control domain's ports, both of them. */
static void events(void) {
  u32 store = si->store_evtchn, console = si->console_evtchn;
  for (;;) {
    HC2(event_channel_op, EVTCHN_send, P(&store));
    HC2(event_channel_op, EVTCHN_send, P(&console));
  }
}

static void flood(void) {
  for (;;) print("All work and no play makes a domain that nobody wants to share a machine with.\n");
}

void test_main(void) {
  static void (*const modes[])(void) = {spin, pin, update, lists, copies, reserve, events, flood};
  modes[option("mode", 0) % (sizeof modes / sizeof *modes)]();
}
