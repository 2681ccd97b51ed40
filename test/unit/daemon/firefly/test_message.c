/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firefly decoder: each sender's form, why datagrams are refused, where the parts of a message
 * are, and 600 fireflies that servers of a production site sent, read by jansson, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/firefly/message.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define TIME "2026-01-01T00:00:00.000000+00:00"
#define TIME_US INT64_C(1767225600000000)
#define FLOW                                                                                       \
    "\"flow-id\": {\"afi\": \"ipv6\", \"src-ip\": \"2001:db8::1\", \"dst-ip\": \"2001:db8::2\", "  \
    "\"protocol\": \"tcp\", \"src-port\": 1094, \"dst-port\": 40000}"
#define CONTEXT                                                                                    \
    "\"context\": {\"experiment-id\": 2, \"activity-id\": 17, \"application\": \"a v1\"}"
#define LIFE                                                                                       \
    "\"flow-lifecycle\": {\"state\": \"start\", \"current-time\": \"" TIME                         \
    "\", \"start-time\": \"" TIME "\"}"
#define OBJECT "{\"version\": 1, " LIFE ", " FLOW ", " CONTEXT "}"
/* An object with other members of flow-id, of context, of flow-lifecycle. */
#define WITH_FLOW(members) "{\"version\": 1, " LIFE ", \"flow-id\": {" members "}, " CONTEXT "}"
#define WITH_CONTEXT(members) "{\"version\": 1, " LIFE ", " FLOW ", \"context\": {" members "}}"
#define WITH_LIFE(members)                                                                         \
    "{\"version\": 1, \"flow-lifecycle\": {" members "}, " FLOW ", " CONTEXT "}"
#define ENDS(afi, src, dst)                                                                        \
    "\"afi\": " afi ", \"src-ip\": " src ", \"dst-ip\": " dst                                      \
    ", \"protocol\": \"tcp\", \"src-port\": 1094, \"dst-port\": 40000"
#define PORTS(src, dst)                                                                            \
    "\"afi\": \"ipv6\", \"src-ip\": \"2001:db8::1\", \"dst-ip\": \"2001:db8::2\", "                \
    "\"protocol\": \"tcp\", \"src-port\": " src ", \"dst-port\": " dst

static enum flowd_firefly_reject why;

/* A copy of just this size, so that reads beyond it are seen; the message borrows it. */
static char *decode(const char *text, size_t length, struct flowd_firefly_message *message)
{
    char *copy = malloc(length > 0 ? length : 1);
    int result;

    assert_non_null(copy);
    memcpy(copy, text, length);
    result = flowd_firefly_decode(copy, length, message, &why);
    if (result == 0) {
        assert_int_equal(flowd_event_check(&message->event, NULL), 0);
        return copy;
    }
    assert_int_equal(result, -EBADMSG);
    assert_in_range(why, 0, FLOWD_FIREFLY_REJECTS - 1);
    free(copy);
    return NULL;
}

static char *decode_good(const char *text, struct flowd_firefly_message *message)
{
    char *copy = decode(text, strlen(text), message);

    if (copy == NULL)
        fail_msg("%s: %s", text, flowd_firefly_reject_names[why]);
    return copy;
}

static void assert_span(const struct flowd_firefly_message *message,
                        const struct flowd_firefly_span *span, const char *text)
{
    if (text == NULL)
        text = "";
    assert_true(span->offset + span->length <= message->length);
    assert_int_equal(span->length, strlen(text));
    assert_memory_equal(message->text + span->offset, text, span->length);
}

/* All of these say the same. */
static const struct {
    const char *datagram;
    const char *header;
    const char *timestamp;
    const char *hostname;
} forms[] = {
    {"<134>1 " TIME " host.example.org flowd - firefly-json - " OBJECT,
     "<134>1 " TIME " host.example.org flowd - firefly-json - ", TIME, "host.example.org"},
    /* flowd-go: no timestamp, two blanks */
    {"<134>1  host flowd-go - firefly-json - " OBJECT, "<134>1  host flowd-go - firefly-json - ",
     NULL, "host"},
    /* XRootD */
    {"<134>1 - host xrootd - firefly-json - " OBJECT, "<134>1 - host xrootd - firefly-json - ", "-",
     "host"},
    /* dCache */
    {"<134>1 2026-01-01T00:00:00.000Z host dCache - firefly-json - " OBJECT,
     "<134>1 2026-01-01T00:00:00.000Z host dCache - firefly-json - ", "2026-01-01T00:00:00.000Z",
     "host"},
    {OBJECT, NULL, NULL, NULL},
    {" \t\r\n" OBJECT "\r\n", NULL, NULL, NULL},
    /* Without the <PRI>, as some collectors pass it on. */
    {"1 " TIME " host flowd - firefly-json - " OBJECT "\n",
     "1 " TIME " host flowd - firefly-json - ", TIME, "host"},
    {"<14>1 " TIME " - flowd 7 firefly-json [x@1 y=\"{\\\"\" z=\"}\"] " OBJECT,
     "<14>1 " TIME " - flowd 7 firefly-json [x@1 y=\"{\\\"\" z=\"}\"] ", TIME, "-"},
    {"<134>1 " TIME " host flowd - firefly-json - \xef\xbb\xbf" OBJECT,
     "<134>1 " TIME " host flowd - firefly-json - \xef\xbb\xbf", TIME, "host"},
    /* RFC 3164, and a collector's log. */
    {"<134>Feb  1 18:54:27 host flowd: " OBJECT,
     "<134>Feb  1 18:54:27 host flowd: ", "Feb  1 18:54:27", "host"},
    {"Feb 11 18:54:27 host 1 " TIME " other flowd - firefly-json - " OBJECT,
     "Feb 11 18:54:27 host 1 " TIME " other flowd - firefly-json - ", "Feb 11 18:54:27", "host"},
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(forms); i++) {
        struct flowd_firefly_message message;
        char *copy = decode_good(forms[i].datagram, &message);
        char key[FLOWD_FLOW_KEY_TEXT_SIZE];

        flowd_flow_key_format(&message.event.key, key);
        assert_string_equal(key, "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000");
        assert_int_equal(message.event.state, FLOWD_EVENT_START);
        assert_int_equal(message.event.experiment, 2);
        assert_int_equal(message.event.activity, 17);
        assert_true(message.event.start_us == TIME_US);
        assert_int_equal(message.event.application_length, 4);
        assert_memory_equal(message.event.application, "a v1", 4);
        assert_int_equal(message.header.offset, 0);
        assert_span(&message, &message.header, forms[i].header);
        assert_span(&message, &message.timestamp, forms[i].timestamp);
        assert_span(&message, &message.hostname, forms[i].hostname);
        assert_span(&message, &message.object, OBJECT);
        assert_span(&message, &message.src_ip, "\"2001:db8::1\"");
        assert_span(&message, &message.dst_ip, "\"2001:db8::2\"");
        assert_int_equal(message.object.offset + message.object.length, message.length);
        assert_true(message.has_version && message.has_current_time && message.has_start_time &&
                    message.has_application);
        assert_false(message.has_end_time || message.has_usage || message.has_netlink);
        free(copy);
    }
}

/* Where a timestamp would go that is not there: between the two blanks. */
static void test_place_of_timestamp(void **state)
{
    struct flowd_firefly_message message;
    char *copy = decode_good("<134>1  host flowd - firefly-json - " OBJECT, &message);

    (void)state;
    assert_int_equal(message.timestamp.offset, strlen("<134>1 "));
    free(copy);
}

/* What is taken though it is not what flowd writes. */
static const struct {
    const char *datagram;
    const char *key;
    unsigned experiment, activity;
} accepted[] = {
    {WITH_CONTEXT("\"experiment-id\": 0, \"activity-id\": 0"),
     "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000", 0, 0},
    {WITH_CONTEXT("\"experiment-id\": 1, \"activity-id\": 0"),
     "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000", 1, 0},
    {WITH_CONTEXT("\"activity-id\": 63, \"experiment-id\": 1023, \"x\": {\"experiment-id\": 7}"),
     "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000", 1023, 63},
    {WITH_FLOW(ENDS("\"ipv4\"", "\"192.0.2.1\"", "\"192.0.2.2\"")),
     "tcp 192.0.2.1:1094 > 192.0.2.2:40000", 2, 17},
    /* An address of IPv4 in the form of IPv6, with either afi. */
    {WITH_FLOW(ENDS("\"ipv6\"", "\"::ffff:192.0.2.1\"", "\"192.0.2.2\"")),
     "tcp 192.0.2.1:1094 > 192.0.2.2:40000", 2, 17},
    {WITH_FLOW(ENDS("\"ipv4\"", "\"::ffff:192.0.2.1\"", "\"::ffff:192.0.2.2\"")),
     "tcp 192.0.2.1:1094 > 192.0.2.2:40000", 2, 17},
    {WITH_FLOW(PORTS("1", "65535")), "tcp [2001:db8::1]:1 > [2001:db8::2]:65535", 2, 17},
    /* Escapes, in a name and in a value. */
    {WITH_FLOW("\"afi\": \"ipv6\", \"src\\u002dip\": \"2001:db8:\\u003a1\", \"dst-ip\": "
               "\"2001:db8::2\", \"protocol\": \"\\u0075dp\", \"src-port\": 5, \"dst-port\": 6"),
     "udp [2001:db8::1]:5 > [2001:db8::2]:6", 2, 17},
    /* Members that nobody knows, twice, anywhere, nested; and names that belong elsewhere. */
    {"{\"x\": 1, \"x\": [{\"flow-id\": 1}], \"state\": 5, \"context\": {\"y\": null, "
     "\"experiment-id\": 2, \"activity-id\": 17, \"src-ip\": 1}, \"storage-stats\": {\"read\": "
     "{\"bytes\": 1.5e3, \"context\": {}}}, " FLOW ", \"flow-lifecycle\": {\"z\": {}, \"state\": "
     "\"ongoing\"}}",
     "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000", 2, 17},
};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(accepted); i++) {
        struct flowd_firefly_message message;
        char *copy = decode_good(accepted[i].datagram, &message);
        char key[FLOWD_FLOW_KEY_TEXT_SIZE];

        flowd_flow_key_format(&message.event.key, key);
        assert_string_equal(key, accepted[i].key);
        assert_int_equal(message.event.experiment, accepted[i].experiment);
        assert_int_equal(message.event.activity, accepted[i].activity);
        free(copy);
    }
}

/* What is missing is told, and so is what is there. */
static void test_members(void **state)
{
    struct flowd_firefly_message message;
    char *copy = decode_good("{" FLOW ", \"flow-lifecycle\": {\"state\": \"end\"}, "
                             "\"context\": {\"experiment-id\": 2, \"activity-id\": 17}}",
                             &message);

    (void)state;
    assert_int_equal(message.event.state, FLOWD_EVENT_END);
    assert_true(message.event.start_us == 0 && message.end_us == 0);
    assert_int_equal(message.event.application_length, 0);
    assert_false(message.has_version || message.has_current_time || message.has_start_time ||
                 message.has_end_time || message.has_application || message.has_usage ||
                 message.has_netlink);
    assert_span(&message, &message.lifecycle, "{\"state\": \"end\"}");
    free(copy);

    copy = decode_good("{\"version\": 1, \"netlink\": {\"rtt\": 0.1}, \"usage\": {\"sent\": 1}, "
                       "\"flow-lifecycle\": { \"state\": \"end\", \"end-time\": "
                       "\"2026-01-01T00:00:01Z\" , \"x\": {}} , " FLOW ", " CONTEXT "}",
                       &message);
    assert_true(message.has_version && message.has_end_time && message.has_usage &&
                message.has_netlink);
    assert_true(message.end_us == TIME_US + 1000000);
    assert_span(&message, &message.lifecycle,
                "{ \"state\": \"end\", \"end-time\": \"2026-01-01T00:00:01Z\" , \"x\": {}}");
    free(copy);
}

static const struct {
    const char *json;
    const char *application;
} applications[] = {
    {"\"\"", ""},
    {"\"tab\\u0020\\\"v1\\\"\"", "tab \"v1\""},
    {"\"\\u00e9\"", "\xc3\xa9"},
    {"\"two\\nlines\"", ""},
    /* 56 bytes are one too many; half a character is none. */
    {"\"0123456789012345678901234567890123456789012345678901234\"",
     "0123456789012345678901234567890123456789012345678901234"},
    {"\"01234567890123456789012345678901234567890123456789012345\"",
     "0123456789012345678901234567890123456789012345678901234"},
    {"\"012345678901234567890123456789012345678901234567890123\xc3\xa9\"",
     "012345678901234567890123456789012345678901234567890123"},
};

static void test_applications(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(applications); i++) {
        struct flowd_firefly_message message;
        char text[1024];
        char *copy;

        snprintf(text, sizeof(text),
                 WITH_CONTEXT("\"experiment-id\": 2, \"activity-id\": 17, \"application\": %s"),
                 applications[i].json);
        copy = decode_good(text, &message);
        assert_int_equal(message.event.application_length, strlen(applications[i].application));
        if (message.event.application_length > 0)
            assert_memory_equal(message.event.application, applications[i].application,
                                message.event.application_length);
        free(copy);
    }
}

#define DEEP "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["

static const struct {
    const char *datagram;
    enum flowd_firefly_reject why;
} refused[] = {
    {"", FLOWD_FIREFLY_HEADER},
    {"\n", FLOWD_FIREFLY_HEADER},
    {"hello", FLOWD_FIREFLY_HEADER},
    {"[1]", FLOWD_FIREFLY_HEADER},
    {"<134>", FLOWD_FIREFLY_HEADER},
    {"<134>1 " TIME " host flowd - firefly-json - ", FLOWD_FIREFLY_HEADER},
    {"<1340>1 " TIME " host flowd - firefly-json - " OBJECT, FLOWD_FIREFLY_HEADER},
    {"<>1 " TIME " host flowd - firefly-json - " OBJECT, FLOWD_FIREFLY_HEADER},
    {"<134>1 now host flowd - firefly-json - " OBJECT, FLOWD_FIREFLY_HEADER},
    {"<134>1   flowd - firefly-json - " OBJECT, FLOWD_FIREFLY_HEADER},
    {"<134>1 " TIME " host \x01 - firefly-json - " OBJECT, FLOWD_FIREFLY_HEADER},
    {"<134>1 " TIME " host flowd - firefly-json [x y=\"" OBJECT, FLOWD_FIREFLY_HEADER},
    {"<134>Feb  1 18-54-27 host flowd: " OBJECT, FLOWD_FIREFLY_HEADER},
    {"<134>Feb  1 18:54", FLOWD_FIREFLY_HEADER},
    {"{", FLOWD_FIREFLY_JSON},
    {OBJECT "x", FLOWD_FIREFLY_JSON},
    {OBJECT OBJECT, FLOWD_FIREFLY_JSON},
    {"{\"x\": \"\xff\", " LIFE ", " FLOW ", " CONTEXT "}", FLOWD_FIREFLY_JSON},
    {"{\"x\": " DEEP, FLOWD_FIREFLY_JSON},
    {"{}", FLOWD_FIREFLY_MISSING},
    {"{\"version\": 1, " FLOW ", " CONTEXT "}", FLOWD_FIREFLY_MISSING},
    {"{\"version\": 1, " LIFE ", " CONTEXT "}", FLOWD_FIREFLY_MISSING},
    {"{\"version\": 1, " LIFE ", " FLOW "}", FLOWD_FIREFLY_MISSING},
    {WITH_CONTEXT("\"experiment-id\": 2"), FLOWD_FIREFLY_MISSING},
    {WITH_CONTEXT("\"activity-id\": 2"), FLOWD_FIREFLY_MISSING},
    {WITH_LIFE("\"start-time\": \"" TIME "\""), FLOWD_FIREFLY_MISSING},
    {"{\"version\": 2, " LIFE ", " FLOW ", " CONTEXT "}", FLOWD_FIREFLY_VERSION},
    {"{\"version\": \"1\", " LIFE ", " FLOW ", " CONTEXT "}", FLOWD_FIREFLY_TYPE},
    {"{" LIFE ", " LIFE ", " FLOW ", " CONTEXT "}", FLOWD_FIREFLY_REPEATED},
    {WITH_LIFE("\"state\": \"start\", \"sta\\u0074e\": \"end\""), FLOWD_FIREFLY_REPEATED},
    {"{" LIFE ", " FLOW ", " CONTEXT ", \"usage\": {}, \"usage\": {}}", FLOWD_FIREFLY_REPEATED},
    {"{" LIFE ", " FLOW ", " CONTEXT ", \"usage\": 5}", FLOWD_FIREFLY_TYPE},
    {"{\"flow-lifecycle\": [], " FLOW ", " CONTEXT "}", FLOWD_FIREFLY_TYPE},
    {WITH_LIFE("\"state\": \"stopped\""), FLOWD_FIREFLY_STATE},
    {WITH_LIFE("\"state\": 1"), FLOWD_FIREFLY_TYPE},
    {WITH_LIFE("\"state\": \"start\", \"start-time\": \"yesterday\""), FLOWD_FIREFLY_TIME},
    {WITH_LIFE("\"state\": \"end\", \"end-time\": \"\""), FLOWD_FIREFLY_TIME},
    {WITH_LIFE("\"state\": \"end\", \"end-time\": null"), FLOWD_FIREFLY_TYPE},
    {WITH_FLOW(ENDS("\"ipv4\"", "\"2001:db8::1\"", "\"2001:db8::2\"")), FLOWD_FIREFLY_FAMILY},
    {WITH_FLOW(ENDS("\"ipv6\"", "\"192.0.2.1\"", "\"192.0.2.2\"")), FLOWD_FIREFLY_FAMILY},
    {WITH_FLOW(ENDS("\"ipv6\"", "\"2001:db8::1\"", "\"192.0.2.2\"")), FLOWD_FIREFLY_FAMILY},
    {WITH_FLOW(ENDS("\"inet6\"", "\"2001:db8::1\"", "\"2001:db8::2\"")), FLOWD_FIREFLY_FAMILY},
    {WITH_FLOW(ENDS("6", "\"2001:db8::1\"", "\"2001:db8::2\"")), FLOWD_FIREFLY_TYPE},
    {WITH_FLOW(ENDS("\"ipv6\"", "\"host.example.org\"", "\"2001:db8::2\"")), FLOWD_FIREFLY_ADDRESS},
    {WITH_FLOW(ENDS("\"ipv6\"", "\"\"", "\"2001:db8::2\"")), FLOWD_FIREFLY_ADDRESS},
    {WITH_FLOW(PORTS("0", "1")), FLOWD_FIREFLY_PORT},
    {WITH_FLOW(PORTS("1", "65536")), FLOWD_FIREFLY_PORT},
    {WITH_FLOW(PORTS("-1", "1")), FLOWD_FIREFLY_PORT},
    {WITH_FLOW(PORTS("\"1\"", "1")), FLOWD_FIREFLY_TYPE},
    {WITH_FLOW(PORTS("1.0", "1")), FLOWD_FIREFLY_TYPE},
    {WITH_FLOW("\"afi\": \"ipv6\", \"protocol\": \"sctp\""), FLOWD_FIREFLY_PROTOCOL},
    {WITH_CONTEXT("\"experiment-id\": 1024, \"activity-id\": 1"), FLOWD_FIREFLY_EXPERIMENT},
    {WITH_CONTEXT("\"experiment-id\": -1, \"activity-id\": 1"), FLOWD_FIREFLY_EXPERIMENT},
    {WITH_CONTEXT("\"experiment-id\": 1, \"activity-id\": 64"), FLOWD_FIREFLY_ACTIVITY},
    {WITH_CONTEXT("\"experiment-id\": \"atlas\", \"activity-id\": 1"), FLOWD_FIREFLY_TYPE},
};

static void test_refused(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < ROWS(refused); i++) {
        struct flowd_firefly_message message;

        if (decode(refused[i].datagram, strlen(refused[i].datagram), &message) != NULL)
            fail_msg("%s is taken", refused[i].datagram);
        if (why != refused[i].why)
            fail_msg("%s: %s", refused[i].datagram, flowd_firefly_reject_names[why]);
        seen |= 1u << why;
    }
    assert_int_equal(seen, (1u << FLOWD_FIREFLY_REJECTS) - 1);
}

/* No part of a firefly is one. */
static void test_cut(void **state)
{
    static const char whole[] = "<134>1 " TIME " host flowd - firefly-json - " OBJECT;

    (void)state;
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        struct flowd_firefly_message message;

        assert_null(decode(whole, length, &message));
    }
}

static const char *member(const json_t *object, const char *inner, const char *name)
{
    return json_string_value(json_object_get(json_object_get(object, inner), name));
}

static int number(const json_t *object, const char *inner, const char *name)
{
    return (int)json_integer_value(json_object_get(json_object_get(object, inner), name));
}

/* What jansson says of the object is what the decoder says. */
static void compare(const struct flowd_firefly_message *message)
{
    json_t *object = json_loadb(message->text + message->object.offset, message->object.length,
                                JSON_REJECT_DUPLICATES, NULL);
    const struct flowd_event *event = &message->event;
    char src[FLOWD_ADDRESS_SIZE], dst[FLOWD_ADDRESS_SIZE];
    const char *started = member(object, "flow-lifecycle", "start-time");
    int64_t start_us;

    assert_non_null(object);
    flowd_address_format(event->key.family, &event->key.src, src);
    flowd_address_format(event->key.family, &event->key.dst, dst);
    assert_string_equal(src, member(object, "flow-id", "src-ip"));
    assert_string_equal(dst, member(object, "flow-id", "dst-ip"));
    assert_int_equal(event->key.src_port, number(object, "flow-id", "src-port"));
    assert_int_equal(event->key.dst_port, number(object, "flow-id", "dst-port"));
    assert_int_equal(event->experiment, number(object, "context", "experiment-id"));
    assert_int_equal(event->activity, number(object, "context", "activity-id"));
    assert_string_equal(flowd_event_state_names[event->state],
                        member(object, "flow-lifecycle", "state"));
    assert_int_equal(flowd_timestamp_parse(started, strlen(started), &start_us), 0);
    assert_true(event->start_us == start_us);
    assert_int_equal(message->has_end_time, event->state == FLOWD_EVENT_END);
    assert_string_equal(member(object, "context", "application"), "flowd v0.1.2");
    json_decref(object);
}

static void test_real_ones(void **state)
{
    FILE *file = fopen(FLOWD_TEST_DATA "/fireflies_2022.log", "r");
    char line[2048];
    unsigned count = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        /* As the collector wrote it, and as it was on the wire but for its <PRI>. */
        const char *sent = strstr(line, " 1 2022-") + 1;
        struct flowd_firefly_message message;
        char *copy = decode_good(line, &message);

        compare(&message);
        free(copy);
        copy = decode_good(sent, &message);
        compare(&message);
        assert_memory_equal(message.text + message.timestamp.offset, sent + 2,
                            message.timestamp.length);
        assert_int_equal(message.timestamp.length, strlen(TIME));
        free(copy);
        count++;
    }
    fclose(file);
    assert_int_equal(count, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),        cmocka_unit_test(test_place_of_timestamp),
        cmocka_unit_test(test_accepted),     cmocka_unit_test(test_members),
        cmocka_unit_test(test_applications), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cut),          cmocka_unit_test(test_real_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
