/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets that fireflies come in by: opened or taken over, and read in batches.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/base/error.h"
#include "daemon/net/listen_fds.h"

/* One configured, or as many as were handed over. */
#define FIREFLY_SOCKETS_MAX 8

/* Takes one datagram, which is good until it returns. */
typedef void firefly_take(void *context, const struct sockaddr_storage *sender,
                          const char *datagram, size_t length);

struct firefly_listener;

struct firefly_socket {
    struct firefly_listener *listener;
    int fd;
    bool handed; /* by the service manager: what waits in it is the next flowd's */
    struct ev_io readable;
    char text[128]; /* "[::1]:10514" */
};

struct firefly_batch; /* listener.c */

struct firefly_listener {
    struct ev_loop *loop;
    firefly_take *take;
    void *context;
    struct firefly_batch *batch; /* owned */
    struct firefly_socket sockets[FIREFLY_SOCKETS_MAX];
    size_t count;
};

/*
 * Takes over what was handed over, or else opens address (numeric, "::" for both families) and
 * port, and begins to read. Returns 0 or -errno with nothing open. take and context are borrowed.
 */
int firefly_listener_open(struct firefly_listener *listener, struct flowd_listen_fds *handed,
                          const char *address, uint16_t port, struct flowd_error *err);
/* Reads what waits in sockets that go with it, and closes all. */
void firefly_listener_close(struct firefly_listener *listener);
/*
 * How many datagrams the kernel had no room for since the sockets were made, modulo 2^32 for each.
 */
uint64_t firefly_listener_drops(const struct firefly_listener *listener);
