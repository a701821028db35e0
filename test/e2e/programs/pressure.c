/* Memory pressure: takes most of what is free, touches and checks it, gives it back; twice, the second time by a child. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static long available(void) {
  FILE *f = fopen("/proc/meminfo", "r");
  char line[200];
  long kib = 0;
  while (f && fgets(line, sizeof line, f)) if (sscanf(line, "MemAvailable: %ld", &kib) == 1) break;
  if (f) fclose(f);
  return kib;
}

static int fill(void) {
  long pages = available() / 4 * 8 / 10;
  if (pages > 60000) pages = 60000;
  long *m = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return 99;
  int bad = 0;
  for (long i = 0; i < pages; i++) { bad += m[i * 512] != 0 || m[i * 512 + 511] != 0; m[i * 512] = i; m[i * 512 + 511] = ~i; }
  for (long i = 0; i < pages; i++) bad += m[i * 512] != i || m[i * 512 + 511] != ~i;
  munmap(m, pages * 4096);
  return bad > 90 ? 90 : bad;
}

int main(void) {
  long before = available();
  printf("filled: %d bad\n", fill());
  fflush(stdout);
  for (int i = 0; i < 2; i++) {
    if (fork() == 0) _exit(fill());
    int status;
    wait(&status);
    printf("child: status %x\n", status);
  }
  long after = available();
  fprintf(stderr, "available: %ld KiB before, %ld after\n", before, after);
  /* The limit of the machine: a child that takes too much is killed, the rest lives. */
  printf("given back: %d\n", after > before - 8192 || before > 1000000);
  return 0;
}
