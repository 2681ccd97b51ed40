/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of flows that have ended and of messages, for how long, and how much of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/firefly/recent.h"

#define START_US INT64_C(1767225600123456)
#define NOW_US INT64_C(5000000)
/* As many as fit in any case. */
#define MANY 20000

static struct flowd_firefly_recent *recent;

static int setup(void **state)
{
    (void)state;
    return flowd_firefly_recent_new(&recent);
}

static int teardown(void **state)
{
    (void)state;
    flowd_firefly_recent_free(recent);
    return 0;
}

static struct flowd_flow flow_number(uint32_t number, const char *source)
{
    struct flowd_flow flow = {.key = {.src_port = (uint16_t)(1 + number % 65535),
                                      .dst_port = (uint16_t)(1 + number / 65535),
                                      .family = AF_INET6,
                                      .protocol = IPPROTO_TCP},
                              .start_us = START_US};

    snprintf(flow.source, sizeof(flow.source), "%s", source);
    return flow;
}

static void test_whose_end(void **state)
{
    struct flowd_flow ours = flow_number(1, "namedPipe"), theirs = flow_number(2, "firefly");
    struct flowd_flow like = flow_number(3, "fireflyx");
    int64_t last = NOW_US + FLOWD_FIREFLY_RECENT_US - 1;

    (void)state;
    assert_int_equal(flowd_firefly_recent_end(recent, &ours.key, START_US, NOW_US),
                     FLOWD_FIREFLY_END_NONE);
    flowd_firefly_recent_note_end(recent, &ours, NOW_US);
    flowd_firefly_recent_note_end(recent, &theirs, NOW_US);
    flowd_firefly_recent_note_end(recent, &like, NOW_US);
    assert_int_equal(flowd_firefly_recent_end(recent, &ours.key, START_US, last),
                     FLOWD_FIREFLY_END_OURS);
    assert_int_equal(flowd_firefly_recent_end(recent, &theirs.key, START_US, last),
                     FLOWD_FIREFLY_END_OTHERS);
    assert_int_equal(flowd_firefly_recent_end(recent, &like.key, START_US, last),
                     FLOWD_FIREFLY_END_OURS);
    assert_int_equal(flowd_firefly_recent_end(recent, &ours.key, START_US, last + 1),
                     FLOWD_FIREFLY_END_NONE);
}

/* Another flow of the same ports has another start; one that was rounded is the same. */
static void test_start(void **state)
{
    struct flowd_flow flow = flow_number(1, "api");

    (void)state;
    flowd_firefly_recent_note_end(recent, &flow, NOW_US);
    assert_int_equal(flowd_firefly_recent_end(recent, &flow.key, START_US / 1000 * 1000, NOW_US),
                     FLOWD_FIREFLY_END_OURS);
    assert_int_equal(flowd_firefly_recent_end(recent, &flow.key, START_US + 1000, NOW_US),
                     FLOWD_FIREFLY_END_NONE);
    flow.key.dst_port++;
    assert_int_equal(flowd_firefly_recent_end(recent, &flow.key, START_US, NOW_US),
                     FLOWD_FIREFLY_END_NONE);
}

static void test_messages(void **state)
{
    static const char *const texts[] = {
        "", "{}", "{ }", "{\"a\": 12345678}", "{\"a\": 12345679}", "{\"a\": 1234567 }"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_false(flowd_firefly_recent_message(recent, texts[i], strlen(texts[i]), NOW_US));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(flowd_firefly_recent_message(recent, texts[i], strlen(texts[i]), NOW_US + 1));
    /* Having come again it is remembered from then on. */
    assert_true(flowd_firefly_recent_message(recent, "{}", 2, NOW_US + FLOWD_FIREFLY_RECENT_US));
    assert_false(
        flowd_firefly_recent_message(recent, "{}", 2, NOW_US + 3 * FLOWD_FIREFLY_RECENT_US));
}

/* A table that is full forgets what is oldest, and never takes one for another. */
static void test_many(void **state)
{
    unsigned known = 0;

    (void)state;
    for (uint32_t i = 0; i < 10 * MANY; i++) {
        struct flowd_flow flow = flow_number(i, "api");
        char text[16];

        assert_int_equal(flowd_firefly_recent_end(recent, &flow.key, START_US, NOW_US),
                         FLOWD_FIREFLY_END_NONE);
        flowd_firefly_recent_note_end(recent, &flow, NOW_US + i);
        snprintf(text, sizeof(text), "%u", i);
        assert_false(flowd_firefly_recent_message(recent, text, strlen(text), NOW_US + i));
    }
    for (uint32_t i = 9 * MANY; i < 10 * MANY; i++) {
        struct flowd_flow flow = flow_number(i, "api");

        known += flowd_firefly_recent_end(recent, &flow.key, START_US, NOW_US + i) ==
                 FLOWD_FIREFLY_END_OURS;
    }
    /* Of the last ones hardly any was in a bucket with four later ones. */
    assert_in_range(known, MANY * 99 / 100, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whose_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
