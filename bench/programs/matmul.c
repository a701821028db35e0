/* Product of two matrices of 160 x 160 doubles; the compiler may use SSE2's pairs. */
#include "bench.h"

enum { ORDER = 160 };
static double a[ORDER][ORDER], b[ORDER][ORDER], c[ORDER][ORDER];

BENCH(matmul) {
  uint64_t state = 5, sum = MIX_SEED;
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      a[i][j] = (double)(random_next(&state) % 1000) / 64;
      b[i][j] = (double)(state >> 32) / 4294967296.0;
    }
  bench_start();
  while (n--) {
    for (int i = 0; i < ORDER; i++) {
      memset(c[i], 0, sizeof c[i]);
      for (int k = 0; k < ORDER; k++) {
        double x = a[i][k];
        for (int j = 0; j < ORDER; j++) c[i][j] += x * b[k][j];
      }
    }
    for (int i = 0; i < ORDER; i += 7) sum = mix_double(sum, c[i][(i * 11) % ORDER]);
    a[n % ORDER][3] += 1;
  }
  bench_stop();
  return sum;
}
