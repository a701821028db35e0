/* The ways into and out of the guest kernel: exceptions, software interrupts, iret, user mode, syscall. */
#include "../lib/lib.h"

const char test_name[] = "entry";

static struct regs seen;
static u32 count;
static u8 user_stack[PAGE_SIZE] __attribute__((aligned(4096)));
static u8 kernel_stack[PAGE_SIZE] __attribute__((aligned(4096)));

/* Remember the frame and step over what trapped. */
static u32 skip_bytes;
static bool note(struct regs *r) {
  seen = *r;
  count++;
  r->rip += skip_bytes;
  return true;
}
static void frame(const char *what) {
  /* Of a refused int n only that the error names the IDT: QEMU scales the rest wrongly in 64-bit mode. */
  u64 error = seen.error & 2 ? 2 : seen.error;
  printf("%s: vector %u error %x cs %x ss %x if %u mask %u\n", what, seen.vector, error, seen.cs & 0xffff, seen.ss & 0xffff,
         seen.rflags >> 9 & 1, seen.cs >> 32 & 0xff);
}
#define AT(n, code)                     \
  do {                                  \
    count = 0;                          \
    skip_bytes = n;                     \
    __asm__ volatile(code ::: "memory"); \
    if (!count) print("no trap: ");     \
  } while (0)

static void exceptions(void) {
  on_trap = note;
  upcalls_on();
  AT(2, "ud2");
  frame("ud2");
  upcalls_off();
  AT(0, "int3");
  frame("int3, masked");
  AT(0, "int $3");
  frame("int 3");
  AT(0, "int $4");
  frame("int 4");
  AT(0, "int $0x80");
  frame("int 0x80");
  AT(2, "int $0x81");
  frame("int 0x81");
  AT(2, "int $14");
  frame("int 14");
  AT(2, "int $0x20");
  frame("int 0x20");
  count = 0;
  skip_bytes = 2;
  __asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; mov $1, %%eax; .byte 0xf7, 0xf1" ::: "rax", "rcx", "rdx");
  frame("division by zero");
  count = 0;
  skip_bytes = 3;
  __asm__ volatile("mov $0x1238, %%eax; .byte 0x8e, 0xd8, 0x90" ::: "rax");
  frame("bad selector into ds");
  count = 0;
  __asm__ volatile("mov $1, %%eax; ror $1, %%rax; .byte 0x8b, 0x00, 0x90" ::: "rax");
  frame("address not canonical");
  skip_bytes = 2;
  __asm__ volatile("xor %%eax, %%eax; .byte 0x8b, 0x00" ::: "rax");
  frame("null pointer");
  printf("cr2: %x\n", shared->vcpu_info[0].cr2);
  /* Single step: one instruction, then #DB. */
  skip_bytes = 0;
  count = 0;
  __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop; pushf; andl $~0x100, (%%rsp); popf" ::: "memory", "cc");
  printf("single steps: %u, vector %u\n", (u64)count, seen.vector);
}

/* Plain iretq within the kernel. */
static void returns(void) {
  u64 before, after;
  __asm__ volatile(
      "mov %%rsp, %0; mov %%rsp, %%rax; pushq $0xe02b; push %%rax; pushf; pushq $0xe033; lea 1f(%%rip), %%rax; push %%rax; iretq; 1: mov %%rsp, %1"
      : "=&r"(before), "=&r"(after)::"rax", "memory", "cc");
  ok("iretq within the kernel", before == after);
  u64 flags;
  __asm__ volatile("pushf; pop %0" : "=r"(flags));
  printf("rflags: if %u iopl %u\n", flags >> 9 & 1, flags >> 12 & 3);
  __asm__ volatile("push $0xffffffffffffffff; popf; pushf; pop %0; push $0x202; popf" : "=r"(flags)::"memory", "cc");
  printf("popf of all ones keeps: %x\n", flags & ~0x8d5ul & ~0x100ul);
  skip_bytes = 2;
  count = 0;
  TRY(__asm__ volatile("pushq $0xe02b; push %%rsp; pushf; pushq $0xe033; movabs $0x900000000000, %%rax; push %%rax; iretq" ::: "rax", "memory"));
  check_fault("iretq to an address not canonical", 13);
  TRY(__asm__ volatile("pushq $0xe02b; push %%rsp; pushf; pushq $0x1238; pushq $0; iretq" ::: "rax", "memory"));
  check_fault("iretq to a bad selector", 13);
}

/* What the user program leaves in registers when it comes back by syscall. */
u64 user_rcx, user_r11, back_rsp;
volatile u32 syscalls;
extern u8 syscall_entry[], user_code[], user_ud2[];
__asm__(
    "syscall_entry:\n"
    "  pop %rcx\n"
    "  pop %r11\n"
    "  mov %rcx, user_rcx\n"
    "  mov %r11, user_r11\n"
    "  incl syscalls\n"
    "  mov back_rsp, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"
    /* void to_user(rip, rsp, rflags, iret_flags) */
    "to_user:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, back_rsp\n"
    "  pushq $0xe02b\n"
    "  push %rsi\n"
    "  push %rdx\n"
    "  pushq $0xe033\n"
    "  push %rdi\n"
    "  push %rcx\n"
    "  mov $0x1111, %ecx\n"
    "  mov $0x2222, %r11d\n"
    "  mov $0x3333, %eax\n"
    "  jmp hypercall_page + 23 * 32\n"
    "user_code:\n"
    "  mov %rcx, %r8\n"
    "  mov %r11, %r9\n"
    "  mov %rax, %r10\n"
    "  mov %cs, %ebx\n"
    "  mov %ss, %ebp\n"
    "  syscall\n"
    "user_after:\n"
    "user_ud2:\n"
    "  ud2\n"
    "  syscall\n");
void to_user(u64 rip, u64 rsp, u64 rflags, u64 flags);

static void user_mode(void) {
  struct {
    u16 type, flags;
    u64 address;
  } cb = {CALLBACK_syscall, 1, P(syscall_entry)};
  check("register the syscall callback", HC2(callback_op, 0, P(&cb)), 0);
  u64 l4 = mfn_of((void *)si->pt_base);
  check("user page table", mmuext(MMUEXT_NEW_USER_BASEPTR, l4, 0), 0);
  HC2(stack_switch, 0xe02b, P(kernel_stack) + PAGE_SIZE);
  user_stack[0] = 0;
  u64 top = P(user_stack) + PAGE_SIZE - 64;
  upcalls_off();
  to_user(P(user_code), top, 0x202, 0);
  ok("syscall came back", syscalls == 1);
  printf("syscall frame: rip - start %u, flags %x\n", user_rcx ? ((u64 *)(P(kernel_stack) + PAGE_SIZE))[-5] - P(user_code) : 0,
         ((u64 *)(P(kernel_stack) + PAGE_SIZE))[-3]);
  printf("cs %x ss %x\n", ((u64 *)(P(kernel_stack) + PAGE_SIZE))[-4] & 0xffff, ((u64 *)(P(kernel_stack) + PAGE_SIZE))[-1] & 0xffff);
  ok("rcx is the return address", user_rcx == ((u64 *)(P(kernel_stack) + PAGE_SIZE))[-5]);
  ok("events are masked", shared->vcpu_info[0].evtchn_upcall_mask == 1);
  skip_bytes = 2;
  count = 0;
  to_user(P(user_ud2), top, 0x202, 0);
  frame("ud2 in user mode");
  ok("on the kernel's stack", seen.rsp == top);
  ok("then syscall", syscalls == 2);
}

void test_main(void) {
  exceptions();
  returns();
  user_mode();
}
