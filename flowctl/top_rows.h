/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of `flowctl top`: what the list of flows says now, and the rates that follow from what
 * it said before.
 *
 * Rates come from two successive samples of a flow and the times at which the kernel gave them, so
 * neither this program's clock nor the time that a request takes matters.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "daemon/net/address.h"

enum top_sort { TOP_SORT_RATE, TOP_SORT_RTT, TOP_SORT_RETRANSMISSIONS };

struct top_end {
    char address[FLOWD_ADDRESS_SIZE];
    unsigned port;
};

/* One flow. What a sample says is from this host's end. */
struct top_row {
    uint64_t id;
    UT_hash_handle hh;
    uint64_t refresh; /* in which it was seen last */
    struct top_end src, dst;
    char protocol[8];
    unsigned experiment, activity;

    bool sampled;
    int64_t taken_us; /* the sample's time; CLOCK_REALTIME of flowd's host */
    uint64_t sent;    /* payload bytes, each counted once */
    uint64_t received;
    uint64_t retransmissions;
    double rtt_ms; /* negative: not known */

    bool rated;                    /* the following are known */
    double sent_rate;              /* bits/s */
    double received_rate;          /* bits/s */
    uint64_t retransmissions_last; /* between the last two samples */
    int64_t span_ms;               /* between the last two samples */
    int64_t changed_ms;            /* when the last sample was first seen; CLOCK_MONOTONIC */
};

/* Zero-initialised is empty. */
struct top_rows {
    struct top_row *by_id;   /* owned */
    struct top_row **sorted; /* owned; of the last refresh, in order after top_rows_sort() */
    size_t count;
    size_t capacity;
    uint64_t refresh;
    double sent_rate; /* of all rows whose rate is known; bits/s */
    double received_rate;
};

void top_rows_fini(struct top_rows *rows);
/* A refresh begins. */
void top_rows_begin(struct top_rows *rows);
/*
 * Takes a flow (an object of the API's list). now_ms: CLOCK_MONOTONIC. Returns 0, -EINVAL: it is no
 * flow, or -ENOMEM.
 */
int top_rows_take(struct top_rows *rows, const json_t *flow, int64_t now_ms);
/* The refresh is complete: rows of flows that were not seen go. Returns 0 or -ENOMEM. */
int top_rows_end(struct top_rows *rows, int64_t now_ms);
/* The largest first; what is not known last. */
void top_rows_sort(struct top_rows *rows, enum top_sort sort);
