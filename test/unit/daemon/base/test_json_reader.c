/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pull reader against jansson: on a table of texts, and on many thousand texts made by damaging
 * them, both have to agree on what is JSON, and on what it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/json_reader.h"
#include "daemon/base/text.h"

/* clang-format off */
#define TEXT(literal) {literal, sizeof(literal) - 1}
/* clang-format on */
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define DEPTH 32
#define DAMAGED 60000

struct text {
    const char *text;
    size_t length;
};

static const struct text good_rows[] = {
    TEXT("null"),
    TEXT("true"),
    TEXT("false"),
    TEXT("0"),
    TEXT("-0"),
    TEXT("7"),
    TEXT("-1"),
    TEXT("999999999999999999"),
    TEXT("-999999999999999999"),
    TEXT("9223372036854775807"),
    TEXT("-9223372036854775808"),
    TEXT("0.5"),
    TEXT("-0.0"),
    TEXT("1e3"),
    TEXT("1E+3"),
    TEXT("1e-3"),
    TEXT("0e0"),
    TEXT("1.25e00002"),
    TEXT("\"\""),
    TEXT("\"abc\""),
    TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    TEXT("\"\\u0041\\u00e9\\u20AC\\uFFFF\""),
    TEXT("\"\\ud83d\\ude00\\uD83D\\uDE00x\""),
    TEXT("\"\\ud800\\udc00\\udbff\\udfff\""),
    TEXT("\"a\\u0000b\""),
    TEXT("\"\x7f\""),
    TEXT("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""),
    TEXT("\"\xef\xbf\xbf\xf4\x8f\xbf\xbf\""),
    TEXT("[]"),
    TEXT("{}"),
    TEXT(" \t\r\n[ \t\r\n] \t\r\n"),
    TEXT("[1,2,3]"),
    TEXT("[[],[[]],{}]"),
    TEXT("[null,true,false,0,\"\",[],{}]"),
    TEXT("{\"a\":1,\"b\":{\"c\":[{\"d\":null}]},\"\":\"\"}"),
    TEXT("{ \"a\" : [ 1 , 2 ] , \"b\" : \"\\u0062\" }"),
    TEXT("{\"a\\n\\u00e9\":1}"),
    TEXT("{\"a\":1,\"a\":2}"),
};

static const struct {
    struct text text;
    const char *words; /* of the reason */
} bad_rows[] = {
    {TEXT(""), "ends where a value"},
    {TEXT(" \n "), "ends where a value"},
    {TEXT("nul"), "a value was expected"},
    {TEXT("nulL"), "a value was expected"},
    {TEXT("nullx"), "more text"},
    {TEXT("True"), "a value was expected"},
    {TEXT("NaN"), "a value was expected"},
    {TEXT("Infinity"), "a value was expected"},
    {TEXT("-Infinity"), "a digit"},
    {TEXT("\0"), "a value was expected"},
    {TEXT("1\0"), "more text"},
    {TEXT("\xef\xbb\xbf{}"), "a value was expected"},
    {TEXT("// x\n1"), "a value was expected"},
    {TEXT("1/**/"), "more text"},
    {TEXT("1 2"), "more text"},
    {TEXT("{}{}"), "more text"},
    {TEXT("[]]"), "more text"},
    /* Numbers. */
    {TEXT("-"), "a digit"},
    {TEXT("+1"), "a value was expected"},
    {TEXT("--1"), "a digit"},
    {TEXT("01"), "leading zeros"},
    {TEXT("-01"), "leading zeros"},
    {TEXT("00"), "leading zeros"},
    {TEXT("1."), "a digit"},
    {TEXT(".5"), "a value was expected"},
    {TEXT("1.e3"), "a digit"},
    {TEXT("1e"), "a digit"},
    {TEXT("1e+"), "a digit"},
    {TEXT("1e+-3"), "a digit"},
    {TEXT("1e3.5"), "more text"},
    {TEXT("1.2.3"), "more text"},
    {TEXT("0x10"), "more text"},
    {TEXT("1_000"), "more text"},
    /* Strings. */
    {TEXT("\""), "without its end"},
    {TEXT("\"abc"), "without its end"},
    {TEXT("\"abc\\"), "without its end"},
    {TEXT("\"abc\\\""), "without its end"},
    {TEXT("'abc'"), "a value was expected"},
    {TEXT("\"a\nb\""), "a control character"},
    {TEXT("\"a\tb\""), "a control character"},
    {TEXT("\"a\0b\""), "a control character"},
    {TEXT("\"\x1f\""), "a control character"},
    {TEXT("\"\\x41\""), "an unknown escape"},
    {TEXT("\"\\'\""), "an unknown escape"},
    {TEXT("\"\\\0\""), "an unknown escape"},
    {TEXT("\"\\U0041\""), "an unknown escape"},
    {TEXT("\"\\u\""), "four hexadecimal"},
    {TEXT("\"\\u004\""), "four hexadecimal"},
    {TEXT("\"\\u004g\""), "four hexadecimal"},
    {TEXT("\"\\u-041\""), "four hexadecimal"},
    {TEXT("\"\\u00"), "four hexadecimal"},
    {TEXT("\"\\ud83d\""), "half of a surrogate"},
    {TEXT("\"\\ud83dx\""), "half of a surrogate"},
    {TEXT("\"\\ud83d\\u0041\""), "half of a surrogate"},
    {TEXT("\"\\ud83d\\ud83d\""), "half of a surrogate"},
    {TEXT("\"\\ude00\""), "half of a surrogate"},
    {TEXT("\"\\ude00\\ud83d\""), "half of a surrogate"},
    {TEXT("\"\\ud83d\\ude0"), "half of a surrogate"},
    /* UTF-8. */
    {TEXT("\"\x80\""), "not UTF-8"},
    {TEXT("\"\xbf\""), "not UTF-8"},
    {TEXT("\"\xc3\""), "not UTF-8"},
    {TEXT("\"\xc3(\""), "not UTF-8"},
    {TEXT("\"\xc0\x80\""), "not UTF-8"},
    {TEXT("\"\xc1\xbf\""), "not UTF-8"},
    {TEXT("\"\xe0\x80\x80\""), "not UTF-8"},
    {TEXT("\"\xe2\x82\""), "not UTF-8"},
    {TEXT("\"\xed\xa0\x80\""), "not UTF-8"},
    {TEXT("\"\xed\xbf\xbf\""), "not UTF-8"},
    {TEXT("\"\xf0\x80\x80\x80\""), "not UTF-8"},
    {TEXT("\"\xf4\x90\x80\x80\""), "not UTF-8"},
    {TEXT("\"\xf5\x80\x80\x80\""), "not UTF-8"},
    {TEXT("\"\xfe\""), "not UTF-8"},
    {TEXT("\"\xff\""), "not UTF-8"},
    {TEXT("{\"\xff\":1}"), "not UTF-8"},
    /* Arrays and objects. */
    {TEXT("["), "ends where a value"},
    {TEXT("[1"), "\",\" or \"]\""},
    {TEXT("[1,"), "ends where a value"},
    {TEXT("[1,]"), "a value was expected"},
    {TEXT("[,1]"), "a value was expected"},
    {TEXT("[1,,2]"), "a value was expected"},
    {TEXT("[1 2]"), "\",\" or \"]\""},
    {TEXT("[1}"), "\",\" or \"]\""},
    {TEXT("]"), "a value was expected"},
    {TEXT("{"), "a member name"},
    {TEXT("{]"), "a member name"},
    {TEXT("{a:1}"), "a member name"},
    {TEXT("{1:1}"), "a member name"},
    {TEXT("{\"a\"}"), "\":\" was expected"},
    {TEXT("{\"a\",1}"), "\":\" was expected"},
    {TEXT("{\"a\":}"), "a value was expected"},
    {TEXT("{\"a\":1"), "\",\" or \"}\""},
    {TEXT("{\"a\":1,"), "a member name"},
    {TEXT("{\"a\":1,}"), "a member name"},
    {TEXT("{\"a\":1 \"b\":2}"), "\",\" or \"}\""},
    {TEXT("{\"a\":1]"), "\",\" or \"}\""},
    {TEXT("{,}"), "a member name"},
    {TEXT("[{\"a\":[}]"), "a value was expected"},
};

static bool constant; /* the reader is not to change the text */

static int read_in_place(void **state)
{
    (void)state;
    constant = false;
    return 0;
}

static int read_constant(void **state)
{
    (void)state;
    constant = true;
    return 0;
}

static void begin(struct flowd_json *json, char *text, size_t length)
{
    if (constant)
        flowd_json_begin_const(json, text, length);
    else
        flowd_json_begin(json, text, length);
}

static json_t *build(struct flowd_json *json);

/* With text left as it is a string has its escapes, and is decoded on its own. */
static json_t *build_string(const struct flowd_json_value *value)
{
    char decoded[256];

    assert_true(constant || !value->escaped);
    assert_int_equal(constant && memchr(value->text, '\\', value->length) != NULL, value->escaped);
    if (!value->escaped)
        return json_stringn(value->text, value->length);
    assert_true(value->length <= sizeof(decoded));
    return json_stringn(decoded, flowd_json_unescape(value, decoded));
}

static void add_member(json_t *object, const struct flowd_json_value *name, json_t *member)
{
    json_t *text = build_string(name);

    json_object_setn_new(object, json_string_value(text), json_string_length(text), member);
    json_decref(text);
}

static json_t *build_object(struct flowd_json *json)
{
    json_t *object = json_object();
    struct flowd_json_value name;
    bool first = true;
    int more;

    while ((more = flowd_json_member(json, first, &name)) > 0) {
        json_t *member = build(json);

        first = false;
        if (member == NULL)
            break;
        add_member(object, &name, member);
    }
    if (more == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *build_array(struct flowd_json *json)
{
    json_t *array = json_array();
    bool first = true;
    int more;

    while ((more = flowd_json_element(json, first)) > 0) {
        json_t *element = build(json);

        first = false;
        if (element == NULL)
            break;
        json_array_append_new(array, element);
    }
    if (more == 0)
        return array;
    json_decref(array);
    return NULL;
}

/* What the reader makes of the value that comes next, as a jansson value; NULL: no JSON. */
static json_t *build(struct flowd_json *json)
{
    struct flowd_json_value value;

    if (flowd_json_value(json, &value) != 0)
        return NULL;
    switch (value.kind) {
    case FLOWD_JSON_NULL:
        return json_null();
    case FLOWD_JSON_FALSE:
        return json_false();
    case FLOWD_JSON_TRUE:
        return json_true();
    case FLOWD_JSON_INTEGER:
        return json_integer(value.integer);
    case FLOWD_JSON_NUMBER:
        return json_loadb(value.text, value.length, JSON_DECODE_ANY, NULL);
    case FLOWD_JSON_STRING:
        return build_string(&value);
    case FLOWD_JSON_OBJECT:
        return build_object(json);
    default:
        return build_array(json);
    }
}

/* A copy of just this size, so that reads and writes beyond it are seen. */
static char *copy_of(const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);

    assert_non_null(copy);
    memcpy(copy, text, length);
    return copy;
}

/* Passes over a whole text. Returns 0 or -EBADMSG. */
static int skip_all(struct flowd_json *json, const char *text, size_t length)
{
    struct flowd_json_value value;
    char *copy = copy_of(text, length);
    int result;

    begin(json, copy, length);
    result = flowd_json_value(json, &value);
    if (result == 0)
        result = flowd_json_skip(json, &value);
    if (result == 0)
        result = flowd_json_finish(json);
    assert_true(!constant || length == 0 || memcmp(copy, text, length) == 0);
    free(copy);
    return result;
}

/* The same with all values built. */
static json_t *build_all(const char *text, size_t length)
{
    char *copy = copy_of(text, length);
    struct flowd_json json;
    json_t *value;

    begin(&json, copy, length);
    value = build(&json);
    if (value != NULL && flowd_json_finish(&json) != 0) {
        json_decref(value);
        value = NULL;
    }
    free(copy);
    return value;
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(good_rows); i++) {
        const struct text *row = &good_rows[i];
        struct flowd_json json;
        json_error_t error;
        json_t *expected =
            json_loadb(row->text, row->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        json_t *found = build_all(row->text, row->length);

        if (expected == NULL)
            fail_msg("%s: jansson says %s", row->text, error.text);
        if (found == NULL || !json_equal(expected, found))
            fail_msg("%s is read wrong", row->text);
        json_decref(expected);
        json_decref(found);
        if (skip_all(&json, row->text, row->length) != 0)
            fail_msg("%s: %s", row->text, json.error);
        assert_int_equal(json.depth, 0);
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(bad_rows); i++) {
        const struct text *row = &bad_rows[i].text;
        struct flowd_json json;

        /* Outside of strings jansson takes a NUL for the end of the text. */
        if (memchr(row->text, '\0', row->length) == NULL)
            assert_null(json_loadb(row->text, row->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
        assert_null(build_all(row->text, row->length));
        if (skip_all(&json, row->text, row->length) != -EBADMSG)
            fail_msg("%s is taken", row->text);
        if (strstr(json.error, bad_rows[i].words) == NULL)
            fail_msg("%s: %s", row->text, json.error);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Replaces, removes, inserts or doubles bytes; returns the new length. */
static size_t damage(char *text, size_t length, size_t capacity, uint64_t *random)
{
    static const char alphabet[] =
        "{}[]\",:\\/ \t\n0123456789-+.eEtruefalsn\x1f\x7f\x80\xc3\xa9\xed\xf4u";
    uint64_t times = 1 + next_random(random) % 3;

    while (times-- > 0) {
        size_t at = length > 0 ? next_random(random) % length : 0;
        char byte = alphabet[next_random(random) % (sizeof(alphabet) - 1)];

        switch (next_random(random) % 3) {
        case 0:
            if (length > 0)
                text[at] = byte;
            break;
        case 1:
            if (length > 0)
                memmove(text + at, text + at + 1, --length - at);
            break;
        default:
            if (length < capacity) {
                memmove(text + at + 1, text + at, length++ - at);
                text[at] = byte;
            }
            break;
        }
    }
    return length;
}

/* Numbers that fit no type, and names with a NUL, are jansson's own limits. */
static bool is_limit(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow ||
           json_error_code(error) == json_error_null_byte_in_key;
}

static void test_damaged(void **state)
{
    uint64_t random = 88172645463325252u;
    unsigned good = 0;
    unsigned bad = 0;

    (void)state;
    for (int i = 0; i < DAMAGED; i++) {
        const struct text *row = &good_rows[next_random(&random) % ROWS(good_rows)];
        char text[256];
        size_t length;
        json_error_t error = {0};
        json_t *expected, *found;
        struct flowd_json json;

        memcpy(text, row->text, row->length);
        length = damage(text, row->length, sizeof(text), &random);
        expected = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        if (expected == NULL && is_limit(&error))
            continue;
        if ((skip_all(&json, text, length) == 0) != (expected != NULL))
            fail_msg("\"%.*s\": jansson says %s, the reader %s", (int)length, text,
                     expected != NULL ? "good" : error.text,
                     json.error != NULL ? json.error : "good");
        found = build_all(text, length);
        if (expected != NULL && (found == NULL || !json_equal(expected, found)))
            fail_msg("\"%.*s\" is read wrong", (int)length, text);
        good += expected != NULL;
        bad += expected == NULL;
        json_decref(expected);
        json_decref(found);
    }
    /* Damage that never left anything good, or never harmed anything, would be no test. */
    assert_in_range(good, DAMAGED / 20, DAMAGED);
    assert_in_range(bad, DAMAGED / 20, DAMAGED);
}

/* Which numbers come as integers. All that a field may hold do; none comes with a wrong value. */
static void test_integers(void **state)
{
    static const struct {
        const char *text;
        enum flowd_json_kind kind;
        int64_t integer;
    } rows[] = {
        {"0", FLOWD_JSON_INTEGER, 0},
        {"-0", FLOWD_JSON_INTEGER, 0},
        {"65535", FLOWD_JSON_INTEGER, 65535},
        {"-65536", FLOWD_JSON_INTEGER, -65536},
        {"4294967296", FLOWD_JSON_INTEGER, INT64_C(4294967296)},
        {"999999999999999999", FLOWD_JSON_INTEGER, INT64_C(999999999999999999)},
        {"-999999999999999999", FLOWD_JSON_INTEGER, INT64_C(-999999999999999999)},
        {"9223372036854775808", FLOWD_JSON_NUMBER, 0},
        {"-9223372036854775809", FLOWD_JSON_NUMBER, 0},
        {"18446744073709551617", FLOWD_JSON_NUMBER, 0},
        {"100000000000000000000000000000000000000000000", FLOWD_JSON_NUMBER, 0},
        {"1.0", FLOWD_JSON_NUMBER, 0},
        {"1e0", FLOWD_JSON_NUMBER, 0},
        {"-0.0", FLOWD_JSON_NUMBER, 0},
        {"1e999999", FLOWD_JSON_NUMBER, 0},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char *copy = copy_of(rows[i].text, strlen(rows[i].text));
        struct flowd_json_value value;
        struct flowd_json json;

        flowd_json_begin(&json, copy, strlen(rows[i].text));
        assert_int_equal(flowd_json_value(&json, &value), 0);
        assert_int_equal(value.kind, rows[i].kind);
        if (value.kind == FLOWD_JSON_INTEGER)
            assert_true(value.integer == rows[i].integer);
        assert_int_equal(value.length, strlen(rows[i].text));
        assert_memory_equal(value.text, rows[i].text, value.length);
        free(copy);
    }
}

/* Nested as deep as is allowed, and one level more; arrays and objects alike. */
static void test_depth(void **state)
{
    static const char *const opens[] = {"[", "{\"a\":"};
    static const char *const closes[] = {"]", "}"};

    (void)state;
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t depth = DEPTH - 1; depth <= DEPTH + 1; depth++) {
            struct flowd_text text = {0};
            struct flowd_json json;
            int result;

            for (size_t i = 0; i < depth; i++)
                flowd_text_puts(&text, opens[kind]);
            flowd_text_char(&text, '1');
            for (size_t i = 0; i < depth; i++)
                flowd_text_puts(&text, closes[kind]);
            result = skip_all(&json, text.data, text.length);
            flowd_text_fini(&text);
            assert_int_equal(result, depth <= DEPTH ? 0 : -EBADMSG);
            if (result != 0)
                assert_string_equal(json.error, "too deeply nested");
        }
}

/* As many brackets as a request may bring cost neither stack nor much time. */
static void test_very_deep(void **state)
{
    size_t length = 4u * 1024 * 1024;
    char *text = malloc(length);
    struct flowd_json json;

    (void)state;
    assert_non_null(text);
    memset(text, '[', length);
    assert_int_equal(skip_all(&json, text, length), -EBADMSG);
    assert_string_equal(json.error, "too deeply nested");
    free(text);
}

static void test_positions(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        unsigned column;
    } rows[] = {
        {"x", 1, 1},
        {"  x", 1, 3},
        {"\n\n  x", 3, 3},
        {"{\n \"a\": 1,\n \"b\": x\n}", 3, 7},
        {"[1,\r\n2,\r\nx]", 3, 1},
        {"{}\n}", 2, 1},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct flowd_json json;

        assert_int_equal(skip_all(&json, rows[i].text, strlen(rows[i].text)), -EBADMSG);
        assert_int_equal(json.error_line, rows[i].line);
        assert_int_equal(json.error_column, rows[i].column);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good, read_in_place),
        cmocka_unit_test_setup(test_bad, read_in_place),
        cmocka_unit_test_setup(test_damaged, read_in_place),
        cmocka_unit_test_setup(test_good, read_constant),
        cmocka_unit_test_setup(test_bad, read_constant),
        cmocka_unit_test_setup(test_damaged, read_constant),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_very_deep),
        cmocka_unit_test(test_positions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
