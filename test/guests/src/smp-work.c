/* Work without end that stays in the CPU: for tests of how domains share pCPUs. Prints once it has begun. */
#include "../lib/smp.h"
const char test_name[] = "smp-work";

static void work(u64 cpu) {
  for (u64 sum = cpu;; sum = sum * 6364136223846793005ul + 1442695040888963407ul) __asm__ volatile("" : "+r"(sum));
}

void test_main(void) {
  u64 cpus = option("cpus", 1);
  for (u32 i = 1; i < cpus; i++) start_vcpu(i, work, i);
  print("working\n");
  work(0);
}
