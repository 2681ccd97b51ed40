/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tables of hashes of 64 bits, in buckets of one cache line; a full bucket gives up its oldest
 * entry. The hashes are seeded, so that nobody outside can aim at one.
 */
#include "daemon/firefly/recent.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define US_PER_MS 1000
#define WAYS 4
#define ENDS_ORDER 15
/*
 * A message that comes back must still be known, however long flowd's own queues and the kernel's
 * are: they hold some 200,000, and with fewer entries than a few times that a circle would feed
 * itself after a flood. Untouched parts take no memory.
 */
#define MESSAGES_ORDER 18

struct entry {
    uint64_t hash;
    int64_t until_us; /* 0: free */
};

struct bucket {
    _Alignas(64) struct entry entries[WAYS];
};

struct flowd_firefly_recent {
    struct bucket ends[1u << ENDS_ORDER];
    struct bucket messages[1u << MESSAGES_ORDER];
    uint64_t seed;
};

int flowd_firefly_recent_new(struct flowd_firefly_recent **out)
{
    struct flowd_firefly_recent *recent =
        mmap(NULL, sizeof(*recent), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (recent == MAP_FAILED)
        return -ENOMEM;
    if (getrandom(&recent->seed, sizeof(recent->seed), 0) != sizeof(recent->seed)) {
        flowd_firefly_recent_free(recent);
        return -EIO;
    }
    *out = recent;
    return 0;
}

void flowd_firefly_recent_free(struct flowd_firefly_recent *recent)
{
    if (recent != NULL)
        munmap(recent, sizeof(*recent));
}

bool flowd_firefly_announced(const struct flowd_flow *flow)
{
    return memcmp(flow->source, FLOWD_FIREFLY_SOURCE, sizeof(FLOWD_FIREFLY_SOURCE)) == 0;
}

bool flowd_firefly_same_start(int64_t start_us, int64_t other_us)
{
    return start_us / US_PER_MS == other_us / US_PER_MS;
}

static size_t number_of(uint64_t hash, unsigned order)
{
    return hash >> (64 - order);
}

static const struct entry *find(const struct bucket *bucket, uint64_t hash, int64_t now_us)
{
    for (unsigned i = 0; i < WAYS; i++)
        if (bucket->entries[i].hash == hash && bucket->entries[i].until_us > now_us)
            return &bucket->entries[i];
    return NULL;
}

static void note(struct bucket *bucket, uint64_t hash, int64_t now_us)
{
    struct entry *place = &bucket->entries[0];

    for (unsigned i = 0; i < WAYS && place->hash != hash; i++)
        if (bucket->entries[i].hash == hash || bucket->entries[i].until_us < place->until_us)
            place = &bucket->entries[i];
    *place = (struct entry){.hash = hash, .until_us = now_us + FLOWD_FIREFLY_RECENT_US};
}

/* The lowest bit of an end's hash tells whose it was. */
static uint64_t end_hash(const struct flowd_firefly_recent *recent,
                         const struct flowd_flow_key *key, int64_t start_us, bool ours)
{
    uint64_t seed = recent->seed ^ (uint64_t)(start_us / US_PER_MS) * 0x9e3779b97f4a7c15u;

    return (flowd_flow_key_hash(key, seed) & ~UINT64_C(1)) | ours;
}

void flowd_firefly_recent_note_end(struct flowd_firefly_recent *recent,
                                   const struct flowd_flow *flow, int64_t now_us)
{
    uint64_t hash = end_hash(recent, &flow->key, flow->start_us, !flowd_firefly_announced(flow));

    note(&recent->ends[number_of(hash, ENDS_ORDER)], hash, now_us);
}

enum flowd_firefly_end flowd_firefly_recent_end(const struct flowd_firefly_recent *recent,
                                                const struct flowd_flow_key *key, int64_t start_us,
                                                int64_t now_us)
{
    uint64_t hash = end_hash(recent, key, start_us, true);
    const struct bucket *bucket = &recent->ends[number_of(hash, ENDS_ORDER)];

    if (find(bucket, hash, now_us) != NULL)
        return FLOWD_FIREFLY_END_OURS;
    return find(bucket, hash ^ 1, now_us) != NULL ? FLOWD_FIREFLY_END_OTHERS
                                                  : FLOWD_FIREFLY_END_NONE;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
}

static uint64_t message_hash(uint64_t seed, const char *object, size_t length)
{
    uint64_t hash = mix(seed, length);
    uint64_t word;

    for (; length >= sizeof(word); object += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, object, sizeof(word));
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, object, length);
    return mix(mix(hash, word), seed);
}

bool flowd_firefly_recent_message(struct flowd_firefly_recent *recent, const char *object,
                                  size_t length, int64_t now_us)
{
    uint64_t hash = message_hash(recent->seed, object, length);
    struct bucket *bucket = &recent->messages[number_of(hash, MESSAGES_ORDER)];
    bool known = find(bucket, hash, now_us) != NULL;

    note(bucket, hash, now_us);
    return known;
}
