/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The integer parser: digits and nothing else, with exact limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/base/integer.h"

#define UNTOUCHED 12345678u
#define TEXT(literal) literal, sizeof(literal) - 1

struct row {
    const char *text;
    size_t length;
    uint64_t min, max;
    int result;
    uint64_t value;
};

static const struct row rows[] = {
    {TEXT("0"), 0, UINT64_MAX, 0, 0},
    {TEXT("7"), 0, UINT64_MAX, 0, 7},
    {TEXT("65535"), 1, 65535, 0, 65535},
    {TEXT("65536"), 1, 65535, -ERANGE, 0},
    {TEXT("0"), 1, 65535, -ERANGE, 0},
    {TEXT("007"), 0, 7, 0, 7},
    {TEXT("00000000000000000001"), 0, 7, 0, 1},
    {TEXT("000000000000000000001"), 0, 7, -ERANGE, 0},
    {TEXT("18446744073709551615"), 0, UINT64_MAX, 0, UINT64_MAX},
    {TEXT("18446744073709551616"), 0, UINT64_MAX, -ERANGE, 0},
    {TEXT("18446744073709551620"), 0, UINT64_MAX, -ERANGE, 0},
    {TEXT("99999999999999999999"), 0, UINT64_MAX, -ERANGE, 0},
    {TEXT("100000000000000000000"), 0, UINT64_MAX, -ERANGE, 0},
    {TEXT(""), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("+1"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("-1"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("-0"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT(" 1"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1 "), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1\n"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1\0"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("\0"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1\0002"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("0x10"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1e3"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1.0"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1_000"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("1,000"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("\xd9\xa4\xd9\xa0"), 0, UINT64_MAX, -EINVAL, 0},
    {TEXT("99999999999999999999999999999999x"), 0, UINT64_MAX, -EINVAL, 0},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        uint64_t value = UNTOUCHED;
        int result = flowd_integer_parse(row->text, row->length, row->min, row->max, &value);

        if (result != row->result || value != (row->result == 0 ? row->value : UNTOUCHED))
            fail_msg("\"%s\" (%zu bytes): result %d, value %llu", row->text, row->length, result,
                     (unsigned long long)value);
    }
}

static void test_stops_at_its_length(void **state)
{
    uint64_t value = 0;

    (void)state;
    assert_int_equal(flowd_integer_parse("12345", 3, 0, UINT64_MAX, &value), 0);
    assert_int_equal(value, 123);
}

static void test_read(void **state)
{
    static const struct {
        const char *text;
        size_t stop; /* 0: no digits */
        uint64_t value;
    } read_rows[] = {
        {"1094 2", 4, 1094},
        {"0", 1, 0},
        {"007x", 3, 7},
        {"9999999999999999999", 19, UINT64_C(9999999999999999999)},
        {"12345678901234567890", 19, UINT64_C(1234567890123456789)},
        {"", 0, 0},
        {"x1", 0, 0},
        {"-1", 0, 0},
        {" 1", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(read_rows) / sizeof(read_rows[0]); i++) {
        const char *text = read_rows[i].text;
        uint64_t value = UNTOUCHED;
        const char *stop = flowd_integer_read(text, text + strlen(text), &value);

        if (stop != (read_rows[i].stop > 0 ? text + read_rows[i].stop : NULL) ||
            value != (stop != NULL ? read_rows[i].value : UNTOUCHED))
            fail_msg("\"%s\" gave %llu", text, (unsigned long long)value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_stops_at_its_length),
        cmocka_unit_test(test_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
