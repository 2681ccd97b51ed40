/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow is told apart from another with its addresses and ports by when it began. So flowd's own
 * fireflies are known again whoever passes them on, with or without a header and in any order, and
 * a live flow that another plugin found may still be told of by its transfer tool, which knows
 * another time.
 */
#include "judge.h"

/* What is known of the flow that the message is of, which has a start-time. */
static enum flowd_firefly_end find_out(const struct flowd_firefly_message *message,
                                       struct flowd_hub *hub,
                                       const struct flowd_firefly_recent *recent, int64_t now_us)
{
    const struct flowd_event *event = &message->event;
    const struct flowd_flow *flow = flowd_hub_find_key(hub, &event->key);

    if (flow != NULL && flow->state == FLOWD_FLOW_LIVE &&
        flowd_firefly_same_start(flow->start_us, event->start_us))
        return flowd_firefly_announced(flow) ? FLOWD_FIREFLY_END_NONE : FLOWD_FIREFLY_END_OURS;
    return flowd_firefly_recent_end(recent, &event->key, event->start_us, now_us);
}

enum firefly_verdict firefly_judge(const struct flowd_firefly_message *message,
                                   struct flowd_hub *hub, struct flowd_firefly_recent *recent,
                                   int64_t now_us)
{
    enum flowd_firefly_end end = FLOWD_FIREFLY_END_NONE;

    if (message->has_start_time)
        end = find_out(message, hub, recent, now_us);
    if (end == FLOWD_FIREFLY_END_OURS)
        return FIREFLY_OWN;
    if (message->has_current_time &&
        flowd_firefly_recent_message(recent, message->text + message->object.offset,
                                     message->object.length, now_us))
        return FIREFLY_AGAIN;
    if (end == FLOWD_FIREFLY_END_OTHERS && message->event.state != FLOWD_EVENT_END)
        return FIREFLY_LATE;
    return FIREFLY_NEWS;
}
