/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of elements of different sizes grow with what is in them, by doubling or at once, and stay
 * as they are where they can't.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/vector.h"

struct large {
    uint64_t number;
    uint64_t more[40];
};

static void test_one_by_one(void **state)
{
    uint32_t *numbers = NULL;
    size_t capacity = 0;
    size_t moves = 0;

    (void)state;
    for (uint32_t count = 0; count < 100000; count++) {
        size_t before = capacity;

        assert_int_equal(flowd_vector_reserve(&numbers, &capacity, count + 1), 0);
        assert_true(capacity > count);
        moves += capacity != before;
        numbers[count] = count;
    }
    assert_in_range(moves, 2, 16);
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(numbers[i], i);
    free(numbers);
}

/* AddressSanitizer sees elements that are there in name only. */
static void test_at_once(void **state)
{
    struct large *items = NULL;
    char *bytes = NULL;
    size_t capacity = 0;
    size_t byte_capacity = 0;

    (void)state;
    assert_int_equal(flowd_vector_reserve(&items, &capacity, 0), 0);
    assert_null(items);
    assert_int_equal(flowd_vector_reserve(&items, &capacity, 1), 0);
    items[capacity - 1].number = 1;
    assert_int_equal(flowd_vector_reserve(&items, &capacity, 1000), 0);
    assert_int_equal(capacity, 1000);
    items[999].number = 1;
    assert_int_equal(flowd_vector_reserve(&items, &capacity, 1001), 0);
    assert_int_equal(capacity, 2000);
    items[1999].number = 1;
    assert_int_equal(flowd_vector_reserve(&bytes, &byte_capacity, 1), 0);
    bytes[byte_capacity - 1] = 1;
    free(items);
    free(bytes);
}

static void test_too_many(void **state)
{
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / sizeof(struct large) + 2,
                                    PTRDIFF_MAX / sizeof(struct large) + 1};
    struct large *items = NULL;
    struct large *before;
    size_t capacity = 0;

    (void)state;
    assert_int_equal(flowd_vector_reserve(&items, &capacity, 5), 0);
    before = items;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        assert_int_equal(flowd_vector_reserve(&items, &capacity, counts[i]), -ENOMEM);
        assert_ptr_equal(items, before);
        assert_int_equal(capacity, 5);
    }
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
