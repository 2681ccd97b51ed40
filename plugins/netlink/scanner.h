/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner: compares the TCP connections of this host with those of a period ago, and announces
 * the new ones as flows with one tag.
 *
 * A connection that is there at the start is known and never announced, nor is one that somebody
 * else has announced. The flows that the scanner has announced end, at the latest, when their
 * connection is gone; only those are ended. A connection is taken for gone if it is missing in a
 * scan and the kernel, asked for it alone, does not have it either.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/options/option.h"

struct flowd_context;
struct flowd_counter_sink;
struct flowd_netlink_scanner;

struct flowd_netlink_config {
    int64_t experiment;
    int64_t activity;
    int64_t period_ms;
    struct flowd_strings internal_networks;
    bool ignore_private;
};

/*
 * Takes what is there for known, and scans each period from then on. config is borrowed as in
 * struct flowd_module. Returns 0 and *out (owned), or -errno.
 */
int flowd_netlink_scanner_new(const struct flowd_context *context,
                              const struct flowd_netlink_config *config,
                              struct flowd_netlink_scanner **out, struct flowd_error *err);
/* The flows stay. */
void flowd_netlink_scanner_free(struct flowd_netlink_scanner *scanner);

/* Takes another period; the rest of config must be the same. */
void flowd_netlink_scanner_reload(struct flowd_netlink_scanner *scanner,
                                  const struct flowd_netlink_config *config);

void flowd_netlink_scanner_count(const struct flowd_netlink_scanner *scanner,
                                 const struct flowd_counter_sink *sink);
