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
#include <netinet/tcp.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/attendance.h"
#include "daemon/liveness/lingering.h"
#include "daemon/liveness/recovery.h"
#include "daemon/metrics/counter.h"
#include "daemon/net/host.h"
#include "daemon/tcp/flow_socket.h"
#include "daemon/tcp/sock_diag.h"
#include "daemon/tcp/tcp_sample.h"

#define BATCH 32
#define BATCHES_PER_TURN 32
#define NOTIFICATION_SIZE 1024
#define RECEIVE_SIZE (8 << 20)
#define RECOVERY_DELAY_S 2.0
#define US_PER_S 1e6

/* Which flows may have ended without the kernel saying so. */
struct doubt {
    bool any;
    bool all;                 /* a notification was lost */
    struct flowd_ports ports; /* else: the local ports and remote ends of aborted connections */
};

struct flowd_closures {
    const struct flowd_context *context;
    struct flowd_source *source;
    struct flowd_source *recovered; /* of ends that a walk finds */
    struct nl_sock *socket;
    struct flowd_sock_diag *diag; /* borrowed */
    struct ev_io readable;
    struct ev_timer recover;
    struct flowd_recovery recovery;
    struct flowd_lingering lingering;
    struct flowd_attendance attendance;
    struct doubt fresh;        /* of the delay that is under way */
    struct doubt ripe;         /* of the one before: the next walk is for it */
    struct flowd_ports walked; /* the ports of the walk that is under way */
    uint64_t notifications;
    uint64_t losses;
    uint64_t aborts;
    uint64_t ended;
    uint64_t reused; /* connections that ended while another one had their addresses and ports */
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

/*
 * How the flow fares whose socket here has gone, each end judged by itself: an enum flowd_tcp_life,
 * or -errno. Another socket with the same addresses and ports at this end is a connection of its
 * own; a socket at the other end, where that is here too, has only not been closed yet.
 */
static int life_after(struct flowd_closures *closures, const struct flowd_flow_key *key,
                      bool local_is_src, const struct flowd_tcp_sample *gone)
{
    const struct flowd_host *host = closures->context->host;
    const unsigned other_end = local_is_src ? FLOWD_LOCAL_DST : FLOWD_LOCAL_SRC;
    uint64_t cookie;
    int life = flowd_flow_socket_end_life(closures->diag, host, key, local_is_src, gone->interface,
                                          &cookie);
    int other;

    if (life == FLOWD_TCP_CONNECTED && flowd_tcp_cookies_differ(cookie, gone->cookie))
        closures->reused++;
    if (life < 0 || life == FLOWD_TCP_CONNECTED || !(flowd_flow_socket_ends(host, key) & other_end))
        return life;
    other = flowd_flow_socket_end_life(closures->diag, host, key, !local_is_src, gone->interface,
                                       &cookie);
    return other < 0 || other > life ? other : life;
}

/*
 * Whether the source's socket, which is here too and gone as well, has told its final counts. If
 * not, it is about to: of two sockets that close, the destination's may be told of first.
 */
static bool has_final_counts(const struct flowd_closures *closures, const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *known = flowd_hub_sample_of(closures->context->hub, flow);

    return known != NULL && known->state == TCP_CLOSE;
}

/* A socket that stands for the flow with this key has gone: its local end is the flow's source or
 * not. */
static void end_flow_of(struct flowd_closures *closures, const struct flowd_flow_key *key,
                        bool local_is_src, const struct flowd_tcp_socket *socket)
{
    const struct flowd_context *context = closures->context;
    struct flowd_flow *flow = flowd_hub_find_key(context->hub, key);
    const struct flowd_tcp_sample *last = NULL;
    int life;

    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE)
        return;
    /* With both ends here, the source's socket says what the flow was like. */
    if (local_is_src || !(flowd_flow_socket_ends(context->host, &flow->key) & FLOWD_LOCAL_SRC))
        last = &socket->sample;
    life = life_after(closures, key, local_is_src, &socket->sample);
    if (life == FLOWD_TCP_GONE && last == NULL && !has_final_counts(closures, flow))
        life = FLOWD_TCP_LINGERS;
    if (life < 0 || life == FLOWD_TCP_GONE) {
        closures->ended++;
        flowd_hub_end(context->hub, closures->source, flow, last);
        return;
    }
    if (last != NULL)
        flowd_hub_keep_sample(context->hub, flow, last);
    if (life == FLOWD_TCP_LINGERS)
        flowd_lingering_add(&closures->lingering, flow, socket->sample.interface);
    else if (life == FLOWD_TCP_CLOSED)
        (void)flowd_lingering_add_closed(&closures->lingering, closures->source, flow,
                                         socket->sample.interface);
}

/* The flow may have been announced from either end, and even from both. */
static void take_closure(struct flowd_closures *closures, struct flowd_tcp_socket *socket)
{
    const struct flowd_flow_key *key = &socket->key;
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(key);

    closures->notifications++;
    if (key->dst_port == 0) {
        note_abort(closures, key);
        return;
    }
    end_flow_of(closures, key, true, socket);
    socket->sample.at_destination = true;
    end_flow_of(closures, &reverse, false, socket);
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
    const struct flowd_recovery_scope scope = {.before_us = before_us,
                                               .ports = ports,
                                               .source = closures->recovered,
                                               .spare_waiting = spare_waiting};

    flowd_recovery_start(&closures->recovery, &closures->lingering, &scope);
}

/*
 * Walks for what came up before the delay that ends here began, so that each flow that may be
 * concerned has been announced for that long.
 */
static void on_recover(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_closures *closures = watcher->data;

    (void)events;
    if (!flowd_recovery_is_running(&closures->recovery)) {
        if (closures->ripe.any) {
            closures->walked = closures->ripe.ports;
            walk(closures, flowd_timestamp_boot_us() - (int64_t)(RECOVERY_DELAY_S * US_PER_S),
                 closures->ripe.all ? NULL : &closures->walked, false);
        }
        closures->ripe = closures->fresh;
        closures->fresh = (struct doubt){0};
    }
    if (closures->ripe.any || closures->fresh.any) {
        ev_timer_stop(loop, watcher); /* it may have been started since it was due */
        ev_timer_set(watcher, RECOVERY_DELAY_S, 0);
        ev_timer_start(loop, watcher);
    }
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
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
        return flowd_fail(err, ENOMEM, "sock_diag");
    nl_socket_disable_seq_check(closures->socket);
    result = nl_connect(closures->socket, NETLINK_SOCK_DIAG);
    if (result == 0)
        result = nl_socket_add_memberships(closures->socket, SKNLGRP_INET_TCP_DESTROY,
                                           SKNLGRP_INET6_TCP_DESTROY, 0);
    if (result < 0)
        return flowd_fail(err, -EOPNOTSUPP, "sock_diag notifications: %s", nl_geterror(result));
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
        return flowd_fail(err, ENOMEM, "closures");
    closures->context = context;
    closures->diag = context->diag;
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
                 : flowd_fail(err, ENOMEM, "closures");
    if (result == 0)
        result = flowd_sock_diag_open(closures->diag, err);
    if (result == 0) {
        flowd_lingering_init(&closures->lingering, context, closures->diag, closures->source);
        result = open_socket(closures, err);
    }
    if (result < 0) {
        flowd_closures_free(closures);
        return result;
    }
    ev_timer_init(&closures->recover, on_recover, RECOVERY_DELAY_S, 0);
    ev_io_init(&closures->readable, on_readable, nl_socket_get_fd(closures->socket), EV_READ);
    closures->readable.data = closures->recover.data = closures;
    /* Before the plugins: a connection that is over has its final counts when its end is read. */
    ev_set_priority(&closures->readable, EV_MAXPRI);
    ev_io_start(context->loop, &closures->readable);
    /* What closed before. */
    walk(closures, flowd_timestamp_boot_us(), NULL, restarted);
    flowd_attendance_start(&closures->attendance, context, closures->diag, &closures->recovery);
    *out = closures;
    return 0;
}

void flowd_closures_free(struct flowd_closures *closures)
{
    if (closures == NULL)
        return;
    ev_io_stop(closures->context->loop, &closures->readable);
    ev_timer_stop(closures->context->loop, &closures->recover);
    flowd_recovery_stop(&closures->recovery);
    flowd_attendance_stop(&closures->attendance);
    flowd_lingering_fini(&closures->lingering);
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
    const struct closure_counts counts = {
        .notifications = closures->notifications,
        .losses = closures->losses,
        .aborts = closures->aborts,
        /* When a connection's end was told of, or after it was seen closed. */
        .ended = closures->ended + closures->lingering.ended,
        .lingering = flowd_lingering_count(&closures->lingering),
        .reused = closures->reused + closures->lingering.reused,
        .waiting = closures->attendance.waiting,
    };

    flowd_counters_put(sink, counters, &counts, NULL);
}
