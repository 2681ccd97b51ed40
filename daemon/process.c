/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process uses (CPU, memory, descriptors, start time), read from /proc and by system
 * calls each time that somebody asks.
 */
#include "daemon/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/integer.h"
#include "daemon/metrics/metrics.h"

/* The next number of a line of numbers. False: there is none. */
static bool take_number(const char **at, const char *end, uint64_t *out)
{
    const char *begin = *at;
    const char *stop;

    while (begin < end && *begin == ' ')
        begin++;
    for (stop = begin; stop < end && *stop >= '0' && *stop <= '9'; stop++)
        ;
    *at = stop;
    return flowd_integer_parse(begin, (size_t)(stop - begin), 0, UINT64_MAX, out) == 0;
}

/* The first two numbers of /proc/self/statm: pages of address space, and of those in memory. */
static bool read_memory(uint64_t *virtual_pages, uint64_t *resident_pages)
{
    char line[128];
    const char *at = line;
    ssize_t length = -1;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        length = read(fd, line, sizeof(line));
        close(fd);
    }
    return length > 0 && take_number(&at, line + length, virtual_pages) &&
           take_number(&at, line + length, resident_pages);
}

static bool count_descriptors(uint64_t *out)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;
    uint64_t count = 0;

    if (directory == NULL)
        return false;
    while ((entry = readdir(directory)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(directory);
    /* But for the one that was just looked through. */
    *out = count - 1;
    return true;
}

static void add_memory(struct flowd_metrics *metrics)
{
    static const struct flowd_metric address_space = {
        "process_virtual_memory_bytes", FLOWD_METRIC_GAUGE, "Size of the address space."};
    static const struct flowd_metric resident = {"process_resident_memory_bytes",
                                                 FLOWD_METRIC_GAUGE, "Memory in use."};
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t virtual_pages, resident_pages;

    if (!read_memory(&virtual_pages, &resident_pages))
        return;
    flowd_metrics_add(metrics, &address_space, virtual_pages * page, NULL);
    flowd_metrics_add(metrics, &resident, resident_pages * page, NULL);
}

static void add_descriptors(struct flowd_metrics *metrics)
{
    static const struct flowd_metric open_fds = {"process_open_fds", FLOWD_METRIC_GAUGE,
                                                 "Open file descriptors."};
    static const struct flowd_metric max_fds = {"process_max_fds", FLOWD_METRIC_GAUGE,
                                                "File descriptors that may be open."};
    struct rlimit limit;
    uint64_t count;

    if (count_descriptors(&count))
        flowd_metrics_add(metrics, &open_fds, count, NULL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        flowd_metrics_add(metrics, &max_fds, limit.rlim_cur, NULL);
}

void flowd_process_metrics(struct flowd_metrics *metrics, int64_t start_us)
{
    static const struct flowd_metric cpu = {"process_cpu_seconds_total", FLOWD_METRIC_COUNTER,
                                            "Processor time used, in user and kernel mode."};
    static const struct flowd_metric start = {"process_start_time_seconds", FLOWD_METRIC_GAUGE,
                                              "When the process started, since the epoch."};
    struct timespec used;

    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        flowd_metrics_add_number(
            metrics, &cpu,
            (struct flowd_tcp_number){.number = (uint64_t)used.tv_sec * 1000000 +
                                                (uint64_t)used.tv_nsec / 1000,
                                      .decimals = 6},
            NULL);
    flowd_metrics_add_number(metrics, &start,
                             (struct flowd_tcp_number){.number = (uint64_t)start_us, .decimals = 6},
                             NULL);
    add_memory(metrics);
    add_descriptors(metrics);
}
