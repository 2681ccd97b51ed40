/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of lines to be reported at once: errors in a configuration, spellings that are
 * deprecated or hardly meant, things that were removed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialised is empty. */
struct flowd_messages {
    char **lines; /* "path: what is wrong"; owned */
    size_t count;
    size_t capacity;
    bool out_of_memory; /* at least one line could not be stored */
};

void flowd_messages_add(struct flowd_messages *messages, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void flowd_messages_fini(struct flowd_messages *messages);
static inline bool flowd_messages_any(const struct flowd_messages *messages)
{
    return messages->count > 0 || messages->out_of_memory;
}
