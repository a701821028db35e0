/* modify_ldt, and loads of segment registers with what is in the LDT; far transfers to 32-bit code and back. */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static void on_fault(int sig, siginfo_t *info, void *context) {
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  (void)info;
  printf("  signal %d trap %lld error %llx\n", sig, regs[REG_TRAPNO], regs[REG_ERR]);
  siglongjmp(back, 1);
}

static int set(int entry, unsigned base, int contents, int use_32, int not_present) {
  struct user_desc d = {.entry_number = entry, .base_addr = base, .limit = 0xfffff, .seg_32bit = use_32,
                        .contents = contents, .limit_in_pages = 1, .seg_not_present = not_present, .useable = 1};
  return syscall(SYS_modify_ldt, 0x11, &d, sizeof d);
}

#define LDT(n) ((n) << 3 | 7)

static unsigned read_gs(unsigned selector, unsigned offset) {
  unsigned v;
  asm volatile("mov %w1, %%gs; mov %%gs:(%q2), %0" : "=r"(v) : "r"(selector), "r"((unsigned long)offset));
  return v;
}

static void checks(const char *who) {
  if (!sigsetjmp(back, 1)) printf("%s: gs %x", who, read_gs(LDT(1), 8));
  if (!sigsetjmp(back, 1)) printf(" %x\n", read_gs(LDT(2), 4));
  unsigned long rights = 0, limit = 0;
  unsigned char ok1, ok2;
  asm volatile("lar %3, %0; setz %2; lsl %3, %1" : "+&r"(rights), "+&r"(limit), "=&q"(ok1) : "r"((unsigned long)LDT(1)) : "cc");
  asm volatile("verw %w1; setz %0" : "=q"(ok2) : "r"(LDT(1)) : "cc");
  printf("%s: lar %d %lx lsl %lx verw %d\n", who, ok1, rights & ~0x100ul, limit, ok2);
  printf("%s: not present\n", who);
  if (!sigsetjmp(back, 1)) read_gs(LDT(5), 0);
  printf("%s: never made\n", who);
  if (!sigsetjmp(back, 1)) read_gs(LDT(100), 0);
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, 0);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, 0);
  sigaction(SIGBUS, &action, 0);
  sigaction(SIGILL, &action, 0);
  unsigned *low = mmap((void *)0x10000000, 16384, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  for (int i = 0; i < 1024; i++) low[i] = 0xab0000 + i;
  printf("modify_ldt %d", set(1, (unsigned)(long)low, 0, 1, 0));
  printf(" %d", set(2, (unsigned)(long)low + 64, 0, 1, 0));
  printf(" %d", set(3, 0, MODIFY_LDT_CONTENTS_CODE, 1, 0));
  printf(" %d", set(4, 0, 0, 1, 0));
  printf(" %d\n", set(5, 0, 0, 1, 1));
  if (sigsetjmp(back, 1)) return 1;
  checks("parent");
  pid_t pid = fork();
  if (pid == 0) {
    checks("child");
    set(1, (unsigned)(long)low + 512, 0, 1, 0);
    checks("child");
    _exit(0);
  }
  waitpid(pid, 0, 0);
  checks("parent");
  /* gs stays loaded over system calls and switches to another process. */
  asm volatile("mov %w0, %%gs" : : "r"(LDT(1)));
  for (int i = 0; i < 20; i++) {
    if ((pid = fork()) == 0) _exit(0);
    waitpid(pid, 0, 0);
  }
  unsigned v, sel;
  asm volatile("mov %%gs:12, %0; mov %%gs, %1" : "=r"(v), "=r"(sel));
  printf("kept: %x selector %x\n", v, sel);
  unsigned long base;
  syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
  printf("base as the kernel has it: %lx\n", base);
  asm volatile("mov %w0, %%gs" : : "r"(0));
  /* 32-bit code behind an LDT selector and behind the GDT's: doubles eax, calls the kernel with int 0x80, comes back. */
  unsigned char code[] = {0x01, 0xc0, 0x50, 0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x89, 0xc1, 0x58, 0xcb};
  memcpy(low + 1024, code, sizeof code);
  unsigned selectors[] = {LDT(3), 0x23};
  for (int i = 0; i < 2; i++) {
    static struct { unsigned offset; unsigned short selector; } __attribute__((packed)) target;
    target.offset = (unsigned)(long)(low + 1024);
    target.selector = selectors[i];
    unsigned long ax = 21, cx = 0;
    if (!sigsetjmp(back, 1)) {
      asm volatile("mov %%rsp, %%r15; mov %2, %%rsp; lcall *%3; mov %%r15, %%rsp"
                   : "+a"(ax), "=c"(cx) : "r"((char *)low + 16000), "m"(target) : "r15", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
      printf("32-bit code by %x: eax %lu, pid right %d\n", selectors[i], ax, (pid_t)cx == getpid());
    }
  }
  /* Stack segment from the LDT, data segments loaded in 64-bit mode. */
  if (!sigsetjmp(back, 1)) {
    unsigned ss, ds;
    asm volatile("mov %%ss, %%ecx; mov %w2, %%ds; mov %w2, %%es; mov %w2, %%ss; mov %%ss, %0; mov %%ds, %1; mov %%ecx, %%ss; xor %%ecx, %%ecx; mov %%ecx, %%ds; mov %%ecx, %%es"
                 : "=&r"(ss), "=&r"(ds) : "r"(LDT(4)) : "rcx");
    printf("ss %x ds %x\n", ss, ds);
  }
  /* Emptied: loads fail again. */
  struct user_desc none = {.entry_number = 1, .read_exec_only = 1, .seg_not_present = 1};
  printf("emptied %ld\n", syscall(SYS_modify_ldt, 0x11, &none, sizeof none));
  if (!sigsetjmp(back, 1)) read_gs(LDT(1), 0);
  /* The kernel's segments are no one's. */
  for (unsigned sel = 8; sel < 0x100; sel += 8) {
    unsigned char ok;
    asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(sel) : "cc");
    if (ok && sel != 0x20 && sel != 0x28 && sel != 0x30) fprintf(stderr, "selector %x is readable\n", sel);
  }
  return 0;
}
