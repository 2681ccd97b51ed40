/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one connection: bytes come in, requests are read from them (request.c) and handled
 * one after the other, answers go out. What the connection does next is decided here alone: no
 * other file writes its state.
 *
 * A connection that is closed is not freed but kept for the next one, so that code which finds its
 * connection closed under its hands sees the state FLOWD_HTTP_CLOSED and stops.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/base/timestamp.h"

/* Requests of one connection in a row. */
#define REQUESTS_PER_RUN 16
/* How long requests are handled in one turn of the loop, whatever the number of connections: a list
 * of thousands of flows takes milliseconds to write. */
#define TURN_MAX_US 5000
/* Answers that wait to be sent stop further requests. */
#define UNSENT_MAX 65536u

static void watch_input(struct flowd_http_connection *c)
{
    bool wanted = !c->eof && (c->state == FLOWD_HTTP_LEAVING ||
                              c->in_end - c->in_start < flowd_http_connection_allowed(c));

    if (wanted && !ev_is_active(&c->reader))
        ev_io_start(c->server->loop, &c->reader);
    else if (!wanted && ev_is_active(&c->reader))
        ev_io_stop(c->server->loop, &c->reader);
}

static enum flowd_http_wait what_is_awaited(const struct flowd_http_connection *c)
{
    if (c->out.length > c->out_sent || c->state == FLOWD_HTTP_STREAMING)
        return FLOWD_HTTP_WAIT_WRITE;
    if (c->state == FLOWD_HTTP_PENDING || c->resuming)
        return FLOWD_HTTP_WAIT_NONE;
    if (c->state == FLOWD_HTTP_LEAVING)
        return FLOWD_HTTP_WAIT_LEAVING;
    if (c->state == FLOWD_HTTP_IN_BODY || c->in_end > c->in_start || !c->served)
        return FLOWD_HTTP_WAIT_REQUEST;
    return FLOWD_HTTP_WAIT_IDLE;
}

/* A deadline counts from when its wait began: more bytes of what is awaited do not move it. */
static void set_deadline(struct flowd_http_connection *c)
{
    enum flowd_http_wait wait = what_is_awaited(c);

    if (wait == FLOWD_HTTP_WAIT_NONE) {
        ev_timer_stop(c->server->loop, &c->deadline);
    } else if (wait != c->awaited) {
        c->deadline.repeat = c->server->wait_s[wait];
        ev_timer_again(c->server->loop, &c->deadline);
    }
    c->awaited = (uint8_t)wait;
}

/* Sends what is there. The connection may be closed afterwards. */
static void flush(struct flowd_http_connection *c)
{
    while (c->out_sent < c->out.length) {
        ssize_t sent = send(c->fd, c->out.data + c->out_sent, c->out.length - c->out_sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent >= 0) {
            c->out_sent += (size_t)sent;
            /* Progress: the time to write begins again. */
            if (c->awaited == FLOWD_HTTP_WAIT_WRITE)
                c->awaited = FLOWD_HTTP_WAIT_NONE;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
            if (!ev_is_active(&c->writer))
                ev_io_start(c->server->loop, &c->writer);
            return;
        }
        flowd_http_connection_close(c);
        return;
    }
    /* The next part of a stream is made when the socket is writable in another turn. */
    if (c->state == FLOWD_HTTP_STREAMING)
        ev_io_start(c->server->loop, &c->writer);
    else if (ev_is_active(&c->writer))
        ev_io_stop(c->server->loop, &c->writer);
    if (c->state == FLOWD_HTTP_LEAVING && !c->finished) {
        c->finished = true;
        shutdown(c->fd, SHUT_WR);
    }
}

/* The next request may come. */
static void begin_exchange(struct flowd_http_connection *c)
{
    c->exchange = (struct flowd_http_exchange){0};
    c->state = FLOWD_HTTP_IN_HEAD;
}

/* The answer is due, and may be given before the caller sets handling back. */
static void begin_answer(struct flowd_http_connection *c)
{
    c->state = FLOWD_HTTP_PENDING;
    c->handling = true;
}

/* Has the next part of a stream be made. The connection may be closed afterwards. */
static void stream_on(struct flowd_http_connection *c)
{
    int result = flowd_http_stream_part(c);

    if (result < 0) {
        flowd_http_connection_close(c);
    } else if (result == FLOWD_HTTP_DONE) {
        flowd_http_stream_release(&c->exchange);
        begin_exchange(c);
    }
}

/* What is left to do after any event: send, let buffers go, watch, time. */
static void settle(struct flowd_http_connection *c)
{
    if (c->state == FLOWD_HTTP_CLOSED)
        return;
    if (c->state == FLOWD_HTTP_STREAMING && c->out.length == c->out_sent)
        stream_on(c);
    if (c->closing && c->state == FLOWD_HTTP_IN_HEAD) {
        c->state = FLOWD_HTTP_LEAVING;
        c->in_start = c->in_end = 0;
    }
    if (c->out.length > 0 || c->state == FLOWD_HTTP_STREAMING || c->state == FLOWD_HTTP_LEAVING)
        flush(c);
    if (c->state == FLOWD_HTTP_CLOSED)
        return;
    flowd_http_connection_release(c);
    if (c->eof && c->out.length == 0 && c->state == FLOWD_HTTP_LEAVING) {
        flowd_http_connection_close(c);
        return;
    }
    watch_input(c);
    set_deadline(c);
}

void flowd_http_connection_reject(struct flowd_http_connection *c, int status, const char *reason)
{
    c->server->counters.rejected++;
    c->closing = true;
    c->exchange.head_only = false;
    begin_answer(c);
    flowd_http_answer_problem(&c->exchange, status, NULL, NULL, reason);
    c->handling = false;
}

static void queue_resume(struct flowd_http_connection *c)
{
    struct flowd_http_server *server = c->server;

    if (c->resuming)
        return;
    c->resuming = true;
    DL_APPEND2(server->resuming, c, resume_previous, resume_next);
    ev_idle_start(server->loop, &server->resume);
}

/* The peer has ended its side, and what it has sent is no whole request. */
static void finish_input(struct flowd_http_connection *c)
{
    if (c->in_end > c->in_start || c->state == FLOWD_HTTP_IN_BODY)
        flowd_http_connection_reject(c, 400, "the request ends in the middle");
    else
        c->closing = true;
}

/* A request is waited for or on its way. */
static bool reads(const struct flowd_http_connection *c)
{
    return !c->closing && (c->state == FLOWD_HTTP_IN_HEAD || c->state == FLOWD_HTTP_IN_BODY);
}

/* The rest of the loop is due. The first request of each turn is handled in any case. */
static bool is_turn_over(struct flowd_http_server *server)
{
    unsigned turn = ev_iteration(server->loop);
    int64_t now_us = flowd_timestamp_boot_us();

    if (server->turn_ends_us == 0 || server->turn != turn) {
        server->turn = turn;
        server->turn_ends_us = now_us + TURN_MAX_US;
    }
    return now_us >= server->turn_ends_us;
}

/* Asks the handler whether to wait for the body at all, and tells the peer to go on sending. */
static void connection_admit(struct flowd_http_connection *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct flowd_http_head *head = &c->exchange.head;
    struct flowd_http_request request;
    bool admitted;

    if (c->exchange.admitted)
        return;
    c->exchange.admitted = true;
    flowd_http_request_view(c, &request);
    c->exchange.head_only = request.method == FLOWD_HTTP_HEAD;
    begin_answer(c);
    c->closing = true;
    admitted = c->server->handler->admit(c->server->context, &c->exchange, &request);
    c->handling = false;
    if (!admitted)
        return;
    c->closing = false;
    c->state = FLOWD_HTTP_IN_BODY;
    if (head->framing.expect_continue && head->framing.minor == 1 &&
        c->in_end - c->in_start == head->length)
        flowd_text_append(&c->out, go_on, sizeof(go_on) - 1);
}

/* Hands a complete request over; its bytes leave the buffer when the handler returns. */
static void connection_handle(struct flowd_http_connection *c, size_t end)
{
    struct flowd_http_request request;

    flowd_http_request_view(c, &request);
    request.body = c->in + c->in_start + c->exchange.head.length;
    request.body_length = c->exchange.body_length;
    c->exchange.head_only = request.method == FLOWD_HTTP_HEAD;
    c->served = true;
    if (!c->exchange.message.keep_alive)
        c->closing = true;
    begin_answer(c);
    c->server->handler->handle(c->server->context, &c->exchange, &request);
    c->handling = false;
    c->awaited = FLOWD_HTTP_WAIT_NONE;
    c->in_start = end;
}

/* Goes on with the request under way. False: more bytes are needed, or it was refused. */
static bool read_request(struct flowd_http_connection *c)
{
    bool in_head = c->state == FLOWD_HTTP_IN_HEAD;
    const char *reason = NULL;
    size_t end = 0;
    int status =
        in_head ? flowd_http_request_head(c, &reason) : flowd_http_request_body(c, &end, &reason);

    if (status == FLOWD_HTTP_MORE) {
        if (!in_head)
            connection_admit(c);
        return false;
    }
    if (status != FLOWD_HTTP_DONE) {
        flowd_http_connection_reject(c, status, reason);
        return false;
    }
    if (in_head)
        c->state = FLOWD_HTTP_IN_BODY;
    else
        connection_handle(c, end);
    return true;
}

void flowd_http_connection_run(struct flowd_http_connection *c)
{
    unsigned requests = 0;
    bool more = true;

    while (more && reads(c) && c->out.length - c->out_sent < UNSENT_MAX) {
        bool in_body = c->state == FLOWD_HTTP_IN_BODY;

        if (requests == REQUESTS_PER_RUN || (in_body && is_turn_over(c->server))) {
            queue_resume(c);
            break;
        }
        more = read_request(c);
        requests += in_body;
    }
    if (!more && c->eof && reads(c))
        finish_input(c);
    settle(c);
    /* What held further requests back has gone out at once: no event will come for them. */
    if (more && reads(c) && c->out.length == 0)
        queue_resume(c);
}

void flowd_http_connection_answered(struct flowd_http_connection *c)
{
    begin_exchange(c);
    if (!c->handling)
        flowd_http_connection_run(c);
}

void flowd_http_connection_streams(struct flowd_http_connection *c,
                                   struct flowd_http_stream *stream)
{
    c->exchange.stream = stream;
    c->state = FLOWD_HTTP_STREAMING;
    if (!c->handling)
        flowd_http_connection_run(c);
}

static void discard_input(struct flowd_http_connection *c)
{
    char waste[16384];
    ssize_t length = recv(c->fd, waste, sizeof(waste), MSG_DONTWAIT);

    if (length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    c->eof = true;
    if (c->finished || length < 0)
        flowd_http_connection_close(c);
    else
        ev_io_stop(c->server->loop, &c->reader);
}

static void connection_on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct flowd_http_connection *c = watcher->data;
    ssize_t room;
    ssize_t length;

    (void)loop;
    (void)events;
    if (c->state == FLOWD_HTTP_LEAVING) {
        discard_input(c);
        return;
    }
    room = flowd_http_connection_room(c);
    if (room < 0) {
        if (c->state == FLOWD_HTTP_PENDING || c->state == FLOWD_HTTP_STREAMING) {
            ev_io_stop(c->server->loop, &c->reader); /* until the answer is out */
            return;
        }
        flowd_http_connection_reject(c, 503, "too many large requests at once");
        settle(c);
        return;
    }
    if (room == 0) {
        watch_input(c);
        return;
    }
    length = recv(c->fd, c->in + c->in_end, (size_t)room, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length < 0) {
        flowd_http_connection_close(c);
        return;
    }
    c->in_end += (size_t)length;
    c->eof = length == 0;
    flowd_http_connection_run(c);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    flowd_http_connection_run(watcher->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct flowd_http_connection *c = timer->data;
    bool began = c->in_end > c->in_start || c->state == FLOWD_HTTP_IN_BODY;

    (void)loop;
    (void)events;
    c->awaited = FLOWD_HTTP_WAIT_NONE;
    if ((c->state == FLOWD_HTTP_IN_HEAD || c->state == FLOWD_HTTP_IN_BODY) && began &&
        c->out.length == c->out_sent) {
        c->server->counters.timeouts++;
        flowd_http_connection_reject(c, 408, "the request did not arrive within 10 s");
        settle(c);
        return;
    }
    if (c->out.length > c->out_sent || c->state == FLOWD_HTTP_STREAMING)
        c->server->counters.timeouts++;
    flowd_http_connection_close(c);
}

struct flowd_http_connection *flowd_http_connection_new(struct flowd_http_server *server, int fd,
                                                        bool local)
{
    struct flowd_http_connection *c = server->closed;

    if (c != NULL)
        LL_DELETE(server->closed, c);
    else
        c = malloc(sizeof(*c));
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    *c = (struct flowd_http_connection){
        .server = server,
        .fd = fd,
        .local = local,
        .state = FLOWD_HTTP_IN_HEAD,
    };
    DL_PREPEND2(server->connections, c, previous, next);
    server->count++;
    server->counters.connections++;
    ev_io_init(&c->reader, connection_on_readable, fd, EV_READ);
    ev_io_init(&c->writer, on_writable, fd, EV_WRITE);
    ev_init(&c->deadline, on_deadline);
    c->reader.data = c->writer.data = c->deadline.data = c;
    settle(c);
    return c;
}

void flowd_http_connection_close(struct flowd_http_connection *c)
{
    struct flowd_http_server *server = c->server;
    bool pending = c->state == FLOWD_HTTP_PENDING && !c->handling;

    if (c->state == FLOWD_HTTP_CLOSED)
        return;
    c->state = FLOWD_HTTP_CLOSED;
    ev_io_stop(server->loop, &c->reader);
    ev_io_stop(server->loop, &c->writer);
    ev_timer_stop(server->loop, &c->deadline);
    if (c->resuming)
        DL_DELETE2(server->resuming, c, resume_previous, resume_next);
    /* A body of no length that just ended would seem to be whole: let the peer see a reset. */
    if (c->exchange.stream != NULL)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                   sizeof(struct linger));
    close(c->fd);
    c->fd = -1;
    free(c->in);
    c->in = NULL;
    c->in_start = c->in_end = c->in_capacity = 0;
    flowd_text_fini(&c->out);
    c->out = (struct flowd_text){0};
    c->out_sent = 0;
    server->buffered -= c->accounted;
    c->accounted = 0;
    DL_DELETE2(server->connections, c, previous, next);
    LL_PREPEND(server->closed, c);
    server->count--;
    flowd_http_stream_release(&c->exchange);
    if (pending)
        server->handler->cancel(server->context, &c->exchange);
}
