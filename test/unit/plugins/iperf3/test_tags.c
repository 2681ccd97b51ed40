/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of connections: in turn, each list by itself; at random, every pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tags.h"

static int64_t experiments[] = {2, 1023};
static int64_t activities[] = {1, 14, 63};
static const struct flowd_integers both[] = {{experiments, 2}, {activities, 3}};

static void test_in_turn(void **state)
{
    struct iperf3_tags tags;

    (void)state;
    iperf3_tags_init(&tags, &both[0], &both[1], false);
    for (size_t i = 0; i < 12; i++) {
        struct flowd_tag tag = iperf3_tags_next(&tags);

        assert_int_equal(tag.experiment, experiments[i % 2]);
        assert_int_equal(tag.activity, activities[i % 3]);
    }
}

static void test_at_random(void **state)
{
    struct iperf3_tags tags;
    unsigned seen[2][3] = {0};

    (void)state;
    iperf3_tags_init(&tags, &both[0], &both[1], true);
    for (unsigned i = 0; i < 6000; i++) {
        struct flowd_tag tag = iperf3_tags_next(&tags);
        size_t one = tag.experiment == 2 ? 0 : 1;
        size_t other = tag.activity == 1 ? 0 : tag.activity == 14 ? 1 : 2;

        assert_int_equal(tag.experiment, experiments[one]);
        assert_int_equal(tag.activity, activities[other]);
        seen[one][other]++;
    }
    /* A thousand is expected, with a deviation of 29. */
    for (size_t i = 0; i < 6; i++)
        assert_in_range(seen[i / 3][i % 3], 700, 1300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
