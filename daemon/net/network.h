/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP networks: an address and how many of its first bits belong to it (CIDR, RFC 4632, RFC 4291).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/net/address.h"

/* Enough for any network that flowd_network_format() writes, with its NUL. */
#define FLOWD_NETWORK_SIZE (FLOWD_ADDRESS_SIZE + 4)

struct flowd_network {
    struct flowd_address base; /* no bits set behind the prefix */
    uint8_t prefix_length;     /* 0-32 or 0-128 */
};

/*
 * Parses len bytes of "ADDRESS/LENGTH", or an address alone, which is a network of its own. What
 * lies in ::ffff:0:0/96 becomes IPv4. Returns 0, or -EINVAL with the reason: no address, a zone, no
 * number in range, or bits that are set behind the prefix. *out is unchanged on failure.
 */
int flowd_network_parse(const char *text, size_t len, struct flowd_network *out,
                        struct flowd_error *err);

/* Writes "ADDRESS/LENGTH" into buffer and returns its length. */
size_t flowd_network_format(const struct flowd_network *network,
                            char buffer[static FLOWD_NETWORK_SIZE]);

/* addr as in struct flowd_address. A network holds addresses of its own family only. */
bool flowd_network_contains(const struct flowd_network *network, uint8_t family,
                            const struct in6_addr *addr);

/* Networks whose addresses do not leave a site, and where that is written. */
struct flowd_private_network {
    const char *text;
    const char *source;
};
extern const struct flowd_private_network flowd_private_networks[];
extern const size_t flowd_private_network_count;
