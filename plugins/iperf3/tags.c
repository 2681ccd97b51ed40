/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the tag of the next connection from the configured experiments and activities. In turn,
 * each list goes on by one with each connection; at random, any pair may come.
 */
#include "tags.h"

#include <stddef.h>
#include <sys/random.h>

void iperf3_tags_init(struct iperf3_tags *tags, const struct flowd_integers *experiments,
                      const struct flowd_integers *activities, bool random)
{
    *tags = (struct iperf3_tags){
        .experiments = experiments, .activities = activities, .random = random};
    /* Without entropy the numbers are the same at each start, which harms nobody. */
    if (random && getrandom(&tags->state, sizeof(tags->state), GRND_NONBLOCK) < 0)
        tags->state = 0;
}

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t number = *state += 0x9e3779b97f4a7c15u;

    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

static int64_t pick(const struct flowd_integers *list, uint64_t number)
{
    return list->items[number % list->count];
}

struct flowd_tag iperf3_tags_next(struct iperf3_tags *tags)
{
    uint64_t first = tags->random ? next_random(&tags->state) : tags->state;
    uint64_t second = tags->random ? next_random(&tags->state) : tags->state++;

    return (struct flowd_tag){
        .experiment = (uint16_t)pick(tags->experiments, first),
        .activity = (uint8_t)pick(tags->activities, second),
    };
}
