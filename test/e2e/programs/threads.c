/*
 * pthreads: mutexes and condition variables (futexes), atomics, thread-local storage, barriers, read-write locks; memory whose
 * protection changes under the threads' feet; threads tied to one processor after another.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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

/* Locked operations on bytes that cross a cache line and a page, and a lock-free stack of nodes whose sum must come out. */
static unsigned char ragged[3 * 4096] __attribute__((aligned(4096)));
static struct node {
  struct node *next;
  long value;
} nodes[THREADS][ROUNDS], *_Atomic top;
static atomic_long popped;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long written[2];
static atomic_long torn;
static char *pages;

static void *lock_free(void *arg) {
  long id = (long)arg;
  for (int i = 0; i < ROUNDS; i++) {
    asm volatile("lock incq %0" : "+m"(*(long *)(ragged + 4093)));
    asm volatile("lock incl %0" : "+m"(*(int *)(ragged + 8190)));
    asm volatile("lock addw $3, %0" : "+m"(*(short *)(ragged + 127)));
    struct node *n = &nodes[id][i];
    n->value = id * ROUNDS + i;
    n->next = atomic_load(&top);
    while (!atomic_compare_exchange_weak(&top, &n->next, n)) {}
    if (i % 16 == 0) {
      pthread_rwlock_wrlock(&rwlock);
      written[0]++;
      written[1]--;
      pthread_rwlock_unlock(&rwlock);
    } else {
      pthread_rwlock_rdlock(&rwlock);
      if (written[0] + written[1]) atomic_fetch_add(&torn, 1);
      pthread_rwlock_unlock(&rwlock);
    }
  }
  pthread_barrier_wait(&barrier);
  /* Nobody pushes any more; the whole stack is taken at once by one of them. */
  for (struct node *n = atomic_exchange(&top, 0); n; n = n->next) atomic_fetch_add(&popped, n->value);
  return 0;
}

/* Each thread writes to its page, moves to another processor, and has the page taken away and given back. */
static void *wander(void *arg) {
  long id = (long)arg, processors = sysconf(_SC_NPROCESSORS_ONLN), sum = 0;
  volatile long *mine_too = (volatile long *)(pages + id * 4096);
  for (int i = 0; i < 200; i++) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((id + i) % processors, &set);
    sched_setaffinity(0, sizeof set, &set);
    *mine_too = i;
    sum += *mine_too;
    if (i % 3 == 0) mprotect((void *)mine_too, 4096, PROT_READ);
    sum += *mine_too;
    if (i % 3 == 0) mprotect((void *)mine_too, 4096, PROT_READ | PROT_WRITE);
    if (i % 5 == 0) madvise((void *)mine_too, 4096, MADV_DONTNEED); /* zeros again */
    sum += *mine_too;
  }
  return (void *)sum;
}

static long together(void *(*work_of)(void *)) {
  pthread_t threads[THREADS];
  long sum = 0;
  pthread_barrier_destroy(&barrier);
  pthread_barrier_init(&barrier, 0, THREADS);
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], 0, work_of, (void *)i);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  return sum;
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
  together(lock_free);
  printf("ragged %ld %d %d popped %ld written %ld %ld torn %ld\n", *(long *)(ragged + 4093), *(int *)(ragged + 8190), *(short *)(ragged + 127),
         (long)popped, written[0], written[1], (long)torn);
  pages = mmap(0, THREADS * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("wandering %ld\n", together(wander));
  return 0;
}
