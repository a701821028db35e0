/* Privileged instructions: which Xen emulates for a PV kernel, with what result, and which fault. */
#include "../lib/lib.h"

const char test_name[] = "privop";

static void msr(const char *name, u32 n) {
  u32 lo = 0, hi = 0;
  TRY(__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(n)));
  printf("rdmsr %s: ", name);
  if (fault.vector >= 0) printf("#GP %x\n", fault.error);
  else printf("%x\n", (u64)hi << 32 | lo);
}
static void wrmsr(const char *name, u32 n, u64 v) {
  TRY(__asm__ volatile("wrmsr" ::"a"((u32)v), "d"((u32)(v >> 32)), "c"(n)));
  printf("wrmsr %s: ", name);
  print(fault.vector >= 0 ? "fault\n" : "done\n");
}
#define CR(n)                                                         \
  do {                                                                \
    u64 v = 0;                                                        \
    TRY(__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)));            \
    if (fault.vector >= 0) check_fault("read cr" #n, -1);             \
    else if (n == 3) ok("cr3 is the page table", v >> 12 == mfn_of((void *)si->pt_base)); \
    else printf("cr" #n ": %x\n", v);                                 \
  } while (0)
#define INSN(name, code, vector)                 \
  do {                                           \
    TRY(__asm__ volatile(code ::: "rax", "rcx", "rdx", "memory")); \
    check_fault(name, vector);                   \
  } while (0)

static u32 in(u16 port, u32 bytes) {
  u32 v = 0;
  if (bytes == 1) TRY(__asm__ volatile("xor %%eax, %%eax; inb %1, %%al" : "=a"(v) : "d"(port)));
  else TRY(__asm__ volatile("inl %1, %%eax" : "=a"(v) : "d"(port)));
  return v;
}

static u8 segment[16];

void test_main(void) {
  u32 a, b, c, d;
  /* The forced form: ud2 "xen" cpuid. */
  a = 0x40000000;
  TRY(__asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2" : "+a"(a), "=b"(b), "=c"(c), "=d"(d)));
  check_fault("forced cpuid", -1);
  printf("hypervisor leaf: %x %x %x\n", (u64)b, (u64)c, (u64)d);
  a = 0x40000001;
  TRY(__asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2" : "+a"(a), "=b"(b), "=c"(c), "=d"(d)));
  printf("version: %x\n", (u64)a);
  a = 0x40000002;
  TRY(__asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2" : "+a"(a), "=b"(b), "=c"(c), "=d"(d)));
  printf("hypercall pages %u, msr %x, features %x\n", (u64)a, (u64)b, (u64)c);

  CR(0);
  CR(2);
  CR(3);
  u64 cr4 = 0;
  TRY(__asm__ volatile("mov %%cr4, %0" : "=r"(cr4)));
  check_fault("read cr4", -1);
  printf("cr4, PAE OSFXSR OSXMMEXCPT: %x\n", cr4 & 0x620);
  TRY(__asm__ volatile("mov %0, %%cr4" ::"r"(cr4)));
  check_fault("write cr4 as it is", -1);
  u64 cr0 = 0;
  TRY(__asm__ volatile("mov %%cr0, %0" : "=r"(cr0)));
  TRY(__asm__ volatile("mov %0, %%cr0" ::"r"(cr0 | 8)));
  check_fault("set cr0.TS", -1);
  TRY(__asm__ volatile("movups %%xmm0, %%xmm1" ::: "memory"));
  check_fault("SSE then", 7);
  INSN("clts", "clts", -1);
  TRY(__asm__ volatile("movups %%xmm0, %%xmm1" ::: "memory"));
  check_fault("SSE afterwards", -1);
  TRY(__asm__ volatile("mov %0, %%cr0" ::"r"(cr0 ^ 0x10000)));
  check_fault("clear cr0.WP", 13);

  msr("EFER", 0xc0000080);
  msr("PAT", 0x277);
  msr("MISC_ENABLE of 0x12345", 0x12345);
  wrmsr("GS_BASE", 0xc0000101, P(segment));
  segment[3] = 0x44;
  u8 got;
  __asm__ volatile("movb %%gs:3, %0" : "=r"(got));
  ok("it is the base of gs", got == 0x44);
  wrmsr("FS_BASE", 0xc0000100, P(segment));
  wrmsr("SHADOW_GS_BASE", 0xc0000102, P(segment));
  wrmsr("GS_BASE, not canonical", 0xc0000101, 0x900000000000);
  wrmsr("EFER as it is", 0xc0000080, 0);
  wrmsr("LSTAR", 0xc0000082, P(segment));
  wrmsr("0x12345", 0x12345, 0);

  INSN("cli without iopl", "cli", 13);
  INSN("sti without iopl", "sti", 13);
  INSN("hlt", "hlt", 13);
  INSN("wbinvd", "wbinvd", -1);
  INSN("invd", "invd", 13);
  INSN("invlpg", "invlpg (%%rsp)", 13);
  INSN("lgdt", "sub $16, %%rsp; lgdt (%%rsp); add $16, %%rsp", 13);
  INSN("lidt", "sub $16, %%rsp; lidt (%%rsp); add $16, %%rsp", 13);
  INSN("lldt", "xor %%eax, %%eax; lldt %%ax", 13);
  INSN("ltr", "xor %%eax, %%eax; ltr %%ax", 13);
  INSN("lmsw", "xor %%eax, %%eax; lmsw %%ax", 13);
  INSN("swapgs", "swapgs", 13);
  INSN("write cr2", "xor %%eax, %%eax; mov %%rax, %%cr2", -1);
  INSN("write cr8", "xor %%eax, %%eax; mov %%rax, %%cr8", 13);
  INSN("read dr7", "mov %%dr7, %%rax", -1);
  INSN("write dr0", "xor %%eax, %%eax; mov %%rax, %%dr0", -1);
  INSN("rdtsc", "rdtsc", -1);

  TRY(in(0x42, 1));
  check_fault("port 0x42 without iopl", 13);
  struct {
    u32 iopl;
  } iopl = {1};
  HC2(physdev_op, 6, P(&iopl));
  INSN("cli with iopl 1", "cli", -1);
  INSN("sti with iopl 1", "sti", -1);
  in(0x42, 1);
  check_fault("port 0x42 with iopl 1", -1);
  printf("port 0x3f8: %x\n", (u64)in(0x3f8, 1));
  check_fault("reading it", -1);
  printf("port 0xcfc: %x\n", (u64)in(0xcfc, 4));
  check_fault("reading it", -1);
  TRY(__asm__ volatile("outb %%al, %1" ::"a"(0), "d"((u16)0x3f8)));
  check_fault("out to 0x3f8", -1);
  u8 buffer[4] = {1, 2, 3, 4};
  void *p = buffer;
  u64 n = 2;
  TRY(__asm__ volatile("rep insb" : "+D"(p), "+c"(n) : "d"((u16)0x3f8) : "memory"));
  check_fault("rep insb", -1);
  printf("rep insb read: %x %x %x\n", (u64)buffer[0], (u64)buffer[1], (u64)buffer[2]);
}
