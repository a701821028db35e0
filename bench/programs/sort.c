/* Sorting 200,000 numbers: quicksort with a comparison function, then a heap. */
#include "bench.h"

enum { COUNT = 200000 };
static uint32_t values[COUNT];

typedef int compare_fn(const void *, const void *);

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void swap(uint32_t *a, uint32_t *b) {
  uint32_t t = *a;
  *a = *b;
  *b = t;
}

static void quicksort(uint32_t *from, uint32_t *to, compare_fn *compare) {
  while (to - from > 1) {
    uint32_t pivot = from[(to - from) / 2];
    uint32_t *i = from, *j = to - 1;
    while (i <= j) {
      while (compare(i, &pivot) < 0) i++;
      while (compare(j, &pivot) > 0) j--;
      if (i <= j) swap(i++, j--);
    }
    if (j + 1 - from < to - i) {
      quicksort(from, j + 1, compare);
      from = i;
    } else {
      quicksort(i, to, compare);
      to = j + 1;
    }
  }
}

static void sift(uint32_t *heap, size_t at, size_t count) {
  uint32_t value = heap[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child + 1] > heap[child]) child++;
    if (heap[child] <= value) break;
    heap[at] = heap[child];
  }
  heap[at] = value;
}

static void heapsort_values(uint32_t *heap, size_t count) {
  for (size_t i = count / 2; i-- > 0;) sift(heap, i, count);
  while (count-- > 1) {
    swap(heap, heap + count);
    sift(heap, 0, count);
  }
}

static uint64_t checked(void) {
  uint64_t sum = MIX_SEED;
  for (int i = 0; i < COUNT; i++) {
    if (i && values[i - 1] > values[i]) bench_fail("not sorted");
    if (i % 97 == 0) sum = mix(sum, values[i]);
  }
  return sum;
}

BENCH(sort) {
  uint64_t state = 7, sum = MIX_SEED;
  compare_fn *volatile compare = ascending;
  bench_start();
  while (n--) {
    for (int i = 0; i < COUNT; i++) values[i] = (uint32_t)random_next(&state);
    quicksort(values, values + COUNT, compare);
    sum = mix(sum, checked());
    for (int i = 0; i < COUNT; i++) values[i] ^= (uint32_t)random_next(&state);
    heapsort_values(values, COUNT);
    sum = mix(sum, checked());
  }
  bench_stop();
  return sum;
}
