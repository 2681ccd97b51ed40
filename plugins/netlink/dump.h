/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads all established TCP connections of this network namespace by sock_diag(7), bit by bit on
 * the loop.
 *
 * The kernel walks its table while it is read from and may skip a socket when others go, so one
 * that is not in a dump is not certainly gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/tcp/tcp_sample.h"

struct ev_loop;
struct flowd_netlink_dump;
struct flowd_netlink_filter;

struct flowd_netlink_dump_reader {
    void *context;
    /* One connection (borrowed for the call). */
    void (*found)(void *context, const struct flowd_tcp_socket *socket);
    /*
     * The dump is over, and another one may be started. error: 0, or -errno: it is not complete;
     * -EINVAL: the kernel does not take the filter. interrupted: the kernel says itself that it may
     * have skipped something.
     */
    void (*done)(void *context, int error, bool interrupted);
};

/* Returns 0 and *out (owned), or -errno. */
int flowd_netlink_dump_new(struct ev_loop *loop, const struct flowd_netlink_dump_reader *reader,
                           struct flowd_netlink_dump **out, struct flowd_error *err);
void flowd_netlink_dump_free(struct flowd_netlink_dump *dump);

/*
 * Starts a dump; filter (borrowed until it is over) may be NULL. Returns 0, and reader->done() will
 * be called, or -errno. Must not be called while a dump goes on.
 */
int flowd_netlink_dump_start(struct flowd_netlink_dump *dump,
                             const struct flowd_netlink_filter *filter);
/* Reads a dump that goes on to its end, without the loop. */
void flowd_netlink_dump_finish(struct flowd_netlink_dump *dump);
