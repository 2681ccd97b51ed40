/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a chunked body: sizes with their extensions, data, trailers.
 *
 * Extensions and trailers mean nothing to flowd; they are read by their grammar, so that the end of
 * a line is where every other program finds it, and together they are bounded.
 */
#include "chunks.h"

#include <stdbool.h>
#include <string.h>

#include "framing.h"

/* Extensions and trailers together. */
#define OVERHEAD_MAX 4096
/* Eight digits are 4 GiB, far above any limit on bodies, and cannot overflow 32 bits. */
#define DIGITS_MAX 8

/* chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ) */
enum chunk_state {
    CHUNK_SIZE,
    CHUNK_SIZE_LF,
    CHUNK_EXTENSION,       /* after ";" */
    CHUNK_EXTENSION_NAME,  /* in a name */
    CHUNK_EXTENSION_EQUAL, /* after a name and a blank */
    CHUNK_EXTENSION_VALUE, /* after "=" */
    CHUNK_EXTENSION_TOKEN, /* in a value */
    CHUNK_EXTENSION_QUOTED,
    CHUNK_EXTENSION_ESCAPED,
    CHUNK_EXTENSION_CLOSED, /* after a quoted value */
    CHUNK_EXTENSION_NEXT,   /* after a blank that only another extension may follow */
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER, /* at the beginning of a trailer line */
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
};

static const char bad_extension[] = "a chunk extension that is none";

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One byte of a chunk's size line before its extensions. Returns NULL or what is wrong. */
static const char *size_byte(struct flowd_http_chunks *chunks, char c)
{
    int digit = flowd_http_hex_digit(c);

    if (chunks->state == CHUNK_SIZE_LF) {
        if (c != '\n')
            return "CR without LF after a chunk size";
        chunks->state = chunks->remaining > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        chunks->digits = 0;
    } else if (c == '\r') {
        if (chunks->digits == 0)
            return "a chunk without a size";
        chunks->state = CHUNK_SIZE_LF;
    } else if (digit >= 0) {
        if (++chunks->digits > DIGITS_MAX)
            return "a chunk size is too long";
        chunks->remaining = chunks->remaining * 16 + (uint32_t)digit;
    } else if (c == ';' && chunks->digits > 0) {
        chunks->state = CHUNK_EXTENSION;
    } else if (is_blank(c) && chunks->digits > 0) {
        chunks->state = CHUNK_EXTENSION_NEXT;
    } else {
        return "a chunk size that is not a hexadecimal number";
    }
    return NULL;
}

/*
 * What may follow a name or a value; blank is the state after a blank. Returns the state, -1: the
 * byte does not belong there.
 */
static int after_item(char c, enum chunk_state blank)
{
    if (c == ';')
        return CHUNK_EXTENSION;
    if (c == '\r')
        return CHUNK_SIZE_LF;
    return is_blank(c) ? (int)blank : -1;
}

/* The state after one more byte, which is no control character but a CR; -1: it is wrong. */
static int extension_next(enum chunk_state state, char c)
{
    switch (state) {
    case CHUNK_EXTENSION:
        if (is_blank(c))
            return CHUNK_EXTENSION;
        return flowd_http_is_token(c) ? CHUNK_EXTENSION_NAME : -1;
    case CHUNK_EXTENSION_NAME:
        if (flowd_http_is_token(c))
            return CHUNK_EXTENSION_NAME;
        return c == '=' ? CHUNK_EXTENSION_VALUE : after_item(c, CHUNK_EXTENSION_EQUAL);
    case CHUNK_EXTENSION_EQUAL:
        if (c == '=')
            return CHUNK_EXTENSION_VALUE;
        return c != '\r' ? after_item(c, CHUNK_EXTENSION_EQUAL) : -1;
    case CHUNK_EXTENSION_VALUE:
        if (is_blank(c))
            return CHUNK_EXTENSION_VALUE;
        if (c == '"')
            return CHUNK_EXTENSION_QUOTED;
        return flowd_http_is_token(c) ? CHUNK_EXTENSION_TOKEN : -1;
    case CHUNK_EXTENSION_TOKEN:
        return flowd_http_is_token(c) ? CHUNK_EXTENSION_TOKEN : after_item(c, CHUNK_EXTENSION_NEXT);
    case CHUNK_EXTENSION_QUOTED:
        if (c == '"')
            return CHUNK_EXTENSION_CLOSED;
        if (c == '\\')
            return CHUNK_EXTENSION_ESCAPED;
        return c != '\r' ? CHUNK_EXTENSION_QUOTED : -1;
    case CHUNK_EXTENSION_ESCAPED:
        return c != '\r' ? CHUNK_EXTENSION_QUOTED : -1;
    case CHUNK_EXTENSION_CLOSED:
        return after_item(c, CHUNK_EXTENSION_NEXT);
    default: /* CHUNK_EXTENSION_NEXT */
        return c != '\r' ? after_item(c, CHUNK_EXTENSION_NEXT) : -1;
    }
}

/* One byte of the extensions. Returns NULL or what is wrong. */
static const char *extension_byte(struct flowd_http_chunks *chunks, char c)
{
    int next;

    if (flowd_http_is_control(c) && c != '\r')
        return "a control character in a chunk extension";
    if (++chunks->overhead > OVERHEAD_MAX)
        return "chunk extensions are too long";
    next = extension_next(chunks->state, c);
    if (next < 0)
        return bad_extension;
    chunks->state = (uint8_t)next;
    return NULL;
}

/* One byte of the trailers. Returns NULL or what is wrong; *done at the end of the body. */
static const char *trailer_byte(struct flowd_http_chunks *chunks, char c, bool *done)
{
    if (++chunks->overhead > OVERHEAD_MAX)
        return "trailers are too long";
    switch (chunks->state) {
    case CHUNK_TRAILER:
        if (c == '\r') {
            chunks->state = CHUNK_END_LF;
            return NULL;
        }
        chunks->state = CHUNK_TRAILER_NAME;
        return flowd_http_is_token(c) ? NULL : "a trailer without a proper name";
    case CHUNK_TRAILER_NAME:
        if (c == ':')
            chunks->state = CHUNK_TRAILER_VALUE;
        else if (!flowd_http_is_token(c))
            return "a trailer without a proper name";
        return NULL;
    case CHUNK_TRAILER_VALUE:
        if (c == '\r')
            chunks->state = CHUNK_TRAILER_LF;
        else if (flowd_http_is_control(c))
            return "a control character in a trailer";
        return NULL;
    default:
        if (c != '\n')
            return "CR without LF in the trailers";
        *done = chunks->state == CHUNK_END_LF;
        chunks->state = CHUNK_TRAILER;
        return NULL;
    }
}

/* The two bytes behind a chunk's data. */
static const char *data_end_byte(struct flowd_http_chunks *chunks, char c)
{
    bool at_cr = chunks->state == CHUNK_DATA_CR;

    if (c != (at_cr ? '\r' : '\n'))
        return "a chunk is longer than its size says";
    chunks->state = at_cr ? CHUNK_DATA_LF : CHUNK_SIZE;
    return NULL;
}

/* Takes what is there of a chunk's data. Returns how many bytes that are. */
static size_t take_data(struct flowd_http_chunks *chunks, const char *data, size_t length,
                        char *content)
{
    size_t part = length < chunks->remaining ? length : chunks->remaining;

    if (content != NULL && content + chunks->total != data)
        memmove(content + chunks->total, data, part);
    chunks->remaining -= (uint32_t)part;
    chunks->total += part;
    if (chunks->remaining == 0)
        chunks->state = CHUNK_DATA_CR;
    return part;
}

static const char *other_byte(struct flowd_http_chunks *chunks, char c, bool *done)
{
    if (chunks->state <= CHUNK_SIZE_LF)
        return size_byte(chunks, c);
    if (chunks->state < CHUNK_DATA)
        return extension_byte(chunks, c);
    if (chunks->state < CHUNK_TRAILER)
        return data_end_byte(chunks, c);
    return trailer_byte(chunks, c, done);
}

int flowd_http_chunks_scan(struct flowd_http_chunks *chunks, const char *data, size_t length,
                           char *content, uint64_t limit, size_t *consumed, const char **reason)
{
    size_t i = 0;

    while (i < length) {
        const char *wrong;
        bool done = false;

        if (chunks->state == CHUNK_DATA) {
            i += take_data(chunks, data + i, length - i, content);
            continue;
        }
        wrong = other_byte(chunks, data[i], &done);
        if (wrong != NULL) {
            *reason = wrong;
            return 400;
        }
        if (chunks->state == CHUNK_DATA && chunks->total + chunks->remaining > limit) {
            *reason = "the body is too large";
            return 413;
        }
        i++;
        if (done) {
            *consumed = i;
            return FLOWD_HTTP_DONE;
        }
    }
    *consumed = length;
    return FLOWD_HTTP_MORE;
}
