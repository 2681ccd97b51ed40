/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd-go's form of an event, as its `POST /flow` took it: numbers for state and protocol, Go's
 * rules for member names (any case; unknown ones are passed over).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "daemon/base/integer.h"
#include "daemon/base/timestamp.h"
#include "daemon/flow/registry.h"
#include "event_json.h"

enum member {
    STATE,
    PROTOCOL,
    FAMILY,
    SRC,
    DST,
    EXPERIMENT,
    ACTIVITY,
    APPLICATION,
    START,
    MEMBERS
};

static const char *const member_names[MEMBERS] = {
    "State", "Protocol", "Family", "Src", "Dst", "Experiment", "Activity", "Application", "StartTs",
};

/* An address with its port. */
struct end {
    struct flowd_address address;
    uint16_t port;
    bool given;
};

struct draft {
    const struct api_event_context *context;
    struct api_item *item;
    struct end src;
    struct end dst;
    int64_t numbers[MEMBERS];
    unsigned seen;
};

static bool is(const struct flowd_json_value *text, const char *name)
{
    return strlen(name) == text->length && strncasecmp(name, text->text, text->length) == 0;
}

static void event_go_refuse(struct draft *draft, enum member member, const char *message)
{
    const char *name = member_names[member];

    api_item_refuse(draft->item, draft->context->reasons, 422, name, strlen(name), "%s: %s", name,
                    message);
}

/* "192.0.2.1:80" or "[2001:db8::1]:80". */
static int parse_end(const char *text, size_t length, struct end *out)
{
    const char *colon = memrchr(text, ':', length);
    size_t host = colon != NULL ? (size_t)(colon - text) : 0;
    uint64_t port;

    if (colon == NULL || flowd_integer_parse(colon + 1, length - host - 1, 1, 65535, &port) != 0)
        return -EINVAL;
    if (text[0] == '[' && host >= 2 && text[host - 1] == ']') {
        text++;
        host -= 2;
    } else if (memchr(text, ':', host) != NULL) {
        return -EINVAL; /* IPv6 without brackets: no telling where the port begins */
    }
    if (flowd_address_parse(text, host, &out->address) != 0)
        return -EINVAL;
    out->port = (uint16_t)port;
    out->given = true;
    return 0;
}

/* {"IP": "192.0.2.1", "Port": 80}; the opening has been read. */
static int read_end_object(struct flowd_json *json, struct draft *draft, enum member member,
                           struct end *out)
{
    struct flowd_json_value name;
    struct flowd_json_value value;
    bool address = false;
    bool first = true;
    int more;

    while ((more = flowd_json_member(json, first, &name)) > 0) {
        first = false;
        if (flowd_json_value(json, &value) != 0)
            return -EBADMSG;
        if (is(&name, "IP")) {
            address = value.kind == FLOWD_JSON_STRING &&
                      flowd_address_parse(value.text, value.length, &out->address) == 0;
            if (!address)
                event_go_refuse(draft, member, "IP is not a numeric address");
        } else if (is(&name, "Port")) {
            if (value.kind == FLOWD_JSON_INTEGER && value.integer >= 1 && value.integer <= 65535)
                out->port = (uint16_t)value.integer;
            else
                event_go_refuse(draft, member, "Port is not in 1-65535");
        }
        if (flowd_json_skip(json, &value) != 0)
            return -EBADMSG;
    }
    if (more == 0 && (!address || out->port == 0))
        event_go_refuse(draft, member, "needs IP and Port");
    out->given = true;
    return more;
}

static int read_end(struct flowd_json *json, struct draft *draft, enum member member,
                    const struct flowd_json_value *value)
{
    struct end *out = member == SRC ? &draft->src : &draft->dst;

    if (value->kind == FLOWD_JSON_OBJECT)
        return read_end_object(json, draft, member, out);
    if (value->kind != FLOWD_JSON_STRING || parse_end(value->text, value->length, out) != 0)
        event_go_refuse(draft, member, "must be {\"IP\", \"Port\"} or \"ip:port\"");
    if (member == SRC)
        draft->item->go.src_text = true;
    else
        draft->item->go.dst_text = true;
    return flowd_json_skip(json, value);
}

/* flowd-go sends Go's zero time, of the year 1, where it has none. */
static void read_start(struct draft *draft, const struct flowd_json_value *value)
{
    static const char zero[] = "0001-01-01T00:00:00Z";
    int64_t start_us;

    if (value->kind == FLOWD_JSON_STRING && is(value, zero))
        return;
    if (value->kind != FLOWD_JSON_STRING ||
        flowd_timestamp_parse(value->text, value->length, &start_us) != 0)
        event_go_refuse(draft, START, "is not an RFC 3339 time");
    else if (start_us > 0 && start_us <= draft->context->now_us)
        draft->item->event.start_us = start_us;
}

static int read_member(struct flowd_json *json, struct draft *draft, enum member member,
                       const struct flowd_json_value *value)
{
    switch (member) {
    case SRC:
    case DST:
        return read_end(json, draft, member, value);
    case APPLICATION:
        if (value->kind != FLOWD_JSON_STRING)
            event_go_refuse(draft, member, "must be a string");
        draft->item->event.application = value->kind == FLOWD_JSON_STRING ? value->text : NULL;
        draft->item->event.application_length =
            value->kind == FLOWD_JSON_STRING ? value->length : 0;
        break;
    case START:
        read_start(draft, value);
        break;
    case MEMBERS:
        break;
    default:
        if (value->kind == FLOWD_JSON_INTEGER)
            draft->numbers[member] = value->integer;
        else
            event_go_refuse(draft, member, "must be an integer");
        break;
    }
    return flowd_json_skip(json, value);
}

static void finish_numbers(struct draft *draft)
{
    static const enum flowd_event_state states[] = {FLOWD_EVENT_START, FLOWD_EVENT_END,
                                                    FLOWD_EVENT_ONGOING};
    struct flowd_event *event = &draft->item->event;
    const int64_t *numbers = draft->numbers;

    if (numbers[STATE] < 2 || numbers[STATE] > 4)
        event_go_refuse(draft, STATE, "must be 2 (start), 3 (end) or 4 (ongoing)");
    else
        event->state = states[numbers[STATE] - 2];
    if (numbers[PROTOCOL] != 0 && numbers[PROTOCOL] != 1)
        event_go_refuse(draft, PROTOCOL, "must be 0 (tcp) or 1 (udp)");
    event->key.protocol = numbers[PROTOCOL] == 1 ? IPPROTO_UDP : IPPROTO_TCP;
    draft->item->go.experiment = (uint32_t)numbers[EXPERIMENT];
    draft->item->go.activity = (uint32_t)numbers[ACTIVITY];
    /* An end is found by its addresses; its tag may be anything, as flowd-go's own example's is. */
    if (event->state == FLOWD_EVENT_END)
        return;
    if (numbers[EXPERIMENT] < 0 || numbers[EXPERIMENT] > FLOWD_EXPERIMENT_MAX)
        event_go_refuse(draft, EXPERIMENT, "is not in 0-1023");
    if (numbers[ACTIVITY] < 0 || numbers[ACTIVITY] > FLOWD_ACTIVITY_MAX)
        event_go_refuse(draft, ACTIVITY, "is not in 0-63");
    event->experiment = (uint16_t)numbers[EXPERIMENT];
    event->activity = (uint8_t)numbers[ACTIVITY];
}

static void event_go_finish(struct draft *draft)
{
    static const enum member needed[] = {STATE, SRC, DST};
    struct flowd_event *event = &draft->item->event;

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if ((draft->seen & 1u << needed[i]) == 0)
            event_go_refuse(draft, needed[i], "is missing");
    finish_numbers(draft);
    if (event->state != FLOWD_EVENT_END && (draft->seen & 1u << EXPERIMENT) == 0)
        event_go_refuse(draft, EXPERIMENT, "is missing");
    if (event->state != FLOWD_EVENT_END && (draft->seen & 1u << ACTIVITY) == 0)
        event_go_refuse(draft, ACTIVITY, "is missing");
    if (draft->item->status != 0)
        return;
    event->key.src_port = draft->src.port;
    event->key.dst_port = draft->dst.port;
    if (flowd_flow_key_set_addresses(&event->key, &draft->src.address, &draft->dst.address) != 0)
        event_go_refuse(draft, DST, "is not of the same family as Src");
    else if ((draft->seen & 1u << FAMILY) != 0 && draft->numbers[FAMILY] != event->key.family)
        event_go_refuse(draft, FAMILY, "is not that of the addresses (2: IPv4, 10: IPv6)");
}

int api_event_read_go(struct flowd_json *json, const struct api_event_context *context,
                      struct api_item *item)
{
    struct draft draft = {.context = context, .item = item};
    struct flowd_json_value value;
    struct flowd_json_value name;
    bool first = true;
    int more = api_event_open(json, context, item);

    if (more <= 0)
        return more;
    while ((more = flowd_json_member(json, first, &name)) > 0) {
        unsigned member = 0;

        first = false;
        while (member < MEMBERS && !is(&name, member_names[member]))
            member++;
        if (member < MEMBERS && (draft.seen & 1u << member) != 0)
            return flowd_json_repeated(json, member_names[member]);
        if (flowd_json_value(json, &value) != 0 ||
            read_member(json, &draft, (enum member)member, &value) != 0)
            return -EBADMSG;
        if (member < MEMBERS)
            draft.seen |= 1u << member;
    }
    if (more == 0)
        event_go_finish(&draft);
    return more;
}
