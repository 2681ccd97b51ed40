/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte string, for everything that is written out: JSON answers, log lines, listings.
 *
 * A failed allocation makes the text "failed": it stays as it is, later appends do nothing, and
 * the owner asks once, at the end, with flowd_text_failed().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct flowd_text {
    char *data; /* not NUL-terminated; owned */
    size_t length;
    size_t capacity;
    bool failed;
};

/* A zero-initialised struct is an empty text. */
void flowd_text_fini(struct flowd_text *text);
/* Empties the text and keeps its memory. */
void flowd_text_clear(struct flowd_text *text);
static inline bool flowd_text_failed(const struct flowd_text *text)
{
    return text->failed;
}

/* flowd_text_append() where there is no room yet. */
void flowd_text_append_slowly(struct flowd_text *text, const char *data, size_t length);

static inline void flowd_text_append(struct flowd_text *text, const char *data, size_t length)
{
    if (length > text->capacity - text->length || text->failed) {
        flowd_text_append_slowly(text, data, length);
        return;
    }
    if (length > 0)
        memcpy(text->data + text->length, data, length);
    text->length += length;
}

static inline void flowd_text_puts(struct flowd_text *text, const char *string)
{
    flowd_text_append(text, string, strlen(string));
}

void flowd_text_char(struct flowd_text *text, char c);
void flowd_text_u64(struct flowd_text *text, uint64_t number);
void flowd_text_printf(struct flowd_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void flowd_text_json(struct flowd_text *text, const char *string, size_t length);

/* Length of the well-formed UTF-8 sequence that data (length > 0) begins with; 0: there is none. */
size_t flowd_text_utf8_sequence(const char *data, size_t length);
/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool flowd_text_is_utf8(const char *data, size_t length);
