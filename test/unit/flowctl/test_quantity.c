/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in few characters, and text that gives a terminal no orders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "printable.h"
#include "quantity.h"

static void test_prefixes(void **state)
{
    static const struct {
        double number;
        const char *text;
    } rows[] = {
        {0, "0"},          {0.4, "0"},      {7, "7"},          {999, "999"},      {999.4, "999"},
        {999.5, "1.00k"},  {1000, "1.00k"}, {9994, "9.99k"},   {9995, "10.0k"},   {12345, "12.3k"},
        {99949, "99.9k"},  {99950, "100k"}, {999499, "999k"},  {999500, "1.00M"}, {1e9, "1.00G"},
        {1.5e12, "1.50T"}, {1e15, "1.00P"}, {1.8e19, "18.0E"}, {9.99e20, "999E"},
    };
    char buffer[QUANTITY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        quantity_format(rows[i].number, buffer);
        assert_string_equal(buffer, rows[i].text);
    }
}

static void test_times(void **state)
{
    static const struct {
        double ms;
        const char *text;
    } rows[] = {
        {0, "0.000"},   {0.037, "0.037"},  {0.9994, "0.999"}, {0.9996, "1.00"},
        {9.99, "9.99"}, {12.3456, "12.3"}, {250, "250"},      {4294967.295, "4294967"},
    };
    char buffer[QUANTITY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        quantity_format_ms(rows[i].ms, buffer);
        assert_string_equal(buffer, rows[i].text);
    }
}

static void test_printable(void **state)
{
    static const struct {
        const char *string;
        size_t columns;
        const char *text;
        size_t count;
    } rows[] = {
        {"", 10, "", 0},
        {"plain", SIZE_MAX, "plain", 5},
        {"plain", 3, "pla", 3},
        {"\033[2J", 10, "?[2J", 4},
        {"a\r\n\tb\x7f", 10, "a???b?", 6},
        {"\xc2\x9b"
         "1m",
         10, "?1m", 3},                                  /* CSI as one character */
        {"\xc2\xa0\xc3\xa9", 10, "\xc2\xa0\xc3\xa9", 2}, /* U+00A0 is none */
        {"\xe2\x82\xac\xe2\x82\xac", 1, "\xe2\x82\xac", 1},
        {"\x9b\xff\xc3", 10, "???", 3}, /* no UTF-8 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_text text = {0};

        assert_int_equal(printable_append(&text, rows[i].string, rows[i].columns), rows[i].count);
        flowd_text_char(&text, '\0');
        assert_string_equal(text.data, rows[i].text);
        flowd_text_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_printable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
