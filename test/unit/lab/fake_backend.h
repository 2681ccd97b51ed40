/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend that writes down what the hub tells it: "start 1", "firefly started 1", "end 1",
 * "commit", ...
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/hub/module.h"

#define FAKE_CALLS_SIZE 4096

struct fake_backend {
    char calls[FAKE_CALLS_SIZE]; /* one word group for each call, with "; " between */
    size_t length;
    unsigned slot;
    unsigned commits;
    unsigned hints;                                /* at flows that may begin or end soon */
    unsigned refuse_experiment;                    /* accept() refuses it; 0: none */
    bool quiet;                                    /* only count */
    void (*at_end)(const struct flowd_flow *flow); /* called at each end; NULL: nothing is */
};

/* Makes it one of the hub's backends. */
void fake_backend_join(struct fake_backend *fake, struct flowd_hub *hub);

/* Compares the calls so far and forgets them. */
void fake_backend_expect(struct fake_backend *fake, const char *calls);
