/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's filter of a dump: a program for INET_DIAG_REQ_BYTECODE (include/uapi/linux/
 * inet_diag.h) that lets pass every socket whose remote address is in none of the given networks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/net/network.h"

/*
 * The longest program: jumps are 16 bits wide and reach four bytes past its end, and the attribute
 * that carries it is as long at the most.
 */
#define FLOWD_NETLINK_FILTER_SIZE 65528

struct flowd_netlink_filter {
    size_t length;   /* bytes; 0: no filter */
    size_t networks; /* how many of the networks, from the first on, are in it */
    uint8_t code[FLOWD_NETLINK_FILTER_SIZE];
};

/*
 * Compiles count networks, of which those of IPv4 come first; what has no room is left out. Sockets
 * of IPv6 that carry IPv4 count as IPv4.
 */
void flowd_netlink_filter_compile(const struct flowd_network *networks, size_t count,
                                  struct flowd_netlink_filter *out);
