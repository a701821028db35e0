/* sched_op, vcpu_op and the small hypercalls: what they answer to an ordinary guest. */
#include "../lib/lib.h"

const char test_name[] = "sched";

static u8 page[PAGE_SIZE] __attribute__((aligned(4096)));

static void scheduling(void) {
  check("yield", HC2(sched_op, SCHED_yield, 0), 0);
  check("sched_op 99", HC2(sched_op, 99, 0), -ENOSYS);
  check("shutdown, bad pointer", HC2(sched_op, SCHED_shutdown, 0x1000), -EFAULT);
  struct {
    domid_t dom;
    u32 reason;
  } r = {0, 0};
  check("remote_shutdown of dom0", HC2(sched_op, SCHED_remote_shutdown, P(&r)), -EPERM);
  r.dom = 0x7000;
  check("remote_shutdown of no such domain", HC2(sched_op, SCHED_remote_shutdown, P(&r)), -ESRCH);
  struct {
    u32 id, timeout;
  } w = {0, 100};
  check("new watchdog", HC2(sched_op, SCHED_watchdog, P(&w)), 1);
  w.id = 1;
  w.timeout = 0;
  check("stop it", HC2(sched_op, SCHED_watchdog, P(&w)), 0);
  w.id = 9;
  check("watchdog 9", HC2(sched_op, SCHED_watchdog, P(&w)), -EINVAL);
  w.id = 2;
  w.timeout = 5;
  check("watchdog 2, not in use", HC2(sched_op, SCHED_watchdog, P(&w)), -EINVAL);
  upcalls_off();
  struct {
    u32 vcpu, port;
  } ipi = {0, 0};
  HC2(event_channel_op, EVTCHN_bind_ipi, P(&ipi));
  set_mask(ipi.port, false);
  HC2(event_channel_op, EVTCHN_send, P(&ipi.port));
  check("block with an event pending", HC2(sched_op, SCHED_block, 0), 0);
  ok("it came", upcalls == 1);
  ok("block unmasks", shared->vcpu_info[0].evtchn_upcall_mask == 0);
}

static void vcpus(void) {
  check("is_up of vcpu 0", HC3(vcpu_op, VCPU_is_up, 0, 0), 1);
  check("is_up of vcpu 1", HC3(vcpu_op, VCPU_is_up, 1, 0), -ENOENT);
  check("is_up of vcpu 40000", HC3(vcpu_op, VCPU_is_up, 40000, 0), -ENOENT);
  check("up of vcpu 0", HC3(vcpu_op, VCPU_up, 0, 0), 0);
  check("initialise vcpu 0", HC3(vcpu_op, VCPU_initialise, 0, 0x1000), -EFAULT);
  check("vcpu_op 99", HC3(vcpu_op, 99, 0, 0), -ENOSYS);
  struct {
    u64 mfn;
    u32 offset, pad;
  } i = {mfn_of(page), 4090, 0};
  check("register_vcpu_info across the page", HC3(vcpu_op, VCPU_register_vcpu_info, 0, P(&i)), -ENXIO);
  i.offset = 3;
  check("register_vcpu_info misaligned", HC3(vcpu_op, VCPU_register_vcpu_info, 0, P(&i)), -ENXIO);
  i.offset = 64;
  i.mfn = 0xffffffffff;
  check("register_vcpu_info in a bad frame", HC3(vcpu_op, VCPU_register_vcpu_info, 0, P(&i)), -EINVAL);
}

static void versions(void) {
  printf("version: %x\n", (u64)HC2(xen_version, 0, 0));
  check("version 99", HC2(xen_version, 99, 0), -ENOSYS);
  struct {
    u32 index, map;
  } f = {0, 0};
  check("get_features", HC2(xen_version, 6, P(&f)), 0);
  printf("features: %x\n", (u64)f.map);
  f.index = 1;
  check("get_features 1", HC2(xen_version, 6, P(&f)), -EINVAL);
  check("pagesize", HC2(xen_version, 7, 0), 4096);
  char text[1024] = {0};
  check("capabilities", HC2(xen_version, 3, P(text)), 0);
  text[15] = 0;
  printf("the first: [%s]\n", text);
  u64 start = 0;
  check("platform_parameters", HC2(xen_version, 5, P(&start)), 0);
  printf("virt_start: %x\n", start);
  check("extraversion, bad pointer", HC2(xen_version, 1, 0x1000), -EFAULT);
  check("commandline", HC2(xen_version, 9, P(text)), 0);
}

static void multicalls(void) {
  struct multicall_entry m[4];
  memset(m, 0, sizeof m);
  m[0].op = HC_xen_version;
  m[1].op = HC_sched_op;
  m[1].args[0] = 99;
  m[2].op = 60;
  m[3].op = HC_xen_version;
  m[3].args[0] = 7;
  check("multicall", HC2(multicall, P(m), 4), 0);
  printf("its results: %x", (u64)m[0].result);
  for (u32 i = 1; i < 4; i++) printf(" %d", m[i].result);
  print("\n");
  check("multicall of none", HC2(multicall, P(m), 0), 0);
  check("multicall, bad pointer", HC2(multicall, 0x1000, 1), -EFAULT);
  check("multicall, pointer in Xen's area", HC2(multicall, 0xffff830000000000, 1), -EFAULT);
  m[0] = (struct multicall_entry){HC_multicall, 5, {P(&m[1]), 1}};
  m[1] = (struct multicall_entry){HC_xen_version, 5, {0}};
  check("multicall in a multicall", HC2(multicall, P(m), 1), 0);
  printf("its result: %d\n", m[0].result);
}

static void assists(void) {
  check("vm_assist writable_pagetables", HC2(vm_assist, 0, 2), 0);
  check("vm_assist 4gb_segments", HC2(vm_assist, 0, 0), 0);
  check("vm_assist runstate_update_flag", HC2(vm_assist, 0, 5), 0);
  check("vm_assist 6", HC2(vm_assist, 0, 6), -EINVAL);
  check("vm_assist command 7", HC2(vm_assist, 7, 2), -ENOSYS);
  struct {
    u16 type, flags;
    u64 address;
  } c = {6, 0, P(test_main)};
  check("callback type 6", HC2(callback_op, 0, P(&c)), -ENOSYS);
  c.type = CALLBACK_sysenter;
  check("callback sysenter", HC2(callback_op, 0, P(&c)), 0);
  c.address = 0x900000000000;
  check("callback not canonical", HC2(callback_op, 0, P(&c)), -EINVAL);
  c.type = CALLBACK_event;
  check("unregister the event callback", HC2(callback_op, 1, P(&c)), -EINVAL);
  check("callback command 9", HC2(callback_op, 9, P(&c)), -ENOSYS);
  static struct trap_info t[2];
  t[0] = (struct trap_info){3, 3, 0xe033, 0x900000000000};
  check("trap handler not canonical", HC1(set_trap_table, P(t)), -EINVAL);
  check("stack_switch", HC2(stack_switch, 0xe02b, P(page) + 4096), 0);
  check("segment base of FS", HC2(set_segment_base, 0, P(page)), 0);
  u8 b;
  page[16] = 0x33;
  __asm__ volatile("movb %%fs:16, %0" : "=r"(b));
  ok("it is used", b == 0x33);
  check("segment base not canonical", HC2(set_segment_base, 0, 0x900000000000), -EINVAL);
  check("segment base 9", HC2(set_segment_base, 9, 0), -EINVAL);
  check("selector of GS, bad", HC2(set_segment_base, 3, 0x1234), 0);
  check("fpu_taskswitch", HC1(fpu_taskswitch, 1), 0);
  TRY(__asm__ volatile("movups %%xmm0, %%xmm1" ::: "memory"));
  check_fault("SSE then", 7);
  HC1(fpu_taskswitch, 0);
  TRY(__asm__ volatile("movups %%xmm0, %%xmm1" ::: "memory"));
  check_fault("SSE afterwards", -1);
  check("set_debugreg 0", HC2(set_debugreg, 0, P(page)), 0);
  ok("get_debugreg 0", (u64)HC1(get_debugreg, 0) == P(page));
  check("set_debugreg in Xen's area", HC2(set_debugreg, 0, 0xffff830000000000), -EPERM);
  check("set_debugreg 9", HC2(set_debugreg, 9, 0), -ENODEV);
  check("get_debugreg 9", HC1(get_debugreg, 9), -ENODEV);
  HC2(set_debugreg, 0, 0);
  struct {
    u32 iopl;
  } iopl = {1};
  check("set_iopl 1", HC2(physdev_op, 6, P(&iopl)), 0);
  iopl.iopl = 4;
  check("set_iopl 4", HC2(physdev_op, 6, P(&iopl)), -EINVAL);
  check("physdev_op 99", HC2(physdev_op, 99, P(&iopl)), -ENOSYS);
}

static void memory(void) {
  domid_t self = DOMID_SELF, dom0 = 0, none = 0x7000;
  check("current_reservation", HC2(memory_op, 3, P(&self)), (s64)si->nr_pages);
  ok("maximum_reservation", HC2(memory_op, 4, P(&self)) >= (s64)si->nr_pages);
  check("current_reservation of dom0", HC2(memory_op, 3, P(&dom0)), -EPERM);
  check("current_reservation of no such domain", HC2(memory_op, 3, P(&none)), -ESRCH);
  ok("maximum_ram_page", HC2(memory_op, 2, 0) > 0);
  check("memory_op 63", HC2(memory_op, 63, P(page)), -ENOSYS);
  check("decrease_reservation, bad pointer", HC2(memory_op, 1, 0x1000), 0);
  struct {
    u64 start, end, max;
  } m;
  check("machphys_mapping", HC2(memory_op, 12, P(&m)), 0);
  printf("machphys: %x\n", m.start);
  struct {
    u32 n;
    u64 buffer;
  } map = {8, P(page)};
  check("memory_map", HC2(memory_op, 9, P(&map)), 0);
  printf("%u entries: %x %x type %u\n", (u64)map.n, *(u64 *)page, *(u64 *)(page + 8), (u64)*(u32 *)(page + 16));
  check("machine_memory_map", HC2(memory_op, 10, P(&map)), -EPERM);
  u64 list = 0;
  struct {
    u64 extents, nr;
    u32 order, flags;
    u16 domid;
  } r = {P(&list), 1, 0, 0, DOMID_SELF};
  list = mfn_of(page);
  HC3(update_va_mapping, P(page), 0, UVMF_INVLPG);
  u64 pfn = pfn_of(page);
  check("decrease_reservation", HC2(memory_op, 1, P(&r)), 1);
  check("decrease_reservation again", HC2(memory_op, 1, P(&r)), 0);
  check("current_reservation then", HC2(memory_op, 3, P(&self)), (s64)si->nr_pages - 1);
  list = pfn;
  check("populate_physmap", HC2(memory_op, 6, P(&r)), 1);
  ((u64 *)si->mfn_list)[pfn] = list;
  ok("its M2P entry", M2P[list] == pfn);
  check("map it", map_self(page, KERNEL_RW), 0);
  r.order = 9;
  check("populate_physmap of 2 MiB", HC2(memory_op, 6, P(&r)), 0);
  r.order = 0;
  r.domid = 0;
  check("populate_physmap of dom0", HC2(memory_op, 6, P(&r)), 0);
  r.domid = DOMID_SELF;
  r.nr = 1ul << 40;
  check("decrease_reservation of 2^40", HC2(memory_op, 1, P(&r)), 0);
}

static void privileged(void) {
  u8 op[256] = {0};
  *(u32 *)(op + 4) = 0x15;
  *(u32 *)op = 5;
  check("domctl getdomaininfo", HC1(domctl, P(op)), -EPERM);
  check("domctl, bad pointer", HC1(domctl, 0x1000), -EFAULT);
  *(u32 *)op = 3;
  *(u32 *)(op + 4) = 0x15;
  check("sysctl physinfo", HC1(sysctl, P(op)), -EPERM);
  check("nmi_op", HC2(nmi_op, 9, 0), -ENOSYS);
  check("hypercall 55", hypercall(55, 0, 0, 0, 0, 0), -ENOSYS);
  u64 rax = 1000;
  __asm__ volatile("syscall" : "+a"(rax)::"rcx", "r11", "memory");
  check("hypercall 1000", (s64)rax, -ENOSYS);
}

void test_main(void) {
  scheduling();
  vcpus();
  versions();
  multicalls();
  assists();
  memory();
  privileged();
}
