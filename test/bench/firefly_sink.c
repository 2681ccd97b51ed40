/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receives datagrams as fast as the kernel hands them over, counts them and says how long they took
 * from the first to the last.
 *
 * It prints "ready" once it is bound, and one JSON object when it has the number it waits for or
 * when nothing more has come for a while. What the kernel had no room for is counted too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"

#define BATCH 256
#define DATAGRAM_SIZE 2048
#define RECEIVE_BUFFER (256 << 20)
#define IDLE_MS 3000

struct totals {
    uint64_t received;
    uint64_t bytes;
    double first;
    double last;
};

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_sink(uint16_t port)
{
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int room = RECEIVE_BUFFER;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return fd;
}

/* Takes what has arrived. Returns whether there was anything. */
static bool take(int fd, struct totals *totals)
{
    static char buffers[BATCH][DATAGRAM_SIZE];
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    int count;

    memset(messages, 0, sizeof(messages));
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){.iov_base = buffers[i], .iov_len = DATAGRAM_SIZE};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    count = recvmmsg(fd, messages, BATCH, 0, NULL);
    if (count <= 0)
        return false;
    totals->last = now_s();
    if (totals->received == 0)
        totals->first = totals->last;
    totals->received += (uint64_t)count;
    for (int i = 0; i < count; i++)
        totals->bytes += messages[i].msg_len;
    return true;
}

static unsigned kernel_drops(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(memory);

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0)
        return 0;
    return memory[SK_MEMINFO_DROPS];
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    struct pollfd ready = {.events = POLLIN};
    uint64_t port, wanted;
    int fd;

    if (argc != 3 || flowd_integer_parse(argv[1], strlen(argv[1]), 1, 65535, &port) < 0 ||
        flowd_integer_parse(argv[2], strlen(argv[2]), 1, 100000000, &wanted) < 0) {
        fputs("usage: firefly_sink PORT DATAGRAMS\n", stderr);
        return 2;
    }
    fd = open_sink((uint16_t)port);
    if (fd < 0) {
        fprintf(stderr, "firefly_sink: %s\n", strerror(-fd));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    ready.fd = fd;
    while (totals.received < wanted) {
        if (poll(&ready, 1, totals.received > 0 ? IDLE_MS : 60000) <= 0)
            break;
        while (take(fd, &totals))
            ;
    }
    printf("{\"received\": %llu, \"seconds\": %.6f, \"bytes\": %llu, \"dropped\": %u}\n",
           (unsigned long long)totals.received, totals.last - totals.first,
           (unsigned long long)totals.bytes, kernel_drops(fd));
    close(fd);
    return 0;
}
