/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks between which no fireflies are sent: backends.firefly.excludeNetworks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/net/network.h"
#include "daemon/options/option.h"

/* Zero-initialised excludes nothing. */
struct firefly_excluded {
    struct flowd_network *networks; /* owned */
    size_t count;
};

/* Returns 0, or -errno with *out unchanged: EINVAL with the text that is no network. */
int firefly_excluded_init(struct firefly_excluded *out, const struct flowd_strings *texts,
                          struct flowd_error *err);
void firefly_excluded_fini(struct firefly_excluded *excluded);

/* Whether both ends of a flow lie in them, in one or in two. */
bool firefly_excluded_holds(const struct firefly_excluded *excluded,
                            const struct flowd_flow_key *key);
