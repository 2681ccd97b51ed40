/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses the kernel takes for this host's own without their being any interface's: routes
 * of type local, such as `ip -6 route add local 2001:db8:1::/64 dev lo` makes ("AnyIP").
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"

struct ev_loop;
struct flowd_local_routes;

/*
 * Reads them and keeps them current; changed(context) is told in a later turn of the loop. Returns
 * 0 and *out (owned), or -errno.
 */
int flowd_local_routes_new(struct ev_loop *loop, void (*changed)(void *context), void *context,
                           struct flowd_local_routes **out, struct flowd_error *err);
void flowd_local_routes_free(struct flowd_local_routes *routes);

/* addr as in struct flowd_address. Where a local route covers it the kernel is asked. */
bool flowd_local_routes_has(struct flowd_local_routes *routes, uint8_t family,
                            const struct in6_addr *addr);
/* How many questions the kernel was asked so far, modulo 2^32. */
uint32_t flowd_local_routes_asked(const struct flowd_local_routes *routes);

/* For whoever knows of a change that routes are not announced for: a link went down or away. Reads
 * them again, soon. */
void flowd_local_routes_refresh(struct flowd_local_routes *routes);
