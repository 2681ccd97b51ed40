/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public addresses of this host's private ones: those that the configuration maps by hand, and
 * for each other private address that an interface has what STUN servers and then http(s) services
 * say. They are asked from that address, again when addresses change, and each hour.
 *
 * Nothing waits for an answer: until there is one an address stands for itself.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/messages.h"
#include "daemon/metrics/counter.h"
#include "daemon/net/address.h"
#include "daemon/options/option.h"

struct ev_loop;
struct flowd_fetcher;
struct flowd_host;
struct flowd_public_addresses;

/* What the rows of flowd_public_options fill. */
struct flowd_public_settings {
    struct flowd_pairs manual;
    struct flowd_strings servers;
    struct flowd_strings services;
};
extern const struct flowd_option flowd_public_options[];

/* Errors that a single row can't show; path is the section's. */
void flowd_public_check(const struct flowd_public_settings *settings, const char *path,
                        struct flowd_messages *errors);

/*
 * Asks nobody yet. Everything is borrowed; host NULL: addresses are read once; fetcher NULL:
 * services are not asked. Returns 0 and *out (owned), or -errno.
 */
int flowd_public_addresses_new(struct ev_loop *loop, struct flowd_host *host,
                               struct flowd_fetcher *fetcher, struct flowd_public_addresses **out,
                               struct flowd_error *err);
/* NULL is allowed. */
void flowd_public_addresses_free(struct flowd_public_addresses *addresses);

/*
 * Takes settings (borrowed until the next call) that were checked, and asks anew; what is known
 * stays until there are answers, unless nobody is asked any more. Returns 0, or -errno with the
 * former ones in place.
 */
int flowd_public_addresses_configure(struct flowd_public_addresses *addresses,
                                     const struct flowd_public_settings *settings,
                                     struct flowd_error *err);

/*
 * The public address of addr (as in struct flowd_address): addr itself where there is no other.
 * Cheap: for every firefly. Borrowed until the loop turns.
 */
const struct in6_addr *flowd_public_address_of(const struct flowd_public_addresses *addresses,
                                               uint8_t family, const struct in6_addr *addr);

/* Whether everybody who can be asked has been, for each address. */
bool flowd_public_addresses_are_settled(const struct flowd_public_addresses *addresses);
/*
 * An object for each address that is mapped or asked for: "address", "public" (unless it is not
 * known), "by" ("manualMapping", "stun", "http"), "via", "error". Returns owned.
 */
json_t *flowd_public_addresses_json(const struct flowd_public_addresses *addresses);
/* Puts the counters of questions. */
void flowd_public_addresses_count(const struct flowd_public_addresses *addresses,
                                  const struct flowd_counter_sink *sink);
