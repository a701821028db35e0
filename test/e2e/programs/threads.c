/* pthreads: mutexes and condition variables (futexes), atomics, thread-local storage, barriers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 2000 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long plain;
static atomic_long counted;
static unsigned long wide[2] __attribute__((aligned(16)));
static atomic_int spin;
static __thread long mine = 3;
static int turn;

static void *work(void *arg) {
  long id = (long)arg;
  for (int i = 0; i < ROUNDS; i++) {
    pthread_mutex_lock(&lock);
    plain += id;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&counted, id);
    while (atomic_exchange(&spin, 1)) sched_yield();
    mine += 1;
    atomic_store(&spin, 0);
    unsigned long low = 0, high = 0;
    unsigned char done;
    do /* cmpxchg16b: the low half counts, the high half is its square */
      asm volatile("mov %1, %%rbx; inc %%rbx; mov %%rbx, %%rcx; imul %%rcx, %%rcx; lock cmpxchg16b %3; setz %0"
                   : "=q"(done), "+a"(low), "+d"(high), "+m"(*(unsigned __int128 *)wide) : : "rbx", "rcx", "cc");
    while (!done);
  }
  /* In turn, through one condition variable. */
  for (int round = 0; round < 20; round++) {
    pthread_mutex_lock(&lock);
    while (turn % THREADS != id) pthread_cond_wait(&cond, &lock);
    turn++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
  }
  pthread_barrier_wait(&barrier);
  return (void *)mine;
}

int main(void) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&barrier, 0, THREADS);
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], 0, work, (void *)i);
  long sum = 0;
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  printf("plain %ld counted %ld local %ld mine %ld turn %d wide %lu %lu\n", plain, (long)counted, sum, mine, turn, wide[0], wide[1]);
  /* Creation and end of many. */
  long ended = 0;
  for (int i = 0; i < 200; i++) {
    pthread_t t;
    pthread_barrier_destroy(&barrier);
    pthread_barrier_init(&barrier, 0, 1);
    turn = 0;
    if (pthread_create(&t, 0, (void *(*)(void *))(void *)getpid, 0)) break;
    pthread_join(t, 0);
    ended++;
  }
  printf("threads that came and went: %ld\n", ended);
  return 0;
}
