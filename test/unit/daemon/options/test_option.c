/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option tables: every type with good and bad values, spellings, defaults, and the way back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/options/option.h"

struct values {
    bool flag;
    int64_t number;
    int64_t any;
    char *word;
    int choice;
    struct flowd_strings list;
    struct flowd_integers ids;
    int64_t mode;
    struct flowd_pairs pairs;
    struct part {
        int64_t inner;
        struct flowd_strings names;
    } part;
};

enum { RED, GREEN, NOTHING };
static const char *const colours[] = {[RED] = "red", [GREEN] = "green", [NOTHING] = "", NULL};
static const struct flowd_choice_alias old_colours[] = {{"crimson", RED}, {NULL, 0}};

#define AT(field) offsetof(struct values, field)

static const struct flowd_option part_table[] = {
    {.key = "inner",
     .type = FLOWD_OPTION_INTEGER,
     .offset = offsetof(struct part, inner),
     .default_json = "3",
     .min = 1,
     .max = 5},
    {.key = "names",
     .type = FLOWD_OPTION_STRINGS,
     .offset = offsetof(struct part, names),
     .default_json = "[]"},
    {.key = NULL},
};

static const struct flowd_option table[] = {
    {.key = "flag", .type = FLOWD_OPTION_BOOL, .offset = AT(flag), .default_json = "true"},
    {.key = "number",
     .alias = "oldNumber",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(number),
     .default_json = "5",
     .min = 1,
     .max = 10,
     .unit = "ms"},
    {.key = "any", .type = FLOWD_OPTION_INTEGER, .offset = AT(any), .default_json = "-1"},
    {.key = "word", .type = FLOWD_OPTION_STRING, .offset = AT(word), .default_json = "\"w\""},
    {.key = "choice",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(choice),
     .default_json = "\"green\"",
     .choices = colours,
     .aliases = old_colours},
    {.key = "list",
     .alias = "item",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(list),
     .default_json = "[\"a\", \"b\"]"},
    {.key = "ids",
     .type = FLOWD_OPTION_INTEGERS,
     .offset = AT(ids),
     .default_json = "[0, 7]",
     .min = 0,
     .max = 9},
    {.key = "mode", .type = FLOWD_OPTION_MODE, .offset = AT(mode), .default_json = "\"0660\""},
    {.key = "pairs", .type = FLOWD_OPTION_PAIRS, .offset = AT(pairs), .default_json = "{}"},
    {.key = "part",
     .type = FLOWD_OPTION_SECTION,
     .offset = AT(part),
     .section = part_table,
     .default_json = "{}"},
    {.key = "ignored", .type = FLOWD_OPTION_IGNORED, .instead = "\"word\" does it"},
    {.key = "empty", .type = FLOWD_OPTION_EMPTY, .instead = "it is built in"},
    {.key = "tomorrow", .type = FLOWD_OPTION_LATER},
    {.key = NULL},
};
static const char *const skip[] = {"elsewhere", NULL};

static void read_text(const char *text, struct values *values, struct flowd_options_report *report)
{
    json_t *object = text != NULL ? json_loads(text, 0, NULL) : NULL;

    *values = (struct values){0};
    *report = (struct flowd_options_report){0};
    assert_int_equal(object != NULL, text != NULL);
    flowd_options_read(table, "section", object, skip, values, report);
    json_decref(object);
}

static void forget(struct values *values, struct flowd_options_report *report)
{
    flowd_options_fini(table, values);
    assert_null(values->word);
    assert_null(values->list.items);
    assert_null(values->ids.items);
    flowd_messages_fini(&report->errors);
    flowd_messages_fini(&report->deprecations);
}

static void assert_defaults(const struct values *values)
{
    assert_true(values->flag);
    assert_int_equal(values->number, 5);
    assert_int_equal(values->any, -1);
    assert_string_equal(values->word, "w");
    assert_int_equal(values->choice, GREEN);
    assert_int_equal(values->list.count, 2);
    assert_string_equal(values->list.items[1], "b");
    assert_int_equal(values->ids.count, 2);
    assert_int_equal(values->ids.items[1], 7);
    assert_int_equal(values->mode, 0660);
    assert_int_equal(values->pairs.count, 0);
    assert_int_equal(values->part.inner, 3);
    assert_int_equal(values->part.names.count, 0);
}

static void test_defaults(void **state)
{
    static const char *const texts[] = {NULL, "{}", "{\"elsewhere\": 1}"};
    struct flowd_options_report report;
    struct values values;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        read_text(texts[i], &values, &report);
        assert_false(flowd_messages_any(&report.errors));
        assert_int_equal(report.deprecations.count, 0);
        assert_defaults(&values);
        forget(&values, &report);
    }
}

/* Each text has one mistake, and everything else takes its default. */
static const struct {
    const char *text;
    const char *mistake;
} wrong[] = {
    {"{\"flag\": 1}", "section.flag: found 1, wants true or false"},
    {"{\"flag\": \"true\"}", "section.flag: found \"true\", wants true or false"},
    {"{\"flag\": null}", "section.flag: found null, wants true or false"},
    {"{\"number\": 0}", "section.number: found 0, wants an integer in 1-10 ms"},
    {"{\"number\": 11}", "section.number: found 11, wants an integer in 1-10 ms"},
    {"{\"number\": -1}", "section.number: found -1, wants an integer in 1-10 ms"},
    {"{\"number\": 5.0}", "section.number: found 5.0, wants an integer in 1-10 ms"},
    {"{\"number\": \"5\"}", "section.number: found \"5\", wants an integer in 1-10 ms"},
    {"{\"any\": true}", "section.any: found true, wants an integer"},
    {"{\"word\": 7}", "section.word: found 7, wants a string"},
    {"{\"choice\": \"blue\"}",
     "section.choice: found \"blue\", wants one of \"red\", \"green\", \"\""},
    {"{\"choice\": 0}", "section.choice: found 0, wants one of \"red\", \"green\", \"\""},
    {"{\"list\": \"a\"}", "section.list: found \"a\", wants an array of strings"},
    {"{\"list\": [\"a\", 1]}", "section.list: found [\"a\",1], wants an array of strings"},
    {"{\"list\": {}}", "section.list: found {}, wants an array of strings"},
    {"{\"ids\": 1}", "section.ids: found 1, wants an array of integers"},
    {"{\"ids\": {}}", "section.ids: found {}, wants an array of integers"},
    {"{\"ids\": [1, 10]}", "section.ids: found 10, wants an integer in 0-9"},
    {"{\"ids\": [\"1\"]}", "section.ids: found \"1\", wants an integer in 0-9"},
    {"{\"mode\": 432}",
     "section.mode: found 432, wants permission bits as an octal string such as \"0660\""},
    {"{\"mode\": \"0680\"}",
     "section.mode: found \"0680\", wants permission bits as an octal string such as \"0660\""},
    {"{\"mode\": \"1777\"}",
     "section.mode: found \"1777\", wants permission bits as an octal string such as \"0660\""},
    {"{\"mode\": \"00660\"}",
     "section.mode: found \"00660\", wants permission bits as an octal string such as \"0660\""},
    {"{\"mode\": \"66\"}",
     "section.mode: found \"66\", wants permission bits as an octal string such as \"0660\""},
    {"{\"pairs\": {\"a\": 1}}",
     "section.pairs: found {\"a\":1}, wants an object whose members are strings"},
    {"{\"pairs\": [\"a\"]}",
     "section.pairs: found [\"a\"], wants an object whose members are strings"},
    {"{\"part\": 1}", "section.part: found 1, wants an object"},
    {"{\"part\": {\"inner\": 6}}", "section.part.inner: found 6, wants an integer in 1-5"},
    {"{\"part\": {\"iner\": 4}}",
     "section.part.iner: unknown key; the nearest known one is \"inner\""},
    {"{\"tomorrow\": 1}", "section.tomorrow: not in this version of flowd"},
    {"{\"Flag\": true}", "section.Flag: unknown key; the nearest known one is \"flag\""},
    {"{\"nubmer\": 1}", "section.nubmer: unknown key; the nearest known one is \"number\""},
    {"{\"elsewere\": 1}", "section.elsewere: unknown key; the nearest known one is \"elsewhere\""},
    {"{\"xyzzy\": 1}", "section.xyzzy: unknown key"},
    {"{\"\": 1}", "section.: unknown key"},
    {"{\"number\": 5, \"oldNumber\": 5}",
     "section.oldNumber: is the old spelling of \"number\", which is there too"},
    {"{\"word\": {\"a long value\": \"of which only the beginning is repeated to the user\"}}",
     "section.word: found {\"a long value\":\"of which only the beginning is repeated to ..., "
     "wants a string"},
};

static void test_mistakes(void **state)
{
    struct flowd_options_report report;
    struct values values;
    int bad = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        read_text(wrong[i].text, &values, &report);
        if (report.errors.count != 1 || strcmp(report.errors.lines[0], wrong[i].mistake) != 0) {
            print_error("%s gave %zu mistakes, \"%s\"\n", wrong[i].text, report.errors.count,
                        report.errors.count > 0 ? report.errors.lines[0] : "");
            bad++;
        } else {
            assert_defaults(&values);
        }
        forget(&values, &report);
    }
    assert_int_equal(bad, 0);
}

static void test_all_at_once(void **state)
{
    struct flowd_options_report report;
    struct values values;

    (void)state;
    read_text("{\"flag\": 1, \"number\": 99, \"word\": [], \"choice\": \"x\", \"list\": 3, "
              "\"mode\": 1, \"tomorrow\": 1, \"what\": 1}",
              &values, &report);
    assert_int_equal(report.errors.count, 8);
    assert_defaults(&values);
    forget(&values, &report);
}

static void test_spellings(void **state)
{
    static const struct {
        const char *text;
        const char *deprecation; /* NULL: none */
    } rows[] = {
        {"{\"choice\": \"RED\", \"number\": 7, \"list\": [\"x\"]}", NULL},
        {"{\"choice\": \"Crimson\", \"number\": 7, \"list\": [\"x\"]}",
         "section.choice: \"Crimson\" is the old name of \"red\""},
        {"{\"choice\": \"red\", \"oldNumber\": 7, \"list\": [\"x\"]}",
         "section.oldNumber: is the old spelling of \"number\""},
        {"{\"choice\": \"red\", \"number\": 7, \"item\": \"x\"}",
         "section.item: is the old spelling of \"list\""},
        {"{\"choice\": \"red\", \"number\": 7, \"item\": [\"x\"]}",
         "section.item: is the old spelling of \"list\""},
    };
    struct flowd_options_report report;
    struct values values;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        read_text(rows[i].text, &values, &report);
        assert_int_equal(report.errors.count, 0);
        assert_int_equal(report.deprecations.count, rows[i].deprecation != NULL);
        if (rows[i].deprecation != NULL)
            assert_string_equal(report.deprecations.lines[0], rows[i].deprecation);
        assert_int_equal(values.choice, RED);
        assert_int_equal(values.number, 7);
        assert_int_equal(values.list.count, 1);
        assert_string_equal(values.list.items[0], "x");
        forget(&values, &report);
    }
}

static void test_json_and_back(void **state)
{
    static const char text[] =
        "{\"flag\": false, \"number\": 10, \"any\": -9000000000, \"word\": "
        "\"caf\xc3\xa9\", \"choice\": \"\", \"list\": [], \"ids\": [9, 0, 9], \"mode\": \"0007\", "
        "\"pairs\": {\"a\": \"b\", \"c\": \"\"}, \"part\": {\"inner\": 5, \"names\": [\"x\"]}}";
    struct flowd_options_report report;
    struct values values, copy;
    json_t *first, *second, *wanted = json_loads(text, 0, NULL);

    (void)state;
    read_text(text, &values, &report);
    first = flowd_options_json(table, &values);
    assert_true(json_equal(first, wanted));
    copy = (struct values){0};
    flowd_options_read(table, "", first, NULL, &copy, &report);
    assert_int_equal(report.errors.count, 0);
    second = flowd_options_json(table, &copy);
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    json_decref(wanted);
    flowd_options_fini(table, &copy);
    forget(&values, &report);
}

static void count_change(void *context, const struct flowd_option *option)
{
    char *keys = context;

    strcat(keys, option->key);
    strcat(keys, " ");
}

static void test_compare_and_copy(void **state)
{
    struct flowd_options_report report, other_report;
    struct values values, other;
    char keys[128] = "";

    (void)state;
    read_text("{}", &values, &report);
    read_text("{\"flag\": false, \"word\": \"v\", \"list\": [\"b\", \"a\"], \"ids\": [7, 0], "
              "\"mode\": \"0600\", \"pairs\": {\"a\": \"b\"}, \"part\": {\"names\": [\"x\"]}}",
              &other, &other_report);
    flowd_options_compare(table, &values, &other, count_change, keys);
    assert_string_equal(keys, "flag word list ids mode pairs part ");
    for (const struct flowd_option *option = table; option->type != FLOWD_OPTION_IGNORED; option++)
        assert_int_equal(flowd_option_copy(option, &values, &other), 0);
    keys[0] = '\0';
    flowd_options_compare(table, &values, &other, count_change, keys);
    assert_string_equal(keys, "");
    assert_ptr_not_equal(values.word, other.word);
    forget(&other, &other_report);
    forget(&values, &report);
}

/* What another program's configuration has: one line each, and no value. */
static void test_needless(void **state)
{
    static const struct {
        const char *text, *mistake, *deprecation;
    } rows[] = {
        {"{\"ignored\": [1, {}]}", NULL, "section.ignored: has no effect: \"word\" does it"},
        {"{\"ignored\": null}", NULL, "section.ignored: has no effect: \"word\" does it"},
        {"{\"empty\": \"\"}", NULL, "section.empty: has no effect: it is built in"},
        {"{\"empty\": \"/x.o\"}",
         "section.empty: found \"/x.o\", wants an empty string: it is built in", NULL},
        {"{\"empty\": 1}", "section.empty: found 1, wants an empty string: it is built in", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_options_report report;
        struct values values;

        read_text(rows[i].text, &values, &report);
        assert_int_equal(report.errors.count, rows[i].mistake != NULL);
        assert_int_equal(report.deprecations.count, rows[i].deprecation != NULL);
        if (rows[i].mistake != NULL)
            assert_string_equal(report.errors.lines[0], rows[i].mistake);
        if (rows[i].deprecation != NULL)
            assert_string_equal(report.deprecations.lines[0], rows[i].deprecation);
        assert_defaults(&values);
        forget(&values, &report);
    }
}

static void test_nearest(void **state)
{
    static const char *const names[] = {"namedPipe", "api", "targetInterfaces", "mode", NULL};
    static const struct {
        const char *word;
        const char *nearest;
    } rows[] = {
        {"namedpipe", "namedPipe"},
        {"namedPip", "namedPipe"},
        {"anmedPipe", "namedPipe"},
        {"API", "api"},
        {"apu", "api"},
        {"xyz", NULL},
        {"targetInterface", "targetInterfaces"},
        {"", NULL},
        {"interfaces", NULL},
        {"moed", "mode"},
        {"mood", NULL},
        {"a word that is far longer than any known key and even longer than the longest", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *nearest = flowd_option_nearest(rows[i].word, names);

        if (rows[i].nearest == NULL ? nearest != NULL
                                    : nearest == NULL || strcmp(nearest, rows[i].nearest) != 0)
            fail_msg("\"%s\" gave %s", rows[i].word, nearest != NULL ? nearest : "nothing");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_all_at_once),   cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_json_and_back), cmocka_unit_test(test_compare_and_copy),
        cmocka_unit_test(test_needless),      cmocka_unit_test(test_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
