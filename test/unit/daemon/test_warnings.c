/*
 * What a configuration hardly means, with made-up modules; and who gets in by a mode and a group.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/warnings.h"

static const struct flowd_option no_options[] = {{.key = NULL}};

static const char *wants_samples(const void *config)
{
    (void)config;
    return "enrich";
}

static void warn(const void *config, const char *path, const struct flowd_host *host,
                 struct flowd_mistakes *warnings)
{
    (void)config;
    assert_null(host);
    flowd_mistakes_add(warnings, "%s: said", path);
}

static const struct flowd_module input = {
    .kind = FLOWD_PLUGIN, .name = "input", .options = no_options, .config_size = 1, .warn = warn};
static const struct flowd_module output = {.kind = FLOWD_BACKEND,
                                           .name = "output",
                                           .options = no_options,
                                           .config_size = 1,
                                           .wants_samples = wants_samples};
static const struct flowd_module sampler = {
    .kind = FLOWD_ENRICHER, .name = "sampler", .options = no_options, .config_size = 1};
static const struct flowd_module *const modules[] = {&input, &output, &sampler, NULL};

static void find(const char *text, struct flowd_mistakes *warnings)
{
    json_t *root = json_loads(text, 0, NULL);
    struct flowd_options_report report = {0};
    struct flowd_configuration *configuration;

    assert_int_equal(flowd_configuration_from_json(root, modules, &configuration, &report), 0);
    *warnings = (struct flowd_mistakes){0};
    flowd_warnings_find(configuration, NULL, warnings);
    flowd_configuration_free(configuration);
    json_decref(root);
}

static void test_modules(void **state)
{
    static const struct {
        const char *text;
        const char *lines[2]; /* how each begins */
    } rows[] = {
        {"{}", {"plugins: there is none"}},
        {"{\"backends\": {\"output\": {}}}",
         {"plugins: there is none", "backends.output.enrich: does nothing without an enricher"}},
        {"{\"plugins\": {\"input\": {}}}", {"plugins.input: said"}},
        {"{\"plugins\": {\"input\": {}}, \"backends\": {\"output\": {}}, \"enrichers\": "
         "{\"sampler\": {}}}",
         {"plugins.input: said"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_mistakes warnings;

        find(rows[i].text, &warnings);
        assert_int_equal(warnings.count, rows[i].lines[1] != NULL ? 2 : 1);
        for (size_t j = 0; j < warnings.count; j++)
            assert_memory_equal(warnings.lines[j], rows[i].lines[j], strlen(rows[i].lines[j]));
        flowd_mistakes_fini(&warnings);
    }
}

static void test_access(void **state)
{
    static const struct {
        int64_t mode;
        const char *group;
        const char *line; /* NULL: no warning */
    } rows[] = {
        {0666, "", NULL},
        {0622, "storm", NULL},
        {0660, "storm", NULL},
        {0620, "storm", NULL},
        {0660, "", "p: \"0660\" without a group lets only flowd's own user and group in"},
        {0600, "",
         "p: \"0600\" lets nobody in but flowd's own user; \"0660\" with a group lets its members "
         "in, \"0666\" everybody"},
        {0644, "storm",
         "p: \"0644\" lets nobody in but flowd's own user, not even group \"storm\"; \"0660\" with "
         "a group lets its members in, \"0666\" everybody"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_mistakes warnings = {0};

        flowd_warnings_access(rows[i].mode, rows[i].group, "p", &warnings);
        assert_int_equal(warnings.count, rows[i].line != NULL);
        if (rows[i].line != NULL)
            assert_string_equal(warnings.lines[0], rows[i].line);
        flowd_mistakes_fini(&warnings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
