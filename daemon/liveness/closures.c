/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the kernel's notifications of closed sockets: one netlink socket in two multicast groups.
 * What it brings is read in batches, a bounded number in each loop turn; a socket of no flow costs
 * two look-ups in the flow table.
 *
 * After a loss (ENOBUFS) any flow may have missed its end. The walk over all of them waits a while:
 * a flow may be announced shortly before its socket exists, and must not be taken for a finished
 * one.
 */
#include "daemon/liveness/closures.h"

#include <errno.h>
#include <ev.h>
#include <linux/sock_diag.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/attendance.h"
#include "daemon/liveness/liveness.h"
#include "daemon/metrics/counter.h"
#include "daemon/tcp/tcp_sample.h"

#define BATCH 32
#define BATCHES_PER_TURN 32
#define NOTIFICATION_SIZE 1024
#define RECEIVE_SIZE (8 << 20)
#define RECOVERY_DELAY_S 2.0
#define US_PER_S 1e6

/* What the kernel may not have said. */
struct loss {
    bool any;
    bool all;                 /* a notification was lost */
    struct flowd_ports ports; /* else: the local ports and remote ends of aborted connections */
};

struct flowd_closures {
    const struct flowd_context *context;
    struct flowd_source *source;
    struct flowd_source *recovered; /* of ends that a walk finds */
    struct nl_sock *socket;
    struct ev_io readable;
    struct ev_timer recover;
    struct flowd_attendance attendance;
    struct flowd_doubt doubt;
    struct loss fresh;         /* of the delay that is under way */
    struct loss ripe;          /* of the one before: the next walk is for it */
    struct flowd_ports walked; /* the ports of the walk that is under way */
    uint64_t notifications;
    uint64_t losses;
    uint64_t aborts;
    uint64_t ended_before;  /* by the source, when this one was made */
    uint64_t reused_before; /* of the judge, then */
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    _Alignas(8) char data[BATCH][NOTIFICATION_SIZE];
};

static void start_recovery_later(struct flowd_closures *closures)
{
    closures->fresh.any = true;
    if (ev_is_active(&closures->recover))
        return;
    ev_timer_set(&closures->recover, RECOVERY_DELAY_S, 0);
    ev_timer_start(closures->context->loop, &closures->recover);
}

/* Listeners, and sockets that never had a connection, have no remote address. */
static void note_abort(struct flowd_closures *closures, const struct flowd_flow_key *key)
{
    static const struct in6_addr unspecified;

    if (memcmp(&key->dst, &unspecified, sizeof(unspecified)) == 0)
        return;
    closures->aborts++;
    flowd_ports_add(&closures->fresh.ports, key->src_port, &key->dst);
    start_recovery_later(closures);
}

static void take_closure(struct flowd_closures *closures, const struct flowd_tcp_socket *socket)
{
    closures->notifications++;
    if (socket->key.dst_port == 0)
        note_abort(closures, &socket->key);
    else
        flowd_liveness_closed(closures->context->liveness, closures->source, &socket->key,
                              &socket->sample);
}

static void note_loss(struct flowd_closures *closures)
{
    static struct flowd_log_limit limit;

    closures->losses++;
    closures->fresh.all = true;
    flowd_log_limited(&limit, FLOWD_LOG_WARNING, "flows.endOnClose",
                      "the kernel dropped notifications of closed sockets: every flow will be "
                      "looked at");
    start_recovery_later(closures);
}

static void walk(struct flowd_closures *closures, int64_t before_us,
                 const struct flowd_ports *ports, bool spare_waiting)
{
    closures->doubt.before_us = before_us;
    closures->doubt.ports = ports;
    closures->doubt.source = closures->recovered;
    closures->doubt.later = closures->source;
    closures->doubt.spare_waiting = spare_waiting;
    flowd_liveness_doubt(closures->context->liveness, &closures->doubt);
}

/*
 * Walks for what came up before the delay that ends here began, so that each flow that may be
 * concerned has been announced for that long.
 */
static void on_recover(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_closures *closures = watcher->data;

    (void)events;
    if (!closures->doubt.open) {
        if (closures->ripe.any) {
            closures->walked = closures->ripe.ports;
            walk(closures, flowd_timestamp_boot_us() - (int64_t)(RECOVERY_DELAY_S * US_PER_S),
                 closures->ripe.all ? NULL : &closures->walked, false);
        }
        closures->ripe = closures->fresh;
        closures->fresh = (struct loss){0};
    }
    if (closures->ripe.any || closures->fresh.any) {
        ev_timer_stop(loop, watcher); /* it may have been started since it was due */
        ev_timer_set(watcher, RECOVERY_DELAY_S, 0);
        ev_timer_start(loop, watcher);
    }
}

static void closures_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_closures *closures = watcher->data;
    int64_t now_us = flowd_timestamp_now_us();

    (void)loop;
    (void)events;
    for (int round = 0; round < BATCHES_PER_TURN; round++) {
        int count = recvmmsg(watcher->fd, closures->messages, BATCH, MSG_DONTWAIT, NULL);

        if (count < 0 && errno == ENOBUFS) {
            note_loss(closures);
            continue;
        }
        if (count <= 0)
            return;
        for (int i = 0; i < count; i++) {
            struct flowd_tcp_socket socket;

            if (flowd_tcp_socket_decode(closures->data[i], closures->messages[i].msg_len, now_us,
                                        &socket) == 0)
                take_closure(closures, &socket);
        }
        if (count < BATCH)
            return;
    }
}

static int open_socket(struct flowd_closures *closures, struct flowd_error *err)
{
    const int size = RECEIVE_SIZE;
    int result;
    int fd;

    closures->socket = nl_socket_alloc();
    if (closures->socket == NULL)
        return flowd_fail_errno(err, ENOMEM, "sock_diag");
    nl_socket_disable_seq_check(closures->socket);
    result = nl_connect(closures->socket, NETLINK_SOCK_DIAG);
    if (result == 0)
        result = nl_socket_add_memberships(closures->socket, SKNLGRP_INET_TCP_DESTROY,
                                           SKNLGRP_INET6_TCP_DESTROY, 0);
    if (result < 0)
        return flowd_fail(err, EOPNOTSUPP, "sock_diag notifications: %s", nl_geterror(result));
    (void)nl_socket_set_nonblocking(closures->socket);
    fd = nl_socket_get_fd(closures->socket);
    /* The second is for those without CAP_NET_ADMIN: it is cut at net.core.rmem_max. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    return 0;
}

int flowd_closures_new(const struct flowd_context *context, bool restarted,
                       struct flowd_closures **out, struct flowd_error *err)
{
    struct flowd_closures *closures = calloc(1, sizeof(*closures));
    int result;

    if (closures == NULL)
        return flowd_fail_errno(err, ENOMEM, "closures");
    closures->context = context;
    closures->source = flowd_hub_source(context->hub, "close");
    closures->recovered = flowd_hub_source(context->hub, "recovery");
    for (size_t i = 0; i < BATCH; i++) {
        closures->vectors[i] =
            (struct iovec){.iov_base = closures->data[i], .iov_len = NOTIFICATION_SIZE};
        closures->messages[i].msg_hdr =
            (struct msghdr){.msg_iov = &closures->vectors[i], .msg_iovlen = 1};
    }
    result = closures->source != NULL && closures->recovered != NULL
                 ? 0
                 : flowd_fail_errno(err, ENOMEM, "closures");
    if (result == 0)
        result = flowd_liveness_open(context->liveness, err);
    if (result == 0)
        result = open_socket(closures, err);
    if (result < 0) {
        flowd_closures_free(closures);
        return result;
    }
    closures->ended_before = closures->source->events[FLOWD_EVENT_END][FLOWD_ENDED];
    closures->reused_before = flowd_liveness_reused(context->liveness);
    ev_timer_init(&closures->recover, on_recover, RECOVERY_DELAY_S, 0);
    ev_io_init(&closures->readable, closures_on_readable, nl_socket_get_fd(closures->socket),
               EV_READ);
    closures->readable.data = closures->recover.data = closures;
    /* Before the plugins: a connection that is over has its final counts when its end is read. */
    ev_set_priority(&closures->readable, EV_MAXPRI);
    ev_io_start(context->loop, &closures->readable);
    /* What closed before. */
    walk(closures, flowd_timestamp_boot_us(), NULL, restarted);
    flowd_attendance_start(&closures->attendance, context);
    *out = closures;
    return 0;
}

void flowd_closures_free(struct flowd_closures *closures)
{
    if (closures == NULL)
        return;
    ev_io_stop(closures->context->loop, &closures->readable);
    ev_timer_stop(closures->context->loop, &closures->recover);
    flowd_liveness_forget_doubt(closures->context->liveness, &closures->doubt);
    flowd_attendance_stop(&closures->attendance);
    nl_socket_free(closures->socket);
    free(closures);
}

struct closure_counts {
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

#define COUNTED(member) FLOWD_COUNTED(struct closure_counts, member)

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

void flowd_closures_count(const struct flowd_closures *closures,
                          const struct flowd_counter_sink *sink)
{
    const struct flowd_liveness *liveness = closures->context->liveness;
    const struct closure_counts counts = {
        .notifications = closures->notifications,
        .losses = closures->losses,
        .aborts = closures->aborts,
        .ended = closures->source->events[FLOWD_EVENT_END][FLOWD_ENDED] - closures->ended_before,
        .lingering = flowd_liveness_lingering(liveness),
        .reused = flowd_liveness_reused(liveness) - closures->reused_before,
        .waiting = closures->attendance.waiting,
    };

    flowd_counters_put(sink, counters, &counts, NULL);
}
