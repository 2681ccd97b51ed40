/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firefly plugin: takes flow events that others send as fireflies, by UDP. It never answers:
 * a datagram that is none is counted, and told in the log.
 */
#include "firefly.h"

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "judge.h"
#include "listener.h"
#include "receivers.h"
#include "senders.h"

/* Clocks of two hosts differ a little; a flow that began further ahead begins now. */
#define FUTURE_MAX_US (60 * INT64_C(1000000))
#define SHOWN_MAX 100

extern const struct flowd_module flowd_plugin_firefly;

struct firefly_config {
    char *address;
    int64_t port;
    int64_t sender_rate;
    struct flowd_strings receivers; /* for the backend that relays */
};

struct firefly {
    const struct flowd_context *context;
    const struct firefly_config *config;
    struct flowd_source *source;
    struct flowd_firefly_recent *recent; /* owned; the hub borrows it */
    struct firefly_listener listener;
    struct firefly_senders senders;
    struct firefly_counts counts;
    struct flowd_log_limit bad;
    struct flowd_log_limit refused;
};

static void address_of(const struct sockaddr_storage *sender, struct flowd_address *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)sender;

    if (sender->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        *address = (struct flowd_address){.addr = six->sin6_addr, .family = AF_INET6};
        return;
    }
    *address = (struct flowd_address){.family = AF_INET};
    if (sender->ss_family == AF_INET6)
        memcpy(&address->addr, &six->sin6_addr.s6_addr[12], 4);
    else
        memcpy(&address->addr, &((const struct sockaddr_in *)sender)->sin_addr, 4);
}

/* Puts a line about a datagram into the log, within the limit. */
static void tell(struct flowd_log_limit *limit, const struct firefly_sender *sender,
                 const char *what, const char *datagram, size_t length)
{
    int shown = length > SHOWN_MAX ? SHOWN_MAX : (int)length;
    char address[FLOWD_ADDRESS_SIZE];

    flowd_address_format(sender->address.family, &sender->address.addr, address);
    flowd_log_limited(limit, FLOWD_LOG_WARNING, "firefly", "%s; from %s: %.*s%s", what, address,
                      shown, datagram, length > SHOWN_MAX ? "..." : "");
}

static void reject(struct firefly *firefly, struct firefly_sender *sender,
                   enum flowd_firefly_reject why, const char *datagram, size_t length)
{
    struct flowd_error what;

    firefly->counts.rejected[why]++;
    firefly->source->malformed++;
    sender->rejected++;
    (void)flowd_fail(&what, EBADMSG, "no firefly: %s", flowd_firefly_reject_names[why]);
    tell(&firefly->bad, sender, what.message, datagram, length);
}

/* Counts what is no news. Returns whether it is. */
static bool is_news(struct firefly *firefly, const struct flowd_firefly_message *message)
{
    switch (
        firefly_judge(message, firefly->context->hub, firefly->recent, flowd_timestamp_boot_us())) {
    case FIREFLY_OWN:
        firefly->counts.own++;
        return false;
    case FIREFLY_AGAIN:
        firefly->counts.again++;
        return false;
    case FIREFLY_LATE:
        firefly->counts.late++;
        return false;
    case FIREFLY_NEWS:
        break;
    }
    return true;
}

static void submit(struct firefly *firefly, struct firefly_sender *sender,
                   struct flowd_firefly_message *message)
{
    struct flowd_error err;

    if (message->event.start_us > flowd_timestamp_now_us() + FUTURE_MAX_US)
        message->event.start_us = 0;
    message->event.message = message;
    if (flowd_hub_submit(firefly->context->hub, firefly->source, &message->event, NULL, &err) < 0)
        tell(&firefly->refused, sender, err.message, message->text, message->length);
}

static void take(void *context, const struct sockaddr_storage *from, const char *datagram,
                 size_t length)
{
    struct firefly *firefly = context;
    struct flowd_firefly_message message;
    enum flowd_firefly_reject why;
    struct flowd_address address;
    struct firefly_sender *sender;

    address_of(from, &address);
    sender = firefly_senders_heard(&firefly->senders, &address);
    firefly->counts.received++;
    if (firefly->config->sender_rate > 0 &&
        !firefly_sender_may(sender, (double)firefly->config->sender_rate,
                            ev_now(firefly->context->loop))) {
        firefly->counts.limited++;
        return;
    }
    if (flowd_firefly_decode(datagram, length, &message, &why) < 0)
        reject(firefly, sender, why, datagram, length);
    else if (is_news(firefly, &message))
        submit(firefly, sender, &message);
}

static void firefly_free(struct firefly *firefly)
{
    firefly_senders_fini(&firefly->senders);
    flowd_firefly_recent_free(firefly->recent);
    free(firefly);
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
    firefly->listener =
        (struct firefly_listener){.loop = context->loop, .take = take, .context = firefly};
    firefly->source = flowd_hub_source(context->hub, FLOWD_FIREFLY_SOURCE);
    result = firefly_senders_init(&firefly->senders);
    if (result == 0)
        result = flowd_firefly_recent_new(&firefly->recent);
    if (result == 0 && firefly->source == NULL)
        result = -ENOMEM;
    if (result < 0)
        result = flowd_fail_errno(err, -result, "firefly");
    else
        result =
            firefly_listener_open(&firefly->listener, context->listen_fds, firefly->config->address,
                                  (uint16_t)firefly->config->port, err);
    if (result < 0) {
        firefly_free(firefly);
        return result;
    }
    flowd_hub_set_recent(context->hub, firefly->recent);
    for (size_t i = 0; i < firefly->listener.count; i++)
        flowd_info("firefly", "listening for fireflies on %s", firefly->listener.sockets[i].text);
    *instance = firefly;
    return 0;
}

static int firefly_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct firefly *firefly = instance;

    (void)err;
    firefly->config = config;
    return 0;
}

static void firefly_stop(void *instance)
{
    struct firefly *firefly = instance;

    firefly_listener_close(&firefly->listener);
    flowd_hub_set_recent(firefly->context->hub, NULL);
    firefly_free(firefly);
}

static void firefly_status(const void *instance, json_t *object)
{
    const struct firefly *firefly = instance;
    json_t *sockets = json_array();

    for (size_t i = 0; i < firefly->listener.count; i++)
        json_array_append_new(sockets, json_string(firefly->listener.sockets[i].text));
    json_object_set_new(object, "listening", sockets);
    json_object_set_new(object, "senders", firefly_senders_json(&firefly->senders));
}

static void firefly_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct firefly *firefly = instance;
    struct firefly_counts counts = firefly->counts;

    counts.dropped = firefly_listener_drops(&firefly->listener);
    counts.senders = firefly->senders.count;
    firefly_counts_put(&counts, sink);
}

static void firefly_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct firefly_config *firefly = config;
    struct flowd_address address;

    if (flowd_address_parse(firefly->address, strlen(firefly->address), &address) < 0)
        flowd_messages_add(errors, "%s.bindAddress: \"%s\" is no numeric IPv4 or IPv6 address",
                           path, firefly->address);
}

#define IGNORED "Accepted from flowd-go, no effect."

static void firefly_share(void *config, const char *path, struct flowd_shared *shared,
                          struct flowd_messages *errors)
{
    const struct firefly_config *firefly = config;

    (void)path;
    (void)errors;
    shared->firefly_receivers = &firefly->receivers;
}

static const struct flowd_option options[] = {
    {.key = "bindAddress",
     .type = FLOWD_OPTION_STRING,
     .offset = offsetof(struct firefly_config, address),
     .default_json = "\"127.0.0.1\"",
     .doc = "Where to listen for fireflies; \"::\" listens on both families."},
    {.key = "bindPort",
     .type = FLOWD_OPTION_INTEGER,
     .offset = offsetof(struct firefly_config, port),
     .default_json = "10514",
     .min = 1,
     .max = UINT16_MAX,
     .doc = "UDP port to listen on."},
    {.key = "senderRate",
     .type = FLOWD_OPTION_INTEGER,
     .offset = offsetof(struct firefly_config, sender_rate),
     .default_json = "0",
     .min = 0,
     .max = 1000000,
     .unit = "fireflies/s",
     .doc = "Most fireflies that are taken of one sender (address); 0: no limit.",
     .reload = true},
    {.key = "fireflyReceivers",
     .type = FLOWD_OPTION_STRINGS,
     .offset = offsetof(struct firefly_config, receivers),
     .default_json = "[]",
     .section = firefly_receiver_options,
     .doc = "More collectors, which get what backends.firefly relays and nothing else.",
     .reload = true},
    {.key = "bufferSize", .type = FLOWD_OPTION_IGNORED, .doc = IGNORED},
    {.key = "deadline", .type = FLOWD_OPTION_IGNORED, .doc = IGNORED},
    {.key = "hasSyslogHeader",
     .type = FLOWD_OPTION_IGNORED,
     .doc = "Accepted from flowd-go, no effect: fireflies are taken with and without a header."},
    {.key = NULL},
};

const struct flowd_module flowd_plugin_firefly = {
    .kind = FLOWD_PLUGIN,
    .name = FLOWD_FIREFLY_SOURCE,
    .alias = "fireflyp",
    .summary = "takes flow events that come as fireflies, by UDP",
    .options = options,
    .config_size = sizeof(struct firefly_config),
    .translate = firefly_receivers_translate,
    .check = firefly_check,
    .share = firefly_share,
    .start = firefly_start,
    .reload = firefly_reload,
    .stop = firefly_stop,
    .status = firefly_status,
    .count = firefly_count,
};
