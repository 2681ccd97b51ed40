/*
 * The walk that ends flows without a socket. It looks at a bounded number of flows in each loop
 * turn, so that a host with many of them is ready at once. Marking goes on meanwhile: an ended
 * connection sends no packets to be marked.
 *
 * Only the flows for which the kernel says clearly that there is no socket end. UDP flows and flows
 * between other hosts stay.
 */
#include "daemon/liveness/recovery.h"

#include <errno.h>
#include <stddef.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/source.h"
#include "daemon/liveness/lingering.h"
#include "daemon/tcp/flow_socket.h"
#include "daemon/tcp/sock_diag.h"
#include "daemon/tcp/tcp_sample.h"

#define FLOWS_PER_TURN 512
#define RETRY_S 5.0
#define RETRIES_MAX 2

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
    const struct flowd_recovery_scope *scope = &recovery->scope;

    return flow->key.protocol == IPPROTO_TCP && flow->last_event_us < scope->before_us &&
           (scope->ports == NULL || has(scope->ports, flow->key.src_port, &flow->key.dst) ||
            has(scope->ports, flow->key.dst_port, &flow->key.src)) &&
           (!scope->own || flowd_source_announced(scope->source, flow));
}

static int life_of(const struct flowd_recovery *recovery, const struct flowd_flow *flow)
{
    struct flowd_sock_diag *diag = recovery->lingering->diag;
    const struct flowd_host *host = recovery->lingering->context->host;

    return recovery->scope.own
               ? flowd_flow_socket_source_life(diag, host, &flow->key, FLOWD_ANY_INTERFACE)
               : flowd_flow_socket_life(diag, host, &flow->key, FLOWD_ANY_INTERFACE);
}

static void look_at(struct flowd_recovery *recovery, struct flowd_flow *flow)
{
    struct flowd_lingering *lingering = recovery->lingering;
    int life;

    recovery->looked_at++;
    if (!is_concerned(recovery, flow))
        return;
    life = life_of(recovery, flow);
    /* Who had a socket does not wait for one any more. */
    if (life == FLOWD_TCP_CONNECTED || life == FLOWD_TCP_LINGERS) {
        flow->looked_for = true;
        flow->waits = false;
    }
    if (flowd_tcp_is_over(life) && recovery->scope.spare_waiting && flow->waits)
        return;
    if (life == FLOWD_TCP_GONE) {
        flowd_hub_end(lingering->context->hub, recovery->scope.source, flow, NULL);
        recovery->ended++;
        recovery->found++;
    } else if (life == FLOWD_TCP_CLOSED) {
        bool found = flowd_lingering_add_closed(lingering, recovery->scope.source, flow,
                                                FLOWD_ANY_INTERFACE);

        recovery->ended += found;
        recovery->found += found;
    } else if (life == FLOWD_TCP_LINGERS && !flowd_lingering_has(lingering, flow)) {
        flowd_lingering_add(lingering, flow, FLOWD_ANY_INTERFACE);
        recovery->found++;
    } else if (life < 0 && life != -EADDRNOTAVAIL) {
        recovery->unanswered++;
    }
}

static struct flowd_recovery *recovery_of(struct flowd_walk *walk)
{
    return (struct flowd_recovery *)((char *)walk - offsetof(struct flowd_recovery, walk));
}

static uint32_t visit(struct flowd_walk *walk, struct flowd_flow *flow)
{
    struct flowd_recovery *recovery = recovery_of(walk);
    const struct flowd_sock_diag *diag = recovery->lingering->diag;

    if (recovery->slice_begins) {
        recovery->asked_before = flowd_sock_diag_asked(diag);
        recovery->slice_begins = false;
    }
    look_at(recovery, flow);
    return flowd_sock_diag_turn_over(diag, recovery->asked_before)
               ? FLOWD_WALK_PER_TURN
               : FLOWD_WALK_PER_TURN / FLOWS_PER_TURN;
}

static void begin(struct flowd_recovery *recovery, double after_s)
{
    recovery->again = false;
    recovery->slice_begins = true;
    recovery->looked_at = recovery->ended = recovery->unanswered = 0;
    flowd_walk_start(&recovery->walk, after_s);
}

/* A walk is over; another one may follow. */
static void conclude(struct flowd_recovery *recovery)
{
    bool everything = recovery->scope.ports == NULL && !recovery->scope.own;
    bool worth_saying = everything && recovery->looked_at > 0 && recovery->retries == 0;

    flowd_log(worth_saying ? FLOWD_LOG_INFO : FLOWD_LOG_DEBUG, "recovery",
              "%llu flows looked at, %llu ended because their socket is gone",
              (unsigned long long)recovery->looked_at, (unsigned long long)recovery->ended);
    if (recovery->again) {
        recovery->retries = 0;
        begin(recovery, 0);
    } else if (recovery->unanswered > 0 && recovery->retries < RETRIES_MAX) {
        recovery->retries++;
        begin(recovery, RETRY_S);
    }
}

static void rest(struct flowd_walk *walk, bool over)
{
    struct flowd_recovery *recovery = recovery_of(walk);

    recovery->slice_begins = true;
    if (over)
        conclude(recovery);
}

void flowd_recovery_start(struct flowd_recovery *recovery, struct flowd_lingering *lingering,
                          const struct flowd_recovery_scope *scope)
{
    if (flowd_walk_is_running(&recovery->walk)) {
        recovery->again = true;
        return;
    }
    recovery->lingering = lingering;
    recovery->scope = *scope;
    recovery->retries = 0;
    flowd_walk_init(&recovery->walk, lingering->context->loop, lingering->context->hub, visit,
                    rest);
    begin(recovery, 0);
}

bool flowd_recovery_is_running(const struct flowd_recovery *recovery)
{
    return flowd_walk_is_running(&recovery->walk);
}

void flowd_recovery_stop(struct flowd_recovery *recovery)
{
    flowd_walk_stop(&recovery->walk);
}
