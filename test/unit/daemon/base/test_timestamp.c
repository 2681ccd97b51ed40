/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 3339 times: a table of texts with their microseconds, and each number back as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/base/timestamp.h"

#define TEXT(literal) literal, sizeof(literal) - 1
#define S(seconds) (1000000 * (int64_t)(seconds))
#define UNTOUCHED 77

struct row {
    const char *text;
    size_t length;
    int result;
    int64_t us;
};

static const struct row rows[] = {
    {TEXT("1970-01-01T00:00:00Z"), 0, 0},
    {TEXT("1970-01-01T00:00:00.000001Z"), 0, 1},
    {TEXT("2026-01-01T00:00:00Z"), 0, S(1767225600)},
    {TEXT("2026-01-01t00:00:00z"), 0, S(1767225600)},
    {TEXT("2026-01-01 00:00:00+00:00"), 0, S(1767225600)},
    {TEXT("2026-01-01T00:00:00-00:00"), 0, S(1767225600)},
    {TEXT("2026-01-01T01:30:00+01:30"), 0, S(1767225600)},
    {TEXT("2025-12-31T14:00:00-10:00"), 0, S(1767225600)},
    {TEXT("2026-01-01T23:59:00+23:59"), 0, S(1767225600)},
    {TEXT("2026-01-01T00:00:00.5Z"), 0, S(1767225600) + 500000},
    {TEXT("2026-01-01T00:00:00.123456Z"), 0, S(1767225600) + 123456},
    {TEXT("2026-01-01T00:00:00.123456999Z"), 0, S(1767225600) + 123456},
    {TEXT("2026-01-01T00:00:00.00000000000000000000000000009Z"), 0, S(1767225600)},
    {TEXT("2024-02-29T12:00:00Z"), 0, S(1709208000)},
    {TEXT("2000-02-29T00:00:00Z"), 0, S(951782400)},
    {TEXT("2016-12-31T23:59:60Z"), 0, S(1483228800)},
    {TEXT("2017-01-01T00:59:60+01:00"), 0, S(1483228800)},
    {TEXT("9999-12-31T23:59:59.999999Z"), 0, S(253402300799) + 999999},
    /* The calendar. */
    {TEXT("2026-02-29T00:00:00Z"), -EINVAL, 0},
    {TEXT("2100-02-29T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-02-30T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-02-30T23:59:60Z"), -EINVAL, 0},
    {TEXT("2026-04-31T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-00-01T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-13-01T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-01-00T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-01-32T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-01-01T24:00:00Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:60:00Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:61Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00+24:00"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00+00:60"), -EINVAL, 0},
    /* Nothing before the epoch, and nothing that four digits of a year can't say. */
    {TEXT("1969-12-31T23:59:59Z"), -EINVAL, 0},
    {TEXT("0000-01-01T00:00:00Z"), -EINVAL, 0},
    {TEXT("1970-01-01T00:00:00+00:01"), -EINVAL, 0},
    {TEXT("9999-12-31T23:59:59-00:01"), -EINVAL, 0},
    {TEXT("10000-01-01T00:00:00Z"), -EINVAL, 0},
    /* The form. */
    {TEXT(""), -EINVAL, 0},
    {TEXT("-"), -EINVAL, 0},
    {TEXT("2026-01-01"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00.Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00,5Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00+0100"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00+01"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00+1:00"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00 Z"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00ZZ"), -EINVAL, 0},
    {TEXT("2026-01-01T00:00:00Z\0"), -EINVAL, 0},
    {TEXT("2026-01-01\0"
          "00:00:00Z"),
     -EINVAL, 0},
    {TEXT(" 2026-01-01T00:00:00Z"), -EINVAL, 0},
    {TEXT("20260101T000000Z"), -EINVAL, 0},
    {TEXT("+026-01-01T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026-1-1T00:00:00Z"), -EINVAL, 0},
    {TEXT("2026/01/01T00:00:00Z"), -EINVAL, 0},
    {TEXT("1767225600"), -EINVAL, 0},
};

static void test_parse(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        int64_t us = UNTOUCHED;
        int result = flowd_timestamp_parse(row->text, row->length, &us);

        if (result != row->result || us != (row->result == 0 ? row->us : UNTOUCHED)) {
            print_error("\"%s\" gave %d, %" PRId64 "\n", row->text, result, us);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_parse_stops_at_its_length(void **state)
{
    int64_t us = 0;

    (void)state;
    for (size_t length = 0; length < 20; length++)
        assert_int_equal(flowd_timestamp_parse("2026-01-01T00:00:00Z", length, &us), -EINVAL);
    assert_int_equal(flowd_timestamp_parse("2026-01-01T00:00:00Zjunk", 20, &us), 0);
}

static void test_format(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } times[] = {
        {0, "1970-01-01T00:00:00.000000+00:00"},
        {1, "1970-01-01T00:00:00.000001+00:00"},
        {S(1767225600), "2026-01-01T00:00:00.000000+00:00"},
        {S(1767225600) + 999999, "2026-01-01T00:00:00.999999+00:00"},
        {S(1767225616) + 10, "2026-01-01T00:00:16.000010+00:00"},
        {S(1709208000), "2024-02-29T12:00:00.000000+00:00"},
        {S(253402300799) + 999999, "9999-12-31T23:59:59.999999+00:00"},
    };
    char text[FLOWD_TIMESTAMP_SIZE];

    (void)state;
    /* Twice, and seconds that share a place in the cache of calendar texts. */
    for (size_t i = 0; i < 2 * sizeof(times) / sizeof(times[0]); i++) {
        size_t at = i % (sizeof(times) / sizeof(times[0]));

        memset(text, 'x', sizeof(text));
        assert_int_equal(flowd_timestamp_format(times[at].us, text), FLOWD_TIMESTAMP_SIZE - 1);
        assert_memory_equal(text, times[at].text, FLOWD_TIMESTAMP_SIZE);
    }
}

static void test_round_trip(void **state)
{
    char text[FLOWD_TIMESTAMP_SIZE];
    int64_t us, back;

    (void)state;
    for (us = 0; us < S(253402300800); us += S(86399 * 97) + 76543) {
        size_t length = flowd_timestamp_format(us, text);

        assert_int_equal(flowd_timestamp_parse(text, length, &back), 0);
        assert_true(back == us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_stops_at_its_length),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
