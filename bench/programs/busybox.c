/* Programs that come from elsewhere: busybox compresses a text, and its shell counts. */
#include "bench.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs busybox with standard input and output on files; what it wrote enters the checksum. */
static uint64_t busybox(const char *const *arguments, const char *input, uint64_t sum) {
  static const char output[] = "/tmp/bench-output";
  const char *path = access("/bin/busybox", X_OK) == 0 ? "/bin/busybox" : "/usr/bin/busybox";
  int status;
  bench_start();
  pid_t child = fork();
  if (child == 0) {
    int in = open(input, O_RDONLY), out = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0) _exit(126);
    dup2(in, 0);
    dup2(out, 1);
    execv(path, (char *const *)arguments);
    _exit(127);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) bench_fail("busybox");
  bench_stop();
  unsigned char buffer[4096];
  ssize_t got;
  int result = open(output, O_RDONLY);
  while ((got = read(result, buffer, sizeof buffer)) > 0)
    for (ssize_t i = 0; i < got; i++) sum = (sum ^ buffer[i]) * 0x100000001b3;
  close(result);
  unlink(output);
  return sum;
}

BENCH(gzip) {
  enum { SIZE = 2 << 20 };
  static const char input[] = "/tmp/bench-input";
  const char *const arguments[] = {"busybox", "gzip", "-c", NULL};
  char *text = malloc(SIZE);
  uint64_t sum = MIX_SEED;
  int file = open(input, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  bench_text(text, SIZE);
  if (file < 0 || write(file, text, SIZE) != SIZE) bench_fail(input);
  close(file);
  while (n--) sum = busybox(arguments, input, sum);
  unlink(input);
  free(text);
  return sum;
}

BENCH(shell) {
  const char *const arguments[] = {
      "busybox", "sh", "-c", "i=0; s=0; while [ $i -lt 10000 ]; do i=$((i+1)); s=$(((s*3+i)%9973)); done; echo $s", NULL};
  uint64_t sum = MIX_SEED;
  while (n--) sum = busybox(arguments, "/dev/null", sum);
  return sum;
}
