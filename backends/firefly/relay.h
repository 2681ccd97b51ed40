/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came as a firefly goes on as its sender wrote it. flowd's own firefly of such a flow's end
 * is held back for a while and goes out only where the sender's does not come.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/text.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/source.h"
#include "daemon/metrics/counter.h"
#include "held.h"
#include "splice.h"

struct ev_loop;

/* No flow: what becomes of the datagram is no status of one. */
#define FIREFLY_RELAY_NO_FLOW 0

/*
 * Queues a firefly to everybody who gets those of the flow with this key, and returns whether that
 * is anybody. All is borrowed.
 */
typedef bool (*firefly_relay_send)(void *context, const struct flowd_flow_key *key, uint64_t id,
                                   const char *text, size_t length);

struct firefly_relay_counts {
    uint64_t passed_on;
    uint64_t of_refused; /* of them, flows that a limit or a backend refused */
    uint64_t unchanged;  /* of them, without additions: with them they would be too long for UDP */
    uint64_t dropped;    /* no memory */
    uint64_t ends_replaced;
    uint64_t ends_sent; /* flowd's own ends: the sender's did not come in time */
};

struct firefly_relay {
    struct firefly_held held;
    struct flowd_text text; /* the firefly that is being passed on */
    uint64_t ending;        /* id of the flow that a firefly is about to end; 0: none */
    struct firefly_relay_counts counts;
    firefly_relay_send send;
    void (*flush)(void *context);
    void *context;
};

/* flush is called after what a timer had sent; context is borrowed. Returns 0 or -errno. */
int firefly_relay_init(struct firefly_relay *relay, struct ev_loop *loop, firefly_relay_send send,
                       void (*flush)(void *context), void *context);
void firefly_relay_fini(struct firefly_relay *relay);

/* Whether the flow was announced by a firefly, in this process or an earlier one. */
bool firefly_relay_announced(const struct flowd_flow *flow);

/* Passes the firefly of the event on; the rest is what struct flowd_backend_ops is told. */
void firefly_relay_pass_on(struct firefly_relay *relay, const struct flowd_event *event,
                           const struct flowd_flow *flow, enum flowd_result result,
                           const struct firefly_additions *additions);
/* Whether the flow, which has ended, did so by a firefly that was passed on. */
bool firefly_relay_was_end(struct firefly_relay *relay, const struct flowd_flow *flow);
/* Holds flowd's own firefly of the flow's end back. */
void firefly_relay_hold(struct firefly_relay *relay, const struct flowd_flow *flow,
                        const struct flowd_text *text);
/* A flow of this key begins: what is held of one before it goes out first. */
void firefly_relay_begin(struct firefly_relay *relay, const struct flowd_flow_key *key);
/* Sends all that is held. */
void firefly_relay_release(struct firefly_relay *relay);
/* Puts its counters. */
void firefly_relay_count(const struct firefly_relay *relay, const struct flowd_counter_sink *sink);
