/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests, read from the bytes of a connection: the header block, the body, and what of both the
 * handler gets to see.
 */
#include <string.h>
#include <strings.h>

#include "daemon/http/host.h"
#include "internal.h"

/* Before a request; more of them are refused. */
#define EMPTY_LINES_MAX 8

static struct flowd_http_slice slice_of(const struct flowd_http_connection *c,
                                        struct flowd_http_span span)
{
    return (struct flowd_http_slice){c->in + c->in_start + span.at, span.length};
}

void flowd_http_request_view(const struct flowd_http_connection *c,
                             struct flowd_http_request *request)
{
    const struct flowd_http_message *message = &c->exchange.message;
    struct flowd_http_slice target = slice_of(c, message->target);
    bool names_host = (message->seen & 1u << FLOWD_HTTP_FIELD_HOST) != 0;
    const char *mark;

    *request = (struct flowd_http_request){
        .method = message->method,
        .host = slice_of(c, message->fields[FLOWD_HTTP_FIELD_HOST]),
        .authorization = slice_of(c, message->fields[FLOWD_HTTP_FIELD_AUTHORIZATION]),
        .content_type = slice_of(c, message->fields[FLOWD_HTTP_FIELD_CONTENT_TYPE]),
        .accept = slice_of(c, message->fields[FLOWD_HTTP_FIELD_ACCEPT]),
        .origin = slice_of(c, message->fields[FLOWD_HTTP_FIELD_ORIGIN]),
        .fetch_site = slice_of(c, message->fields[FLOWD_HTTP_FIELD_FETCH_SITE]),
        .encoded = c->exchange.head.framing.encoded,
        .local = c->local,
    };
    if (target.length > 7 && strncasecmp(target.data, "http://", 7) == 0) {
        /* The absolute form: its authority stands for the Host header (RFC 9112, 3.2.2). */
        size_t host = 7;

        while (host < target.length && target.data[host] != '/' && target.data[host] != '?')
            host++;
        request->host = (struct flowd_http_slice){target.data + 7, host - 7};
        names_host = true;
        target.data += host;
        target.length -= host;
        if (target.length == 0)
            target = (struct flowd_http_slice){"/", 1};
    }
    request->foreign =
        c->loopback && names_host && !flowd_http_host_is_own(request->host, c->server->hostname);
    mark = memchr(target.data, '?', target.length);
    request->path = target;
    if (mark != NULL) {
        request->path.length = (size_t)(mark - target.data);
        request->query.data = mark + 1;
        request->query.length = target.length - request->path.length - 1;
    }
}

/* Some clients send a line end behind a body that has none (RFC 9112, 2.2). */
static void skip_empty_lines(struct flowd_http_connection *c)
{
    while (c->exchange.empty_lines < EMPTY_LINES_MAX && c->in_end - c->in_start >= 2 &&
           memcmp(c->in + c->in_start, "\r\n", 2) == 0) {
        c->in_start += 2;
        c->exchange.head = (struct flowd_http_head){0}; /* the CR may have come alone */
        c->exchange.empty_lines++;
    }
}

int flowd_http_request_head(struct flowd_http_connection *c, const char **reason)
{
    struct flowd_http_exchange *exchange = &c->exchange;
    char *data;
    int status;

    skip_empty_lines(c);
    data = c->in + c->in_start;
    status = flowd_http_head_scan(&exchange->head, data, c->in_end - c->in_start, reason);
    if (status != FLOWD_HTTP_DONE)
        return status;
    status = flowd_http_message_head(data, exchange->head.length, &exchange->message, reason);
    if (status == FLOWD_HTTP_DONE && exchange->head.framing.content_length > FLOWD_HTTP_BODY_MAX) {
        *reason = "the body is larger than 4 MiB";
        return 413;
    }
    return status;
}

/*
 * A chunked body is freed of its chunks as it arrives: its content is moved together behind the
 * header block. Returns the status of the scanner; *end is where the message ends.
 */
static int step_chunks(struct flowd_http_connection *c, size_t *end, const char **reason)
{
    struct flowd_http_exchange *exchange = &c->exchange;
    size_t body = c->in_start + exchange->head.length;
    size_t from = body + exchange->body_length;
    size_t consumed = 0;
    int status = flowd_http_chunks_scan(&exchange->chunks, c->in + from, c->in_end - from,
                                        c->in + body, FLOWD_HTTP_BODY_MAX, &consumed, reason);

    if (status >= 400)
        return status;
    exchange->body_length = (size_t)exchange->chunks.total;
    if (status == FLOWD_HTTP_DONE)
        *end = from + consumed;
    else
        c->in_end = body + exchange->body_length;
    return status;
}

int flowd_http_request_body(struct flowd_http_connection *c, size_t *end, const char **reason)
{
    struct flowd_http_exchange *exchange = &c->exchange;

    if (exchange->head.framing.chunked)
        return step_chunks(c, end, reason);
    exchange->body_length = (size_t)exchange->head.framing.content_length;
    *end = c->in_start + exchange->head.length + exchange->body_length;
    return c->in_end < *end ? FLOWD_HTTP_MORE : FLOWD_HTTP_DONE;
}
