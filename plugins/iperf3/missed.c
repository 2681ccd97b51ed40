/*
 * A bounded number of flows in each loop turn. The local end of each of the plugin's flows is its
 * source.
 */
#include "missed.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "daemon/flow_socket.h"
#include "daemon/hub.h"
#include "daemon/sock_diag.h"
#include "daemon/source.h"

#define FLOWS_PER_TURN 256
/* What only waits for the other end is over soon, without a further word. */
#define AGAIN_S 5.0

enum found { GONE, WAITS, LIVES };

static enum found look_at(struct iperf3_missed *missed, const struct flowd_flow *flow)
{
    struct flowd_tcp_socket socket;
    int result = flowd_flow_socket_find(missed->diag, missed->context->host, &flow->key, true,
                                        FLOWD_ANY_INTERFACE, &socket);

    if (result == -ENOENT)
        return GONE;
    if (result < 0)
        return WAITS;
    switch (socket.sample.state) {
    case TCP_CLOSE:
    case TCP_LISTEN: /* the listener is found where the connection is not */
    case TCP_TIME_WAIT:
        return GONE;
    case TCP_FIN_WAIT2:
        return WAITS;
    default:
        return LIVES;
    }
}

static void next_turn(struct iperf3_missed *missed, double after_s)
{
    ev_timer_set(&missed->turn, after_s, 0);
    ev_timer_start(missed->context->loop, &missed->turn);
}

static void on_turn(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct iperf3_missed *missed = watcher->data;
    struct flowd_hub *hub = missed->context->hub;

    (void)loop;
    (void)events;
    for (int i = 0; i < FLOWS_PER_TURN; i++) {
        struct flowd_flow *flow = flowd_hub_next(hub, &missed->cursor);
        enum found found;

        if (flow == NULL) {
            missed->cursor = 0;
            if (missed->again)
                next_turn(missed, AGAIN_S);
            missed->again = false;
            return;
        }
        if (strcmp(flow->source, missed->source->name) != 0)
            continue;
        found = look_at(missed, flow);
        if (found == GONE) {
            flowd_hub_end(hub, missed->source, flow, NULL);
            missed->ends++;
        } else if (found == WAITS) {
            missed->again = true;
        }
    }
    next_turn(missed, 0);
}

int iperf3_missed_init(struct iperf3_missed *missed, const struct flowd_context *context,
                       struct flowd_source *source, struct flowd_error *err)
{
    *missed = (struct iperf3_missed){.context = context, .source = source};
    ev_timer_init(&missed->turn, on_turn, 0, 0);
    missed->turn.data = missed;
    return flowd_sock_diag_new(0, &missed->diag, err);
}

void iperf3_missed_fini(struct iperf3_missed *missed)
{
    ev_timer_stop(missed->context->loop, &missed->turn);
    flowd_sock_diag_free(missed->diag);
}

void iperf3_missed_look(struct iperf3_missed *missed)
{
    if (missed->cursor != 0) {
        missed->again = true;
        return;
    }
    ev_timer_stop(missed->context->loop, &missed->turn);
    next_turn(missed, 0);
}
