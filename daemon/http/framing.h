/*
 * Strict framing of HTTP/1.x requests (RFC 9112): where a message ends, decided once and by rules
 * that leave no room for a second opinion. Pure functions over bytes; no socket, no allocation.
 *
 * llhttp reads the header block afterwards, but some of its versions take what RFC 9112 forbids
 * (bare CR, blanks in odd places, repeated lengths), so nothing reaches it that has not passed
 * here. Bodies do not reach it at all.
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

/*
 * Turns the tabs of a checked header block into blanks, as RFC 9110, 5.5 lets a recipient do: some
 * versions of llhttp refuse a number with a tab behind it.
 */
void flowd_http_head_blank_tabs(char *head, size_t length);

/* Controls are forbidden everywhere; the tab is a blank. CR and LF are checked by their place. */
bool flowd_http_is_control(char c);
/* A character of a token (RFC 9110, 5.6.2): what method and header names consist of. */
bool flowd_http_is_token(char c);
/* The value of a hexadecimal digit; -1: it is none. */
int flowd_http_hex_digit(char c);
