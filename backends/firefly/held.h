/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fireflies of ends that flowd found itself, held back for a while: the application that announced
 * the flow by a firefly usually sends its own end, which says more, and then only that one goes
 * out.
 *
 * They are sent in the order in which they were held. What is held is bounded, in number and in
 * bytes; where there is no room the oldest goes out at once.
 */
#pragma once

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"
#include "daemon/flow/flow_index.h"

#define FIREFLY_HELD_MAX 65536u
#define FIREFLY_HELD_BYTES_MAX ((size_t)64 << 20)

/* Sends the firefly of a flow's end; both are borrowed for the time of the call. */
typedef void (*firefly_held_send)(void *context, const struct flowd_flow_key *key, const char *text,
                                  size_t length);

struct firefly_held_end;

struct firefly_held {
    struct ev_loop *loop;
    double hold_s;
    struct ev_timer timer; /* when the oldest has waited long enough */
    firefly_held_send send;
    void (*flush)(void *context); /* after those that the timer had sent */
    void *context;
    struct flowd_flow_index index;
    struct firefly_held_end *ends; /* owned; some are unused */
    size_t capacity;
    uint32_t used;                 /* of them were ever */
    uint32_t free, oldest, newest; /* number + 1, 0: none; free is a chain of unused ones */
    uint32_t count;
    size_t bytes;
};

/* hold_s: how long each is held. context is borrowed. Returns 0 or -errno. */
int firefly_held_init(struct firefly_held *held, struct ev_loop *loop, double hold_s,
                      firefly_held_send send, void (*flush)(void *context), void *context);
/* Drops what is still held. */
void firefly_held_fini(struct firefly_held *held);

/* Holds a copy of the firefly of this flow's end. One that is held under the same key is sent. */
void firefly_held_add(struct firefly_held *held, const struct flowd_flow_key *key, const char *text,
                      size_t length);
/* Forgets the one that is held under the key. Returns whether there was one. */
bool firefly_held_drop(struct firefly_held *held, const struct flowd_flow_key *key);
/* Sends the one that is held under the key, if there is one; all of them. */
void firefly_held_release(struct firefly_held *held, const struct flowd_flow_key *key);
void firefly_held_release_all(struct firefly_held *held);
