/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows and events as JSON, in flowd's own form and in flowd-go's, written straight into the
 * answer's text: lists may have many thousands of them.
 */
#include "flow_json.h"

#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/flow/registry.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/tcp/tcp_field.h"
#include "event_json.h"

static void put_address(struct flowd_text *text, uint8_t family, const struct in6_addr *address)
{
    char buffer[FLOWD_ADDRESS_SIZE];
    size_t length = flowd_address_format(family, address, buffer);

    flowd_text_append(text, buffer, length);
}

static void put_time(struct flowd_text *text, int64_t time_us)
{
    char buffer[FLOWD_TIMESTAMP_SIZE];
    size_t length = flowd_timestamp_format(time_us, buffer);

    flowd_text_append(text, buffer, length);
}

/* ,"key":"name", where the registry has one. */
static void put_name(struct flowd_text *text, const char *key, const char *name)
{
    if (name == NULL)
        return;
    flowd_text_puts(text, key);
    flowd_text_json(text, name, strlen(name));
}

/* The members that flows and events have in common. */
static void put_key_and_tag(struct flowd_text *text, const struct flowd_registry *registry,
                            const struct flowd_flow_key *key, uint16_t experiment, uint8_t activity)
{
    flowd_text_puts(text, "\"protocol\":\"");
    flowd_text_puts(text, flowd_protocol_name(key->protocol));
    flowd_text_puts(text, "\",\"src\":\"");
    put_address(text, key->family, &key->src);
    flowd_text_puts(text, "\",\"srcPort\":");
    flowd_text_u64(text, key->src_port);
    flowd_text_puts(text, ",\"dst\":\"");
    put_address(text, key->family, &key->dst);
    flowd_text_puts(text, "\",\"dstPort\":");
    flowd_text_u64(text, key->dst_port);
    flowd_text_puts(text, ",\"experiment\":");
    flowd_text_u64(text, experiment);
    flowd_text_puts(text, ",\"activity\":");
    flowd_text_u64(text, activity);
    flowd_text_puts(text, ",\"scitag\":");
    flowd_text_u64(text, flowd_scitag(experiment, activity));
    put_name(text, ",\"experimentName\":", flowd_registry_experiment_name(registry, experiment));
    put_name(text,
             ",\"activityName\":", flowd_registry_activity_name(registry, experiment, activity));
}

void api_backends_write(struct flowd_text *text, const struct flowd_hub *hub,
                        const struct flowd_flow *flow)
{
    flowd_text_char(text, '{');
    for (unsigned slot = 0; slot < FLOWD_BACKENDS_MAX; slot++) {
        const char *name;
        const char *status = flowd_hub_backend_status(hub, flow, slot, &name, NULL);

        if (status == NULL)
            break;
        flowd_text_puts(text, slot > 0 ? ",\"" : "\"");
        flowd_text_puts(text, name);
        flowd_text_puts(text, "\":\"");
        flowd_text_puts(text, status);
        flowd_text_char(text, '"');
    }
    flowd_text_char(text, '}');
}

const char *api_failed_backend(const struct flowd_hub *hub, const struct flowd_flow *flow,
                               const char **status)
{
    for (unsigned slot = 0; slot < FLOWD_BACKENDS_MAX; slot++) {
        const char *name;
        bool failed = false;

        *status = flowd_hub_backend_status(hub, flow, slot, &name, &failed);
        if (*status == NULL)
            break;
        if (failed)
            return name;
    }
    return NULL;
}

void api_flow_write(struct flowd_text *text, const struct flowd_context *context,
                    const struct flowd_flow *flow, bool open)
{
    char id[FLOWD_FLOW_ID_SIZE];

    flowd_flow_id_format(flow->id, id);
    flowd_text_puts(text, "{\"id\":\"");
    flowd_text_append(text, id, FLOWD_FLOW_ID_SIZE - 1);
    flowd_text_puts(text, flow->state == FLOWD_FLOW_LIVE ? "\",\"state\":\"live\","
                                                         : "\",\"state\":\"ended\",");
    put_key_and_tag(text, context->registry, &flow->key, flow->experiment, flow->activity);
    flowd_text_puts(text, ",\"application\":");
    flowd_text_json(text, flow->application, strnlen(flow->application, FLOWD_APPLICATION_SIZE));
    flowd_text_puts(text, ",\"startTime\":\"");
    put_time(text, flow->start_us);
    if (flow->state != FLOWD_FLOW_LIVE && flow->end_us != 0) {
        flowd_text_puts(text, "\",\"endTime\":\"");
        put_time(text, flow->end_us);
    }
    flowd_text_puts(text, "\",\"plugin\":\"");
    flowd_text_append(text, flow->source, strnlen(flow->source, FLOWD_SOURCE_SIZE));
    flowd_text_puts(text, "\",\"backends\":");
    api_backends_write(text, context->hub, flow);
    if (!open)
        flowd_text_char(text, '}');
}

static void put_sample(struct flowd_text *text, const struct flowd_tcp_sample *sample)
{
    struct flowd_tcp_usage usage;

    flowd_text_puts(text, ",\"sample\":");
    if (flowd_tcp_sample_write(text, sample, FLOWD_TCP_ALL, SIZE_MAX, false) == 0 ||
        flowd_text_failed(text))
        return;
    /* More members, in the place of the closing brace. */
    text->length--;
    if (flowd_tcp_sample_usage(sample, &usage)) {
        flowd_text_puts(text, ",\"usage\":{\"received\":");
        flowd_text_u64(text, usage.received);
        flowd_text_puts(text, ",\"sent\":");
        flowd_text_u64(text, usage.sent);
        flowd_text_char(text, '}');
    }
    flowd_text_puts(text, ",\"time\":\"");
    put_time(text, sample->taken_us);
    flowd_text_puts(text, "\"}");
}

void api_flow_write_sampled(struct flowd_text *text, const struct flowd_context *context,
                            const struct flowd_flow *flow)
{
    const struct flowd_tcp_sample *sample = flowd_hub_sample_of(context->hub, flow);

    api_flow_write(text, context, flow, true);
    if (sample != NULL)
        put_sample(text, sample);
    flowd_text_char(text, '}');
}

void api_event_write(struct flowd_text *text, const struct flowd_context *context,
                     const struct flowd_event *event, bool open)
{
    flowd_text_puts(text, "{\"state\":\"unknown\",");
    put_key_and_tag(text, context->registry, &event->key, event->experiment, event->activity);
    if (!open)
        flowd_text_char(text, '}');
}

static void put_end_go(struct flowd_text *text, const char *name, bool as_text, uint8_t family,
                       const struct in6_addr *address, uint16_t port)
{
    bool bracketed = as_text && family == AF_INET6;

    flowd_text_puts(text, ",\"");
    flowd_text_puts(text, name);
    flowd_text_puts(text, as_text ? "\":\"" : "\":{\"IP\":\"");
    flowd_text_puts(text, bracketed ? "[" : "");
    put_address(text, family, address);
    flowd_text_puts(text, bracketed ? "]:" : as_text ? ":" : "\",\"Port\":");
    flowd_text_u64(text, port);
    flowd_text_char(text, as_text ? '"' : '}');
}

static void put_member_go(struct flowd_text *text, const char *name, int64_t time_us)
{
    flowd_text_puts(text, ",\"");
    flowd_text_puts(text, name);
    flowd_text_puts(text, "\":\"");
    if (time_us != 0)
        put_time(text, time_us);
    else
        flowd_text_puts(text, "0001-01-01T00:00:00Z"); /* Go's zero time */
    flowd_text_char(text, '"');
}

void api_item_write_go(struct flowd_text *text, const struct api_item *item)
{
    const struct flowd_event *event = &item->event;
    const struct flowd_flow_key *key = &event->key;
    const struct flowd_flow *flow = item->flow;

    flowd_text_printf(text, "{\"State\":%d,\"Protocol\":%d,\"Family\":%d",
                      event->state == FLOWD_EVENT_START ? 2
                      : event->state == FLOWD_EVENT_END ? 3
                                                        : 4,
                      key->protocol == IPPROTO_UDP ? 1 : 0, (int)key->family);
    put_end_go(text, "Src", item->go.src_text, key->family, &key->src, key->src_port);
    put_end_go(text, "Dst", item->go.dst_text, key->family, &key->dst, key->dst_port);
    flowd_text_printf(text, ",\"Experiment\":%u,\"Activity\":%u",
                      flow != NULL ? flow->experiment : item->go.experiment,
                      flow != NULL ? flow->activity : item->go.activity);
    put_member_go(text, "StartTs", flow != NULL ? flow->start_us : event->start_us);
    if (event->state == FLOWD_EVENT_END)
        put_member_go(text, "EndTs", flow != NULL ? flow->end_us : 0);
    flowd_text_char(text, '}');
}
