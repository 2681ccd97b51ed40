/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces and their addresses as the kernel's messages tell of them: bytes in, tables out, and
 * no socket.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/net/host.h"

struct nlmsghdr;

/* Empty where it is all zeros. */
struct flowd_host_tables {
    struct flowd_assigned *assigned;    /* owned */
    struct flowd_local_address *locals; /* owned */
    struct flowd_link *links;           /* owned */
    bool links_changed;                 /* something did, since the caller cleared it */
    bool addresses_changed;
};

/*
 * Takes one message of rtnetlink, whose nlmsg_len bytes are there: a link or an address came,
 * changed or went. Any other is passed over, and so is one that is not understood.
 */
void flowd_host_tables_take(struct flowd_host_tables *tables, struct nlmsghdr *message);
void flowd_host_tables_clear(struct flowd_host_tables *tables);

/* Whether an interface has the address. */
bool flowd_host_tables_have(const struct flowd_host_tables *tables, uint8_t family,
                            const struct in6_addr *addr);
/* As flowd_host_interface() and flowd_host_next(). */
const struct flowd_interface *flowd_host_tables_interface(const struct flowd_host_tables *tables,
                                                          const char *name);
const struct flowd_interface *flowd_host_tables_next(const struct flowd_host_tables *tables,
                                                     int after_index);
