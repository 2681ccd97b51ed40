/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of lines to be reported at once: mistakes in a configuration, spellings that are
 * deprecated or hardly meant, things that were removed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Every mistake found in a configuration, to be reported at once. Zero-initialised is empty. */
struct flowd_mistakes {
    char **lines; /* "path: what is wrong"; owned */
    size_t count;
    size_t capacity;
    bool out_of_memory; /* at least one mistake could not be stored */
};

void flowd_mistakes_add(struct flowd_mistakes *mistakes, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void flowd_mistakes_fini(struct flowd_mistakes *mistakes);
static inline bool flowd_mistakes_any(const struct flowd_mistakes *mistakes)
{
    return mistakes->count > 0 || mistakes->out_of_memory;
}
