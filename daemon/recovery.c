/*
 * Looks at a bounded number of recovered flows in each loop turn, so that a host with many of them
 * is ready at once. Marking goes on meanwhile: an ended connection sends no packets to be marked.
 *
 * Only the flows for which the kernel says clearly that there is no socket end. UDP flows, flows
 * between other hosts and link-local ones (whose look-up would need the interface) stay.
 */
#include "daemon/recovery.h"

#include "daemon/host.h"
#include "daemon/hub.h"
#include "daemon/log.h"
#include "daemon/socket_probe.h"
#include "daemon/timestamp.h"

#define FLOWS_PER_TURN 512

/* Whether an end of the flow at local exists as a socket: 1, 0, or -1 if that can't be known. */
static int probe_end(const struct flowd_recovery *recovery, const struct flowd_flow_key *key,
                     bool local_is_src)
{
    const struct in6_addr *local = local_is_src ? &key->src : &key->dst;
    int result;

    if (!flowd_host_is_local(recovery->context->host, key->family, local))
        return 0;
    result = flowd_socket_probe_tcp(recovery->probe, key, local_is_src);
    return result < 0 ? -1 : result;
}

static bool is_gone(const struct flowd_recovery *recovery, const struct flowd_flow *flow)
{
    const struct flowd_flow_key *key = &flow->key;
    const struct flowd_host *host = recovery->context->host;

    if (key->protocol != IPPROTO_TCP || flow->last_event_us >= recovery->before_us)
        return false;
    if (key->family == AF_INET6 &&
        (IN6_IS_ADDR_LINKLOCAL(&key->src) || IN6_IS_ADDR_LINKLOCAL(&key->dst)))
        return false;
    if (!flowd_host_is_local(host, key->family, &key->src) &&
        !flowd_host_is_local(host, key->family, &key->dst))
        return false;
    return probe_end(recovery, key, true) == 0 && probe_end(recovery, key, false) == 0;
}

static void on_turn(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_recovery *recovery = watcher->data;
    struct flowd_hub *hub = recovery->context->hub;
    struct flowd_source *source = flowd_hub_source(hub, "recovery");

    (void)events;
    for (int i = 0; i < FLOWS_PER_TURN && source != NULL; i++) {
        struct flowd_flow *flow = flowd_hub_next(hub, &recovery->cursor);

        if (flow == NULL) {
            flowd_info("recovery", "%llu flows looked at, %llu ended because their socket is gone",
                       (unsigned long long)recovery->looked_at,
                       (unsigned long long)recovery->ended);
            flowd_recovery_stop(recovery);
            return;
        }
        recovery->looked_at++;
        if (is_gone(recovery, flow)) {
            flowd_hub_end(hub, source, flow);
            recovery->ended++;
        }
    }
    ev_timer_set(&recovery->turn, 0, 0);
    ev_timer_start(loop, &recovery->turn);
}

void flowd_recovery_start(struct flowd_recovery *recovery, const struct flowd_context *context)
{
    struct flowd_error err;

    *recovery = (struct flowd_recovery){.context = context, .before_us = flowd_timestamp_boot_us()};
    if (flowd_hub_live(context->hub) == 0)
        return;
    if (flowd_socket_probe_new(&recovery->probe, &err) < 0) {
        flowd_warning("recovery", "flows whose socket is gone stay live: %s", err.message);
        return;
    }
    ev_timer_init(&recovery->turn, on_turn, 0, 0);
    recovery->turn.data = recovery;
    ev_timer_start(context->loop, &recovery->turn);
}

void flowd_recovery_stop(struct flowd_recovery *recovery)
{
    if (recovery->probe == NULL)
        return;
    ev_timer_stop(recovery->context->loop, &recovery->turn);
    flowd_socket_probe_free(recovery->probe);
    recovery->probe = NULL;
}
