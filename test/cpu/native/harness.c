/*
 * Runs instruction cases on the real CPU. Cases come on stdin, results go to stdout; formats in ../native.ts.
 *
 * All of it happens in one signal handler: a case is a full register state put into the signal frame, sigreturn starts
 * it, and whatever ends it (the int3 that fills the code region, or an exception of the instruction) enters the handler
 * again with the state it left. The selector in the frame decides between 64-bit and compatibility mode.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define WINDOW 0x10000000ul
#define WINDOW_SIZE 0x2000ul
#define CODE 0x20000000ul
#define CODE_SIZE 0x10000ul
#define FS_BASE 0x10000400ul
#define GS_BASE 0x10000c00ul

/* State block: shared with ../state.ts. */
struct block {
  uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
  uint64_t rflags;
  uint64_t rip;
  uint32_t mxcsr;
  uint16_t fcw, fsw, ftw, fop;
  uint32_t cs;
  uint64_t fip, fdp;
  uint64_t fsbase, gsbase;
  uint8_t st[8][16]; /* physical registers R0..R7 */
  uint8_t xmm[16][16];
};
_Static_assert(sizeof(struct block) == 576, "block");

struct header {
  uint32_t code_len;
  uint32_t pad;
  uint64_t code_at;
  uint64_t pokes; /* bytes of pokes after the block: {u32 offset, u32 len, bytes padded to 8} */
  uint8_t code[64];
};

struct result {
  uint32_t vector, error;
  uint64_t cr2;
  uint32_t pad;
  uint32_t deltas; /* bytes of deltas that follow, in the form of pokes */
};

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint8_t *in, *in_end, *out;
static uint8_t *const window = (uint8_t *)WINDOW;
static uint8_t *const code = (uint8_t *)CODE;
static uint8_t pattern[WINDOW_SIZE], before[WINDOW_SIZE];
static uint8_t *out_base;
static int running;
static uint64_t last_code_at;
static uint64_t host_fs, test_fs;

static inline uint64_t rdfs(void) {
  uint64_t v;
  __asm__ volatile("rdfsbase %0" : "=r"(v));
  return v;
}
static inline uint64_t rdgs(void) {
  uint64_t v;
  __asm__ volatile("rdgsbase %0" : "=r"(v));
  return v;
}
static inline void wrfs(uint64_t v) { __asm__ volatile("wrfsbase %0" ::"r"(v)); }
static inline void wrgs(uint64_t v) { __asm__ volatile("wrgsbase %0" ::"r"(v)); }

static void write_all(const uint8_t *p, size_t n) {
  while (n) {
    ssize_t k = write(1, p, n);
    if (k <= 0) _exit(3);
    p += k;
    n -= (size_t)k;
  }
}

static void save(ucontext_t *uc) {
  struct block b;
  memset(&b, 0, sizeof b);
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) b.gpr[i] = (uint64_t)g[order[i]];
  b.rflags = (uint64_t)g[REG_EFL];
  b.rip = (uint64_t)g[REG_RIP];
  const uint8_t *fx = (const uint8_t *)uc->uc_mcontext.fpregs;
  memcpy(&b.fcw, fx, 2);
  memcpy(&b.fsw, fx + 2, 2);
  b.ftw = fx[4];
  memcpy(&b.fop, fx + 6, 2);
  memcpy(&b.fip, fx + 8, 8);
  memcpy(&b.fdp, fx + 16, 8);
  memcpy(&b.mxcsr, fx + 24, 4);
  unsigned top = (b.fsw >> 11) & 7;
  for (unsigned i = 0; i < 8; i++) memcpy(b.st[(top + i) & 7], fx + 32 + i * 16, 10);
  memcpy(b.xmm, fx + 160, 256);
  __asm__ volatile("" ::: "memory");
  struct result r;
  memset(&r, 0, sizeof r);
  r.vector = (uint32_t)g[REG_TRAPNO];
  r.error = (uint32_t)g[REG_ERR];
  r.cr2 = (uint64_t)g[REG_CR2];
  b.cs = (uint32_t)((uint64_t)g[REG_CSGSFS] & 0xffff);
  uint8_t *at = out + sizeof r + sizeof b;
  size_t i = 0;
  while (i < WINDOW_SIZE) {
    uint64_t x, y;
    memcpy(&x, window + i, 8);
    memcpy(&y, before + i, 8);
    if (x == y) {
      i += 8;
      continue;
    }
    while (window[i] == before[i]) i++;
    size_t end = i + 1, same = 0;
    for (size_t k = end; k < WINDOW_SIZE && same < 8; k++) {
      if (window[k] != before[k]) {
        end = k + 1;
        same = 0;
      } else
        same++;
    }
    uint32_t off = (uint32_t)i, len = (uint32_t)(end - i);
    memcpy(at, &off, 4);
    memcpy(at + 4, &len, 4);
    memcpy(at + 8, window + i, len);
    at += 8 + ((len + 7) & ~7u);
    i = (end + 7) & ~(size_t)7;
  }
  r.deltas = (uint32_t)(at - (out + sizeof r + sizeof b));
  b.fsbase = test_fs;
  b.gsbase = rdgs();
  memcpy(out, &r, sizeof r);
  memcpy(out + sizeof r, &b, sizeof b);
  out = at;
}

static void next(ucontext_t *uc) {
  if (in >= in_end) {
    write_all(out_base, (size_t)(out - out_base));
    _exit(0);
  }
  struct header h;
  struct block b;
  memcpy(&h, in, sizeof h);
  in += sizeof h;
  memcpy(&b, in, sizeof b);
  in += sizeof b;
  memcpy(window, pattern, WINDOW_SIZE);
  for (uint8_t *p = in, *e = in + h.pokes; p < e;) {
    uint32_t off, len;
    memcpy(&off, p, 4);
    memcpy(&len, p + 4, 4);
    memcpy(window + off, p + 8, len);
    p += 8 + ((len + 7) & ~7u);
  }
  in += h.pokes;
  memcpy(before, window, WINDOW_SIZE);
  if (last_code_at) {
    size_t off = last_code_at - CODE, n = CODE_SIZE - off < 64 ? CODE_SIZE - off : 64;
    memset(code + off, 0xcc, n);
  }
  memcpy((uint8_t *)h.code_at, h.code, h.code_len);
  last_code_at = h.code_at;

  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) g[order[i]] = (greg_t)b.gpr[i];
  g[REG_EFL] = (greg_t)(b.rflags | 2);
  g[REG_RIP] = (greg_t)h.code_at;
  uint64_t seg = (uint64_t)g[REG_CSGSFS];
  g[REG_CSGSFS] = (greg_t)((seg & ~0xfffful) | b.cs);
  uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
  memcpy(fx, &b.fcw, 2);
  memcpy(fx + 2, &b.fsw, 2);
  fx[4] = (uint8_t)b.ftw;
  fx[5] = 0;
  memcpy(fx + 6, &b.fop, 2);
  memcpy(fx + 8, &b.fip, 8);
  memcpy(fx + 16, &b.fdp, 8);
  memcpy(fx + 24, &b.mxcsr, 4);
  unsigned top = (b.fsw >> 11) & 7;
  for (unsigned i = 0; i < 8; i++) {
    memset(fx + 32 + i * 16, 0, 16);
    memcpy(fx + 32 + i * 16, b.st[(top + i) & 7], 10);
  }
  memcpy(fx + 160, b.xmm, 256);
  uint64_t bv; /* XSTATE_BV of the frame's XSAVE header: x87 and SSE are given */
  memcpy(&bv, fx + 512, 8);
  bv |= 3;
  memcpy(fx + 512, &bv, 8);
}

static void handler(int sig, siginfo_t *si, void *ctx) {
  (void)sig;
  (void)si;
  ucontext_t *uc = ctx;
  uint16_t ds = 0x2b;
  test_fs = rdfs();
  if (running) {
    wrfs(host_fs);
    save(uc);
  }
  running = 1;
  next(uc);
  /* Selectors and flags that the frame does not carry. */
  __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %1, %%fs; mov %1, %%gs" ::"r"(ds), "r"(0));
  __asm__ volatile("pushq $0x202; popfq" ::: "cc", "memory");
  wrgs(GS_BASE);
  wrfs(FS_BASE);
}

static void *map(unsigned long at, size_t n, int prot) {
  void *p = mmap((void *)at, n, prot, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
  if (p == MAP_FAILED) _exit(4);
  return p;
}

int main(void) {
  size_t cap = 1 << 20, n = 0;
  uint8_t *buf = malloc(cap);
  for (;;) {
    ssize_t k = read(0, buf + n, cap - n);
    if (k < 0) return 5;
    if (k == 0) break;
    n += (size_t)k;
    if (n == cap) buf = realloc(buf, cap *= 2);
  }
  /* The stream starts with the window's contents. */
  if (n < WINDOW_SIZE) return 6;
  memcpy(pattern, buf, WINDOW_SIZE);
  in = buf + WINDOW_SIZE;
  in_end = buf + n;
  /* Every mapping has unmapped neighbours. */
  munmap((void *)(WINDOW - 0x10000), WINDOW_SIZE + 0x20000);
  munmap((void *)(CODE - 0x10000), CODE_SIZE + 0x20000);
  map(WINDOW, WINDOW_SIZE, PROT_READ | PROT_WRITE);
  map(CODE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
  memset(code, 0xcc, CODE_SIZE);
  out = out_base = map(0, n * 2 + (64ul << 20), PROT_READ | PROT_WRITE);
  stack_t ss = {.ss_sp = map(0, 1 << 20, PROT_READ | PROT_WRITE), .ss_size = 1 << 20};
  sigaltstack(&ss, NULL);
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_sigaction = handler;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &sa, NULL);
  host_fs = rdfs();
  alarm(300);
  __asm__ volatile("int3");
  return 7; /* not reached: the handler ends the process */
}
