/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to one STUN server from one address of this host, over UDP, with the retransmission
 * of RFC 8489, 6.2.1: seven sends after 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, given up at 39.5 s.
 *
 * The socket is connected, so that the kernel lets through what comes from the server's address and
 * port alone and tells of ICMP errors; datagrams that are no answer to this question are ignored.
 */
#pragma once

#include <ev.h>
#include <sys/socket.h>

#include "daemon/base/error.h"
#include "daemon/net/address.h"
#include "stun_message.h"

struct flowd_stun_query;

/* mapped: how the server sees the local address; NULL: it was not found out, for the reason. Both
 * borrowed. Called once, never from flowd_stun_query_start(); the query is over before. */
typedef void (*flowd_stun_done)(struct flowd_stun_query *query, const struct flowd_address *mapped,
                                const char *reason);

/* Embedded in its owner; zero-initialised is a query that is not under way. */
struct flowd_stun_query {
    struct ev_loop *loop;
    struct ev_io readable;
    struct ev_timer retransmit;
    struct flowd_stun_id id;
    unsigned sent;    /* requests */
    unsigned ignored; /* datagrams that were no answer */
    bool is_under_way;
    flowd_stun_done done;
    void *context;
};

/*
 * Begins. local: the source address, server: the server's, of the same family. Returns 0, or -errno
 * with the reason: the socket can't be made, there is no route.
 */
int flowd_stun_query_start(struct flowd_stun_query *query, struct ev_loop *loop,
                           const struct flowd_address *local, const struct sockaddr_storage *server,
                           flowd_stun_done done, void *context, struct flowd_error *err);
/* Gives up without calling anybody. One that is not under way is left as it is. */
void flowd_stun_query_stop(struct flowd_stun_query *query);
