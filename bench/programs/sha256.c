/* SHA-256 (FIPS 180-4): 32-bit rotations and additions, much of it in registers. */
#include "bench.h"

static uint32_t k[64];

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static void constants(void) {
  unsigned found = 0;
  for (unsigned p = 2; found < 64; p++) {
    int prime = 1;
    for (unsigned d = 2; d * d <= p; d++) prime &= p % d != 0;
    if (!prime) continue;
    /* floor(cbrt(p) * 2^32), by bisection in integers: r^3 <= p * 2^96. */
    unsigned __int128 low = 0, high = (unsigned __int128)8 << 32;
    while (high - low > 1) {
      unsigned __int128 m = (low + high) / 2;
      /* m^3 needs up to 105 bits. */
      if (m * m * m <= (unsigned __int128)p << 96) low = m;
      else high = m;
    }
    k[found++] = (uint32_t)low;
  }
}

static inline uint32_t rotr(uint32_t x, int by) {
  return x >> by | x << (32 - by);
}

static void block(uint32_t h[8], const uint8_t *data) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++) {
    uint32_t word;
    memcpy(&word, data + 4 * i, 4);
    w[i] = __builtin_bswap32(word);
  }
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  memcpy(s, h, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t s1 = rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25);
    uint32_t t1 = s[7] + s1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    uint32_t s0 = rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22);
    uint32_t t2 = s0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    s[7] = s[6];
    s[6] = s[5];
    s[5] = s[4];
    s[4] = s[3] + t1;
    s[3] = s[2];
    s[2] = s[1];
    s[1] = s[0];
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* The digest of "abc" is in the standard. */
static void self_check(void) {
  uint8_t message[64] = {'a', 'b', 'c', 0x80};
  uint32_t h[8];
  message[63] = 24;
  memcpy(h, initial, sizeof h);
  block(h, message);
  if (h[0] != 0xba7816bf || h[7] != 0xf20015ad) bench_fail("SHA-256 of abc");
}

BENCH(sha256) {
  enum { SIZE = 1 << 20 };
  char *data = malloc(SIZE);
  uint32_t h[8];
  uint64_t sum = MIX_SEED;
  constants();
  self_check();
  bench_text(data, SIZE);
  memcpy(h, initial, sizeof h);
  bench_start();
  while (n--)
    for (int i = 0; i < SIZE; i += 64) block(h, (uint8_t *)data + i);
  bench_stop();
  for (int i = 0; i < 8; i++) sum = mix(sum, h[i]);
  free(data);
  return sum;
}
