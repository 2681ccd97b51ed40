/*
 * Ends that the plugin did not hear of: while flowd did not run, and where the ring buffer had no
 * room. A walk over the plugin's own flows ends those whose sockets are gone.
 */
#pragma once

#include <ev.h>
#include <stdint.h>

#include "daemon/module.h"

struct flowd_sock_diag;
struct flowd_source;

/* Embedded in its owner. */
struct iperf3_missed {
    const struct flowd_context *context;
    struct flowd_source *source; /* whose flows are looked at */
    struct flowd_sock_diag *diag;
    struct ev_timer turn;
    uint32_t cursor;
    bool again;    /* after the walk that is under way another one is needed */
    uint64_t ends; /* found so */
};

/* Borrows context and source. Returns 0 or -errno. */
int iperf3_missed_init(struct iperf3_missed *missed, const struct flowd_context *context,
                       struct flowd_source *source, struct flowd_error *err);
void iperf3_missed_fini(struct iperf3_missed *missed);
/* Begins to walk, or makes sure that one walk begins after this moment. */
void iperf3_missed_look(struct iperf3_missed *missed);
