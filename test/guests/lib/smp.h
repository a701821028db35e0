/* Several vCPUs in a test guest: started at a function each, with upcalls masked; vCPU 0 prints. */
#pragma once
#include "lib.h"

#define MAX_CPUS 8

/* Starts vCPU `id` (1 …) at fn(arg); when it returns, the vCPU goes down. */
void start_vcpu(u32 id, void (*fn)(u64 arg), u64 arg);
/* The number of the calling vCPU, if it was started here; else 0. */
u32 this_cpu(void);
/* Waits until vCPU `id` is down. */
void await_down(u32 id);

/* A turn of a loop that waits for another vCPU: gives up the CPU now and then, as there may be fewer pCPUs. */
static inline void relax(u32 *turn) {
  __asm__ volatile("pause");
  if ((++*turn & 1023) == 0) HC2(sched_op, SCHED_yield, 0);
}
static inline void await_value(volatile u64 *p, u64 v) {
  for (u32 turn = 0; *p != v;) relax(&turn);
}
struct barrier {
  volatile u64 arrived, round;
};
/* Returns in all `n` vCPUs when all have called it. */
static inline void meet(struct barrier *b, u64 n) {
  u64 round = b->round;
  if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_SEQ_CST) == n) {
    b->arrived = 0;
    __atomic_store_n(&b->round, round + 1, __ATOMIC_SEQ_CST);
  } else {
    for (u32 turn = 0; b->round == round;) relax(&turn);
  }
}
/* The number behind "name=" on the command line, or `otherwise`. */
u64 option(const char *name, u64 otherwise);
