/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffers of a connection: how much input each state of a request may hold, when they grow and
 * when their memory goes back. What all connections hold together is kept in the server, so that
 * many large requests at once are refused before the memory is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define DEFAULT_BUFFER ((size_t)4096)
/* What is read ahead while an answer is pending. */
#define READ_AHEAD 16384
/* One read; the reactor comes back for more. */
#define READ_MAX 131072u
/* What was sent leaves the front of the output once it is this much, and half of it. */
#define COMPACT_MIN 65536u

/* Tells the server what this connection's buffers hold beyond the default. */
static void account(struct flowd_http_connection *c)
{
    size_t in = c->in_capacity > DEFAULT_BUFFER ? c->in_capacity - DEFAULT_BUFFER : 0;
    size_t out = c->out.capacity > DEFAULT_BUFFER ? c->out.capacity - DEFAULT_BUFFER : 0;

    c->server->buffered += in + out - c->accounted;
    c->accounted = in + out;
}

void flowd_http_connection_release(struct flowd_http_connection *c)
{
    if (c->in_start == c->in_end) {
        c->in_start = c->in_end = 0;
        if (c->in_capacity > DEFAULT_BUFFER) {
            free(c->in);
            c->in = NULL;
            c->in_capacity = 0;
        }
    }
    if (c->out_sent == c->out.length) {
        c->out_sent = 0;
        flowd_text_clear(&c->out);
        if (c->out.capacity > 4 * DEFAULT_BUFFER || flowd_text_failed(&c->out)) {
            flowd_text_fini(&c->out);
            c->out = (struct flowd_text){0};
        }
    } else if (c->out_sent >= COMPACT_MIN && c->out_sent >= c->out.length / 2) {
        /* A peer that always leaves something unread must not make the buffer grow for ever. */
        c->out.length -= c->out_sent;
        memmove(c->out.data, c->out.data + c->out_sent, c->out.length);
        c->out_sent = 0;
    }
    if (c->accounted > 0 || c->in_capacity > DEFAULT_BUFFER || c->out.capacity > DEFAULT_BUFFER)
        account(c);
}

size_t flowd_http_connection_allowed(const struct flowd_http_connection *c)
{
    if (c->state == FLOWD_HTTP_IN_BODY && c->exchange.head.framing.chunked)
        return c->exchange.head.length + c->exchange.body_length + READ_AHEAD;
    if (c->state == FLOWD_HTTP_IN_BODY)
        return c->exchange.head.length + (size_t)c->exchange.head.framing.content_length;
    if (c->state == FLOWD_HTTP_PENDING || c->state == FLOWD_HTTP_STREAMING)
        return READ_AHEAD;
    return FLOWD_HTTP_HEAD_MAX + DEFAULT_BUFFER;
}

ssize_t flowd_http_connection_room(struct flowd_http_connection *c)
{
    size_t used = c->in_end - c->in_start;
    size_t allowed = flowd_http_connection_allowed(c);
    size_t room;

    if (used >= allowed)
        return 0;
    if (c->in_end == c->in_capacity && c->in_start > 0) {
        memmove(c->in, c->in + c->in_start, used);
        c->in_start = 0;
        c->in_end = used;
    }
    if (c->in_end == c->in_capacity) {
        size_t capacity = c->in_capacity > 0 ? 2 * c->in_capacity : DEFAULT_BUFFER;
        char *in;

        if (capacity > allowed && allowed > c->in_capacity && allowed > DEFAULT_BUFFER)
            capacity = allowed;
        if (capacity > DEFAULT_BUFFER && flowd_http_server_crowded(c->server))
            return -ENOMEM;
        in = realloc(c->in, capacity);
        if (in == NULL)
            return -ENOMEM;
        c->in = in;
        c->in_capacity = capacity;
        account(c);
    }
    room = c->in_capacity - c->in_end;
    if (room > allowed - used)
        room = allowed - used;
    return (ssize_t)(room < READ_MAX ? room : READ_MAX);
}
