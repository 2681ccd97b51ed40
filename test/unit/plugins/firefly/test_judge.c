/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is news: messages of a flow in every state that it may be in here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "judge.h"
#include "lab/hub_fixture.h"

#define START_US INT64_C(1767225600123456)
#define NOW_US INT64_C(1000000)

static struct hub_fixture fixture;
static struct flowd_firefly_recent *recent;
static struct flowd_source *fireflies;
static unsigned message_number;

static int setup(void **state)
{
    (void)state;
    hub_fixture_open(&fixture, "", 100);
    assert_int_equal(flowd_firefly_recent_new(&recent), 0);
    flowd_hub_set_recent(fixture.hub, recent);
    assert_ptr_equal(flowd_hub_recent(fixture.hub), recent);
    fireflies = flowd_hub_source(fixture.hub, FLOWD_FIREFLY_SOURCE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hub_fixture_close(&fixture);
    flowd_firefly_recent_free(recent);
    return 0;
}

/* A message that has not come before; start_us 0: without start-time. */
static struct flowd_firefly_message make(enum flowd_event_state state, uint8_t activity,
                                         int64_t start_us, char text[static 32])
{
    struct flowd_firefly_message message = {.event = {.state = state,
                                                      .key = {.src_port = 1,
                                                              .dst_port = 2,
                                                              .family = AF_INET6,
                                                              .protocol = IPPROTO_TCP},
                                                      .experiment = 2,
                                                      .activity = activity,
                                                      .start_us = start_us},
                                            .text = text,
                                            .has_start_time = start_us != 0,
                                            .has_current_time = true};

    message.length = (size_t)snprintf(text, 32, "{\"n\": %u}", message_number++);
    message.object.length = message.length;
    return message;
}

static enum firefly_verdict judge(enum flowd_event_state state, int64_t start_us)
{
    char text[32];
    struct flowd_firefly_message message = make(state, 17, start_us, text);

    return firefly_judge(&message, fixture.hub, recent, flowd_timestamp_boot_us());
}

static void submit(struct flowd_source *source, enum flowd_event_state state, uint8_t activity,
                   int64_t start_us)
{
    char text[32];
    struct flowd_firefly_message message = make(state, activity, start_us, text);

    assert_true(flowd_hub_submit(fixture.hub, source, &message.event, NULL, NULL) >= 0);
    hub_fixture_turn(&fixture);
}

/* What is said of a start, an ongoing and an end with this start-time. */
static void assert_verdicts(int64_t start_us, enum firefly_verdict start,
                            enum firefly_verdict ongoing, enum firefly_verdict end)
{
    assert_int_equal(judge(FLOWD_EVENT_START, start_us), start);
    assert_int_equal(judge(FLOWD_EVENT_ONGOING, start_us), ongoing);
    assert_int_equal(judge(FLOWD_EVENT_END, start_us), end);
}

static void assert_all(int64_t start_us, enum firefly_verdict verdict)
{
    assert_verdicts(start_us, verdict, verdict, verdict);
}

static void test_flow_of_flowd(void **state)
{
    (void)state;
    assert_all(START_US, FIREFLY_NEWS);
    submit(fixture.source, FLOWD_EVENT_START, 17, START_US);
    assert_all(START_US, FIREFLY_OWN);
    assert_all(START_US / 1000 * 1000, FIREFLY_OWN);
    assert_all(START_US + 1000, FIREFLY_NEWS);
    assert_all(0, FIREFLY_NEWS);
    submit(fixture.source, FLOWD_EVENT_END, 17, START_US);
    assert_all(START_US, FIREFLY_OWN);
    assert_all(START_US + 1000, FIREFLY_NEWS);
    /* The next one with its ports is not the former one. */
    submit(fixture.source, FLOWD_EVENT_START, 17, START_US + 2000);
    assert_all(START_US, FIREFLY_OWN);
    assert_all(START_US + 2000, FIREFLY_OWN);
    assert_all(START_US + 1000, FIREFLY_NEWS);
}

static void test_flow_of_others(void **state)
{
    (void)state;
    submit(fireflies, FLOWD_EVENT_START, 17, START_US);
    assert_all(START_US, FIREFLY_NEWS);
    submit(fireflies, FLOWD_EVENT_END, 17, START_US);
    assert_verdicts(START_US, FIREFLY_LATE, FIREFLY_LATE, FIREFLY_NEWS);
    assert_all(START_US + 1000, FIREFLY_NEWS);
    assert_all(0, FIREFLY_NEWS);
}

/* The flow has the same start with another tag: it is live, though one with that start has ended.
 */
static void test_another_tag(void **state)
{
    (void)state;
    submit(fireflies, FLOWD_EVENT_START, 17, START_US);
    submit(fireflies, FLOWD_EVENT_START, 18, START_US);
    assert_all(START_US, FIREFLY_NEWS);
    submit(fireflies, FLOWD_EVENT_END, 18, START_US);
    assert_verdicts(START_US, FIREFLY_LATE, FIREFLY_LATE, FIREFLY_NEWS);
}

static void test_again(void **state)
{
    char text[32];
    struct flowd_firefly_message message = make(FLOWD_EVENT_ONGOING, 17, START_US, text);

    (void)state;
    assert_int_equal(firefly_judge(&message, fixture.hub, recent, NOW_US), FIREFLY_NEWS);
    assert_int_equal(firefly_judge(&message, fixture.hub, recent, NOW_US), FIREFLY_AGAIN);
    assert_int_equal(
        firefly_judge(&message, fixture.hub, recent, NOW_US + 2 * FLOWD_FIREFLY_RECENT_US),
        FIREFLY_NEWS);
    /* Without current-time the next one may be like it. */
    message.has_current_time = false;
    assert_int_equal(firefly_judge(&message, fixture.hub, recent, NOW_US), FIREFLY_NEWS);
    /* What is flowd's own is so however often it comes. */
    message.has_current_time = true;
    submit(fixture.source, FLOWD_EVENT_START, 17, START_US);
    for (int i = 0; i < 2; i++)
        assert_int_equal(firefly_judge(&message, fixture.hub, recent, NOW_US), FIREFLY_OWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flow_of_flowd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flow_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_tag, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
