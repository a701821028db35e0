/*
 * Runs one program: `bench NAME N` prints "NAME SECONDS CHECKSUM". As process 1 (/init of the measured guests) it is the
 * agent at the other end of the console instead: it prints a prompt, reads such a command, runs it, and so on.
 */
#include "bench.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern const struct bench *const __start_benches[];
extern const struct bench *const __stop_benches[];

static double seconds;
static struct timespec started;

void bench_start(void) {
  clock_gettime(CLOCK_MONOTONIC, &started);
}

void bench_stop(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  seconds += now.tv_sec - started.tv_sec + (now.tv_nsec - started.tv_nsec) / 1e9;
}

void bench_fail(const char *what) {
  printf("failed: %s: %s\n", what, strerror(errno));
  exit(1);
}

void bench_text(char *to, size_t length) {
  static const char *const words[] = {"the ", "quick ", "stone ", "carried ", "whole ", "inside ", "another ", "rock ",
                                      "of ",  "foreign ", "origin, ", "and ", "so ", "it ", "goes ", "on.\n"};
  uint64_t state = 42;
  size_t at = 0;
  while (at < length) {
    uint64_t r = random_next(&state);
    char number[24];
    const char *word = words[r & 15];
    if ((r >> 4) % 11 == 0) {
      snprintf(number, sizeof number, "%u ", (unsigned)(r >> 40));
      word = number;
    }
    for (; *word && at < length; word++) to[at++] = *word;
  }
}

static int run(const char *name, const char *count) {
  for (const struct bench *const *b = __start_benches; b < __stop_benches; b++) {
    if (strcmp((*b)->name, name) != 0) continue;
    uint64_t sum = (*b)->run((unsigned)strtoul(count, NULL, 10));
    printf("%s %.6f %016llx\n", name, seconds, (unsigned long long)sum);
    return 0;
  }
  printf("failed: there is no %s\n", name);
  return 1;
}

/* One line from the console, without its end; false at the end of input. */
static int read_line(char *line, size_t size) {
  size_t at = 0;
  char c;
  while (read(0, &c, 1) == 1) {
    if (c == '\n' || c == '\r') {
      line[at] = 0;
      return 1;
    }
    if (at < size - 1) line[at++] = c;
  }
  return 0;
}

static void agent(void) {
  struct termios t;
  char line[200];
  mkdir("/proc", 0755);
  mkdir("/tmp", 01777);
  mount("proc", "/proc", "proc", 0, "");
  if (tcgetattr(0, &t) == 0) {
    t.c_lflag &= ~(ECHO | ICANON);
    tcsetattr(0, TCSANOW, &t);
  }
  for (;;) {
    int status;
    printf("bench> ");
    fflush(stdout);
    if (!read_line(line, sizeof line)) break;
    char *count = strchr(line, ' ');
    if (!count) continue;
    *count++ = 0;
    pid_t child = fork();
    if (child == 0) {
      execl(BENCH_SELF, "bench", line, count, NULL);
      _exit(127);
    }
    if (waitpid(child, &status, 0) == child && status != 0) printf("failed: status %#x\n", status);
  }
  reboot(RB_POWER_OFF);
}

int main(int argc, char **argv) {
  if (getpid() == 1) agent();
  if (argc == 2 && strcmp(argv[1], BENCH_NOTHING) == 0) return 0;
  if (argc != 3) {
    fprintf(stderr, "usage: bench NAME N\n");
    return 2;
  }
  return run(argv[1], argv[2]);
}
