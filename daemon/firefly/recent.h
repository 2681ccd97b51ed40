/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firefly that comes in is to be compared with, so that none goes round in a circle: the
 * flows that have ended lately, and the messages that have been seen. Each is remembered for a
 * minute, and for less where more is to be remembered than there is room for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

/* The source of flows that were announced by fireflies. */
#define FLOWD_FIREFLY_SOURCE "firefly"

#define FLOWD_FIREFLY_RECENT_US (60 * INT64_C(1000000))

/* What is known of a flow's end. */
enum flowd_firefly_end {
    FLOWD_FIREFLY_END_NONE,
    FLOWD_FIREFLY_END_OURS,   /* of a flow whose fireflies flowd wrote */
    FLOWD_FIREFLY_END_OTHERS, /* of one that fireflies told of */
};

struct flowd_firefly_recent;

/* Returns 0, -ENOMEM or -EIO (no randomness). */
int flowd_firefly_recent_new(struct flowd_firefly_recent **out);
void flowd_firefly_recent_free(struct flowd_firefly_recent *recent);

/* Whether the flow's own announcer sends its fireflies. */
bool flowd_firefly_announced(const struct flowd_flow *flow);
/* Start times that differ by less than what a sender may have rounded are one. */
bool flowd_firefly_same_start(int64_t start_us, int64_t other_us);

/* A flow has ended. now_us is of any clock that is not set back. */
void flowd_firefly_recent_note_end(struct flowd_firefly_recent *recent,
                                   const struct flowd_flow *flow, int64_t now_us);
/* Whether a flow with this key that began at start_us has ended lately. */
enum flowd_firefly_end flowd_firefly_recent_end(const struct flowd_firefly_recent *recent,
                                                const struct flowd_flow_key *key, int64_t start_us,
                                                int64_t now_us);
/*
 * Notes a message that came in or goes out by the bytes of its object (without the syslog header).
 * Returns whether it was noted before.
 */
bool flowd_firefly_recent_message(struct flowd_firefly_recent *recent, const char *object,
                                  size_t length, int64_t now_us);
