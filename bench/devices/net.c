/*
 * Both ends of the network lines, for guests and the host:
 *   net serve PORT              takes connections for ever: first byte 's', swallows what comes and says how much; 'e', echoes
 *   net stream ADDR PORT N      sends for N seconds; prints "stream SECONDS BYTES", bytes as the other end counted them
 *   net request ADDR PORT N     one byte there and back for N seconds; prints "request SECONDS ROUND-TRIPS"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[128 << 10];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) fail(host);
  return a;
}

static void one_connection(int fd) {
  char kind;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (read(fd, &kind, 1) != 1) return;
  if (kind == 'e') {
    while (read(fd, &kind, 1) == 1 && write(fd, &kind, 1) == 1) continue;
    return;
  }
  uint64_t total = 0;
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) total += (uint64_t)n;
  if (write(fd, &total, sizeof total) != sizeof total) fail("write");
}

static void serve(const char *port) {
  struct sockaddr_in a = address("0.0.0.0", port);
  int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  signal(SIGCHLD, SIG_IGN);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 8)) fail("listen");
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    if (fork() == 0) {
      one_connection(fd);
      _exit(0);
    }
    close(fd);
  }
}

static int connected(const char *host, const char *port, char kind) {
  struct sockaddr_in a = address(host, port);
  int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&a, sizeof a)) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (write(fd, &kind, 1) != 1) fail("write");
  return fd;
}

static void stream(int fd, double seconds) {
  uint64_t total = 0;
  double start = now();
  while (now() - start < seconds)
    if (write(fd, buffer, sizeof buffer) < 0) fail("write");
  shutdown(fd, SHUT_WR);
  if (read(fd, &total, sizeof total) != sizeof total) fail("read");
  printf("stream %.6f %llu\n", now() - start, (unsigned long long)total);
}

static void request(int fd, double seconds) {
  char byte = 0;
  unsigned long n = 0;
  double start = now();
  for (; now() - start < seconds; n++)
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) fail("request");
  printf("request %.6f %lu\n", now() - start, n);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "serve") == 0) serve(argv[2]);
  else if (argc == 5 && strcmp(argv[1], "stream") == 0) stream(connected(argv[2], argv[3], 's'), atof(argv[4]));
  else if (argc == 5 && strcmp(argv[1], "request") == 0) request(connected(argv[2], argv[3], 'e'), atof(argv[4]));
  else fail("usage: net serve PORT | net stream|request ADDRESS PORT SECONDS");
  return 0;
}
