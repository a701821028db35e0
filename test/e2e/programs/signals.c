/* Alternate stacks, sigreturn, and x87, SSE and integer state across signals and switches between processes. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <math.h>

static volatile int alarms;
static char alternate[65536];
static volatile int on_alternate;

static void on_alarm(int sig) {
  (void)sig;
  alarms++;
  /* Spoils every register that the interrupted code may use. */
  asm volatile("fninit; fldpi; fldpi; fldpi; pxor %%xmm0, %%xmm0; pcmpeqb %%xmm7, %%xmm7; pcmpeqb %%xmm15, %%xmm15;"
               "mov $-1, %%r11; mov $-1, %%r10; mov $-1, %%r8; std; cld; ffree %%st; ffree %%st(1); ffree %%st(2)"
               : : : "xmm0", "xmm7", "xmm15", "r8", "r10", "r11");
}

static void on_segv(int sig, siginfo_t *info, void *context) {
  ucontext_t *u = context;
  char here;
  (void)sig;
  (void)info;
  on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
  u->uc_mcontext.gregs[REG_RIP] += 3; /* over mov (%rax),%rcx */
  u->uc_mcontext.gregs[REG_RBX] = 0x1122334455667788;
  u->uc_mcontext.fpregs->_xmm[3].element[0] = 0xabcd;
}

/* A sum that goes wrong if any register changes: 8 x87 registers in use, SSE, and integers. */
static int compute(int seed, int rounds) {
  int bad = 0;
  for (int r = 0; r < rounds || (alarms < 5 && r < 100000); r++) {
    long double x[8];
    long n = 20000;
    unsigned long a = seed, b = r;
    double s0 = seed, s1 = r, s2 = 0;
    asm volatile(
        "fninit; fldz; fld1; fldl2t; fldpi; fldlg2; fldln2; fldl2e; fildl %[seed]\n"
        "movsd %[s0], %%xmm8; movsd %[s1], %%xmm9; pxor %%xmm10, %%xmm10\n"
        "1: fadd %%st(6), %%st; fxch %%st(3); fxch %%st(3); addsd %%xmm8, %%xmm10; addsd %%xmm9, %%xmm10\n"
        "imul $31, %[a], %[a]; add %[b], %[a]; rol $7, %[a]; dec %[n]; jnz 1b\n"
        "movsd %%xmm10, %[s2]\n"
        "fstpt 0(%[x]); fstpt 16(%[x]); fstpt 32(%[x]); fstpt 48(%[x]); fstpt 64(%[x]); fstpt 80(%[x]); fstpt 96(%[x]); fstpt 112(%[x])\n"
        : [n] "+r"(n), [a] "+r"(a), [s2] "=m"(s2)
        : [b] "r"(b), [x] "r"(x), [seed] "m"(seed), [s0] "m"(s0), [s1] "m"(s1)
        : "memory", "xmm8", "xmm9", "xmm10", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    unsigned long want = seed;
    for (int i = 0; i < 20000; i++) {
      want = want * 31 + r;
      want = want << 7 | want >> 57;
    }
    bad += a != want || s2 != 20000.0 * (seed + r) || x[0] != seed + 20000 || x[7] != 0 || x[6] != 1;
    bad += fabsl(x[4] - 3.14159265358979323846L) > 1e-18L;
  }
  return bad;
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, 0);
  struct sigaction segv = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &segv, 0);
  unsigned long rbx = 0, xmm = 0;
  asm volatile("xor %%eax, %%eax; xor %%ebx, %%ebx; pxor %%xmm3, %%xmm3; mov (%%rax), %%rcx; mov %%rbx, %0; movq %%xmm3, %1"
               : "=r"(rbx), "=r"(xmm) : : "rax", "rbx", "rcx", "xmm3", "memory");
  printf("on the alternate stack: %d; changed by the handler: rbx %lx xmm3 %lx\n", on_alternate, rbx, xmm);
  struct sigaction alarm = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &alarm, 0);
  pid_t pids[4];
  for (int i = 0; i < 4; i++) {
    if ((pids[i] = fork()) == 0) {
      struct itimerval timer = {{0, 2000}, {0, 2000}};
      setitimer(ITIMER_REAL, &timer, 0);
      int bad = compute(i * 1000 + 7, 25);
      struct itimerval off = {{0, 0}, {0, 0}};
      setitimer(ITIMER_REAL, &off, 0);
      if (alarms == 0) bad |= 64;
      _exit(bad);
    }
  }
  for (int i = 0; i < 4; i++) {
    int status;
    waitpid(pids[i], &status, 0);
    printf("computing process %d: status %x\n", i, status);
  }
  /* Nested, blocked and queued signals. */
  sigset_t set, old, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_BLOCK, &set, &old);
  alarms = 0;
  raise(SIGALRM);
  raise(SIGALRM);
  sigpending(&pending);
  printf("pending %d, handled %d", sigismember(&pending, SIGALRM), alarms);
  sigprocmask(SIG_SETMASK, &old, 0);
  printf(", then %d\n", alarms);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGTERM, SIG_DFL);
    for (;;) pause();
  }
  kill(pid, SIGSTOP);
  int status;
  waitpid(pid, &status, WUNTRACED);
  printf("stopped %x\n", status);
  kill(pid, SIGCONT);
  kill(pid, SIGTERM);
  waitpid(pid, &status, 0);
  printf("ended %x\n", status);
  return 0;
}
