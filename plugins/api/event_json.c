/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd's form of an event: every member checked for its type and range, unknown and repeated
 * members refused by name. The first thing that is wrong with an event is what its refusal says.
 */
#include "event_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/flow/registry.h"
#include "daemon/options/option.h"

/* Clocks of two hosts differ a little; a start further ahead is a mistake. */
#define FUTURE_MAX_US (60 * INT64_C(1000000))

enum field {
    STATE,
    PROTOCOL,
    SRC,
    SRC_PORT,
    DST,
    DST_PORT,
    EXPERIMENT,
    ACTIVITY,
    SCITAG,
    APPLICATION,
    START_TIME,
    FIELDS,
};

#define NAME(literal) (literal), sizeof(literal) - 1
static const struct {
    const char *name;
    size_t length;
} fields[FIELDS] = {
    [STATE] = {NAME("state")},
    [PROTOCOL] = {NAME("protocol")},
    [SRC] = {NAME("src")},
    [SRC_PORT] = {NAME("srcPort")},
    [DST] = {NAME("dst")},
    [DST_PORT] = {NAME("dstPort")},
    [EXPERIMENT] = {NAME("experiment")},
    [ACTIVITY] = {NAME("activity")},
    [SCITAG] = {NAME("scitag")},
    [APPLICATION] = {NAME("application")},
    [START_TIME] = {NAME("startTime")},
};

/* An event while its members come in. */
struct draft {
    const struct api_event_context *context;
    struct api_item *item;
    unsigned seen; /* bit per enum field */
    struct flowd_address src;
    struct flowd_address dst;
    /* Names can be looked up only when both are there. */
    struct flowd_json_value experiment;
    struct flowd_json_value activity;
    int64_t scitag;
};

void api_item_refuse(struct api_item *item, struct flowd_text *reasons, int status,
                     const char *field, size_t field_length, const char *format, ...)
{
    char detail[512];
    va_list arguments;
    int length;

    if (item->status != 0)
        return;
    va_start(arguments, format);
    length = vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    if (length < 0)
        length = 0;
    if ((size_t)length >= sizeof(detail))
        length = (int)sizeof(detail) - 1;
    item->status = (int16_t)status;
    item->field = (struct api_reason){(uint32_t)reasons->length, (uint32_t)field_length};
    flowd_text_append(reasons, field, field_length);
    item->detail = (struct api_reason){(uint32_t)reasons->length, (uint32_t)length};
    flowd_text_append(reasons, detail, (size_t)length);
}

void api_item_refuse_error(struct api_item *item, struct flowd_text *reasons, int status,
                           const struct flowd_error *err)
{
    const char *field = err->field != NULL ? err->field : "";

    api_item_refuse(item, reasons, status, field, strlen(field), "%s", err->message);
}

static void event_json_refuse(struct draft *draft, enum field field, const char *message)
{
    const char *name = fields[field].name;

    api_item_refuse(draft->item, draft->context->reasons, 422, name, fields[field].length, "%s: %s",
                    name, message);
}

/* Looks from likely on: who writes events writes their members in one order, often in this one. */
static enum field find_field(const struct flowd_json_value *name, unsigned likely)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        unsigned field = (likely + i) % FIELDS;

        if (fields[field].length == name->length &&
            memcmp(fields[field].name, name->text, name->length) == 0)
            return (enum field)field;
    }
    return FIELDS;
}

static bool is_kind(struct draft *draft, enum field field, const struct flowd_json_value *value,
                    enum flowd_json_kind kind)
{
    char message[64];

    if (value->kind == kind)
        return true;
    snprintf(message, sizeof(message), "must be %s, is %s", flowd_json_kind_names[kind],
             flowd_json_kind_names[value->kind]);
    event_json_refuse(draft, field, message);
    return false;
}

static void read_address(struct draft *draft, enum field field,
                         const struct flowd_json_value *value, struct flowd_address *out)
{
    char message[128];

    if (!is_kind(draft, field, value, FLOWD_JSON_STRING))
        return;
    if (flowd_address_parse(value->text, value->length, out) == 0)
        return;
    snprintf(message, sizeof(message), "\"%.*s\" is not a numeric IPv4 or IPv6 address",
             api_shown(value->length), value->text);
    event_json_refuse(draft, field, message);
}

static void read_port(struct draft *draft, enum field field, const struct flowd_json_value *value,
                      uint16_t *out)
{
    char message[64];

    if (!is_kind(draft, field, value, FLOWD_JSON_INTEGER))
        return;
    if (value->integer >= 1 && value->integer <= UINT16_MAX) {
        *out = (uint16_t)value->integer;
        return;
    }
    snprintf(message, sizeof(message), "%" PRId64 " is not in 1-65535", value->integer);
    event_json_refuse(draft, field, message);
}

static void read_tag_part(struct draft *draft, enum field field,
                          const struct flowd_json_value *value, struct flowd_json_value *out)
{
    char message[64];

    if (value->kind == FLOWD_JSON_STRING || value->kind == FLOWD_JSON_INTEGER) {
        *out = *value;
        return;
    }
    snprintf(message, sizeof(message), "must be an integer or a registry name, is %s",
             flowd_json_kind_names[value->kind]);
    event_json_refuse(draft, field, message);
}

static void read_scitag(struct draft *draft, const struct flowd_json_value *value)
{
    char message[64];

    if (!is_kind(draft, SCITAG, value, FLOWD_JSON_INTEGER))
        return;
    draft->scitag = value->integer;
    if (value->integer >= FLOWD_SCITAG_MIN && value->integer <= FLOWD_SCITAG_MAX)
        return;
    snprintf(message, sizeof(message), "%" PRId64 " is not in %d-%d", value->integer,
             FLOWD_SCITAG_MIN, FLOWD_SCITAG_MAX);
    event_json_refuse(draft, SCITAG, message);
}

static void read_start_time(struct draft *draft, const struct flowd_json_value *value)
{
    char message[128];
    int64_t start_us;

    if (!is_kind(draft, START_TIME, value, FLOWD_JSON_STRING))
        return;
    if (flowd_timestamp_parse(value->text, value->length, &start_us) != 0) {
        snprintf(message, sizeof(message), "\"%.*s\" is not an RFC 3339 time",
                 api_shown(value->length), value->text);
        event_json_refuse(draft, START_TIME, message);
    } else if (start_us <= 0) {
        event_json_refuse(draft, START_TIME, "is before 1970");
    } else if (start_us > draft->context->now_us + FUTURE_MAX_US) {
        event_json_refuse(draft, START_TIME, "is more than 60 s in the future");
    } else {
        draft->item->event.start_us = start_us;
    }
}

static void read_word(struct draft *draft, enum field field, const struct flowd_json_value *value)
{
    struct flowd_event *event = &draft->item->event;

    if (!is_kind(draft, field, value, FLOWD_JSON_STRING))
        return;
    if (field == STATE && flowd_event_state_parse(value->text, value->length, &event->state) != 0)
        event_json_refuse(draft, field, "must be \"start\", \"end\" or \"ongoing\"");
    if (field == PROTOCOL &&
        flowd_protocol_parse(value->text, value->length, &event->key.protocol) != 0)
        event_json_refuse(draft, field, "must be \"tcp\" or \"udp\"");
    if (field == APPLICATION) {
        event->application = value->text;
        event->application_length = value->length;
    }
}

static void read_field(struct draft *draft, enum field field, const struct flowd_json_value *value)
{
    struct flowd_flow_key *key = &draft->item->event.key;

    switch (field) {
    case SRC:
        read_address(draft, field, value, &draft->src);
        break;
    case DST:
        read_address(draft, field, value, &draft->dst);
        break;
    case SRC_PORT:
        read_port(draft, field, value, &key->src_port);
        break;
    case DST_PORT:
        read_port(draft, field, value, &key->dst_port);
        break;
    case EXPERIMENT:
        read_tag_part(draft, field, value, &draft->experiment);
        break;
    case ACTIVITY:
        read_tag_part(draft, field, value, &draft->activity);
        break;
    case SCITAG:
        read_scitag(draft, value);
        break;
    case START_TIME:
        read_start_time(draft, value);
        break;
    default:
        read_word(draft, field, value);
        break;
    }
}

static void refuse_unknown(struct draft *draft, const struct flowd_json_value *name)
{
    struct flowd_text *reasons = draft->context->reasons;
    const char *names[FIELDS + 1] = {NULL};
    const char *nearest;
    char word[65];

    for (int i = 0; i < FIELDS; i++)
        names[i] = fields[i].name;
    snprintf(word, sizeof(word), "%.*s", api_shown(name->length), name->text);
    nearest = flowd_option_nearest(word, names);
    if (nearest != NULL)
        api_item_refuse(draft->item, reasons, 422, word, strlen(word),
                        "\"%s\" is not a field of an event; did you mean \"%s\"?", word, nearest);
    else
        api_item_refuse(draft->item, reasons, 422, word, strlen(word),
                        "\"%s\" is not a field of an event", word);
}

/* Experiment and activity by number or name, from text such as the registry reads it. */
static int read_tag(struct draft *draft, struct flowd_error *err)
{
    const struct flowd_registry *registry = draft->context->registry;
    struct flowd_event *event = &draft->item->event;
    const struct flowd_json_value *experiment = &draft->experiment;
    const struct flowd_json_value *activity = &draft->activity;
    int result;

    if (experiment->kind == FLOWD_JSON_INTEGER && experiment->integer < 0)
        return flowd_fail_field(err, ERANGE, "experiment", "%" PRId64 " is not in 0-%d",
                                experiment->integer, FLOWD_EXPERIMENT_MAX);
    if (activity->kind == FLOWD_JSON_INTEGER && activity->integer < 0)
        return flowd_fail_field(err, ERANGE, "activity", "%" PRId64 " is not in 0-%d",
                                activity->integer, FLOWD_ACTIVITY_MAX);
    if (experiment->kind == FLOWD_JSON_INTEGER && experiment->integer <= FLOWD_EXPERIMENT_MAX)
        event->experiment = (uint16_t)experiment->integer;
    else if ((result = flowd_registry_read_experiment(
                  registry, experiment->text, experiment->length, &event->experiment, err)) != 0)
        return result;
    if (activity->kind == FLOWD_JSON_INTEGER && activity->integer <= FLOWD_ACTIVITY_MAX) {
        event->activity = (uint8_t)activity->integer;
        return 0;
    }
    return flowd_registry_read_activity(registry, event->experiment, activity->text,
                                        activity->length, &event->activity, err);
}

static void finish_tag(struct draft *draft)
{
    struct flowd_event *event = &draft->item->event;
    unsigned parts = draft->seen & (1u << EXPERIMENT | 1u << ACTIVITY);
    struct flowd_error err;

    if ((draft->seen & 1u << SCITAG) && parts == 0) {
        event->experiment = (uint16_t)((uint64_t)draft->scitag / 64u);
        event->activity = (uint8_t)((uint64_t)draft->scitag % 64u);
        return;
    }
    /* The end of a flow is found by its addresses. */
    if (event->state == FLOWD_EVENT_END && parts == 0)
        return;
    if ((parts & 1u << EXPERIMENT) == 0)
        event_json_refuse(draft, EXPERIMENT, "is missing");
    else if ((parts & 1u << ACTIVITY) == 0)
        event_json_refuse(draft, ACTIVITY, "is missing");
    else if (read_tag(draft, &err) != 0)
        api_item_refuse_error(draft->item, draft->context->reasons, 422, &err);
    else if ((draft->seen & 1u << SCITAG) &&
             draft->scitag != (int64_t)flowd_scitag(event->experiment, event->activity))
        event_json_refuse(draft, SCITAG, "is not that of experiment and activity");
}

static void event_json_finish(struct draft *draft)
{
    static const enum field needed[] = {PROTOCOL, SRC, SRC_PORT, DST, DST_PORT};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if ((draft->seen & 1u << needed[i]) == 0)
            event_json_refuse(draft, needed[i], "is missing");
    if (draft->item->status != 0)
        return;
    if (flowd_flow_key_set_addresses(&draft->item->event.key, &draft->src, &draft->dst) != 0)
        event_json_refuse(draft, DST, "is not of the same family as src");
    else
        finish_tag(draft);
}

int api_event_open(struct flowd_json *json, const struct api_event_context *context,
                   struct api_item *item)
{
    struct flowd_json_value value;

    *item = (struct api_item){.event = {.state = FLOWD_EVENT_START}};
    if (flowd_json_value(json, &value) != 0)
        return -EBADMSG;
    if (value.kind == FLOWD_JSON_OBJECT)
        return 1;
    api_item_refuse(item, context->reasons, 422, "", 0, "an event must be an object, is %s",
                    flowd_json_kind_names[value.kind]);
    return flowd_json_skip(json, &value);
}

int api_event_read(struct flowd_json *json, const struct api_event_context *context,
                   struct api_item *item)
{
    struct draft draft = {.context = context, .item = item};
    struct flowd_json_value value;
    struct flowd_json_value name;
    unsigned likely = 0;
    bool first = true;
    int more = api_event_open(json, context, item);

    if (more <= 0)
        return more;
    while ((more = flowd_json_member(json, first, &name)) > 0) {
        enum field field = find_field(&name, likely);

        first = false;
        if (field != FIELDS && (draft.seen & 1u << field) != 0)
            return flowd_json_repeated(json, fields[field].name);
        if (flowd_json_value(json, &value) != 0)
            return -EBADMSG;
        if (field == FIELDS) {
            refuse_unknown(&draft, &name);
        } else {
            read_field(&draft, field, &value);
            draft.seen |= 1u << field;
            likely = field + 1;
        }
        if (flowd_json_skip(json, &value) != 0)
            return -EBADMSG;
    }
    if (more == 0)
        event_json_finish(&draft);
    return more;
}
