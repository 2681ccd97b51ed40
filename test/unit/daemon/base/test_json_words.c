/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings and blanks are gone through eight bytes at a time. Here each byte stands at each place of
 * such eight, and at each distance from the end of the text, and what is read is what it would be
 * byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json_reader.h"

#define LENGTH_MAX 26
#define TEXT_SIZE 128

/* Reads a value from a copy of just this size, so that reading past it is seen. */
static int read_value(struct flowd_json *json, char **copy, const char *text, size_t length,
                      struct flowd_json_value *value)
{
    *copy = malloc(length);
    assert_non_null(*copy);
    memcpy(*copy, text, length);
    flowd_json_begin_const(json, *copy, length);
    return flowd_json_value(json, value);
}

/* What is wrong with a string that has this byte among plain ones; NULL: nothing. */
static const char *trouble_with(unsigned char byte)
{
    if (byte == '\\')
        return "an unknown escape in a string";
    if (byte < 0x20)
        return "a control character in a string";
    return byte >= 0x80 ? "a string that is not UTF-8" : NULL;
}

/* A string of so many bytes, all plain but the one at place; behind it stand so many others. */
static void check_string(size_t length, size_t place, unsigned char byte, size_t behind)
{
    const char *trouble = trouble_with(byte);
    char text[TEXT_SIZE], *copy;
    struct flowd_json_value value;
    struct flowd_json json;
    size_t column = place + 2;
    int result;

    text[0] = '"';
    memset(text + 1, 'k', length);
    text[1 + place] = (char)byte;
    text[1 + length] = '"';
    memset(text + length + 2, behind % 2 == 0 ? '"' : 0xff, behind);
    result = read_value(&json, &copy, text, length + 2 + behind, &value);
    if (trouble == NULL) {
        if (result != 0 || value.length != (byte == '"' ? place : length) ||
            value.text != copy + 1 || json.at != copy + value.length + 2)
            fail_msg("0x%02x at %zu of %zu", byte, place, length);
    } else {
        /* Behind the backslash; and UTF-8 is looked at when the string has been read. */
        column += byte == '\\' ? 1 : byte >= 0x80 ? length - place + 1 : 0;
        assert_int_equal(result, -EBADMSG);
        assert_string_equal(json.error, trouble);
        assert_int_equal(json.error_column, column);
    }
    free(copy);
}

static void test_strings(void **state)
{
    (void)state;
    for (size_t length = 1; length <= LENGTH_MAX; length++)
        for (size_t place = 0; place < length; place++)
            for (int byte = 0; byte < 256; byte++)
                if (byte != '\\' || place + 1 < length)
                    check_string(length, place, (unsigned char)byte,
                                 (length + place + (size_t)byte) % 10);
}

/* Two bytes beside each other, of which the first one decides. */
static void test_neighbours(void **state)
{
    static const unsigned char bytes[] = {0x00, 0x01, 0x1f, 0x20, 0x21, '"',  '#',  '[',
                                          '\\', ']',  0x7f, 0x80, 0xa2, 0xdc, 0xff, 'k'};

    (void)state;
    for (size_t i = 0; i < sizeof(bytes) * sizeof(bytes); i++) {
        for (size_t place = 0; place < 9; place++) {
            char text[TEXT_SIZE], *copy;
            struct flowd_json_value value;
            struct flowd_json json;
            size_t stop = place;

            memset(text, 'k', sizeof(text));
            text[0] = text[20] = '"';
            text[1 + place] = (char)bytes[i % sizeof(bytes)];
            text[2 + place] = (char)bytes[i / sizeof(bytes)];
            while ((unsigned char)text[1 + stop] >= 0x20 && strchr("\\\"", text[1 + stop]) == NULL)
                stop++;
            (void)read_value(&json, &copy, text, 21, &value);
            if (text[1 + stop] == '"')
                assert_int_equal(json.at - copy, 2 + stop);
            else if (text[1 + stop] != '\\')
                assert_int_equal(json.error_column, 2 + stop);
            free(copy);
        }
    }
}

/* Blanks with a line feed among them: the place of what follows is right. */
static void test_blanks(void **state)
{
    static const char blanks[] = "\n\r\t ";

    (void)state;
    for (size_t i = 0; i < LENGTH_MAX * LENGTH_MAX * 4; i++) {
        size_t length = i % LENGTH_MAX + 1;
        size_t place = i / LENGTH_MAX % LENGTH_MAX % length;
        char byte = blanks[i / LENGTH_MAX / LENGTH_MAX];
        char text[TEXT_SIZE], *copy;
        struct flowd_json_value value;
        struct flowd_json json;

        memset(text, ' ', sizeof(text));
        text[place] = byte;
        text[length] = '?';
        assert_int_equal(read_value(&json, &copy, text, length + 1, &value), -EBADMSG);
        assert_int_equal(json.error_line, byte == '\n' ? 2 : 1);
        assert_int_equal(json.error_column, byte == '\n' ? length - place : length + 1);
        free(copy);
        assert_int_equal(read_value(&json, &copy, text, length, &value), -EBADMSG);
        assert_string_equal(json.error, "the text ends where a value was expected");
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_blanks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
