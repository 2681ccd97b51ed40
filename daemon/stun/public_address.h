/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one address of this host is seen from outside: asks one STUN server after another, then one
 * http(s) service after another, and begins anew after a while. For public_addresses.c alone.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/net/address.h"
#include "daemon/options/option.h"
#include "daemon/resolver/resolver.h"
#include "stun_query.h"

#define PUBLIC_REASON_SIZE 160
#define PUBLIC_VIA_SIZE 160

struct flowd_fetch;
struct flowd_fetcher;
struct public_address;

/* A STUN server as the configuration has it. */
struct public_server {
    const char *text;        /* borrowed */
    struct flowd_name *name; /* owned */
    uint16_t port;           /* host byte order */
};

/* Who is asked, in this order; shared by all addresses, and what they count. */
struct public_askers {
    struct ev_loop *loop;
    struct flowd_fetcher *fetcher; /* NULL: services are not asked */
    struct public_server *servers; /* owned */
    size_t server_count;
    const struct flowd_strings *services; /* borrowed */
    void (*changed)(void *context);       /* an address is seen in another way, or is settled */
    void *context;
    uint64_t answered, failed, ignored; /* questions; datagrams that were no answers */
};

struct public_address {
    struct public_askers *askers;
    struct flowd_address local;
    struct flowd_address seen; /* family 0: not known (yet) */
    enum { PUBLIC_BY_NOBODY, PUBLIC_BY_STUN, PUBLIC_BY_HTTP } by;
    char via[PUBLIC_VIA_SIZE];       /* who said so */
    char reason[PUBLIC_REASON_SIZE]; /* why the last one asked did not say; "": it did */
    bool settled;                    /* everybody was asked once, or somebody knew */
    size_t step;                     /* who is asked, by the order above */
    const struct flowd_name *waits_for;
    struct flowd_stun_query query;
    struct flowd_fetch *fetch;
    struct ev_timer again;
    double asked_at;   /* when the last round began, by the loop's clock */
    unsigned failures; /* rounds in a row in which nobody knew */
    struct public_address *next;
};

/* Begins to ask. Returns owned, NULL: no memory. */
struct public_address *public_address_new(struct public_askers *askers,
                                          const struct flowd_address *local);
void public_address_free(struct public_address *address);
/* Asks from the first one on; what is known stays until somebody says something else. */
void public_address_restart(struct public_address *address);
/* The same when something else has changed: not while it is asked, nor more often than each 10 s,
 * however often interfaces come and go. */
void public_address_refresh(struct public_address *address);
/* The server's name has an answer: goes on if it was waited for. */
void public_address_name_changed(struct public_address *address, const struct flowd_name *name);

/* Whether the address is one that leaves no site: private, shared or unique local (RFC 1918, 6598,
 * 4193). Loopback and link-local ones are not. */
bool public_address_is_private(const struct flowd_address *address);
/* Whether it is one that a host may have outside: not private, link-local, loopback, multicast. */
bool public_address_is_public(const struct flowd_address *address);
/* The address of an interface (may be NULL). Returns whether it is one of IPv4 or IPv6. */
bool public_address_read(const struct sockaddr *address, struct flowd_address *out);
