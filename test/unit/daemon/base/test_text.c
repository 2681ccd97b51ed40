/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing texts: UTF-8 is judged byte by byte, JSON strings are escaped, and growth loses nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

#define TEXT(literal) literal, sizeof(literal) - 1

struct utf8_row {
    const char *bytes;
    size_t length;
    bool good;
};

static const struct utf8_row utf8_rows[] = {
    {TEXT(""), true},
    {TEXT("plain"), true},
    {TEXT("\0"), true},
    {TEXT("\x7f"), true},
    {TEXT("\xc2\x80"), true},         /* U+0080 */
    {TEXT("\xdf\xbf"), true},         /* U+07FF */
    {TEXT("\xe0\xa0\x80"), true},     /* U+0800 */
    {TEXT("\xed\x9f\xbf"), true},     /* U+D7FF */
    {TEXT("\xee\x80\x80"), true},     /* U+E000 */
    {TEXT("\xef\xbf\xbf"), true},     /* U+FFFF */
    {TEXT("\xf0\x90\x80\x80"), true}, /* U+10000 */
    {TEXT("\xf4\x8f\xbf\xbf"), true}, /* U+10FFFF */
    {TEXT("a\xc3\xa9z"), true},
    {TEXT("\x80"), false}, /* a continuation alone */
    {TEXT("\xbf"), false},
    {TEXT("\xc0\x80"), false},         /* overlong U+0000 */
    {TEXT("\xc1\xbf"), false},         /* overlong U+007F */
    {TEXT("\xe0\x80\x80"), false},     /* overlong */
    {TEXT("\xe0\x9f\xbf"), false},     /* overlong U+07FF */
    {TEXT("\xf0\x80\x80\x80"), false}, /* overlong */
    {TEXT("\xf0\x8f\xbf\xbf"), false}, /* overlong U+FFFF */
    {TEXT("\xed\xa0\x80"), false},     /* the first surrogate */
    {TEXT("\xed\xbf\xbf"), false},     /* the last surrogate */
    {TEXT("\xf4\x90\x80\x80"), false}, /* U+110000 */
    {TEXT("\xf5\x80\x80\x80"), false},
    {TEXT("\xf8\x88\x80\x80\x80"), false},
    {TEXT("\xfe"), false},
    {TEXT("\xff"), false},
    {TEXT("\xc3"), false}, /* cut */
    {TEXT("\xe2\x82"), false},
    {TEXT("\xf0\x9f\x98"), false},
    {TEXT("\xc3z"), false},
    {TEXT("\xe2z\xac"), false},
    {TEXT("\xe2\x82z"), false},
    {TEXT("\xf0\x9f\x98z"), false},
    {TEXT("good\xffgood"), false},
};

static void test_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++) {
        const struct utf8_row *row = &utf8_rows[i];
        /* On the heap with nothing behind it, so that reading too far is seen. */
        char *bytes = malloc(row->length > 0 ? row->length : 1);

        assert_non_null(bytes);
        memcpy(bytes, row->bytes, row->length);
        if (flowd_text_is_utf8(bytes, row->length) != row->good)
            fail_msg("row %zu", i);
        free(bytes);
    }
}

static void assert_text(const struct flowd_text *text, const char *wanted, size_t length)
{
    assert_false(flowd_text_failed(text));
    if (text->length != length || memcmp(text->data, wanted, length) != 0)
        fail_msg("found \"%.*s\", wanted \"%s\"", (int)text->length, text->data, wanted);
}

static void test_json(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *json;
    } rows[] = {
        {TEXT(""), "\"\""},
        {TEXT("plain"), "\"plain\""},
        {TEXT("a\"b\\c/"), "\"a\\\"b\\\\c/\""},
        {TEXT("\n\r\t"), "\"\\n\\r\\t\""},
        {TEXT("\0\x01\x08\x1f\x7f"), "\"\\u0000\\u0001\\u0008\\u001f\\u007f\""},
        {TEXT("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {TEXT("\xff"), "\"\xef\xbf\xbd\""},
        {TEXT("a\xc3"), "\"a\xef\xbf\xbd\""},
        {TEXT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {TEXT("\xe2\x82\"x"), "\"\xef\xbf\xbd\xef\xbf\xbd\\\"x\""},
        {TEXT("\xc3\n"), "\"\xef\xbf\xbd\\n\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_text text = {0};

        flowd_text_json(&text, rows[i].bytes, rows[i].length);
        assert_text(&text, rows[i].json, strlen(rows[i].json));
        flowd_text_fini(&text);
    }
}

/* Each byte that is no control character, among others: two of them are escaped. */
static void test_json_bytes(void **state)
{
    (void)state;
    for (int byte = 0x20; byte < 0x7f; byte++) {
        bool escaped = byte == '"' || byte == '\\';
        char string[] = {'a', (char)byte, 'z'};
        struct flowd_text text = {0};
        char wanted[16];

        flowd_text_json(&text, string, sizeof(string));
        snprintf(wanted, sizeof(wanted), "\"a%s%cz\"", escaped ? "\\" : "", byte);
        assert_text(&text, wanted, strlen(wanted));
        flowd_text_fini(&text);
    }
}

static void test_numbers(void **state)
{
    struct flowd_text text = {0};

    (void)state;
    flowd_text_u64(&text, 0);
    flowd_text_char(&text, ' ');
    flowd_text_u64(&text, 10);
    flowd_text_char(&text, ' ');
    flowd_text_u64(&text, UINT64_MAX);
    flowd_text_printf(&text, "%s", "");
    flowd_text_printf(&text, " %05d", 42);
    flowd_text_append(&text, NULL, 0);
    assert_text(&text, TEXT("0 10 18446744073709551615 00042"));
    flowd_text_fini(&text);
}

static void test_growth(void **state)
{
    struct flowd_text text = {0};
    size_t length = 0;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        flowd_text_printf(&text, "%u,", i);
        flowd_text_char(&text, 'x');
    }
    assert_false(flowd_text_failed(&text));
    for (unsigned i = 0; i < 5000; i++) {
        char wanted[16];
        int count = snprintf(wanted, sizeof(wanted), "%u,x", i);

        assert_memory_equal(text.data + length, wanted, (size_t)count);
        length += (size_t)count;
    }
    assert_int_equal(text.length, length);
    flowd_text_clear(&text);
    assert_int_equal(text.length, 0);
    assert_true(text.capacity >= length);
    flowd_text_puts(&text, "again");
    assert_text(&text, TEXT("again"));
    flowd_text_fini(&text);
    assert_null(text.data);
}

/* One append that is larger than several doublings, and one that fits to the byte. */
static void test_large_append(void **state)
{
    struct flowd_text text = {0};
    char *large = malloc(100000);

    (void)state;
    assert_non_null(large);
    memset(large, 'y', 100000);
    flowd_text_append(&text, large, 256);
    assert_int_equal(text.capacity, 256);
    flowd_text_append(&text, large, 100000);
    assert_int_equal(text.length, 100256);
    assert_int_equal(text.data[0], 'y');
    assert_int_equal(text.data[100255], 'y');
    flowd_text_fini(&text);
    free(large);
}

static void test_failed_stays_failed_until_cleared(void **state)
{
    struct flowd_text text = {0};

    (void)state;
    flowd_text_puts(&text, "kept");
    text.failed = true;
    flowd_text_puts(&text, "lost");
    flowd_text_printf(&text, "%d", 1);
    assert_true(flowd_text_failed(&text));
    assert_int_equal(text.length, 4);
    flowd_text_clear(&text);
    assert_false(flowd_text_failed(&text));
    flowd_text_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_bytes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_large_append),
        cmocka_unit_test(test_failed_stays_failed_until_cleared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
