/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd-go's form of an event: numbers for words, two forms of address, members in any case and
 * unknown ones passed over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "event_fixture.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define SRC "\"Src\":{\"IP\":\"2001:db8::1\",\"Port\":1094}"
#define DST "\"Dst\":{\"IP\":\"2001:db8::2\",\"Port\":40000}"
#define TAG "\"Experiment\":2,\"Activity\":17"

static int set_up(void **state)
{
    *state = event_fixture_new(api_event_read_go, false);
    return 0;
}

static void test_forms(void **state)
{
    static const char *const texts[] = {
        "{\"State\":2,\"Protocol\":0,\"Family\":10," SRC "," DST "," TAG "}",
        "{\"State\":2," SRC "," DST "," TAG "}",
        "{\"state\":2,\"PROTOCOL\":0,\"src\":{\"ip\":\"2001:db8::1\",\"PORT\":1094},"
        "\"dST\":{\"Port\":40000,\"Ip\":\"2001:db8::2\"},\"experiment\":2,\"activity\":17}",
        "{\"State\":2,\"Src\":\"[2001:db8::1]:1094\",\"Dst\":\"[2001:db8::2]:40000\"," TAG "}",
        "{\"State\":2," SRC "," DST "," TAG ",\"Unknown\":[1,{\"a\":null}],\"Also\":\"x\"}",
        "{\"State\":2,\"Src\":{\"IP\":\"2001:db8::1\",\"Port\":1094,\"Zone\":\"\"}," DST "," TAG
        ",\"StartTs\":\"0001-01-01T00:00:00Z\"}",
    };

    for (size_t i = 0; i < ROWS(texts); i++) {
        const struct flowd_event *event = event_fixture_take(*state, texts[i]);

        event_fixture_check_start(event);
        assert_int_equal(event->experiment, 2);
        assert_int_equal(event->activity, 17);
        assert_int_equal(event->start_us, 0);
    }
}

static void test_values(void **state)
{
    const struct flowd_event *event = event_fixture_take(
        *state, "{\"State\":3,\"Protocol\":1,\"Family\":2,\"Src\":\"192.0.2.1:5\","
                "\"Dst\":\"192.0.2.2:6\",\"Experiment\":-1,\"Activity\":100000}");

    /* The tag of an end is of no account. */
    assert_int_equal(event->state, FLOWD_EVENT_END);
    assert_int_equal(event->key.protocol, IPPROTO_UDP);
    assert_int_equal(event->key.family, AF_INET);
    assert_int_equal(event->key.src_port, 5);
    event = event_fixture_take(*state, "{\"State\":3," SRC "," DST "}");
    assert_int_equal(event->state, FLOWD_EVENT_END);
    event = event_fixture_take(*state, "{\"State\":4," SRC "," DST "," TAG
                                       ",\"StartTs\":\"2025-12-31T00:00:00Z\","
                                       "\"Application\":\"fts\"}");
    assert_int_equal(event->state, FLOWD_EVENT_ONGOING);
    assert_int_equal(event->start_us, EVENT_NOW_US - INT64_C(86400) * 1000000);
    assert_int_equal(event->application_length, 3);
}

static const struct {
    const char *text;
    const char *field;
    const char *words;
} refused_rows[] = {
    {"{" SRC "," DST "," TAG "}", "State", "is missing"},
    {"{\"State\":2," DST "," TAG "}", "Src", "is missing"},
    {"{\"State\":2," SRC "," TAG "}", "Dst", "is missing"},
    {"{\"State\":2," SRC "," DST ",\"Activity\":1}", "Experiment", "is missing"},
    {"{\"State\":2," SRC "," DST ",\"Experiment\":1}", "Activity", "is missing"},
    {"{\"State\":0," SRC "," DST "," TAG "}", "State", "must be 2"},
    {"{\"State\":1," SRC "," DST "," TAG "}", "State", "must be 2"},
    {"{\"State\":5," SRC "," DST "," TAG "}", "State", "must be 2"},
    {"{\"State\":\"start\"," SRC "," DST "," TAG "}", "State", "must be an integer"},
    {"{\"State\":2.0," SRC "," DST "," TAG "}", "State", "must be an integer"},
    {"{\"State\":2,\"Protocol\":6," SRC "," DST "," TAG "}", "Protocol", "must be 0 (tcp)"},
    {"{\"State\":2,\"Protocol\":-1," SRC "," DST "," TAG "}", "Protocol", "must be 0 (tcp)"},
    {"{\"State\":2,\"Family\":2," SRC "," DST "," TAG "}", "Family", "is not that of the"},
    {"{\"State\":2,\"Family\":266," SRC "," DST "," TAG "}", "Family", "is not that of the"},
    {"{\"State\":2," SRC "," DST ",\"Experiment\":1024,\"Activity\":1}", "Experiment", "0-1023"},
    {"{\"State\":2," SRC "," DST ",\"Experiment\":-1,\"Activity\":1}", "Experiment", "0-1023"},
    {"{\"State\":2," SRC "," DST ",\"Experiment\":65538,\"Activity\":1}", "Experiment", "0-1023"},
    {"{\"State\":2," SRC "," DST ",\"Experiment\":1,\"Activity\":64}", "Activity", "0-63"},
    {"{\"State\":2," SRC "," DST ",\"Experiment\":1,\"Activity\":257}", "Activity", "0-63"},
    {"{\"State\":2,\"Src\":5," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":null," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":[]," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":{}," DST "," TAG "}", "Src", "needs IP and Port"},
    {"{\"State\":2,\"Src\":{\"IP\":\"::1\"}," DST "," TAG "}", "Src", "needs IP and Port"},
    {"{\"State\":2,\"Src\":{\"Port\":1}," DST "," TAG "}", "Src", "needs IP and Port"},
    {"{\"State\":2,\"Src\":{\"IP\":\"x\",\"Port\":1}," DST "," TAG "}", "Src", "IP is not"},
    {"{\"State\":2,\"Src\":{\"IP\":1,\"Port\":1}," DST "," TAG "}", "Src", "IP is not"},
    {"{\"State\":2,\"Src\":{\"IP\":\"::1\",\"Port\":0}," DST "," TAG "}", "Src", "Port is not"},
    {"{\"State\":2,\"Src\":{\"IP\":\"::1\",\"Port\":65536}," DST "," TAG "}", "Src", "Port is not"},
    {"{\"State\":2,\"Src\":{\"IP\":\"::1\",\"Port\":\"1\"}," DST "," TAG "}", "Src", "Port is not"},
    {"{\"State\":2,\"Src\":\"192.0.2.1\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"192.0.2.1:\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"192.0.2.1:0\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"192.0.2.1:65536\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"2001:db8::1:1094\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"[]:1\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"example.org:1\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\":1\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2,\"Src\":\"\"," DST "," TAG "}", "Src", "must be {"},
    {"{\"State\":2," SRC ",\"Dst\":\"192.0.2.1:1\"," TAG "}", "Dst", "same family"},
    {"{\"State\":2," SRC "," DST "," TAG ",\"Application\":5}", "Application", "must be a string"},
    {"{\"State\":2," SRC "," DST "," TAG ",\"StartTs\":5}", "StartTs", "RFC 3339"},
    {"{\"State\":2," SRC "," DST "," TAG ",\"StartTs\":\"x\"}", "StartTs", "RFC 3339"},
    {"[]", "", "an event must be an object, is an array"},
    {"\"x\"", "", "an event must be an object, is a string"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < ROWS(refused_rows); i++)
        event_fixture_refuse(*state, refused_rows[i].text, refused_rows[i].field,
                             refused_rows[i].words);
}

static void test_rejected(void **state)
{
    event_fixture_reject(*state, "{\"State\":2,\"state\":2}", "State", "twice");
    event_fixture_reject(*state, "{" SRC "," SRC "}", "Src", "twice");
    event_fixture_reject(*state, "{\"Src\":{\"IP\":\"::1\",}", NULL, "a member name");
    event_fixture_reject(*state, "{\"Unknown\":[1,2}", NULL, "was expected");
    event_fixture_reject(*state, "{\"State\":2", NULL, "was expected");
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, event_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_forms),
        test(test_values),
        test(test_refused),
        test(test_rejected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
