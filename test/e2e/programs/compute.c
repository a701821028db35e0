/* Plain work with checksums: memory moves of all sizes, sorting, compression-like loops, floating point. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t crc_table[256];
static uint32_t crc(const void *data, size_t n) {
  const unsigned char *p = data;
  uint32_t c = ~0u;
  while (n--) c = crc_table[(c ^ *p++) & 255] ^ c >> 8;
  return ~c;
}
static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

int main(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
    crc_table[i] = c;
  }
  enum { N = 1 << 20 };
  uint32_t *v = malloc(N * 4);
  uint32_t x = 12345;
  for (int i = 0; i < N; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; v[i] = x; }
  printf("random %08x\n", crc(v, N * 4));
  qsort(v, N / 8, 4, compare);
  printf("sorted %08x\n", crc(v, N / 2));
  unsigned char *a = (unsigned char *)v, *b = malloc(N * 4 + 64);
  for (int size = 0; size < 600; size += 7)
    for (int from = 0; from < 17; from += 3)
      for (int to = 0; to < 17; to += 5) memcpy(b + size * 300 + to, a + size * 251 + from, size);
  memset(b + 500000, 0x5a, 1000003);
  memmove(b + 500001, b + 499990, 700001);
  memmove(b + 100000, b + 100013, 300001);
  printf("moved %08x\n", crc(b, 1700000));
  printf("compared %d %d %zu\n", memcmp(a, a, 100000) , memcmp("abcdefghijklmnopqrst", "abcdefghijklmnopqrsu", 20) < 0, strlen(memset(memset(b, 0, 10000), 'x', 9999)));
  /* LZ-like: find repeats with a hash table, write and expand them. */
  size_t n = 400000, out = 0, back = 0;
  for (size_t i = 0; i < n; i++) a[i] = "the quick brown fox jumps over"[(i * i / 7 + i / 100) % 30];
  unsigned char *packed = malloc(n * 2), *plain = malloc(n + 300);
  static int table[65536];
  memset(table, -1, sizeof table);
  for (size_t i = 0; i < n;) {
    uint32_t h = 0;
    size_t len = 0;
    if (i + 4 < n) {
      memcpy(&h, a + i, 4);
      h = h * 2654435761u >> 16;
      int at = table[h];
      table[h] = i;
      if (at >= 0 && i - at < 65536) {
        while (len < 255 && i + len < n && a[at + len] == a[i + len]) len++;
        if (len >= 4) { packed[out++] = 1; packed[out++] = len; packed[out++] = (i - at) & 255; packed[out++] = (i - at) >> 8; i += len; continue; }
      }
    }
    packed[out++] = 0;
    packed[out++] = a[i++];
  }
  for (size_t i = 0; i < out;) {
    if (packed[i] == 0) { plain[back++] = packed[i + 1]; i += 2; continue; }
    size_t len = packed[i + 1], distance = packed[i + 2] | packed[i + 3] << 8;
    for (size_t k = 0; k < len; k++, back++) plain[back] = plain[back - distance];
    i += 4;
  }
  printf("packed %zu %08x, expanded %d\n", out, crc(packed, out), back == n && !memcmp(a, plain, n));
  double sum = 0, product = 1;
  for (int i = 1; i < 20000; i++) {
    sum += sin(i) * cos(i / 3.0) + sqrt(i) - log(i) + exp(-i / 1000.0) + pow(i, 0.3) + atan2(i, 7);
    product = product * 1.0001 + fmod(i, 3.7);
  }
  long double wide = 0;
  for (int i = 1; i < 20000; i++) wide += sinl(i) / i + expl(-i);
  printf("floating %.12g %.12g %.15Lg\n", sum, product, wide);
  unsigned __int128 big = 1;
  for (int i = 1; i < 5000; i++) { big = big * 6364136223846793005ull + i; big ^= big >> 61; if (i % 7 == 0) big /= 3; }
  printf("wide integers %016lx%016lx\n", (long)(big >> 64), (long)big);
  char text[200];
  snprintf(text, sizeof text, "%.17g %e %a %Lf %d %x %s", 0.1, 1e300, 3.5, 1e15L, -5, 0xbeef, "text");
  printf("%s %g\n", text, strtod("123.456e-7", 0));
  return 0;
}
