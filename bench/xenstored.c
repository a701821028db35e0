/* A synchronous client of xenstored, as Xen's own tools are: reads one node so many times, each after the answer to the last. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct header {
    uint32_t type, req_id, tx_id, len;
};
#define XS_READ 2

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* socket, path, reads: prints the seconds they took. */
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address) != 0) return 1;
    char request[4096], answer[8192];
    struct header *h = (struct header *)request;
    size_t path = strlen(argv[2]) + 1, size = sizeof *h + path;
    *h = (struct header){.type = XS_READ, .len = path};
    memcpy(h + 1, argv[2], path);
    long reads = atol(argv[3]);
    double start = now();
    for (long i = 0; i < reads; i++) {
        if (write(s, request, size) != (ssize_t)size) return 1;
        size_t have = 0;
        while (have < sizeof *h || have < sizeof *h + ((struct header *)answer)->len) {
            ssize_t n = read(s, answer + have, sizeof answer - have);
            if (n <= 0) return 1;
            have += n;
        }
        if (((struct header *)answer)->type != XS_READ) return 1;
    }
    printf("%.6f\n", now() - start);
    return 0;
}
