/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's notifications of changed qdiscs and filters (RTNLGRP_TC): who attaches by clsact
 * hears at once when a neighbour takes flowd's filter away. TCX has no such notifications.
 */
#pragma once

#include <ev.h>

#include "daemon/base/error.h"

struct nl_sock;

/* Embedded in its owner; zero-initialised: closed. */
struct marker_watch {
    struct ev_loop *loop;
    struct nl_sock *socket;
    struct ev_io readable;
    /* Something changed on the interface with this index; 0: on any of them. */
    void (*changed)(struct marker_watch *watch, int index);
    /* What was heard has all been told, for this wake-up. */
    void (*done)(struct marker_watch *watch);
};

/* The owner sets changed and done before. Returns 0 or -errno. */
int marker_watch_open(struct marker_watch *watch, struct ev_loop *loop, struct flowd_error *err);
void marker_watch_close(struct marker_watch *watch);
