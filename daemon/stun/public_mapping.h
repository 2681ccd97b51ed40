/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairs of addresses, sorted by the first of them: what is shown in place of what. For the room
 * alone.
 */
#pragma once

#include <stddef.h>

#include "daemon/net/address.h"
#include "daemon/options/option.h"

struct public_mapping {
    struct flowd_address local, public;
};

/* Zero-initialised is empty. */
struct public_mappings {
    struct public_mapping *items; /* owned */
    size_t count;
};

/* Returns 0, or -EINVAL: not two addresses of one family. */
int public_mapping_parse(const struct flowd_pair *pair, struct public_mapping *out);
/* As memcmp() does. */
int public_mapping_compare(const struct flowd_address *a, const struct flowd_address *b);

/* Makes room for so many in an empty table. Returns 0 or -ENOMEM. */
int public_mappings_reserve(struct public_mappings *mappings, size_t count);
/* For public_mappings_find(). */
void public_mappings_sort(struct public_mappings *mappings);
/* The pairs that can be read, sorted. Returns 0 with *out (owned), or -ENOMEM. */
int public_mappings_read(struct public_mappings *out, const struct flowd_pairs *pairs);
void public_mappings_fini(struct public_mappings *mappings);
/* The pair of local; NULL: there is none. Borrowed. */
const struct public_mapping *public_mappings_find(const struct public_mappings *mappings,
                                                  const struct flowd_address *local);
