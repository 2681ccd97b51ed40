/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds many idle TCP connections: connections listen|connect ADDRESS PORT COUNT [SOURCE
 * SOURCE_PORT].
 *
 * A process may have too few descriptors for all of them, so there is one for each 15,000
 * connections. Connection n leaves from SOURCE_PORT + n % 15000 to PORT + n / 15000. Prints "ready"
 * when it listens, or when all are connected, and keeps them until its standard input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/integer.h"

#define EACH 15000u
#define BACKLOG 4096

struct plan {
    struct sockaddr_in6 address; /* of the listener; its port is that of the first process */
    struct sockaddr_in6 source;
    unsigned count;
    bool connects;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "connections: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_socket(const struct sockaddr_in6 *address)
{
    const int on = 1;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        fail("bind");
    return fd;
}

static void connect_all(const struct plan *plan, struct sockaddr_in6 target, unsigned count)
{
    struct sockaddr_in6 source = plan->source;

    for (unsigned i = 0; i < count; i++) {
        source.sin6_port = htons((uint16_t)(ntohs(plan->source.sin6_port) + i));
        if (connect(open_socket(&source), (const struct sockaddr *)&target, sizeof(target)) < 0)
            fail("connect");
    }
}

/* What one process does. It writes a byte to done when it is ready, and lives until it is killed.
 */
static void work(const struct plan *plan, unsigned process, unsigned count, int done)
{
    struct sockaddr_in6 address = plan->address;
    int listener = -1;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    raise_limit();
    address.sin6_port = htons((uint16_t)(ntohs(address.sin6_port) + process));
    if (plan->connects) {
        connect_all(plan, address, count);
    } else {
        listener = open_socket(&address);
        if (listen(listener, BACKLOG) < 0)
            fail("listen");
    }
    if (write(done, "", 1) != 1)
        fail("write");
    for (unsigned i = 0; listener >= 0 && i < count; i++)
        if (accept(listener, NULL, NULL) < 0)
            fail("accept");
    for (;;)
        pause();
}

static void parse_end(struct sockaddr_in6 *out, const char *address, const char *port)
{
    uint64_t number;

    *out = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (inet_pton(AF_INET6, address, &out->sin6_addr) != 1 ||
        flowd_integer_parse(port, strlen(port), 1, UINT16_MAX, &number) < 0) {
        errno = EINVAL;
        fail(address);
    }
    out->sin6_port = htons((uint16_t)number);
}

static void run(const struct plan *plan)
{
    unsigned processes = (plan->count + EACH - 1) / EACH;
    char byte;
    int done[2];

    if (pipe(done) < 0)
        fail("pipe");
    for (unsigned i = 0; i < processes; i++) {
        unsigned left = plan->count - i * EACH;
        pid_t child = fork();

        if (child < 0)
            fail("fork");
        if (child == 0) {
            close(done[0]);
            work(plan, i, left < EACH ? left : EACH, done[1]);
        }
    }
    close(done[1]);
    for (unsigned i = 0; i < processes; i++)
        if (read(done[0], &byte, 1) != 1)
            fail("a process ended");
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

int main(int argc, char **argv)
{
    struct plan plan = {.connects = argc == 7};
    uint64_t count;

    if (argc != 5 && argc != 7) {
        fputs("usage: connections listen|connect ADDRESS PORT COUNT [SOURCE SOURCE_PORT]\n",
              stderr);
        return 2;
    }
    parse_end(&plan.address, argv[2], argv[3]);
    if (plan.connects)
        parse_end(&plan.source, argv[5], argv[6]);
    if (flowd_integer_parse(argv[4], strlen(argv[4]), 1, 1000000, &count) < 0) {
        errno = EINVAL;
        fail(argv[4]);
    }
    plan.count = (unsigned)count;
    run(&plan);
    return 0;
}
