/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of one question: is the connection of this flow over?
 *
 * Whoever has a hint brings it here: the kernel's notifications and sk_ops of sockets that are
 * gone, whoever missed some, a restart. The kernel is asked before a flow ends, because its
 * addresses and ports may have been used again, once for each end of it that is here; which end
 * decides is said by the flow's source (struct flowd_source). All questions to sock_diag of the
 * whole program go through one socket and, but for samples, out of one budget for a turn of the
 * loop.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/module.h"
#include "daemon/tcp/sock_diag.h"

struct flowd_liveness;
struct flowd_source;
struct flowd_tcp_sample;
struct flowd_tcp_socket;

/* Borrows the context's loop, hub and host. Returns owned, NULL: no memory. */
struct flowd_liveness *flowd_liveness_new(const struct flowd_context *context);
/* Before the hub is freed. */
void flowd_liveness_free(struct flowd_liveness *liveness);
/* For everyone who brings hints or asks: as flowd_sock_diag_open(). */
int flowd_liveness_open(struct flowd_liveness *liveness, struct flowd_error *err);

/*
 * A socket is gone: key as it saw the connection, its local end first; sample is what it was like.
 * Flows of either direction are concerned, or, where source follows sockets, its own alone. They
 * end as source's: at once, or when they have lingered.
 */
void flowd_liveness_closed(struct flowd_liveness *liveness, struct flowd_source *source,
                           const struct flowd_flow_key *key, const struct flowd_tcp_sample *sample);

/* Ends the flow at once if it is waiting for its last packet: its connection's ports are used
 * again. */
void flowd_liveness_end_lingering(struct flowd_liveness *liveness, struct flowd_flow *flow);

/*
 * A set of local ports, each with a remote address: a bit for each hash of the two, so it may have
 * some that were not added.
 */
struct flowd_ports {
    uint64_t bits[1024];
};

void flowd_ports_add(struct flowd_ports *ports, uint16_t port, const struct in6_addr *remote);

/*
 * Flows of which any may be gone: nobody told of their ends. Embedded in its owner, who sets the
 * first part; zero-initialised is idle.
 */
struct flowd_doubt {
    int64_t before_us;               /* only those last heard of before this; CLOCK_BOOTTIME */
    const struct flowd_ports *ports; /* only those with one of these; NULL: all. Borrowed */
    struct flowd_source *source;     /* the ends are its; only its flows, if it follows sockets */
    struct flowd_source *later;      /* the same of ends that are yet to come: they linger */
    /* After a restart: those that were waiting for their connection go on waiting. */
    bool spare_waiting;

    bool open;           /* the walk looks for such flows */
    bool again;          /* another walk follows the one that is under way */
    unsigned retries;    /* walks in a row that were made, after a while, for want of answers */
    double tried;        /* when the last one that counts was over; the loop's time */
    uint64_t unanswered; /* flows of this walk of which the kernel said nothing */
    uint64_t ended;      /* flows, in this walk */
    uint64_t found;      /* flows whose end was missed, in former walks too */
    struct flowd_doubt *next;
};

/*
 * Looks at the live flows of the doubt, some in each loop turn, and again after a while, twice at
 * most, if the kernel did not answer all questions. It is borrowed, and not changed, while it is
 * open; one that is open already is looked into once more afterwards.
 */
void flowd_liveness_doubt(struct flowd_liveness *liveness, struct flowd_doubt *doubt);
/*
 * Its owner goes: nobody looks for its flows, and those that linger for its sources do not end but
 * where their own source follows sockets.
 */
void flowd_liveness_forget_doubt(struct flowd_liveness *liveness, struct flowd_doubt *doubt);
bool flowd_liveness_is_walking(const struct flowd_liveness *liveness);

/* How the flow's connection fares: an enum flowd_tcp_life, or -errno: the kernel did not say. */
int flowd_liveness_of(struct flowd_liveness *liveness, const struct flowd_flow *flow);

/* As flowd_sock_diag_ask(). */
void flowd_liveness_ask(struct flowd_liveness *liveness,
                        const struct flowd_sock_diag_query *queries, size_t count,
                        flowd_sock_diag_answer answer, void *context);
/* As flowd_flow_socket_find(). */
int flowd_liveness_find(struct flowd_liveness *liveness, const struct flowd_sock_diag_query *query,
                        struct flowd_tcp_socket *out);
/* Whether as much was asked in this turn of the loop as it has time for: go on in the next one. */
bool flowd_liveness_turn_over(const struct flowd_liveness *liveness);
/* As flowd_sock_diag_ask(), and not of the budget: whoever takes samples of all flows paces them.
 */
void flowd_liveness_sample(struct flowd_liveness *liveness,
                           const struct flowd_sock_diag_query *queries, size_t count,
                           flowd_sock_diag_answer answer, void *context);

/*
 * Who shows the final counts of flows wants them asked for at each end that is announced, until he
 * does not want it any more (as often as he did). extensions: as in a query, of them.
 */
void flowd_liveness_want_last(struct flowd_liveness *liveness, bool wanted);
void flowd_liveness_set_extensions(struct flowd_liveness *liveness, uint8_t extensions);

/* Flows that linger. */
size_t flowd_liveness_lingering(const struct flowd_liveness *liveness);
/* Flows that went on with another connection of the same addresses and ports. */
uint64_t flowd_liveness_reused(const struct flowd_liveness *liveness);
