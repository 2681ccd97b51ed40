/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array: it is made when something changes, and looked into twice for each firefly, which
 * most often finds it empty.
 */
#include "public_mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int public_mapping_parse(const struct flowd_pair *pair, struct public_mapping *out)
{
    struct public_mapping mapping;

    if (flowd_address_parse(pair->name, strlen(pair->name), &mapping.local) < 0 ||
        flowd_address_parse(pair->value, strlen(pair->value), &mapping.public) < 0 ||
        mapping.local.family != mapping.public.family)
        return -EINVAL;
    *out = mapping;
    return 0;
}

int public_mapping_compare(const struct flowd_address *a, const struct flowd_address *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

static int compare(const void *a, const void *b)
{
    return public_mapping_compare(&((const struct public_mapping *)a)->local,
                                  &((const struct public_mapping *)b)->local);
}

int public_mappings_reserve(struct public_mappings *mappings, size_t count)
{
    mappings->items = calloc(count + 1, sizeof(*mappings->items));
    return mappings->items != NULL ? 0 : -ENOMEM;
}

void public_mappings_sort(struct public_mappings *mappings)
{
    if (mappings->count > 0)
        qsort(mappings->items, mappings->count, sizeof(*mappings->items), compare);
}

int public_mappings_read(struct public_mappings *out, const struct flowd_pairs *pairs)
{
    struct public_mappings mappings = {0};
    int result = public_mappings_reserve(&mappings, pairs->count);

    if (result < 0)
        return result;
    for (size_t i = 0; i < pairs->count; i++)
        if (public_mapping_parse(&pairs->items[i], &mappings.items[mappings.count]) == 0)
            mappings.count++;
    public_mappings_sort(&mappings);
    *out = mappings;
    return 0;
}

void public_mappings_fini(struct public_mappings *mappings)
{
    free(mappings->items);
    *mappings = (struct public_mappings){0};
}

const struct public_mapping *public_mappings_find(const struct public_mappings *mappings,
                                                  const struct flowd_address *local)
{
    const struct public_mapping key = {.local = *local};

    if (mappings->count == 0)
        return NULL;
    return bsearch(&key, mappings->items, mappings->count, sizeof(*mappings->items), compare);
}
