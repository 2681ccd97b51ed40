/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of ends that are held back: an array with an index by key, and a chain in the order of
 * time through it. All wait equally long, so one timer for the oldest is enough.
 */
#include "held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/base/vector.h"

/* What one turn of the loop sends; the rest waits for the next. */
#define SENT_PER_TURN 4096
#define US_PER_S 1000000

struct firefly_held_end {
    struct flowd_flow_key key; /* the index wants it first */
    char *text;                /* owned */
    size_t length;
    int64_t due_us;        /* CLOCK_BOOTTIME: no clock that is set */
    uint32_t older, newer; /* number + 1, 0: none; newer is the next of the unused ones, too */
};

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events);

int firefly_held_init(struct firefly_held *held, struct ev_loop *loop, double hold_s,
                      firefly_held_send send, void (*flush)(void *context), void *context)
{
    *held = (struct firefly_held){
        .loop = loop, .hold_s = hold_s, .send = send, .flush = flush, .context = context};
    ev_timer_init(&held->timer, on_timer, 0, 0);
    held->timer.data = held;
    return flowd_flow_index_init(&held->index, sizeof(struct firefly_held_end));
}

void firefly_held_fini(struct firefly_held *held)
{
    ev_timer_stop(held->loop, &held->timer);
    for (uint32_t number = held->oldest; number != 0; number = held->ends[number - 1].newer)
        free(held->ends[number - 1].text);
    free(held->ends);
    flowd_flow_index_fini(&held->index);
}

static void set_timer(struct firefly_held *held)
{
    if (held->oldest == 0) {
        ev_timer_stop(held->loop, &held->timer);
    } else if (!ev_is_active(&held->timer)) {
        ev_tstamp wait_s =
            (double)(held->ends[held->oldest - 1].due_us - flowd_timestamp_boot_us()) / US_PER_S;

        ev_timer_set(&held->timer, wait_s > 0 ? wait_s : 0, 0);
        ev_timer_start(held->loop, &held->timer);
    }
}

static uint32_t *link_to_newer(struct firefly_held *held, uint32_t older)
{
    return older != 0 ? &held->ends[older - 1].newer : &held->oldest;
}

static uint32_t *link_to_older(struct firefly_held *held, uint32_t newer)
{
    return newer != 0 ? &held->ends[newer - 1].older : &held->newest;
}

/* Forgets an end; its text is the caller's from here on. */
static void take_out(struct firefly_held *held, uint32_t number)
{
    struct firefly_held_end *end = &held->ends[number - 1];

    flowd_flow_index_remove(&held->index, &end->key, number - 1);
    *link_to_newer(held, end->older) = end->newer;
    *link_to_older(held, end->newer) = end->older;
    held->bytes -= end->length;
    held->count--;
    end->newer = held->free;
    held->free = number;
    set_timer(held);
}

static void send_out(struct firefly_held *held, uint32_t number)
{
    /* Whoever sends may hold another one meanwhile, which moves the array. */
    struct firefly_held_end end = held->ends[number - 1];

    take_out(held, number);
    held->send(held->context, &end.key, end.text, end.length);
    free(end.text);
}

static uint32_t find(const struct firefly_held *held, const struct flowd_flow_key *key)
{
    uint32_t found = held->count == 0 ? FLOWD_FLOW_INDEX_NONE
                                      : flowd_flow_index_find(&held->index, held->ends, key);

    return found != FLOWD_FLOW_INDEX_NONE ? found + 1 : 0;
}

/* A place for one more end. Returns its number, 0: no memory. */
static uint32_t make_place(struct firefly_held *held)
{
    uint32_t number = held->free;

    if (flowd_flow_index_reserve(&held->index) < 0)
        return 0;
    if (number != 0) {
        held->free = held->ends[number - 1].newer;
        return number;
    }
    if (flowd_vector_reserve(&held->ends, &held->capacity, held->used + 1) < 0)
        return 0;
    return ++held->used;
}

void firefly_held_add(struct firefly_held *held, const struct flowd_flow_key *key, const char *text,
                      size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    uint32_t number;

    firefly_held_release(held, key);
    while (held->count > 0 &&
           (held->count >= FIREFLY_HELD_MAX || held->bytes + length > FIREFLY_HELD_BYTES_MAX))
        send_out(held, held->oldest);
    number = copy != NULL ? make_place(held) : 0;
    if (number == 0) {
        free(copy);
        held->send(held->context, key, text, length);
        return;
    }
    memcpy(copy, text, length);
    held->ends[number - 1] = (struct firefly_held_end){.key = *key,
                                                       .text = copy,
                                                       .length = length,
                                                       .due_us = flowd_timestamp_boot_us() +
                                                                 (int64_t)(held->hold_s * US_PER_S),
                                                       .older = held->newest};
    *link_to_newer(held, held->newest) = number;
    held->newest = number;
    flowd_flow_index_add(&held->index, key, number - 1);
    held->bytes += length;
    held->count++;
    set_timer(held);
}

bool firefly_held_drop(struct firefly_held *held, const struct flowd_flow_key *key)
{
    uint32_t number = find(held, key);
    char *text;

    if (number == 0)
        return false;
    text = held->ends[number - 1].text;
    take_out(held, number);
    free(text);
    return true;
}

void firefly_held_release(struct firefly_held *held, const struct flowd_flow_key *key)
{
    uint32_t number = find(held, key);

    if (number != 0)
        send_out(held, number);
}

void firefly_held_release_all(struct firefly_held *held)
{
    while (held->oldest != 0)
        send_out(held, held->oldest);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct firefly_held *held = watcher->data;
    int64_t now_us = flowd_timestamp_boot_us();

    (void)loop;
    (void)events;
    for (int i = 0;
         i < SENT_PER_TURN && held->oldest != 0 && held->ends[held->oldest - 1].due_us <= now_us;
         i++)
        send_out(held, held->oldest);
    held->flush(held->context);
    set_timer(held);
}
