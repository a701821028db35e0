/* fork, copy on write, mmap, mprotect, and what a SIGSEGV handler is told: address, code, trap number, error code. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static char *page;
/* Where a trap's address is not compared: hosts that emulate icebp differ in it. */
static int anywhere;

static void on_fault(int sig, siginfo_t *info, void *context) {
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  long at = (char *)info->si_addr - page;
  printf("  signal %d code %d ", sig, info->si_code);
  if (anywhere) printf("anywhere");
  else if (at >= 0 && at < 65536) printf("at page+%lx", at);
  else printf("at %p", info->si_addr);
  printf(" trap %lld error %llx cr2 %s\n", regs[REG_TRAPNO], regs[REG_ERR],
         regs[REG_TRAPNO] != 14 ? "-" : (char *)regs[REG_CR2] == (char *)info->si_addr ? "same" : "other");
  siglongjmp(back, 1);
}

#define TRY(what, ...) do { printf("%s\n", what); if (!sigsetjmp(back, 1)) { __VA_ARGS__; printf("  no fault\n"); } } while (0)

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
  page = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(page, 0xc3, 65536); /* ret */
  volatile char *p = page;
  mprotect(page + 4096, 4096, PROT_READ);
  mprotect(page + 8192, 4096, PROT_NONE);
  munmap(page + 12288, 4096);
  mprotect(page + 16384, 4096, PROT_READ | PROT_EXEC);
  TRY("write", p[1] = 1);
  TRY("write to read-only", p[4097] = 1);
  TRY("read of read-only", (void)p[4098]);
  TRY("read of none", (void)p[8193]);
  TRY("write to none", p[8194] = 1);
  TRY("read of a hole", (void)p[12289]);
  TRY("execute no-exec", ((void (*)(void))(page + 5))());
  TRY("execute", ((void (*)(void))(page + 16384))());
  TRY("execute a hole", ((void (*)(void))(page + 12290))());
  TRY("write over a border", *(volatile long *)(page + 4092) = 1);
  TRY("read over a border", (void)*(volatile long *)(page + 8188));
  TRY("read of null", (void)*(volatile int *)0x10);
  TRY("read of kernel memory", (void)*(volatile int *)0xffffffff81000000);
  TRY("read of the hypervisor's memory", (void)*(volatile int *)0xffff800000000000);
  TRY("write to the hypervisor's memory", *(volatile int *)0xffff830000000000 = 1);
  TRY("non-canonical", (void)*(volatile int *)0x8000000000001234);
  TRY("jump to non-canonical", asm volatile("jmp *%0" : : "r"(0x8000000000000000)));
  TRY("hlt", asm volatile("hlt"));
  TRY("cli", asm volatile("cli"));
  TRY("in", asm volatile("inb $0x80, %%al" : : : "al"));
  TRY("ud2", asm volatile("ud2"));
  TRY("int3", asm volatile("int3"));
  TRY("int 0x81", asm volatile("int $0x81"));
  TRY("int 14", asm volatile("int $14"));
  anywhere = 1;
  TRY("icebp", asm volatile(".byte 0xf1"));
  anywhere = 0;
  TRY("divide by 0", int z; asm volatile("xor %%ecx, %%ecx; mov $1, %%eax; cltd; idivl %%ecx" : "=a"(z) : : "ecx", "edx"));
  TRY("divide overflow", int z; asm volatile("mov $-1, %%ecx; mov $0x80000000, %%eax; cltd; idivl %%ecx" : "=a"(z) : : "ecx", "edx"));
  TRY("wrmsr", asm volatile("wrmsr"));
  TRY("mov to cr3", asm volatile("mov %%rax, %%cr3" : : : "rax"));
  TRY("mov to gs, a bad selector", asm volatile("mov %w0, %%gs" : : "r"(0x1234)));
  TRY("movaps unaligned", asm volatile("movaps (%0), %%xmm0" : : "r"(page + 1) : "xmm0"));
  TRY("single step", asm volatile("pushf; orl $0x100, (%%rsp); popf; nop; nop" : : : "memory"));
  asm volatile("pushf; andl $~0x100, (%%rsp); popf" : : : "memory");
  TRY("x87 exception", unsigned short cw = 0x37b; double zero = 0; asm volatile("fninit; fldcw %0; fld1; fdivl %1; fwait" : : "m"(cw), "m"(zero)));
  asm volatile("fninit");
  TRY("SSE exception", unsigned csr = 0x1d80; double one = 1, zero = 0; asm volatile("ldmxcsr %2; divsd %1, %0" : "+x"(one) : "m"(zero), "m"(csr)));
  unsigned csr = 0x1f80;
  asm volatile("ldmxcsr %0" : : "m"(csr));

  /* Copy on write: many generations, each sees its own. */
  int *numbers = mmap(0, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 64 * 1024; i++) numbers[i] = i;
  for (int round = 0; round < 30; round++) {
    pid_t pid = fork();
    if (pid == 0) {
      int bad = 0;
      for (int i = 0; i < 64 * 1024; i++) bad |= numbers[i] != i + round;
      for (int i = 0; i < 64 * 1024; i += 512) numbers[i] = -1;
      for (int i = 0; i < 64 * 1024; i++) bad |= numbers[i] != (i % 512 ? i + round : -1);
      __atomic_fetch_add(shared, round, __ATOMIC_SEQ_CST);
      _exit(bad);
    }
    for (int i = 0; i < 64 * 1024; i++) numbers[i]++;
    int status;
    waitpid(pid, &status, 0);
    if (status) printf("round %d: status %x\n", round, status);
  }
  printf("sum of rounds %d\n", *shared);
  /* mremap, holes and big pages' sizes */
  char *big = mmap(0, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 16 << 20; i += 4096) big[i] = i >> 12;
  big = mremap(big, 16 << 20, 24 << 20, MREMAP_MAYMOVE);
  int bad = 0;
  for (int i = 0; i < 16 << 20; i += 4096) bad += big[i] != (char)(i >> 12);
  madvise(big, 8 << 20, MADV_DONTNEED);
  for (int i = 0; i < 8 << 20; i += 4096) bad += big[i] != 0;
  munmap(big, 24 << 20);
  printf("mremap: %d bad\n", bad);
  return 0;
}
