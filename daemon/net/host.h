/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host is: its interfaces and what it takes for its own addresses, read once by rtnetlink
 * and kept current.
 */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"

struct ev_loop;
struct flowd_host;

struct flowd_interface {
    int index;
    char name[IF_NAMESIZE];
    unsigned flags;   /* IFF_UP, ... */
    unsigned type;    /* ARPHRD_ETHER, ARPHRD_LOOPBACK, ... */
    unsigned mtu;     /* bytes */
    bool ipv6;        /* has an IPv6 address of any scope */
    bool global_ipv6; /* has an IPv6 address of global scope (also unique local ones) */
};

/* Told after something changed; embedded in its owner, which removes it before it goes. */
struct flowd_host_observer {
    void (*changed)(struct flowd_host_observer *observer, bool links, bool addresses);
    struct flowd_host_observer *next; /* the host's */
};

/* Reads everything. Returns 0 and *out (owned), or -errno. */
int flowd_host_new(struct ev_loop *loop, struct flowd_host **out, struct flowd_error *err);
void flowd_host_free(struct flowd_host *host);

void flowd_host_observe(struct flowd_host *host, struct flowd_host_observer *observer);
void flowd_host_unobserve(struct flowd_host *host, struct flowd_host_observer *observer);

/*
 * Whether the kernel takes addr (as in struct flowd_address) for this host's own: an interface has
 * it, or a local route covers it. 127.0.0.0/8 is always local. It may ask the kernel.
 */
bool flowd_host_is_local(const struct flowd_host *host, uint8_t family,
                         const struct in6_addr *addr);
/* How many questions that took so far, modulo 2^32: each costs as much as a hundred others. */
uint32_t flowd_host_asked(const struct flowd_host *host);

/* By its name or an alternative one. NULL: no such interface. Borrowed until the loop turns. */
const struct flowd_interface *flowd_host_interface(const struct flowd_host *host, const char *name);
/* Walks all interfaces by rising index: start with 0, then the index of the last one; NULL: end. */
const struct flowd_interface *flowd_host_next(const struct flowd_host *host, int after_index);
