/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the program that hands out packets and the benchmark share.
 */
#pragma once

#include <linux/types.h>

#define MARKER_TURNS_PORTS 20000u /* of one destination address */
#define MARKER_TURNS_PORT_FIRST 20000u
#define MARKER_TURNS_ADDRESS_FIRST 2u /* the last two bytes of the address */

/*
 * The kernel gave the processor to somebody else meanwhile, as it does between two packets of such
 * a run: no program takes nearly as long for one. On a busy machine these few turns would decide.
 */
#define MARKER_TURNS_DISTURBED_NS 20000u

/* What is written into each packet, behind its Ethernet header. */
struct marker_turns_headers {
    __u8 before[38]; /* the IPv6 header but for */
    __u8 address[2]; /* the end of its destination address */
    __u8 source_port[2];
    __u8 destination_port[2];
};
_Static_assert(sizeof(struct marker_turns_headers) == 44, "no padding");
