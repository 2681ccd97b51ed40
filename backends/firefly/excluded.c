/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of excluded networks. It is as long as an administrator writes it, a few lines, so it
 * is walked for each firefly.
 */
#include "excluded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int firefly_excluded_init(struct firefly_excluded *out, const struct flowd_strings *texts,
                          struct flowd_error *err)
{
    struct firefly_excluded excluded = {.networks =
                                            calloc(texts->count + 1, sizeof(*excluded.networks))};

    if (excluded.networks == NULL)
        return flowd_fail_errno(err, ENOMEM, "excludeNetworks");
    for (size_t i = 0; i < texts->count; i++) {
        int result = flowd_network_parse(texts->items[i], strlen(texts->items[i]),
                                         &excluded.networks[excluded.count++], err);

        if (result < 0) {
            firefly_excluded_fini(&excluded);
            return flowd_error_wrap(err, result, "\"%s\"", texts->items[i]);
        }
    }
    *out = excluded;
    return 0;
}

void firefly_excluded_fini(struct firefly_excluded *excluded)
{
    free(excluded->networks);
    *excluded = (struct firefly_excluded){0};
}

static bool holds(const struct firefly_excluded *excluded, uint8_t family,
                  const struct in6_addr *addr)
{
    for (size_t i = 0; i < excluded->count; i++)
        if (flowd_network_contains(&excluded->networks[i], family, addr))
            return true;
    return false;
}

bool firefly_excluded_holds(const struct firefly_excluded *excluded,
                            const struct flowd_flow_key *key)
{
    return excluded->count > 0 && holds(excluded, key->family, &key->src) &&
           holds(excluded, key->family, &key->dst);
}
