/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader against each order of its loads and the recorded stores. Its loads are in order, and so
 * are the stores; any number of stores may come between two loads. A reader does what the values
 * say that it loads: of the moments at which a load would have the same value, only the first is
 * tried, after which all is possible that is possible after a later one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the reader of this code is given for its loads. */
uint64_t walk_load(const void *at, size_t size);

struct walker {
    uint64_t (*run)(const void *context);
    /* Is told what run() returned. */
    void (*seen)(const void *context, uint64_t result);
    /* The same for values of a load between which run() makes no difference. */
    uint64_t (*meaning)(const void *context, const void *at, uint64_t value);
};

/* Runs the reader in each way. */
void walk(const struct walker *walker, const void *context);
