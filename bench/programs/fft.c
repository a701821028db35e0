/* Fast Fourier transform of 4096 complex numbers and back (radix 2, in place). */
#include "bench.h"

enum { BITS = 12, SIZE = 1 << BITS };

struct complex {
  double re, im;
};

static struct complex data[SIZE], roots[SIZE / 2];

static double root_of(double x) {
  double r;
  __asm__("sqrtsd %1, %0" : "=x"(r) : "x"(x));
  return r;
}

/* e^(-2 pi i j / SIZE), by halving angles: no library function, whose result could differ between processors. */
static void make_roots(void) {
  struct complex step[BITS];
  double cosine = -1, sine = 0;
  for (int level = 0; level < BITS; level++) { /* angle: half a turn, halved `level` times */
    step[level] = (struct complex){cosine, -sine};
    sine = root_of((1 - cosine) / 2);
    cosine = root_of((1 + cosine) / 2);
  }
  for (int j = 0; j < SIZE / 2; j++) {
    struct complex w = {1, 0};
    for (int bit = 0; bit < BITS - 1; bit++) {
      if (!(j >> bit & 1)) continue;
      struct complex s = step[BITS - 1 - bit];
      w = (struct complex){w.re * s.re - w.im * s.im, w.re * s.im + w.im * s.re};
    }
    roots[j] = w;
  }
}

static void transform(int inverse) {
  for (unsigned i = 0, j = 0; i < SIZE; i++) {
    if (i < j) {
      struct complex t = data[i];
      data[i] = data[j];
      data[j] = t;
    }
    unsigned bit = SIZE >> 1;
    while (bit && j & bit) {
      j ^= bit;
      bit >>= 1;
    }
    j |= bit;
  }
  for (int half = 1; half < SIZE; half *= 2)
    for (int from = 0; from < SIZE; from += 2 * half)
      for (int k = 0; k < half; k++) {
        struct complex w = roots[k * (SIZE / 2 / half)];
        if (inverse) w.im = -w.im;
        struct complex *x = &data[from + k], *y = x + half;
        struct complex t = {y->re * w.re - y->im * w.im, y->re * w.im + y->im * w.re};
        *y = (struct complex){x->re - t.re, x->im - t.im};
        *x = (struct complex){x->re + t.re, x->im + t.im};
      }
}

BENCH(fft) {
  uint64_t state = 17, sum = MIX_SEED;
  static struct complex before[SIZE];
  make_roots();
  for (int i = 0; i < SIZE; i++) before[i] = (struct complex){(double)(random_next(&state) % 2000) - 1000, 0};
  memcpy(data, before, sizeof data);
  bench_start();
  while (n--) {
    transform(0);
    sum = mix_double(sum, data[SIZE / 3].re);
    transform(1);
    for (int i = 0; i < SIZE; i++) {
      data[i].re /= SIZE;
      data[i].im /= SIZE;
    }
  }
  bench_stop();
  for (int i = 0; i < SIZE; i++)
    if (!(data[i].re - before[i].re < 1e-6 && before[i].re - data[i].re < 1e-6)) bench_fail("not what it was before");
  return sum;
}
