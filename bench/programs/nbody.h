/*
 * The sun and four planets, integrated with a symplectic step. Included by nbody-sse2.c and nbody-x87.c, which differ in
 * the instructions that the compiler is told to use.
 */
#include "bench.h"

struct body {
  double x[3], v[3], mass;
};

enum { BODIES = 5 };

static void energy_sum(const struct body *bodies, uint64_t *sum) {
  for (int i = 0; i < BODIES; i++)
    for (int k = 0; k < 3; k++) *sum = mix_double(*sum, bodies[i].x[k]);
}

static inline double root(double x) {
  double r;
#ifdef X87
  __asm__("fsqrt" : "=t"(r) : "0"(x));
#else
  __asm__("sqrtsd %1, %0" : "=x"(r) : "x"(x));
#endif
  return r;
}

static void advance(struct body *bodies, double dt) {
  for (int i = 0; i < BODIES; i++)
    for (int j = i + 1; j < BODIES; j++) {
      struct body *a = &bodies[i], *b = &bodies[j];
      double dx = a->x[0] - b->x[0], dy = a->x[1] - b->x[1], dz = a->x[2] - b->x[2];
      double square = dx * dx + dy * dy + dz * dz;
      double magnitude = dt / (square * root(square));
      a->v[0] -= dx * b->mass * magnitude;
      a->v[1] -= dy * b->mass * magnitude;
      a->v[2] -= dz * b->mass * magnitude;
      b->v[0] += dx * a->mass * magnitude;
      b->v[1] += dy * a->mass * magnitude;
      b->v[2] += dz * a->mass * magnitude;
    }
  for (int i = 0; i < BODIES; i++)
    for (int k = 0; k < 3; k++) bodies[i].x[k] += dt * bodies[i].v[k];
}

/* `n` times 10,000 steps. Orbits are made up: radii 1 to 4, speeds for about a circle. */
static uint64_t nbody(unsigned n) {
  struct body bodies[BODIES] = {
      {{0, 0, 0}, {0, 0, 0}, 39.5},          {{1, 0, 0.01}, {0, 6.2, 0.1}, 0.001},
      {{0, 2, -0.02}, {-4.4, 0, 0}, 0.0003}, {{-3, 0, 0.03}, {0, -3.6, 0.02}, 0.0006},
      {{0, -4, 0}, {3.1, 0, -0.01}, 0.0009},
  };
  uint64_t sum = MIX_SEED;
  bench_start();
  while (n--) {
    for (int i = 0; i < 10000; i++) advance(bodies, 0.001);
    energy_sum(bodies, &sum);
  }
  bench_stop();
  /* No planet leaves such a system, and a wrong result would not keep it together. */
  for (int i = 0; i < BODIES; i++)
    if (!(bodies[i].x[0] * bodies[i].x[0] + bodies[i].x[1] * bodies[i].x[1] < 1e4)) bench_fail("a body is lost");
  return sum;
}
