/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and their addresses, kept current: /etc/hosts, then DNS with the search domains and servers
 * of /etc/resolv.conf, which is read again when it has changed. Nothing here blocks.
 *
 * A name is asked for again when its answer's time (the least TTL, RFC 1035, 3.2.1, at least
 * FLOWD_RESOLVER_LEAST_S, at most FLOWD_RESOLVER_MOST_S) is over. What can't be found is asked for
 * again after FLOWD_RESOLVER_RETRY_S, then twice as long each time, up to
 * FLOWD_RESOLVER_RETRY_MOST_S. While no server answers, the last good answer stays (RFC 8767); that
 * a name or its addresses are not there is an answer, too, and takes its place.
 *
 * Needs c-ares 1.16, the first version whose ares_getaddrinfo() tells TTLs. EL8 has 1.13: flowd is
 * not built there.
 */
#pragma once

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/net/address.h"

#define FLOWD_RESOLVER_LEAST_S 5
#define FLOWD_RESOLVER_MOST_S 3600
#define FLOWD_RESOLVER_RETRY_S 5
#define FLOWD_RESOLVER_RETRY_MOST_S 300
/* More of one name are left out. */
#define FLOWD_RESOLVER_ADDRESSES_MAX 16

struct ev_loop;
struct flowd_resolver;
struct flowd_name;

enum flowd_name_state {
    FLOWD_NAME_WAITING, /* no answer to the first question yet */
    FLOWD_NAME_KNOWN,   /* has addresses; with flowd_name_failure() they may be out of date */
    FLOWD_NAME_UNKNOWN, /* has none, and flowd_name_failure() */
};

/*
 * Told by the loop after the addresses or the failure have changed; never from within a function
 * below. It may let go of any name and ask for others, but not free the resolver.
 */
typedef void (*flowd_name_changed)(void *context, struct flowd_name *name);

/* Opens nothing before the first name. Returns 0 and *out (owned), or -errno. */
int flowd_resolver_new(struct ev_loop *loop, struct flowd_resolver **out, struct flowd_error *err);
/* Every name has been let go before. NULL is allowed. */
void flowd_resolver_free(struct flowd_resolver *resolver);

/* Asks for every name at once, for SIGHUP; questions that are open go on. */
void flowd_resolver_refresh(struct flowd_resolver *resolver);

/*
 * Keeps the addresses of host (copied): a numeric address, which is known at once and of which
 * nobody is told, or a name. family is AF_INET or AF_INET6 for those alone, or AF_UNSPEC for both,
 * the likeliest to be reached first (RFC 6724). Returns 0 and *out (owned, until
 * flowd_name_free()), or -errno: EINVAL for what is neither, or an address of the other family.
 */
int flowd_name_new(struct flowd_resolver *resolver, const char *host, int family,
                   flowd_name_changed changed, void *context, struct flowd_name **out,
                   struct flowd_error *err);
/* NULL is allowed. */
void flowd_name_free(struct flowd_name *name);

const char *flowd_name_host(const struct flowd_name *name);
enum flowd_name_state flowd_name_state(const struct flowd_name *name);
/* The addresses, the best first, and how many; borrowed until the loop turns. */
const struct flowd_address *flowd_name_addresses(const struct flowd_name *name, size_t *count);
/* Why the last question failed, a static string; NULL: it did not, or there was none. */
const char *flowd_name_failure(const struct flowd_name *name);
