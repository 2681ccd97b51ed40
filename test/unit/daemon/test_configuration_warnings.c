/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration hardly means, with made-up modules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/configuration_warnings.h"

static const struct flowd_option no_options[] = {{.key = NULL}};

static void warn(const void *config, const char *path, const struct flowd_environment *environment,
                 struct flowd_messages *warnings)
{
    (void)config;
    assert_null(environment->host);
    flowd_messages_add(warnings, "%s: said", path);
}

static void warn_without_samples(const void *config, const char *path,
                                 const struct flowd_environment *environment,
                                 struct flowd_messages *warnings)
{
    (void)config;
    if (!environment->has_enricher)
        flowd_messages_add(warnings, "%s: has no samples", path);
}

static const struct flowd_module input = {
    .kind = FLOWD_PLUGIN, .name = "input", .options = no_options, .config_size = 1, .warn = warn};
static const struct flowd_module output = {.kind = FLOWD_BACKEND,
                                           .name = "output",
                                           .options = no_options,
                                           .config_size = 1,
                                           .warn = warn_without_samples};
static const struct flowd_module sampler = {
    .kind = FLOWD_ENRICHER, .name = "sampler", .options = no_options, .config_size = 1};
static const struct flowd_module *const modules[] = {&input, &output, &sampler, NULL};

static void find(const char *text, struct flowd_messages *warnings)
{
    json_t *root = json_loads(text, 0, NULL);
    struct flowd_options_report report = {0};
    struct flowd_configuration *configuration;

    assert_int_equal(flowd_configuration_from_json(root, modules, &configuration, &report), 0);
    *warnings = (struct flowd_messages){0};
    flowd_configuration_warnings(configuration, NULL, warnings);
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
         {"plugins: there is none", "backends.output: has no samples"}},
        {"{\"plugins\": {\"input\": {}}}", {"plugins.input: said"}},
        {"{\"plugins\": {\"input\": {}}, \"backends\": {\"output\": {}}, \"enrichers\": "
         "{\"sampler\": {}}}",
         {"plugins.input: said"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_messages warnings;

        find(rows[i].text, &warnings);
        assert_int_equal(warnings.count, rows[i].lines[1] != NULL ? 2 : 1);
        for (size_t j = 0; j < warnings.count; j++)
            assert_memory_equal(warnings.lines[j], rows[i].lines[j], strlen(rows[i].lines[j]));
        flowd_messages_fini(&warnings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
