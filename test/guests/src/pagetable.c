/* Page-table rules: what a PV guest may map, pin, unpin and free, and what Xen answers when it may not. */
#include "../lib/lib.h"

const char test_name[] = "pagetable";

static u64 table[512] __attribute__((aligned(4096)));
static u64 table2[512] __attribute__((aligned(4096)));
static u64 table3[512] __attribute__((aligned(4096)));
static u8 page[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 spare[PAGE_SIZE] __attribute__((aligned(4096)));
/* A virtual address to map things at. */
static u8 slot[PAGE_SIZE] __attribute__((aligned(4096)));

static s64 map_slot(u64 pte) { return HC3(update_va_mapping, P(slot), pte, UVMF_INVLPG); }
static u64 frame(const void *va) { return mfn_of(va) << 12; }

/* A frame of Xen's own: the table behind its first L4 slot. */
static u64 xen_frame(void) { return PTE_MFN(((u64 *)si->pt_base)[256]); }

/* A frame of another domain: M2P names a pfn that is not ours. */
static u64 foreign_frame(void) {
  struct {
    u64 start, end, max;
  } m;
  HC2(memory_op, 12, P(&m));
  const u64 *p2m = (const u64 *)si->mfn_list;
  for (u64 mfn = 0x100; mfn < m.max && mfn < 0x80000; mfn++) {
    u64 pfn = M2P[mfn];
    if (pfn < 0x100000 && (pfn >= si->nr_pages || p2m[pfn] != mfn) && mfn != xen_frame()) return mfn;
  }
  return 0;
}

static void mappings(void) {
  check("map own frame read-only", map_slot(frame(page) | KERNEL_RO), 0);
  check("map own frame writable", map_slot(frame(page) | KERNEL_RW), 0);
  check("unmap", map_slot(0), 0);
  check("not-present entry with any bits", map_slot(0xfffffffffffffffeul), 0);
  check("map a frame of Xen", map_slot(xen_frame() << 12 | KERNEL_RO), -EBUSY);
  u64 foreign = foreign_frame();
  ok("there is a foreign frame", foreign != 0);
  check("map a foreign frame", map_slot(foreign << 12 | KERNEL_RW), -EBUSY);
  check("map a foreign frame read-only", map_slot(foreign << 12 | KERNEL_RO), -EBUSY);
  check("map beyond memory", map_slot(0xffffffffful << 12 | KERNEL_RW), -EPERM);
  check("map shared_info", map_slot(si->shared_info | KERNEL_RW), 0);
  map_slot(0);
  u64 own = frame(page);
  static const struct {
    const char *name;
    u64 bits;
    s64 rc;
  } bits[] = {
      {"user", PTE_U, 0},
      {"write-through", PTE_PWT, -EINVAL},
      {"cache-disable", PTE_PCD, -EINVAL},
      {"PAT", PTE_PSE, -EINVAL},
      {"global", PTE_G, 0},
      {"available 9", 1ul << 9, 0},
      {"available 10", 1ul << 10, 0},
      {"available 11", 1ul << 11, 0},
      {"available 52", 1ul << 52, 0},
      {"available 55", 1ul << 55, 0},
      {"available 58", 1ul << 58, 0},
      {"bit 62", 1ul << 62, 0},
      {"no-execute", PTE_NX, 0},
      {"address bit 51", 1ul << 51, -EPERM},
  };
  for (u32 i = 0; i < sizeof bits / sizeof *bits; i++) check(bits[i].name, map_slot(own | KERNEL_RW | bits[i].bits), bits[i].rc);
  map_slot(own | PTE_P | PTE_RW);
  printf("kernel entry reads back as: %x\n", *entry_of(slot, 1) & ~(0xffffffffful << 12));
  map_slot(own | PTE_P | PTE_RW | PTE_U);
  printf("user entry reads back as: %x\n", *entry_of(slot, 1) & ~(0xffffffffful << 12));
  map_slot(0);
  TRY(*(volatile u8 *)slot = 1);
  check_fault("write to an unmapped page", 14);
  map_slot(own | KERNEL_RO);
  TRY(*(volatile u8 *)slot = 1);
  check_fault("write to a read-only page", 14);
  map_slot(own | KERNEL_RW | PTE_NX);
  TRY(__asm__ volatile("call *%0" ::"r"(slot) : "memory"));
  check_fault("execute a no-execute page", 14);
  map_slot(0);
}

static void addresses(void) {
  u64 e = frame(page) | KERNEL_RW;
  check("update_va_mapping in Xen's area", HC3(update_va_mapping, 0xffff820000000000, e, UVMF_INVLPG), -EINVAL);
  check("update_va_mapping of the M2P", HC3(update_va_mapping, 0xffff800000000000, e, UVMF_INVLPG), -EINVAL);
  check("update_va_mapping not canonical", HC3(update_va_mapping, 0x0000900000000000, e, UVMF_INVLPG), -EINVAL);
  check("update_va_mapping without tables", HC3(update_va_mapping, 0x0000123400000000, e, UVMF_INVLPG), -EINVAL);
  check("update_va_mapping, bad flush", HC3(update_va_mapping, P(slot), e, 3), 0);
  check("update_va_mapping, bad bitmap", HC3(update_va_mapping, P(slot), 0, UVMF_TLB_FLUSH | 0x8000000000ul), -EFAULT);
  check("update_va_mapping_otherdomain, self", HC4(update_va_mapping_otherdomain, P(slot), e, UVMF_INVLPG, DOMID_SELF), 0);
  check("update_va_mapping_otherdomain, dom0", HC4(update_va_mapping_otherdomain, P(slot), e, UVMF_INVLPG, 0), -EPERM);
  check("update_va_mapping_otherdomain, no such", HC4(update_va_mapping_otherdomain, P(slot), e, UVMF_INVLPG, 0x7000), -ESRCH);
  map_slot(0);
}

static void updates(void) {
  u64 ma = entry_ma(slot, 1), e = frame(page) | KERNEL_RO;
  check("mmu_update L1", mmu_update1(ma, e), 0);
  check("mmu_update L1, preserve A/D", mmu_update1(ma | MMU_PRESERVE_AD, e), 0);
  check("mmu_update, command 3", mmu_update1(ma | MMU_NO_TRANSLATE, e), 0);
  check("mmu_update, misaligned", mmu_update1(ma | 4, e), -ENOSYS);
  check("mmu_update of a frame beyond memory", mmu_update1(0xffffffffful << 12, e), -EINVAL);
  check("mmu_update of a frame of Xen", mmu_update1(xen_frame() << 12, e), -EINVAL);
  check("mmu_update of data in a writable page", mmu_update1(frame(page), 0x1122334455667788), 0);
  ok("it was written", *(u64 *)page == 0x1122334455667788);
  check("M2P update of our frame", mmu_update1(frame(page) | MMU_MACHPHYS, pfn_of(page)), 0);
  check("M2P update of a frame of Xen", mmu_update1(xen_frame() << 12 | MMU_MACHPHYS, 1), -EINVAL);
  check("mmu_update for dom0's frames", mmu_update_for(ma, e, 0), -EPERM);
  check("mmu_update in dom0's tables", mmu_update_for(ma, e, (u64)1 << 16 | DOMID_SELF), -EPERM);
  check("mmu_update for no such domain", mmu_update_for(ma, e, 0x7000), -ESRCH);
  check("mmu_update for DOMID_IO", mmu_update_for(ma, e, DOMID_IO), 0);
  struct mmu_update u[3] = {{ma, e}, {0xffffffffful << 12, e}, {ma, 0}};
  u32 count = 99;
  check("three updates, the second bad", HC4(mmu_update, P(u), 3, P(&count), DOMID_SELF), -EINVAL);
  printf("done: %u\n", (u64)count);
  check("no updates", HC4(mmu_update, P(u), 0, 0, DOMID_SELF), 0);
  check("bad pointer to updates", HC4(mmu_update, 0x1000, 1, 0, DOMID_SELF), -EFAULT);
  check("pointer to updates in Xen's area", HC4(mmu_update, 0xffff830000000000, 1, 0, DOMID_SELF), -EFAULT);
  u[0].val = 0;
  HC4(mmu_update, P(u), 1, 0x1000, DOMID_SELF);
  map_slot(0);
}

/* Is the page mapped writable by its own address? Make it so or not. */
static s64 writable(const void *va, bool w) { return map_self(va, w ? KERNEL_RW : KERNEL_RO); }

static void pinning(void) {
  u64 mfn = mfn_of(table);
  memset(table, 0, sizeof table);
  check("pin a page that is mapped writable", mmuext(MMUEXT_PIN_L1, mfn, 0), -EINVAL);
  check("make it read-only", writable(table, false), 0);
  check("pin as L1", mmuext(MMUEXT_PIN_L1, mfn, 0), 0);
  check("pin twice", mmuext(MMUEXT_PIN_L1, mfn, 0), -EINVAL);
  check("pin as another type", mmuext(MMUEXT_PIN_L2, mfn, 0), -EINVAL);
  check("map a pinned table writable", writable(table, true), -EBUSY);
  check("map it writable elsewhere", map_slot(mfn << 12 | KERNEL_RW), -EBUSY);
  check("clear a pinned table", mmuext(MMUEXT_CLEAR_PAGE, mfn, 0), -EINVAL);
  check("copy onto a pinned table", mmuext(MMUEXT_COPY_PAGE, mfn, mfn_of(page)), -EINVAL);
  check("entry in it for itself, writable", mmu_update1(mfn << 12, mfn << 12 | KERNEL_RW), -EBUSY);
  check("entry in it for itself, read-only", mmu_update1(mfn << 12, mfn << 12 | KERNEL_RO), 0);
  check("entry in it for a page", mmu_update1(mfn << 12 | 8, frame(page) | KERNEL_RW), 0);
  u64 list = mfn;
  struct {
    u64 extents, nr;
    u32 order, flags;
    u16 domid;
  } r = {P(&list), 1, 0, 0, DOMID_SELF};
  check("unpin", mmuext(MMUEXT_UNPIN, mfn, 0), 0);
  check("unpin twice", mmuext(MMUEXT_UNPIN, mfn, 0), -EINVAL);
  check("then map it writable", writable(table, true), 0);
  table[0] = frame(page) | KERNEL_RW | PTE_G;
  table[1] = 0;
  writable(table, false);
  check("pin an L1 with a global entry", mmuext(MMUEXT_PIN_L1, mfn, 0), 0);
  mmuext(MMUEXT_UNPIN, mfn, 0);
  writable(table, true);
  table[0] = frame(page) | KERNEL_RW | PTE_PCD;
  writable(table, false);
  check("pin an L1 with an uncached entry", mmuext(MMUEXT_PIN_L1, mfn, 0), -EINVAL);
  writable(table, true);
  table[0] = xen_frame() << 12 | KERNEL_RW;
  writable(table, false);
  check("pin an L1 that maps Xen", mmuext(MMUEXT_PIN_L1, mfn, 0), -EBUSY);
  writable(table, true);
  table[0] = frame(page) | PTE_P;
  writable(table, false);
  check("pin an L1 with a kernel page", mmuext(MMUEXT_PIN_L1, mfn, 0), 0);
  printf("its entry reads back as: %x\n", table[0] & ~(0xffffffffful << 12));
  check("pin a frame of Xen", mmuext(MMUEXT_PIN_L1, xen_frame(), 0), -EINVAL);
  check("pin a frame beyond memory", mmuext(MMUEXT_PIN_L1, 0xffffffffful, 0), -EINVAL);
  check("unpin a page that is no table", mmuext(MMUEXT_UNPIN, mfn_of(page), 0), -EINVAL);

  /* Upper levels. */
  memset(table2, 0, sizeof table2);
  table2[0] = frame(page) | KERNEL_RW | PTE_U;
  writable(table2, false);
  check("pin an L2 whose entry is a writable page", mmuext(MMUEXT_PIN_L2, mfn_of(table2), 0), -EINVAL);
  writable(table2, true);
  table2[0] = mfn << 12 | KERNEL_RW | PTE_U | PTE_PSE;
  writable(table2, false);
  check("pin an L2 with a superpage", mmuext(MMUEXT_PIN_L2, mfn_of(table2), 0), -EINVAL);
  writable(table2, true);
  table2[0] = mfn << 12 | KERNEL_RW | PTE_U | PTE_G;
  writable(table2, false);
  check("pin an L2 with a global entry", mmuext(MMUEXT_PIN_L2, mfn_of(table2), 0), -EINVAL);
  writable(table2, true);
  table2[0] = mfn << 12 | KERNEL_RW | PTE_U;
  writable(table2, false);
  check("pin an L2 over the L1", mmuext(MMUEXT_PIN_L2, mfn_of(table2), 0), 0);
  check("unpin the L1 below", mmuext(MMUEXT_UNPIN, mfn, 0), 0);
  check("it stays a table", writable(table, true), -EBUSY);
  check("superpage into the L2", mmu_update1(mfn_of(table2) << 12 | 8, mfn << 12 | KERNEL_RW | PTE_U | PTE_PSE), -EINVAL);
  check("L2 entry for an L2", mmu_update1(mfn_of(table2) << 12 | 8, mfn_of(table2) << 12 | KERNEL_RW | PTE_U), -EINVAL);
  check("L2 entry for itself, read-only", mmu_update1(mfn_of(table2) << 12 | 8, mfn_of(table2) << 12 | PTE_P | PTE_U), 0);
  mmu_update1(mfn_of(table2) << 12 | 8, 0);
  memset(table3, 0, sizeof table3);
  table3[3] = mfn_of(table2) << 12 | KERNEL_RW | PTE_U;
  writable(table3, false);
  check("pin an L3", mmuext(MMUEXT_PIN_L3, mfn_of(table3), 0), 0);
  check("pin the L3 as L4", mmuext(MMUEXT_PIN_L4, mfn_of(table3), 0), -EINVAL);
  u64 l4mfn = mfn_of((void *)si->pt_base);
  check("L3 into a free L4 slot", mmu_update1(l4mfn << 12 | 5 * 8, mfn_of(table3) << 12 | KERNEL_RW | PTE_U), 0);
  volatile u8 *through = (u8 *)(5ul << 39 | 3ul << 30);
  page[5] = 0x77;
  TRY(ok("memory through the new tables", through[5] == 0x77));
  check_fault("reading it", -1);
  check("L4 slot of Xen", mmu_update1(l4mfn << 12 | 257 * 8, mfn_of(table3) << 12 | KERNEL_RW | PTE_U), -EINVAL);
  check("linear L4 entry, read-only", mmu_update1(l4mfn << 12 | 6 * 8, l4mfn << 12 | PTE_P | PTE_U), 0);
  check("linear L4 entry, writable", mmu_update1(l4mfn << 12 | 7 * 8, l4mfn << 12 | KERNEL_RW | PTE_U), -EINVAL);
  mmu_update1(l4mfn << 12 | 6 * 8, 0);
  check("take the L3 out again", mmu_update1(l4mfn << 12 | 5 * 8, 0), 0);
  mmuext(MMUEXT_INVLPG_LOCAL, P(through), 0);
  TRY((void)through[5]);
  check_fault("reading it then", 14);
  check("unpin the L3", mmuext(MMUEXT_UNPIN, mfn_of(table3), 0), 0);
  check("unpin the L2", mmuext(MMUEXT_UNPIN, mfn_of(table2), 0), 0);
  check("all writable again 1", writable(table, true), 0);
  check("all writable again 2", writable(table2, true), 0);
  check("all writable again 3", writable(table3, true), 0);

  /* Freeing a pinned table. */
  memset(table, 0, sizeof table);
  writable(table, false);
  mmuext(MMUEXT_PIN_L1, mfn, 0);
  HC3(update_va_mapping, P(table), 0, UVMF_INVLPG);
  list = mfn;
  check("free a pinned table", HC2(memory_op, 1, P(&r)), 1);
  check("unpin it then", mmuext(MMUEXT_UNPIN, mfn, 0), 0);
  check("map it then", map_slot(mfn << 12 | KERNEL_RO), -EBUSY);
  list = xen_frame();
  check("free a frame of Xen", HC2(memory_op, 1, P(&r)), 0);
  list = mfn_of(spare);
  check("free a page that is mapped", HC2(memory_op, 1, P(&r)), 1);
  TRY(ok("it can still be read", *(volatile u8 *)spare == 0));
  check("and mapped anew", map_slot(list << 12 | KERNEL_RO), 0);
}

static void commands(void) {
  check("new_baseptr of a page that is no L4", mmuext(MMUEXT_NEW_BASEPTR, mfn_of(page), 0), -EINVAL);
  check("new_baseptr of ours", mmuext(MMUEXT_NEW_BASEPTR, mfn_of((void *)si->pt_base), 0), 0);
  check("new_user_baseptr of a page that is no L4", mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(page), 0), -EINVAL);
  check("new_user_baseptr of none", mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
  check("tlb_flush_local", mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0), 0);
  check("invlpg_local", mmuext(MMUEXT_INVLPG_LOCAL, P(slot), 0), 0);
  check("invlpg_local in Xen's area", mmuext(MMUEXT_INVLPG_LOCAL, 0xffff820000000000, 0), 0);
  check("tlb_flush_all", mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0), 0);
  check("invlpg_all", mmuext(MMUEXT_INVLPG_ALL, P(slot), 0), 0);
  u64 cpus = 1;
  check("tlb_flush_multi", mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, P(&cpus)), 0);
  check("invlpg_multi", mmuext(MMUEXT_INVLPG_MULTI, P(slot), P(&cpus)), 0);
  check("tlb_flush_multi, bad pointer", mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, 0x1000), -EINVAL);
  check("flush_cache", mmuext(MMUEXT_FLUSH_CACHE, 0, 0), -EACCES);
  check("flush_cache_global", mmuext(MMUEXT_FLUSH_CACHE_GLOBAL, 0, 0), -EINVAL);
  check("set_ldt, not page-aligned", mmuext(MMUEXT_SET_LDT, P(page) + 8, 1), -EINVAL);
  check("set_ldt, too long", mmuext(MMUEXT_SET_LDT, P(page), 8193), -EINVAL);
  check("set_ldt, none", mmuext(MMUEXT_SET_LDT, 0, 0), 0);
  memset(page, 0xee, sizeof page);
  check("clear_page", mmuext(MMUEXT_CLEAR_PAGE, mfn_of(page), 0), 0);
  ok("it is clear", page[0] == 0 && page[4095] == 0);
  page[7] = 9;
  check("copy_page", mmuext(MMUEXT_COPY_PAGE, mfn_of(table2), mfn_of(page)), 0);
  ok("it is copied", ((u8 *)table2)[7] == 9);
  check("clear a frame of Xen", mmuext(MMUEXT_CLEAR_PAGE, xen_frame(), 0), -EINVAL);
  check("copy a frame of Xen", mmuext(MMUEXT_COPY_PAGE, mfn_of(page), xen_frame()), -EINVAL);
  check("mark_super", mmuext(MMUEXT_MARK_SUPER, mfn_of(page), 0), -EOPNOTSUPP);
  check("unmark_super", mmuext(MMUEXT_UNMARK_SUPER, mfn_of(page), 0), -EOPNOTSUPP);
  check("command 99", mmuext(99, 0, 0), -ENOSYS);
  struct mmuext_op op = {MMUEXT_TLB_FLUSH_LOCAL, 0, 0};
  check("for dom0", HC4(mmuext_op, P(&op), 1, 0, 0), -EPERM);
  check("for no such domain", HC4(mmuext_op, P(&op), 1, 0, 0x7000), -ESRCH);
  check("bad pointer", HC4(mmuext_op, 0x1000, 1, 0, DOMID_SELF), -EFAULT);
}

/* Writes to tables that are mapped read-only: L1 writes are emulated, others fault. */
static void writable_tables(void) {
  volatile u64 *l1e = entry_of(slot, 1);
  u64 e = frame(page) | KERNEL_RW;
  TRY(*l1e = e);
  check_fault("write to an L1 entry without the assist", 14);
  HC2(vm_assist, 0, 2);
  TRY(*l1e = e);
  check_fault("write to an L1 entry", -1);
  page[3] = 0x42;
  TRY(ok("it maps", slot[3] == 0x42));
  TRY(*l1e = xen_frame() << 12 | KERNEL_RO);
  check_fault("write an entry for a frame of Xen", 14);
  TRY(__atomic_exchange_n(l1e, 0, __ATOMIC_SEQ_CST));
  check_fault("xchg of an L1 entry", -1);
  u64 old = 0;
  TRY(__atomic_compare_exchange_n(l1e, &old, e, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  check_fault("cmpxchg of an L1 entry", -1);
  TRY(*(volatile u32 *)l1e = 0);
  check_fault("four bytes of an L1 entry", -1);
  TRY(*(volatile u8 *)l1e = 0);
  check_fault("one byte of an L1 entry", -1);
  TRY(*(volatile u64 *)((u8 *)l1e + 4) = 0);
  check_fault("across two L1 entries", 14);
  TRY(*(volatile u64 *)entry_of(slot, 2) = *(volatile u64 *)entry_of(slot, 2));
  check_fault("write to an L2 entry", 14);
  TRY(*(volatile u64 *)entry_of(slot, 4) = *(volatile u64 *)entry_of(slot, 4));
  check_fault("write to an L4 entry", 14);
  map_slot(0);
  TRY(*(volatile u64 *)M2P = 0);
  check_fault("write to the M2P", 14);
  TRY((void)*(volatile u64 *)0xffff830000000000);
  ok("reading Xen's memory is a page fault", fault.vector == 14);
}

static void descriptors(void) {
  u64 frames[2] = {mfn_of(table3), 0};
  memset(table3, 0, sizeof table3);
  check("set_gdt of a writable page", HC2(set_gdt, P(frames), 512), -EINVAL);
  check("set_gdt, too many entries", HC2(set_gdt, P(frames), 7169), -EINVAL);
  check("set_gdt, bad pointer", HC2(set_gdt, 0x1000, 512), -EFAULT);
  table3[1] = 0x00cffb000000ffff; /* code, DPL 3 */
  table3[2] = 0x00cf93000000ffff; /* data, DPL 0 */
  writable(table3, false);
  check("set_gdt", HC2(set_gdt, P(frames), 512), 0);
  check("map the GDT writable", writable(table3, true), -EBUSY);
  printf("DPL 0 data reads back as: %x\n", table3[2]);
  check("update_descriptor", HC2(update_descriptor, mfn_of(table3) << 12 | 24, 0x00cff3000000ffff), 0);
  check("update_descriptor, misaligned", HC2(update_descriptor, mfn_of(table3) << 12 | 4, 0), -EINVAL);
  check("update_descriptor, a TSS", HC2(update_descriptor, mfn_of(table3) << 12 | 32, 0x000089000000ffff), -EINVAL);
  check("update_descriptor, frame of Xen", HC2(update_descriptor, xen_frame() << 12, 0), -EINVAL);
  check("set_gdt, none", HC2(set_gdt, 0, 0), 0);
  check("map it writable then", writable(table3, true), 0);
  table3[4] = 0x000089000000ffff;
  writable(table3, false);
  check("set_gdt with a TSS descriptor", HC2(set_gdt, P(frames), 512), -EINVAL);
}

void test_main(void) {
  mappings();
  addresses();
  updates();
  pinning();
  commands();
  writable_tables();
  descriptors();
}
