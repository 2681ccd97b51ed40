/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends many small datagrams to many addresses with few system calls, and keeps what the network
 * does not take at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/base/error.h"

struct ev_loop;
struct flowd_sender;

/* What became of a datagram. */
enum flowd_sent {
    FLOWD_SENT_OK,
    FLOWD_SENT_FAILED,  /* the kernel refused it; not tried again */
    FLOWD_SENT_DROPPED, /* too many were waiting */
};

/* One datagram. */
struct flowd_outgoing {
    const char *data; /* borrowed */
    size_t length;
    uint64_t tag; /* handed back */
    /* Those with the same number leave for a receiver in the order in which they were queued;
     * others need not: those of one length leave together. */
    uint64_t order;
};

/*
 * Told of each datagram, with the tag, the receiver and the address (borrowed; only its family's
 * sockaddr is there to be read) that it was queued with. error is an errno for FAILED, else 0.
 */
typedef void (*flowd_sender_done)(void *context, uint64_t tag, unsigned receiver,
                                  const struct sockaddr_storage *address, enum flowd_sent result,
                                  int error);
/*
 * Told of each ICMP error that came back for a datagram to address (borrowed), which had been sent:
 * nobody listens there, or it can't be reached. error is the errno that the kernel has for it.
 */
typedef void (*flowd_sender_refused)(void *context, const struct sockaddr_storage *address,
                                     int error);

/* Returns 0 and *out (owned), or -errno. One socket for each family that the host has. */
int flowd_sender_new(struct ev_loop *loop, flowd_sender_done done, flowd_sender_refused refused,
                     void *context, struct flowd_sender **out, struct flowd_error *err);
/* Tries once more to send what is waiting, then drops it. */
void flowd_sender_free(struct flowd_sender *sender);

/*
 * Queues one datagram, whose bytes are copied. receiver is handed back; 0 stands for anybody, and
 * each other number for one who gets many. It leaves with flowd_sender_flush(), or earlier where
 * very many are queued; one that can't be queued is reported at once.
 */
void flowd_sender_queue(struct flowd_sender *sender, const struct sockaddr_storage *address,
                        unsigned receiver, const struct flowd_outgoing *outgoing);

/* Sends as much as the sockets take; the rest goes when they are writable again. */
void flowd_sender_flush(struct flowd_sender *sender);

/* Datagrams that are waiting. */
size_t flowd_sender_waiting(const struct flowd_sender *sender);
