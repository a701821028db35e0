/* The sieve of Eratosthenes over a million bytes. */
#include "bench.h"

enum { SIZE = 1000000 };
static unsigned char composite[SIZE];

BENCH(sieve) {
  uint64_t sum = MIX_SEED;
  bench_start();
  while (n--) {
    unsigned count = 0;
    memset(composite, 0, SIZE);
    for (unsigned i = 2; i < SIZE; i++) {
      if (composite[i]) continue;
      count++;
      for (unsigned j = 2 * i; j < SIZE; j += i) composite[j] = 1;
    }
    sum = mix(sum, count);
  }
  bench_stop();
  return sum;
}
