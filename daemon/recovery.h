/*
 * A walk over the live flows that ends those whose sockets have gone without flowd being told:
 * after a restart, and where the kernel dropped notifications.
 */
#pragma once

#include <ev.h>
#include <stdint.h>

#include "daemon/module.h"

struct flowd_sock_diag;

/* Embedded in its owner; zero-initialised is idle. */
struct flowd_recovery {
    const struct flowd_context *context;
    struct flowd_sock_diag *diag; /* NULL: idle */
    struct ev_timer turn;
    uint32_t cursor;
    int64_t before_us; /* only flows last heard of before this are looked at; CLOCK_BOOTTIME */
    uint64_t looked_at;
    uint64_t ended;
};

/*
 * Begins to look at the live flows that were last heard of before before_us, some in each loop
 * turn; a walk that is under way begins anew. A failure is logged, not returned.
 */
void flowd_recovery_start(struct flowd_recovery *recovery, const struct flowd_context *context,
                          int64_t before_us);
void flowd_recovery_stop(struct flowd_recovery *recovery);
