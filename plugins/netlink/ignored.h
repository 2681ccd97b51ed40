/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The networks whose connections the scanner ignores: those of the configuration, and the private
 * ones.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/net/network.h"
#include "daemon/options/option.h"

struct flowd_netlink_ignored {
    struct flowd_network *networks; /* owned; those of IPv4 come first */
    size_t count;
};

/* Parses the texts (borrowed). Returns 0 and *out (owned), or -EINVAL or -ENOMEM. */
int flowd_netlink_ignored_init(struct flowd_netlink_ignored *out,
                               const struct flowd_strings *internal, bool private_too,
                               struct flowd_error *err);
void flowd_netlink_ignored_fini(struct flowd_netlink_ignored *ignored);

/* Whether one of the networks from number first on holds the address. */
bool flowd_netlink_ignored_holds(const struct flowd_netlink_ignored *ignored, size_t first,
                                 uint8_t family, const struct in6_addr *addr);
