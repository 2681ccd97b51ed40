/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's notifications of TCP sockets that are gone (SKNLGRP_INET_TCP_DESTROY and its IPv6
 * sister, since Linux 4.1): they end flows (flows.endOnClose) and bring the final counts.
 *
 * A flow lives while a connection with its 5-tuple exists: where ports are used again at once, the
 * end of the former connection does not end it. Notifications that the kernel drops are made good
 * by a walk over all flows (losses.h). Sockets of other network namespaces are not heard of.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/error.h"

struct flowd_destroy_listener;
struct flowd_context;
struct flowd_counter_sink;

/*
 * Looks at the flows that are live, and begins to listen. restarted: a process that listened too
 * may have left flows that wait for their connection. Returns 0 and *out (owned), or -errno: the
 * kernel does not tell.
 */
int flowd_destroy_listener_new(const struct flowd_context *context, bool restarted,
                               struct flowd_destroy_listener **out, struct flowd_error *err);
void flowd_destroy_listener_free(struct flowd_destroy_listener *listener);
/* Puts its counters; in the status they are the object "closures". */
void flowd_destroy_listener_count(const struct flowd_destroy_listener *listener,
                                  const struct flowd_counter_sink *sink);
