/*
 * A walk over the live flows that ends those whose sockets have gone without flowd being told:
 * after a restart, and where the kernel dropped notifications.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/hub/module.h"
#include "daemon/hub/walk.h"

struct flowd_lingering;
struct flowd_source;

/*
 * A set of local ports, each with a remote address: a bit for each hash of the two, so it may have
 * some that were not added.
 */
struct flowd_ports {
    uint64_t bits[1024];
};

void flowd_ports_add(struct flowd_ports *ports, uint16_t port, const struct in6_addr *remote);

/* Which flows a walk looks at. Borrowed, as long as it goes on. */
struct flowd_recovery_scope {
    int64_t before_us;               /* only those last heard of before this; CLOCK_BOOTTIME */
    const struct flowd_ports *ports; /* only those with one of these; NULL: all */
    struct flowd_source *source;     /* the ends are its */
    /* Only flows that it announced: their source is this host's whatever addresses it has. */
    bool own;
    /* After a restart: those that were waiting for their connection go on waiting. */
    bool spare_waiting;
};

/* Embedded in its owner; zero-initialised is idle. */
struct flowd_recovery {
    struct flowd_lingering *lingering; /* takes flows that are closed at this end only; borrowed */
    struct flowd_recovery_scope scope;
    struct flowd_walk walk;
    uint32_t asked_before; /* questions, before this turn's part */
    bool slice_begins;
    bool again;          /* another walk follows the one that is under way */
    unsigned retries;    /* walks in a row that were made for want of answers */
    uint64_t unanswered; /* flows of this walk of which the kernel said nothing */
    uint64_t looked_at;
    uint64_t ended;
    uint64_t found; /* flows whose end was missed, in former walks too */
};

/*
 * Looks at the live flows of the scope, some in each loop turn, and again after a while, twice at
 * most, if the kernel did not answer all questions. lingering's context and diag are used; it must
 * outlive the walk. A walk that is under way keeps its scope, and another one follows it: whoever
 * wants another scope waits until it is over.
 */
void flowd_recovery_start(struct flowd_recovery *recovery, struct flowd_lingering *lingering,
                          const struct flowd_recovery_scope *scope);
bool flowd_recovery_is_running(const struct flowd_recovery *recovery);
void flowd_recovery_stop(struct flowd_recovery *recovery);
