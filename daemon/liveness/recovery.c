/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk that ends flows without a socket. It looks at a bounded number of flows in each loop
 * turn, so that a host with many of them is ready at once. Marking goes on meanwhile: an ended
 * connection sends no packets to be marked.
 *
 * There is one walk for all doubts that are open, so that each flow is asked for once. Only the
 * flows for which the kernel says clearly that there is no socket end. UDP flows and flows between
 * other hosts stay.
 */
#include <errno.h>
#include <stddef.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/source.h"
#include "daemon/liveness/internal.h"
#include "daemon/tcp/flow_socket.h"
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

static bool is_concerned(const struct flowd_doubt *doubt, const struct flowd_flow *flow)
{
    return flow->last_event_us < doubt->before_us &&
           (doubt->ports == NULL || has(doubt->ports, flow->key.src_port, &flow->key.dst) ||
            has(doubt->ports, flow->key.dst_port, &flow->key.src)) &&
           (!doubt->source->follows_sockets || flowd_source_announced(doubt->source, flow));
}

/* The first doubt of this flow; NULL: there is none. */
static struct flowd_doubt *doubt_of(const struct flowd_recovery *recovery,
                                    const struct flowd_flow *flow)
{
    struct flowd_doubt *doubt;

    if (flow->key.protocol != IPPROTO_TCP)
        return NULL;
    for (doubt = recovery->doubts; doubt != NULL; doubt = doubt->next)
        if (is_concerned(doubt, flow))
            return doubt;
    return NULL;
}

static void end(struct flowd_liveness *liveness, struct flowd_doubt *doubt, struct flowd_flow *flow)
{
    flowd_hub_end_as(liveness->context->hub, doubt->source, flow,
                     &(struct flowd_ending){.last = FLOWD_LAST_KNOWN});
    doubt->ended++;
    doubt->found++;
}

static void look_at(struct flowd_liveness *liveness, struct flowd_flow *flow)
{
    struct flowd_lingering *lingering = &liveness->lingering;
    struct flowd_doubt *doubt = doubt_of(&liveness->recovery, flow);
    int life;

    liveness->recovery.looked_at++;
    if (doubt == NULL)
        return;
    life = flowd_liveness_of(liveness, flow);
    /* Who had a socket does not wait for one any more. */
    if (life == FLOWD_TCP_CONNECTED || life == FLOWD_TCP_LINGERS) {
        flow->looked_for = true;
        flow->waits = false;
    }
    if (flowd_tcp_is_over(life) && doubt->spare_waiting && flow->waits)
        return;
    if (life == FLOWD_TCP_GONE) {
        end(liveness, doubt, flow);
    } else if (life == FLOWD_TCP_CLOSED) {
        bool found =
            flowd_lingering_add_closed(lingering, doubt->source, flow, FLOWD_ANY_INTERFACE);

        doubt->ended += found;
        doubt->found += found;
    } else if (life == FLOWD_TCP_LINGERS && !flowd_lingering_has(lingering, flow)) {
        flowd_lingering_add(lingering, doubt->later, flow, FLOWD_ANY_INTERFACE);
        doubt->found++;
    } else if (life < 0 && life != -EADDRNOTAVAIL) {
        doubt->unanswered++;
    }
}

static struct flowd_liveness *liveness_of(struct flowd_walk *walk)
{
    return (struct flowd_liveness *)((char *)walk - offsetof(struct flowd_liveness, recovery.walk));
}

static uint32_t visit(struct flowd_walk *walk, struct flowd_flow *flow)
{
    struct flowd_liveness *liveness = liveness_of(walk);

    look_at(liveness, flow);
    return flowd_liveness_turn_over(liveness) ? FLOWD_WALK_PER_TURN
                                              : FLOWD_WALK_PER_TURN / FLOWS_PER_TURN;
}

static void recovery_begin(struct flowd_recovery *recovery, double after_s, bool early)
{
    for (struct flowd_doubt *doubt = recovery->doubts; doubt != NULL; doubt = doubt->next)
        doubt->ended = doubt->unanswered = 0;
    recovery->looked_at = 0;
    recovery->waits = after_s > 0;
    recovery->early = early;
    flowd_walk_start(&recovery->walk, after_s);
}

static void say(const struct flowd_recovery *recovery, const struct flowd_doubt *doubt)
{
    bool everything = doubt->ports == NULL && !doubt->source->follows_sockets;
    bool worth_saying = everything && recovery->looked_at > 0 && doubt->retries == 0;

    flowd_log(worth_saying ? FLOWD_LOG_INFO : FLOWD_LOG_DEBUG, "recovery",
              "%llu flows looked at, %llu ended because their socket is gone",
              (unsigned long long)recovery->looked_at, (unsigned long long)doubt->ended);
}

/* Whether the doubt, into which a walk has looked, stays open. */
static bool stays_open(const struct flowd_recovery *recovery, struct flowd_doubt *doubt)
{
    double now = ev_now(recovery->walk.loop);

    if (doubt->again) {
        doubt->retries = 0;
        return true;
    }
    if (doubt->unanswered == 0)
        return false;
    /* The kernel has not had the time that a try is to give it. */
    if (recovery->early && now - doubt->tried < RETRY_S)
        return true;
    doubt->tried = now;
    return doubt->retries++ < RETRIES_MAX;
}

/* A walk is over; another one may follow. */
static void recovery_conclude(struct flowd_recovery *recovery)
{
    struct flowd_doubt **link = &recovery->doubts;
    bool again = false;

    while (*link != NULL) {
        struct flowd_doubt *doubt = *link;

        say(recovery, doubt);
        again |= doubt->again;
        doubt->open = stays_open(recovery, doubt);
        doubt->again = false;
        if (doubt->open)
            link = &doubt->next;
        else
            *link = doubt->next;
    }
    if (recovery->doubts != NULL)
        recovery_begin(recovery, again ? 0 : RETRY_S, again);
}

static void rest(struct flowd_walk *walk, bool over)
{
    struct flowd_recovery *recovery = &liveness_of(walk)->recovery;

    recovery->waits = false;
    if (over)
        recovery_conclude(recovery);
}

void flowd_liveness_doubt(struct flowd_liveness *liveness, struct flowd_doubt *doubt)
{
    struct flowd_recovery *recovery = &liveness->recovery;
    struct flowd_doubt **link = &recovery->doubts;
    bool early = recovery->waits;

    if (doubt->open) {
        doubt->again = true;
        return;
    }
    doubt->open = true;
    doubt->retries = 0;
    doubt->tried = 0;
    doubt->ended = doubt->unanswered = 0;
    /* Who doubts his own flows alone comes first. */
    while (*link != NULL && !doubt->source->follows_sockets)
        link = &(*link)->next;
    doubt->next = *link;
    *link = doubt;
    if (recovery->waits)
        flowd_walk_stop(&recovery->walk);
    if (flowd_walk_is_running(&recovery->walk))
        flowd_walk_start(&recovery->walk, 0);
    else
        recovery_begin(recovery, 0, early);
}

void flowd_liveness_forget_doubt(struct flowd_liveness *liveness, struct flowd_doubt *doubt)
{
    struct flowd_recovery *recovery = &liveness->recovery;
    struct flowd_doubt **link = &recovery->doubts;

    while (*link != NULL && *link != doubt)
        link = &(*link)->next;
    if (*link == doubt)
        *link = doubt->next;
    doubt->open = doubt->again = false;
    flowd_lingering_forget(&liveness->lingering, doubt->source);
    flowd_lingering_forget(&liveness->lingering, doubt->later);
    if (recovery->doubts == NULL) {
        flowd_walk_stop(&recovery->walk);
        recovery->waits = false;
    }
}

bool flowd_liveness_is_walking(const struct flowd_liveness *liveness)
{
    return flowd_walk_is_running(&liveness->recovery.walk);
}

void flowd_recovery_init(struct flowd_liveness *liveness)
{
    const struct flowd_context *context = liveness->context;

    flowd_walk_init(&liveness->recovery.walk, context->loop, context->hub, visit, rest);
}

void flowd_recovery_stop(struct flowd_liveness *liveness)
{
    flowd_walk_stop(&liveness->recovery.walk);
}
