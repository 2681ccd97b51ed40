/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows wait for their connection: a look now and then at those that are not known to have
 * had a socket. It is noted in the flow's record, so that the next process does not take a flow
 * whose connection is yet to come for one whose connection went while nobody listened.
 */
#pragma once

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

struct flowd_context;

/* Embedded in its owner; zero-initialised is none. */
struct flowd_attendance {
    const struct flowd_context *context; /* borrowed */
    struct ev_timer tick;
    uint32_t cursor;  /* of the round that is under way; 0: none is */
    uint64_t started; /* flows that had, when it began */
    size_t found;     /* flows that wait, in it */
    size_t waiting;   /* the same of the one before */
};

void flowd_attendance_start(struct flowd_attendance *attendance,
                            const struct flowd_context *context);
void flowd_attendance_stop(struct flowd_attendance *attendance);
