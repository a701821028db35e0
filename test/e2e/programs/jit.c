/* Code that is written, run and rewritten: in one page, across pages, through a second mapping, by another process. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t (*function)(uint64_t);

/* mov %rdi,%rax, then operations chosen by the seed, then ret. */
static size_t assemble(unsigned char *to, uint32_t seed, int length) {
  unsigned char *p = to;
  *p++ = 0x48; *p++ = 0x89; *p++ = 0xf8;
  for (int i = 0; i < length; i++) {
    seed = seed * 1664525 + 1013904223;
    switch (seed >> 28 & 3) {
    case 0: *p++ = 0x48; *p++ = 0x05; memcpy(p, &seed, 4); p += 4; break;             /* add $imm,%rax */
    case 1: *p++ = 0x48; *p++ = 0x35; memcpy(p, &seed, 4); p += 4; break;             /* xor $imm,%rax */
    case 2: *p++ = 0x48; *p++ = 0xc1; *p++ = 0xc0; *p++ = seed >> 8 & 63; break;      /* rol $n,%rax */
    case 3: *p++ = 0x48; *p++ = 0x69; *p++ = 0xc0; seed |= 1; memcpy(p, &seed, 4); p += 4; break; /* imul $imm,%rax,%rax */
    }
  }
  *p++ = 0xc3;
  return p - to;
}

static uint64_t model(uint64_t x, uint32_t seed, int length) {
  for (int i = 0; i < length; i++) {
    seed = seed * 1664525 + 1013904223;
    int64_t imm = (int32_t)seed;
    switch (seed >> 28 & 3) {
    case 0: x += imm; break;
    case 1: x ^= imm; break;
    case 2: { int n = seed >> 8 & 63; x = n ? x << n | x >> (64 - n) : x; break; }
    case 3: seed |= 1; x *= (int64_t)(int32_t)seed; break;
    }
  }
  return x;
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  unsigned char *code = mmap(0, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t sum = 0;
  int bad = 0;
  for (int i = 0; i < 3000; i++) {
    unsigned char *at = code + (i * 517) % 60000;
    assemble(at, i, 40);
    uint64_t v = ((function)at)(i);
    bad += v != model(i, i, 40);
    sum += v;
  }
  printf("rewritten: %d bad, sum %lx\n", bad, sum);
  /* A loop whose first instruction writes the immediate of the next one: adds 100, 99, ... 1. */
  unsigned char self[] = {0x31, 0xc0, 0xb9, 100, 0, 0, 0, /* xor %eax,%eax; mov $100,%ecx */
                          0x88, 0x0d, 2, 0, 0, 0,         /* 1: mov %cl,2(%rip) */
                          0x83, 0xc0, 0,                  /* add $0,%eax */
                          0xff, 0xc9, 0x75, 0xf3, 0xc3};  /* dec %ecx; jnz 1b; ret */
  memcpy(code, self, sizeof self);
  printf("in front of itself: %d\n", ((int (*)(void))code)());
  /* Code that counts in its own immediate. */
  /* mov 7(%rip),%eax; incl 1(%rip); mov $n,%eax; ret */
  unsigned char count[] = {0x8b, 0x05, 0x07, 0, 0, 0, 0xff, 0x05, 0x01, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xc3};
  memcpy(code + 4090, count, sizeof count); /* over the border of two pages */
  int last = 0;
  for (int i = 0; i < 1000; i++) last = ((int (*)(void))(code + 4090))();
  printf("counts: %d\n", last);
  /* Two mappings of one memory: written through one, run through the other; also from another process. */
  int fd = memfd_create("code", 0);
  if (ftruncate(fd, 65536)) return 1;
  unsigned char *writable = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char *one = mmap(0, 65536, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  unsigned char *two = mmap(0, 65536, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  bad = 0;
  for (int i = 0; i < 500; i++) {
    assemble(writable + 100, i, 20);
    bad += ((function)(one + 100))(5) != model(5, i, 20);
    bad += ((function)(two + 100))(6) != model(6, i, 20);
  }
  printf("two mappings: %d bad\n", bad);
  bad = 0;
  int to[2], from[2];
  if (pipe(to) || pipe(from)) return 1;
  if (fork() == 0) {
    uint32_t seed;
    while (read(to[0], &seed, 4) == 4 && seed) {
      assemble(writable + 100, seed, 20);
      if (write(from[1], &seed, 4) != 4) _exit(1);
    }
    _exit(0);
  }
  for (uint32_t i = 1; i <= 200; i++) {
    uint32_t seed = i * 7;
    if (write(to[1], &seed, 4) != 4 || read(from[0], &seed, 4) != 4) return 1;
    bad += ((function)(one + 100))(5) != model(5, i * 7, 20);
  }
  uint32_t end = 0;
  if (write(to[1], &end, 4) != 4) return 1;
  wait(0);
  printf("another process: %d bad\n", bad);
  /* W^X: written, made executable, run, made writable again. */
  bad = 0;
  unsigned char *wx = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 300; i++) {
    mprotect(wx, 4096, PROT_READ | PROT_WRITE);
    assemble(wx, i, 10);
    mprotect(wx, 4096, PROT_READ | PROT_EXEC);
    bad += ((function)wx)(1) != model(1, i, 10);
  }
  printf("W^X: %d bad\n", bad);
  /* Read by a system call straight into code that has run; and code pages that are freed and come back. */
  bad = 0;
  int p[2];
  if (pipe(p)) return 1;
  for (int i = 0; i < 200; i++) {
    unsigned char bytes[512];
    size_t n = assemble(bytes, i, 30);
    if (write(p[1], bytes, n) != (ssize_t)n || read(p[0], code + 300, n) != (ssize_t)n) return 1;
    bad += ((function)(code + 300))(9) != model(9, i, 30);
  }
  printf("by a system call: %d bad\n", bad);
  bad = 0;
  for (int i = 0; i < 300; i++) {
    unsigned char *m = mmap(0, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assemble(m + 64, i, 30);
    bad += ((function)(m + 64))(2) != model(2, i, 30);
    if (fork() == 0) {
      assemble(m + 64, i + 1, 30);
      _exit(((function)(m + 64))(2) != model(2, i + 1, 30));
    }
    int status;
    wait(&status);
    bad += status != 0 || ((function)(m + 64))(2) != model(2, i, 30);
    munmap(m, 8192);
    if (i == 100) i = 280;
  }
  printf("freed and new, in parent and child: %d bad\n", bad);
  return 0;
}
