/* The debug registers as a debugger uses them: ptrace gives a child breakpoints and watchpoints, and sees what they stop. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOPS 50000

static volatile long watched[512] __attribute__((aligned(4096)));
static volatile long sink;

__attribute__((noinline)) static long called(long n) {
  __asm__ volatile("" ::: "memory");
  return n + 1;
}

static void child(void) {
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  for (long i = 1; i <= LOOPS; i++) {
    watched[100] += i; /* in the same page, and not watched */
    if (i % 10000 == 0) watched[7] = i;
  }
  sink = watched[8];
  for (long i = 0; i < 3; i++) sink = called(i);
  _exit(watched[100] == (long)LOOPS * (LOOPS + 1) / 2 ? 0 : 1);
}

static void debug_register(pid_t pid, int n, unsigned long value) {
  if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + n * sizeof(long), value) != 0) {
    perror("ptrace");
    exit(2);
  }
}

int main(void) {
  setbuf(stdout, NULL);
  pid_t pid = fork();
  if (pid == 0) child();
  int status;
  waitpid(pid, &status, 0);
  debug_register(pid, 0, (unsigned long)&watched[7]);
  debug_register(pid, 1, (unsigned long)&watched[8]);
  debug_register(pid, 2, (unsigned long)called);
  /* 0: writes of 8 bytes; 1: accesses of 8 bytes; 2: execution. */
  debug_register(pid, 7, 1 | 1 << 2 | 1 << 4 | 0x9ul << 16 | 0xbul << 20);
  for (;;) {
    if (ptrace(PTRACE_CONT, pid, 0, 0) != 0 || waitpid(pid, &status, 0) != pid) return 3;
    if (WIFEXITED(status)) break;
    long dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg) + 6 * sizeof(long), 0);
    struct user_regs_struct regs;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    errno = 0;
    long value = ptrace(PTRACE_PEEKDATA, pid, (void *)&watched[7], 0);
    printf("signal %d, dr6 %lx, value %ld%s\n", WSTOPSIG(status), dr6 & 0xf, value,
           regs.rip == (unsigned long)called ? ", at the function" : "");
    debug_register(pid, 6, 0);
  }
  printf("the child ended with %d\n", WEXITSTATUS(status));
  return 0;
}
