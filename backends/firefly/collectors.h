/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collectors: everybody who gets every firefly, by name or address. Each is by itself: one that
 * is down or unknown harms no other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "collector.h"
#include "daemon/base/error.h"
#include "daemon/metrics/counter.h"
#include "daemon/options/option.h"
#include "sender.h"

struct collectors;

/* By destination (that of a flow, or a collector's name) and result. */
extern const struct flowd_metric flowd_fireflies;
extern const struct flowd_metric flowd_firefly_icmp_errors;

/*
 * Returns 0 and *out (owned), without collectors, or -errno. sender is borrowed, and dropped is
 * told of each firefly that is given up before it gets to the sender.
 */
int collectors_new(struct ev_loop *loop, struct flowd_sender *sender, collector_dropped dropped,
                   void *context, struct collectors **out, struct flowd_error *err);
/* NULL is allowed. */
void collectors_free(struct collectors *collectors);

/*
 * Has those that names say, "host[:port]" each, and those of more (NULL: none), which get only what
 * is relayed; one that was there before goes on with its state and counts. All names are asked for
 * again. Returns 0, or -errno with nothing changed.
 */
int collectors_configure(struct collectors *collectors, const struct flowd_strings *names,
                         const struct flowd_strings *more, uint16_t default_port,
                         struct flowd_error *err);

/* How many there are: that get what is relayed, or else what flowd composes. */
size_t collectors_number(const struct collectors *collectors, bool relayed);
/* Queues a firefly (copied) for each that gets it. */
void collectors_send(struct collectors *collectors, bool relayed,
                     const struct flowd_outgoing *firefly);
/* What became of one, as the sender says; receiver is not 0. */
void collectors_done(struct collectors *collectors, unsigned receiver, enum flowd_sent result,
                     int error);
/* Returns whether address is a collector's, which takes the error. */
bool collectors_refused(struct collectors *collectors, const struct sockaddr_storage *address,
                        int error);
/* Fireflies that wait for an address. */
size_t collectors_waiting(const struct collectors *collectors);
/* Puts each one's counters, in the status with its state into "collectors". */
void collectors_count(const struct collectors *collectors, const struct flowd_counter_sink *sink);
