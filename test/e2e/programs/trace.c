/* ptrace: single steps over a loop, a breakpoint, registers and memory, a hardware watchpoint (or a clear refusal). */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sys/syscall.h>

static volatile long watched;
extern char loop_start[], loop_end[], spot[];

static void child(void) {
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  asm volatile(
      ".global loop_start, loop_end, spot\n"
      "int3\nloop_start: mov $100, %%ecx; xor %%eax, %%eax\n"
      "1: add %%ecx, %%eax; push %%rax; pop %%rax; cld; rep; nop; dec %%ecx; jnz 1b\n"
      "mov $39, %%eax; syscall; mov %%ss, %%eax; mov %%eax, %%ss; nop; mov $3, %%ecx; xor %%eax, %%eax; lea -64(%%rsp), %%rdi; rep stosb\n"
      "pushf; pop %%rax\n"
      "loop_end: nop; nop\nspot: nop; nop"
      : : : "rax", "rcx", "rdx", "rdi", "r11", "memory");
  watched = 77;
  asm volatile("nop");
  _exit(5);
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  pid_t pid = fork();
  if (pid == 0) child();
  int status;
  struct user_regs_struct regs;
  waitpid(pid, &status, 0);
  printf("stopped %x\n", status);
  ptrace(PTRACE_CONT, pid, 0, 0);
  waitpid(pid, &status, 0);
  ptrace(PTRACE_GETREGS, pid, 0, &regs);
  printf("int3 %x at start %d\n", status, (char *)regs.rip == loop_start);
  long steps = 0, flags = 0;
  siginfo_t info;
  while ((char *)regs.rip != loop_end && steps < 5000) {
    if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0)) break;
    waitpid(pid, &status, 0);
    if (status != 0x57f) break;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    flags |= regs.eflags & 0x100;
    if (++steps > 695) printf("+%llx ", regs.rip - (unsigned long)loop_start);
  }
  ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
  printf("\nsteps %ld status %x code %d; TF seen by pushf %lld, by ptrace %ld\n", steps, status, info.si_code, (long long)(regs.rax >> 8 & 1), flags);
  /* A breakpoint, taken away again. */
  long word = ptrace(PTRACE_PEEKTEXT, pid, spot, 0);
  ptrace(PTRACE_POKETEXT, pid, spot, (word & ~0xffL) | 0xcc);
  ptrace(PTRACE_CONT, pid, 0, 0);
  waitpid(pid, &status, 0);
  ptrace(PTRACE_GETREGS, pid, 0, &regs);
  printf("breakpoint %x at spot+%ld\n", status, (long)(regs.rip - (long)spot));
  ptrace(PTRACE_POKETEXT, pid, spot, word);
  regs.rip--;
  ptrace(PTRACE_SETREGS, pid, 0, &regs);
  /* A watchpoint: a write of 8 bytes. It comes, or the kernel refuses. */
  errno = 0;
  ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), &watched);
  int first = errno;
  ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0x90001);
  int second = errno;
  ptrace(PTRACE_CONT, pid, 0, 0);
  waitpid(pid, &status, 0);
  if (status == 0x57f) {
    long dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[6]), 0);
    fprintf(stderr, "watchpoint: hit, DR6 %lx, value %ld\n", dr6 & 0xf, ptrace(PTRACE_PEEKDATA, pid, &watched, 0));
    ptrace(PTRACE_CONT, pid, 0, 0);
    waitpid(pid, &status, 0);
  } else fprintf(stderr, "watchpoint: none, errors %d %d\n", first, second);
  printf("ended %x\n", status);
  /* System calls traced, and one changed. */
  if ((pid = fork()) == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    long r = syscall(SYS_getppid);
    _exit(r == 4242 ? 1 : 2);
  }
  waitpid(pid, &status, 0);
  ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
  for (int i = 0; i < 50; i++) {
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    waitpid(pid, &status, 0);
    if (WIFEXITED(status)) break;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    if (regs.orig_rax == SYS_getppid && (long)regs.rax != -ENOSYS) {
      regs.rax = 4242;
      ptrace(PTRACE_SETREGS, pid, 0, &regs);
    }
  }
  printf("traced system calls: %x\n", status);
  return 0;
}
