/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each end of a flow is judged by itself. Another socket with the same addresses and ports at the
 * end whose socket is gone is a connection of its own; a socket at the other end, where that is
 * here too, has only not been closed yet.
 */
#include "daemon/liveness/liveness.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "daemon/hub/hub.h"
#include "daemon/liveness/internal.h"
#include "daemon/tcp/flow_socket.h"
#include "daemon/tcp/tcp_sample.h"

/* -- Questions ------------------------------------------------------------------------------ */

void flowd_liveness_sample(struct flowd_liveness *liveness,
                           const struct flowd_sock_diag_query *queries, size_t count,
                           flowd_sock_diag_answer answer, void *context)
{
    flowd_sock_diag_ask(liveness->diag, queries, count, answer, context);
}

void flowd_liveness_ask(struct flowd_liveness *liveness,
                        const struct flowd_sock_diag_query *queries, size_t count,
                        flowd_sock_diag_answer answer, void *context)
{
    liveness->spent += (uint32_t)count;
    flowd_sock_diag_ask(liveness->diag, queries, count, answer, context);
}

int flowd_liveness_find(struct flowd_liveness *liveness, const struct flowd_sock_diag_query *query,
                        struct flowd_tcp_socket *out)
{
    uint32_t before = flowd_sock_diag_asked(liveness->diag);
    int result = flowd_flow_socket_find(liveness->diag, liveness->context->host, query, out);

    liveness->spent += flowd_sock_diag_asked(liveness->diag) - before;
    return result;
}

bool flowd_liveness_turn_over(const struct flowd_liveness *liveness)
{
    return liveness->spent >= FLOWD_LIVENESS_PER_TURN;
}

/* The loop is about to block: what comes next is another turn. */
static void on_turn(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    struct flowd_liveness *liveness = watcher->data;

    (void)loop;
    (void)events;
    liveness->spent = 0;
}

/* -- The judgement -------------------------------------------------------------------------- */

/* Whether the flow ends with its source's socket: whoever announced it has it so. */
static bool is_followed(const struct flowd_liveness *liveness, const struct flowd_flow *flow)
{
    const struct flowd_source *source = flowd_hub_source_of(liveness->context->hub, flow);

    return source != NULL && source->follows_sockets;
}

/*
 * The flow goes on with this connection: the counts of a former one with its addresses and ports
 * are not this one's.
 */
static void forget_former(const struct flowd_liveness *liveness, const struct flowd_flow *flow,
                          bool local_is_src, const struct flowd_tcp_socket *socket)
{
    struct flowd_hub *hub = liveness->context->hub;
    const struct flowd_tcp_sample *known = flowd_hub_sample_of(hub, flow);

    if (known != NULL && known->at_destination != local_is_src &&
        flowd_tcp_cookies_differ(known->cookie, socket->sample.cookie) &&
        !is_followed(liveness, flow))
        flowd_hub_forget_sample(hub, flow);
}

static int end_life(struct flowd_liveness *liveness, const struct flowd_flow *flow,
                    bool local_is_src, uint32_t interface, struct flowd_hint *hint)
{
    const struct flowd_sock_diag_query query = {
        .key = &flow->key, .local_is_src = local_is_src, .interface = interface};
    struct flowd_tcp_socket socket;
    int result = flowd_liveness_find(liveness, &query, &socket);
    enum flowd_tcp_life life;

    if (result < 0)
        return result == -ENOENT ? FLOWD_TCP_GONE : result;
    life = flowd_tcp_socket_life(&socket);
    if (life == FLOWD_TCP_CONNECTED)
        forget_former(liveness, flow, local_is_src, &socket);
    if (hint != NULL && hint->local_is_src == local_is_src)
        hint->reused = life == FLOWD_TCP_CONNECTED &&
                       flowd_tcp_cookies_differ(socket.sample.cookie, hint->sample->cookie);
    return (int)life;
}

/* The source's socket is this host's, and decides: the other end's only ends its lingering. */
static int judge_by_source(struct flowd_liveness *liveness, const struct flowd_flow *flow,
                           uint32_t interface, struct flowd_hint *hint)
{
    int life = end_life(liveness, flow, true, interface, hint);

    if (life != FLOWD_TCP_LINGERS ||
        !(flowd_flow_socket_ends(liveness->context->host, &flow->key) & FLOWD_LOCAL_DST))
        return life;
    return end_life(liveness, flow, false, interface, hint) == FLOWD_TCP_CONNECTED ? FLOWD_TCP_GONE
                                                                                   : life;
}

/* The flow lives as long as a socket of either end does. */
static int judge_by_either(struct flowd_liveness *liveness, const struct flowd_flow *flow,
                           uint32_t interface, struct flowd_hint *hint)
{
    unsigned ends =
        hint != NULL ? hint->ends : flowd_flow_socket_ends(liveness->context->host, &flow->key);
    bool src_first;
    int other;
    int life;

    if (ends == 0)
        return -EADDRNOTAVAIL;
    src_first = hint != NULL ? hint->local_is_src : (ends & FLOWD_LOCAL_SRC) != 0;
    life = end_life(liveness, flow, src_first, interface, hint);
    if (life < 0 || life == FLOWD_TCP_CONNECTED || ends != (FLOWD_LOCAL_SRC | FLOWD_LOCAL_DST))
        return life;
    other = end_life(liveness, flow, !src_first, interface, hint);
    return other < 0 || other > life ? other : life;
}

int flowd_liveness_judge(struct flowd_liveness *liveness, const struct flowd_flow *flow,
                         uint32_t interface, struct flowd_hint *hint)
{
    return is_followed(liveness, flow) ? judge_by_source(liveness, flow, interface, hint)
                                       : judge_by_either(liveness, flow, interface, hint);
}

int flowd_liveness_of(struct flowd_liveness *liveness, const struct flowd_flow *flow)
{
    return flowd_liveness_judge(liveness, flow, FLOWD_ANY_INTERFACE, NULL);
}

/* -- Hints ---------------------------------------------------------------------------------- */

/*
 * Whether the source's socket, which is here too and gone as well, has told its final counts. If
 * not, it is about to: of two sockets that close, the destination's may be told of first.
 */
static bool has_final_counts(const struct flowd_liveness *liveness, const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *known = flowd_hub_sample_of(liveness->context->hub, flow);

    return known != NULL && known->state == TCP_CLOSE;
}

static void take_hint(struct flowd_liveness *liveness, struct flowd_source *source,
                      struct flowd_flow *flow, struct flowd_hint *hint)
{
    struct flowd_hub *hub = liveness->context->hub;
    const uint32_t interface = hint->sample->interface;
    bool tells;
    int life;

    /* A notification of the same close may have come first, maybe of the other end's alone. */
    if (source->follows_sockets && flowd_lingering_has(&liveness->lingering, flow)) {
        if (!has_final_counts(liveness, flow))
            flowd_hub_keep_sample(hub, flow, hint->sample);
        return;
    }
    /* Who had a socket is here, whatever addresses the host has by now. */
    hint->ends = flowd_flow_socket_ends(liveness->context->host, &flow->key) |
                 (hint->local_is_src ? FLOWD_LOCAL_SRC : FLOWD_LOCAL_DST);
    /* With both ends here, the source's socket says what the flow was like. */
    tells = hint->local_is_src || !(hint->ends & FLOWD_LOCAL_SRC);
    life = flowd_liveness_judge(liveness, flow, interface, hint);
    /* The kernel did not say, or it has not told of the source's socket. */
    if (life < 0 || (life == FLOWD_TCP_GONE && !tells && !has_final_counts(liveness, flow)))
        life = FLOWD_TCP_LINGERS;
    /* It tells of the next connection, too, and that is a flow of its own. */
    if (life == FLOWD_TCP_CONNECTED && source->follows_sockets)
        life = FLOWD_TCP_GONE;
    else
        liveness->reused += hint->reused;
    if (life == FLOWD_TCP_GONE) {
        const struct flowd_ending ending = {.last = tells ? FLOWD_LAST_GIVEN : FLOWD_LAST_KNOWN,
                                            .sample = hint->sample};

        flowd_hub_end_as(hub, source, flow, &ending);
        return;
    }
    if (tells && (!hint->reused || is_followed(liveness, flow)))
        flowd_hub_keep_sample(hub, flow, hint->sample);
    if (life == FLOWD_TCP_LINGERS)
        flowd_lingering_add(&liveness->lingering, source, flow, interface);
    else if (life == FLOWD_TCP_CLOSED)
        (void)flowd_lingering_add_closed(&liveness->lingering, source, flow, interface);
}

/* The live flow with this key that source may end; NULL: there is none. */
static struct flowd_flow *flow_of(const struct flowd_liveness *liveness,
                                  const struct flowd_source *source,
                                  const struct flowd_flow_key *key)
{
    struct flowd_flow *flow = flowd_hub_find_key(liveness->context->hub, key);

    if (flow == NULL || flow->state != FLOWD_FLOW_LIVE ||
        (source->follows_sockets && !flowd_source_announced(source, flow)))
        return NULL;
    return flow;
}

void flowd_liveness_closed(struct flowd_liveness *liveness, struct flowd_source *source,
                           const struct flowd_flow_key *key, const struct flowd_tcp_sample *sample)
{
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(key);
    struct flowd_flow *flow = flow_of(liveness, source, key);
    struct flowd_tcp_sample at_destination;

    if (flow != NULL)
        take_hint(liveness, source, flow,
                  &(struct flowd_hint){.local_is_src = true, .sample = sample});
    if (source->follows_sockets)
        return;
    /* It may have been announced from the other end, and even from both. */
    flow = flow_of(liveness, source, &reverse);
    if (flow == NULL)
        return;
    at_destination = *sample;
    at_destination.at_destination = true;
    take_hint(liveness, source, flow,
              &(struct flowd_hint){.local_is_src = false, .sample = &at_destination});
}

void flowd_liveness_end_lingering(struct flowd_liveness *liveness, struct flowd_flow *flow)
{
    flowd_lingering_end(&liveness->lingering, flow);
}

/* -- Ends that are announced ---------------------------------------------------------------- */

/*
 * A socket that is bound to an interface where no sample says so is not looked for: that may take a
 * question for each interface.
 */
static int ask_last(void *context, const struct flowd_flow *flow, struct flowd_tcp_sample *sample)
{
    struct flowd_liveness *liveness = context;
    const struct flowd_tcp_sample *known = flowd_hub_sample_of(liveness->context->hub, flow);

    if (liveness->last_wanted == 0)
        return -ENOENT;
    return flowd_flow_socket_sample(liveness->diag, liveness->context->host, &flow->key,
                                    known != NULL ? known->interface : 0, liveness->extensions,
                                    sample);
}

void flowd_liveness_want_last(struct flowd_liveness *liveness, bool wanted)
{
    if (wanted)
        liveness->last_wanted++;
    else
        liveness->last_wanted--;
}

void flowd_liveness_set_extensions(struct flowd_liveness *liveness, uint8_t extensions)
{
    liveness->extensions = extensions;
}

/* -- Life ----------------------------------------------------------------------------------- */

struct flowd_liveness *flowd_liveness_new(const struct flowd_context *context)
{
    struct flowd_liveness *liveness = calloc(1, sizeof(*liveness));

    if (liveness == NULL)
        return NULL;
    liveness->diag = flowd_sock_diag_new();
    if (liveness->diag == NULL) {
        free(liveness);
        return NULL;
    }
    liveness->context = context;
    liveness->extensions = UINT8_MAX;
    flowd_lingering_init(&liveness->lingering, liveness);
    flowd_recovery_init(liveness);
    ev_prepare_init(&liveness->turn, on_turn);
    liveness->turn.data = liveness;
    ev_prepare_start(context->loop, &liveness->turn);
    flowd_hub_set_ask_last(context->hub, ask_last, liveness);
    return liveness;
}

void flowd_liveness_free(struct flowd_liveness *liveness)
{
    if (liveness == NULL)
        return;
    flowd_hub_set_ask_last(liveness->context->hub, NULL, NULL);
    ev_prepare_stop(liveness->context->loop, &liveness->turn);
    flowd_recovery_stop(liveness);
    flowd_lingering_fini(&liveness->lingering);
    flowd_sock_diag_free(liveness->diag);
    free(liveness);
}

int flowd_liveness_open(struct flowd_liveness *liveness, struct flowd_error *err)
{
    return flowd_sock_diag_open(liveness->diag, err);
}

size_t flowd_liveness_lingering(const struct flowd_liveness *liveness)
{
    return flowd_lingering_count(&liveness->lingering);
}

uint64_t flowd_liveness_reused(const struct flowd_liveness *liveness)
{
    return liveness->reused;
}
