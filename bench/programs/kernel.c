/* What the kernel is asked for: system calls, page faults, processes, pipes, context switches. */
#include "bench.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* `n` times 100,000 of the cheapest calls. */
BENCH(syscall) {
  uint64_t calls = 0;
  long parent = getppid();
  bench_start();
  while (n--)
    for (int i = 0; i < 100000; i++) calls += syscall(SYS_getppid) == parent;
  bench_stop();
  return calls;
}

/* `n` times: map 8 MiB, write to each page, unmap. */
BENCH(pagefault) {
  enum { SIZE = 8 << 20 };
  uint64_t pages = 0;
  bench_start();
  while (n--) {
    char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) bench_fail("mmap");
    if (madvise(at, SIZE, MADV_NOHUGEPAGE) != 0) bench_fail("madvise");
    for (size_t i = 0; i < SIZE; i += 4096) {
      at[i] = 1;
      pages += (unsigned char)at[i];
    }
    munmap(at, SIZE);
  }
  bench_stop();
  return pages;
}

/* `n` processes, each of which becomes this program again and ends. */
BENCH(forkexec) {
  uint64_t ended = 0;
  bench_start();
  while (n--) {
    int status;
    pid_t child = fork();
    if (child == 0) {
      execl(BENCH_SELF, "bench", BENCH_NOTHING, NULL);
      _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) bench_fail("fork and exec");
    ended++;
  }
  bench_stop();
  return ended;
}

/* `n` times 1,000 round trips of one byte between two processes. */
BENCH(pipe) {
  int there[2], back[2], status;
  unsigned char byte = 1;
  uint64_t sum = 0;
  if (pipe(there) != 0 || pipe(back) != 0) bench_fail("pipe");
  pid_t child = fork();
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1) {
      byte++;
      if (write(back[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  close(there[0]);
  bench_start();
  for (unsigned i = n * 1000; i > 0; i--) {
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) bench_fail("the pipe broke");
    sum += byte;
  }
  bench_stop();
  close(there[1]);
  if (waitpid(child, &status, 0) != child || status != 0) bench_fail("the other process");
  return sum;
}

/* Whose turn it is: of two threads of one address space, which hand over with a futex. */
static uint32_t turn;

static void hand_over(uint32_t self, unsigned times) {
  while (times--) {
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != self) syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, 1 - self, NULL);
    __atomic_store_n(&turn, 1 - self, __ATOMIC_RELEASE);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1);
  }
}

static void *second_thread(void *times) {
  hand_over(1, *(unsigned *)times);
  return NULL;
}

/* `n` times 1,000 round trips: 2,000 switches. */
BENCH(switch) {
  pthread_t thread;
  unsigned times = n * 1000;
  turn = 0;
  bench_start();
  if (pthread_create(&thread, NULL, second_thread, &times) != 0) bench_fail("pthread_create");
  hand_over(0, times);
  pthread_join(thread, NULL);
  bench_stop();
  return times + turn;
}
