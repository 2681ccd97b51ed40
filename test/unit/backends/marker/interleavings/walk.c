/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depth first, by running the reader anew for each way: the loads of a run up to the one that goes
 * another way are at the same moments as before, those behind it as early as they can be.
 */
#include "walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "record.h"

/* The looks at a bucket, each of some lines, and more. */
#define LOADS_MAX 4096u
#define WORDS (sizeof(struct record_maps) / 8)
#define NONE UINT32_MAX

struct load {
    uint32_t at;
    uint32_t size;
    uint32_t from;   /* so many stores were seen before it, at least */
    uint32_t moment; /* so many are now */
};

static struct load loads[LOADS_MAX];
static uint32_t count;  /* loads of this run up to now */
static uint32_t chosen; /* loads whose moment is given */
/* The stores to each aligned 8 bytes, in order, and what stands there after each. */
static uint32_t first[WORDS];
static uint32_t following[RECORD_STORES];
static uint64_t after[RECORD_STORES];

static void index_stores(void)
{
    struct record_maps maps = recorded.before;

    memset(first, 0xff, sizeof(first));
    for (uint32_t i = 0; i < recorded.count; i++) {
        const struct record_store *store = &recorded.stores[i];

        memcpy((char *)&maps + store->at, &store->value, store->size);
        memcpy(&after[i], (const char *)&maps + store->at / 8 * 8, sizeof(after[i]));
    }
    for (uint32_t i = recorded.count; i-- > 0;) {
        following[i] = first[recorded.stores[i].at / 8];
        first[recorded.stores[i].at / 8] = i;
    }
}

static uint64_t part_of(const struct load *load, uint64_t word)
{
    uint64_t value = 0;

    memcpy(&value, (const char *)&word + load->at % 8, load->size);
    return value;
}

/* What stands there after so many stores. */
static uint64_t value_at(const struct load *load, uint32_t moment)
{
    uint64_t word;

    memcpy(&word, (const char *)&recorded.before + load->at / 8 * 8, sizeof(word));
    for (uint32_t i = first[load->at / 8]; i < moment; i = following[i])
        word = after[i];
    return part_of(load, word);
}

uint64_t walk_load(const void *at, size_t size)
{
    struct load *load = &loads[count];
    uint32_t from = count == 0 ? 0 : loads[count - 1].moment;

    assert_true(count < LOADS_MAX);
    if (count++ >= chosen)
        *load = (struct load){.at = (uint32_t)((const char *)at - (const char *)&recorded.maps),
                              .size = (uint32_t)size,
                              .from = from,
                              .moment = from};
    return value_at(load, load->moment);
}

/* The next moment at which the load has a value that it had at none before; false: there is none.
 */
static bool go_on(const struct walker *walker, const void *context, struct load *load)
{
    const void *at = (const char *)&recorded.maps + load->at;
    uint64_t known[RECORD_STORES];
    uint32_t known_count = 0;

    if (first[load->at / 8] == NONE)
        return false;
    known[known_count++] = walker->meaning(context, at, value_at(load, load->from));
    for (uint32_t i = first[load->at / 8]; i != NONE; i = following[i]) {
        uint64_t value = walker->meaning(context, at, part_of(load, after[i]));
        bool is_known = i < load->from;

        for (uint32_t j = 0; j < known_count && !is_known; j++)
            is_known = value == known[j];
        if (is_known)
            continue;
        if (i >= load->moment) {
            load->moment = i + 1;
            return true;
        }
        known[known_count++] = value;
    }
    return false;
}

void walk(const struct walker *walker, const void *context)
{
    index_stores();
    chosen = 0;
    do {
        count = 0;
        walker->seen(context, walker->run(context));
        chosen = count;
        while (chosen > 0 && !go_on(walker, context, &loads[chosen - 1]))
            chosen--;
    } while (chosen > 0);
}
