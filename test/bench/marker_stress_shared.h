/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the program that hands out packets and checks their labels, and the one that changes flows,
 * share.
 */
#pragma once

#include <linux/types.h>

/* Numbers of flows: those that stay, then those that come, go and change, then no flow's. */
#define STRESS_STAYING 20000u
#define STRESS_CHANGING 65536u
#define STRESS_OTHERS 65536u

/* The label that packets come with. */
#define STRESS_UNMARKED 0x12345u
#define STRESS_LABEL_STAYING 0x40000u
#define STRESS_LABEL_ONE 0x80000u
#define STRESS_LABEL_ANOTHER 0xa0000u

/*
 * What is known of a flow that changes: its label (0: it has no mark) and, in the lowest bit,
 * whether it is being changed at this moment.
 */
#define STRESS_UNDER_WAY 1u

static inline __u32 stress_state(__u32 label)
{
    return label << 1;
}

/* What is written into each packet, behind its Ethernet header. */
struct stress_headers {
    __u8 before[37]; /* the IPv6 header but for */
    __u8 address[3]; /* the end of its destination address */
    __u8 source_port[2];
    __u8 destination_port[2];
};
_Static_assert(sizeof(struct stress_headers) == 44, "no padding");
