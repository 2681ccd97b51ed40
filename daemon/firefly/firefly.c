/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes fireflies. Members stand in the order in which flowd 1.x wrote them, for collectors that
 * match text.
 */
#include "daemon/firefly/firefly.h"

#include <string.h>
#include <unistd.h>

#include "daemon/base/timestamp.h"
#include "daemon/tcp/tcp_field.h"

#define PUTS(text, literal) flowd_text_append(text, literal, sizeof(literal) - 1)

/* Facility local0, severity informational. */
#define PRIORITY "<134>1 "

static void put_time(struct flowd_text *text, int64_t realtime_us)
{
    char timestamp[FLOWD_TIMESTAMP_SIZE];

    flowd_text_append(text, timestamp, flowd_timestamp_format(realtime_us, timestamp));
}

static void put_lifecycle(struct flowd_text *text, const struct flowd_flow *flow,
                          enum flowd_event_state state, const char *now)
{
    PUTS(text, "\"flow-lifecycle\": {\"state\": \"");
    flowd_text_puts(text, flowd_event_state_names[state]);
    PUTS(text, "\", \"current-time\": \"");
    flowd_text_append(text, now, FLOWD_TIMESTAMP_SIZE - 1);
    PUTS(text, "\", \"start-time\": \"");
    put_time(text, flow->start_us);
    if (state == FLOWD_EVENT_END) {
        PUTS(text, "\", \"end-time\": \"");
        put_time(text, flow->end_us);
    }
    PUTS(text, "\"}");
}

static void put_flow_id(struct flowd_text *text, const struct flowd_flow_key *key)
{
    char address[FLOWD_ADDRESS_SIZE];

    if (key->family == AF_INET)
        PUTS(text, "\"flow-id\": {\"afi\": \"ipv4\", \"src-ip\": \"");
    else
        PUTS(text, "\"flow-id\": {\"afi\": \"ipv6\", \"src-ip\": \"");
    flowd_text_append(text, address, flowd_address_format(key->family, &key->src, address));
    PUTS(text, "\", \"dst-ip\": \"");
    flowd_text_append(text, address, flowd_address_format(key->family, &key->dst, address));
    PUTS(text, "\", \"protocol\": \"");
    flowd_text_puts(text, flowd_protocol_name(key->protocol));
    PUTS(text, "\", \"src-port\": ");
    flowd_text_u64(text, key->src_port);
    PUTS(text, ", \"dst-port\": ");
    flowd_text_u64(text, key->dst_port);
    PUTS(text, "}");
}

static void put_context(struct flowd_text *text, const struct flowd_flow *flow)
{
    PUTS(text, "\"context\": {\"experiment-id\": ");
    flowd_text_u64(text, flow->experiment);
    PUTS(text, ", \"activity-id\": ");
    flowd_text_u64(text, flow->activity);
    PUTS(text, ", \"application\": ");
    if (flow->application[0] != '\0')
        flowd_text_json(text, flow->application,
                        strnlen(flow->application, FLOWD_APPLICATION_SIZE));
    else
        PUTS(text, "\"flowd v" FLOWD_VERSION "\"");
    PUTS(text, "}");
}

/* The members behind the context, of a firefly that began at start. */
static void put_statistics(struct flowd_text *text, size_t start,
                           const struct flowd_firefly_statistics *statistics)
{
    const struct flowd_tcp_sample *sample = statistics->sample;
    struct flowd_tcp_usage usage;
    size_t used;

    if (flowd_tcp_sample_usage(sample, &usage)) {
        PUTS(text, ", \"usage\": {\"received\": ");
        flowd_text_u64(text, usage.received);
        PUTS(text, ", \"sent\": ");
        flowd_text_u64(text, usage.sent);
        PUTS(text, "}");
    }
    PUTS(text, ", \"netlink\": ");
    /* One more is the brace that closes the firefly. */
    used = text->length - start + 1;
    (void)flowd_tcp_sample_write(text, sample, statistics->set,
                                 used < statistics->size_max ? statistics->size_max - used : 0,
                                 true);
}

static void put_header(struct flowd_text *text, const char *hostname, const char *now)
{
    PUTS(text, PRIORITY);
    flowd_text_append(text, now, FLOWD_TIMESTAMP_SIZE - 1);
    PUTS(text, " ");
    flowd_text_puts(text, hostname);
    PUTS(text, " flowd - firefly-json - ");
}

void flowd_firefly_put_header(struct flowd_text *text, const char *hostname, int64_t now_us)
{
    char now[FLOWD_TIMESTAMP_SIZE];

    flowd_timestamp_format(now_us, now);
    put_header(text, hostname, now);
}

void flowd_firefly_encode(struct flowd_text *text, const struct flowd_firefly_header *header,
                          const struct flowd_flow *flow, enum flowd_event_state state,
                          const struct flowd_firefly_statistics *statistics, int64_t now_us)
{
    size_t start = text->length;
    char now[FLOWD_TIMESTAMP_SIZE];

    flowd_timestamp_format(now_us, now);
    if (header->syslog)
        put_header(text, header->hostname, now);
    PUTS(text, "{\"version\": 1, ");
    put_lifecycle(text, flow, state, now);
    PUTS(text, ", ");
    put_flow_id(text, &flow->key);
    PUTS(text, ", ");
    put_context(text, flow);
    if (statistics != NULL)
        put_statistics(text, start, statistics);
    PUTS(text, "}");
}

void flowd_firefly_hostname(char *buffer, size_t size)
{
    if (gethostname(buffer, size) < 0)
        buffer[0] = '\0';
    buffer[size - 1] = '\0';
    for (char *c = buffer; *c != '\0'; c++)
        if (*c <= ' ' || *c >= 0x7f)
            *c = '_';
    if (buffer[0] == '\0' && size > 1)
        memcpy(buffer, "-", 2);
}
