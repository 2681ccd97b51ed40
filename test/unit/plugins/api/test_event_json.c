/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd's form of an event. One good event is changed in one member at a time; the refusal has to
 * name that member and say what is wrong with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "event_fixture.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define TEXT_SIZE 4096
#define ENDS                                                                                       \
    "\"protocol\":\"tcp\",\"src\":\"2001:db8::1\",\"srcPort\":1094,"                               \
    "\"dst\":\"2001:db8::2\",\"dstPort\":40000"

static int set_up(void **state)
{
    *state = event_fixture_new(api_event_read, true);
    return 0;
}

static int set_up_without_registry(void **state)
{
    *state = event_fixture_new(api_event_read, false);
    return 0;
}

/* The good event with this member's value (NULL: without it), or with one member more. */
static const char *compose(char text[static TEXT_SIZE], const char *name, const char *value)
{
    static const char *const standard[][2] = {
        {"state", "\"start\""}, {"protocol", "\"tcp\""},    {"src", "\"2001:db8::1\""},
        {"srcPort", "1094"},    {"dst", "\"2001:db8::2\""}, {"dstPort", "40000"},
        {"experiment", "2"},    {"activity", "17"},
    };
    bool replaced = false;
    int used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < ROWS(standard); i++) {
        bool this = strcmp(standard[i][0], name) == 0;

        replaced = replaced || this;
        if (!this || value != NULL)
            used += snprintf(text + used, TEXT_SIZE - (size_t)used, "%c\"%s\":%s",
                             used == 0 ? '{' : ',', standard[i][0], this ? value : standard[i][1]);
    }
    if (!replaced)
        used += snprintf(text + used, TEXT_SIZE - (size_t)used, ",\"%s\":%s", name, value);
    used += snprintf(text + used, TEXT_SIZE - (size_t)used, "}");
    assert_true(used < TEXT_SIZE);
    return text;
}

static void test_standard(void **state)
{
    const struct flowd_event *event = event_fixture_take(
        *state,
        "{\"state\":\"start\",\"protocol\":\"tcp\",\"src\":\"2001:db8::1\",\"srcPort\":1094,"
        "\"dst\":\"2001:db8::2\",\"dstPort\":40000,\"experiment\":2,\"activity\":17,"
        "\"application\":\"fts\",\"startTime\":\"2025-12-31T23:59:59.5Z\"}");

    event_fixture_check_start(event);
    assert_int_equal(event->key.zero, 0);
    assert_int_equal(event->experiment, 2);
    assert_int_equal(event->activity, 17);
    assert_int_equal(event->application_length, 3);
    assert_memory_equal(event->application, "fts", 3);
    assert_int_equal(event->start_us, EVENT_NOW_US - 500000);
}

/* Any order, any blanks, escapes in names and values. */
static void test_forms(void **state)
{
    static const char *const texts[] = {
        "{" ENDS ",\"experiment\":2,\"activity\":17}",
        "{\"activity\":17,\"experiment\":2," ENDS "}",
        " \r\n\t{ \"experiment\" : 2 ,\n\"activity\"\t:17, " ENDS " } \r\n",
        "{" ENDS ",\"experi\\u006dent\":2,\"activity\":17}",
        "{\"state\":\"START\"," ENDS ",\"scitag\":145}",
    };

    for (size_t i = 0; i < ROWS(texts); i++) {
        const struct flowd_event *event = event_fixture_take(*state, texts[i]);

        assert_int_equal(event->state, FLOWD_EVENT_START);
        assert_int_equal(event->experiment, 2);
        assert_int_equal(event->activity, 17);
        assert_int_equal(event->start_us, 0);
        assert_int_equal(event->application_length, 0);
    }
}

#define STRING_WANTED(kind) "must be a string, is " kind
#define NOT_ADDRESS "is not a numeric IPv4 or IPv6 address"
#define NOT_PORT "is not in 1-65535"

static const struct {
    const char *member;
    const char *value;
    const char *words;
} refused_rows[] = {
    {"state", "\"begin\"", "must be \"start\", \"end\" or \"ongoing\""},
    {"state", "\"\"", "must be \"start\""},
    {"state", "\"start \"", "must be \"start\""},
    {"state", "\"start\\u0000\"", "must be \"start\""},
    {"state", "null", STRING_WANTED("null")},
    {"state", "true", STRING_WANTED("a boolean")},
    {"state", "1", STRING_WANTED("an integer")},
    {"state", "1.5", STRING_WANTED("a number")},
    {"state", "{}", STRING_WANTED("an object")},
    {"state", "[\"start\"]", STRING_WANTED("an array")},
    {"protocol", NULL, "is missing"},
    {"protocol", "\"sctp\"", "must be \"tcp\" or \"udp\""},
    {"protocol", "\"\"", "must be \"tcp\""},
    {"protocol", "6", STRING_WANTED("an integer")},
    {"protocol", "null", STRING_WANTED("null")},
    {"src", NULL, "is missing"},
    {"src", "\"\"", NOT_ADDRESS},
    {"src", "\"example.org\"", "\"example.org\" is not a numeric"},
    {"src", "\"2001:db8::1::2\"", NOT_ADDRESS},
    {"src", "\"[2001:db8::1]\"", NOT_ADDRESS},
    {"src", "\"192.0.2.256\"", NOT_ADDRESS},
    {"src", "\"192.0.2.1:80\"", NOT_ADDRESS},
    {"src", "\"192.0.2.1/24\"", NOT_ADDRESS},
    {"src", "\"2001:db8::1\\u0000\"", NOT_ADDRESS},
    {"src", "null", STRING_WANTED("null")},
    {"src", "1", STRING_WANTED("an integer")},
    {"src", "{\"IP\":\"2001:db8::1\"}", STRING_WANTED("an object")},
    {"dst", NULL, "is missing"},
    {"dst", "\"192.0.2.1\"", "is not of the same family as src"},
    {"dst", "\"::ffff:192.0.2.1\"", "is not of the same family as src"},
    {"dst", "false", STRING_WANTED("a boolean")},
    {"srcPort", NULL, "is missing"},
    {"srcPort", "0", "0 is not in 1-65535"},
    {"srcPort", "-1", "-1 is not in 1-65535"},
    {"srcPort", "65536", "65536 is not in 1-65535"},
    {"srcPort", "4294967297", NOT_PORT},
    {"srcPort", "18446744073709551617", "must be an integer"},
    {"srcPort", "\"1094\"", "must be an integer, is a string"},
    {"srcPort", "1094.0", "must be an integer, is a number"},
    {"srcPort", "1e3", "must be an integer, is a number"},
    {"srcPort", "null", "must be an integer, is null"},
    {"dstPort", NULL, "is missing"},
    {"dstPort", "0", NOT_PORT},
    {"dstPort", "[80]", "must be an integer, is an array"},
    {"experiment", NULL, "is missing"},
    {"experiment", "-1", "-1 is not in 0-1023"},
    {"experiment", "1024", "1024"},
    {"experiment", "\"1024\"", "1024"},
    {"experiment", "65538", "65538"},
    {"experiment", "4294967298", "4294967298"},
    {"experiment", "-9223372036854775808", "must be an integer or a registry name"},
    {"experiment", "2.0", "must be an integer or a registry name, is a number"},
    {"experiment", "null", "must be an integer or a registry name, is null"},
    {"experiment", "[2]", "must be an integer or a registry name, is an array"},
    {"experiment", "\"nobody\"", "nobody"},
    {"experiment", "\"\"", "experiment"},
    {"experiment", "\"atlass\"", "experiment"},
    {"activity", NULL, "is missing"},
    {"activity", "-1", "-1 is not in 0-63"},
    {"activity", "64", "64"},
    {"activity", "\"64\"", "64"},
    {"activity", "273", "273"},
    {"activity", "\"Nothing Known\"", "Nothing Known"},
    {"activity", "true", "must be an integer or a registry name, is a boolean"},
    {"application", "5", STRING_WANTED("an integer")},
    {"application", "null", STRING_WANTED("null")},
    {"application", "[]", STRING_WANTED("an array")},
    {"startTime", "0", STRING_WANTED("an integer")},
    {"startTime", "null", STRING_WANTED("null")},
    {"startTime", "\"\"", "is not an RFC 3339 time"},
    {"startTime", "\"yesterday\"", "\"yesterday\" is not an RFC 3339 time"},
    {"startTime", "\"2026-01-01\"", "is not an RFC 3339 time"},
    {"startTime", "\"2025-02-29T00:00:00Z\"", "is not an RFC 3339 time"},
    {"startTime", "\"1970-01-01T00:00:00Z\"", "is before 1970"},
    {"startTime", "\"2026-01-01T00:01:00.000001Z\"", "is more than 60 s in the future"},
    {"startTime", "\"2030-01-01T00:00:00Z\"", "is more than 60 s in the future"},
    {"scitag", "146", "is not that of experiment and activity"},
    {"scitag", "64", "64 is not in 65-65535"},
    /* Members that there are none of. */
    {"srcport", "1", "did you mean \"srcPort\"?"},
    {"expriment", "1", "did you mean \"experiment\"?"},
    {"scitags", "1", "did you mean \"scitag\"?"},
    {"State", "1", "did you mean \"state\"?"},
    {"completely different", "{\"a\":[1,{}]}", "is not a field of an event"},
    {"", "1", "is not a field of an event"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < ROWS(refused_rows); i++) {
        char text[TEXT_SIZE];

        compose(text, refused_rows[i].member, refused_rows[i].value);
        event_fixture_refuse(*state, text, refused_rows[i].member, refused_rows[i].words);
    }
}

/* An unknown member's name is as long as its sender likes; what is said of it is not. */
static void test_long_name(void **state)
{
    struct event_fixture *fixture = *state;
    char text[TEXT_SIZE];
    char name[1001];

    memset(name, 'x', 1000);
    name[1000] = '\0';
    assert_int_equal(event_fixture_read(fixture, compose(text, name, "1")), 0);
    assert_int_equal(fixture->item.status, 422);
    assert_int_equal(fixture->item.field.length, 64);
    assert_in_range(fixture->item.detail.length, 64, 200);
}

/* The first thing that is wrong is told, and only that. */
static void test_first_refusal(void **state)
{
    event_fixture_refuse(*state, "{\"srcPort\":0,\"state\":5,\"foo\":1}", "srcPort", "0 is not in");
    event_fixture_refuse(*state, "{}", "protocol", "is missing");
    event_fixture_refuse(*state, "5", "", "an event must be an object, is an integer");
    event_fixture_refuse(*state, "[{}]", "", "an event must be an object, is an array");
    event_fixture_refuse(*state, "null", "", "an event must be an object, is null");
}

static void test_repeated(void **state)
{
    static const char *const members[][2] = {
        {"state", "\"start\""},   {"protocol", "\"tcp\""}, {"src", "\"2001:db8::1\""},
        {"srcPort", "1094"},      {"dst", "\"::1\""},      {"dstPort", "1"},
        {"experiment", "2"},      {"activity", "17"},      {"scitag", "145"},
        {"application", "\"x\""}, {"startTime", "\"x\""},
    };

    for (size_t i = 0; i < ROWS(members); i++) {
        char text[256];

        snprintf(text, sizeof(text), "{\"%s\":%s,\"%s\":%s}", members[i][0], members[i][1],
                 members[i][0], members[i][1]);
        event_fixture_reject(*state, text, members[i][0], "twice");
    }
    event_fixture_reject(*state, "{\"sr\\u0063\":\"::1\",\"src\":\"::1\"}", "src", "twice");
}

static void test_scitag(void **state)
{
    static const struct {
        const char *scitag;
        unsigned experiment;
        unsigned activity;
    } rows[] = {
        {"65", 1, 1}, {"145", 2, 17}, {"128", 2, 0}, {"65535", 1023, 63}, {"4097", 64, 1},
    };
    static const struct {
        const char *scitag;
        const char *words;
    } refused[] = {
        {"64", "64 is not in 65-65535"},
        {"0", "is not in 65-65535"},
        {"-145", "-145 is not in 65-65535"},
        {"65536", "65536 is not in 65-65535"},
        {"999999999999999999", "is not in 65-65535"},
        {"\"145\"", "must be an integer, is a string"},
        {"145.0", "must be an integer, is a number"},
        {"null", "must be an integer, is null"},
    };
    char text[512];

    for (size_t i = 0; i < ROWS(rows); i++) {
        const struct flowd_event *event;

        snprintf(text, sizeof(text), "{" ENDS ",\"scitag\":%s}", rows[i].scitag);
        event = event_fixture_take(*state, text);
        assert_int_equal(event->experiment, rows[i].experiment);
        assert_int_equal(event->activity, rows[i].activity);
    }
    for (size_t i = 0; i < ROWS(refused); i++) {
        snprintf(text, sizeof(text), "{" ENDS ",\"scitag\":%s}", refused[i].scitag);
        event_fixture_refuse(*state, text, "scitag", refused[i].words);
    }
    /* Beside experiment and activity it has to agree with them, and both have to be there. */
    event_fixture_take(*state, "{" ENDS ",\"experiment\":2,\"activity\":17,\"scitag\":145}");
    event_fixture_take(*state,
                       "{" ENDS ",\"scitag\":145,\"experiment\":\"atlas\",\"activity\":17}");
    event_fixture_refuse(*state, "{" ENDS ",\"scitag\":145,\"experiment\":2}", "activity",
                         "is missing");
    event_fixture_refuse(*state, "{" ENDS ",\"activity\":17,\"scitag\":145}", "experiment",
                         "is missing");
}

static void test_names(void **state)
{
    static const struct {
        const char *tag;
        unsigned experiment;
        unsigned activity;
    } rows[] = {
        {"\"experiment\":\"atlas\",\"activity\":\"Analysis Input\"", 2, 17},
        {"\"experiment\":\"ATLAS\",\"activity\":\"analysis_input\"", 2, 17},
        {"\"activity\":\"Data Challenge\",\"experiment\":\"cms\"", 3, 4},
        {"\"activity\":\"Data Challenge\",\"experiment\":\"atlas\"", 2, 26},
        {"\"experiment\":2,\"activity\":\"Data Challenge\"", 2, 26},
        {"\"experiment\":\"atlas\",\"activity\":26", 2, 26},
        {"\"experiment\":\"2\",\"activity\":\"26\"", 2, 26},
        {"\"experiment\":1023,\"activity\":63", 1023, 63},
        {"\"experiment\":0,\"activity\":0", 0, 0},
        {"\"experiment\":\"at\\u006cas\",\"activity\":\"T0\\u0020Export\"", 2, 20},
    };
    char text[512];

    for (size_t i = 0; i < ROWS(rows); i++) {
        const struct flowd_event *event;

        snprintf(text, sizeof(text), "{" ENDS ",%s}", rows[i].tag);
        event = event_fixture_take(*state, text);
        assert_int_equal(event->experiment, rows[i].experiment);
        assert_int_equal(event->activity, rows[i].activity);
    }
    /* An activity belongs to its experiment. */
    event_fixture_refuse(*state, "{" ENDS ",\"experiment\":\"juno\",\"activity\":\"Staging\"}",
                         "activity", "Staging");
    event_fixture_refuse(*state, "{" ENDS ",\"experiment\":900,\"activity\":\"default\"}",
                         "activity", "default");
}

static void test_names_without_registry(void **state)
{
    event_fixture_refuse(*state, "{" ENDS ",\"experiment\":\"atlas\",\"activity\":1}", "experiment",
                         "atlas");
    event_fixture_take(*state, "{" ENDS ",\"experiment\":\"2\",\"activity\":1}");
}

static void test_addresses(void **state)
{
    const struct flowd_event *event = event_fixture_take(
        *state, "{\"protocol\":\"UDP\",\"src\":\"::ffff:192.0.2.1\",\"srcPort\":1,"
                "\"dst\":\"192.0.2.2\",\"dstPort\":65535,\"scitag\":65}");

    assert_int_equal(event->key.family, AF_INET);
    assert_int_equal(event->key.protocol, IPPROTO_UDP);
    assert_int_equal(event->key.src_port, 1);
    assert_int_equal(event->key.dst_port, 65535);
    event = event_fixture_take(*state, "{\"protocol\":\"tcp\",\"src\":\"fe80::1%eth0\","
                                       "\"srcPort\":1,\"dst\":\"fe80::2\",\"dstPort\":2,"
                                       "\"scitag\":65}");
    assert_int_equal(event->key.family, AF_INET6);
}

/* An end is found by its addresses; its tag may be missing, but not half or wrong. */
static void test_end(void **state)
{
    const struct flowd_event *event = event_fixture_take(*state, "{\"state\":\"end\"," ENDS "}");

    assert_int_equal(event->state, FLOWD_EVENT_END);
    event_fixture_take(*state, "{\"state\":\"end\"," ENDS ",\"scitag\":145}");
    event_fixture_refuse(*state, "{\"state\":\"end\"," ENDS ",\"experiment\":2}", "activity",
                         "is missing");
    event_fixture_refuse(*state, "{\"state\":\"ongoing\"," ENDS "}", "experiment", "is missing");
    event = event_fixture_take(*state, "{\"state\":\"ongoing\"," ENDS ",\"scitag\":145}");
    assert_int_equal(event->state, FLOWD_EVENT_ONGOING);
}

static void test_start_time(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } rows[] = {
        {"1970-01-01T00:00:00.000001Z", 1},
        {"2026-01-01T00:00:00Z", EVENT_NOW_US},
        {"2026-01-01T01:00:00+01:00", EVENT_NOW_US},
        {"2026-01-01T00:01:00Z", EVENT_NOW_US + 60000000},
    };

    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[TEXT_SIZE];
        char value[64];

        snprintf(value, sizeof(value), "\"%s\"", rows[i].text);
        compose(text, "startTime", value);
        assert_int_equal(event_fixture_take(*state, text)->start_us, rows[i].us);
    }
}

static void test_not_json(void **state)
{
    event_fixture_reject(*state, "", NULL, "ends where a value");
    event_fixture_reject(*state, "{", NULL, "a member name");
    event_fixture_reject(*state, "{" ENDS, NULL, "was expected");
    event_fixture_reject(*state, "{" ENDS ",}", NULL, "a member name");
    event_fixture_reject(*state, "{" ENDS ",\"scitag\":145} x", NULL, "more text");
    event_fixture_reject(*state, "{'state':1}", NULL, "a member name");
    event_fixture_reject(*state, "{\"unknown\":[[1,2}}", NULL, "was expected");
    /* Not even the first thing that is wrong makes up for it. */
    event_fixture_reject(*state, "{\"srcPort\":0,", NULL, "a member name");
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, event_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_standard),
        test(test_forms),
        test(test_refused),
        test(test_long_name),
        test(test_first_refusal),
        test(test_repeated),
        test(test_scitag),
        test(test_names),
        cmocka_unit_test_setup_teardown(test_names_without_registry, set_up_without_registry,
                                        event_fixture_tear_down),
        test(test_addresses),
        test(test_end),
        test(test_start_time),
        test(test_not_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
