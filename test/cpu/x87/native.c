/*
 * Runs x87 instructions on the real CPU. One case a line on stdin, all numbers hexadecimal:
 *
 *     code fcw fsw ftw rflags memory st0 .. st7
 *
 * `code` addresses memory as [rdi]; ftw is the full tag word; memory and registers (10 bytes each) are bytes in memory order.
 * The answer is the state afterwards, as `fcw fsw ftw rflags memory st0 .. st7`. Exceptions are seen pending (FSW.ES),
 * not taken: nothing waits before the state is read.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY 112

static void unhex(const char *s, uint8_t *to, size_t max) {
  unsigned v;
  for (size_t i = 0; i < max && s[0] && s[1] && sscanf(s, "%2x", &v) == 1; i++, s += 2) to[i] = v;
}

static void hex(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) printf("%02x", p[i]);
}

int main(void) {
  static char line[4096], code[64], memory[512], st[8][32];
  static uint8_t mem[MEMORY], in[108], out[108], op[16];
  uint8_t *jit = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  while (fgets(line, sizeof line, stdin)) {
    unsigned cw, sw, tw, flags;
    if (sscanf(line, "%63s %x %x %x %x %511s %31s %31s %31s %31s %31s %31s %31s %31s", code, &cw, &sw, &tw, &flags, memory,
               st[0], st[1], st[2], st[3], st[4], st[5], st[6], st[7]) != 14)
      return 1;
    memset(in, 0, sizeof in);
    memset(mem, 0, sizeof mem);
    *(uint32_t *)in = cw;
    *(uint32_t *)(in + 4) = sw;
    *(uint32_t *)(in + 8) = tw;
    for (int i = 0; i < 8; i++) unhex(st[i], in + 28 + i * 10, 10);
    unhex(memory, mem, MEMORY);
    size_t n = strlen(code) / 2;
    unhex(code, op, sizeof op);
    uint8_t *c = jit;
    *c++ = 0xdd, *c++ = 0x26; /* frstor [rsi] */
    *c++ = 0x51, *c++ = 0x9d; /* push rcx; popf */
    memcpy(c, op, n), c += n;
    *c++ = 0x9c, *c++ = 0x58; /* pushf; pop rax */
    *c++ = 0xdd, *c++ = 0x32; /* fnsave [rdx] */
    *c++ = 0xc3;
    uint64_t r = ((uint64_t(*)(void *, void *, void *, uint64_t))jit)(mem, in, out, flags);
    printf("%x %x %x %x ", *(uint16_t *)out, *(uint16_t *)(out + 4), *(uint16_t *)(out + 8), (unsigned)r & 0x8d5);
    hex(mem, MEMORY);
    for (int i = 0; i < 8; i++) putchar(' '), hex(out + 28 + i * 10, 10);
    putchar('\n');
  }
  return 0;
}
