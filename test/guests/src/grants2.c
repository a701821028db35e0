/* Grant tables, version 2: changing the version, status frames, parts of pages, transitive grants. */
#include "../lib/grant.h"

const char test_name[] = "grants2";

static volatile struct entry *table1;
static volatile struct entry2 *table;
static volatile u16 *marks;
static u8 table_page[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 status_page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 other[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile u8 slot[PAGE_SIZE] __attribute__((aligned(4096)));
static domid_t self;

struct status_frames {
  u32 nr;
  domid_t dom;
  int16_t status;
  u64 list;
};

static void grant(u32 ref, u16 flags, u64 frame, u16 off, u16 length) {
  table[ref].domid = self;
  table[ref].page_off = off;
  table[ref].length = length;
  table[ref].frame = frame;
  __asm__ volatile("" ::: "memory");
  table[ref].flags = flags;
}
static void show(const char *what, u32 ref) {
  printf("%s: flags %x, marks %x\n", what, (u64)table[ref].flags, (u64)marks[ref]);
}
static void version(const char *what, u32 v, s64 want) {
  u32 got = v;
  check(what, set_version(&got), want);
  printf("  version: %u\n", (u64)got);
}

static void change(void) {
  u64 frames[2] = {0};
  status("setup_table", setup_table(frames, 1), 0);
  check("map the table", HC3(update_va_mapping, P(table_page), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG), 0);
  table1 = (volatile struct entry *)table_page;
  table = (volatile struct entry2 *)table_page;
  table1[9] = (struct entry){permit_access, self, (u32)mfn_of((void *)page)};
  struct map m = map(P(slot), host, 9, self);
  status("map by an entry of version 1", m.status, 0);
  version("set_version 2 while it is mapped", 2, -EBUSY);
  unmap(P(slot), m.handle);
  map_self((void *)slot, KERNEL_RW);
  u32 store = table1[1].frame;
  domid_t store_dom = table1[1].domid;
  version("set_version 0", 0, -EINVAL);
  version("set_version 2", 2, 0);
  version("set_version 2 again", 2, 0);
  ok("entry 1 is kept", table[1].domid == store_dom && table[1].frame == store);
  printf("its type: %x\n", (u64)table[1].flags & 3);
  ok("entry 9 is not", !table[9].flags && !table[9].frame && !table[4].frame);
  struct {
    domid_t dom;
    u32 nr, max;
    int16_t status;
  } q = {DOMID_SELF, 0, 0, 99};
  check("query_size", op(op_query, &q, 1), 0);
  printf("frames: %u of %u, status %d\n", (u64)q.nr, (u64)q.max, (s64)q.status);
  struct status_frames f = {1, DOMID_SELF, 99, P(frames)};
  check("get_status_frames", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, 0);
  check("map it", HC3(update_va_mapping, P(status_page), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG), 0);
  marks = (volatile u16 *)status_page;
  f.nr = 2;
  check("get_status_frames, two", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, -1);
  f = (struct status_frames){1, 0, 99, P(frames)};
  check("get_status_frames of dom0", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, -8);
  f.dom = 0x7000;
  check("get_status_frames of no such domain", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, -2);
  f = (struct status_frames){1, DOMID_SELF, 99, 0x1000};
  check("get_status_frames to a bad pointer", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, -5);
  check("get_status_frames, two structures", op(op_status_frames, &f, 2), -EINVAL);
}

static void mapping(void) {
  page[0] = 0x5a;
  grant(8, permit_access, mfn_of((void *)page), 0, 0);
  struct map m = map(P(slot), host, 8, self);
  status("map writable", m.status, 0);
  ok("it is the page", slot[0] == 0x5a);
  show("in use", 8);
  struct map m2 = map(P(other), host | ro, 8, self);
  status("map it again, read-only", m2.status, 0);
  unmap(P(slot), m.handle);
  show("then", 8);
  unmap(P(other), m2.handle);
  show("at last", 8);
  map_self((void *)slot, KERNEL_RW);
  map_self((void *)other, KERNEL_RW);
  grant(8, permit_access | readonly, mfn_of((void *)page), 0, 0);
  status("map a read-only grant writable", map(P(slot), host, 8, self).status, -1);
  show("refused", 8);
  grant(8, permit_access, 0x100000000000, 0, 0);
  status("map a frame beyond memory", map(P(slot), host, 8, self).status, -9);
  show("refused", 8);
  status("map reference 256", map(P(slot), host, 256, self).status, -3);
  status("map reference 255", map(P(slot), host, 255, self).status, -1);
  grant(8, permit_access | sub_page, mfn_of((void *)page), 0, 4096);
  status("map part of a page, though it is the whole", map(P(slot), host, 8, self).status, -1);
  grant(8, transitive, 9, 0, 0);
  table[8].page_off = self;
  status("map a transitive grant", map(P(slot), host, 8, self).status, -1);
  grant(8, permit_access, mfn_of((void *)page), 0, 0);
  m = map(P(slot), host | ro, 8, self);
  status("map read-only", m.status, 0);
  show("in use", 8);
  table[8].flags = permit_access | readonly;
  status("map writable once it is read-only", map(P(other), host, 8, self).status, -1);
  show("in use", 8);
  table[8].flags = 0;
  status("map read-only once it is withdrawn", (m2 = map(P(other), host | ro, 8, self)).status, 0);
  unmap(P(other), m2.handle);
  unmap(P(slot), m.handle);
  show("at last", 8);
  map_self((void *)slot, KERNEL_RW);
  map_self((void *)other, KERNEL_RW);
}

static void copying(void) {
  u64 from = mfn_of((void *)page), to = mfn_of((void *)other);
  for (u32 i = 0; i < PAGE_SIZE; i++) {
    page[i] = (u8)i;
    other[i] = 0;
  }
  grant(10, permit_access | readonly, from, 77, 1);
  status("copy a whole page's grant", copy(10, DOMID_SELF, 8, to, DOMID_SELF, 100, 16, 1), 0);
  ok("it is copied", other[100] == 8 && other[115] == 23 && !other[116] && !other[99]);
  grant(11, permit_access | sub_page | readonly, from, 64, 32);
  status("copy within a part", copy(11, DOMID_SELF, 64, to, DOMID_SELF, 200, 32, 1), 0);
  ok("it is copied", other[200] == 64 && other[231] == 95);
  status("copy from before it", copy(11, DOMID_SELF, 63, to, DOMID_SELF, 200, 2, 1), -1);
  status("copy from behind it", copy(11, DOMID_SELF, 95, to, DOMID_SELF, 200, 2, 1), -1);
  status("copy nothing at its end", copy(11, DOMID_SELF, 96, to, DOMID_SELF, 200, 0, 1), 0);
  status("copy beyond the page", copy(11, DOMID_SELF, 4090, to, DOMID_SELF, 200, 16, 1), -10);
  status("copy onto a read-only part", copy(from, DOMID_SELF, 0, 11, DOMID_SELF, 64, 4, 2), -1);
  show("afterwards", 11);
  grant(12, permit_access | sub_page, to, 4000, 4096);
  status("copy to a part that ends behind the page", copy(from, DOMID_SELF, 7, 12, DOMID_SELF, 4090, 6, 2), 0);
  ok("it is copied", other[4095] == 12);
  status("copy to before it", copy(from, DOMID_SELF, 7, 12, DOMID_SELF, 3999, 6, 2), -1);
  grant(13, transitive, 10, 0, 0);
  table[13].page_off = self;
  status("copy by a transitive grant to oneself", copy(13, DOMID_SELF, 8, to, DOMID_SELF, 100, 16, 1), -1);
  show("afterwards", 13);
  table[13].page_off = 0x7000;
  status("copy by a transitive grant of no such domain", copy(13, DOMID_SELF, 8, to, DOMID_SELF, 100, 16, 1), -1);
  grant(13, transitive, 0xfffffff, 0, 0);
  table[13].page_off = 0;
  status("copy by a transitive grant of dom0, a bad reference", copy(13, DOMID_SELF, 8, to, DOMID_SELF, 100, 16, 1), -3);
  show("afterwards", 13);
  grant(13, accept_transfer, from, 0, 0);
  status("copy by an entry for a transfer", copy(13, DOMID_SELF, 8, to, DOMID_SELF, 100, 16, 1), -1);
  status("copy from a reference beyond the page", copy(0xfffffff, DOMID_SELF, 4090, to, DOMID_SELF, 0, 16, 1), -3);
  status("copy from no such domain to a bad frame", copy(10, 0x7000, 0, 0xffffffffff, DOMID_SELF, 0, 16, 1), -2);
  status("copy from a bad reference to no such domain", copy(0xfffffff, DOMID_SELF, 0, 10, 0x7000, 0, 16, 3), -2);
}

static void rest(void) {
  struct {
    u32 a, b;
    int16_t status;
  } s = {10, 11, 99};
  check("swap_grant_ref", op(op_swap, &s, 1), 0);
  status("its status", s.status, 0);
  ok("they are swapped", table[10].page_off == 64 && table[10].length == 32 && table[11].page_off == 77);
  grant(20, permit_access, mfn_of((void *)page), 0, 0);
  struct map m = map(P(slot), host, 20, self);
  s = (typeof(s)){20, 10, 99};
  check("swap with one in use", op(op_swap, &s, 1), 0);
  status("its status", s.status, -12);
  version("set_version 1 while it is mapped", 1, -EBUSY);
  unmap(P(slot), m.handle);
  map_self((void *)slot, KERNEL_RW);
  grant(3, permit_access, 1ul << 32, 0, 0);
  version("set_version 1 with a frame that version 1 cannot name", 1, -34);
  grant(3, transitive, 10, 0, 0);
  version("set_version 1 with a transitive grant", 1, -34);
  grant(3, 0, 0, 0, 0);
  version("set_version 1 while the status frame is mapped", 1, -EBUSY);
  ok("the table is as it was", table[10].page_off == 64);
  check("unmap it", HC3(update_va_mapping, P(status_page), 0, UVMF_INVLPG), 0);
  grant(4, permit_access | readonly, mfn_of((void *)page), 0, 0);
  grant(5, accept_transfer, 1, 0, 0);
  version("set_version 1", 1, 0);
  ok("entry 4 is kept", table1[4].flags == (permit_access | readonly) && table1[4].frame == (u32)mfn_of((void *)page));
  ok("entry 5 is not", !table1[5].flags && !table1[5].frame);
  ok("entry 10 is not", !table1[10].flags && !table1[10].frame);
  printf("type of entry 1: %x\n", (u64)table1[1].flags & 3);
  u64 frames[1];
  struct status_frames f = {1, DOMID_SELF, 99, P(frames)};
  check("get_status_frames in version 1", op(op_status_frames, &f, 1), 0);
  status("its status", f.status, -1);
  version("set_version 2 once more", 2, 0);
  printf("entry 4: flags %x\n", (u64)table[4].flags);
  f = (struct status_frames){1, DOMID_SELF, 99, P(frames)};
  check("get_status_frames", op(op_status_frames, &f, 1), 0);
  check("map it", HC3(update_va_mapping, P(status_page), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG), 0);
  show("it", 4);
  status("setup_table, nine frames", setup_table((u64 *)other, 9), 0);
  struct status_frames f2 = {2, DOMID_SELF, 99, P(other)};
  check("get_status_frames, two", op(op_status_frames, &f2, 1), 0);
  status("its status", f2.status, 0);
  printf("reference 2303: status %d\n", (s64)map(P(slot), host, 2303, self).status);
  printf("reference 2304: status %d\n", (s64)map(P(slot), host, 2304, self).status);
}

void test_main(void) {
  self = own_domid();
  change();
  mapping();
  copying();
  rest();
}
