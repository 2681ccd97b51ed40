/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firefly backend: a datagram at the start and at the end of each flow, and while it goes on
 * where that is wanted, to the flow's destination and to every collector. Where the flow's TCP
 * statistics are known, they are in it.
 *
 * Fireflies are best effort: one that can't be sent is counted and logged, and does not make the
 * event fail.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collectors.h"
#include "config.h"
#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/firefly/firefly.h"
#include "daemon/firefly/recent.h"
#include "daemon/firefly/syslog_header.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/liveness/liveness.h"
#include "daemon/metrics/counter.h"
#include "daemon/tcp/tcp_field.h"
#include "daemon/tcp/tcp_sample.h"
#include "excluded.h"
#include "relay.h"
#include "sender.h"

#define HOSTNAME_SIZE 256
/* Instead of the flow's id, which is never 0: what becomes of the datagram is no status of the
 * flow. */
#define TAG_OF_NO_EVENT FIREFLY_RELAY_NO_FLOW
/* The sender's receiver; collectors have other numbers. */
#define TO_DESTINATION 0

extern const struct flowd_module flowd_backend_firefly;

/* What a firefly tells of the flow's TCP statistics, by firefly_config.enrichment_mode. */
static const struct mode {
    unsigned set; /* FLOWD_TCP_... */
    size_t size_max;
} modes[] = {
    [FIREFLY_LEAN] = {FLOWD_TCP_LEAN, FLOWD_FIREFLY_SIZE_MAX},
    [FIREFLY_COMPATIBLE] = {FLOWD_TCP_COMPATIBLE, FLOWD_FIREFLY_SIZE_MAX},
    [FIREFLY_ALL] = {FLOWD_TCP_ALL, FLOWD_FIREFLY_SIZE_UDP},
};

/* flow->backend[slot]; the names stand in statuses below. */
enum status { NOT_SENT, QUEUED, SENT, RELAYED, FAILED, DROPPED, RESTORED, EXCLUDED };

struct totals {
    uint64_t sent, failed, dropped, icmp_errors;
};

struct firefly {
    const struct flowd_context *context;
    const struct firefly_config *config;
    unsigned slot;
    struct flowd_sender *sender;
    struct collectors *collectors; /* owned; they use the sender */
    struct firefly_excluded excluded;
    struct flowd_public_addresses *public_addresses; /* owned */
    bool wants_last;        /* the counts of flows whose end is announced are asked for */
    struct flowd_text text; /* the firefly that is being composed */
    struct firefly_relay relay;
    char hostname[HOSTNAME_SIZE];
    struct totals to_destination;
    uint64_t excluded_count; /* fireflies that nobody gets */
    struct flowd_log_limit failures;
};

/* Whether the flow's sender says itself what happens to it. */
static bool is_relayed(const struct firefly *firefly, const struct flowd_flow *flow)
{
    return firefly->config->relay && firefly_relay_announced(flow);
}

static void set_status(struct firefly *firefly, uint64_t id, enum status status)
{
    struct flowd_flow *flow =
        id != TAG_OF_NO_EVENT ? flowd_hub_find(firefly->context->hub, id) : NULL;

    if (flow == NULL)
        return;
    if (status == SENT && is_relayed(firefly, flow))
        status = RELAYED;
    /* One copy that went out is enough to say "sent". */
    if (flow->backend[firefly->slot] != SENT && flow->backend[firefly->slot] != RELAYED)
        flow->backend[firefly->slot] = (uint8_t)status;
}

static void count_to_destination(struct firefly *firefly, const struct sockaddr_storage *address,
                                 enum flowd_sent result, int error)
{
    char text[FLOWD_ENDPOINT_SIZE];

    switch (result) {
    case FLOWD_SENT_OK:
        firefly->to_destination.sent++;
        break;
    case FLOWD_SENT_FAILED:
        firefly->to_destination.failed++;
        flowd_endpoint_format(address, text);
        flowd_log_limited(&firefly->failures, FLOWD_LOG_WARNING, "firefly",
                          "a firefly to %s was not sent: %s", text, strerror(error));
        break;
    case FLOWD_SENT_DROPPED:
        firefly->to_destination.dropped++;
        break;
    }
}

static void on_done(void *context, uint64_t id, unsigned receiver,
                    const struct sockaddr_storage *address, enum flowd_sent result, int error)
{
    static const enum status statuses[] = {
        [FLOWD_SENT_OK] = SENT, [FLOWD_SENT_FAILED] = FAILED, [FLOWD_SENT_DROPPED] = DROPPED};
    struct firefly *firefly = context;

    set_status(firefly, id, statuses[result]);
    if (receiver == TO_DESTINATION)
        count_to_destination(firefly, address, result, error);
    else
        collectors_done(firefly->collectors, receiver, result, error);
    if (result == FLOWD_SENT_DROPPED)
        flowd_log_limited(&firefly->failures, FLOWD_LOG_WARNING, "firefly",
                          "fireflies are dropped: the network does not take them fast enough");
}

/* Most destinations do not listen for fireflies, so that is no news. */
static void on_refused(void *context, const struct sockaddr_storage *address, int error)
{
    struct firefly *firefly = context;

    if (!collectors_refused(firefly->collectors, address, error))
        firefly->to_destination.icmp_errors++;
}

static void on_dropped(void *context, uint64_t id)
{
    set_status(context, id, DROPPED);
}

/* Whether anybody gets what is relayed, or else what flowd composes. */
static bool has_receiver(const struct firefly *firefly, bool relayed)
{
    return firefly->config->send_to_destination ||
           collectors_number(firefly->collectors, relayed) > 0;
}

static void want_last(struct firefly *firefly, bool wanted)
{
    if (firefly->wants_last != wanted)
        flowd_liveness_want_last(firefly->context->liveness, wanted);
    firefly->wants_last = wanted;
}

/* Takes from the configuration who gets fireflies, and which flows have none. */
static int configure(struct firefly *firefly, const struct firefly_config *config,
                     struct flowd_error *err)
{
    struct firefly_excluded excluded;
    int result = firefly_excluded_init(&excluded, &config->exclude_networks, err);

    if (result < 0)
        return result;
    result = collectors_configure(firefly->collectors, &config->collectors, config->receivers,
                                  (uint16_t)config->destination_port, err);
    if (result < 0) {
        firefly_excluded_fini(&excluded);
        return result;
    }
    firefly_excluded_fini(&firefly->excluded);
    firefly->excluded = excluded;
    return 0;
}

static bool send_relayed(void *context, const struct flowd_flow_key *key, uint64_t tag,
                         const char *text, size_t length);
static void firefly_commit(void *instance);

static int firefly_start(const struct flowd_context *context, const void *config, void **instance,
                         struct flowd_error *err)
{
    struct firefly *firefly = calloc(1, sizeof(*firefly));
    int result;

    if (firefly == NULL)
        return flowd_fail_errno(err, ENOMEM, "firefly");
    firefly->context = context;
    firefly->config = config;
    firefly->slot = flowd_hub_next_slot(context->hub);
    flowd_firefly_hostname(firefly->hostname, sizeof(firefly->hostname));
    result = flowd_sender_new(context->loop, on_done, on_refused, firefly, &firefly->sender, err);
    if (result == 0)
        result = collectors_new(context->loop, firefly->sender, on_dropped, firefly,
                                &firefly->collectors, err);
    if (result == 0)
        result = configure(firefly, config, err);
    if (result == 0)
        result = flowd_public_addresses_new(context->loop, context->host, context->fetcher,
                                            &firefly->public_addresses, err);
    if (result == 0)
        result = flowd_public_addresses_configure(firefly->public_addresses, &firefly->config->stun,
                                                  err);
    if (result == 0 && firefly_relay_init(&firefly->relay, context->loop, send_relayed,
                                          firefly_commit, firefly) < 0)
        result = flowd_fail_errno(err, ENOMEM, "relay");
    if (result < 0) {
        flowd_public_addresses_free(firefly->public_addresses);
        firefly_excluded_fini(&firefly->excluded);
        collectors_free(firefly->collectors);
        flowd_sender_free(firefly->sender);
        free(firefly);
        return result;
    }
    if (flowd_liveness_open(context->liveness, err) < 0)
        flowd_debug("firefly", "no final counts of flows that are ended by name: %s", err->message);
    want_last(firefly, has_receiver(firefly, true));
    *instance = firefly;
    return 0;
}

static int firefly_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct firefly *firefly = instance;
    const struct firefly_config *fresh = config;
    int result = configure(firefly, fresh, err);

    if (result == 0)
        result = flowd_public_addresses_configure(firefly->public_addresses, &fresh->stun, err);
    if (result < 0)
        return result;
    firefly->config = fresh;
    want_last(firefly, has_receiver(firefly, true));
    if (!firefly->config->relay) {
        firefly_relay_release(&firefly->relay);
        flowd_sender_flush(firefly->sender);
    }
    return 0;
}

static void firefly_stop(void *instance)
{
    struct firefly *firefly = instance;
    size_t waiting;

    firefly_relay_release(&firefly->relay);
    flowd_sender_flush(firefly->sender);
    waiting = flowd_sender_waiting(firefly->sender) + collectors_waiting(firefly->collectors);
    if (waiting > 0)
        flowd_warning("firefly", "%zu fireflies were not sent before the stop", waiting);
    want_last(firefly, false);
    flowd_sender_free(firefly->sender);
    collectors_free(firefly->collectors);
    flowd_public_addresses_free(firefly->public_addresses);
    firefly_relay_fini(&firefly->relay);
    firefly_excluded_fini(&firefly->excluded);
    flowd_text_fini(&firefly->text);
    free(firefly);
}

/* The address as it stands in fireflies. */
static const struct in6_addr *show(const struct firefly *firefly, const struct flowd_flow_key *key,
                                   const struct in6_addr *address)
{
    return flowd_public_address_of(firefly->public_addresses, key->family, address);
}

/* The text of the address in place of its sender's; NULL: that stays. */
static const char *show_instead(const struct firefly *firefly, const struct flowd_flow_key *key,
                                const struct in6_addr *address,
                                char buffer[static FLOWD_ADDRESS_SIZE])
{
    const struct in6_addr *shown = show(firefly, key, address);

    if (shown == address)
        return NULL;
    flowd_address_format(key->family, shown, buffer);
    return buffer;
}

/* Writes the firefly into firefly->text. Returns 0 or -ENOMEM. sample is NULL where none is known.
 */
static int compose(struct firefly *firefly, const struct flowd_flow *flow,
                   enum flowd_event_state state, const struct flowd_tcp_sample *sample)
{
    const struct mode *mode = &modes[firefly->config->enrichment_mode];
    const struct flowd_firefly_header header = {.syslog = firefly->config->prepend_syslog,
                                                .hostname = firefly->hostname};
    const struct flowd_firefly_statistics statistics = {
        .sample = sample, .set = mode->set, .size_max = mode->size_max};
    struct flowd_flow shown = *flow;

    shown.key.src = *show(firefly, &flow->key, &flow->key.src);
    shown.key.dst = *show(firefly, &flow->key, &flow->key.dst);
    flowd_text_clear(&firefly->text);
    flowd_firefly_encode(&firefly->text, &header, &shown, state,
                         sample != NULL ? &statistics : NULL, flowd_timestamp_now_us());
    return flowd_text_failed(&firefly->text) ? -ENOMEM : 0;
}

/*
 * Queues a firefly to everybody who gets those of the flow with this key, which is relayed or not.
 * Returns whether that is anybody.
 */
static bool queue_copies(struct firefly *firefly, bool relayed, const struct flowd_flow_key *key,
                         uint64_t tag, const char *text, size_t length)
{
    const struct flowd_outgoing outgoing = {
        .data = text, .length = length, .tag = tag, .order = flowd_flow_key_hash(key, 0)};
    struct sockaddr_storage destination;

    if (firefly_excluded_holds(&firefly->excluded, key)) {
        firefly->excluded_count++;
        set_status(firefly, tag, EXCLUDED);
        return false;
    }
    if (firefly->config->send_to_destination) {
        flowd_endpoint_make(key->family, &key->dst, (uint16_t)firefly->config->destination_port,
                            &destination);
        flowd_sender_queue(firefly->sender, &destination, TO_DESTINATION, &outgoing);
    }
    collectors_send(firefly->collectors, relayed, &outgoing);
    return true;
}

/*
 * The same with a firefly that may come back by way of another flowd: nothing but its bytes tells
 * it from those of others.
 */
static bool send_noted(struct firefly *firefly, bool relayed, const struct flowd_flow_key *key,
                       uint64_t tag, const char *text, size_t length)
{
    struct flowd_firefly_recent *recent = flowd_hub_recent(firefly->context->hub);
    struct flowd_firefly_message message = {.text = text, .length = length};

    if (recent != NULL && flowd_firefly_find_header(&message) == 0)
        (void)flowd_firefly_recent_message(recent, text + message.object.offset,
                                           length - message.object.offset,
                                           flowd_timestamp_boot_us());
    return queue_copies(firefly, relayed, key, tag, text, length);
}

static bool send_relayed(void *context, const struct flowd_flow_key *key, uint64_t tag,
                         const char *text, size_t length)
{
    return send_noted(context, true, key, tag, text, length);
}

/*
 * Queues firefly->text, flowd's own of a flow whose announcer is no sender of fireflies. It is
 * known by its addresses when it comes back, or where others stand in it by its bytes.
 */
static void send_own(struct firefly *firefly, const struct flowd_flow *flow, uint64_t tag)
{
    const struct flowd_flow_key *key = &flow->key;
    bool shows_others =
        show(firefly, key, &key->src) != &key->src || show(firefly, key, &key->dst) != &key->dst;
    const struct flowd_text *text = &firefly->text;

    if (shows_others)
        (void)send_noted(firefly, false, key, tag, text->data, text->length);
    else
        (void)queue_copies(firefly, false, key, tag, text->data, text->length);
}

static void queue(struct firefly *firefly, struct flowd_flow *flow, enum flowd_event_state state)
{
    const struct flowd_tcp_sample *sample = flowd_hub_sample_of(firefly->context->hub, flow);

    flow->backend[firefly->slot] = NOT_SENT;
    if (!has_receiver(firefly, false))
        return;
    flow->backend[firefly->slot] = QUEUED;
    if (compose(firefly, flow, state, sample) < 0)
        flow->backend[firefly->slot] = DROPPED;
    else
        send_own(firefly, flow, flow->id);
}

/* flowd found the end of a flow whose sender may still tell of it. */
static void hold_end(struct firefly *firefly, struct flowd_flow *flow)
{
    flow->backend[firefly->slot] = NOT_SENT;
    if (has_receiver(firefly, true) &&
        compose(firefly, flow, FLOWD_EVENT_END, flowd_hub_sample_of(firefly->context->hub, flow)) ==
            0)
        firefly_relay_hold(&firefly->relay, flow, &firefly->text);
}

static void firefly_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    struct firefly *firefly = instance;

    firefly_relay_begin(&firefly->relay, &flow->key);
    if (restored)
        flow->backend[firefly->slot] = RESTORED;
    else if (is_relayed(firefly, flow))
        flow->backend[firefly->slot] = has_receiver(firefly, true) ? QUEUED : NOT_SENT;
    else
        queue(firefly, flow, FLOWD_EVENT_START);
}

static void firefly_flow_end(void *instance, struct flowd_flow *flow)
{
    struct firefly *firefly = instance;

    if (firefly_relay_was_end(&firefly->relay, flow))
        return;
    if (is_relayed(firefly, flow))
        hold_end(firefly, flow);
    else
        queue(firefly, flow, FLOWD_EVENT_END);
}

static void take_firefly(void *instance, const struct flowd_event *event, struct flowd_flow *flow,
                         enum flowd_result result)
{
    struct firefly *firefly = instance;
    const struct flowd_flow_key *key = &event->key;
    char src[FLOWD_ADDRESS_SIZE], dst[FLOWD_ADDRESS_SIZE];
    const struct firefly_additions additions = {
        .syslog = firefly->config->prepend_syslog,
        .hostname = firefly->hostname,
        .now_us = flowd_timestamp_now_us(),
        .start_us = flow != NULL ? flow->start_us : 0,
        .src_ip = show_instead(firefly, key, &key->src, src),
        .dst_ip = show_instead(firefly, key, &key->dst, dst)};

    if (firefly->config->relay && has_receiver(firefly, true))
        firefly_relay_pass_on(&firefly->relay, event, flow, result, &additions);
}

static void flow_sample(void *instance, struct flowd_flow *flow,
                        const struct flowd_tcp_sample *sample)
{
    struct firefly *firefly = instance;

    bool relayed = is_relayed(firefly, flow);

    if (!firefly->config->enrich || !has_receiver(firefly, relayed))
        return;
    /* Without memory the next one tells more anyway. */
    if (compose(firefly, flow, FLOWD_EVENT_ONGOING, sample) == 0)
        (void)send_noted(firefly, relayed, &flow->key, TAG_OF_NO_EVENT, firefly->text.data,
                         firefly->text.length);
}

static void firefly_commit(void *instance)
{
    struct firefly *firefly = instance;

    flowd_sender_flush(firefly->sender);
}

struct firefly_counts {
    struct totals to_destination;
    uint64_t waiting, excluded;
};

static const struct flowd_metric waiting = {
    "flowd_fireflies_waiting", FLOWD_METRIC_GAUGE,
    "Fireflies that the network has not taken yet, or whose collector has no known address yet."};

static const struct flowd_metric excluded = {
    "flowd_fireflies_excluded_total", FLOWD_METRIC_COUNTER,
    "Fireflies that nobody got because both ends of the flow are in excludeNetworks."};

static const struct flowd_counter counters[] = {
    {.key = "excluded", .metric = &excluded, FLOWD_COUNTED(struct firefly_counts, excluded)},
    {.key = "waiting", .metric = &waiting, FLOWD_COUNTED(struct firefly_counts, waiting)},
    {.key = "toDestination.sent",
     .metric = &flowd_fireflies,
     .labels = {"destination", "destination", "result", "sent"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.sent)},
    {.key = "toDestination.failed",
     .metric = &flowd_fireflies,
     .labels = {"destination", "destination", "result", "failed"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.failed)},
    {.key = "toDestination.dropped",
     .metric = &flowd_fireflies,
     .labels = {"destination", "destination", "result", "dropped"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.dropped)},
    {.key = "toDestination.icmpErrors",
     .metric = &flowd_firefly_icmp_errors,
     .labels = {"destination", "destination"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.icmp_errors)},
    {.key = NULL},
};

static void firefly_status(const void *instance, json_t *object)
{
    const struct firefly *firefly = instance;

    json_object_set_new(object, "publicAddresses",
                        flowd_public_addresses_json(firefly->public_addresses));
}

static void firefly_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct firefly *firefly = instance;
    const struct firefly_counts counts = {.to_destination = firefly->to_destination,
                                          .excluded = firefly->excluded_count,
                                          .waiting = flowd_sender_waiting(firefly->sender) +
                                                     collectors_waiting(firefly->collectors)};

    flowd_counters_put(sink, counters, &counts, NULL);
    collectors_count(firefly->collectors, sink);
    firefly_relay_count(&firefly->relay, sink);
    flowd_public_addresses_count(firefly->public_addresses, sink);
}

static const struct flowd_backend_status statuses[] = {
    [NOT_SENT] = {"off", false},      [QUEUED] = {"queued", false},
    [SENT] = {"sent", false},         [RELAYED] = {"relayed", false},
    [FAILED] = {"failed", false},     [DROPPED] = {"dropped", false},
    [RESTORED] = {"restored", false}, [EXCLUDED] = {"excluded", false},
};

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .flow_start = firefly_flow_start,
    .flow_end = firefly_flow_end,
    .firefly = take_firefly,
    .flow_sample = flow_sample,
    .commit = firefly_commit,
};

const struct flowd_module flowd_backend_firefly = {
    .kind = FLOWD_BACKEND,
    .name = "firefly",
    .summary = "sends a firefly at the start and at the end of each flow, and while it goes on",
    .options = firefly_options,
    .config_size = sizeof(struct firefly_config),
    .check = firefly_check,
    .share = firefly_share,
    .warn = firefly_warn,
    .translate = firefly_translate,
    .old_options = firefly_old_options,
    .start = firefly_start,
    .reload = firefly_reload,
    .stop = firefly_stop,
    .status = firefly_status,
    .count = firefly_count,
    .backend = &ops,
};
