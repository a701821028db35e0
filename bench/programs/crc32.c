/* CRC-32 (IEEE 802.3), one byte and one table look-up at a time. */
#include "bench.h"

enum { SIZE = 1 << 20 };

BENCH(crc32) {
  static uint32_t table[256];
  char *data = malloc(SIZE);
  uint32_t crc = 0;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  bench_text(data, SIZE);
  bench_start();
  while (n--) {
    crc = ~crc;
    for (int i = 0; i < SIZE; i++) crc = table[(crc ^ data[i]) & 0xff] ^ (crc >> 8);
    crc = ~crc;
  }
  bench_stop();
  free(data);
  return crc;
}
