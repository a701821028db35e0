/* Grant tables, version 1: set-up, mapping one's own grants, copying, and what is refused. */
#include "../lib/grant.h"

const char test_name[] = "grants";

static volatile struct entry *table;
static u8 table_page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 other[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 slot[PAGE_SIZE] __attribute__((aligned(4096)));
static domid_t self;

static void grant(u32 ref, const volatile void *va, u16 flags) {
  table[ref].domid = self;
  table[ref].frame = (u32)mfn_of((const void *)va);
  __asm__ volatile("" ::: "memory");
  table[ref].flags = flags;
}

static void setup(void) {
  struct {
    domid_t dom;
    u32 nr, max;
    int16_t status;
  } q = {DOMID_SELF, 0, 0, 99};
  check("query_size", op(op_query, &q, 1), 0);
  printf("frames: %u of %u, status %d\n", (u64)q.nr, (u64)q.max, (s64)q.status);
  struct {
    domid_t dom;
    u32 nr;
    int16_t status;
    u64 frames;
  } s = {DOMID_SELF, 1, 99, 0};
  u64 frames[4] = {0};
  s.frames = P(frames);
  check("setup_table", op(op_setup, &s, 1), 0);
  status("its status", s.status, 0);
  check("map the table", HC3(update_va_mapping, P(table_page), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG), 0);
  table = (volatile struct entry *)table_page;
  ok("entry 8 is free", table[8].flags == 0);
  printf("types of entries 0 and 1: %x %x\n", (u64)table[0].flags & 3, (u64)table[1].flags & 3);
  s.nr = 1000000;
  check("setup_table, too many frames", op(op_setup, &s, 1), 0);
  status("its status", s.status, -1);
  s.nr = 1;
  s.dom = 0;
  check("setup_table of dom0", op(op_setup, &s, 1), 0);
  status("its status", s.status, -8);
  s.dom = 0x7000;
  check("setup_table of no such domain", op(op_setup, &s, 1), 0);
  status("its status", s.status, -2);
  check("setup_table, two at once", op(op_setup, &s, 2), -EINVAL);
  struct {
    u32 version;
  } v = {1};
  check("set_version 1", op(op_set_version, &v, 1), 0);
  v.version = 3;
  check("set_version 3", op(op_set_version, &v, 1), -EINVAL);
  struct {
    domid_t dom;
    u16 pad;
    u32 version;
  } g = {DOMID_SELF, 0, 0};
  check("get_version", op(op_get_version, &g, 1), 0);
  printf("version: %u\n", (u64)g.version);
  self = own_domid();
  ok("we have an id", self != 0 && self < 0x7ff0);
}

static void mapping(void) {
  page[0] = 0x5a;
  grant(8, page, permit_access);
  struct map m = map(P(slot), host, 8, self);
  status("map writable", m.status, 0);
  ok("it is the page", slot[0] == 0x5a);
  slot[1] = 0xa5;
  ok("in both directions", page[1] == 0xa5);
  printf("flags in use: %x\n", (u64)table[8].flags);
  struct map m2 = map(P(other), host | ro, 8, self);
  status("map it again, read-only", m2.status, 0);
  TRY(*(volatile u8 *)other = 1);
  check_fault("write there", 14);
  struct unmap u = unmap(P(slot), m.handle);
  status("unmap", u.status, 0);
  printf("flags then: %x\n", (u64)table[8].flags);
  u = unmap(P(slot), m.handle);
  status("unmap twice", u.status, -4);
  u = unmap(P(slot), m2.handle);
  status("unmap at the wrong address", u.status, -1);
  u = unmap(P(other), m2.handle);
  status("unmap the other", u.status, 0);
  printf("flags at last: %x\n", (u64)table[8].flags);
  u = unmap(P(other), 0xffffff);
  status("unmap a bad handle", u.status, -4);
  map_self((void *)other, KERNEL_RW);

  table[8].flags = permit_access | readonly;
  m = map(P(slot), host, 8, self);
  status("map a read-only grant writable", m.status, -1);
  m = map(P(slot), host | ro, 8, self);
  status("map it read-only", m.status, 0);
  printf("flags in use: %x\n", (u64)table[8].flags);
  unmap(P(slot), m.handle);
  table[8].flags = 0;
  m = map(P(slot), host, 8, self);
  status("map an entry not in use", m.status, -1);
  m = map(P(slot), host, 0xfffffff, self);
  status("map a bad reference", m.status, -3);
  m = map(P(slot), host, 8, 0x7000);
  status("map from no such domain", m.status, -2);
  grant(8, page, permit_access);
  table[8].domid = 0;
  m = map(P(slot), host, 8, self);
  status("map a grant for another", m.status, -1);
  table[8].domid = self;
  m = map(P(slot), host, 8, DOMID_SELF);
  status("map from DOMID_SELF", m.status, -2);
  m = map(P(slot), 0, 8, self);
  status("map neither for host nor device", m.status, -3);
  m = map(0xffff820000000000, host, 8, self);
  status("map into Xen's area", m.status, -1);
  m = map(0x123400000000, host, 8, self);
  status("map where there is no table", m.status, -1);
  table[8].frame = (u32)PTE_MFN(((u64 *)si->pt_base)[256]);
  m = map(P(slot), host, 8, self);
  status("map a grant of a frame of Xen", m.status, -9);
  table[8].frame = (u32)mfn_of((void *)si->pt_base);
  m = map(P(slot), host, 8, self);
  status("map a grant of a page table writable", m.status, -1);
  grant(8, page, permit_access);
  u64 pte = entry_ma((void *)slot, 1);
  map_self((void *)slot, KERNEL_RW);
  m = map(pte, host | contains_pte, 8, self);
  status("map by the address of the entry", m.status, 0);
  TRY(ok("it is the page", slot[0] == 0x5a));
  u = unmap(pte, m.handle);
  status("unmap by it", u.status, 0);
  TRY((void)*(volatile u8 *)slot);
  check_fault("read there then", 14);
  map_self((void *)slot, KERNEL_RW);
  m = map(P(slot), host, 8, self);
  table[8].flags = 0;
  printf("flags of a mapped grant after clearing: %x\n", (u64)table[8].flags);
  grant(8, page, permit_access);
  unmap(P(slot), m.handle);
  check("bad pointer", HC3(grant_table_op, op_map, 0x1000, 1), -EFAULT);
  check("none at all", HC3(grant_table_op, op_map, P(&m), 0), 0);
  check("command 99", HC3(grant_table_op, 99, P(&m), 1), -ENOSYS);
  check("negative count", HC3(grant_table_op, op_map, P(&m), 0xffffffff), -EINVAL);
  map_self((void *)slot, KERNEL_RW);
}

static void copying(void) {
  for (u32 i = 0; i < 64; i++) page[i] = (u8)i;
  for (u32 i = 0; i < PAGE_SIZE; i++) other[i] = 0;
  grant(9, page, permit_access | readonly);
  grant(10, other, permit_access);
  status("copy grant to frame", copy(9, DOMID_SELF, 8, mfn_of((void *)other), DOMID_SELF, 100, 16, 1), 0);
  ok("it is copied", other[100] == 8 && other[115] == 23 && other[116] == 0 && other[99] == 0);
  status("copy frame to grant", copy(mfn_of((void *)page), DOMID_SELF, 0, 10, DOMID_SELF, 200, 4, 2), 0);
  ok("it is copied", other[203] == 3);
  status("copy grant to grant", copy(9, DOMID_SELF, 4, 10, DOMID_SELF, 300, 4, 3), 0);
  ok("it is copied", other[303] == 7);
  status("copy frame to frame", copy(mfn_of((void *)page), DOMID_SELF, 1, mfn_of((void *)other), DOMID_SELF, 400, 4, 0), 0);
  status("copy onto a read-only grant", copy(10, DOMID_SELF, 0, 9, DOMID_SELF, 0, 4, 3), -1);
  status("copy beyond the page", copy(9, DOMID_SELF, 4090, mfn_of((void *)other), DOMID_SELF, 0, 16, 1), -10);
  status("copy to beyond the page", copy(9, DOMID_SELF, 0, mfn_of((void *)other), DOMID_SELF, 4090, 16, 1), -10);
  status("copy from a bad reference", copy(0xfffffff, DOMID_SELF, 0, mfn_of((void *)other), DOMID_SELF, 0, 16, 1), -3);
  status("copy from an entry not in use", copy(20, DOMID_SELF, 0, mfn_of((void *)other), DOMID_SELF, 0, 16, 1), -1);
  status("copy from a frame of dom0", copy(0x100, 0, 0, mfn_of((void *)other), DOMID_SELF, 0, 16, 0), -8);
  status("copy from no such domain", copy(9, 0x7000, 0, mfn_of((void *)other), DOMID_SELF, 0, 16, 1), -2);
  status("copy to a frame beyond memory", copy(9, DOMID_SELF, 0, 0xffffffffff, DOMID_SELF, 0, 16, 1), -9);
  status("copy nothing", copy(9, DOMID_SELF, 0, mfn_of((void *)other), DOMID_SELF, 0, 0, 1), 0);
  printf("flags afterwards: %x %x\n", (u64)table[9].flags, (u64)table[10].flags);
}

static void rest(void) {
  struct {
    u32 a, b;
    int16_t status;
  } s = {9, 10, 99};
  check("swap_grant_ref", op(op_swap, &s, 1), 0);
  status("its status", s.status, 0);
  ok("they are swapped", table[9].frame == (u32)mfn_of((void *)other));
  s = (typeof(s)){9, 0xfffffff, 99};
  check("swap with a bad reference", op(op_swap, &s, 1), 0);
  status("its status", s.status, -3);
  u64 pad[8] = {0};
  check("cache_flush of nothing", op(op_cache, pad, 1), 0);
  struct {
    u64 mfn;
    domid_t dom;
    u32 ref;
    int16_t status;
  } t = {mfn_of((void *)slot), 0x7000, 1, 99};
  check("transfer to no such domain", op(op_transfer, &t, 1), 0);
  status("its status", t.status, -9);
  u64 frames[2];
  struct {
    u32 nr;
    domid_t dom;
    int16_t status;
    u64 list;
  } f = {1, DOMID_SELF, 99, P(frames)};
  check("get_status_frames in version 1", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, -1);
}

void test_main(void) {
  setup();
  mapping();
  copying();
  rest();
}
