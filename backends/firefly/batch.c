/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of datagrams that the kernel can cut out of one message (udp(7), UDP_SEGMENT), for which
 * all of a group have to be of one length.
 *
 * Groups leave in the order in which they were opened. So a datagram may join an open group unless
 * an earlier one of its flow is in a group that leaves later: then it opens a group of its own,
 * which others may join. Flows are told apart by a few bits of their order, and two that share them
 * only cost a group.
 */
#include "batch.h"

#include <stdbool.h>
#include <string.h>

#include "segment_limits.h"

#define LATEST_BITS 15
#define OPEN_SLOTS 4096u

struct group {
    uint16_t first; /* place of its first datagram */
    uint16_t count;
    uint16_t most;
    uint16_t position; /* where the next one of it stands */
};

/* The numbers of groups begin with 1 where 0 says that there is none. */
struct plan {
    struct group groups[BATCH_MAX];
    size_t group_count;
    uint16_t group_of[BATCH_MAX];       /* by place */
    uint16_t latest[1u << LATEST_BITS]; /* the last group that one of these flows is in */
    uint16_t open[OPEN_SLOTS];          /* by receiver and length */
};

static size_t latest_slot(const struct datagram *datagram)
{
    uint64_t mixed =
        (datagram->order + datagram->receiver * 0xc2b2ae3d27d4eb4fu) * 0x9e3779b97f4a7c15u;

    return (size_t)(mixed >> (64 - LATEST_BITS));
}

/* Lengths differ by some hundreds: receivers get a stretch of slots each. */
static size_t open_slot(const struct datagram *datagram)
{
    return (datagram->length + datagram->receiver * 517u) % OPEN_SLOTS;
}

static bool is_alike(const struct datagram *a, const struct datagram *b)
{
    return a->length == b->length && a->receiver == b->receiver &&
           memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static uint16_t segments_max(const struct datagram *datagram, const struct segment_limits *limits)
{
    uint32_t fitting;

    if (datagram->receiver == 0 || datagram->length == 0 ||
        datagram->length > segment_limits_of(limits, datagram->receiver, &datagram->address))
        return 1;
    fitting = BATCH_BYTES_MAX / datagram->length;
    return (uint16_t)(fitting < BATCH_SEGMENTS_MAX ? fitting : BATCH_SEGMENTS_MAX);
}

/* The number of the group of the datagram at place. */
static uint16_t join(struct plan *plan, const struct datagram *datagrams, size_t place,
                     const struct segment_limits *limits)
{
    const struct datagram *datagram = &datagrams[place];
    uint16_t *open = &plan->open[open_slot(datagram)],
             *latest = &plan->latest[latest_slot(datagram)];
    struct group *group = &plan->groups[*open > 0 ? *open - 1 : 0];

    if (*open == 0 || *open < *latest || group->count == group->most ||
        !is_alike(datagram, &datagrams[group->first])) {
        group = &plan->groups[plan->group_count++];
        *group = (struct group){.first = (uint16_t)place, .most = segments_max(datagram, limits)};
        *open = (uint16_t)plan->group_count;
    }
    group->count++;
    *latest = *open;
    return *open;
}

/* For the next plan, without touching what was not used. */
static void forget(struct plan *plan, const struct datagram *datagrams, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        plan->latest[latest_slot(&datagrams[i])] = 0;
        plan->open[open_slot(&datagrams[i])] = 0;
    }
    plan->group_count = 0;
}

void batch_plan(struct batch *batch, const struct datagram *datagrams, size_t count,
                const struct segment_limits *limits)
{
    static struct plan plan;
    uint16_t position = 0;

    batch->at = 0;
    batch->count = count;
    for (size_t place = 0; place < count; place++)
        plan.group_of[place] = join(&plan, datagrams, place, limits);
    for (size_t i = 0; i < plan.group_count; i++) {
        plan.groups[i].position = position;
        position = (uint16_t)(position + plan.groups[i].count);
    }
    for (size_t place = 0; place < count; place++) {
        struct group *group = &plan.groups[plan.group_of[place] - 1];

        batch->places[group->position++] = (uint16_t)place;
    }
    position = 0;
    for (size_t i = 0; i < plan.group_count; i++)
        while (position < plan.groups[i].position)
            batch->ends[position++] = plan.groups[i].position;
    forget(&plan, datagrams, count);
}

static void split(struct batch *batch, size_t position)
{
    size_t end = batch->ends[position];

    for (; position < end; position++)
        batch->ends[position] = (uint16_t)(position + 1);
}

void batch_split(struct batch *batch, const struct datagram *datagrams,
                 const struct segment_limits *limits)
{
    split(batch, batch->at);
    for (size_t at = batch->at; at < batch->count; at = batch->ends[at])
        if (segments_max(&datagrams[batch->places[at]], limits) == 1)
            split(batch, at);
}
