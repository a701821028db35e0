/*
 * What the test guests need of Xen's public interface, 64-bit PV only. Names and values are those of the public headers
 * (xen.h, event_channel.h, grant_table.h, sched.h, vcpu.h, memory.h, physdev.h, callback.h, errno.h).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
typedef u16 domid_t;

#define PAGE_SIZE 4096ul
#define VIRT_BASE 0xffffffff80000000ul
#define M2P ((const u64 *)0xffff800000000000ul)
#define DOMID_SELF 0x7ff0
#define DOMID_IO 0x7ff1
#define DOMID_XEN 0x7ff2
#define DOMID_INVALID 0x7ff4

enum {
  HC_set_trap_table = 0, HC_mmu_update = 1, HC_set_gdt = 2, HC_stack_switch = 3, HC_fpu_taskswitch = 5,
  HC_platform_op = 7, HC_set_debugreg = 8, HC_get_debugreg = 9, HC_update_descriptor = 10, HC_memory_op = 12,
  HC_multicall = 13, HC_update_va_mapping = 14, HC_set_timer_op = 15, HC_xen_version = 17, HC_console_io = 18,
  HC_grant_table_op = 20, HC_vm_assist = 21, HC_update_va_mapping_otherdomain = 22, HC_iret = 23, HC_vcpu_op = 24,
  HC_set_segment_base = 25, HC_mmuext_op = 26, HC_xsm_op = 27, HC_nmi_op = 28, HC_sched_op = 29, HC_callback_op = 30,
  HC_event_channel_op = 32, HC_physdev_op = 33, HC_hvm_op = 34, HC_sysctl = 35, HC_domctl = 36,
};

struct vcpu_time_info {
  u32 version, pad0;
  u64 tsc_timestamp, system_time;
  u32 tsc_to_system_mul;
  int8_t tsc_shift;
  u8 flags, pad1[2];
};
struct vcpu_info {
  u8 evtchn_upcall_pending, evtchn_upcall_mask;
  u64 evtchn_pending_sel;
  u64 cr2, pad;
  struct vcpu_time_info time;
};
struct shared_info {
  struct vcpu_info vcpu_info[32];
  u64 evtchn_pending[64], evtchn_mask[64];
  u32 wc_version, wc_sec, wc_nsec, wc_sec_hi;
};
struct start_info {
  char magic[32];
  u64 nr_pages, shared_info;
  u32 flags;
  u64 store_mfn;
  u32 store_evtchn;
  u64 console_mfn;
  u32 console_evtchn;
  u64 pt_base, nr_pt_frames, mfn_list, mod_start, mod_len;
  char cmd_line[1024];
  u64 first_p2m_pfn, nr_p2m_frames;
};
struct console_ring {
  char in[1024], out[2048];
  u32 in_cons, in_prod, out_cons, out_prod;
};
struct trap_info {
  u8 vector, flags;
  u16 cs;
  u64 address;
};
struct mmu_update {
  u64 ptr, val;
};
struct mmuext_op {
  u32 cmd;
  u64 arg1, arg2;
};
struct multicall_entry {
  u64 op;
  s64 result;
  u64 args[6];
};

enum { MMU_NORMAL = 0, MMU_MACHPHYS = 1, MMU_PRESERVE_AD = 2, MMU_NO_TRANSLATE = 3 };
enum {
  MMUEXT_PIN_L1 = 0, MMUEXT_PIN_L2, MMUEXT_PIN_L3, MMUEXT_PIN_L4, MMUEXT_UNPIN, MMUEXT_NEW_BASEPTR,
  MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_INVLPG_LOCAL, MMUEXT_TLB_FLUSH_MULTI, MMUEXT_INVLPG_MULTI, MMUEXT_TLB_FLUSH_ALL,
  MMUEXT_INVLPG_ALL, MMUEXT_FLUSH_CACHE, MMUEXT_SET_LDT, MMUEXT_NEW_USER_BASEPTR = 15, MMUEXT_CLEAR_PAGE,
  MMUEXT_COPY_PAGE, MMUEXT_FLUSH_CACHE_GLOBAL, MMUEXT_MARK_SUPER, MMUEXT_UNMARK_SUPER,
};
enum { UVMF_NONE = 0, UVMF_TLB_FLUSH = 1, UVMF_INVLPG = 2, UVMF_LOCAL = 0, UVMF_ALL = 4 };

#define PTE_P 0x001ul
#define PTE_RW 0x002ul
#define PTE_U 0x004ul
#define PTE_PWT 0x008ul
#define PTE_PCD 0x010ul
#define PTE_A 0x020ul
#define PTE_D 0x040ul
#define PTE_PSE 0x080ul
#define PTE_G 0x100ul
#define PTE_NX (1ul << 63)
#define PTE_MFN(e) (((e) >> 12) & 0xfffffffffful)

enum {
  EVTCHN_bind_interdomain, EVTCHN_bind_virq, EVTCHN_bind_pirq, EVTCHN_close, EVTCHN_send, EVTCHN_status,
  EVTCHN_alloc_unbound, EVTCHN_bind_ipi, EVTCHN_bind_vcpu, EVTCHN_unmask, EVTCHN_reset, EVTCHN_init_control,
  EVTCHN_expand_array, EVTCHN_set_priority,
};
enum { VIRQ_TIMER = 0, VIRQ_DEBUG = 1, VIRQ_CONSOLE = 2, VIRQ_DOM_EXC = 3, VIRQ_XENOPROF = 7 };

enum { SCHED_yield, SCHED_block, SCHED_shutdown, SCHED_poll, SCHED_remote_shutdown, SCHED_shutdown_code, SCHED_watchdog };
enum { SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_suspend, SHUTDOWN_crash, SHUTDOWN_watchdog };
enum {
  VCPU_initialise, VCPU_up, VCPU_down, VCPU_is_up, VCPU_get_runstate_info, VCPU_register_runstate, VCPU_set_periodic,
  VCPU_stop_periodic, VCPU_set_singleshot, VCPU_stop_singleshot, VCPU_register_vcpu_info,
};
enum { CALLBACK_event, CALLBACK_failsafe, CALLBACK_syscall, CALLBACK_nmi = 4, CALLBACK_sysenter, CALLBACK_syscall32 = 7 };

#define EPERM 1
#define ENOENT 2
#define ESRCH 3
#define ENXIO 6
#define EACCES 13
#define ENODEV 19
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define ENOSPC 28
#define ENOSYS 38
#define ETIME 62
#define EOPNOTSUPP 95

/* Number in rax, arguments in rdi rsi rdx r10 r8, through the hypercall page. */
extern u8 hypercall_page[];
static inline s64 hypercall(u64 op, u64 a, u64 b, u64 c, u64 d, u64 e) {
  s64 r;
  register u64 r10 __asm__("r10") = d;
  register u64 r8 __asm__("r8") = e;
  __asm__ volatile("call *%[entry]"
                   : "=a"(r), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8)
                   : [entry] "b"((u64)hypercall_page + op * 32)
                   : "rcx", "r11", "memory");
  return r;
}
#define P(x) ((u64)(uintptr_t)(x))
#define HC1(op, a) hypercall(HC_##op, (u64)(a), 0, 0, 0, 0)
#define HC2(op, a, b) hypercall(HC_##op, (u64)(a), (u64)(b), 0, 0, 0)
#define HC3(op, a, b, c) hypercall(HC_##op, (u64)(a), (u64)(b), (u64)(c), 0, 0)
#define HC4(op, a, b, c, d) hypercall(HC_##op, (u64)(a), (u64)(b), (u64)(c), (u64)(d), 0)
