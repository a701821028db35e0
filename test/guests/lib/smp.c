/* Starting vCPUs: public/vcpu.h, public/arch-x86/xen.h vcpu_guest_context. */
#include "smp.h"

struct vcpu_guest_context {
  u8 fpu_ctxt[512];
  u64 flags;
  struct {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u32 error_code, entry_vector;
    u64 rip;
    u16 cs, pad0;
    u8 saved_upcall_mask, pad1[3];
    u64 rflags, rsp, ss, es, ds, fs, gs;
  } user_regs;
  struct trap_info trap_ctxt[256];
  u64 ldt_base, ldt_ents, gdt_frames[16], gdt_ents, kernel_ss, kernel_sp, ctrlreg[8], debugreg[8];
  u64 event_callback, failsafe_callback, syscall_callback, vm_assist, fs_base, gs_base_kernel, gs_base_user;
};

#define STACK 16384
static u8 stacks[MAX_CPUS][STACK] __attribute__((aligned(16)));
extern u8 event_entry[], failsafe_entry[];

static struct {
  void (*fn)(u64);
  u64 arg;
} work[MAX_CPUS];

static void first(u64 id) {
  set_traps();
  work[id].fn(work[id].arg);
  for (;;) HC3(vcpu_op, VCPU_down, id, 0);
}

u32 this_cpu(void) {
  u64 here = P(__builtin_frame_address(0)) - P(stacks);
  return here < sizeof stacks ? (u32)(here / STACK) : 0;
}

void start_vcpu(u32 id, void (*fn)(u64), u64 arg) {
  work[id].fn = fn;
  work[id].arg = arg;
  static struct vcpu_guest_context c;
  memset(&c, 0, sizeof c);
  c.flags = 1 << 2; /* VGCF_in_kernel */
  c.user_regs.rip = P(first);
  c.user_regs.rdi = id;
  c.user_regs.rsp = P(stacks[id] + STACK - 8); /* as behind a call */
  c.user_regs.cs = 0xe033;
  c.user_regs.ss = 0xe02b;
  c.user_regs.rflags = 0x202;
  c.kernel_ss = 0xe02b;
  c.kernel_sp = P(stacks[id] + STACK);
  c.event_callback = P(event_entry);
  c.failsafe_callback = P(failsafe_entry);
  c.ctrlreg[3] = mfn_of((void *)si->pt_base) << 12;
  s64 rc = HC3(vcpu_op, VCPU_initialise, id, P(&c));
  if (!rc) rc = HC3(vcpu_op, VCPU_up, id, 0);
  if (rc) {
    check("start of a vCPU", rc, 0);
    done();
  }
}
void await_down(u32 id) {
  for (u32 turn = 0; HC3(vcpu_op, VCPU_is_up, id, 0) != 0;) relax(&turn);
}

u64 option(const char *name, u64 otherwise) {
  const char *c = si->cmd_line;
  while (*c) {
    const char *n = name;
    while (*n && *c == *n) c++, n++;
    if (!*n && *c == '=') {
      u64 v = 0;
      for (c++; *c >= '0' && *c <= '9'; c++) v = v * 10 + (u64)(*c - '0');
      return v;
    }
    while (*c && *c != ' ') c++;
    while (*c == ' ') c++;
  }
  return otherwise;
}
