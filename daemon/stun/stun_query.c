/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends, waits, sends again. What one wake-up reads is bounded: somebody who sends more than that
 * is read in later turns.
 */
#include "stun_query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define RTO_S 0.5                /* the initial value */
#define SENDS 7                  /* Rc */
#define LAST_WAIT_S (16 * RTO_S) /* Rm: after the last one */
#define READS_PER_TURN 16
#define MESSAGE_MAX 2048
#define REASON_SIZE 96

void flowd_stun_query_stop(struct flowd_stun_query *query)
{
    if (!query->is_under_way)
        return;
    ev_io_stop(query->loop, &query->readable);
    ev_timer_stop(query->loop, &query->retransmit);
    close(query->readable.fd);
    query->is_under_way = false;
}

static void finish(struct flowd_stun_query *query, const struct flowd_address *mapped,
                   const char *reason)
{
    flowd_stun_query_stop(query);
    query->done(query, mapped, reason);
}

static void finish_without(struct flowd_stun_query *query, int error)
{
    finish(query, NULL, strerror(error));
}

/* Errors that say something of the way to the server, which is not going to be another one soon. */
static bool is_final(int error)
{
    return error != EAGAIN && error != EINTR && error != ENOBUFS && error != ENOMEM;
}

static void send_request(struct flowd_stun_query *query)
{
    uint8_t request[FLOWD_STUN_REQUEST_SIZE];
    double wait_s = query->sent + 1 < SENDS ? RTO_S * (double)(1u << query->sent) : LAST_WAIT_S;

    flowd_stun_request(&query->id, request);
    query->sent++;
    ev_timer_stop(query->loop, &query->retransmit);
    ev_timer_set(&query->retransmit, wait_s, 0);
    ev_timer_start(query->loop, &query->retransmit);
    if (send(query->readable.fd, request, sizeof(request), 0) < 0 && is_final(errno))
        finish_without(query, errno);
}

static void on_retransmit(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct flowd_stun_query *query = timer->data;

    (void)loop;
    (void)events;
    if (query->sent < SENDS)
        send_request(query);
    else
        finish(query, NULL, query->ignored > 0 ? "no answer but what is none" : "no answer");
}

static void take_datagram(struct flowd_stun_query *query, const uint8_t *data, size_t length)
{
    struct flowd_stun_answer answer = {0};
    char reason[REASON_SIZE];

    switch (flowd_stun_read(data, length, &query->id, &answer)) {
    case FLOWD_STUN_ADDRESS:
        finish(query, &answer.mapped, NULL);
        break;
    case FLOWD_STUN_ERROR:
        snprintf(reason, sizeof(reason), "the server answered with error %d", answer.error_code);
        finish(query, NULL, reason);
        break;
    case FLOWD_STUN_UNUSABLE:
        finish(query, NULL, "the server's answer has no address");
        break;
    case FLOWD_STUN_FOREIGN:
        query->ignored++;
        break;
    }
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_stun_query *query = watcher->data;
    uint8_t data[MESSAGE_MAX];

    (void)loop;
    (void)events;
    for (int i = 0; i < READS_PER_TURN && query->is_under_way; i++) {
        ssize_t length = recv(watcher->fd, data, sizeof(data), MSG_DONTWAIT);

        if (length >= 0)
            take_datagram(query, data, (size_t)length);
        else if (is_final(errno))
            finish_without(query, errno);
        else
            return;
    }
}

static int open_socket(const struct flowd_address *local, const struct sockaddr_storage *server,
                       struct flowd_error *err)
{
    struct sockaddr_storage source;
    socklen_t length = flowd_endpoint_make(local->family, &local->addr, 0, &source);
    int fd = socket(local->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result;

    if (fd < 0)
        return flowd_fail_errno(err, errno, "socket");
    if (bind(fd, (const struct sockaddr *)&source, length) == 0 &&
        connect(fd, (const struct sockaddr *)server, length) == 0)
        return fd;
    result = flowd_fail_errno(err, errno, "STUN");
    close(fd);
    return result;
}

int flowd_stun_query_start(struct flowd_stun_query *query, struct ev_loop *loop,
                           const struct flowd_address *local, const struct sockaddr_storage *server,
                           flowd_stun_done done, void *context, struct flowd_error *err)
{
    int fd;

    *query = (struct flowd_stun_query){.loop = loop, .done = done, .context = context};
    if (getrandom(query->id.bytes, sizeof(query->id.bytes), 0) != sizeof(query->id.bytes))
        return flowd_fail_errno(err, errno, "random numbers");
    fd = open_socket(local, server, err);
    if (fd < 0)
        return fd;
    query->is_under_way = true;
    ev_io_init(&query->readable, on_readable, fd, EV_READ);
    ev_timer_init(&query->retransmit, on_retransmit, 0, 0);
    query->readable.data = query->retransmit.data = query;
    ev_io_start(loop, &query->readable);
    /* The first request leaves from the loop, so that its failure is told from there, too. */
    ev_timer_start(loop, &query->retransmit);
    return 0;
}
