/* Ends as its command line says: poweroff, reboot, suspend, crash, watchdog, spin, and several kinds of fatal fault. */
#include "../lib/lib.h"

const char test_name[] = "shutdown";

static bool is(const char *word) {
  const char *s = si->cmd_line;
  while (*word && *s == *word) s++, word++;
  return !*word && (!*s || *s == ' ');
}

void test_main(void) {
  printf("command line: %s\n", si->cmd_line);
  if (is("poweroff")) stop(SHUTDOWN_poweroff);
  if (is("reboot")) stop(SHUTDOWN_reboot);
  if (is("suspend")) stop(SHUTDOWN_suspend);
  if (is("crash")) stop(SHUTDOWN_crash);
  if (is("reason-99")) stop(99);
  if (is("watchdog")) {
    struct {
      u32 id, timeout;
    } w = {0, 1};
    HC2(sched_op, SCHED_watchdog, P(&w));
    for (;;) HC2(sched_op, SCHED_yield, 0);
  }
  if (is("spin"))
    for (;;) __asm__ volatile("");
  if (is("no-handler")) {
    HC1(set_trap_table, 0);
    __asm__ volatile("ud2");
  }
  if (is("no-handler-page-fault")) {
    HC1(set_trap_table, 0);
    *(volatile u8 *)0x1000 = 0;
  }
  if (is("bad-stack")) {
    HC2(stack_switch, 0xe02b, 0x1000);
    __asm__ volatile("mov $0x1000, %%rsp; ud2" ::: "memory");
  }
  if (is("stack-in-xen")) __asm__ volatile("movabs $0xffff830000001000, %%rsp; ud2" ::: "memory");
  if (is("bad-iret")) __asm__ volatile("mov $0x1000, %%rsp; jmp hypercall_page + 23 * 32" ::: "memory");
  if (is("no-user-table"))
    __asm__ volatile("pushq $0xe02b; push %%rsp; pushq $0x202; pushq $0xe033; pushq $0; pushq $0; jmp hypercall_page + 23 * 32" ::: "memory");
  fail("no such command");
}
