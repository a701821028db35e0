/*
 * Two domains, one id behind the other, that share memory by grants in both directions at once: each maps, copies and transfers
 * pages of the other's, round by round, and checks what it finds. Command line: peer=1 (the first) or peer=2, and rounds=.
 */
#include "../lib/grant.h"
#include "../lib/smp.h"

const char test_name[] = "pair";

#define PAGES 8
/* References: the page both look at, pages to be read, pages to be written, entries for transfers. */
enum { ref_ctl = 8, ref_read = 16, ref_write = 24, ref_accept = 40 };

typedef u64 page_t[512];
static page_t mine __attribute__((aligned(4096)));    /* our control page: how far we are */
static page_t theirs __attribute__((aligned(4096)));  /* theirs is mapped here */
static page_t out[PAGES] __attribute__((aligned(4096)));
static page_t in[PAGES] __attribute__((aligned(4096)));
static page_t window[PAGES] __attribute__((aligned(4096)));
static page_t buffer[PAGES] __attribute__((aligned(4096)));
static page_t gift __attribute__((aligned(4096)));
static u8 table_page[PAGE_SIZE] __attribute__((aligned(4096)));
static volatile struct entry *table;
static domid_t self, peer;
static u32 mapped, copied, transferred;

enum step { filled, wrote, given, done_with, steps };
static void reach(enum step s, u64 round) { __atomic_store_n(&mine[s * 8], round, __ATOMIC_SEQ_CST); }
static void await(enum step s, u64 round) {
  for (u32 turn = 0; __atomic_load_n((volatile u64 *)&theirs[s * 8], __ATOMIC_SEQ_CST) < round;) relax(&turn);
}
/* Word k of page i as `who` makes it. */
static u64 word(u64 kind, u64 who, u64 round, u64 i, u64 k) {
  u64 x = kind << 56 ^ who << 44 ^ round << 16 ^ i << 10 ^ k;
  x = (x ^ x >> 31) * 0x7fb5d329728ea185;
  return x ^ x >> 27;
}
static void fill(u64 *page, u64 kind, u64 round, u64 i) {
  for (u32 k = 0; k < 512; k++) page[k] = word(kind, self, round, i, k);
}
static void check_page(const char *what, const volatile u64 *page, u64 kind, u64 round, u64 i) {
  for (u32 k = 0; k < 512; k++)
    if (page[k] != word(kind, peer, round, i, k)) {
      printf("%s: page %u word %u in round %u\n", what, i, (u64)k, round);
      fail(what);
      return;
    }
}
static void grant(u32 ref, const void *page, u16 flags) {
  table[ref].domid = peer;
  table[ref].frame = (u32)mfn_of(page);
  __atomic_store_n(&table[ref].flags, flags, __ATOMIC_SEQ_CST);
}
static void map_nothing(const void *va) { HC3(update_va_mapping, P(va), 0, UVMF_INVLPG | UVMF_ALL); }

static void map_theirs(u64 round) {
  struct map m[PAGES];
  for (u32 i = 0; i < PAGES; i++) m[i] = (struct map){P(window[i]), host | ro, ref_read + i, peer, 99, 0, 0};
  if (op(op_map, m, PAGES)) fail("map");
  struct unmap u[PAGES];
  for (u32 i = 0; i < PAGES; i++) {
    if (m[i].status) fail("status of a mapping");
    else check_page("mapped", window[i], 1, round, i);
    u[i] = (struct unmap){P(window[i]), 0, m[i].handle, 99};
  }
  if (op(op_unmap, u, PAGES)) fail("unmap");
  for (u32 i = 0; i < PAGES; i++)
    if (u[i].status) fail("status of an unmapping");
  mapped += PAGES;
}

static void copy_both_ways(u64 round) {
  struct copy c[PAGES];
  for (u32 i = 0; i < PAGES; i++)
    c[i] = (struct copy){{ref_read + i, peer, 0}, {mfn_of(buffer[i]), DOMID_SELF, 0}, 4096, 1, 99};
  if (op(op_copy, c, PAGES)) fail("copy from them");
  for (u32 i = 0; i < PAGES; i++) {
    if (c[i].status) fail("status of a copy");
    check_page("copied", buffer[i], 1, round, i);
    fill(buffer[i], 2, round, i);
    c[i] = (struct copy){{mfn_of(buffer[i]), DOMID_SELF, 0}, {ref_write + i, peer, 0}, 4096, 2, 99};
  }
  if (op(op_copy, c, PAGES)) fail("copy to them");
  for (u32 i = 0; i < PAGES; i++)
    if (c[i].status) fail("status of a copy to them");
  copied += 2 * PAGES;
}

/* Gives the gift page away, and takes theirs in its place. */
static u64 exchange_gifts(u64 mfn, u64 round) {
  struct {
    u64 mfn;
    domid_t dom;
    u32 ref;
    int16_t status;
  } t = {mfn, peer, (u32)(ref_accept + round % PAGES), 99};
  map_nothing(gift);
  if (op(op_transfer, &t, 1) || t.status) {
    printf("transfer: status %d\n", (s64)t.status);
    fail("transfer");
  }
  volatile struct entry *e = &table[t.ref];
  reach(given, round);
  await(given, round);
  if (e->flags != (accept_transfer | transfer_committed | transfer_completed)) fail("nothing was transferred");
  u64 got = e->frame;
  e->flags = 0;
  if (HC3(update_va_mapping, P(gift), got << 12 | KERNEL_RW, UVMF_INVLPG)) fail("map what was transferred");
  check_page("transferred", gift, 3, round, 0);
  if (M2P[got] != pfn_of(gift)) fail("the pfn of what was transferred");
  transferred++;
  return got;
}

void test_main(void) {
  bool first = option("peer", 1) == 1;
  u64 rounds = option("rounds", 20);
  self = own_domid();
  peer = first ? self + 1 : self - 1;
  u64 frames[1];
  status("setup_table", setup_table(frames, 1), 0);
  HC3(update_va_mapping, P(table_page), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG);
  table = (volatile struct entry *)table_page;
  map_nothing(theirs);
  for (u32 i = 0; i < PAGES; i++) {
    map_nothing(window[i]);
    grant(ref_read + i, out[i], permit_access | readonly);
    grant(ref_write + i, in[i], permit_access);
  }
  grant(ref_ctl, mine, permit_access | readonly);
  struct map m = {0};
  for (u32 turn = 0; (m = map(P(theirs), host | ro, ref_ctl, peer)).status;) relax(&turn);
  u64 gift_mfn = mfn_of(gift);
  for (u64 r = 1; r <= rounds; r++) {
    for (u32 i = 0; i < PAGES; i++) fill(out[i], 1, r, i);
    fill(gift, 3, r, 0);
    volatile struct entry *e = &table[ref_accept + r % PAGES];
    e->domid = peer;
    e->frame = (u32)pfn_of(gift);
    __atomic_store_n(&e->flags, accept_transfer, __ATOMIC_SEQ_CST);
    reach(filled, r);
    await(filled, r);
    map_theirs(r);
    copy_both_ways(r);
    reach(wrote, r);
    await(wrote, r);
    for (u32 i = 0; i < PAGES; i++) check_page("written", in[i], 2, r, i);
    gift_mfn = exchange_gifts(gift_mfn, r);
    reach(done_with, r);
    await(done_with, r);
  }
  printf("mapped %u, copied %u, transferred %u\n", (u64)mapped, (u64)copied, (u64)transferred);
  /* They look at our control page until they have seen the last step. */
  status("unmap", unmap(P(theirs), m.handle).status, 0);
  for (u32 turn = 0; table[ref_ctl].flags & (reading | writing);) relax(&turn);
  for (u32 i = 0; i < PAGES; i++)
    if ((table[ref_read + i].flags | table[ref_write + i].flags) & (reading | writing)) fail("a grant is still in use");
  ok("no grant is in use", true);
}
