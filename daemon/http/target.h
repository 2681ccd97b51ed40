/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query of a request target: names and values, percent-decoded.
 */
#pragma once

#include <stddef.h>

/* Bytes that somebody else owns; not NUL-terminated. */
struct flowd_http_slice {
    const char *data;
    size_t length;
};

/*
 * Decodes percent-encoding, and "+" as a blank, into buffer, NUL-terminated. Returns the length, or
 * -EINVAL (a bad escape, or an encoded NUL) or -E2BIG.
 */
int flowd_http_percent_decode(struct flowd_http_slice text, char *buffer, size_t size);

/*
 * Takes the next "name=value" off *query ("" for a value that is not there). Empty parts ("&&") are
 * passed over. Returns 1, or 0 at the end. The slices are still encoded.
 */
int flowd_http_query_next(struct flowd_http_slice *query, struct flowd_http_slice *name,
                          struct flowd_http_slice *value);
