/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the datagrams that wait leave together, and in which order. For sender.c alone.
 */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Datagrams that are looked at together: a turn of the fifo brings about half as many for each
 * collector. */
#define BATCH_MAX 2048
/* Datagrams of one message (UDP_MAX_SEGMENTS up to Linux 6.8), and its bytes, which fit IPv4. */
#define BATCH_SEGMENTS_MAX 64
#define BATCH_BYTES_MAX 65507

struct segment_limits;

struct datagram {
    size_t offset; /* of its bytes in the queue's text */
    uint32_t length;
    unsigned receiver; /* 0: it leaves by itself */
    uint64_t tag;
    uint64_t order;
    struct sockaddr_in6 address; /* or a sockaddr_in, by its family, and zeros */
};

/* Positions are in the order in which the datagrams leave, places in that of the queue. */
struct batch {
    size_t count;
    size_t at; /* those at earlier positions are done */
    uint16_t places[BATCH_MAX];
    uint16_t ends[BATCH_MAX]; /* the position behind the last one of its group */
};

/*
 * Plans for count (at most BATCH_MAX) datagrams: those to one receiver that have one length form
 * groups where limits allow it. Two to one receiver with one order leave in the order in which they
 * are given.
 */
void batch_plan(struct batch *batch, const struct datagram *datagrams, size_t count,
                const struct segment_limits *limits);

/* Has the group at the head, and those that limits do not allow any more, leave one by one. */
void batch_split(struct batch *batch, const struct datagram *datagrams,
                 const struct segment_limits *limits);

/* How many datagrams from position (< count) on leave as one message. */
static inline size_t batch_together(const struct batch *batch, size_t position)
{
    return batch->ends[position] - position;
}
