/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends fireflies to a port of the loopback at a steady rate, as many applications would, each of
 * another flow.
 *
 * The messages of a batch are composed beforehand and one sendmmsg(2) sends them. It prints a JSON
 * object with how many it sent and how long that took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"

#define BATCH 100u
#define SIZE 1024
#define PORTS 60000u

struct load {
    uint64_t port, count, rate; /* rate: a second */
    uint64_t round;             /* makes the messages others than those of the last time */
    const char *state;
};

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void wait_until(double time_s)
{
    double left_s = time_s - now_s();
    struct timespec pause;

    if (left_s <= 0)
        return;
    pause = (struct timespec){.tv_sec = (time_t)left_s,
                              .tv_nsec = (long)((left_s - (double)(time_t)left_s) * 1e9)};
    nanosleep(&pause, NULL);
}

/* As XRootD writes them. Flow n has source port n % PORTS + 1 and destination port n / PORTS + 1.
 */
static int compose(char text[static SIZE], const struct load *load, uint64_t n)
{
    const char *end =
        strcmp(load->state, "end") == 0 ? ",\"end-time\":\"2026-01-01T02:00:00.000000+00:00\"" : "";
    unsigned minute = (unsigned)(load->round % 60);

    return snprintf(
        text, SIZE,
        "<134>1 2026-01-01T00:00:01.000000+00:00 server.example.org xrootd - firefly-json - "
        "{\"version\":1,\"flow-lifecycle\":{\"state\":\"%s\","
        "\"current-time\":\"2026-01-01T01:%02u:00.000000+00:00\","
        "\"start-time\":\"2026-01-01T00:%02u:00.000000+00:00\"%s},"
        "\"usage\":{\"received\":12345678,\"sent\":87654321},"
        "\"context\":{\"experiment-id\":%u,\"activity-id\":%u,\"application\":\"xrootd\"},"
        "\"flow-id\":{\"afi\":\"ipv6\",\"src-ip\":\"2001:db8::1\",\"dst-ip\":\"2001:db8::2\","
        "\"protocol\":\"udp\",\"src-port\":%u,\"dst-port\":%u}}",
        load->state, minute, minute, end, (unsigned)(n % 511 + 1), (unsigned)(n % 63 + 1),
        (unsigned)(n % PORTS) + 1, (unsigned)(n / PORTS) + 1);
}

/* Sends those from first on, as many as a batch has. Returns how many, or -errno. */
static int send_batch(int fd, const struct load *load, uint64_t first)
{
    static char texts[BATCH][SIZE];
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    unsigned count = 0;
    int sent;

    memset(messages, 0, sizeof(messages));
    for (; count < BATCH && first + count < load->count; count++) {
        int length = compose(texts[count], load, first + count);

        vectors[count] = (struct iovec){.iov_base = texts[count], .iov_len = (size_t)length};
        messages[count].msg_hdr.msg_iov = &vectors[count];
        messages[count].msg_hdr.msg_iovlen = 1;
    }
    sent = sendmmsg(fd, messages, count, 0);
    return sent < 0 ? -errno : sent;
}

static int run(const struct load *load)
{
    const struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                         .sin6_port = htons((uint16_t)load->port),
                                         .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    double begin = now_s();
    uint64_t sent = 0;
    int result = 0;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    while (sent < load->count && result >= 0) {
        wait_until(begin + (double)sent / (double)load->rate);
        result = send_batch(fd, load, sent);
        sent += result > 0 ? (uint64_t)result : 0;
    }
    printf("{\"sent\": %llu, \"seconds\": %.6f}\n", (unsigned long long)sent, now_s() - begin);
    close(fd);
    return result < 0 ? result : 0;
}

int main(int argc, char **argv)
{
    struct load load;
    int result;

    if (argc != 6 || flowd_integer_parse(argv[1], strlen(argv[1]), 1, 65535, &load.port) < 0 ||
        flowd_integer_parse(argv[2], strlen(argv[2]), 1, 4000000, &load.count) < 0 ||
        flowd_integer_parse(argv[3], strlen(argv[3]), 1, 10000000, &load.rate) < 0 ||
        flowd_integer_parse(argv[5], strlen(argv[5]), 0, 59, &load.round) < 0) {
        fputs("usage: firefly_load PORT FIREFLIES RATE start|ongoing|end ROUND\n", stderr);
        return 2;
    }
    load.state = argv[4];
    result = run(&load);
    if (result < 0)
        fprintf(stderr, "firefly_load: %s\n", strerror(-result));
    return result < 0 ? 1 : 0;
}
