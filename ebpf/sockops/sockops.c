/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the ring buffer on the loop: a bounded number of records in each turn. What found no room
 * in it the program counts, and whoever listens is told, so that it can look for what it missed.
 *
 * A visit of the sockets that are there puts its records into the ring buffer too, which keeps the
 * order of events. There may be more sockets than it has room for, so what is in it is read before
 * the visit goes on.
 */
#include "ebpf/sockops/sockops.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/metrics/counter.h"
#include "ebpf/sockops.h"
#include "ebpf/sockops/program.h"

#define RECORDS_PER_TURN 1024
#define CHECK_S 1.0
#define US_PER_S 1000000
#define NS_PER_US 1000

struct flowd_sockops {
    const char *name;
    struct ev_loop *loop;
    struct flowd_sockops_listener listener;
    struct flowd_sockops_program program;
    struct ring_buffer *ring;
    struct ev_io readable;
    struct ev_timer check;
    struct ev_timer visit; /* of no time, as long as a visit goes on */
    int visit_fd;          /* -1: none does */
    bool visit_again;
    unsigned left;    /* records that may be read in this turn */
    int64_t clock_us; /* what CLOCK_REALTIME is ahead of CLOCK_MONOTONIC */
    uint64_t records;
    uint64_t malformed;
    uint64_t counts[FLOWD_SOCKOPS_COUNTS];
};

static int on_record(void *context, void *data, size_t length)
{
    struct flowd_sockops *sockops = context;
    struct flowd_sockops_event event;

    sockops->records++;
    if (flowd_sockops_event_decode(data, length, sockops->clock_us, &event) == 0)
        sockops->listener.told(sockops->listener.context, &event);
    else
        sockops->malformed++;
    /* The record is done with in any case; an error ends the turn. */
    return --sockops->left > 0 ? 0 : -EAGAIN;
}

static int64_t clock_difference_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return flowd_timestamp_now_us() - ((int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US);
}

/* Returns whether all were read. */
static bool take_records(struct flowd_sockops *sockops)
{
    sockops->left = RECORDS_PER_TURN;
    sockops->clock_us = clock_difference_us();
    ring_buffer__consume(sockops->ring);
    return sockops->left > 0;
}

static void sockops_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    (void)take_records(watcher->data);
}

static void on_check(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_sockops *sockops = watcher->data;
    uint64_t counts[FLOWD_SOCKOPS_COUNTS];
    uint64_t lost, closes;

    (void)loop;
    (void)events;
    if (flowd_sockops_program_counts(&sockops->program, counts) < 0)
        return;
    lost = counts[FLOWD_SOCKOPS_LOST] - sockops->counts[FLOWD_SOCKOPS_LOST];
    closes = counts[FLOWD_SOCKOPS_LOST_CLOSED] - sockops->counts[FLOWD_SOCKOPS_LOST_CLOSED];
    memcpy(sockops->counts, counts, sizeof(counts));
    if (lost > 0 && sockops->listener.lost != NULL)
        sockops->listener.lost(sockops->listener.context, lost, closes);
}

static void end_visit(struct flowd_sockops *sockops)
{
    if (sockops->visit_fd >= 0)
        close(sockops->visit_fd);
    sockops->visit_fd = -1;
}

static void go_on_visiting(struct flowd_sockops *sockops)
{
    static struct flowd_log_limit limit;
    int result = take_records(sockops) ? flowd_sockops_program_visit(sockops->visit_fd) : 1;

    if (result < 0)
        flowd_log_limited(&limit, FLOWD_LOG_WARNING, sockops->name,
                          "not every connection that is there was looked at: %s",
                          strerror(-result));
    if (result <= 0)
        end_visit(sockops);
    if (result > 0 || sockops->visit_again)
        ev_timer_start(sockops->loop, &sockops->visit);
}

static void on_visit(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_sockops *sockops = watcher->data;

    (void)loop;
    (void)events;
    ev_timer_set(watcher, 0, 0);
    if (sockops->visit_fd >= 0) {
        go_on_visiting(sockops);
        return;
    }
    sockops->visit_again = false;
    (void)flowd_sockops_visit_existing(sockops);
}

int flowd_sockops_new(struct ev_loop *loop, const struct flowd_sockops_settings *settings,
                      const struct flowd_sockops_listener *listener, struct flowd_sockops **out,
                      struct flowd_error *err)
{
    struct flowd_sockops *sockops = calloc(1, sizeof(*sockops));
    int result;

    if (sockops == NULL)
        return flowd_fail_errno(err, ENOMEM, "sk_ops");
    sockops->name = settings->name;
    sockops->loop = loop;
    sockops->listener = *listener;
    sockops->visit_fd = -1;
    sockops->program = (struct flowd_sockops_program)FLOWD_SOCKOPS_PROGRAM_CLOSED;
    result = flowd_sockops_program_load(settings, &sockops->program, err);
    if (result < 0) {
        free(sockops);
        return result;
    }
    sockops->ring = ring_buffer__new(sockops->program.ring_fd, on_record, sockops, NULL);
    if (sockops->ring == NULL) {
        result = flowd_fail_errno(err, errno, "the ring buffer of the sk_ops program");
        flowd_sockops_program_close(&sockops->program);
        free(sockops);
        return result;
    }
    ev_io_init(&sockops->readable, sockops_on_readable, ring_buffer__epoll_fd(sockops->ring),
               EV_READ);
    sockops->readable.data = sockops;
    ev_io_start(loop, &sockops->readable);
    ev_timer_init(&sockops->check, on_check, CHECK_S, CHECK_S);
    sockops->check.data = sockops;
    ev_timer_start(loop, &sockops->check);
    ev_timer_init(&sockops->visit, on_visit, 0, 0);
    sockops->visit.data = sockops;
    *out = sockops;
    return 0;
}

void flowd_sockops_free(struct flowd_sockops *sockops)
{
    ev_io_stop(sockops->loop, &sockops->readable);
    ev_timer_stop(sockops->loop, &sockops->check);
    ev_timer_stop(sockops->loop, &sockops->visit);
    end_visit(sockops);
    ring_buffer__free(sockops->ring);
    flowd_sockops_program_close(&sockops->program);
    free(sockops);
}

/* The two ends of a connection have one key. */
static struct flowd_sockops_tuple watched_key(const struct flowd_flow_key *key)
{
    struct flowd_sockops_tuple tuple;

    memcpy(&tuple, key, sizeof(tuple));
    return flowd_sockops_is_first(&tuple) ? tuple : flowd_sockops_reverse(&tuple);
}

int flowd_sockops_watch(struct flowd_sockops *sockops, const struct flowd_flow_key *key)
{
    const struct flowd_sockops_tuple tuple = watched_key(key);
    const uint8_t watched = 1;

    return bpf_map_update_elem(sockops->program.watched_fd, &tuple, &watched, BPF_NOEXIST);
}

int flowd_sockops_unwatch(struct flowd_sockops *sockops, const struct flowd_flow_key *key)
{
    const struct flowd_sockops_tuple tuple = watched_key(key);

    return bpf_map_delete_elem(sockops->program.watched_fd, &tuple);
}

int flowd_sockops_visit_existing(struct flowd_sockops *sockops)
{
    int fd;

    if (sockops->visit_fd >= 0) {
        sockops->visit_again = true;
        return 0;
    }
    fd = flowd_sockops_program_begin_visit(&sockops->program);
    if (fd < 0)
        return fd;
    sockops->visit_fd = fd;
    go_on_visiting(sockops);
    return 0;
}

struct sockops_counts {
    uint64_t records, lost, unreadable, elsewhere, unwanted;
};

static const struct flowd_metric sockops_records = {
    "flowd_sockops_records_total", FLOWD_METRIC_COUNTER,
    "What an sk_ops program told: read, lost for want of room, or not understood."};
static const struct flowd_metric sockops_passed_over = {
    "flowd_sockops_passed_over_total", FLOWD_METRIC_COUNTER,
    "Calls of an sk_ops program for sockets of other network namespaces (elsewhere), and for those "
    "that are out of range or not watched (unwanted)."};

static const struct flowd_counter counters[] = {
    {.key = "records",
     .metric = &sockops_records,
     .labels = {"result", "read"},
     FLOWD_COUNTED(struct sockops_counts, records)},
    {.key = "lost",
     .metric = &sockops_records,
     .labels = {"result", "lost"},
     FLOWD_COUNTED(struct sockops_counts, lost)},
    {.key = "unreadable",
     .metric = &sockops_records,
     .labels = {"result", "unreadable"},
     FLOWD_COUNTED(struct sockops_counts, unreadable)},
    {.key = "elsewhere",
     .metric = &sockops_passed_over,
     .labels = {"reason", "elsewhere"},
     FLOWD_COUNTED(struct sockops_counts, elsewhere)},
    {.key = "unwanted",
     .metric = &sockops_passed_over,
     .labels = {"reason", "unwanted"},
     FLOWD_COUNTED(struct sockops_counts, unwanted)},
    {.key = NULL},
};

void flowd_sockops_count(const struct flowd_sockops *sockops, const char *module,
                         const struct flowd_counter_sink *sink)
{
    uint64_t told[FLOWD_SOCKOPS_COUNTS] = {0};
    struct sockops_counts counts;

    flowd_sockops_program_counts(&sockops->program, told);
    counts = (struct sockops_counts){
        .records = sockops->records,
        .lost = told[FLOWD_SOCKOPS_LOST],
        .unreadable = told[FLOWD_SOCKOPS_UNREADABLE] + sockops->malformed,
        .elsewhere = told[FLOWD_SOCKOPS_ELSEWHERE],
        .unwanted = told[FLOWD_SOCKOPS_UNWANTED],
    };
    flowd_counters_put(sink, counters, &counts, FLOWD_LABELS("module", module));
}
