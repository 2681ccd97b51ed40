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

#include "config.h"
#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/firefly/firefly.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/liveness/liveness.h"
#include "daemon/metrics/counter.h"
#include "daemon/tcp/tcp_field.h"
#include "daemon/tcp/tcp_sample.h"
#include "sender.h"

#define HOSTNAME_SIZE 256
/* Instead of the flow's id, which is never 0: what becomes of the datagram is no status of the
 * flow. */
#define TAG_OF_NO_EVENT 0

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
enum status { NOT_SENT, QUEUED, SENT, FAILED, DROPPED, RESTORED };

struct totals {
    uint64_t sent, failed, dropped;
};

struct firefly {
    const struct flowd_context *context;
    const struct firefly_config *config;
    unsigned slot;
    struct sockaddr_storage *collectors; /* owned */
    size_t collector_count;
    struct flowd_sender *sender;
    bool wants_last;        /* the counts of flows whose end is announced are asked for */
    struct flowd_text text; /* the firefly that is being queued */
    char hostname[HOSTNAME_SIZE];
    struct totals to_destination;
    struct totals to_collectors;
    struct flowd_log_limit failures;
};

/* Reads the configured addresses. Returns owned, NULL with count 0 for none; -errno. */
static int read_collectors(const struct firefly_config *config, struct sockaddr_storage **out,
                           struct flowd_error *err)
{
    struct sockaddr_storage *collectors = calloc(config->collectors.count + 1, sizeof(*collectors));
    socklen_t length;

    if (collectors == NULL)
        return flowd_fail_errno(err, ENOMEM, "collectors");
    for (size_t i = 0; i < config->collectors.count; i++) {
        if (flowd_endpoint_parse(config->collectors.items[i], (uint16_t)config->destination_port,
                                 &collectors[i], &length) < 0) {
            free(collectors);
            return flowd_fail(err, EINVAL, "collector \"%s\"", config->collectors.items[i]);
        }
    }
    *out = collectors;
    return 0;
}

static void set_status(struct firefly *firefly, uint64_t id, enum status status)
{
    struct flowd_flow *flow =
        id != TAG_OF_NO_EVENT ? flowd_hub_find(firefly->context->hub, id) : NULL;

    /* One copy that went out is enough to say "sent". */
    if (flow != NULL && flow->backend[firefly->slot] != SENT)
        flow->backend[firefly->slot] = (uint8_t)status;
}

static void on_done(void *context, uint64_t id, bool to_collector,
                    const struct sockaddr_storage *address, enum flowd_sent result, int error)
{
    struct firefly *firefly = context;
    char text[FLOWD_ENDPOINT_SIZE];
    struct totals *totals = to_collector ? &firefly->to_collectors : &firefly->to_destination;

    switch (result) {
    case FLOWD_SENT_OK:
        totals->sent++;
        set_status(firefly, id, SENT);
        break;
    case FLOWD_SENT_FAILED:
        totals->failed++;
        set_status(firefly, id, FAILED);
        flowd_endpoint_format(address, text);
        flowd_log_limited(&firefly->failures, FLOWD_LOG_WARNING, "firefly",
                          "a firefly to %s%s was not sent: %s", to_collector ? "collector " : "",
                          text, strerror(error));
        break;
    case FLOWD_SENT_DROPPED:
        totals->dropped++;
        set_status(firefly, id, DROPPED);
        flowd_log_limited(&firefly->failures, FLOWD_LOG_WARNING, "firefly",
                          "fireflies are dropped: the network does not take them fast enough");
        break;
    }
}

static bool has_receiver(const struct firefly *firefly)
{
    return firefly->config->send_to_destination || firefly->collector_count > 0;
}

static void want_last(struct firefly *firefly, bool wanted)
{
    if (firefly->wants_last != wanted)
        flowd_liveness_want_last(firefly->context->liveness, wanted);
    firefly->wants_last = wanted;
}

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
    result = read_collectors(config, &firefly->collectors, err);
    if (result == 0)
        result = flowd_sender_new(context->loop, on_done, firefly, &firefly->sender, err);
    if (result < 0) {
        free(firefly->collectors);
        free(firefly);
        return result;
    }
    firefly->collector_count = firefly->config->collectors.count;
    if (flowd_liveness_open(context->liveness, err) < 0)
        flowd_debug("firefly", "no final counts of flows that are ended by name: %s", err->message);
    want_last(firefly, has_receiver(firefly));
    *instance = firefly;
    return 0;
}

static int firefly_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct firefly *firefly = instance;
    struct sockaddr_storage *collectors;
    int result = read_collectors(config, &collectors, err);

    if (result < 0)
        return result;
    free(firefly->collectors);
    firefly->collectors = collectors;
    firefly->config = config;
    firefly->collector_count = firefly->config->collectors.count;
    want_last(firefly, has_receiver(firefly));
    return 0;
}

static void firefly_stop(void *instance)
{
    struct firefly *firefly = instance;
    size_t waiting;

    flowd_sender_flush(firefly->sender);
    waiting = flowd_sender_waiting(firefly->sender);
    if (waiting > 0)
        flowd_warning("firefly", "%zu fireflies were not sent before the stop", waiting);
    want_last(firefly, false);
    flowd_sender_free(firefly->sender);
    flowd_text_fini(&firefly->text);
    free(firefly->collectors);
    free(firefly);
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

    flowd_text_clear(&firefly->text);
    flowd_firefly_encode(&firefly->text, &header, flow, state, sample != NULL ? &statistics : NULL,
                         flowd_timestamp_now_us());
    return flowd_text_failed(&firefly->text) ? -ENOMEM : 0;
}

/* Queues firefly->text to everybody who gets the flow's fireflies. */
static void queue_copies(struct firefly *firefly, const struct flowd_flow *flow, uint64_t tag)
{
    const struct flowd_text *text = &firefly->text;
    struct sockaddr_storage destination;

    if (firefly->config->send_to_destination) {
        flowd_endpoint_make(flow->key.family, &flow->key.dst,
                            (uint16_t)firefly->config->destination_port, &destination);
        flowd_sender_queue(firefly->sender, &destination, text->data, text->length, tag, false);
    }
    for (size_t i = 0; i < firefly->collector_count; i++)
        flowd_sender_queue(firefly->sender, &firefly->collectors[i], text->data, text->length, tag,
                           true);
}

static void queue(struct firefly *firefly, struct flowd_flow *flow, enum flowd_event_state state)
{
    const struct flowd_tcp_sample *sample = flowd_hub_sample_of(firefly->context->hub, flow);

    flow->backend[firefly->slot] = NOT_SENT;
    if (!has_receiver(firefly))
        return;
    flow->backend[firefly->slot] = QUEUED;
    if (compose(firefly, flow, state, sample) < 0)
        flow->backend[firefly->slot] = DROPPED;
    else
        queue_copies(firefly, flow, flow->id);
}

static void firefly_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    struct firefly *firefly = instance;

    if (restored)
        flow->backend[firefly->slot] = RESTORED;
    else
        queue(firefly, flow, FLOWD_EVENT_START);
}

static void firefly_flow_end(void *instance, struct flowd_flow *flow)
{
    queue(instance, flow, FLOWD_EVENT_END);
}

static void flow_sample(void *instance, struct flowd_flow *flow,
                        const struct flowd_tcp_sample *sample)
{
    struct firefly *firefly = instance;

    if (!firefly->config->enrich || !has_receiver(firefly))
        return;
    /* Without memory the next one tells more anyway. */
    if (compose(firefly, flow, FLOWD_EVENT_ONGOING, sample) == 0)
        queue_copies(firefly, flow, TAG_OF_NO_EVENT);
}

static void firefly_commit(void *instance)
{
    struct firefly *firefly = instance;

    flowd_sender_flush(firefly->sender);
}

static void firefly_status(const void *instance, json_t *object)
{
    const struct firefly *firefly = instance;
    json_t *collectors = json_array();
    char text[FLOWD_ENDPOINT_SIZE];

    for (size_t i = 0; i < firefly->collector_count; i++) {
        flowd_endpoint_format(&firefly->collectors[i], text);
        json_array_append_new(collectors, json_string(text));
    }
    json_object_set_new(object, "collectors", collectors);
}

struct firefly_counts {
    struct totals to_destination, to_collectors;
    uint64_t waiting;
};

static const struct flowd_metric fireflies = {"flowd_fireflies_total", FLOWD_METRIC_COUNTER,
                                              "Fireflies, and what became of them."};
static const struct flowd_metric waiting = {"flowd_fireflies_waiting", FLOWD_METRIC_GAUGE,
                                            "Fireflies that the network has not taken yet."};

static const struct flowd_counter counters[] = {
    {.key = "waiting", .metric = &waiting, FLOWD_COUNTED(struct firefly_counts, waiting)},
    {.key = "toDestination.sent",
     .metric = &fireflies,
     .labels = {"destination", "destination", "result", "sent"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.sent)},
    {.key = "toDestination.failed",
     .metric = &fireflies,
     .labels = {"destination", "destination", "result", "failed"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.failed)},
    {.key = "toDestination.dropped",
     .metric = &fireflies,
     .labels = {"destination", "destination", "result", "dropped"},
     FLOWD_COUNTED(struct firefly_counts, to_destination.dropped)},
    {.key = "toCollectors.sent",
     .metric = &fireflies,
     .labels = {"destination", "collector", "result", "sent"},
     FLOWD_COUNTED(struct firefly_counts, to_collectors.sent)},
    {.key = "toCollectors.failed",
     .metric = &fireflies,
     .labels = {"destination", "collector", "result", "failed"},
     FLOWD_COUNTED(struct firefly_counts, to_collectors.failed)},
    {.key = "toCollectors.dropped",
     .metric = &fireflies,
     .labels = {"destination", "collector", "result", "dropped"},
     FLOWD_COUNTED(struct firefly_counts, to_collectors.dropped)},
    {.key = NULL},
};

static void firefly_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct firefly *firefly = instance;
    const struct firefly_counts counts = {.to_destination = firefly->to_destination,
                                          .to_collectors = firefly->to_collectors,
                                          .waiting = flowd_sender_waiting(firefly->sender)};

    flowd_counters_put(sink, counters, &counts, NULL);
}

static const struct flowd_backend_status statuses[] = {
    [NOT_SENT] = {"off", false},  [QUEUED] = {"queued", false},   [SENT] = {"sent", false},
    [FAILED] = {"failed", false}, [DROPPED] = {"dropped", false}, [RESTORED] = {"restored", false},
};

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .flow_start = firefly_flow_start,
    .flow_end = firefly_flow_end,
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
    .warn = firefly_warn,
    .translate = firefly_translate,
    .start = firefly_start,
    .reload = firefly_reload,
    .stop = firefly_stop,
    .status = firefly_status,
    .count = firefly_count,
    .backend = &ops,
};
