/*
 * After a restart: ends the TCP flows from the state file whose sockets have gone meanwhile.
 */
#pragma once

#include <ev.h>
#include <stdint.h>

#include "daemon/module.h"

struct flowd_socket_probe;

/* Embedded in its owner; zero-initialised is idle. */
struct flowd_recovery {
    const struct flowd_context *context;
    struct flowd_socket_probe *probe; /* NULL: idle */
    struct ev_timer turn;
    uint32_t cursor;
    int64_t before_us; /* only flows last heard of before this are looked at; CLOCK_BOOTTIME */
    uint64_t looked_at;
    uint64_t ended;
};

/* Begins to look at the live flows, some in each loop turn. A failure is logged, not returned. */
void flowd_recovery_start(struct flowd_recovery *recovery, const struct flowd_context *context);
void flowd_recovery_stop(struct flowd_recovery *recovery);
