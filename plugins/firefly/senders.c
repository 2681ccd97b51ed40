/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of senders: records that never move, a hash table over them, and a list in the order of
 * the last datagram, whose end is reused when the table is full. The hash is seeded, because
 * anybody can send.
 */
#include "senders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int firefly_senders_init(struct firefly_senders *senders)
{
    *senders = (struct firefly_senders){0};
    if (getrandom(&senders->seed, sizeof(senders->seed), 0) != sizeof(senders->seed))
        return -EIO;
    senders->items = calloc(FIREFLY_SENDERS_MAX, sizeof(*senders->items));
    if (senders->items == NULL || flowd_probe_init(&senders->probe) < 0)
        return -ENOMEM;
    return flowd_probe_expect(&senders->probe, FIREFLY_SENDERS_MAX);
}

void firefly_senders_fini(struct firefly_senders *senders)
{
    flowd_probe_fini(&senders->probe);
    free(senders->items);
}

static uint32_t hash_of(const struct firefly_senders *senders, const struct flowd_address *address)
{
    uint64_t words[2];
    uint64_t hash = senders->seed ^ address->family;

    memcpy(words, &address->addr, sizeof(words));
    for (size_t i = 0; i < 2; i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static bool is_at(const struct firefly_sender *sender, const struct flowd_address *address)
{
    return sender->address.family == address->family &&
           memcmp(&sender->address.addr, &address->addr, sizeof(address->addr)) == 0;
}

static void unlink_sender(struct firefly_senders *senders, struct firefly_sender *sender)
{
    if (sender->older != 0)
        senders->items[sender->older - 1].newer = sender->newer;
    else
        senders->oldest = sender->newer;
    if (sender->newer != 0)
        senders->items[sender->newer - 1].older = sender->older;
    else
        senders->newest = sender->older;
}

static void link_newest(struct firefly_senders *senders, struct firefly_sender *sender)
{
    uint32_t number = (uint32_t)(sender - senders->items) + 1;

    sender->older = senders->newest;
    sender->newer = 0;
    if (senders->newest != 0)
        senders->items[senders->newest - 1].newer = number;
    else
        senders->oldest = number;
    senders->newest = number;
}

/* A record for a new sender: an unused one, or that of who has been silent longest. */
static struct firefly_sender *make_room(struct firefly_senders *senders)
{
    struct firefly_sender *sender;

    if (senders->count < FIREFLY_SENDERS_MAX)
        return &senders->items[senders->count++];
    sender = &senders->items[senders->oldest - 1];
    unlink_sender(senders, sender);
    (void)flowd_probe_remove(&senders->probe, hash_of(senders, &sender->address),
                             (uint32_t)(sender - senders->items) + 1);
    return sender;
}

static struct firefly_sender *find(struct firefly_senders *senders,
                                   const struct flowd_address *address, uint32_t hash)
{
    size_t cursor = FLOWD_PROBE_BEGIN;
    uint32_t number;

    while ((number = flowd_probe_next(&senders->probe, hash, &cursor)) != 0)
        if (is_at(&senders->items[number - 1], address))
            return &senders->items[number - 1];
    return NULL;
}

struct firefly_sender *firefly_senders_heard(struct firefly_senders *senders,
                                             const struct flowd_address *address)
{
    struct firefly_sender *sender =
        senders->newest != 0 ? &senders->items[senders->newest - 1] : NULL;
    uint32_t hash;

    /* Most datagrams of a batch are of one sender. */
    if (sender == NULL || !is_at(sender, address)) {
        hash = hash_of(senders, address);
        sender = find(senders, address, hash);
        if (sender != NULL) {
            unlink_sender(senders, sender);
        } else {
            sender = make_room(senders);
            *sender = (struct firefly_sender){.address = *address};
            flowd_probe_add(&senders->probe, hash, (uint32_t)(sender - senders->items) + 1);
        }
        link_newest(senders, sender);
    }
    sender->received++;
    return sender;
}

bool firefly_sender_may(struct firefly_sender *sender, double rate, double now_s)
{
    /* A clock that was set back fills nothing. */
    if (now_s > sender->filled_s)
        sender->tokens += (now_s - sender->filled_s) * rate;
    sender->filled_s = now_s;
    if (sender->tokens > rate)
        sender->tokens = rate;
    if (sender->tokens < 1) {
        sender->limited++;
        return false;
    }
    sender->tokens -= 1;
    return true;
}

static int by_received(const void *a, const void *b)
{
    const struct firefly_sender *one = *(const struct firefly_sender *const *)a;
    const struct firefly_sender *other = *(const struct firefly_sender *const *)b;

    return (one->received < other->received) - (one->received > other->received);
}

static json_t *sender_json(const struct firefly_sender *sender)
{
    char text[FLOWD_ADDRESS_SIZE];

    flowd_address_format(sender->address.family, &sender->address.addr, text);
    return json_pack("{s:s, s:I, s:I, s:I}", "address", text, "received",
                     (json_int_t)sender->received, "rejected", (json_int_t)sender->rejected,
                     "limited", (json_int_t)sender->limited);
}

json_t *firefly_senders_json(const struct firefly_senders *senders)
{
    const struct firefly_sender *order[FIREFLY_SENDERS_MAX] = {0};
    json_t *array = json_array();

    for (uint32_t i = 0; i < senders->count; i++)
        order[i] = &senders->items[i];
    qsort(order, senders->count, sizeof(order[0]), by_received);
    for (uint32_t i = 0; i < senders->count && i < FIREFLY_SENDERS_SHOWN; i++)
        json_array_append_new(array, sender_json(order[i]));
    return array;
}
