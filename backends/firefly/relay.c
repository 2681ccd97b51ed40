/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay of fireflies. Each message that is a valid event goes out once: what it does to the
 * table of flows does not matter, because the collectors keep tables of their own.
 */
#include "relay.h"

#include <string.h>

#include "daemon/firefly/firefly.h"

/* Transfer tools send their end within moments of the connection's. */
#define HOLD_S 10

/* The source of events of plugins.firefly. */
#define SOURCE "firefly"

static void send_held(void *context, const struct flowd_flow_key *key, const char *text,
                      size_t length)
{
    struct firefly_relay *relay = context;

    if (relay->send(relay->context, key, FIREFLY_RELAY_NO_FLOW, text, length))
        relay->counts.ends_sent++;
}

static void flush_held(void *context)
{
    struct firefly_relay *relay = context;

    relay->flush(relay->context);
}

int firefly_relay_init(struct firefly_relay *relay, struct ev_loop *loop, firefly_relay_send send,
                       void (*flush)(void *context), void *context)
{
    *relay = (struct firefly_relay){.send = send, .flush = flush, .context = context};
    return firefly_held_init(&relay->held, loop, HOLD_S, send_held, flush_held, relay);
}

void firefly_relay_fini(struct firefly_relay *relay)
{
    firefly_held_fini(&relay->held);
    flowd_text_fini(&relay->text);
}

bool firefly_relay_announced(const struct flowd_flow *flow)
{
    return memcmp(flow->source, SOURCE, sizeof(SOURCE)) == 0;
}

/* Writes what goes out into relay->text. */
static void compose(struct firefly_relay *relay, const struct flowd_firefly_message *message,
                    const struct firefly_additions *additions)
{
    flowd_text_clear(&relay->text);
    firefly_splice(&relay->text, message, additions);
    if (flowd_text_failed(&relay->text) || relay->text.length <= FLOWD_FIREFLY_SIZE_UDP)
        return;
    relay->counts.unchanged++;
    flowd_text_clear(&relay->text);
    flowd_text_append(&relay->text, message->text, message->length);
}

void firefly_relay_pass_on(struct firefly_relay *relay, const struct flowd_event *event,
                           const struct flowd_flow *flow, enum flowd_result result,
                           const struct firefly_additions *additions)
{
    if (result == FLOWD_ENDED)
        relay->ending = flow->id;
    if (event->state == FLOWD_EVENT_END && firefly_held_drop(&relay->held, &event->key))
        relay->counts.ends_replaced++;
    compose(relay, event->message, additions);
    if (flowd_text_failed(&relay->text)) {
        relay->counts.dropped++;
        return;
    }
    if (!relay->send(relay->context, &event->key, flow != NULL ? flow->id : FIREFLY_RELAY_NO_FLOW,
                     relay->text.data, relay->text.length))
        return;
    relay->counts.passed_on++;
    if (result == FLOWD_REFUSED)
        relay->counts.of_refused++;
}

bool firefly_relay_was_end(struct firefly_relay *relay, const struct flowd_flow *flow)
{
    bool was = relay->ending == flow->id;

    relay->ending = FIREFLY_RELAY_NO_FLOW;
    return was;
}

void firefly_relay_hold(struct firefly_relay *relay, const struct flowd_flow *flow,
                        const struct flowd_text *text)
{
    firefly_held_add(&relay->held, &flow->key, text->data, text->length);
}

void firefly_relay_begin(struct firefly_relay *relay, const struct flowd_flow_key *key)
{
    firefly_held_release(&relay->held, key);
}

void firefly_relay_release(struct firefly_relay *relay)
{
    firefly_held_release_all(&relay->held);
}

struct relay_numbers {
    struct firefly_relay_counts relay;
    uint64_t held;
};

static const struct flowd_metric relayed = {
    "flowd_fireflies_relayed_total", FLOWD_METRIC_COUNTER,
    "Fireflies that came in and were passed on, each counted once, or dropped for want of memory."};
static const struct flowd_metric of_refused = {
    "flowd_fireflies_relayed_of_refused_total", FLOWD_METRIC_COUNTER,
    "Fireflies that were passed on though flows.max or a backend refused their flow."};
static const struct flowd_metric unchanged = {
    "flowd_fireflies_relayed_unchanged_total", FLOWD_METRIC_COUNTER,
    "Fireflies that were passed on without what was missing: with it they do not fit a datagram."};
static const struct flowd_metric held = {
    "flowd_firefly_held_ends", FLOWD_METRIC_GAUGE,
    "Fireflies of ends that flowd found and that wait for their sender's own."};
static const struct flowd_metric held_ends = {
    "flowd_firefly_ends_held_total", FLOWD_METRIC_COUNTER,
    "Fireflies of ends that were held: replaced by their sender's own, or sent."};

static const struct flowd_counter counters[] = {
    {.key = "relay.passedOn",
     .metric = &relayed,
     .labels = {"result", "passed-on"},
     FLOWD_COUNTED(struct relay_numbers, relay.passed_on)},
    {.key = "relay.dropped",
     .metric = &relayed,
     .labels = {"result", "dropped"},
     FLOWD_COUNTED(struct relay_numbers, relay.dropped)},
    {.key = "relay.ofRefused",
     .metric = &of_refused,
     FLOWD_COUNTED(struct relay_numbers, relay.of_refused)},
    {.key = "relay.unchanged",
     .metric = &unchanged,
     FLOWD_COUNTED(struct relay_numbers, relay.unchanged)},
    {.key = "relay.ends.held", .metric = &held, FLOWD_COUNTED(struct relay_numbers, held)},
    {.key = "relay.ends.replaced",
     .metric = &held_ends,
     .labels = {"result", "replaced"},
     FLOWD_COUNTED(struct relay_numbers, relay.ends_replaced)},
    {.key = "relay.ends.sent",
     .metric = &held_ends,
     .labels = {"result", "sent"},
     FLOWD_COUNTED(struct relay_numbers, relay.ends_sent)},
    {.key = NULL},
};

void firefly_relay_count(const struct firefly_relay *relay, const struct flowd_counter_sink *sink)
{
    const struct relay_numbers numbers = {.relay = relay->counts, .held = relay->held.count};

    flowd_counters_put(sink, counters, &numbers, NULL);
}
