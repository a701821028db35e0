/* Writes rubbish wherever a guest can write: rings, shared_info, grant table, event words, page tables; then says goodbye. */
#include "../lib/lib.h"

const char test_name[] = "garbage";

static u64 seed = 0x9e3779b97f4a7c15;
static u64 any(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}
static u8 slot[PAGE_SIZE] __attribute__((aligned(4096)));
/* Arguments point into the first page; answers may run into the others. */
static u8 page[8 * PAGE_SIZE] __attribute__((aligned(4096)));

static void fill(void *p, u32 bytes) {
  for (u32 i = 0; i < bytes / 8; i++) ((volatile u64 *)p)[i] = any();
}
static void kick(u32 port) { HC2(event_channel_op, EVTCHN_send, P(&port)); }

void test_main(void) {
  upcalls_off();
  HC2(vm_assist, 0, 2);
  print("garbage: hypercall arguments\n");
  static const u8 calls[] = {HC_mmu_update,  HC_set_gdt,     HC_stack_switch, HC_set_debugreg,     HC_update_descriptor, HC_memory_op,
                             HC_multicall,   HC_xen_version, HC_grant_table_op, HC_vm_assist,      HC_vcpu_op,           HC_mmuext_op,
                             HC_callback_op, HC_event_channel_op, HC_physdev_op, HC_update_va_mapping, HC_sysctl,         HC_domctl,
                             HC_platform_op, HC_hvm_op, 37, 39, 40, 41, 42, 48};
  for (u32 i = 0; i < 20000; i++) {
    u8 call = calls[any() % sizeof calls];
    u64 a[5];
    fill(page + any() % 512 * 8, 64);
    for (u32 k = 0; k < 5; k++) {
      switch (any() % 5) {
      case 0: a[k] = any(); break;
      case 1: a[k] = any() % 64; break;
      case 2: a[k] = P(page) + any() % 4096; break;
      case 3: a[k] = 0xffff800000000000 + any() % 0x80000000000; break;
      default: a[k] = 0x7ff0;
      }
    }
    /* Not what may rightly end us, silence us, or change what we run on. */
    if (call == HC_stack_switch || call == HC_callback_op || call == HC_update_va_mapping || call == HC_multicall) a[0] = any() % 16 << 60 | 0x900000000000;
    if (call == HC_callback_op || call == HC_memory_op) a[1] = 0xffff830000000000 | (a[1] & 0xffffff);
    if (call == HC_vcpu_op && (a[0] == VCPU_down || a[0] == VCPU_register_vcpu_info || a[0] == VCPU_register_runstate || a[0] == 13)) continue;
    if (call == HC_event_channel_op && (a[0] == EVTCHN_close || a[0] == EVTCHN_reset || a[0] == EVTCHN_init_control)) continue;
    if (call == HC_set_debugreg && a[0] > 3) continue;
    if (call == HC_mmu_update || call == HC_mmuext_op) a[1] &= 0xff;
    if (call == HC_grant_table_op) a[2] &= 0xff; /* answers overwrite the arguments */
    if (call == HC_physdev_op || call == HC_set_gdt) a[1] &= 0xffff;
    hypercall(call, a[0], a[1], a[2], a[3], a[4]);
  }
  print("garbage: page tables\n");
  u64 l1 = mfn_of(entry_of(slot, 1)) << 12;
  u32 taken = 0;
  for (u32 i = 0; i < 20000; i++) {
    u64 v = any();
    if (any() & 1) v = (v & 0xfffff000) | (any() & 0xfff);
    if (any() & 1) v = mfn_of(page) << 12 | (any() & 0xe67);
    if (!mmu_update1(l1 | (P(entry_of(slot, 1)) & 4095), v)) taken++;
    TRY(*(volatile u64 *)entry_of(slot, 1) = v);
  }
  HC3(update_va_mapping, P(slot), 0, UVMF_INVLPG);
  ok("some entries were accepted", taken > 0);
  print("garbage: event words\n");
  fill(shared->evtchn_mask, sizeof shared->evtchn_mask);
  fill(shared->evtchn_pending, sizeof shared->evtchn_pending);
  for (u32 i = 0; i < 4000; i++) kick(i);
  memset(shared->evtchn_pending, 0, sizeof shared->evtchn_pending);
  print("garbage: grant table\n");
  u64 frames[1] = {0};
  struct {
    domid_t dom;
    u32 nr;
    int16_t status;
    u64 frames;
  } s = {DOMID_SELF, 1, 0, P(frames)};
  HC3(grant_table_op, 2, P(&s), 1);
  HC3(update_va_mapping, P(slot), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG);
  fill(slot + 16, PAGE_SIZE - 16);
  for (u32 i = 0; i < 2000; i++) {
    struct {
      u64 addr;
      u32 flags, ref;
      domid_t dom;
      int16_t status;
      u32 handle;
      u64 bus;
    } m = {any(), (u32)any(), (u32)any() % 600, DOMID_SELF, 0, 0, 0};
    HC3(grant_table_op, 0, P(&m), 1);
  }
  print("Test result: SUCCESS\n");
  /* From here on nothing can be said. */
  volatile struct console_ring *ring = va_of_mfn(si->console_mfn);
  for (u32 i = 0; i < 1000000 && ring->out_cons != ring->out_prod; i++) HC2(sched_op, SCHED_yield, 0);
  u8 *store = va_of_mfn(si->store_mfn);
  for (u32 i = 0; i < 200; i++) {
    fill(store, 4096);
    kick(si->store_evtchn);
    HC2(sched_op, SCHED_yield, 0);
  }
  ring->out_cons = (u32)any();
  ring->out_prod = (u32)any();
  ring->in_cons = (u32)any();
  ring->in_prod = (u32)any();
  kick(si->console_evtchn);
  fill((void *)shared, 4096);
  stop(SHUTDOWN_crash);
}
