/*
 * Answers whose body is made while it is sent. A part is asked for when the socket has taken the
 * one before, one in each turn of the loop.
 *
 * The body goes out in chunks (RFC 9112, 7.1); for HTTP/1.0 it ends with the connection.
 */
#include <stdio.h>
#include <string.h>

#include "connection.h"

/* A chunk's size is written before its length is known: always eight digits. */
#define SIZE_LINE "00000000\r\n"
#define SIZE_LINE_LENGTH (sizeof(SIZE_LINE) - 1)

void flowd_http_stream_release(struct flowd_http_exchange *c)
{
    struct flowd_http_stream *stream = c->stream;

    c->stream = NULL;
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

bool flowd_http_stream_part(struct flowd_http_exchange *c)
{
    bool chunked = c->head.framing.minor > 0;
    size_t start = c->out.length;
    int result;

    if (chunked)
        flowd_text_puts(&c->out, SIZE_LINE);
    result = c->stream->produce(c->stream, &c->out);
    if (result < 0 || flowd_text_failed(&c->out))
        return false;
    if (chunked)
        finish_chunk(&c->out, start);
    if (result > 0)
        return true;
    if (chunked)
        flowd_text_puts(&c->out, "0\r\n\r\n");
    flowd_http_stream_release(c);
    flowd_http_connection_next(c);
    return !flowd_text_failed(&c->out);
}

void flowd_http_answer_stream(struct flowd_http_exchange *exchange, int status,
                              const char *content_type, const char *headers,
                              struct flowd_http_stream *stream)
{
    if (exchange->state != FLOWD_HTTP_PENDING) {
        stream->release(stream);
        return;
    }
    if (exchange->head.framing.minor == 0)
        exchange->closing = true;
    flowd_http_answer_head(exchange, status, content_type, headers, SIZE_MAX);
    exchange->stream = stream;
    exchange->state = FLOWD_HTTP_STREAMING;
    if (exchange->head_only) {
        flowd_http_stream_release(exchange);
        flowd_http_connection_answered(exchange);
    } else if (!exchange->handling) {
        flowd_http_connection_run(exchange);
    }
}

void flowd_http_stop(struct flowd_http_exchange *exchange)
{
    flowd_http_connection_close(exchange);
}
