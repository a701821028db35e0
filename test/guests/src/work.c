/*
 * A neighbour: work whose result is known, in memory, page tables, grants and events of its own. Each round is done twice, on
 * different pages, and must give the same; what it prints, its like must print as well. Command line: rounds.
 */
#include "../lib/grant.h"

const char test_name[] = "work";

#define PAGES 64
static u64 one[PAGES][512] __attribute__((aligned(4096)));
static u64 two[PAGES][512] __attribute__((aligned(4096)));
static u8 window[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 grant_table[PAGE_SIZE] __attribute__((aligned(4096)));

static u64 mix(u64 x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  return x ^ x >> 29;
}

/* A round in memory: every word depends on the one before, and on what was there. */
static u64 in_memory(u64 (*at)[512], u64 sum) {
  for (u32 i = 0; i < PAGES; i++)
    for (u32 k = 0; k < 512; k++) sum = at[i][k] = mix(at[i][k] + sum + k);
  return sum;
}

/* The same pages through a window whose entry changes. */
static u64 through_window(u64 (*at)[512], u64 sum) {
  for (u32 i = 0; i < PAGES; i += 7) {
    if (HC3(update_va_mapping, P(window), mfn_of(at[i]) << 12 | KERNEL_RW, UVMF_INVLPG)) fail("update_va_mapping");
    for (u32 k = 0; k < 512; k += 31) sum = ((volatile u64 *)window)[k] = mix(((volatile u64 *)window)[k] ^ sum);
  }
  return sum;
}

/* A copy by grant of a page to the next, and a mapping of it. */
static u64 through_grant(u64 (*at)[512], u64 sum, domid_t self) {
  volatile struct entry *e = (volatile struct entry *)grant_table + 8;
  e->domid = self;
  e->frame = (u32)mfn_of(at[3]);
  e->flags = permit_access;
  if (copy(8, self, 0, mfn_of(at[4]), DOMID_SELF, 0, 4095, 1)) fail("copy");
  if (HC3(update_va_mapping, P(window), 0, UVMF_INVLPG)) fail("update_va_mapping");
  struct map m = map(P(window), host, 8, self);
  if (m.status) fail("map");
  sum = mix(sum + ((volatile u64 *)window)[(sum >> 20) % 512]);
  if (unmap(P(window), m.handle).status) fail("unmap");
  if (e->flags != permit_access) fail("the grant is still in use");
  e->flags = 0;
  return sum;
}

void test_main(void) {
  const char *s = si->cmd_line;
  u64 rounds = 0;
  while (*s >= '0' && *s <= '9') rounds = rounds * 10 + (u64)(*s++ - '0');
  domid_t self = own_domid();
  u64 frames[1];
  setup_table(frames, 1);
  HC3(update_va_mapping, P(grant_table), frames[0] << 12 | KERNEL_RW, UVMF_INVLPG);
  u64 sum = 1;
  for (u64 r = 1; r <= rounds; r++) {
    u64 a = through_grant(one, through_window(one, in_memory(one, sum)), self);
    u64 b = through_grant(two, through_window(two, in_memory(two, sum)), self);
    if (a != b) fail("two ways to do the same differ");
    sum = a;
    if (r % 50 == 0) printf("round %u: %x\n", r, sum);
  }
}
