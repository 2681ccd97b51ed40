/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked transfer coding of a request (RFC 9112, 7.1): taken off as the bytes arrive, with
 * every byte checked. Pure functions over bytes; no socket, no allocation.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "framing.h" /* FLOWD_HTTP_MORE and FLOWD_HTTP_DONE */

/* The place in a chunked body. Zero-initialised is its beginning. */
struct flowd_http_chunks {
    uint8_t state;
    uint8_t digits;     /* of the chunk size being read */
    uint32_t remaining; /* bytes of the current chunk */
    uint32_t overhead;  /* bytes of extensions and trailers so far */
    uint64_t total;     /* bytes of content so far */
};

/*
 * Checks the next bytes of a chunked body and moves what is content to content + chunks->total,
 * which may be data itself or lie before it; NULL: the content is not wanted. Returns
 * FLOWD_HTTP_MORE (all bytes are good), FLOWD_HTTP_DONE (the body ends after
 * *consumed bytes), or the HTTP status of the refusal: 400, or 413 for more than limit bytes of
 * content, with *reason (static text).
 */
int flowd_http_chunks_scan(struct flowd_http_chunks *chunks, const char *data, size_t length,
                           char *content, uint64_t limit, size_t *consumed, const char **reason);
