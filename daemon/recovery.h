/*
 * A walk over the live flows that ends those whose sockets have gone without flowd being told:
 * after a restart, and where the kernel dropped notifications.
 */
#pragma once

#include <ev.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/module.h"

struct flowd_lingering;
struct flowd_sock_diag;

/*
 * A set of local ports, each with a remote address: a bit for each hash of the two, so it may have
 * some that were not added.
 */
struct flowd_ports {
    uint64_t bits[1024];
};

void flowd_ports_add(struct flowd_ports *ports, uint16_t port, const struct in6_addr *remote);

/* Embedded in its owner; zero-initialised is idle. */
struct flowd_recovery {
    const struct flowd_context *context;
    struct flowd_sock_diag *diag;      /* NULL: idle */
    struct flowd_lingering *lingering; /* takes flows that are closed at this end only; borrowed */
    struct ev_timer turn;
    uint32_t cursor;
    int64_t before_us; /* only flows last heard of before this are looked at; CLOCK_BOOTTIME */
    const struct flowd_ports *ports; /* only flows with one of these are looked at; NULL: all */
    uint64_t looked_at;
    uint64_t ended;
};

/*
 * Begins to look at the live flows that were last heard of before before_us, some in each loop
 * turn; a walk that is under way begins anew. Where ports isn't NULL, only flows with one of them
 * are looked at. It and lingering stay the caller's and must outlive the walk. A failure is logged,
 * not returned.
 */
void flowd_recovery_start(struct flowd_recovery *recovery, const struct flowd_context *context,
                          struct flowd_lingering *lingering, int64_t before_us,
                          const struct flowd_ports *ports);
bool flowd_recovery_is_running(const struct flowd_recovery *recovery);
void flowd_recovery_stop(struct flowd_recovery *recovery);
