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

enum { LEAN, COMPATIBLE, ALL };
static const char *const mode_names[] = {
    [LEAN] = "lean", [COMPATIBLE] = "compatible", [ALL] = "", NULL};

/* What a firefly tells of the flow's TCP statistics, by firefly_config.enrichment_mode. */
static const struct mode {
    unsigned set; /* FLOWD_TCP_... */
    size_t size_max;
} modes[] = {
    [LEAN] = {FLOWD_TCP_LEAN, FLOWD_FIREFLY_SIZE_MAX},
    [COMPATIBLE] = {FLOWD_TCP_COMPATIBLE, FLOWD_FIREFLY_SIZE_MAX},
    [ALL] = {FLOWD_TCP_ALL, FLOWD_FIREFLY_SIZE_UDP},
};

struct firefly_config {
    int64_t destination_port;
    bool send_to_destination;
    struct flowd_strings collectors;
    bool prepend_syslog;
    bool relay;
    bool enrich;
    int enrichment_mode;
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

static void firefly_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct firefly_config *firefly = config;
    struct sockaddr_storage address;
    socklen_t length;

    for (size_t i = 0; i < firefly->collectors.count; i++)
        if (flowd_endpoint_parse(firefly->collectors.items[i], (uint16_t)firefly->destination_port,
                                 &address, &length) < 0)
            flowd_messages_add(errors,
                               "%s.collectors: found \"%s\", wants a numeric address with or "
                               "without a port (names are not in this version of flowd)",
                               path, firefly->collectors.items[i]);
}

/* A socket that is connected knows whether there is a route; nothing is sent. */
static int find_route(const struct sockaddr_storage *address, socklen_t length)
{
    int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 || connect(fd, (const struct sockaddr *)address, length) < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    return result;
}

static void firefly_warn(const void *config, const char *path,
                         const struct flowd_environment *environment,
                         struct flowd_messages *warnings)
{
    const struct firefly_config *firefly = config;
    struct sockaddr_storage address;
    socklen_t length;

    /* flowd-go takes such a configuration too. */
    if (firefly->enrich && !environment->has_enricher)
        flowd_messages_add(warnings,
                           "%s.enrich: does nothing without an enricher, which takes the samples: "
                           "\"enrichers\": {\"netlink\": {}}",
                           path);
    if (!firefly->send_to_destination && firefly->collectors.count == 0)
        flowd_messages_add(warnings,
                           "%s: no firefly is sent: sendToDestination is false and there are no "
                           "collectors",
                           path);
    if (!firefly->prepend_syslog && firefly->collectors.count > 0)
        flowd_messages_add(warnings,
                           "%s.prependSyslog: collectors drop fireflies without a syslog header: "
                           "set it to true",
                           path);
    for (size_t i = 0; environment->host != NULL && i < firefly->collectors.count; i++) {
        int result = flowd_endpoint_parse(firefly->collectors.items[i],
                                          (uint16_t)firefly->destination_port, &address, &length);

        if (result == 0)
            result = find_route(&address, length);
        if (result < 0)
            flowd_messages_add(warnings, "%s.collectors: \"%s\" can't be reached: %s", path,
                               firefly->collectors.items[i], strerror(-result));
    }
}

static bool is_port(const json_t *value, json_int_t least)
{
    return json_is_integer(value) && json_integer_value(value) >= least &&
           json_integer_value(value) <= UINT16_MAX;
}

/* sendToCollector, collectorAddress and collectorPort become one entry of collectors. */
static void translate(json_t *object, const char *path, struct flowd_options_report *report)
{
    const json_t *send = json_object_get(object, "sendToCollector");
    const json_t *address = json_object_get(object, "collectorAddress");
    const json_t *port = json_object_get(object, "collectorPort");
    json_t *collectors = json_object_get(object, "collectors");
    json_t *endpoint = NULL;

    if (send == NULL && address == NULL && port == NULL)
        return;
    flowd_messages_add(&report->deprecations,
                       "%s: sendToCollector, collectorAddress and collectorPort are the old "
                       "spelling of \"collectors\"",
                       path);
    if ((send != NULL && !json_is_boolean(send)) || (address != NULL && !json_is_string(address)) ||
        (port != NULL && !is_port(port, json_is_true(send) ? 1 : 0)))
        flowd_messages_add(&report->errors,
                           "%s: sendToCollector wants true or false, collectorAddress a string, "
                           "collectorPort an integer in 1-65535",
                           path);
    else if (json_is_true(send) && address == NULL)
        flowd_messages_add(&report->errors, "%s.collectorAddress: is missing", path);
    else if (json_is_true(send))
        endpoint = json_sprintf(
            strchr(json_string_value(address), ':') != NULL && json_string_value(address)[0] != '['
                ? "[%s]:%d"
                : "%s:%d",
            json_string_value(address), port != NULL ? (int)json_integer_value(port) : 10514);
    if (endpoint != NULL && collectors == NULL) {
        collectors = json_array();
        json_object_set_new(object, "collectors", collectors);
    }
    if (endpoint != NULL && json_array_append(collectors, endpoint) < 0)
        flowd_messages_add(&report->errors, "%s.collectors: wants an array of strings", path);
    json_decref(endpoint);
    json_object_del(object, "sendToCollector");
    json_object_del(object, "collectorAddress");
    json_object_del(object, "collectorPort");
}

#define AT(field) offsetof(struct firefly_config, field)
/* What took the place of flowd-go's own sampling. */
#define ENRICHER_INSTEAD                                                                           \
    "an enricher (\"enrichers\": {\"netlink\": {}}) samples TCP statistics each "                  \
    "enrichers.period, and \"enrich\": true sends them while a flow goes on"

static const struct flowd_option options[] = {
    {.key = "destinationPort",
     .alias = "fireflyDestinationPort",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(destination_port),
     .default_json = "10514",
     .min = 1,
     .max = UINT16_MAX,
     .doc = "UDP port of fireflies to the destination, and of collectors that name none.",
     .reload = true},
    {.key = "sendToDestination",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(send_to_destination),
     .default_json = "true",
     .doc = "Send to the flow's destination address.",
     .reload = true},
    {.key = "collectors",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(collectors),
     .default_json = "[]",
     .doc = "Addresses that get every firefly: \"192.0.2.1:10514\", \"[2001:db8::1]:10514\".",
     .reload = true},
    {.key = "prependSyslog",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(prepend_syslog),
     .default_json = "true",
     .doc = "Put the syslog header before the JSON object.",
     .reload = true},
    {.key = "relay",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(relay),
     .default_json = "true",
     .doc = "Pass fireflies on with all members that their sender put there; without effect as "
            "long as plugins.firefly is not in this version of flowd."},
    {.key = "enrich",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(enrich),
     .default_json = "false",
     .doc = "Send an ongoing firefly with TCP statistics each enrichers.period.",
     .reload = true},
    {.key = "enrichmentMode",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(enrichment_mode),
     .default_json = "\"lean\"",
     .choices = mode_names,
     .doc = "Which TCP statistics stand in fireflies: the most useful, those of flowd 1.1 and "
            "flowd-go "
            "under their names, or (\"\") all.",
     .reload = true},
    {.key = "stun", .type = FLOWD_OPTION_LATER, .doc = "Public addresses of private ones."},
    {.key = "addNetlinkContext",
     .type = FLOWD_OPTION_IGNORED,
     .instead = ENRICHER_INSTEAD,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = "pollNetlink",
     .type = FLOWD_OPTION_IGNORED,
     .instead = ENRICHER_INSTEAD,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = "netlinkPollingInterval",
     .type = FLOWD_OPTION_IGNORED,
     .instead = ENRICHER_INSTEAD,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = "excludeNetworks",
     .type = FLOWD_OPTION_LATER,
     .doc = "Networks between which no fireflies are sent."},
    {.key = NULL},
};

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
    .options = options,
    .config_size = sizeof(struct firefly_config),
    .check = firefly_check,
    .warn = firefly_warn,
    .translate = translate,
    .start = firefly_start,
    .reload = firefly_reload,
    .stop = firefly_stop,
    .status = firefly_status,
    .count = firefly_count,
    .backend = &ops,
};
