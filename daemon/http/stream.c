/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers whose body is made while it is sent. A part is asked for when the socket has taken the
 * one before, one in each turn of the loop.
 *
 * The body goes out in chunks (RFC 9112, 7.1); for HTTP/1.0 it ends with the connection.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* A chunk's size is written before its length is known: always eight digits. */
#define SIZE_LINE "00000000\r\n"
#define SIZE_LINE_LENGTH (sizeof(SIZE_LINE) - 1)

void flowd_http_stream_release(struct flowd_http_exchange *exchange)
{
    struct flowd_http_stream *stream = exchange->stream;

    exchange->stream = NULL;
    if (stream != NULL)
        stream->release(stream);
}

/* Writes its size before the chunk that begins at start, or takes back an empty one. */
static void finish_chunk(struct flowd_text *out, size_t start)
{
    size_t length = out->length - start - SIZE_LINE_LENGTH;
    char line[SIZE_LINE_LENGTH + 1];

    if (length == 0) {
        out->length = start;
        return;
    }
    snprintf(line, sizeof(line), "%08x\r\n", (unsigned)length);
    memcpy(out->data + start, line, SIZE_LINE_LENGTH);
    flowd_text_puts(out, "\r\n");
}

int flowd_http_stream_part(struct flowd_http_connection *c)
{
    struct flowd_http_stream *stream = c->exchange.stream;
    bool chunked = c->exchange.head.framing.minor > 0;
    size_t start = c->out.length;
    int result;

    if (chunked)
        flowd_text_puts(&c->out, SIZE_LINE);
    result = stream->produce(stream, &c->out);
    if (result < 0)
        return result;
    if (flowd_text_failed(&c->out))
        return -ENOMEM;
    if (chunked)
        finish_chunk(&c->out, start);
    if (result > 0)
        return FLOWD_HTTP_MORE;
    if (chunked)
        flowd_text_puts(&c->out, "0\r\n\r\n");
    return flowd_text_failed(&c->out) ? -ENOMEM : FLOWD_HTTP_DONE;
}

void flowd_http_answer_stream(struct flowd_http_exchange *exchange, int status,
                              const char *content_type, const char *headers,
                              struct flowd_http_stream *stream)
{
    struct flowd_http_connection *c = flowd_http_connection_of(exchange);

    if (c->state != FLOWD_HTTP_PENDING) {
        stream->release(stream);
        return;
    }
    if (exchange->head.framing.minor == 0)
        c->closing = true;
    flowd_http_answer_head(c, status, content_type, headers, SIZE_MAX);
    if (exchange->head_only) {
        stream->release(stream);
        flowd_http_connection_answered(c);
    } else {
        flowd_http_connection_streams(c, stream);
    }
}

void flowd_http_stop(struct flowd_http_exchange *exchange)
{
    flowd_http_connection_close(flowd_http_connection_of(exchange));
}
