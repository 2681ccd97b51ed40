/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub: one place where every flow event passes, whatever plugin read it.
 *
 * It owns the flow table, asks the backends whether they accept a start, tells them of starts and
 * ends as they come, and has them send everything in one commit per loop turn.
 */
#include "daemon/hub/hub.h"

#include <errno.h>
#include <ev.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/base/vector.h"
#include "daemon/firefly/recent.h"
#include "daemon/flow/flow_table.h"
#include "daemon/hub/flow_begin.h"
#include "daemon/hub/introduction.h"
#include "daemon/hub/sample_store.h"
#include "daemon/hub/subscribers.h"

#define US_PER_MS 1000
#define US_PER_S 1000000
#define EXPIRE_PER_TURN 4096
#define COMMITS_PER_TURN 16

/* Flows that ended in this turn, by record number; their records are freed after the commit. */
struct ended_list {
    uint32_t *numbers;
    size_t count;
    size_t capacity;
};

struct flowd_hub {
    struct ev_loop *loop;
    struct flowd_flow_table *table;
    struct flowd_hub_limits limits;
    struct flowd_subscribers subscribers;
    struct flowd_sample_store samples;
    flowd_hub_ask_last *ask_last; /* NULL: nobody is asked */
    void *ask_last_context;
    struct flowd_firefly_recent *recent; /* NULL: nobody asks for it */
    struct flowd_source *sources;
    struct flowd_waiters waiters;
    struct ended_list ended;
    struct flowd_hub_totals totals;
    bool dirty; /* a backend has something to send */
    struct ev_prepare prepare;
    struct ev_timer again; /* of no time: keeps the loop from blocking */
    struct ev_timer expiry;
    struct flowd_introduction introduction; /* of the flows that the state file brought */
};

static void on_prepare(struct ev_loop *loop, struct ev_prepare *watcher, int events);
static void on_expiry(struct ev_loop *loop, struct ev_timer *watcher, int events);
static void on_again(struct ev_loop *loop, struct ev_timer *watcher, int events);

struct flowd_hub *flowd_hub_new(struct ev_loop *loop, struct flowd_flow_table *table,
                                const struct flowd_hub_limits *limits)
{
    struct flowd_hub *hub = calloc(1, sizeof(*hub));

    if (hub == NULL)
        return NULL;
    hub->loop = loop;
    hub->table = table;
    hub->limits = *limits;
    ev_prepare_init(&hub->prepare, on_prepare);
    ev_timer_init(&hub->expiry, on_expiry, 0, 0);
    ev_timer_init(&hub->again, on_again, 0, 0);
    hub->prepare.data = hub->expiry.data = hub;
    flowd_introduction_init(&hub->introduction, loop, table, &hub->subscribers, &hub->dirty);
    return hub;
}

void flowd_hub_free(struct flowd_hub *hub)
{
    if (hub == NULL)
        return;
    ev_prepare_stop(hub->loop, &hub->prepare);
    ev_timer_stop(hub->loop, &hub->expiry);
    ev_timer_stop(hub->loop, &hub->again);
    flowd_introduction_stop(&hub->introduction);
    flowd_source_free_all(&hub->sources);
    free(hub->ended.numbers);
    flowd_sample_store_fini(&hub->samples);
    flowd_flow_table_close(hub->table);
    free(hub);
}

/* Sets the one timer to the moment at which the flow heard of least recently times out. */
static void set_expiry(struct flowd_hub *hub)
{
    const struct flowd_flow *oldest = flowd_flow_table_oldest(hub->table);
    double wait_s;

    if (hub->limits.timeout_s == 0 || oldest == NULL) {
        ev_timer_stop(hub->loop, &hub->expiry);
        return;
    }
    if (ev_is_active(&hub->expiry))
        return;
    wait_s = (double)(oldest->last_event_us + hub->limits.timeout_s * US_PER_S -
                      flowd_timestamp_boot_us()) /
             US_PER_S;
    ev_timer_set(&hub->expiry, wait_s > 0.01 ? wait_s : 0.01, 0);
    ev_timer_start(hub->loop, &hub->expiry);
}

void flowd_hub_set_limits(struct flowd_hub *hub, const struct flowd_hub_limits *limits)
{
    hub->limits = *limits;
    ev_timer_stop(hub->loop, &hub->expiry);
    set_expiry(hub);
}

unsigned flowd_hub_next_slot(const struct flowd_hub *hub)
{
    return hub->subscribers.backend_count;
}

int flowd_hub_add(struct flowd_hub *hub, const struct flowd_module *module, void *instance)
{
    return flowd_subscribers_add(&hub->subscribers, module, instance);
}

struct flowd_source *flowd_hub_source(struct flowd_hub *hub, const char *name)
{
    return flowd_source_find(&hub->sources, name);
}

const struct flowd_source *flowd_hub_sources(const struct flowd_hub *hub)
{
    return hub->sources;
}

struct flowd_source *flowd_hub_source_of(const struct flowd_hub *hub, const struct flowd_flow *flow)
{
    struct flowd_source *source = hub->sources;

    while (source != NULL && !flowd_source_announced(source, flow))
        source = source->next;
    return source;
}

/* Remembers to free the record after the commit. */
static int remember_ended(struct ended_list *list, uint32_t number)
{
    if (flowd_vector_reserve(&list->numbers, &list->capacity, list->count + 1) < 0)
        return -ENOMEM;
    list->numbers[list->count++] = number;
    return 0;
}

const struct flowd_tcp_sample *flowd_hub_sample_of(const struct flowd_hub *hub,
                                                   const struct flowd_flow *flow)
{
    const struct flowd_stored_sample *entry =
        flowd_sample_store_at(&hub->samples, flowd_flow_index(flow));

    return entry != NULL ? &entry->sample : NULL;
}

/* Keeps the sample. Returns its entry, NULL: no memory, and the flow goes on without. */
static struct flowd_stored_sample *keep_sample(struct flowd_hub *hub, const struct flowd_flow *flow,
                                               const struct flowd_tcp_sample *sample)
{
    struct flowd_stored_sample *entry =
        flowd_sample_store_make(&hub->samples, flowd_flow_index(flow));

    if (entry != NULL)
        entry->sample = *sample;
    return entry;
}

void flowd_hub_sample(struct flowd_hub *hub, struct flowd_flow *flow,
                      const struct flowd_tcp_sample *sample)
{
    struct flowd_stored_sample *entry = keep_sample(hub, flow, sample);
    int64_t age_us = entry != NULL ? sample->taken_us - entry->shown_us : 0;

    /* A clock that was set back makes it negative. */
    if (entry == NULL || (age_us >= 0 && age_us < hub->limits.sample_period_ms * US_PER_MS / 2))
        return;
    entry->shown_us = sample->taken_us;
    flowd_introduce(&hub->introduction, flow);
    hub->dirty |= flowd_subscribers_sample(&hub->subscribers, flow, sample);
}

void flowd_hub_keep_sample(struct flowd_hub *hub, const struct flowd_flow *flow,
                           const struct flowd_tcp_sample *sample)
{
    (void)keep_sample(hub, flow, sample);
}

void flowd_hub_forget_sample(struct flowd_hub *hub, const struct flowd_flow *flow)
{
    flowd_sample_store_drop(&hub->samples, flowd_flow_index(flow));
}

/* Another socket may have taken the flow's ports over: its counts are not the flow's. */
static void ask_last_sample(struct flowd_hub *hub, const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *known = flowd_hub_sample_of(hub, flow);
    struct flowd_tcp_sample sample;

    if (hub->ask_last != NULL && hub->ask_last(hub->ask_last_context, flow, &sample) == 0 &&
        (known == NULL || !flowd_tcp_cookies_differ(known->cookie, sample.cookie)))
        (void)keep_sample(hub, flow, &sample);
}

static void take_last_sample(struct flowd_hub *hub, const struct flowd_flow *flow,
                             const struct flowd_ending *ending)
{
    switch (ending->last) {
    case FLOWD_LAST_ASK:
        ask_last_sample(hub, flow);
        break;
    case FLOWD_LAST_KNOWN:
        break;
    case FLOWD_LAST_GIVEN:
        (void)keep_sample(hub, flow, ending->sample);
        break;
    case FLOWD_LAST_NONE:
        flowd_hub_forget_sample(hub, flow);
        break;
    }
}

static void end_flow(struct flowd_hub *hub, struct flowd_flow *flow,
                     const struct flowd_ending *ending)
{
    int64_t end_us = ending->end_us != 0 ? ending->end_us : flowd_timestamp_now_us();
    static struct flowd_log_limit limit;

    flowd_introduce(&hub->introduction, flow);
    if (remember_ended(&hub->ended, flowd_flow_index(flow)) < 0)
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "hub",
                          "out of memory: an ended flow's record is free after a restart only");
    take_last_sample(hub, flow, ending);
    flowd_flow_table_end(hub->table, flow);
    flow->end_us = end_us < flow->start_us ? flow->start_us : end_us;
    if (hub->recent != NULL && !(ending->timed_out && flowd_firefly_announced(flow)))
        flowd_firefly_recent_note_end(hub->recent, flow, flowd_timestamp_boot_us());
    flowd_subscribers_end(&hub->subscribers, flow);
    hub->totals.ended++;
    hub->dirty = true;
}

static int refuse_unstored(struct flowd_hub *hub, int result, struct flowd_error *err)
{
    hub->totals.refused_unstored++;
    return flowd_fail_errno(err, -result, "the state file can't take another flow");
}

/*
 * Starts a flow in the place of known, the one of its key that is live with another tag; NULL:
 * there is none. The new record is stored before the old one ends: neither a record that can't be
 * stored nor a kill in between costs the flow that is live.
 */
static int start_flow(struct flowd_hub *hub, const struct flowd_source *source,
                      const struct flowd_event *event, struct flowd_flow *known,
                      struct flowd_flow **flow, struct flowd_error *err)
{
    int64_t now_us = flowd_timestamp_now_us();
    struct flowd_flow prototype;
    int result;

    flowd_flow_begin(&prototype, source, event, now_us);
    result = flowd_flow_table_store(hub->table, &prototype, flow);
    if (result < 0)
        return refuse_unstored(hub, result, err);
    if (known != NULL)
        end_flow(hub, known, &(struct flowd_ending){.end_us = now_us});
    flowd_flow_table_enter(hub->table, *flow);
    flowd_subscribers_start(&hub->subscribers, *flow, false);
    hub->totals.started++;
    hub->dirty = true;
    set_expiry(hub);
    return 0;
}

/* A start or ongoing for a flow that is live with the same tag. */
static void keep_alive(struct flowd_hub *hub, struct flowd_flow *flow)
{
    flowd_introduce(&hub->introduction, flow);
    flowd_flow_table_touch(hub->table, flow, flowd_timestamp_boot_us());
}

static int submit_start(struct flowd_hub *hub, const struct flowd_source *source,
                        const struct flowd_event *event, struct flowd_flow **flow,
                        struct flowd_error *err)
{
    struct flowd_flow *known = flowd_flow_table_find(hub->table, &event->key);
    int result;

    if (known != NULL && known->experiment == event->experiment &&
        known->activity == event->activity) {
        keep_alive(hub, known);
        *flow = known;
        return FLOWD_KNOWN;
    }
    result = flowd_subscribers_accept(&hub->subscribers, event, err);
    if (result < 0)
        return result;
    if (known == NULL && flowd_flow_table_count(hub->table) >= hub->limits.flows_max) {
        hub->totals.refused_full++;
        return flowd_fail(err, ENOSPC, "%zu flows are live, as many as flows.max allows",
                          flowd_flow_table_count(hub->table));
    }
    result = start_flow(hub, source, event, known, flow, err);
    if (result < 0)
        return result;
    return known != NULL ? FLOWD_RESTARTED : FLOWD_STARTED;
}

/* Tells of an event that came as a firefly. */
static void tell_firefly(struct flowd_hub *hub, const struct flowd_event *event,
                         struct flowd_flow *flow, enum flowd_result result)
{
    if (event->message != NULL)
        hub->dirty |= flowd_subscribers_firefly(&hub->subscribers, event, flow, result);
}

static int submit_end(struct flowd_hub *hub, const struct flowd_event *event,
                      struct flowd_flow **flow)
{
    *flow = flowd_flow_table_find(hub->table, &event->key);
    tell_firefly(hub, event, *flow, *flow != NULL ? FLOWD_ENDED : FLOWD_UNKNOWN);
    if (*flow == NULL)
        return FLOWD_UNKNOWN;
    end_flow(hub, *flow, &(struct flowd_ending){.last = FLOWD_LAST_ASK});
    return FLOWD_ENDED;
}

static void log_event(const struct flowd_source *source, const struct flowd_event *event,
                      enum flowd_result result)
{
    char key[FLOWD_FLOW_KEY_TEXT_SIZE];

    flowd_flow_key_format(&event->key, key);
    flowd_debug("hub", "%s %s experiment=%u activity=%u by %s: %s",
                flowd_event_state_names[event->state], key, event->experiment, event->activity,
                source->name, flowd_result_names[result]);
}

int flowd_hub_submit(struct flowd_hub *hub, struct flowd_source *source,
                     const struct flowd_event *event, struct flowd_flow **flow,
                     struct flowd_error *err)
{
    struct flowd_flow *concerned = NULL;
    int result = flowd_event_check(event, err);

    if (result == 0 && event->state == FLOWD_EVENT_END) {
        result = submit_end(hub, event, &concerned);
    } else if (result == 0) {
        result = submit_start(hub, source, event, &concerned, err);
        tell_firefly(hub, event, concerned, result < 0 ? FLOWD_REFUSED : (enum flowd_result)result);
    }
    source->events[event->state][result < 0 ? FLOWD_REFUSED : result]++;
    if (flowd_log_level() >= FLOWD_LOG_DEBUG)
        log_event(source, event, result < 0 ? FLOWD_REFUSED : (enum flowd_result)result);
    if (result >= 0 && flow != NULL)
        *flow = concerned;
    return result;
}

void flowd_hub_prefetch(const struct flowd_hub *hub, const struct flowd_event *event)
{
    flowd_flow_table_prefetch(hub->table, &event->key);
    if (event->state != FLOWD_EVENT_ONGOING)
        flowd_subscribers_expect(&hub->subscribers, &event->key);
}

void flowd_hub_end_as(struct flowd_hub *hub, struct flowd_source *source, struct flowd_flow *flow,
                      const struct flowd_ending *ending)
{
    if (flow->state != FLOWD_FLOW_LIVE)
        return;
    end_flow(hub, flow, ending);
    source->events[FLOWD_EVENT_END][FLOWD_ENDED]++;
}

void flowd_hub_end(struct flowd_hub *hub, struct flowd_source *source, struct flowd_flow *flow)
{
    flowd_hub_end_as(hub, source, flow, &(struct flowd_ending){.last = FLOWD_LAST_ASK});
}

void flowd_hub_set_ask_last(struct flowd_hub *hub, flowd_hub_ask_last *ask, void *context)
{
    hub->ask_last = ask;
    hub->ask_last_context = context;
}

void flowd_hub_set_recent(struct flowd_hub *hub, struct flowd_firefly_recent *recent)
{
    hub->recent = recent;
}

struct flowd_firefly_recent *flowd_hub_recent(const struct flowd_hub *hub)
{
    return hub->recent;
}

void flowd_hub_touch(struct flowd_hub *hub, struct flowd_flow *flow)
{
    if (flow->state == FLOWD_FLOW_LIVE)
        flowd_flow_table_touch(hub->table, flow, flowd_timestamp_boot_us());
}

void flowd_hub_wait(struct flowd_hub *hub, struct flowd_waiter *waiter)
{
    flowd_waiters_add(&hub->waiters, waiter);
}

void flowd_hub_unwait(struct flowd_hub *hub, struct flowd_waiter *waiter)
{
    flowd_waiters_remove(&hub->waiters, waiter);
}

/* Frees the records of the first count flows that have ended. */
static void release_ended(struct flowd_hub *hub, size_t count)
{
    struct ended_list *ended = &hub->ended;

    for (size_t i = 0; i < count; i++) {
        flowd_sample_store_drop(&hub->samples, ended->numbers[i]);
        flowd_flow_table_release(hub->table, flowd_flow_table_at(hub->table, ended->numbers[i]));
    }
    ended->count -= count;
    memmove(ended->numbers, ended->numbers + count, ended->count * sizeof(*ended->numbers));
}

static void hub_commit(struct flowd_hub *hub)
{
    size_t ended = hub->ended.count;

    flowd_waiters_begin(&hub->waiters);
    if (hub->dirty) {
        hub->dirty = false;
        flowd_subscribers_commit(&hub->subscribers);
    }
    flowd_waiters_tell(&hub->waiters);
    if (ended > 0)
        release_ended(hub, ended);
}

/*
 * An answer to a waiter may let its client's next, already received request be handled, which
 * submits again. That is committed in the same turn, a bounded number of times; what is left then
 * keeps the loop from blocking.
 */
static void on_prepare(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    struct flowd_hub *hub = watcher->data;

    (void)loop;
    (void)events;
    for (int round = 0; round < COMMITS_PER_TURN && (hub->dirty || hub->waiters.first != NULL);
         round++)
        hub_commit(hub);
    if (hub->dirty || hub->waiters.first != NULL)
        ev_timer_start(hub->loop, &hub->again);
}

static void on_again(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

/* Ends flows that nobody has spoken of for flows.timeout seconds. */
static void on_expiry(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_hub *hub = watcher->data;
    int64_t limit = flowd_timestamp_boot_us() - hub->limits.timeout_s * US_PER_S;
    struct flowd_source *source = flowd_hub_source(hub, "timeout");

    (void)loop;
    (void)events;
    for (int i = 0; i < EXPIRE_PER_TURN && source != NULL; i++) {
        struct flowd_flow *oldest = flowd_flow_table_oldest(hub->table);

        if (oldest == NULL || oldest->last_event_us > limit)
            break;
        flowd_hub_end_as(hub, source, oldest,
                         &(struct flowd_ending){.last = FLOWD_LAST_ASK, .timed_out = true});
    }
    set_expiry(hub);
}

void flowd_hub_restore(struct flowd_hub *hub)
{
    flowd_introduction_begin(&hub->introduction);
    hub_commit(hub);
    set_expiry(hub);
}

bool flowd_hub_is_restoring(const struct flowd_hub *hub)
{
    /* What was told of last is applied by the next commit. */
    return hub->introduction.running || hub->dirty;
}

void flowd_hub_flush(struct flowd_hub *hub)
{
    hub_commit(hub);
}

void flowd_hub_begin(struct flowd_hub *hub)
{
    ev_prepare_start(hub->loop, &hub->prepare);
}

size_t flowd_hub_live(const struct flowd_hub *hub)
{
    return flowd_flow_table_count(hub->table);
}

size_t flowd_hub_max(const struct flowd_hub *hub)
{
    return hub->limits.flows_max;
}

size_t flowd_hub_damaged(const struct flowd_hub *hub)
{
    return flowd_flow_table_damaged(hub->table);
}

struct flowd_flow *flowd_hub_find(struct flowd_hub *hub, uint64_t id)
{
    return flowd_flow_table_find_id(hub->table, id);
}

struct flowd_flow *flowd_hub_at(struct flowd_hub *hub, uint32_t index)
{
    return flowd_flow_table_at(hub->table, index);
}

struct flowd_flow *flowd_hub_find_key(struct flowd_hub *hub, const struct flowd_flow_key *key)
{
    return flowd_flow_table_find(hub->table, key);
}

struct flowd_flow *flowd_hub_next_within(struct flowd_hub *hub, uint32_t *cursor, uint32_t *budget)
{
    struct flowd_flow *flow = flowd_flow_table_next_within(hub->table, cursor, budget);

    if (flow != NULL)
        (*cursor)++;
    return flow;
}

struct flowd_flow *flowd_hub_next(struct flowd_hub *hub, uint32_t *cursor)
{
    uint32_t budget = UINT32_MAX;

    return flowd_hub_next_within(hub, cursor, &budget);
}

const char *flowd_hub_backend_status(const struct flowd_hub *hub, const struct flowd_flow *flow,
                                     unsigned slot, const char **backend_name, bool *failed)
{
    static const struct flowd_backend_status untold = {"restoring", false};
    const struct flowd_subscribers_member *backend;
    const struct flowd_backend_status *status;

    if (slot >= hub->subscribers.backend_count)
        return NULL;
    backend = &hub->subscribers.backends[slot];
    if (flow->untold)
        status = &untold;
    else if (backend->module->backend->show_status != NULL)
        status = backend->module->backend->show_status(backend->instance, flow);
    else
        status = &backend->module->backend->statuses[flow->backend[slot]];
    *backend_name = backend->module->name;
    if (failed != NULL)
        *failed = status->failed;
    return status->name;
}

struct flowd_hub_totals flowd_hub_totals(const struct flowd_hub *hub)
{
    return hub->totals;
}
