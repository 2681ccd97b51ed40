/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends UDP packets of many flows out of an interface, and says what its egress programs took.
 *
 * The packets are real ones, each built by the kernel for a destination of its own, so that a
 * program finds the caches as a host's traffic leaves them. It knows a program by its id only, and
 * the marker by the lines of its fifo: the same sends can be given to any build of flowd and to
 * other programs. real_sends.py says how they are put together. There are four ways to use it:
 *
 * "lines" prints the fifo lines that start flows, "send" sends and prints one JSON object, "empty"
 * attaches a program of an object file ahead of TCX and keeps it there until its input ends, and
 * "programs" prints the ids of the programs at TCX.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"
#include "strided.h"

#define TCX_EGRESS 47 /* Linux 6.6: BPF_TCX_EGRESS, which older headers lack */
#define PROGRAMS_MAX 16
#define BATCH 32
#define PAYLOAD 64
#define WARMING_MAX 4096u
#define SOURCE_PORT 1094
#define PORTS 64u /* of one destination address */
#define FLOWS_LIMIT (65536u * PORTS)

struct sends {
    const char *interface;
    uint32_t program; /* 0: those at TCX */
    uint32_t first;   /* the number of the first flow */
    uint32_t flows;
    uint32_t count;
    uint32_t start; /* of the flows in strided order, which one is the first to be sent */
};

struct sender {
    int socket;
    uint32_t flows;
    uint32_t stride;
    uint32_t next;
    struct sockaddr_in6 *to;
};

/* What the kernel has counted of programs, while somebody wants it to. */
struct runs {
    uint64_t count;
    uint64_t ns;
};

/*
 * Where flow number n goes to: some ports of each address, addresses in several networks, and ports
 * that don't follow one another.
 */
static struct sockaddr_in6 destination(uint32_t n)
{
    uint32_t host = n / PORTS;
    struct sockaddr_in6 to = {
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)(1024 + n % PORTS * 977 % 60000)),
        .sin6_addr.s6_addr = {0x20, 0x01, 0x0d, 0xb8},
    };

    to.sin6_addr.s6_addr[5] = (uint8_t)(host % 61);
    to.sin6_addr.s6_addr[14] = (uint8_t)(host >> 8);
    to.sin6_addr.s6_addr[15] = (uint8_t)host;
    return to;
}

static int print_lines(uint32_t first, uint32_t end, const char *source)
{
    for (uint32_t n = first; n < end; n++) {
        struct sockaddr_in6 to = destination(n);
        char address[INET6_ADDRSTRLEN];

        inet_ntop(AF_INET6, &to.sin6_addr, address, sizeof(address));
        if (printf("start udp %s %d %s %u %u %u\n", source, SOURCE_PORT, address,
                   ntohs(to.sin6_port), n % 500 + 1, n % 63 + 1) < 0)
            return -EIO;
    }
    return fflush(stdout) == 0 ? 0 : -errno;
}

/* The ids of the programs at the interface's egress. Returns how many, or -errno. */
static int programs_at_tcx(const char *interface, uint32_t ids[static PROGRAMS_MAX])
{
    uint32_t count = PROGRAMS_MAX;
    uint32_t flags = 0;
    unsigned index = if_nametoindex(interface);

    if (index == 0)
        return -errno;
    if (bpf_prog_query((int)index, (enum bpf_attach_type)TCX_EGRESS, 0, &flags, ids, &count) != 0)
        return -errno;
    return (int)count;
}

static int print_programs(const char *interface)
{
    uint32_t ids[PROGRAMS_MAX];
    int count = programs_at_tcx(interface, ids);

    if (count == -EINVAL)
        count = 0; /* a kernel without TCX */
    printf("[");
    for (int i = 0; i < count; i++)
        printf("%s%u", i > 0 ? ", " : "", ids[i]);
    printf("]\n");
    return count < 0 ? count : 0;
}

static int runs_of(uint32_t id, struct runs *runs)
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    int fd = bpf_prog_get_fd_by_id(id);
    int result = fd < 0 ? fd : bpf_obj_get_info_by_fd(fd, &info, &length);

    if (fd >= 0)
        close(fd);
    runs->count = info.run_cnt;
    runs->ns = info.run_time_ns;
    return result;
}

/* The one program's, or those of the only one at TCX. */
static int look_at_runs(const struct sends *sends, struct runs *runs)
{
    uint32_t ids[PROGRAMS_MAX] = {sends->program};
    int count = sends->program > 0 ? 1 : programs_at_tcx(sends->interface, ids);

    if (count < 0)
        return count;
    return count == 1 ? runs_of(ids[0], runs) : -ESRCH;
}

static int open_sender(const struct sends *sends, struct sender *sender)
{
    const int size = 1 << 20;
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(SOURCE_PORT)};

    *sender = (struct sender){
        .socket = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        .flows = sends->flows,
        .stride = strided_step(sends->flows),
        .next = sends->start % sends->flows,
        .to = calloc(sends->flows, sizeof(*sender->to)),
    };
    if (sender->socket < 0 || sender->to == NULL)
        return sender->socket < 0 ? -errno : -ENOMEM;
    for (uint32_t i = 0; i < sends->flows; i++)
        sender->to[i] = destination(sends->first + i);
    sender->next = (uint32_t)((uint64_t)sender->next * sender->stride % sender->flows);
    if (setsockopt(sender->socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) != 0 ||
        bind(sender->socket, (const struct sockaddr *)&here, sizeof(here)) != 0)
        return -errno;
    return 0;
}

/* Sends count packets, each the next flow's. */
static int send_packets(struct sender *sender, uint32_t count)
{
    static char payload[PAYLOAD];
    struct iovec part = {payload, sizeof(payload)};
    struct mmsghdr messages[BATCH];

    while (count > 0) {
        uint32_t batch = count < BATCH ? count : BATCH;
        int sent = 0;

        for (uint32_t i = 0; i < batch; i++) {
            messages[i] = (struct mmsghdr){.msg_hdr = {
                                               .msg_name = &sender->to[sender->next],
                                               .msg_namelen = sizeof(sender->to[0]),
                                               .msg_iov = &part,
                                               .msg_iovlen = 1,
                                           }};
            sender->next = (uint32_t)(((uint64_t)sender->next + sender->stride) % sender->flows);
        }
        for (uint32_t done = 0; done < batch; done += (uint32_t)sent) {
            sent = sendmmsg(sender->socket, messages + done, batch - done, 0);
            if (sent < 0)
                return -errno;
        }
        count -= batch;
    }
    return 0;
}

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The kernel keeps a program's numbers by processor, and so does the cache. */
static int stay_on_one_processor(void)
{
    cpu_set_t all, one;

    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return -errno;
    for (size_t cpu = CPU_SETSIZE; cpu-- > 0;)
        if (CPU_ISSET(cpu, &all)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            return sched_setaffinity(0, sizeof(one), &one) == 0 ? 0 : -errno;
        }
    return -EINVAL;
}

static int measure(const struct sends *sends, struct sender *sender)
{
    struct runs before = {0}, after = {0};
    double begin = 0, taken = 0;
    int result = look_at_runs(sends, &before);

    if (result == 0) {
        begin = now_s();
        result = send_packets(sender, sends->count);
        taken = now_s() - begin;
    }
    if (result == 0)
        result = look_at_runs(sends, &after);
    if (result != 0)
        return result;
    if (after.count - before.count < sends->count) {
        fprintf(stderr, "real_sends: the program saw %llu of %u packets\n",
                (unsigned long long)(after.count - before.count), sends->count);
        return -EIO;
    }
    printf("{\"packets\": %u, \"runs\": %llu, \"program_ns\": %.3f, \"send_ns\": %.1f}\n",
           sends->count, (unsigned long long)(after.count - before.count),
           (double)(after.ns - before.ns) / (double)(after.count - before.count),
           taken * 1e9 / sends->count);
    return 0;
}

/* Sends, with as many packets before as warm what stays warm: the kernel's own paths. */
static int run_sends(const struct sends *sends)
{
    struct sender sender;
    int stats;
    int result = stay_on_one_processor();

    if (result == 0)
        result = open_sender(sends, &sender);
    if (result != 0)
        return result;
    stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
    result = stats < 0 ? stats : 0;
    if (result == 0)
        result = send_packets(&sender, sends->count < WARMING_MAX ? 0 : WARMING_MAX);
    if (result == 0)
        result = measure(sends, &sender);
    close(sender.socket);
    free(sender.to);
    return result;
}

static int keep_attached(const char *interface, const char *path)
{
    struct bpf_object *object = bpf_object__open_file(path, NULL);
    int link, result = object == NULL ? -errno : bpf_object__load(object);
    char byte;

    if (result == 0) {
        link =
            bpf_link_create(bpf_program__fd(bpf_object__next_program(object, NULL)),
                            (int)if_nametoindex(interface), (enum bpf_attach_type)TCX_EGRESS, NULL);
        result = link < 0 ? link : 0;
    }
    if (result == 0) {
        puts("attached");
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
            continue;
    }
    bpf_object__close(object);
    return result;
}

/* Each of argv is a number. */
static int read_numbers(char **argv, int count, uint32_t *const numbers[])
{
    for (int i = 0; i < count; i++) {
        uint64_t number;

        if (flowd_integer_parse(argv[i], strlen(argv[i]), 0, FLOWS_LIMIT, &number) < 0)
            return -EINVAL;
        *numbers[i] = (uint32_t)number;
    }
    return 0;
}

static int run(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    struct sends sends = {.interface = argc > 2 ? argv[2] : NULL};
    uint32_t end = 0;

    if (strcmp(what, "programs") == 0)
        return print_programs(argv[2]);
    if (strcmp(what, "empty") == 0 && argc == 4)
        return keep_attached(argv[2], argv[3]);
    if (strcmp(what, "lines") == 0 && argc == 5 &&
        read_numbers(argv + 2, 2, (uint32_t *const[]){&sends.first, &end}) == 0)
        return print_lines(sends.first, end, argv[4]);
    if (strcmp(what, "send") == 0 && argc == 8 &&
        read_numbers(argv + 3, 5,
                     (uint32_t *const[]){&sends.program, &sends.first, &sends.flows, &sends.count,
                                         &sends.start}) == 0 &&
        sends.flows > 0 && sends.count > 0)
        return run_sends(&sends);
    fputs("usage: real_sends lines FIRST END SOURCE-ADDRESS\n"
          "       real_sends send INTERFACE PROGRAM-ID FIRST FLOWS COUNT START\n"
          "       real_sends empty INTERFACE OBJECT-FILE\n"
          "       real_sends programs INTERFACE\n",
          stderr);
    return -EINVAL;
}

int main(int argc, char **argv)
{
    int result = run(argc, argv);

    if (result < 0)
        fprintf(stderr, "real_sends: %s\n", strerror(-result));
    return result < 0 ? 1 : 0;
}
