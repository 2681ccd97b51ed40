/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells backends and enrichers of restored flows: a walk over the records of the table, bounded by
 * records in each turn, that passes over those which have been told of already.
 */
#include "daemon/hub/introduction.h"

#include "daemon/flow/flow.h"
#include "daemon/flow/flow_table.h"

/*
 * Each may have the marker touch two pages of its index for the first time, which the kernel clears
 * then: some microseconds each, and the most of a turn.
 */
#define RECORDS_PER_TURN 512

/*
 * So many flows before one is told of, backends get a hint at it, and its record is fetched into
 * the cache so many before that: what they look at first has that time to come from memory.
 */
#define AHEAD 8

void flowd_introduce(struct flowd_introduction *introduction, struct flowd_flow *flow)
{
    if (!flow->untold)
        return;
    flow->untold = false;
    flowd_subscribers_start(introduction->subscribers, flow, true);
    *introduction->dirty = true;
}

/* Hints at the flow in a record that will be told of soon, if there is one. */
static void look_ahead(const struct flowd_introduction *introduction, uint32_t number)
{
    const struct flowd_flow *flow = flowd_flow_table_at(introduction->table, number);

    flowd_flow_table_prefetch_at(introduction->table, number + AHEAD);
    if (flow != NULL && flow->untold)
        flowd_subscribers_expect(introduction->subscribers, &flow->key);
}

static void introduction_go_on(struct flowd_introduction *introduction)
{
    size_t records = flowd_flow_table_records(introduction->table);

    for (int i = 0; i < RECORDS_PER_TURN && introduction->next < records; i++) {
        struct flowd_flow *flow = flowd_flow_table_at(introduction->table, introduction->next);

        look_ahead(introduction, introduction->next + AHEAD);
        introduction->next++;
        if (flow != NULL)
            flowd_introduce(introduction, flow);
    }
    introduction->running = introduction->next < records;
    /* The commit after the last flow is what backends wait for. */
    *introduction->dirty = true;
    if (introduction->running)
        ev_timer_start(introduction->loop, &introduction->turn);
}

static void on_turn(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    introduction_go_on(watcher->data);
}

void flowd_introduction_init(struct flowd_introduction *introduction, struct ev_loop *loop,
                             const struct flowd_flow_table *table,
                             const struct flowd_subscribers *subscribers, bool *dirty)
{
    *introduction = (struct flowd_introduction){
        .loop = loop, .table = table, .subscribers = subscribers, .dirty = dirty};
    ev_timer_init(&introduction->turn, on_turn, 0, 0);
    introduction->turn.data = introduction;
}

void flowd_introduction_begin(struct flowd_introduction *introduction)
{
    introduction_go_on(introduction);
}

void flowd_introduction_stop(struct flowd_introduction *introduction)
{
    ev_timer_stop(introduction->loop, &introduction->turn);
    introduction->running = false;
}
