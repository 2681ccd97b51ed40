/*
 * Looks at a bounded number of flows in each loop turn, so that a host with many of them is ready
 * at once. Marking goes on meanwhile: an ended connection sends no packets to be marked.
 *
 * Only the flows for which the kernel says clearly that there is no socket end. UDP flows, flows
 * between other hosts and link-local ones (whose look-up would need the interface) stay.
 */
#include "daemon/recovery.h"

#include "daemon/flow_socket.h"
#include "daemon/hub.h"
#include "daemon/lingering.h"
#include "daemon/log.h"
#include "daemon/sock_diag.h"
#include "daemon/tcp_sample.h"

#define FLOWS_PER_TURN 512

/* FNV-1a, folded to the 16 bits that there are. */
static uint16_t place_of(uint16_t port, const struct in6_addr *remote)
{
    uint32_t hash = 2166136261u ^ port;

    for (size_t i = 0; i < sizeof(remote->s6_addr); i++)
        hash = (hash * 16777619u) ^ remote->s6_addr[i];
    return (uint16_t)(hash ^ hash >> 16);
}

void flowd_ports_add(struct flowd_ports *ports, uint16_t port, const struct in6_addr *remote)
{
    uint16_t place = place_of(port, remote);

    ports->bits[place / 64] |= 1ull << (place % 64);
}

static bool has(const struct flowd_ports *ports, uint16_t port, const struct in6_addr *remote)
{
    uint16_t place = place_of(port, remote);

    return ports->bits[place / 64] >> (place % 64) & 1;
}

static bool is_concerned(const struct flowd_recovery *recovery, const struct flowd_flow *flow)
{
    return flow->key.protocol == IPPROTO_TCP && flow->last_event_us < recovery->before_us &&
           (recovery->ports == NULL || has(recovery->ports, flow->key.src_port, &flow->key.dst) ||
            has(recovery->ports, flow->key.dst_port, &flow->key.src));
}

static void look_at(struct flowd_recovery *recovery, struct flowd_source *source,
                    struct flowd_flow *flow)
{
    int life;

    recovery->looked_at++;
    if (!is_concerned(recovery, flow))
        return;
    life = flowd_flow_socket_life(recovery->diag, recovery->context->host, &flow->key,
                                  FLOWD_ANY_INTERFACE);
    if (life == FLOWD_TCP_GONE) {
        flowd_hub_end(recovery->context->hub, source, flow, NULL);
        recovery->ended++;
    } else if (life == FLOWD_TCP_LINGERS && !flowd_lingering_has(recovery->lingering, flow)) {
        flowd_lingering_add(recovery->lingering, flow, FLOWD_ANY_INTERFACE);
    }
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
            flowd_log(recovery->ports == NULL ? FLOWD_LOG_INFO : FLOWD_LOG_DEBUG, "recovery",
                      "%llu flows looked at, %llu ended because their socket is gone",
                      (unsigned long long)recovery->looked_at, (unsigned long long)recovery->ended);
            flowd_recovery_stop(recovery);
            return;
        }
        look_at(recovery, source, flow);
    }
    ev_timer_set(&recovery->turn, 0, 0);
    ev_timer_start(loop, &recovery->turn);
}

void flowd_recovery_start(struct flowd_recovery *recovery, const struct flowd_context *context,
                          struct flowd_lingering *lingering, int64_t before_us,
                          const struct flowd_ports *ports)
{
    struct flowd_error err;

    flowd_recovery_stop(recovery);
    *recovery = (struct flowd_recovery){
        .context = context, .lingering = lingering, .before_us = before_us, .ports = ports};
    if (flowd_hub_live(context->hub) == 0)
        return;
    if (flowd_sock_diag_new(0, &recovery->diag, &err) < 0) {
        flowd_warning("recovery", "flows whose socket is gone stay live: %s", err.message);
        return;
    }
    ev_timer_init(&recovery->turn, on_turn, 0, 0);
    recovery->turn.data = recovery;
    ev_timer_start(context->loop, &recovery->turn);
}

bool flowd_recovery_is_running(const struct flowd_recovery *recovery)
{
    return recovery->diag != NULL;
}

void flowd_recovery_stop(struct flowd_recovery *recovery)
{
    if (recovery->diag == NULL)
        return;
    ev_timer_stop(recovery->context->loop, &recovery->turn);
    flowd_sock_diag_free(recovery->diag);
    recovery->diag = NULL;
}
