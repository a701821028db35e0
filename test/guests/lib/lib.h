/* What a test guest is written with: printing, checks, traps, page tables, events. */
#pragma once
#include "xen.h"

/* Each guest has one. */
void test_main(void);
extern const char test_name[];

extern struct start_info *si;
extern struct shared_info *shared;

/* The registers a trap found; rflags.IF and cs are as Xen pushed them. */
struct regs {
  u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
  u64 vector, error, rip, cs, rflags, rsp, ss;
};
/* Called for traps if set; true: handled, go back. */
extern bool (*on_trap)(struct regs *);
/* Called for event upcalls; the default acknowledges everything. */
extern void (*on_event)(struct regs *);
extern volatile u32 upcalls;

struct fault {
  int vector; /* -1: none */
  u64 error, cr2, rip;
};
struct jump {
  u64 r[8];
};
int save(struct jump *) __attribute__((returns_twice));
void resume(struct jump *) __attribute__((noreturn));
extern struct jump fault_jump;
extern struct fault fault;
extern bool expecting;
/* Run a statement; `fault` says how it ended. */
#define TRY(statement)                 \
  do {                                 \
    fault.vector = -1;                 \
    expecting = true;                  \
    if (!save(&fault_jump)) {          \
      statement;                       \
      __asm__ volatile("" ::: "memory"); \
    }                                  \
    expecting = false;                 \
  } while (0)

/* Gives the calling vCPU the trap table. */
void set_traps(void);
void print(const char *s);
/* %s %d %u %x (64 bits) %c */
void printf(const char *format, ...);
const char *errno_name(s64 rc);
/* Print "what: ENAME"; a result other than the one expected fails the test. */
void check(const char *what, s64 rc, s64 expected);
/* Print "what: yes" or "no"; no fails the test. */
void ok(const char *what, bool good);
/* Print "what: #PF error 2" or "none"; another vector than expected fails. */
void check_fault(const char *what, int expected);
void fail(const char *why);
void skip(const char *why) __attribute__((noreturn));
void done(void) __attribute__((noreturn));
void stop(u32 reason) __attribute__((noreturn));

void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);

static inline u64 pfn_of(const void *va) { return (P(va) - VIRT_BASE) >> 12; }
static inline u64 mfn_of(const void *va) { return ((const u64 *)si->mfn_list)[pfn_of(va)]; }
static inline void *va_of_mfn(u64 mfn) { return (void *)(VIRT_BASE + (M2P[mfn] << 12)); }
/* The entry that maps va at a level (1: L1 … 4: L4), in the tables' read-only mapping. */
u64 *entry_of(const void *va, int level);
/* Machine address of that entry, as mmu_update wants it. */
u64 entry_ma(const void *va, int level);
s64 mmu_update1(u64 ptr, u64 val);
s64 mmu_update_for(u64 ptr, u64 val, u64 foreigndom);
s64 mmuext(u32 cmd, u64 arg1, u64 arg2);
/* update_va_mapping with invlpg; flags without the frame. */
s64 map_self(const void *va, u64 flags);
#define KERNEL_RW (PTE_P | PTE_RW | PTE_A | PTE_D)
#define KERNEL_RO (PTE_P | PTE_A | PTE_D)

u64 now(void);
static inline void upcalls_on(void) {
  shared->vcpu_info[0].evtchn_upcall_mask = 0;
  __asm__ volatile("" ::: "memory");
  if (shared->vcpu_info[0].evtchn_upcall_pending) HC2(xen_version, 0, 0); /* anything makes Xen look */
}
static inline void upcalls_off(void) {
  shared->vcpu_info[0].evtchn_upcall_mask = 1;
  __asm__ volatile("" ::: "memory");
}
static inline bool pending(u32 port) { return shared->evtchn_pending[port / 64] >> (port % 64) & 1; }
static inline void clear_pending(u32 port) {
  __asm__ volatile("lock btr %1, %0" : "+m"(shared->evtchn_pending[port / 64]) : "r"((u64)(port % 64)) : "memory");
}
static inline void set_mask(u32 port, bool masked) {
  if (masked)
    __asm__ volatile("lock bts %1, %0" : "+m"(shared->evtchn_mask[port / 64]) : "r"((u64)(port % 64)) : "memory");
  else
    __asm__ volatile("lock btr %1, %0" : "+m"(shared->evtchn_mask[port / 64]) : "r"((u64)(port % 64)) : "memory");
}
