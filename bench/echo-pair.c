/*
 * What two processes cost each other, with nothing between: one writes and waits for the answer, the other waits in epoll, reads and
 * answers. The floor of any server that a client waits for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int transfer(int s, char *buffer, ssize_t size, int out) {
    for (ssize_t done = 0; done < size;) {
        ssize_t n = out ? write(s, buffer + done, size - done) : read(s, buffer + done, size - done);
        if (n <= 0) return 0;
        done += n;
    }
    return 1;
}

static int serve(int s, ssize_t asked, ssize_t answered) {
    char buffer[4096] = {0};
    int e = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    if (e < 0 || epoll_ctl(e, EPOLL_CTL_ADD, s, &event) != 0) return 1;
    for (;;) {
        if (epoll_wait(e, &event, 1, -1) < 0) return 1;
        if (!transfer(s, buffer, asked, 0)) return 0;
        if (!transfer(s, buffer, answered, 1)) return 1;
    }
}

/* bytes asked, bytes answered, round trips: prints the seconds they took. */
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    ssize_t asked = atol(argv[1]), answered = atol(argv[2]);
    long trips = atol(argv[3]);
    char buffer[4096] = {0};
    int ends[2];
    if (asked <= 0 || answered <= 0 || asked > 4096 || answered > 4096) return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
    pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) {
        close(ends[0]);
        return serve(ends[1], asked, answered);
    }
    close(ends[1]);
    double start = now();
    for (long i = 0; i < trips; i++)
        if (!transfer(ends[0], buffer, asked, 1) || !transfer(ends[0], buffer, answered, 0)) return 1;
    printf("%.6f\n", now() - start);
    close(ends[0]);
    return waitpid(child, NULL, 0) == child ? 0 : 1;
}
