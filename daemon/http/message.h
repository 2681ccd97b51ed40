/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header block through llhttp: the fields that flowd needs, and whether the connection lives on.
 * The bytes have passed the framing checker (framing.h) before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/http/server.h"

enum flowd_http_field {
    FLOWD_HTTP_FIELD_OTHER,
    FLOWD_HTTP_FIELD_HOST,
    FLOWD_HTTP_FIELD_AUTHORIZATION,
    FLOWD_HTTP_FIELD_CONTENT_TYPE,
    FLOWD_HTTP_FIELD_ACCEPT,
    FLOWD_HTTP_FIELD_ORIGIN,
    FLOWD_HTTP_FIELD_FETCH_SITE,
};
#define FLOWD_HTTP_FIELDS 7

/* A place in the header block, counted from its first byte, so that the buffer may move. */
struct flowd_http_span {
    uint32_t at;
    uint32_t length;
};

struct flowd_http_message {
    enum flowd_http_method method;
    struct flowd_http_span target;
    struct flowd_http_span fields[FLOWD_HTTP_FIELDS];
    unsigned seen; /* bit per enum flowd_http_field */
    bool keep_alive;
};

/*
 * Parses a whole header block. Returns FLOWD_HTTP_DONE, or the HTTP status of the refusal (400 or
 * 501) with *reason (static text). out is unchanged on refusal.
 */
int flowd_http_message_head(const char *head, size_t length, struct flowd_http_message *out,
                            const char **reason);
