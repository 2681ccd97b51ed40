/*
 * Strict framing of HTTP/1.x requests (RFC 9112): where a message ends, decided once and by rules
 * that leave no room for a second opinion. Pure functions over bytes; no socket, no allocation.
 *
 * llhttp reads the same bytes afterwards, but some of its versions take what RFC 9112 forbids
 * (bare CR, blanks in odd places, repeated lengths), so nothing reaches it that has not passed
 * here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the header block says about the message. */
struct flowd_http_framing {
    uint64_t content_length; /* bytes; 0 without the header and for chunked bodies */
    bool chunked;
    bool expect_continue;
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
};

/*
 * Looks for the empty line that ends the header block and checks each byte on the way. *scanned is
 * where to go on when more bytes have arrived (0 at first). Returns the length of the block with
 * its empty line; 0: not complete; -EBADMSG with *reason (static text).
 */
int64_t flowd_http_head_scan(const char *data, size_t length, size_t *scanned, const char **reason);

/*
 * Checks a complete header block, as flowd_http_head_scan() delimits it. Returns 0 and *out, or the
 * HTTP status of the refusal (400 or 505) with *reason (static text).
 */
int flowd_http_head_check(const char *head, size_t length, struct flowd_http_framing *out,
                          const char **reason);

/* The place in a chunked body. Zero-initialised is its beginning. */
struct flowd_http_chunks {
    uint8_t state;
    uint8_t digits;     /* of the chunk size being read */
    uint32_t remaining; /* bytes of the current chunk */
    uint32_t overhead;  /* bytes of extensions and trailers so far */
    uint64_t total;     /* bytes of content so far */
};

/* What flowd_http_chunks_scan() says besides an HTTP status. */
enum { FLOWD_HTTP_CHUNKS_MORE = 0, FLOWD_HTTP_CHUNKS_DONE = 1 };

/*
 * Checks the next bytes of a chunked body. Returns FLOWD_HTTP_CHUNKS_MORE (all bytes are good),
 * FLOWD_HTTP_CHUNKS_DONE (the body ends after *consumed bytes), or the HTTP status of the refusal:
 * 400, or 413 for more than limit bytes of content, with *reason (static text).
 */
int flowd_http_chunks_scan(struct flowd_http_chunks *chunks, const char *data, size_t length,
                           uint64_t limit, size_t *consumed, const char **reason);

/* A character of a token (RFC 9110, 5.6.2): what method and header names consist of. */
bool flowd_http_is_token(char c);
