/* Grant tables: transfer, replacing a mapping, device mappings, cache_flush, and what is no operation. */
#include "../lib/grant.h"

const char test_name[] = "grants3";

static volatile struct entry *table;
static u8 table_page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 other[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 slot[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 gift[8][PAGE_SIZE] __attribute__((aligned(4096)));
static domid_t self;

struct transfer {
  u64 mfn;
  domid_t dom;
  u32 ref;
  int16_t status;
};
static int16_t transfer(u64 mfn, domid_t dom, u32 ref) {
  struct transfer t = {mfn, dom, ref, 99};
  s64 rc = op(op_transfer, &t, 1);
  if (rc) check("transfer itself", rc, 0);
  return t.status;
}
static void take_away(u32 i) { check("  unmap a page", HC3(update_va_mapping, P(gift[i]), 0, UVMF_INVLPG), 0); }
static void accept(u32 ref, domid_t from, u32 pfn) {
  table[ref].domid = from;
  table[ref].frame = pfn;
  __asm__ volatile("" ::: "memory");
  table[ref].flags = accept_transfer;
}

static void transfers(void) {
  u64 mfn = mfn_of((void *)gift[0]);
  gift[0][5] = 0x77;
  accept(8, self, (u32)pfn_of((void *)gift[0]));
  status("transfer a mapped page", transfer(mfn, self, 8), -9);
  printf("flags: %x\n", (u64)table[8].flags);
  take_away(0);
  status("transfer to oneself", transfer(mfn, self, 8), 0);
  printf("flags: %x\n", (u64)table[8].flags);
  ok("the entry has the frame", table[8].frame == (u32)mfn);
  ok("its pfn is the one given", M2P[mfn] == pfn_of((void *)gift[0]));
  check("map it", HC3(update_va_mapping, P(gift[0]), mfn << 12 | KERNEL_RW, UVMF_INVLPG), 0);
  printf("byte 5: %x\n", (u64)gift[0][5]);
  take_away(0);
  status("transfer by the same entry", transfer(mfn, self, 8), -1);
  check("map what is gone", HC3(update_va_mapping, P(gift[0]), mfn << 12 | KERNEL_RW, UVMF_INVLPG), -EBUSY);
  take_away(1);
  accept(9, 0, 1);
  status("transfer by an entry for another", transfer(mfn_of((void *)gift[1]), self, 9), -1);
  take_away(2);
  status("transfer by a bad reference", transfer(mfn_of((void *)gift[2]), self, 0xfffffff), -1);
  take_away(3);
  status("transfer to no such domain", transfer(mfn_of((void *)gift[3]), 0x7000, 8), -2);
  status("transfer a page that is gone", transfer(mfn_of((void *)gift[3]), self, 8), -9);
  status("transfer a frame beyond memory", transfer(0xfffffffffff, self, 8), -9);
  status("transfer a page table", transfer(mfn_of((void *)si->pt_base), self, 8), -9);
  status("transfer the table's own frame", transfer(PTE_MFN(*entry_of(table_page, 1)), self, 8), -9);
  check("transfer of none", op(op_transfer, NULL, 0), 0);
}

struct replace {
  u64 host_addr, new_addr;
  u32 handle;
  int16_t status;
};
static int16_t replace(u64 at, u64 with, u32 handle) {
  struct replace r = {at, with, handle, 99};
  s64 rc = op(op_replace, &r, 1);
  if (rc) check("unmap_and_replace itself", rc, 0);
  return r.status;
}

static void replacing(void) {
  page[0] = 1;
  other[0] = 2;
  table[10] = (struct entry){permit_access, self, (u32)mfn_of((void *)page)};
  struct map m = map(P(slot), host, 10, self);
  status("map", m.status, 0);
  status("replace a mapping", replace(P(slot), P(other), m.handle), 0);
  TRY(printf("byte there: %x\n", (u64)slot[0]));
  check_fault("read there", -1);
  TRY((void)*(volatile u8 *)other);
  check_fault("read where it was", 14);
  printf("flags: %x\n", (u64)table[10].flags);
  status("replace it again", replace(P(slot), P(other), m.handle), -4);
  map_self((void *)other, KERNEL_RW);
  m = map(P(slot), host, 10, self);
  status("map", m.status, 0);
  status("replace by nothing", replace(P(slot), 0, m.handle), 0);
  TRY((void)*(volatile u8 *)slot);
  check_fault("read there", 14);
  m = map(P(slot), host, 10, self);
  status("replace at the wrong address", replace(P(gift[4]), P(other), m.handle), -1);
  map_self((void *)other, KERNEL_RW);
  status("replace by where there is no table", replace(P(slot), 0x123400000000, m.handle), -1);
  status("unmap", unmap(P(slot), m.handle).status, 0);
  map_self((void *)slot, KERNEL_RW);
}

static void devices(void) {
  struct map m = map(0, 1, 10, self);
  status("map for a device", m.status, 0);
  ok("its address is the frame's", m.dev_bus_addr == mfn_of((void *)page) << 12);
  printf("flags: %x\n", (u64)table[10].flags);
  struct unmap u = {0, m.dev_bus_addr + 4096, m.handle, 99};
  op(op_unmap, &u, 1);
  status("unmap with the wrong address", u.status, -6);
  u = (struct unmap){0, m.dev_bus_addr, m.handle, 99};
  op(op_unmap, &u, 1);
  status("unmap", u.status, 0);
  m = map(P(slot), host | 1, 10, self);
  status("map for both", m.status, 0);
  u = (struct unmap){P(slot), 0, m.handle, 99};
  op(op_unmap, &u, 1);
  status("unmap the one", u.status, 0);
  printf("flags: %x\n", (u64)table[10].flags);
  u = (struct unmap){P(slot), 0, m.handle, 99};
  op(op_unmap, &u, 1);
  printf("unmap it again: status %d\n", (s64)u.status);
  u = (struct unmap){0, m.dev_bus_addr, m.handle, 99};
  op(op_unmap, &u, 1);
  status("unmap the other", u.status, 0);
  printf("flags: %x\n", (u64)table[10].flags);
  map_self((void *)slot, KERNEL_RW);
  m = map(P(slot), host | application | 5u << 16, 10, self);
  status("map for applications, with bits of one's own", m.status, 0);
  printf("entry: %x\n", *entry_of((void *)slot, 1) & 0xfff);
  status("unmap", unmap(P(slot), m.handle).status, 0);
  printf("entry: %x\n", *entry_of((void *)slot, 1));
  map_self((void *)slot, KERNEL_RW);
  m = map(P(slot), host, 10, self);
  printf("entry: %x\n", *entry_of((void *)slot, 1) & 0xfff);
  check("overwrite a mapped entry", map_self((void *)slot, KERNEL_RW), 0);
  status("unmap then", unmap(P(slot), m.handle).status, -1);
  printf("flags: %x\n", (u64)table[10].flags);
  m = map(P(slot) + 123, host, 10, self);
  status("map at an address within a page", m.status, 0);
  status("unmap at another within it", unmap(P(slot) + 7, m.handle).status, 0);
  map_self((void *)slot, KERNEL_RW);
}

static void cache_flush(const char *what, u64 a, u16 offset, u16 length, u32 how, s64 want) {
  struct {
    u64 a;
    u16 offset, length;
    u32 op;
  } c = {a, offset, length, how};
  check(what, op(op_cache, &c, 1), want);
}

static void caches(void) {
  u64 at = mfn_of((void *)page) << 12;
  cache_flush("cache_flush: clean", at, 0, 64, 1, 0);
  cache_flush("cache_flush: clean and invalidate", at, 0, 64, 3, 0);
  cache_flush("cache_flush: invalidate", at, 0, 64, 2, -EOPNOTSUPP);
  cache_flush("cache_flush: a reference", at, 0, 64, 0x80000001, -EINVAL);
  cache_flush("cache_flush: beyond the page", at, 4000, 97, 1, -EINVAL);
  cache_flush("cache_flush: no such frame", 0xffffffffff000, 0, 64, 1, -EINVAL);
  cache_flush("cache_flush: nothing of no such frame", 0xffffffffff000, 0, 0, 1, 0);
  cache_flush("cache_flush: another operation", at, 0, 64, 4, -EINVAL);
  u64 pad[8] = {0};
  check("an argument in the command", HC3(grant_table_op, op_map | 0x1000, P(pad), 1), -EINVAL);
  check("dump_table", op(op_dump, pad, 1), -ENOSYS);
  check("command 13", op(13, pad, 1), -ENOSYS);
}

void test_main(void) {
  self = own_domid();
  u64 frames[1];
  status("setup_table", setup_table(frames, 1), 0);
  check("map the table", HC3(update_va_mapping, P(table_page), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG), 0);
  table = (volatile struct entry *)table_page;
  transfers();
  replacing();
  devices();
  caches();
}
