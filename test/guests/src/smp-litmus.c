/*
 * What vCPUs see of each other's stores: litmus tests whose outcomes are those that x86-TSO allows (Intel SDM vol. 3, 9.2;
 * Owens, Sarkar, Sewell, "A better x86 memory model"). The vCPUs go through the same array of cells in step, and then each
 * looks at the results of its share of it, which it clears.
 *
 * Command line: runs=N cells for each variant; cpus=4 for IRIW, the only one of that many; only=N: the one test of that number.
 */
#include "../lib/smp.h"
const char test_name[] = "smp-litmus";

#define CELLS 4096
static struct {
  volatile u64 x, pad0[7], y, pad1[7];
} cells[CELLS] __attribute__((aligned(64)));
static struct {
  volatile u8 a, b;
} seen[4][CELLS];

/*
 * Where each vCPU is, counted over all batches. They begin each few cells together, one or the other a little ahead; who finds
 * another far behind, as that is not on a processor now, waits no longer than it would take one that is.
 */
#define STRETCH 8
#define PATIENCE 100
static struct {
  volatile u64 at, pad[7];
} position[4] __attribute__((aligned(64)));
static u32 walkers;
static inline void step(u32 cpu, u64 to) {
  position[cpu].at = to;
  for (u32 other = 0; other < walkers; other++)
    for (u32 turn = 0; position[other].at < to && turn < PATIENCE; turn++) __asm__ volatile("pause");
}

/* One side of a test: what a vCPU does with each cell. a and b are what it read. Who is a little late changes from stretch to stretch. */
#define SIDE(name, code)                                                                                        \
  static void name(u32 cpu, u64 base) {                                                                         \
    u32 late = 0;                                                                                               \
    for (u32 i = 0; i < CELLS; i++) {                                                                           \
      u64 a = 0, b = 0;                                                                                         \
      if (i % STRETCH == 0) {                                                                                   \
        step(cpu, base + i + 1);                                                                                \
        for (u32 n = late; n; n--) __asm__ volatile("");                                                        \
        late = late ? late - 1 : 8 + 4 * (cpu & 1);                                                             \
      }                                                                                                         \
      __asm__ volatile(code                                                                                     \
                       : "+q"(a), "+q"(b), "+m"(cells[i].x), "+m"(cells[i].y)                                   \
                       : "r"(1ul), "r"(&cells[i].x), "r"(&cells[i].y)                                           \
                       : "memory", "cc", "rcx");                                                                \
      seen[cpu][i].a = (u8)a;                                                                                   \
      seen[cpu][i].b = (u8)b;                                                                                   \
    }                                                                                                           \
  }
/* %0 a, %1 b, %2 x, %3 y, %4 1, %5 &x, %6 &y */
SIDE(write_x, "movq $1, %2")
SIDE(write_y, "movq $1, %3")
SIDE(write_xy, "movq $1, %2; movq $1, %3")
SIDE(write_xy_reg, "movq %4, (%5); movq %4, (%6)")
SIDE(write_xy_xchg, "mov %4, %%rcx; movq $1, (%5); xchg %%rcx, (%6)")
SIDE(write_xy_lock, "lock incq (%5); lock incq (%6)")
SIDE(write_xy_byte, "movb $1, (%5); movb $1, (%6)")
SIDE(read_yx, "movq %3, %0; movq %2, %1")
SIDE(read_yx_reg, "movq (%6), %0; movq (%5), %1")
SIDE(read_yx_add, "addq (%6), %0; addq (%5), %1")
SIDE(read_yx_cmp, "mov (%6), %0; cmpq $0, (%5); setne %b1")
SIDE(read_yx_test, "cmpq $0, (%6); setne %b0; cmpl $0, (%5); setne %b1")
SIDE(read_yx_byte, "movzbl (%6), %k0; movzbl (%5), %k1")
SIDE(read_yx_or, "mov (%6), %0; mov %0, %1; shl $1, %1; or (%5), %1; and $1, %1")
SIDE(read_yx_push, "pushq (%6); pushq (%5); popq %1; popq %0")
SIDE(read_xy, "movq (%5), %0; movq (%6), %1")
SIDE(read_xx, "movq (%5), %0; movq (%5), %1")
SIDE(read_xx_cmp, "cmpq $0, (%5); setne %b0; cmpb $0, (%5); setne %b1")
SIDE(sb_x, "movq $1, (%5); movq (%6), %0")
SIDE(sb_y, "movq $1, (%6); movq (%5), %0")
SIDE(sb_x_mfence, "movq $1, (%5); mfence; movq (%6), %0")
SIDE(sb_y_mfence, "movq $1, (%6); mfence; movq (%5), %0")
SIDE(sb_x_lock, "movq $1, (%5); lock addq $0, (%%rsp); movq (%6), %0")
SIDE(sb_y_lock, "movq $1, (%6); lock addq $0, (%%rsp); movq (%5), %0")
SIDE(sb_x_xchg, "mov %4, %%rcx; xchg %%rcx, (%5); addq (%6), %0")
SIDE(sb_y_xchg, "mov %4, %%rcx; xchg %%rcx, (%6); addq (%5), %0")
SIDE(lb_x, "movq (%6), %0; movq %4, (%5)")
SIDE(lb_y, "movq (%5), %0; movq %4, (%6)")
SIDE(lb_x_cmp, "cmpq $0, (%6); movq %4, (%5); setne %b0")
SIDE(lb_y_cmp, "cmpq $0, (%5); movq %4, (%6); setne %b0")

/* Outcomes that must not be: of vCPU 1 (one writes, one reads y then x, or x twice), of 0 and 1, of 2 and 3. */
static bool second_before_first(u32 i) { return seen[1][i].a && !seen[1][i].b; }
static bool neither(u32 i) { return !seen[0][i].a && !seen[1][i].a; }
static bool both(u32 i) { return seen[0][i].a && seen[1][i].a; }
static bool orders_differ(u32 i) { return seen[2][i].a && !seen[2][i].b && seen[3][i].a && !seen[3][i].b; }

static const struct test {
  const char *name;
  bool (*outcome)(u32);
  bool allowed;
  u32 cpus;
  void (*side[4])(u32 cpu, u64 base);
} tests[] = {
  {"MP mov", second_before_first, false, 2, {write_xy, read_yx}},
  {"MP mov reg", second_before_first, false, 2, {write_xy_reg, read_yx_reg}},
  {"MP add", second_before_first, false, 2, {write_xy_reg, read_yx_add}},
  {"MP cmp", second_before_first, false, 2, {write_xy, read_yx_cmp}},
  {"MP test", second_before_first, false, 2, {write_xy, read_yx_test}},
  {"MP byte", second_before_first, false, 2, {write_xy_byte, read_yx_byte}},
  {"MP or", second_before_first, false, 2, {write_xy, read_yx_or}},
  {"MP push", second_before_first, false, 2, {write_xy, read_yx_push}},
  {"MP xchg", second_before_first, false, 2, {write_xy_xchg, read_yx_reg}},
  {"MP lock", second_before_first, false, 2, {write_xy_lock, read_yx_add}},
  {"CoRR", second_before_first, false, 2, {write_x, read_xx}},
  {"CoRR cmp", second_before_first, false, 2, {write_x, read_xx_cmp}},
  {"SB", neither, true, 2, {sb_x, sb_y}},
  {"SB mfence", neither, false, 2, {sb_x_mfence, sb_y_mfence}},
  {"SB lock", neither, false, 2, {sb_x_lock, sb_y_lock}},
  {"SB xchg", neither, false, 2, {sb_x_xchg, sb_y_xchg}},
  {"LB", both, false, 2, {lb_x, lb_y}},
  {"LB cmp", both, false, 2, {lb_x_cmp, lb_y_cmp}},
  {"IRIW", orders_differ, false, 4, {write_x, write_y, read_xy, read_yx_reg}},
  {"IRIW add", orders_differ, false, 4, {write_x, write_y, read_xy, read_yx_add}},
};

static struct barrier barrier;
static volatile u64 current;
static u64 cpus, batches;
/* Of each vCPU's shares: outcomes that are asked for, and how often the last vCPU came before the others where it had been behind. */
static struct {
  u64 found, crossings, pad[6];
} count[4] __attribute__((aligned(64)));

static void look(const struct test *t, u32 cpu) {
  u32 share = CELLS / walkers, from = cpu * share;
  for (u32 i = from; i < from + share; i++) {
    count[cpu].found += t->outcome(i);
    if (i > from && seen[t->cpus - 1][i].a != seen[t->cpus - 1][i - 1].a) count[cpu].crossings++;
    cells[i].x = cells[i].y = 0;
  }
}

static void all_batches(const struct test *t, u32 cpu) {
  for (u64 n = 0; n < batches; n++) {
    meet(&barrier, cpus);
    t->side[cpu](cpu, n * CELLS);
    meet(&barrier, cpus);
    look(t, cpu);
  }
}

static void other(u64 cpu) {
  for (;;) {
    meet(&barrier, cpus);
    if (current == ~0ul) break;
    all_batches(&tests[current], (u32)cpu);
    meet(&barrier, cpus);
  }
}

void test_main(void) {
  cpus = option("cpus", 2);
  walkers = (u32)cpus;
  batches = (option("runs", 100000) + CELLS - 1) / CELLS;
  u64 only = option("only", ~0ul);
  for (u32 i = 1; i < cpus; i++) start_vcpu(i, other, i);
  for (u32 k = 0; k < sizeof tests / sizeof *tests; k++) {
    const struct test *t = &tests[k];
    if (t->cpus != cpus || (only != ~0ul && only != k)) continue;
    memset((void *)position, 0, sizeof position);
    memset(count, 0, sizeof count);
    current = k;
    u64 began = now();
    meet(&barrier, cpus);
    all_batches(t, 0);
    meet(&barrier, cpus);
    u64 found = 0, crossings = 0;
    for (u32 i = 0; i < cpus; i++) found += count[i].found, crossings += count[i].crossings;
    printf("%s: %u in %u runs, %u crossings, %u ms%s\n", t->name, found, batches * CELLS, crossings, (now() - began) / 1000000, t->allowed ? " (allowed)" : "");
    if (found && !t->allowed) fail(t->name);
  }
  current = ~0ul;
  meet(&barrier, cpus);
  for (u32 i = 1; i < cpus; i++) await_down(i);
}
