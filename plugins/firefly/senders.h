/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sends fireflies: counts for each address, and how many of them are taken in a second. So many
 * senders are known as fit; the one that has been silent longest makes room for a new one.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/probe.h"
#include "daemon/net/address.h"

#define FIREFLY_SENDERS_MAX 1024
/* Of them the status shows those that sent most. */
#define FIREFLY_SENDERS_SHOWN 20

struct firefly_sender {
    struct flowd_address address;
    uint64_t received; /* datagrams */
    uint64_t rejected; /* that are no fireflies */
    uint64_t limited;  /* that came too fast */
    double tokens;     /* datagrams that may come now ... */
    double filled_s;   /* ... which was so then */
    uint32_t older;    /* neighbours in the order of the last datagram; number + 1, 0: none */
    uint32_t newer;
};

struct firefly_senders {
    struct firefly_sender *items; /* owned */
    struct flowd_probe probe;
    uint64_t seed;
    uint32_t count;
    uint32_t oldest, newest; /* number + 1, 0: none */
};

/* Returns 0, -ENOMEM or -EIO. */
int firefly_senders_init(struct firefly_senders *senders);
void firefly_senders_fini(struct firefly_senders *senders);

/* The sender with this address, of whom another datagram has come. Borrowed until the next call. */
struct firefly_sender *firefly_senders_heard(struct firefly_senders *senders,
                                             const struct flowd_address *address);
/*
 * Whether its datagram is taken, at rate (> 0) a second and a second's worth at once. now_s is of
 * any clock.
 */
bool firefly_sender_may(struct firefly_sender *sender, double rate, double now_s);

/* An array of those that sent most. Returns owned, NULL: no memory. */
json_t *firefly_senders_json(const struct firefly_senders *senders);
