/* Clocks, sleeping and timers: order and rough accuracy (bounds are wide: the machine may be busy). */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <stdint.h>

static double now(clockid_t id) { struct timespec t; clock_gettime(id, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void check(const char *what, double got, double low, double high) {
  int ok = got >= low && got <= high;
  printf("%s: %s\n", what, ok ? "right" : "wrong");
  fprintf(stderr, "%s: %f in %f..%f\n", what, got, low, high);
}
static volatile int ticks;
static void on_alarm(int sig) { (void)sig; ticks++; }

int main(void) {
  double last = 0, a, b;
  int back = 0;
  for (int i = 0; i < 20000; i++) { double t = now(CLOCK_MONOTONIC); back += t < last; last = t; }
  printf("steps back: %d\n", back);
  a = now(CLOCK_MONOTONIC);
  usleep(50000);
  check("usleep of 50 ms", now(CLOCK_MONOTONIC) - a, 0.05, 0.5);
  a = now(CLOCK_MONOTONIC);
  poll(0, 0, 100);
  check("poll of 100 ms", now(CLOCK_MONOTONIC) - a, 0.0999, 0.6);
  struct timespec raw;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &raw);
  check("vdso against system call", now(CLOCK_MONOTONIC) - (raw.tv_sec + raw.tv_nsec / 1e9), -0.001, 0.2);
  struct timeval tv;
  gettimeofday(&tv, 0);
  check("wall clocks agree", tv.tv_sec + tv.tv_usec / 1e6 - now(CLOCK_REALTIME), -0.5, 0.01);
  check("the year", now(CLOCK_REALTIME) / 31556952 + 1970, 2024, 2100);
  a = now(CLOCK_MONOTONIC); b = now(CLOCK_PROCESS_CPUTIME_ID);
  while (now(CLOCK_MONOTONIC) - a < 0.3) ;
  check("CPU time of 300 ms of spinning", now(CLOCK_PROCESS_CPUTIME_ID) - b, 0.02, 0.4);
  b = now(CLOCK_PROCESS_CPUTIME_ID);
  usleep(200000);
  check("CPU time of sleeping", now(CLOCK_PROCESS_CPUTIME_ID) - b, 0, 0.1);
  signal(SIGALRM, on_alarm);
  struct itimerval timer = {{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, 0);
  a = now(CLOCK_MONOTONIC);
  while (ticks < 10) pause();
  check("10 ticks of 20 ms", now(CLOCK_MONOTONIC) - a, 0.19, 1.5);
  timer = (struct itimerval){{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &timer, 0);
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec spec = {{0, 10000000}, {0, 10000000}};
  timerfd_settime(fd, 0, &spec, 0);
  usleep(105000);
  uint64_t n = 0;
  if (read(fd, &n, 8) != 8) n = 0;
  check("timerfd", n, 10, 60);
  return 0;
}
