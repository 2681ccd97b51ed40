/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the kernel's notifications of closed sockets: one netlink socket in two multicast groups.
 * What it brings is read in batches, a bounded number in each loop turn; a socket of no flow costs
 * two look-ups in the flow table. What the kernel does not tell (ENOBUFS, aborts) is for losses.c
 * to find.
 */
#include "daemon/liveness/destroy_listener.h"

#include <errno.h>
#include <ev.h>
#include <linux/sock_diag.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/attendance.h"
#include "daemon/liveness/liveness.h"
#include "daemon/liveness/losses.h"
#include "daemon/metrics/counter.h"
#include "daemon/tcp/tcp_sample.h"

#define BATCH 32
#define BATCHES_PER_TURN 32
#define NOTIFICATION_SIZE 1024
#define RECEIVE_SIZE (8 << 20)

struct flowd_destroy_listener {
    const struct flowd_context *context;
    struct flowd_source *source;
    struct nl_sock *socket;
    struct ev_io readable;
    struct flowd_attendance attendance;
    struct flowd_losses losses;
    uint64_t notifications;
    uint64_t dropped; /* times that the kernel dropped some */
    uint64_t aborts;
    uint64_t ended_before;  /* by the source, when this one was made */
    uint64_t reused_before; /* of the judge, then */
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    _Alignas(8) char data[BATCH][NOTIFICATION_SIZE];
};

static void take_notification(struct flowd_destroy_listener *listener,
                              const struct flowd_tcp_socket *socket)
{
    listener->notifications++;
    switch (flowd_tcp_socket_closure(socket)) {
    case FLOWD_TCP_CLOSURE_NONE:
        break;
    case FLOWD_TCP_CLOSURE_ABORT:
        listener->aborts++;
        flowd_losses_add_port(&listener->losses, socket->key.src_port, &socket->key.dst);
        break;
    case FLOWD_TCP_CLOSURE:
        flowd_liveness_closed(listener->context->liveness, listener->source, &socket->key,
                              &socket->sample);
        break;
    }
}

static void note_dropped(struct flowd_destroy_listener *listener)
{
    static struct flowd_log_limit limit;

    listener->dropped++;
    flowd_log_limited(&limit, FLOWD_LOG_WARNING, "flows.endOnClose",
                      "the kernel dropped notifications of closed sockets: every flow will be "
                      "looked at");
    flowd_losses_add_all(&listener->losses);
}

static void destroy_listener_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_destroy_listener *listener = watcher->data;
    int64_t now_us = flowd_timestamp_now_us();

    (void)loop;
    (void)events;
    for (int round = 0; round < BATCHES_PER_TURN; round++) {
        int count = recvmmsg(watcher->fd, listener->messages, BATCH, MSG_DONTWAIT, NULL);

        if (count < 0 && errno == ENOBUFS) {
            note_dropped(listener);
            continue;
        }
        if (count <= 0)
            return;
        for (int i = 0; i < count; i++) {
            struct flowd_tcp_socket socket;

            if (flowd_tcp_socket_decode(listener->data[i], listener->messages[i].msg_len, now_us,
                                        &socket) == 0)
                take_notification(listener, &socket);
        }
        if (count < BATCH)
            return;
    }
}

static int open_socket(struct flowd_destroy_listener *listener, struct flowd_error *err)
{
    const int size = RECEIVE_SIZE;
    int result;
    int fd;

    listener->socket = nl_socket_alloc();
    if (listener->socket == NULL)
        return flowd_fail_errno(err, ENOMEM, "sock_diag");
    nl_socket_disable_seq_check(listener->socket);
    result = nl_connect(listener->socket, NETLINK_SOCK_DIAG);
    if (result == 0)
        result = nl_socket_add_memberships(listener->socket, SKNLGRP_INET_TCP_DESTROY,
                                           SKNLGRP_INET6_TCP_DESTROY, 0);
    if (result < 0)
        return flowd_fail(err, EOPNOTSUPP, "sock_diag notifications: %s", nl_geterror(result));
    (void)nl_socket_set_nonblocking(listener->socket);
    fd = nl_socket_get_fd(listener->socket);
    /* The second is for those without CAP_NET_ADMIN: it is cut at net.core.rmem_max. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    return 0;
}

int flowd_destroy_listener_new(const struct flowd_context *context, bool restarted,
                               struct flowd_destroy_listener **out, struct flowd_error *err)
{
    struct flowd_destroy_listener *listener = calloc(1, sizeof(*listener));
    struct flowd_source *recovered = flowd_hub_source(context->hub, "recovery");
    int result;

    if (listener == NULL)
        return flowd_fail_errno(err, ENOMEM, "destroy notifications");
    listener->context = context;
    listener->source = flowd_hub_source(context->hub, "close");
    for (size_t i = 0; i < BATCH; i++) {
        listener->vectors[i] =
            (struct iovec){.iov_base = listener->data[i], .iov_len = NOTIFICATION_SIZE};
        listener->messages[i].msg_hdr =
            (struct msghdr){.msg_iov = &listener->vectors[i], .msg_iovlen = 1};
    }
    result = listener->source != NULL && recovered != NULL
                 ? 0
                 : flowd_fail_errno(err, ENOMEM, "destroy notifications");
    if (result == 0)
        result = flowd_liveness_open(context->liveness, err);
    if (result == 0)
        result = open_socket(listener, err);
    if (result < 0) {
        flowd_destroy_listener_free(listener);
        return result;
    }
    listener->ended_before = listener->source->events[FLOWD_EVENT_END][FLOWD_ENDED];
    listener->reused_before = flowd_liveness_reused(context->liveness);
    ev_io_init(&listener->readable, destroy_listener_on_readable,
               nl_socket_get_fd(listener->socket), EV_READ);
    listener->readable.data = listener;
    /* Before the plugins: a connection that is over has its final counts when its end is read. */
    ev_set_priority(&listener->readable, EV_MAXPRI);
    ev_io_start(context->loop, &listener->readable);
    flowd_losses_start(&listener->losses, context, recovered, listener->source);
    /* What closed before. */
    flowd_losses_walk(&listener->losses, flowd_timestamp_boot_us(), NULL, restarted);
    flowd_attendance_start(&listener->attendance, context);
    *out = listener;
    return 0;
}

void flowd_destroy_listener_free(struct flowd_destroy_listener *listener)
{
    if (listener == NULL)
        return;
    ev_io_stop(listener->context->loop, &listener->readable);
    flowd_losses_stop(&listener->losses);
    flowd_attendance_stop(&listener->attendance);
    nl_socket_free(listener->socket);
    free(listener);
}

struct destroy_counts {
    uint64_t notifications, losses, aborts, ended, lingering, reused, waiting;
};

static const struct flowd_metric notifications = {
    "flowd_closure_notifications_total", FLOWD_METRIC_COUNTER,
    "Closed TCP sockets that the kernel told of, whether of a flow or not."};
static const struct flowd_metric losses = {
    "flowd_closure_losses_total", FLOWD_METRIC_COUNTER,
    "Times that the kernel dropped such notifications; every flow was looked at then."};
static const struct flowd_metric aborts = {
    "flowd_closure_aborts_total", FLOWD_METRIC_COUNTER,
    "Notifications of aborted connections, which do not name the remote port."};
static const struct flowd_metric ended = {"flowd_closure_ended_flows_total", FLOWD_METRIC_COUNTER,
                                          "Flows that ended with their socket."};
static const struct flowd_metric lingering = {
    "flowd_closure_lingering_flows", FLOWD_METRIC_GAUGE,
    "Flows of which one end has closed and the kernel still acknowledges for the other."};
static const struct flowd_metric reused = {
    "flowd_closure_reused_flows_total", FLOWD_METRIC_COUNTER,
    "Flows that went on because another connection had the same addresses and ports."};
static const struct flowd_metric waiting = {"flowd_closure_waiting_flows", FLOWD_METRIC_GAUGE,
                                            "Flows that have not had their connection yet."};

#define COUNTED(member) FLOWD_COUNTED(struct destroy_counts, member)

static const struct flowd_counter counters[] = {
    {.key = "closures.notifications", .metric = &notifications, COUNTED(notifications)},
    {.key = "closures.losses", .metric = &losses, COUNTED(losses)},
    {.key = "closures.aborts", .metric = &aborts, COUNTED(aborts)},
    {.key = "closures.ended", .metric = &ended, COUNTED(ended)},
    {.key = "closures.lingering", .metric = &lingering, COUNTED(lingering)},
    {.key = "closures.reused", .metric = &reused, COUNTED(reused)},
    {.key = "closures.waiting", .metric = &waiting, COUNTED(waiting)},
    {.key = NULL},
};

void flowd_destroy_listener_count(const struct flowd_destroy_listener *listener,
                                  const struct flowd_counter_sink *sink)
{
    const struct flowd_liveness *liveness = listener->context->liveness;
    const struct destroy_counts counts = {
        .notifications = listener->notifications,
        .losses = listener->dropped,
        .aborts = listener->aborts,
        .ended = listener->source->events[FLOWD_EVENT_END][FLOWD_ENDED] - listener->ended_before,
        .lingering = flowd_liveness_lingering(liveness),
        .reused = flowd_liveness_reused(liveness) - listener->reused_before,
        .waiting = listener->attendance.waiting,
    };

    flowd_counters_put(sink, counters, &counts, NULL);
}
