/*
 * Runs scalar SSE operations on the real CPU with a given MXCSR. One case a line on stdin, numbers hexadecimal:
 *
 *     name mxcsr a b
 *
 * `name` is one of the helpers of runtime/softfloat/sse.ts, with the argument that is a constant there after a colon
 * (f32_compare:1, f64_round:9). The answer is `result mxcsr trapped`: MXCSR as the instruction left it, and whether it
 * raised #XM (then the result has no meaning).
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

static volatile uint32_t trap_mxcsr;
static volatile int trapped;

/* Note the MXCSR of the trap, then let the instruction run again with everything masked. */
static void on_fpe(int sig, siginfo_t *info, void *context) {
  ucontext_t *u = context;
  (void)sig, (void)info;
  trapped = 1;
  trap_mxcsr = u->uc_mcontext.fpregs->mxcsr;
  u->uc_mcontext.fpregs->mxcsr |= 0x1f80;
}

static uint64_t a, b, r;
static uint32_t in, out;

#define RUN(n, text, ...)                                                                                               \
  if (!strcmp(name, n)) {                                                                                               \
    asm volatile("movq %2, %%xmm0\n movq %3, %%xmm1\n xor %k0, %k0\n ldmxcsr %4\n" text "\n stmxcsr %1\n" __VA_ARGS__   \
                 : "=&r"(r), "=m"(out)                                                                                  \
                 : "r"(a), "r"(b), "m"(in)                                                                              \
                 : "xmm0", "xmm1", "cc", "memory");                                                                     \
    return 1;                                                                                                           \
  }
#define BINARY(n, ins) RUN(n, ins " %%xmm1, %%xmm0", "movq %%xmm0, %0")
#define UNARY(n, ins) RUN(n, ins " %%xmm0, %%xmm1", "movq %%xmm1, %0")
#define COMPARE(n, ins) RUN(n, ins " %%xmm1, %%xmm0\n pushf\n pop %0")
#define PAIR(op) BINARY("f32_" #op, #op "ss") BINARY("f64_" #op, #op "sd")
#define ROUND(i)                                                                                                        \
  RUN("f32_round:" #i, "roundss $" #i ", %%xmm0, %%xmm1", "movq %%xmm1, %0")                                            \
  RUN("f64_round:" #i, "roundsd $" #i ", %%xmm0, %%xmm1", "movq %%xmm1, %0")

static int run(const char *name) {
  PAIR(add) PAIR(sub) PAIR(mul) PAIR(div) PAIR(min) PAIR(max)
  UNARY("f32_sqrt", "sqrtss") UNARY("f64_sqrt", "sqrtsd")
  COMPARE("f32_compare:0", "comiss") COMPARE("f32_compare:1", "ucomiss")
  COMPARE("f64_compare:0", "comisd") COMPARE("f64_compare:1", "ucomisd")
  UNARY("f32_to_f64", "cvtss2sd") UNARY("f64_to_f32", "cvtsd2ss")
  RUN("f32_to_i32:0", "cvtss2si %%xmm0, %k0") RUN("f32_to_i32:1", "cvttss2si %%xmm0, %k0")
  RUN("f32_to_i64:0", "cvtss2si %%xmm0, %q0") RUN("f32_to_i64:1", "cvttss2si %%xmm0, %q0")
  RUN("f64_to_i32:0", "cvtsd2si %%xmm0, %k0") RUN("f64_to_i32:1", "cvttsd2si %%xmm0, %k0")
  RUN("f64_to_i64:0", "cvtsd2si %%xmm0, %q0") RUN("f64_to_i64:1", "cvttsd2si %%xmm0, %q0")
  RUN("i32_to_f32", "cvtsi2ss %k2, %%xmm1", "movq %%xmm1, %0") RUN("i64_to_f32", "cvtsi2ss %q2, %%xmm1", "movq %%xmm1, %0")
  RUN("i32_to_f64", "cvtsi2sd %k2, %%xmm1", "movq %%xmm1, %0") RUN("i64_to_f64", "cvtsi2sd %q2, %%xmm1", "movq %%xmm1, %0")
  ROUND(0) ROUND(1) ROUND(2) ROUND(3) ROUND(4) ROUND(9)
  return 0;
}

int main(void) {
  static char line[128], name[32];
  struct sigaction s = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};
  uint32_t all_masked = 0x1f80;
  sigaction(SIGFPE, &s, 0);
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%31s %x %lx %lx", name, &in, &a, &b) != 4) return 1;
    trapped = 0;
    if (!run(name)) return 1;
    asm volatile("ldmxcsr %0" ::"m"(all_masked));
    if (strstr(name, "compare")) r &= 0x45;
    if (!strncmp(name, "f32", 3) || strstr(name, "_f32"))
      if (!strstr(name, "f64") && !strstr(name, "i64") && !strstr(name, "compare")) r &= 0xffffffff;
    if (strstr(name, "to_f32") || strstr(name, "to_i32")) r &= 0xffffffff;
    printf("%lx %x %d\n", r, trapped ? trap_mxcsr : out, trapped);
  }
  return 0;
}
