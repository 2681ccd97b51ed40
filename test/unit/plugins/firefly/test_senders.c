/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The senders of fireflies: counts, who makes room when the table is full, and the rate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "senders.h"

static struct firefly_senders senders;

static int setup(void **state)
{
    (void)state;
    return firefly_senders_init(&senders);
}

static int teardown(void **state)
{
    (void)state;
    firefly_senders_fini(&senders);
    return 0;
}

static struct firefly_sender *hear(unsigned number)
{
    struct flowd_address address;
    char text[32];
    int length = snprintf(text, sizeof(text), "2001:db8::%x", number);

    assert_int_equal(flowd_address_parse(text, (size_t)length, &address), 0);
    return firefly_senders_heard(&senders, &address);
}

static void test_counts(void **state)
{
    struct flowd_address four;

    (void)state;
    for (unsigned round = 1; round <= 3; round++)
        for (unsigned i = 0; i < 5; i++)
            assert_int_equal(hear(i)->received, round);
    assert_int_equal(hear(4)->received, 4);
    assert_int_equal(senders.count, 5);
    /* Four bytes that an address of the other family begins with are another sender. */
    assert_int_equal(flowd_address_parse("32.1.13.184", 11, &four), 0);
    assert_int_equal(firefly_senders_heard(&senders, &four)->received, 1);
    assert_int_equal(senders.count, 6);
}

static void test_full(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FIREFLY_SENDERS_MAX; i++)
        (void)hear(i);
    /* The first ones are heard again; those behind them are the oldest then. */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(hear(i)->received, 2);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(hear(10000 + i)->received, 1);
    assert_int_equal(senders.count, FIREFLY_SENDERS_MAX);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(hear(i)->received, 3);
    assert_int_equal(hear(110)->received, 2);
    assert_int_equal(hear(10)->received, 1);
}

static void test_rate(void **state)
{
    struct firefly_sender *one = hear(1);
    unsigned taken = 0;

    (void)state;
    for (int i = 0; i < 250; i++)
        taken += firefly_sender_may(one, 100, 1000);
    assert_int_equal(taken, 100);
    assert_int_equal(one->limited, 150);
    /* Half a second later half of them, and none for a clock that goes back. */
    assert_false(firefly_sender_may(one, 100, 900));
    for (int i = 0; i < 250; i++)
        taken += firefly_sender_may(one, 100, 900.5);
    assert_int_equal(taken, 150);
    /* However long it was silent. */
    for (int i = 0; i < 250; i++)
        taken += firefly_sender_may(one, 100, 100000);
    assert_int_equal(taken, 250);
    assert_true(firefly_sender_may(hear(2), 1, 1000));
    assert_false(firefly_sender_may(hear(2), 1, 1000));
}

static void test_json(void **state)
{
    json_t *array;

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        for (unsigned times = 0; times <= i; times++)
            hear(i)->rejected += i == 99;
    array = firefly_senders_json(&senders);
    assert_int_equal(json_array_size(array), FIREFLY_SENDERS_SHOWN);
    for (size_t i = 0; i < FIREFLY_SENDERS_SHOWN; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(array, i), "received")),
                         100 - i);
    assert_string_equal(json_string_value(json_object_get(json_array_get(array, 0), "address")),
                        "2001:db8::63");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(array, 0), "rejected")),
                     100);
    json_decref(array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
