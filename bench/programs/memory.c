/* Memory: the C library's memcpy in blocks from small to large, and a chain of pointers through 8 MiB. */
#include "bench.h"

BENCH(memcpy) {
  enum { SIZE = 4 << 20 };
  static const size_t blocks[] = {64, 1024, 16384, SIZE};
  char *from = malloc(SIZE), *to = malloc(SIZE);
  uint64_t sum = MIX_SEED;
  bench_text(from, SIZE);
  memset(to, 0, SIZE);
  bench_start();
  while (n--)
    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
      for (size_t at = 0; at < SIZE; at += blocks[b]) memcpy(to + at, from + at, blocks[b]);
      from[n % SIZE] ^= 1;
      __asm__ volatile("" ::: "memory");
    }
  bench_stop();
  for (size_t i = 0; i < SIZE; i += 509) sum = mix(sum, (unsigned char)to[i]);
  free(from);
  free(to);
  return sum;
}

BENCH(chase) {
  enum { COUNT = (8 << 20) / 64 };
  struct line {
    struct line *next;
    char rest[56];
  } *lines = malloc(COUNT * sizeof *lines);
  uint32_t *order = malloc(COUNT * sizeof *order);
  uint64_t state = 3;
  for (uint32_t i = 0; i < COUNT; i++) order[i] = i;
  for (uint32_t i = COUNT - 1; i > 0; i--) {
    uint32_t j = (uint32_t)(random_next(&state) % (i + 1)), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  for (uint32_t i = 0; i < COUNT; i++) lines[order[i]].next = &lines[order[(i + 1) % COUNT]];
  struct line *at = &lines[order[0]];
  bench_start();
  while (n--)
    for (int i = 0; i < 100000; i++) at = at->next;
  bench_stop();
  uint64_t sum = (uint64_t)(at - lines);
  free(lines);
  free(order);
  return sum;
}
