/* A 32-bit program (-m32): int 0x80, the vdso's entry, sysenter and syscall, TLS slots, signals, far jumps to 64-bit code. */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int alarms;
static void on_alarm(int sig) { alarms += sig == SIGALRM; }
static void on_fault(int sig, siginfo_t *info, void *context) {
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  printf("  signal %d code %d at %p trap %d error %x cs %x ss %x\n", sig, info->si_code, info->si_addr, regs[REG_TRAPNO], regs[REG_ERR], regs[REG_CS] & 0xffff, regs[REG_SS] & 0xffff);
  siglongjmp(back, 1);
}
#define TRY(what, ...) do { printf("%s\n", what); if (!sigsetjmp(back, 1)) { __VA_ARGS__; printf("  no fault\n"); } } while (0)

static void *thread(void *arg) {
  for (int i = 0; i < 1000; i++) __atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
  return 0;
}

static long by_int80(long nr) { long r; asm volatile("int $0x80" : "=a"(r) : "a"(nr) : "memory"); return r; }
static long by_vdso(long nr) { long r; asm volatile("call *%%gs:0x10" : "=a"(r) : "a"(nr) : "memory"); return r; }

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IONBF, 0);
  if (argc > 1) { printf("executed again: %s\n", argv[1]); return 3; }
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
  printf("int 0x80 %d vdso %d\n", by_int80(SYS_getpid) == getpid(), by_vdso(SYS_getpid) == getpid());
  printf("sysinfo there %d\n", getauxval(AT_SYSINFO) != 0);
  struct user_desc d = {.entry_number = -1, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
  static unsigned data[4] = {1, 2, 0xfeed, 4};
  d.base_addr = (unsigned)data;
  printf("set_thread_area %ld\n", syscall(SYS_set_thread_area, &d));
  unsigned v = 0, kept = 0;
  for (int i = 0; i < 10; i++) {
    asm volatile("mov %w1, %%fs; mov %%fs:8, %0" : "=r"(v) : "r"(d.entry_number << 3 | 3));
    if (fork() == 0) _exit(0);
    wait(0);
    asm volatile("mov %%fs:8, %0" : "=r"(kept));
  }
  printf("fs %x %x\n", v, kept);
  d = (struct user_desc){.entry_number = 2, .base_addr = (unsigned)data + 8, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
  printf("modify_ldt %ld\n", syscall(SYS_modify_ldt, 0x11, &d, sizeof d));
  asm volatile("push %%es; mov %w1, %%es; mov %%es:(0), %0; pop %%es" : "=r"(v) : "r"(2 << 3 | 7));
  printf("es %x\n", v);
  asm volatile("push %%es; mov %w1, %%es; mov $20, %%eax; int $0x80; mov %%es:(0), %0; pop %%es" : "=&r"(v) : "r"(2 << 3 | 7) : "eax");
  printf("es after a system call %x\n", v);
  TRY("null", (void)*(volatile int *)0x20);
  TRY("high", (void)*(volatile int *)0xfffff000);
  TRY("ud2", asm volatile("ud2"));
  TRY("int3", asm volatile("int3"));
  TRY("into", asm volatile("mov $0x7fffffff, %%eax; add $1, %%eax; into" : : : "eax"));
  TRY("bound", static int bounds[2] = {1, 5}; asm volatile("bound %0, %1" : : "r"(9), "m"(bounds)));
  TRY("divide", asm volatile("xor %%ecx, %%ecx; div %%ecx" : : : "eax", "ecx", "edx"));
  TRY("hlt", asm volatile("hlt"));
  TRY("bad selector", asm volatile("mov %w0, %%es" : : "r"(0x123)));
  /* 64-bit code and back: r8 has 64 bits there. */
  unsigned char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char long_code[] = {0x49, 0xb8, 1, 0, 0, 0, 2, 0, 0, 0, 0x4c, 0x89, 0xc0, 0x48, 0xc1, 0xe8, 32, 0xcb}; /* mov $0x200000001,%r8; mov %r8,%rax; shr $32,%rax; lret */
  memcpy(code, long_code, sizeof long_code);
  struct { unsigned offset; unsigned short selector; } __attribute__((packed)) target = {(unsigned)code, 0x33};
  if (!sigsetjmp(back, 1)) {
    asm volatile("lcall *%1" : "=a"(v) : "m"(target) : "memory", "cc");
    printf("64-bit code: %u\n", v);
  }
  /* BCD and other instructions that only 32-bit mode has. */
  unsigned a = 0x79, b = 0x35;
  asm volatile("add %b1, %b0; daa" : "+a"(a) : "q"(b) : "cc");
  printf("daa %x", a & 0xff);
  a = 0x0f;
  asm volatile("aam" : "+a"(a) : : "cc");
  printf(" aam %x", a & 0xffff);
  unsigned regs[8];
  asm volatile("pusha; mov %%esp, %%esi; mov %0, %%edi; mov $8, %%ecx; cld; rep movsl; popa" : : "r"(regs) : "memory");
  asm volatile("push %%es; pop %0" : "=r"(a));
  printf(" es %x\n", a);
  struct sigaction alarm = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &alarm, 0);
  struct itimerval timer = {{0, 3000}, {0, 3000}};
  setitimer(ITIMER_REAL, &timer, 0);
  long double sum = 0;
  float f = 0;
  for (int i = 1; i <= 1000000 || alarms < 5; i++) if (i <= 1000000) { sum += 1.0L / i; f += i & 3; }
  memset(&timer, 0, sizeof timer);
  setitimer(ITIMER_REAL, &timer, 0);
  printf("harmonic %.15Lf %.1f\n", sum, f);
  int total = 0;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, thread, &total);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
  printf("threads %d\n", total);
  struct timespec t1, t2;
  clock_gettime(CLOCK_MONOTONIC, &t1);
  clock_gettime(CLOCK_MONOTONIC, &t2);
  printf("clock forward %d\n", t2.tv_sec > t1.tv_sec || (t2.tv_sec == t1.tv_sec && t2.tv_nsec >= t1.tv_nsec));
  if (fork() == 0) { execl("/proc/self/exe", "compat", "yes", (char *)0); _exit(9); }
  int status;
  wait(&status);
  printf("status %x\n", status);
  return 0;
}
