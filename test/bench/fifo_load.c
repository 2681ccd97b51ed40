/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes flow events to a fifo as fast as it takes them and waits until the last one is in force.
 *
 * The lines are made beforehand; the clock runs from the first write until the marker's map has
 * (start) or no longer has (end) the entry of the last flow, read through its pins (-m). Lines of
 * one writer are taken in order, so all others are in force by then. Without it the clock stops
 * with the last write. With -r it is the other side instead: it reads and discards, as a measure of
 * the pipe itself.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"
#include "ebpf/marker.h"

#define LINE_MAX_SIZE 160
#define PORTS 60000u
#define WAIT_SECONDS 120

struct load {
    const char *fifo;
    const char *map; /* the directory of the pins; NULL: do not wait */
    const char *source;
    const char *destination;
    bool end;
    bool tcp; /* UDP otherwise, of which no socket is asked for */
    uint64_t count;
    char *text;
    size_t length;
};

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Flow n has source port n % PORTS + 1 and destination port n / PORTS + 1. */
static int compose(struct load *load)
{
    size_t capacity = load->count * LINE_MAX_SIZE;

    load->text = malloc(capacity);
    if (load->text == NULL)
        return -ENOMEM;
    for (uint64_t n = 0; n < load->count; n++) {
        int written = snprintf(load->text + load->length, capacity - load->length,
                               "%s %s %s %u %s %u %u %u\n", load->end ? "end" : "start",
                               load->tcp ? "tcp" : "udp", load->source, (unsigned)(n % PORTS) + 1,
                               load->destination, (unsigned)(n / PORTS) + 1, (unsigned)(n % 512),
                               (unsigned)(n % 64));

        if (written < 0 || written >= LINE_MAX_SIZE)
            return -EINVAL;
        load->length += (size_t)written;
    }
    return 0;
}

/* How many of the next bytes are whole lines that fit one atomic write. */
static size_t block_size(const char *text, size_t left)
{
    size_t size = left < PIPE_BUF ? left : PIPE_BUF;

    while (size > 0 && text[size - 1] != '\n')
        size--;
    return size;
}

static int write_all(const struct load *load, int fd)
{
    for (size_t done = 0; done < load->length;) {
        ssize_t written =
            write(fd, load->text + done, block_size(load->text + done, load->length - done));

        if (written < 0 && errno != EINTR)
            return -errno;
        if (written > 0)
            done += (size_t)written;
    }
    return 0;
}

/* The flow map's pins, mapped to be read. */
struct pins {
    const struct flowd_marker_shared *shared;
    const struct flowd_marker_bucket *lines;
};

static const void *map_pin(const char *directory, const char *name)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);
    char path[PATH_MAX];
    void *at = MAP_FAILED;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = bpf_obj_get(path);
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
        at = mmap(NULL, (size_t)info.value_size * info.max_entries, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return at == MAP_FAILED ? NULL : at;
}

/* Whether the flow map has an entry for the key. */
static bool is_there(const struct pins *pins, const struct flowd_marker_key *key)
{
    uint64_t sums[FLOWD_MARKER_SUMS];
    uint64_t tag;
    uint32_t hash;
    uint32_t line;

    for (unsigned i = 0; i < FLOWD_MARKER_SUMS; i++)
        sums[i] = flowd_marker_sum(pins->shared->seeds[i], key->dst[0], key->dst[1], key->ports,
                                   key->protocol) +
                  (pins->shared->format & FLOWD_MARKER_FORMAT_SOURCE
                       ? flowd_marker_sum_source(pins->shared->seeds[i], key->src[0], key->src[1])
                       : 0);
    hash = flowd_marker_hash(sums[FLOWD_MARKER_SUM_HASH]);
    tag = flowd_marker_word_tag(hash, sums[FLOWD_MARKER_SUM_WORD]);
    line = flowd_marker_bucket_of(*(const volatile __u64 *)&pins->shared->geometry, hash);
    do {
        const volatile struct flowd_marker_bucket *bucket = &pins->lines[line];

        for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++)
            if ((bucket->words[i] ^ tag) >> FLOWD_MARKER_VALUE_BITS == 0 &&
                bucket->checks[i] == flowd_marker_sum_upper(sums[FLOWD_MARKER_SUM_CHECK]))
                return true;
        line = bucket->next;
    } while (line != 0);
    return false;
}

static int wait_last(const struct load *load, const struct pins *pins)
{
    struct flowd_marker_key key = {.protocol = load->tcp ? IPPROTO_TCP : IPPROTO_UDP};
    double deadline = now_s() + WAIT_SECONDS;
    uint64_t last = load->count - 1;

    if (inet_pton(AF_INET6, load->destination, key.dst) != 1 ||
        inet_pton(AF_INET6, load->source, key.src) != 1)
        return -EINVAL;
    key.sport_be = htons((uint16_t)(last % PORTS + 1));
    key.dport_be = htons((uint16_t)(last / PORTS + 1));
    while (is_there(pins, &key) == load->end) {
        struct timespec pause = {.tv_nsec = 200000};

        if (now_s() > deadline)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int run(struct load *load)
{
    struct pins pins = {0};
    double begin, written;
    int fd;
    int result = compose(load);

    if (result < 0)
        return result;
    fd = open(load->fifo, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (load->map != NULL) {
        pins.shared = map_pin(load->map, "shared");
        pins.lines = map_pin(load->map, "flows");
        if (pins.shared == NULL || pins.lines == NULL)
            return -ENOENT;
    }
    begin = now_s();
    result = write_all(load, fd);
    written = now_s();
    if (result == 0 && load->map != NULL)
        result = wait_last(load, &pins);
    if (result == 0)
        printf("{\"events\": %llu, \"seconds\": %.6f, \"write_seconds\": %.6f}\n",
               (unsigned long long)load->count, now_s() - begin, written - begin);
    close(fd);
    free(load->text);
    return result;
}

static int read_all(const char *fifo)
{
    static char buffer[65536];
    int fd = open(fifo, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : 1;

    while (size > 0)
        size = read(fd, buffer, sizeof(buffer));
    return size < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
    struct load load = {.source = "fd00::1", .destination = "2001:db8::1"};
    bool reader = false;
    int option;
    int result = -EINVAL;

    while ((option = getopt(argc, argv, "f:m:s:d:n:ert")) != -1) {
        switch (option) {
        case 'f':
            load.fifo = optarg;
            break;
        case 'm':
            load.map = optarg;
            break;
        case 's':
            load.source = optarg;
            break;
        case 'd':
            load.destination = optarg;
            break;
        case 'n':
            if (flowd_integer_parse(optarg, strlen(optarg), 1, 4000000, &load.count) < 0)
                load.count = 0;
            break;
        case 'e':
            load.end = true;
            break;
        case 't':
            load.tcp = true;
            break;
        case 'r':
            reader = true;
            break;
        default:
            return 2;
        }
    }
    if (load.fifo == NULL || (!reader && load.count == 0)) {
        fputs("usage: fifo_load -f FIFO -n EVENTS [-e] [-t] [-m PINNED-MAP] [-s SRC] [-d DST]\n"
              "       fifo_load -f FIFO -r\n",
              stderr);
        return 2;
    }
    result = reader ? read_all(load.fifo) : run(&load);
    if (result < 0)
        fprintf(stderr, "fifo_load: %s\n", strerror(-result));
    return result < 0 ? 1 : 0;
}
