/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The netlink enricher: asks the kernel for the TCP statistics of each watched flow, once a period,
 * by exact sock_diag(7) requests.
 *
 * The flows stand in one array and are asked for in turn, some in each tick, so that the requests
 * of a period are spread over it; where the loop was held up, what is late is made good in several
 * of its turns. A flow that has ended is noticed when its turn comes. At a flow's
 * end its socket is asked for once more, for the final counts.
 *
 * The kernel finds a socket that is bound to an interface only for who names the interface. Which
 * one that is, is found out by asking for each, the more rarely the longer there is no socket.
 */
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/base/vector.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/liveness/liveness.h"
#include "daemon/metrics/counter.h"
#include "daemon/metrics/sample_metrics.h"
#include "daemon/net/host.h"
#include "daemon/tcp/flow_socket.h"
#include "daemon/tcp/tcp_sample.h"

#define TICKS_PER_PERIOD 50
#define TICK_MIN_S 0.01
#define TICK_MAX_S 0.1
#define FLOWS_PER_TURN 2048

extern const struct flowd_module flowd_enricher_netlink;

struct netlink_config {
    int64_t protocol;
    int64_t extensions;
    int64_t states;
};

struct watched {
    uint64_t id;
    uint64_t missed; /* turns in which no socket was found */
};

struct netlink {
    const struct flowd_context *context;
    const struct netlink_config *config;
    struct flowd_liveness *liveness; /* borrowed */
    struct ev_timer tick;
    struct ev_timer rest;  /* of no time: a tick has more to do than one turn should take */
    double started;        /* when the period that is under way began; the loop's time */
    size_t done;           /* flows that have had their turn in it */
    struct watched *flows; /* TCP; those that ended leave gaps, closed when found */
    size_t count;
    size_t capacity;
    size_t next;
    uint64_t sampled;
    uint64_t without_socket;
    uint64_t unanswered;
};

/* One batch of requests. */
struct turn {
    struct netlink *netlink;
    struct flowd_sock_diag_query queries[FLOWD_SOCK_DIAG_BATCH];
    struct flowd_flow *flows[FLOWD_SOCK_DIAG_BATCH];
    struct watched *watched[FLOWD_SOCK_DIAG_BATCH];
    bool missing[FLOWD_SOCK_DIAG_BATCH];
    size_t count;
};

static bool is_wanted(const struct netlink *netlink, const struct flowd_tcp_socket *socket)
{
    return flowd_tcp_socket_life(socket) == FLOWD_TCP_CONNECTED &&
           netlink->config->states >> socket->sample.state & 1;
}

static void take_answer(void *context, size_t index, int error,
                        const struct flowd_tcp_socket *socket)
{
    struct turn *turn = context;
    struct netlink *netlink = turn->netlink;

    /* A listener is answered where the connection is not found. */
    turn->missing[index] =
        error == -ENOENT || (error == 0 && flowd_tcp_is_over((int)flowd_tcp_socket_life(socket)));
    if (error == -ENOENT || (error == 0 && !is_wanted(netlink, socket))) {
        netlink->without_socket++;
    } else if (error < 0) {
        netlink->unanswered++;
    } else {
        netlink->sampled++;
        flowd_hub_sample(netlink->context->hub, turn->flows[index], &socket->sample);
    }
}

/* Whether the flow's socket is one that is bound to an interface. */
static void search(struct turn *turn, size_t index)
{
    struct netlink *netlink = turn->netlink;
    struct watched *watched = turn->watched[index];
    struct flowd_sock_diag_query query = turn->queries[index];
    struct flowd_tcp_socket socket;
    bool due = (watched->missed & (watched->missed + 1)) == 0; /* 0, 1, 3, 7, ... */
    int result;

    if (due && flowd_liveness_turn_over(netlink->liveness))
        return;
    watched->missed++;
    if (!due)
        return;
    query.interface = FLOWD_ANY_INTERFACE;
    result = flowd_liveness_find(netlink->liveness, &query, &socket);
    if (result < 0 || !is_wanted(netlink, &socket))
        return;
    watched->missed = 0;
    netlink->without_socket--;
    netlink->sampled++;
    flowd_hub_sample(netlink->context->hub, turn->flows[index], &socket.sample);
}

static void netlink_ask(struct turn *turn)
{
    flowd_liveness_sample(turn->netlink->liveness, turn->queries, turn->count, take_answer, turn);
    for (size_t i = 0; i < turn->count; i++)
        if (turn->missing[i])
            search(turn, i);
    turn->count = 0;
}

/* That which the flow's socket was bound to when it was sampled; 0: none. */
static uint32_t interface_of(const struct netlink *netlink, const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *last = flowd_hub_sample_of(netlink->context->hub, flow);

    return last != NULL ? last->interface : 0;
}

static void add_query(struct turn *turn, struct watched *watched, struct flowd_flow *flow)
{
    unsigned ends = flowd_flow_socket_ends(turn->netlink->context->host, &flow->key);

    if (ends == 0)
        return;
    turn->flows[turn->count] = flow;
    turn->watched[turn->count] = watched;
    turn->missing[turn->count] = false;
    turn->queries[turn->count++] =
        (struct flowd_sock_diag_query){.key = &flow->key,
                                       .local_is_src = (ends & FLOWD_LOCAL_SRC) != 0,
                                       .interface = interface_of(turn->netlink, flow),
                                       .extensions = (uint8_t)turn->netlink->config->extensions};
    if (turn->count == FLOWD_SOCK_DIAG_BATCH)
        netlink_ask(turn);
}

/* Asks for the next flow. False: the last one has had its turn. */
static bool take_turn(struct netlink *netlink, struct turn *turn)
{
    struct flowd_flow *flow;

    if (netlink->next >= netlink->count)
        return false;
    flow = flowd_hub_find(netlink->context->hub, netlink->flows[netlink->next].id);
    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE) {
        netlink->flows[netlink->next] = netlink->flows[--netlink->count];
        return true;
    }
    add_query(turn, &netlink->flows[netlink->next++], flow);
    return true;
}

/* Asks for flows until due have had their turn. False: there are more than one turn should take. */
static bool take_turns(struct netlink *netlink, size_t due)
{
    struct turn turn = {.netlink = netlink};
    size_t left = FLOWS_PER_TURN;

    while (netlink->done < due && left > 0 && take_turn(netlink, &turn)) {
        netlink->done++;
        left--;
    }
    if (turn.count > 0)
        netlink_ask(&turn);
    return left > 0;
}

static void on_tick(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct netlink *netlink = watcher->data;
    double period_s = (double)netlink->context->sample_period_ms / 1000;
    double elapsed_s = ev_now(loop) - netlink->started;
    size_t due;

    (void)watcher;
    (void)events;
    /* All that remain once the period is over; a loop that was held up for long skips some periods.
     */
    due =
        elapsed_s >= period_s ? SIZE_MAX : (size_t)((double)netlink->count * elapsed_s / period_s);
    if (!take_turns(netlink, due)) {
        ev_timer_set(&netlink->rest, 0, 0);
        ev_timer_start(loop, &netlink->rest);
        return;
    }
    if (elapsed_s < period_s)
        return;
    netlink->started += period_s;
    if (ev_now(loop) - netlink->started > period_s)
        netlink->started = ev_now(loop);
    netlink->done = netlink->next = 0;
    if (netlink->count == 0)
        ev_timer_stop(loop, &netlink->tick);
}

static int netlink_start(const struct flowd_context *context, const void *config, void **instance,
                         struct flowd_error *err)
{
    const struct netlink_config *settings = config;
    struct netlink *netlink = calloc(1, sizeof(*netlink));
    double tick_s = (double)context->sample_period_ms / 1000 / TICKS_PER_PERIOD;
    int result;

    if (netlink == NULL)
        return flowd_fail_errno(err, ENOMEM, "enricher");
    netlink->context = context;
    netlink->config = settings;
    netlink->liveness = context->liveness;
    result = flowd_liveness_open(netlink->liveness, err);
    if (result < 0) {
        free(netlink);
        return result;
    }
    tick_s = tick_s < TICK_MIN_S ? TICK_MIN_S : tick_s > TICK_MAX_S ? TICK_MAX_S : tick_s;
    ev_timer_init(&netlink->tick, on_tick, tick_s, tick_s);
    ev_timer_init(&netlink->rest, on_tick, 0, 0);
    netlink->tick.data = netlink->rest.data = netlink;
    flowd_liveness_set_extensions(netlink->liveness, (uint8_t)settings->extensions);
    flowd_liveness_want_last(netlink->liveness, true);
    *instance = netlink;
    return 0;
}

static void netlink_stop(void *instance)
{
    struct netlink *netlink = instance;

    ev_timer_stop(netlink->context->loop, &netlink->tick);
    ev_timer_stop(netlink->context->loop, &netlink->rest);
    flowd_liveness_want_last(netlink->liveness, false);
    free(netlink->flows);
    free(netlink);
}

static int netlink_grow(struct netlink *netlink)
{
    return flowd_vector_reserve(&netlink->flows, &netlink->capacity, netlink->capacity + 1);
}

/* Closes the gaps that ended flows left. */
static void close_gaps(struct netlink *netlink)
{
    size_t kept = 0;

    for (size_t i = 0; i < netlink->count; i++) {
        const struct flowd_flow *flow = flowd_hub_find(netlink->context->hub, netlink->flows[i].id);

        if (i == netlink->next)
            netlink->next = kept;
        if (flow != NULL && flow->state == FLOWD_FLOW_LIVE)
            netlink->flows[kept++] = netlink->flows[i];
    }
    if (netlink->next > kept)
        netlink->next = kept;
    netlink->count = kept;
}

static int make_room(struct netlink *netlink)
{
    if (netlink->count < netlink->capacity)
        return 0;
    close_gaps(netlink);
    /* So that the next gaps are not looked for too soon. */
    return netlink->count > netlink->capacity / 4 * 3 || netlink->capacity == 0
               ? netlink_grow(netlink)
               : 0;
}

static void netlink_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    static struct flowd_log_limit limit;
    struct netlink *netlink = instance;

    (void)restored;
    if (flow->key.protocol != IPPROTO_TCP)
        return;
    if (make_room(netlink) < 0) {
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "netlink",
                          "out of memory: a flow is not sampled");
        return;
    }
    netlink->flows[netlink->count++] = (struct watched){.id = flow->id};
    if (!ev_is_active(&netlink->tick)) {
        netlink->started = ev_now(netlink->context->loop);
        ev_timer_start(netlink->context->loop, &netlink->tick);
    }
}

static const struct flowd_counter counters[] = {
    {.key = "samples",
     .metric = &flowd_samples_metric,
     .labels = {"result", "taken"},
     FLOWD_COUNTED(struct netlink, sampled)},
    {.key = "withoutSocket",
     .metric = &flowd_samples_metric,
     .labels = {"result", "without-socket"},
     FLOWD_COUNTED(struct netlink, without_socket)},
    {.key = "unanswered",
     .metric = &flowd_samples_metric,
     .labels = {"result", "unanswered"},
     FLOWD_COUNTED(struct netlink, unanswered)},
    {.key = "watched", .metric = &flowd_watched_metric, FLOWD_COUNTED(struct netlink, count)},
    {.key = NULL},
};

static void netlink_count(const void *instance, const struct flowd_counter_sink *sink)
{
    flowd_counters_put(sink, counters, instance,
                       FLOWD_LABELS("enricher", flowd_enricher_netlink.name));
}

#define AT(field) offsetof(struct netlink_config, field)

static const struct flowd_option options[] = {
    {.key = "protocol",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(protocol),
     .default_json = "6",
     .min = IPPROTO_TCP,
     .max = IPPROTO_TCP,
     .doc = "Protocol that is sampled: TCP."},
    {.key = "ext",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(extensions),
     .default_json = "255",
     .min = 0,
     .max = UINT8_MAX,
     .doc =
         "What the kernel is asked for, a bit for each INET_DIAG_... attribute; 255: everything."},
    {.key = "state",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(states),
     .default_json = "3071",
     .min = 0,
     .max = (1 << (TCP_CLOSING + 1)) - 1,
     .doc = "States of sockets that are sampled, bit 1 << TCP_...; listeners never are."},
    {.key = NULL},
};

static const struct flowd_enricher_ops ops = {
    .flow_start = netlink_flow_start,
};

const struct flowd_module flowd_enricher_netlink = {
    .kind = FLOWD_ENRICHER,
    .name = "netlink",
    .summary = "samples the TCP statistics of live flows with sock_diag(7)",
    .options = options,
    .config_size = sizeof(struct netlink_config),
    .start = netlink_start,
    .stop = netlink_stop,
    .count = netlink_count,
    .enricher = &ops,
};
