/* Processes together: scripts, pipes, shared memory, sockets, semaphores in shared memory, /proc/self/maps, many at once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sched.h>

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  FILE *f = fopen("/tmp/script", "w");
  fputs("#!/bin/sh\nn=0\nfor i in 1 2 3 4 5; do n=$((n+i*$1)); done\necho script $n $(echo nested $(echo deeper))\nexit 7\n", f);
  fclose(f);
  chmod("/tmp/script", 0755);
  int status;
  for (int i = 1; i <= 3; i++) {
    char number[8];
    snprintf(number, sizeof number, "%d", i);
    if (fork() == 0) { execl("/tmp/script", "script", number, (char *)0); _exit(1); }
    wait(&status);
    printf("status %x\n", status);
  }
  /* A ring of pipes: a number goes round through 10 processes. */
  int pipes[11][2];
  for (int i = 0; i < 11; i++) if (pipe(pipes[i])) return 1;
  for (int i = 0; i < 10; i++)
    if (fork() == 0) {
      long v;
      for (int k = 0; k < 100; k++) {
        if (read(pipes[i][0], &v, 8) != 8) _exit(1);
        v = v * 3 + i;
        if (write(pipes[i + 1][1], &v, 8) != 8) _exit(1);
      }
      _exit(0);
    }
  unsigned long v = 1;
  for (int k = 0; k < 100; k++) if (write(pipes[0][1], &v, 8) != 8 || read(pipes[10][0], &v, 8) != 8) return 1;
  while (wait(&status) > 0) if (status) printf("ring: status %x\n", status);
  printf("ring %lx\n", v);
  /* Much data through a pipe and a socket pair. */
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
  if (fork() == 0) {
    close(pair[0]);
    static unsigned buffer[16384];
    unsigned n = 0;
    for (int k = 0; k < 64; k++) {
      for (int i = 0; i < 16384; i++) buffer[i] = n++ * 2654435761u;
      for (size_t at = 0; at < sizeof buffer;) { ssize_t w = write(pair[1], (char *)buffer + at, sizeof buffer - at); if (w <= 0) _exit(1); at += w; }
    }
    _exit(0);
  }
  close(pair[1]);
  static unsigned char in[100000];
  unsigned n = 0, word = 0, have = 0, bad = 0;
  for (ssize_t r; (r = read(pair[0], in, sizeof in)) > 0;)
    for (ssize_t i = 0; i < r; i++) {
      word |= (unsigned)in[i] << 8 * have;
      if (++have == 4) { bad += word != n++ * 2654435761u; word = have = 0; }
    }
  wait(&status);
  printf("stream %u words, %u bad, status %x\n", n, bad, status);
  /* Shared memory and process-shared semaphores. */
  struct shared { sem_t sem; volatile long count; long atomic; } *s =
      mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sem_init(&s->sem, 1, 1);
  for (int i = 0; i < 6; i++)
    if (fork() == 0) {
      for (int k = 0; k < 1000; k++) {
        sem_wait(&s->sem);
        long c = s->count;
        if (k % 100 == 0) sched_yield();
        s->count = c + 1;
        sem_post(&s->sem);
        __atomic_fetch_add(&s->atomic, 3, __ATOMIC_RELAXED);
      }
      _exit(0);
    }
  while (wait(&status) > 0) if (status) printf("shared: status %x\n", status);
  printf("shared %ld %ld\n", s->count, s->atomic);
  /* A tree of processes. */
  int depth = 0, children = 0;
  pid_t self = getpid();
  while (depth < 6) {
    pid_t a = fork();
    if (a == 0) { depth++; children = 0; continue; }
    children++;
    if (children == 2) break;
  }
  int sum = 1;
  while (wait(&status) > 0) sum += WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
  if (getpid() != self) _exit(sum);
  printf("tree %d\n", sum);
  f = fopen("/proc/self/maps", "r");
  char line[500];
  int lines = 0, stack = 0, heap = 0, vdso = 0, ours = 0;
  if (!malloc(100)) return 1;
  while (fgets(line, sizeof line, f)) {
    unsigned long from, to;
    lines++;
    if (sscanf(line, "%lx-%lx", &from, &to) != 2 || from >= to) printf("strange: %s", line);
    stack += strstr(line, "[stack]") != 0;
    heap += strstr(line, "[heap]") != 0;
    vdso += strstr(line, "[vdso]") != 0;
    if ((unsigned long)main >= from && (unsigned long)main < to) ours = strstr(line, "r-xp") != 0;
  }
  printf("maps: stack %d heap %d vdso %d code %d\n", stack, heap, vdso, ours);
  return lines < 5;
}
