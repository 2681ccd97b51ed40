/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict framing checker: header blocks in one pass (chunked bodies: chunks.c).
 *
 * Its rules are those of RFC 9112 without the tolerances that the RFC leaves to recipients, because
 * each tolerance is a place where two programs on one path may see different messages. They are all
 * checked here, whatever llhttp does with them: versions differ. Debian 12's 8.1.0 takes
 *
 *  - lines that end with LF alone, CR or empty lines before the request line, CR CR LF at the end;
 *  - folded lines, blanks in a name, a line that begins with its colon;
 *  - a request line without a version, with two blanks between its parts, with a target that is no
 *    path ("*", "https:", "http://" without a host) or has a fragment, tabs or bytes past 0x7f;
 *  - HTTP/0.9 and HTTP/2.0;
 *  - a Content-Length past INT64_MAX;
 *  - any Transfer-Encoding, also an empty one, and any in an HTTP/1.0 request;
 *  - no Host, more than one, and one that is no host;
 *
 * and refuses what RFC 9110 allows: a tab behind a Content-Length.
 */
#include "framing.h"

#include <string.h>
#include <strings.h>

#include "daemon/base/integer.h"
#include "daemon/http/server.h"

#define METHOD_MAX 32

#define is(name, length, literal)                                                                  \
    ((length) == sizeof(literal) - 1 && strncasecmp((name), (literal), sizeof(literal) - 1) == 0)

/* What a byte may be part of. */
enum {
    TOKEN = 1,
    HOST = 2,    /* a name or an address, perhaps with a port */
    TARGET = 4,  /* a request target */
    TEXT = 8,    /* anything but controls and the tab */
    CONTROL = 16 /* but the tab */
};
#define VISIBLE (TARGET | TEXT)
#define ALPHANUMERIC (TOKEN | HOST | VISIBLE)

static const uint8_t kinds[256] = {
    [0x00 ... 0x08] = CONTROL,
    [0x0a ... 0x1f] = CONTROL,
    [0x7f] = CONTROL,
    [' '] = TEXT,
    ['!'] = TOKEN | VISIBLE,
    ['"'] = VISIBLE,
    ['#'] = TOKEN | TEXT,
    ['$'] = TOKEN | VISIBLE,
    ['%'] = TOKEN | HOST | VISIBLE,
    ['&' ... '\''] = TOKEN | VISIBLE,
    ['(' ... ')'] = VISIBLE,
    ['*' ... '+'] = TOKEN | VISIBLE,
    [','] = VISIBLE,
    ['-' ... '.'] = TOKEN | HOST | VISIBLE,
    ['/'] = VISIBLE,
    ['0' ... '9'] = ALPHANUMERIC,
    [':'] = HOST | VISIBLE,
    [';' ... '@'] = VISIBLE,
    ['A' ... 'Z'] = ALPHANUMERIC,
    ['['] = HOST | VISIBLE,
    ['\\'] = VISIBLE,
    [']'] = HOST | VISIBLE,
    ['^'] = TOKEN | VISIBLE,
    ['_'] = TOKEN | HOST | VISIBLE,
    ['`'] = TOKEN | VISIBLE,
    ['a' ... 'z'] = ALPHANUMERIC,
    ['{'] = VISIBLE,
    ['|'] = TOKEN | VISIBLE,
    ['}'] = VISIBLE,
    ['~'] = TOKEN | HOST | VISIBLE,
    [0x80 ... 0xff] = TEXT,
};

enum head_state {
    HEAD_METHOD,
    HEAD_TARGET,
    HEAD_VERSION,
    HEAD_NAME, /* at the beginning of a line, or in a header name */
    HEAD_VALUE,
    HEAD_WRONG, /* in a line that has been found wrong */
    HEAD_LF,    /* after CR */
};

/* What may stand there once. */
enum { SEEN_LENGTH = 1, SEEN_ENCODING = 2, SEEN_HOST = 4 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool flowd_http_is_token(char c)
{
    return (kinds[(unsigned char)c] & TOKEN) != 0;
}

int flowd_http_hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool flowd_http_is_control(char c)
{
    return (kinds[(unsigned char)c] & CONTROL) != 0;
}

/* Passes over bytes of this kind. Returns where another one stands, or length. */
static size_t skip(const char *data, size_t at, size_t length, unsigned kind)
{
    while (at < length && (kinds[(unsigned char)data[at]] & kind) != 0)
        at++;
    return at;
}

/* What is wrong first is what the peer is told; the rest of the line does not matter. */
static void framing_refuse(struct flowd_http_head *head, int status, const char *reason)
{
    head->state = HEAD_WRONG;
    if (head->status != 0)
        return;
    head->status = status;
    head->reason = reason;
}

/* A part of a line has ended, and the next one begins behind the byte at. */
static void next_part(struct flowd_http_head *head, enum head_state state, size_t at)
{
    head->state = (uint8_t)state;
    head->part = (uint32_t)at + 1;
}

static bool is_target(const char *target, size_t length, bool options)
{
    if (length >= 1 && target[0] == '/')
        return true;
    if (length > 7 && strncasecmp(target, "http://", 7) == 0)
        return target[7] != '/';
    return options && length == 1 && target[0] == '*';
}

static void end_version(struct flowd_http_head *head, const char *version, size_t length)
{
    if (length != 8 || memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7]))
        framing_refuse(head, 400, "the request line does not end with an HTTP version");
    else if (version[5] != '1' || version[7] > '1')
        framing_refuse(head, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    else
        head->framing.minor = (uint8_t)(version[7] - '0');
}

static bool is_repeated(struct flowd_http_head *head, unsigned bit)
{
    bool repeated = (head->seen & bit) != 0;

    head->seen = (uint8_t)(head->seen | bit);
    return repeated;
}

/* Returns NULL or what is wrong. */
static const char *check_field(struct flowd_http_head *head, const char *name, const char *value,
                               size_t length)
{
    struct flowd_http_framing *framing = &head->framing;

    if (is(name, head->name, "Content-Length")) {
        if (is_repeated(head, SEEN_LENGTH))
            return "more than one Content-Length";
        if (flowd_integer_parse(value, length, 0, INT64_MAX, &framing->content_length) != 0)
            return "Content-Length is not a number";
    } else if (is(name, head->name, "Transfer-Encoding")) {
        if (is_repeated(head, SEEN_ENCODING))
            return "more than one Transfer-Encoding";
        if (!is(value, length, "chunked"))
            return "a Transfer-Encoding other than chunked";
        framing->chunked = true;
    } else if (is(name, head->name, "Host")) {
        if (is_repeated(head, SEEN_HOST))
            return "more than one Host";
        if (skip(value, 0, length, HOST) != length)
            return "Host is not a host";
    } else if (is(name, head->name, "Expect")) {
        framing->expect_continue = is(value, length, "100-continue");
    } else if (is(name, head->name, "Content-Encoding")) {
        framing->encoded |= !is(value, length, "identity");
    }
    return NULL;
}

/* A value ends before end; the blanks around it do not count (RFC 9110, 5.5). */
static void end_value(struct flowd_http_head *head, const char *data, size_t end)
{
    size_t begin = head->part;
    const char *wrong;

    while (begin < end && data[begin] == ' ')
        begin++;
    while (end > begin && data[end - 1] == ' ')
        end--;
    wrong = check_field(head, data + head->line, data + begin, end - begin);
    if (wrong != NULL)
        framing_refuse(head, 400, wrong);
}

static void end_method(struct flowd_http_head *head, char c, size_t at)
{
    if (c == ' ' && at > 0 && at <= METHOD_MAX) {
        head->name = (uint16_t)at;
        next_part(head, HEAD_TARGET, at);
    } else {
        framing_refuse(head, 400, "the request line has no proper method");
    }
}

static void end_target(struct flowd_http_head *head, const char *data, size_t at)
{
    if (data[at] == '\r')
        framing_refuse(head, 400, "the request line has no version");
    else if (data[at] != ' ')
        head->bad_target = true; /* to be told if there is a version */
    else if (head->bad_target ||
             !is_target(data + head->part, at - head->part, is(data, head->name, "OPTIONS")))
        framing_refuse(head, 400, "the request target is not a path");
    else
        next_part(head, HEAD_VERSION, at);
}

static void end_name(struct flowd_http_head *head, char c, size_t at)
{
    bool begins = at == head->line;
    bool blank = c == ' ' || c == '\t';

    if (c == '\r' && begins) {
        head->last = true;
    } else if (c == ':' && !begins) {
        head->name = (uint16_t)(at - head->line);
        next_part(head, HEAD_VALUE, at);
    } else {
        framing_refuse(head, 400,
                       !blank   ? "a header line without a proper name"
                       : begins ? "a header line that begins with a blank"
                                : "a blank in or after a header name");
    }
}

/* A byte that its part does not consist of: CR or no control. */
static void end_part(struct flowd_http_head *head, char *data, size_t at)
{
    switch ((enum head_state)head->state) {
    case HEAD_METHOD:
        end_method(head, data[at], at);
        break;
    case HEAD_TARGET:
        end_target(head, data, at);
        break;
    case HEAD_VERSION:
        if (data[at] == '\r')
            end_version(head, data + head->part, at - head->part);
        break;
    case HEAD_NAME:
        end_name(head, data[at], at);
        break;
    case HEAD_VALUE:
        if (data[at] == '\r')
            end_value(head, data, at);
        else
            data[at] = ' '; /* for a tab */
        break;
    default: /* HEAD_WRONG */
        break;
    }
}

/* The byte behind a CR. Returns NULL or what is wrong; *done at the end of the block. */
static const char *line_feed(struct flowd_http_head *head, char c, size_t at, bool *done)
{
    if (c != '\n')
        return "CR without LF";
    if (at == 1)
        return "the request line is empty";
    *done = head->last;
    head->line = (uint32_t)at + 1;
    head->state = HEAD_NAME;
    return NULL;
}

/* A byte that is not passed over. Returns NULL, or why the end of the block can't be found. */
static const char *other_byte(struct flowd_http_head *head, char *data, size_t at, bool *done)
{
    char c = data[at];

    if (head->state == HEAD_LF)
        return line_feed(head, c, at, done);
    if (c == '\n')
        return "a line ends with LF alone";
    if (c != '\r' && flowd_http_is_control(c))
        return "a control character in the header";
    end_part(head, data, at);
    if (c == '\r')
        head->state = HEAD_LF;
    return NULL;
}

/* What only the whole block shows. Returns what the block is answered with. */
static int end_block(struct flowd_http_head *head, const char **reason)
{
    bool encoded = (head->seen & SEEN_ENCODING) != 0;

    if (encoded && (head->seen & SEEN_LENGTH) != 0)
        framing_refuse(head, 400, "both Content-Length and Transfer-Encoding");
    if (encoded && head->framing.minor == 0)
        framing_refuse(head, 400, "Transfer-Encoding in an HTTP/1.0 request");
    if (head->framing.minor == 1 && (head->seen & SEEN_HOST) == 0)
        framing_refuse(head, 400, "an HTTP/1.1 request without Host");
    *reason = head->reason;
    return head->status != 0 ? head->status : FLOWD_HTTP_DONE;
}

int flowd_http_head_scan(struct flowd_http_head *head, char *data, size_t length,
                         const char **reason)
{
    static const uint8_t passed[] = {
        [HEAD_METHOD] = TOKEN, [HEAD_TARGET] = TARGET, [HEAD_VERSION] = TEXT, [HEAD_NAME] = TOKEN,
        [HEAD_VALUE] = TEXT,   [HEAD_WRONG] = TEXT,    [HEAD_LF] = 0,
    };
    size_t end = length < FLOWD_HTTP_HEAD_MAX ? length : FLOWD_HTTP_HEAD_MAX;
    size_t at = head->length;
    bool done = false;

    while (!done && (at = skip(data, at, end, passed[head->state])) < end) {
        const char *broken = other_byte(head, data, at++, &done);

        if (broken != NULL) {
            *reason = broken;
            return 400;
        }
    }
    head->length = (uint32_t)at;
    if (done)
        return end_block(head, reason);
    if (length <= end)
        return FLOWD_HTTP_MORE;
    *reason = "the header is larger than 16 KiB";
    return 431;
}
