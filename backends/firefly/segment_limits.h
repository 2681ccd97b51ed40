/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long datagrams to a receiver may be so that several leave as one message: what the kernel has
 * refused once is not tried again and again. For the sender alone.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What flowd composes fits that; longer ones may have to be fragmented, which segments can't be. */
#define SEGMENT_MAX 1400
/* What every IPv6 path takes: 1280 bytes less the headers. */
#define SEGMENT_MAX_SMALL_MTU 1232
#define SEGMENT_REFUSALS_MAX 16

struct segment_refusal {
    unsigned receiver; /* 0: none */
    struct sockaddr_in6 address;
    uint16_t limit; /* in bytes; 0: each datagram leaves by itself */
};

/* Zero-initialised there is none. Where there are too many, the oldest is forgotten. */
struct segment_limits {
    struct segment_refusal refusals[SEGMENT_REFUSALS_MAX];
    size_t count; /* of all that ever were */
};

/* The bytes that a datagram to the receiver at this address may have. */
uint16_t segment_limits_of(const struct segment_limits *limits, unsigned receiver,
                           const struct sockaddr_in6 *address);
/*
 * Notes that the kernel has refused, with error, a message of several datagrams of length. Returns
 * whether that lowers the limit of the receiver at this address: other errors are no fault of the
 * form.
 */
bool segment_limits_refuse(struct segment_limits *limits, unsigned receiver,
                           const struct sockaddr_in6 *address, size_t length, int error);
