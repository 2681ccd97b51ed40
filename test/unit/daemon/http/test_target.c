/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query strings and percent-encoding.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/http/target.h"

/* clang-format off */
#define TEXT(literal) {literal, sizeof(literal) - 1}
/* clang-format on */
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
    struct flowd_http_slice text;
    int result;
    const char *decoded;
} decode_rows[] = {
    {TEXT(""), 0, ""},
    {TEXT("abc"), 3, "abc"},
    {TEXT("a+b"), 3, "a b"},
    {TEXT("a%20b"), 3, "a b"},
    {TEXT("%2B%2b"), 2, "++"},
    {TEXT("%25"), 1, "%"},
    {TEXT("%2541"), 3, "%41"},
    {TEXT("%26%3D"), 2, "&="},
    {TEXT("%ff%FF"), 2, "\xff\xff"},
    {TEXT("1234567"), 7, "1234567"},
    {TEXT("123456%37"), 7, "1234567"},
    {TEXT("%"), -EINVAL, NULL},
    {TEXT("%2"), -EINVAL, NULL},
    {TEXT("a%"), -EINVAL, NULL},
    {TEXT("%2g"), -EINVAL, NULL},
    {TEXT("%g2"), -EINVAL, NULL},
    {TEXT("%%20"), -EINVAL, NULL},
    {TEXT("% 20"), -EINVAL, NULL},
    {TEXT("%+2"), -EINVAL, NULL},
    {TEXT("%00"), -EINVAL, NULL},
    {TEXT("a%00b"), -EINVAL, NULL},
    {TEXT("12345678"), -E2BIG, NULL},
    {TEXT("1234567%38"), -E2BIG, NULL},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(decode_rows); i++) {
        char buffer[8];
        int result = flowd_http_percent_decode(decode_rows[i].text, buffer, sizeof(buffer));

        if (result != decode_rows[i].result)
            fail_msg("\"%s\" gives %d", decode_rows[i].text.data, result);
        if (result >= 0)
            assert_string_equal(buffer, decode_rows[i].decoded);
    }
}

static void test_decode_into_nothing(void **state)
{
    char buffer[1] = {'x'};
    struct flowd_http_slice empty = {"", 0};

    (void)state;
    assert_int_equal(flowd_http_percent_decode(empty, buffer, 0), -E2BIG);
    assert_int_equal(buffer[0], 'x');
    assert_int_equal(flowd_http_percent_decode(empty, buffer, 1), 0);
    assert_int_equal(buffer[0], '\0');
}

/* The parts of each query as they come, written "name>value;". */
static const struct {
    const char *query;
    const char *parts;
} query_rows[] = {
    {"", ""},
    {"&", ""},
    {"&&&", ""},
    {"a=1", "a>1;"},
    {"a=1&b=2", "a>1;b>2;"},
    {"a=1&&b=2&", "a>1;b>2;"},
    {"a", "a>;"},
    {"a=", "a>;"},
    {"=a", ">a;"},
    {"=", ">;"},
    {"a=b=c", "a>b=c;"},
    {"a=1&a=2", "a>1;a>2;"},
    {"a%26b=%3D", "a%26b>%3D;"},
    {"a?b=/c", "a?b>/c;"},
};

static void test_query(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(query_rows); i++) {
        struct flowd_http_slice query = {query_rows[i].query, strlen(query_rows[i].query)};
        struct flowd_http_slice name, value;
        char parts[64] = "";
        size_t used = 0;

        while (flowd_http_query_next(&query, &name, &value) == 1) {
            memcpy(parts + used, name.data, name.length);
            used += name.length;
            parts[used++] = '>';
            memcpy(parts + used, value.data, value.length);
            used += value.length;
            parts[used++] = ';';
        }
        parts[used] = '\0';
        assert_string_equal(parts, query_rows[i].parts);
        assert_int_equal(query.length, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_into_nothing),
        cmocka_unit_test(test_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
