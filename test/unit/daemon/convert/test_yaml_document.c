/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML as JSON: what scalars become, and what is refused, by tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "daemon/convert/yaml_document.h"

static void test_taken(void **state)
{
    static const struct {
        const char *yaml, *json;
    } rows[] = {
        {"", "null"},
        {"---\n# nothing\n", "null"},
        {"a: {}\nb:\n", "{\"a\": {}, \"b\": null}"},
        {"a: 1\nb: -2\nc: 0x10\nd: 0o17\ne: 1.5", "{\"a\":1,\"b\":-2,\"c\":16,\"d\":15,\"e\":1.5}"},
        {"a: true\nb: False\nc: yes\nd: ~", "{\"a\":true,\"b\":false,\"c\":\"yes\",\"d\":null}"},
        {"a: '1'\nb: \"true\"\nc: ''", "{\"a\":\"1\",\"b\":\"true\",\"c\":\"\"}"},
        {"192.0.2.1: 2001:db8::1", "{\"192.0.2.1\":\"2001:db8::1\"}"},
        {"a: 99999999999999999999", "{\"a\":99999999999999999999.0}"},
        {"a: [1, two]\nb:\n - x\n - y", "{\"a\":[1,\"two\"],\"b\":[\"x\",\"y\"]}"},
        {"a: &x {k: 1}\nb: *x", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_error err = {.message = ""};
        json_t *found = flowd_yaml_parse(rows[i].yaml, strlen(rows[i].yaml), &err);
        json_t *wanted = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);

        if (found == NULL || !json_equal(found, wanted))
            fail_msg("%s: %s", rows[i].yaml, err.message);
        json_decref(found);
        json_decref(wanted);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *yaml, *words;
    } rows[] = {
        {"a: 1\na: 2", "\"a\" is there twice"},
        {"a: 1\n---\nb: 2", "more than one document"},
        {"a: [1", "line"},
        {"a: &x\n  b: *x", "too deeply"},
        {"<<: {a: 1}", "merge key"},
        {"[1]: 2", "a key that is no text"},
        {"a: !mine 1", "a tag"},
        {"a: *nobody", "alias"},
        {"\xff\xfe\x01", "line"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_error err = {.message = ""};
        json_t *found = flowd_yaml_parse(rows[i].yaml, strlen(rows[i].yaml), &err);

        if (found != NULL || strstr(err.message, rows[i].words) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].yaml, err.message, rows[i].words);
        json_decref(found);
    }
}

static void expect_too_large(const struct flowd_text *text)
{
    struct flowd_error err = {.message = ""};

    assert_null(flowd_yaml_parse(text->data, text->length, &err));
    assert_non_null(strstr(err.message, "too large"));
}

/* Nine aliases of nine aliases ...: a thousand million values, if they were made. */
static void test_aliases_that_multiply(void **state)
{
    struct flowd_text text = {0};

    (void)state;
    flowd_text_puts(&text, "a0: &a0 x\n");
    for (int level = 1; level <= 9; level++) {
        flowd_text_printf(&text, "a%d: &a%d [", level, level);
        for (int i = 0; i < 10; i++)
            flowd_text_printf(&text, "*a%d,", level - 1);
        flowd_text_puts(&text, "]\n");
    }
    expect_too_large(&text);
    flowd_text_fini(&text);
}

static void test_long_text_that_multiplies(void **state)
{
    struct flowd_text text = {0};

    (void)state;
    flowd_text_puts(&text, "a: &a ");
    for (int i = 0; i < 100000; i++)
        flowd_text_char(&text, 'x');
    flowd_text_puts(&text, "\nb: [");
    for (int i = 0; i < 100; i++)
        flowd_text_puts(&text, "*a,");
    flowd_text_puts(&text, "]\n");
    expect_too_large(&text);
    flowd_text_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_aliases_that_multiply),
        cmocka_unit_test(test_long_text_that_multiplies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
