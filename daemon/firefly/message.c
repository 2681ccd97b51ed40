/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the object of a firefly in one pass. Each member that means something is a row of its
 * object's table, which says what reads it; all others are passed over, whatever they hold.
 */
#include "daemon/firefly/message.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/json_reader.h"
#include "daemon/base/text.h"
#include "daemon/base/timestamp.h"
#include "daemon/firefly/syslog_header.h"

/* A name or word with escapes is decoded up to this length; none that means something is longer. */
#define WORD_MAX 64

const char *const flowd_firefly_reject_names[FLOWD_FIREFLY_REJECTS] = {
    "header", "json",     "type",    "repeated", "missing", "version",    "state",
    "time",   "protocol", "address", "family",   "port",    "experiment", "activity"};

/* The members that are read; a bit each in decoder->seen. */
enum member {
    VERSION,
    LIFECYCLE,
    FLOW_ID,
    CONTEXT,
    USAGE,
    NETLINK,
    STATE,
    CURRENT_TIME,
    START_TIME,
    END_TIME,
    AFI,
    SRC_IP,
    DST_IP,
    PROTOCOL,
    SRC_PORT,
    DST_PORT,
    EXPERIMENT,
    ACTIVITY,
    APPLICATION,
};
#define BIT(member) (1u << (member))
/* Without these there is no event. */
#define NEEDED                                                                                     \
    (BIT(STATE) | BIT(AFI) | BIT(SRC_IP) | BIT(DST_IP) | BIT(PROTOCOL) | BIT(SRC_PORT) |           \
     BIT(DST_PORT) | BIT(EXPERIMENT) | BIT(ACTIVITY))

struct decoder {
    struct flowd_json json;
    struct flowd_firefly_message *message;
    enum flowd_firefly_reject why;
    unsigned seen;
    struct flowd_address src;
    struct flowd_address dst;
    uint8_t afi; /* AF_INET or AF_INET6 */
    bool mapped; /* an address was IPv4 in the form of IPv6 */
};

/* Reads a value, which is of the row's kind; of an object its opening. */
typedef int read_value(struct decoder *decoder, enum member member,
                       const struct flowd_json_value *value);

struct row {
    const char *name;
    size_t length;
    enum member member;
    enum flowd_json_kind kind;
    read_value *read; /* NULL: it is only noted that the member is there */
};
#define NAME(literal) (literal), sizeof(literal) - 1

static int reject(struct decoder *decoder, enum flowd_firefly_reject why)
{
    decoder->why = why;
    return -EBADMSG;
}

/* A string as it is meant. buffer is for one with escapes; one that is too long becomes empty. */
static struct flowd_json_value meant(const struct flowd_json_value *value,
                                     char buffer[static WORD_MAX])
{
    struct flowd_json_value plain = *value;

    if (!value->escaped)
        return plain;
    plain.text = buffer;
    plain.length = value->length <= WORD_MAX ? flowd_json_unescape(value, buffer) : 0;
    return plain;
}

static bool is_word(const struct flowd_json_value *value, const char *word, size_t length)
{
    return value->length == length && memcmp(value->text, word, length) == 0;
}

static const struct row *find_row(const struct row *rows, const struct flowd_json_value *name)
{
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(name, buffer);

    for (; rows->name != NULL; rows++)
        if (is_word(&plain, rows->name, rows->length))
            return rows;
    return NULL;
}

/* A member of an object's table. */
static int read_member(struct decoder *decoder, const struct row *row,
                       const struct flowd_json_value *value)
{
    if (decoder->seen & BIT(row->member))
        return reject(decoder, FLOWD_FIREFLY_REPEATED);
    if (value->kind != row->kind)
        return reject(decoder, FLOWD_FIREFLY_TYPE);
    decoder->seen |= BIT(row->member);
    return row->read != NULL ? row->read(decoder, row->member, value)
                             : flowd_json_skip(&decoder->json, value);
}

/* The members of an object whose opening was read. */
static int read_members(struct decoder *decoder, const struct row *rows)
{
    struct flowd_json_value name, value;
    bool first = true;
    int more;

    while ((more = flowd_json_member(&decoder->json, first, &name)) > 0) {
        const struct row *row = find_row(rows, &name);
        int result;

        first = false;
        if (flowd_json_value(&decoder->json, &value) != 0)
            return -EBADMSG;
        result = row != NULL ? read_member(decoder, row, &value)
                             : flowd_json_skip(&decoder->json, &value);
        if (result != 0)
            return result;
    }
    return more;
}

static int read_version(struct decoder *decoder, enum member member,
                        const struct flowd_json_value *value)
{
    (void)member;
    return value->integer == 1 ? 0 : reject(decoder, FLOWD_FIREFLY_VERSION);
}

static int read_state(struct decoder *decoder, enum member member,
                      const struct flowd_json_value *value)
{
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(value, buffer);

    (void)member;
    if (flowd_event_state_parse(plain.text, plain.length, &decoder->message->event.state) != 0)
        return reject(decoder, FLOWD_FIREFLY_STATE);
    return 0;
}

static int read_time(struct decoder *decoder, enum member member,
                     const struct flowd_json_value *value)
{
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(value, buffer);
    int64_t *time_us =
        member == START_TIME ? &decoder->message->event.start_us : &decoder->message->end_us;

    if (flowd_timestamp_parse(plain.text, plain.length, time_us) != 0)
        return reject(decoder, FLOWD_FIREFLY_TIME);
    return 0;
}

static int read_afi(struct decoder *decoder, enum member member,
                    const struct flowd_json_value *value)
{
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(value, buffer);

    (void)member;
    if (is_word(&plain, NAME("ipv6")))
        decoder->afi = AF_INET6;
    else if (is_word(&plain, NAME("ipv4")))
        decoder->afi = AF_INET;
    else
        return reject(decoder, FLOWD_FIREFLY_FAMILY);
    return 0;
}

static int read_address(struct decoder *decoder, enum member member,
                        const struct flowd_json_value *value)
{
    struct flowd_firefly_message *message = decoder->message;
    struct flowd_firefly_span *span = member == SRC_IP ? &message->src_ip : &message->dst_ip;
    struct flowd_address *address = member == SRC_IP ? &decoder->src : &decoder->dst;
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(value, buffer);

    span->offset = (size_t)(value->text - 1 - message->text);
    span->length = value->length + 2;
    if (flowd_address_parse(plain.text, plain.length, address) != 0)
        return reject(decoder, FLOWD_FIREFLY_ADDRESS);
    decoder->mapped |= address->family == AF_INET && memchr(plain.text, ':', plain.length) != NULL;
    return 0;
}

static int read_protocol(struct decoder *decoder, enum member member,
                         const struct flowd_json_value *value)
{
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(value, buffer);

    (void)member;
    if (flowd_protocol_parse(plain.text, plain.length, &decoder->message->event.key.protocol) != 0)
        return reject(decoder, FLOWD_FIREFLY_PROTOCOL);
    return 0;
}

static int read_port(struct decoder *decoder, enum member member,
                     const struct flowd_json_value *value)
{
    struct flowd_flow_key *key = &decoder->message->event.key;

    if (value->integer < 1 || value->integer > UINT16_MAX)
        return reject(decoder, FLOWD_FIREFLY_PORT);
    *(member == SRC_PORT ? &key->src_port : &key->dst_port) = (uint16_t)value->integer;
    return 0;
}

static int read_experiment(struct decoder *decoder, enum member member,
                           const struct flowd_json_value *value)
{
    (void)member;
    if (value->integer < 0 || value->integer > FLOWD_EXPERIMENT_MAX)
        return reject(decoder, FLOWD_FIREFLY_EXPERIMENT);
    decoder->message->event.experiment = (uint16_t)value->integer;
    return 0;
}

static int read_activity(struct decoder *decoder, enum member member,
                         const struct flowd_json_value *value)
{
    (void)member;
    if (value->integer < 0 || value->integer > FLOWD_ACTIVITY_MAX)
        return reject(decoder, FLOWD_FIREFLY_ACTIVITY);
    decoder->message->event.activity = (uint8_t)value->integer;
    return 0;
}

/* How much of UTF-8 text a flow holds, without half a character at its end. */
static size_t held_length(const char *text, size_t length)
{
    if (length < FLOWD_APPLICATION_SIZE)
        return length;
    length = FLOWD_APPLICATION_SIZE - 1;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    return length;
}

/* It names who sent the firefly and decides nothing, so a strange one is no reason to refuse. */
static int read_application(struct decoder *decoder, enum member member,
                            const struct flowd_json_value *value)
{
    struct flowd_firefly_message *message = decoder->message;
    struct flowd_event named = {
        .key = {.family = AF_INET, .protocol = IPPROTO_TCP, .src_port = 1, .dst_port = 1}};
    char buffer[WORD_MAX];
    struct flowd_json_value plain = meant(value, buffer);

    (void)member;
    named.application = plain.text;
    named.application_length = held_length(plain.text, plain.length);
    if (flowd_event_check(&named, NULL) != 0)
        return 0;
    if (value->escaped) {
        memcpy(message->application, buffer, named.application_length);
        named.application = message->application;
    }
    message->event.application = named.application;
    message->event.application_length = named.application_length;
    return 0;
}

static int read_lifecycle(struct decoder *decoder, enum member member,
                          const struct flowd_json_value *value)
{
    static const struct row rows[] = {
        {NAME("state"), STATE, FLOWD_JSON_STRING, read_state},
        {NAME("start-time"), START_TIME, FLOWD_JSON_STRING, read_time},
        {NAME("current-time"), CURRENT_TIME, FLOWD_JSON_STRING, NULL},
        {NAME("end-time"), END_TIME, FLOWD_JSON_STRING, read_time},
        {.name = NULL},
    };
    struct flowd_firefly_span *span = &decoder->message->lifecycle;
    int result = read_members(decoder, rows);

    (void)member;
    span->offset = (size_t)(value->text - decoder->message->text);
    span->length = (size_t)(decoder->json.at - value->text);
    return result;
}

static int read_flow_id(struct decoder *decoder, enum member member,
                        const struct flowd_json_value *value)
{
    static const struct row rows[] = {
        {NAME("afi"), AFI, FLOWD_JSON_STRING, read_afi},
        {NAME("src-ip"), SRC_IP, FLOWD_JSON_STRING, read_address},
        {NAME("dst-ip"), DST_IP, FLOWD_JSON_STRING, read_address},
        {NAME("protocol"), PROTOCOL, FLOWD_JSON_STRING, read_protocol},
        {NAME("src-port"), SRC_PORT, FLOWD_JSON_INTEGER, read_port},
        {NAME("dst-port"), DST_PORT, FLOWD_JSON_INTEGER, read_port},
        {.name = NULL},
    };

    (void)member;
    (void)value;
    return read_members(decoder, rows);
}

static int read_context(struct decoder *decoder, enum member member,
                        const struct flowd_json_value *value)
{
    static const struct row rows[] = {
        {NAME("experiment-id"), EXPERIMENT, FLOWD_JSON_INTEGER, read_experiment},
        {NAME("activity-id"), ACTIVITY, FLOWD_JSON_INTEGER, read_activity},
        {NAME("application"), APPLICATION, FLOWD_JSON_STRING, read_application},
        {.name = NULL},
    };

    (void)member;
    (void)value;
    return read_members(decoder, rows);
}

static int read_object(struct decoder *decoder)
{
    static const struct row rows[] = {
        {NAME("version"), VERSION, FLOWD_JSON_INTEGER, read_version},
        {NAME("flow-lifecycle"), LIFECYCLE, FLOWD_JSON_OBJECT, read_lifecycle},
        {NAME("flow-id"), FLOW_ID, FLOWD_JSON_OBJECT, read_flow_id},
        {NAME("context"), CONTEXT, FLOWD_JSON_OBJECT, read_context},
        {NAME("usage"), USAGE, FLOWD_JSON_OBJECT, NULL},
        {NAME("netlink"), NETLINK, FLOWD_JSON_OBJECT, NULL},
        {.name = NULL},
    };
    struct flowd_json_value opening;

    if (flowd_json_value(&decoder->json, &opening) != 0)
        return -EBADMSG;
    if (read_members(decoder, rows) != 0)
        return -EBADMSG;
    return flowd_json_finish(&decoder->json);
}

/* What no single member shows. */
static int finish(struct decoder *decoder)
{
    struct flowd_firefly_message *message = decoder->message;

    if ((decoder->seen & NEEDED) != NEEDED)
        return reject(decoder, FLOWD_FIREFLY_MISSING);
    if (flowd_flow_key_set_addresses(&message->event.key, &decoder->src, &decoder->dst) != 0)
        return reject(decoder, FLOWD_FIREFLY_FAMILY);
    /* A sender with a socket of both families may call an IPv4 peer IPv6. */
    if (decoder->afi != decoder->src.family && !(decoder->mapped && decoder->afi == AF_INET6))
        return reject(decoder, FLOWD_FIREFLY_FAMILY);
    message->has_version = decoder->seen & BIT(VERSION);
    message->has_current_time = decoder->seen & BIT(CURRENT_TIME);
    message->has_start_time = decoder->seen & BIT(START_TIME);
    message->has_end_time = decoder->seen & BIT(END_TIME);
    message->has_application = decoder->seen & BIT(APPLICATION);
    message->has_usage = decoder->seen & BIT(USAGE);
    message->has_netlink = decoder->seen & BIT(NETLINK);
    return 0;
}

static bool is_around(char c)
{
    return c == '\0' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int flowd_firefly_decode(const char *datagram, size_t length, struct flowd_firefly_message *out,
                         enum flowd_firefly_reject *why)
{
    struct decoder decoder = {.message = out, .why = FLOWD_FIREFLY_JSON};
    int result;

    while (length > 0 && is_around(datagram[length - 1]))
        length--;
    while (length > 0 && is_around(datagram[0])) {
        datagram++;
        length--;
    }
    *out = (struct flowd_firefly_message){.text = datagram, .length = length};
    if (flowd_firefly_find_header(out) != 0) {
        *why = FLOWD_FIREFLY_HEADER;
        return -EBADMSG;
    }
    out->object.length = length - out->object.offset;
    flowd_json_begin_const(&decoder.json, datagram + out->object.offset, out->object.length);
    result = read_object(&decoder);
    if (result == 0)
        result = finish(&decoder);
    if (result != 0)
        *why = decoder.why;
    return result;
}
