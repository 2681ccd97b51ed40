/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sk_ops programs at work: what the kernel tells of TCP connections, read on the loop.
 *
 * Serves plugins/iperf3 (connections of some ports begin and end) and enrichers/skops (connections
 * that are watched are sampled). Each has a program and a ring buffer of its own. Only sockets of
 * flowd's own network namespace are heard of, of the processes in the cgroup and below it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "ebpf/sockops/event.h"

struct ev_loop;
struct flowd_counter_sink;
struct flowd_sockops;

enum flowd_sockops_duty {
    FLOWD_SOCKOPS_CONNECTIONS, /* begins and ends, by ports */
    FLOWD_SOCKOPS_POLLING,     /* samples of watched connections, and their ends */
    FLOWD_SOCKOPS_TRANSITIONS, /* samples where the state changes, and ends */
};

/* Borrowed for the time of the call that takes it. */
struct flowd_sockops_settings {
    const char *name; /* for the log; static */
    enum flowd_sockops_duty duty;
    const char *cgroup_path; /* see flowd_cgroup_open() */
    uint16_t local_ports[2]; /* from, to; FLOWD_SOCKOPS_CONNECTIONS */
    uint16_t remote_ports[2];
    int64_t period_ms;    /* at least between two samples of a socket; FLOWD_SOCKOPS_POLLING */
    uint32_t watched_max; /* flows; not for FLOWD_SOCKOPS_CONNECTIONS */
    uint32_t ring_size;   /* bytes, a power of two and of the page's size; 0: the default */
    bool debug;           /* trace each sample to trace_pipe */
};

/* What is told; event is borrowed for the call. */
struct flowd_sockops_listener {
    void (*told)(void *context, const struct flowd_sockops_event *event);
    /* Records found no room in the ring buffer since the last time; closes: of ends. May be NULL.
     */
    void (*lost)(void *context, uint64_t records, uint64_t closes);
    void *context;
};

/*
 * Loads, attaches and begins to listen. Returns 0 and *out (owned), or -errno with the reason;
 * -EPERM: a right is missing.
 */
int flowd_sockops_new(struct ev_loop *loop, const struct flowd_sockops_settings *settings,
                      const struct flowd_sockops_listener *listener, struct flowd_sockops **out,
                      struct flowd_error *err);
void flowd_sockops_free(struct flowd_sockops *sockops);

/*
 * Whether the flow's connection is watched, whichever end of it is here. Both return 0 or -errno:
 * -EEXIST, -ENOENT: it is so already.
 */
int flowd_sockops_watch(struct flowd_sockops *sockops, const struct flowd_flow_key *key);
int flowd_sockops_unwatch(struct flowd_sockops *sockops, const struct flowd_flow_key *key);

/*
 * Has the program look at the sockets that are there, some in each loop turn: established ones of
 * the ports are told as if they had just begun, or sampling is switched on for them. Where that is
 * under way it is done once more. Not to be called by the listener's told(). Returns 0, or -errno:
 * -EOPNOTSUPP where the kernel has no iterators for it.
 */
int flowd_sockops_visit_existing(struct flowd_sockops *sockops);

/* Puts what was read, lost and passed over; as metrics they have the module's name. */
void flowd_sockops_count(const struct flowd_sockops *sockops, const char *module,
                         const struct flowd_counter_sink *sink);
