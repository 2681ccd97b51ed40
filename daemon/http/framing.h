/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict framing of HTTP/1.x requests (RFC 9112): where a message ends, decided once and by rules
 * that leave no room for a second opinion. Pure functions over bytes; no socket, no allocation.
 *
 * llhttp parses a header block afterwards, but its versions differ in what they take, so nothing
 * reaches it that has not passed here (framing.c has the list). Bodies do not reach it at all.
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
    bool encoded;  /* a Content-Encoding other than identity */
};

/* The place in a header block. Zero-initialised is its beginning. */
struct flowd_http_head {
    uint32_t length; /* bytes that have been read; of the whole block once it is complete */
    uint32_t line;   /* where the line under way begins */
    uint32_t part;   /* where its target, version or value begins */
    uint16_t name;   /* bytes of its method or header name */
    uint8_t state;
    bool bad_target;
    bool last;    /* the line under way is the empty one */
    uint8_t seen; /* of the headers that may stand there once: bits */
    int status;   /* of the refusal that the end of the block will be answered with; 0: none */
    const char *reason;
    struct flowd_http_framing framing;
};

/* What flowd_http_head_scan() and flowd_http_chunks_scan() say besides an HTTP status. */
enum { FLOWD_HTTP_MORE = 0, FLOWD_HTTP_DONE = 1 };

/*
 * Reads on in the header block that begins at data, of which length bytes are there (those that
 * were read before among them), each byte once. Returns FLOWD_HTTP_MORE (the block is not
 * complete), FLOWD_HTTP_DONE (head->length and head->framing are good), or the HTTP status of the
 * refusal (400, 431 or 505) with *reason (static text). Where the end of a block can be trusted,
 * what is wrong with it is told at its end.
 *
 * Turns the tabs of values into blanks, as RFC 9110, 5.5 lets a recipient do: llhttp 8.1 refuses a
 * number with a tab behind it.
 */
int flowd_http_head_scan(struct flowd_http_head *head, char *data, size_t length,
                         const char **reason);

/* Controls are forbidden everywhere; the tab is a blank. CR and LF are checked by their place. */
bool flowd_http_is_control(char c);
/* A character of a token (RFC 9110, 5.6.2): what method and header names consist of. */
bool flowd_http_is_token(char c);
/* The value of a hexadecimal digit; -1: it is none. */
int flowd_http_hex_digit(char c);
