/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports as flowd-go's configuration has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prometheus.h"

struct row {
    const char *given;
    const char *becomes;
    const char *mistake;     /* NULL: none */
    const char *deprecation; /* the last one; NULL: none */
};

static const struct row rows[] = {
    {"{}", "{}", NULL, NULL},
    {"{'port': 1, 'x': 2}", "{'port': 1, 'x': 2}", NULL, NULL},
    {"{'netlinkPort': 8080}", "{'port': 8080}", NULL,
     "p.netlinkPort: is the old spelling of \"port\""},
    {"{'skopsPort': 65535}", "{'port': 65535}", NULL,
     "p.skopsPort: is the old spelling of \"port\""},
    {"{'skopsPort': 2, 'netlinkPort': 1}", "{'port': 1}", NULL,
     "p.skopsPort: has no effect beside netlinkPort: one port has all metrics"},
    {"{'port': 1, 'netlinkPort': 1}", "{'port': 1}",
     "p.netlinkPort: is the old spelling of \"port\", which is there too", NULL},
    {"{'netlinkPort': 0}", "{}", NULL, "p.netlinkPort: 0 has no effect"},
    {"{'netlinkPort': 0, 'skopsPort': 8081}", "{'port': 8081}", NULL,
     "p.skopsPort: is the old spelling of \"port\""},
    {"{'port': 1, 'skopsPort': 0}", "{'port': 1}", NULL, "p.skopsPort: 0 has no effect"},
    {"{'netlinkPort': -1}", "{}", "p.netlinkPort: wants an integer in 0-65535", NULL},
    {"{'netlinkPort': 65536}", "{}", "p.netlinkPort: wants an integer in 0-65535", NULL},
    {"{'skopsPort': '1'}", "{}", "p.skopsPort: wants an integer in 0-65535", NULL},
    {"{'skopsPort': 1.0}", "{}", "p.skopsPort: wants an integer in 0-65535", NULL},
    {"{'netlinkPort': null, 'skopsPort': 7}", "{'port': 7}",
     "p.netlinkPort: wants an integer in 0-65535", "p.skopsPort: is the old spelling of \"port\""},
};

/* The JSON of text, in which ' stands for ". */
static json_t *json_of(const char *text)
{
    char json[256];
    size_t length = 0;
    json_t *value;

    for (; text[length] != '\0' && length < sizeof(json) - 1; length++)
        json[length] = text[length] == '\'' ? '"' : text[length];
    value = json_loadb(json, length, 0, NULL);
    assert_non_null(value);
    return value;
}

static void assert_last(const struct flowd_messages *list, const char *line)
{
    if (line == NULL) {
        assert_int_equal(list->count, 0);
        return;
    }
    assert_true(list->count > 0);
    assert_string_equal(list->lines[list->count - 1], line);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_options_report report = {0};
        json_t *object = json_of(rows[i].given);
        json_t *wanted = json_of(rows[i].becomes);

        prometheus_translate(object, "p", &report);
        assert_last(&report.errors, rows[i].mistake);
        assert_last(&report.deprecations, rows[i].deprecation);
        assert_true(json_equal(object, wanted));
        json_decref(object);
        json_decref(wanted);
        flowd_messages_fini(&report.errors);
        flowd_messages_fini(&report.deprecations);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
