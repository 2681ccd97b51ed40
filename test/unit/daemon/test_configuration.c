/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole configurations with two made-up modules: every mistake at once, old spellings, the way to
 * JSON and back, and what a reload may change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/configuration.h"
#include "lab/scratch.h"

struct module_config {
    int64_t port;
    char *path;
    struct flowd_strings names;
    struct flowd_tag general; /* no option: what another module's tag was */
};

#define AT(field) offsetof(struct module_config, field)

static const struct flowd_option module_options[] = {
    {.key = "port",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(port),
     .default_json = "7777",
     .min = 1,
     .max = 65535},
    {.key = "path",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(path),
     .default_json = "\"/run/x\"",
     .reload = true},
    {.key = "names",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(names),
     .default_json = "[]",
     .reload = true},
    {.key = NULL},
};

static void check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct module_config *module = config;

    if (module->path[0] == '\0')
        flowd_messages_add(errors, "%s.path: must not be empty", path);
}

static void translate(json_t *object, const char *path, struct flowd_options_report *report)
{
    json_t *old = json_object_get(object, "veryOldPort");

    if (old == NULL)
        return;
    flowd_messages_add(&report->deprecations, "%s.veryOldPort: is old", path);
    json_object_set(object, "port", old);
    json_object_del(object, "veryOldPort");
}

static const struct flowd_module all_module;

static void give_tag(void *config, const char *path, struct flowd_shared *shared,
                     struct flowd_messages *errors)
{
    const struct module_config *module = config;

    (void)errors;
    assert_string_equal(path, "plugins.all");
    shared->general_tag_plugin = &all_module;
    shared->general_tag = (struct flowd_tag){.experiment = (uint16_t)module->port, .activity = 9};
}

static void take_tag(void *config, const char *path, struct flowd_shared *shared,
                     struct flowd_messages *errors)
{
    struct module_config *module = config;

    if (shared->general_tag_plugin == NULL)
        return;
    module->general = shared->general_tag;
    shared->general_tag_taken = true;
    if (module->general.experiment > 100)
        flowd_messages_add(errors, "%s: tag %u is too large", path, module->general.experiment);
}

static const struct flowd_module pipe_module = {.kind = FLOWD_PLUGIN,
                                                .name = "pipe",
                                                .options = module_options,
                                                .config_size = sizeof(struct module_config),
                                                .check = check};
static const struct flowd_module mark_module = {.kind = FLOWD_BACKEND,
                                                .name = "mark",
                                                .alias = "oldMark",
                                                .options = module_options,
                                                .config_size = sizeof(struct module_config),
                                                .translate = translate,
                                                .share = take_tag};
static const struct flowd_module all_module = {.kind = FLOWD_PLUGIN,
                                               .name = "all",
                                               .options = module_options,
                                               .config_size = sizeof(struct module_config),
                                               .share = give_tag};
static const struct flowd_module *const modules[] = {&pipe_module, &mark_module, &all_module, NULL};

static int read_text(const char *text, struct flowd_configuration **out,
                     struct flowd_options_report *report)
{
    json_t *root = json_loads(text, 0, NULL);
    int result;

    assert_non_null(root);
    *report = (struct flowd_options_report){0};
    *out = NULL;
    result = flowd_configuration_from_json(root, modules, out, report);
    json_decref(root);
    return result;
}

static struct flowd_configuration *read_good(const char *text)
{
    struct flowd_configuration *configuration;
    struct flowd_options_report report;

    if (read_text(text, &configuration, &report) < 0)
        fail_msg("%s", report.errors.lines[0]);
    flowd_messages_fini(&report.deprecations);
    return configuration;
}

static void forget(struct flowd_options_report *report)
{
    flowd_messages_fini(&report->errors);
    flowd_messages_fini(&report->deprecations);
}

static const struct module_config *module_values(const struct flowd_configuration *configuration,
                                                 const char *name)
{
    for (size_t i = 0; i < configuration->module_count; i++)
        if (strcmp(configuration->modules[i].module->name, name) == 0)
            return configuration->modules[i].enabled ? configuration->modules[i].values : NULL;
    return NULL;
}

static void test_defaults(void **state)
{
    struct flowd_configuration *configuration = read_good("{}");

    (void)state;
    assert_string_equal(configuration->settings.pid_path, "");
    assert_string_equal(configuration->settings.state_dir, "/var/lib/flowd");
    assert_int_equal(configuration->settings.flows_max, 262144);
    assert_int_equal(configuration->settings.flows_timeout_s, 0);
    assert_true(configuration->settings.flows_end_on_close);
    assert_int_equal(configuration->module_count, 3);
    assert_null(module_values(configuration, "pipe"));
    assert_null(module_values(configuration, "mark"));
    flowd_configuration_free(configuration);
    configuration = read_good("{\"plugins\": {\"pipe\": {}}, \"backends\": {}}");
    assert_int_equal(module_values(configuration, "pipe")->port, 7777);
    assert_null(module_values(configuration, "mark"));
    flowd_configuration_free(configuration);
}

static void test_five_mistakes(void **state)
{
    static const char *const wanted[] = {
        "stateDri: unknown key; the nearest known one is \"stateDir\"",
        "flows.max: found 0, wants an integer in 1-4194304",
        "log.level: found \"loud\", wants one of \"error\", \"warning\", \"info\", \"debug\"",
        "plugins.pip: unknown; the nearest known one is \"pipe\"",
        "backends.mark.port: found \"x\", wants an integer in 1-65535",
    };
    struct flowd_configuration *configuration;
    struct flowd_options_report report;

    (void)state;
    assert_int_equal(
        read_text("{\"stateDri\": \"/x\", \"flows\": {\"max\": 0}, \"log\": {\"level\": "
                  "\"loud\"}, \"plugins\": {\"pip\": {}}, \"backends\": {\"mark\": "
                  "{\"port\": \"x\"}}}",
                  &configuration, &report),
        -EINVAL);
    assert_null(configuration);
    assert_int_equal(report.errors.count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(report.errors.lines[i], wanted[i]);
    forget(&report);
}

/* Each has one mistake, which begins with these words. */
static const struct {
    const char *text;
    const char *mistake;
} wrong[] = {
    {"{\"flows\": []}", "flows: "},
    {"{\"plugins\": null}", "plugins: "},
    {"{\"backends\": true}", "backends: "},
    {"{\"plugins\": {\"pipe\": null}}", "plugins.pipe: "},
    {"{\"plugins\": {\"pipe\": true}}", "plugins.pipe: "},
    {"{\"plugins\": {\"mark\": {}}}", "plugins.mark: "},
    {"{\"plugins\": {\"pipe\": {\"path\": \"\"}}}", "plugins.pipe.path: must not be empty"},
    {"{\"enrichers\": {\"period\": 1}}", "enrichers.period: "},
    {"{\"enrichers\": {\"perod\": 100}}",
     "enrichers.perod: unknown; the nearest known one is \"period\""},
    {"{\"enrichers\": []}", "enrichers: found an array, wants an object"},
    {"{\"registry\": {\"url\": \"ftp://example.org/api.json\"}}",
     "registry.url: \"ftp://example.org/api.json\" begins neither with http:// nor with https:// "
     "and a host; a file is for registry.path"},
    {"{\"registry\": {\"url\": \"https://\"}}", "registry.url: \"https://\" begins neither"},
    {"{\"registry\": {\"refresh\": 0}}", "registry.refresh: found 0, wants an integer in 1-"},
    {"{\"backends\": {\"mark\": {}, \"oldMark\": {}}}",
     "backends.oldMark: is the old spelling of \"mark\", which is there too"},
    {"{\"stateDir\": \"/a\", \"workDir\": \"/b\"}",
     "workDir: is the old spelling of \"stateDir\", which is there too"},
    {"{\"plugins\": {\"all\": {}}}", "plugins.all: needs backends.marker"},
    {"{\"plugins\": {\"all\": {\"port\": 101}}, \"backends\": {\"mark\": {}}}",
     "backends.mark: tag 101 is too large"},
    {"{\"flows\": {\"timeout\": -1}}", "flows.timeout: found -1, wants an integer in 0-31536000 s"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct flowd_configuration *configuration;
        struct flowd_options_report report;

        assert_int_equal(read_text(wrong[i].text, &configuration, &report), -EINVAL);
        if (report.errors.count != 1 ||
            strncmp(report.errors.lines[0], wrong[i].mistake, strlen(wrong[i].mistake)) != 0)
            fail_msg("%s gave %zu: \"%s\"", wrong[i].text, report.errors.count,
                     report.errors.lines[0]);
        forget(&report);
    }
}

/* A plugin's tag for everything reaches the backend that marks, wherever each of them stands. */
static void test_general_tag(void **state)
{
    struct flowd_configuration *configuration =
        read_good("{\"plugins\": {\"all\": {\"port\": 100}}, \"backends\": {\"mark\": {}}}");

    (void)state;
    assert_int_equal(module_values(configuration, "mark")->general.experiment, 100);
    assert_int_equal(module_values(configuration, "mark")->general.activity, 9);
    flowd_configuration_free(configuration);
    configuration = read_good("{\"plugins\": {\"pipe\": {}}, \"backends\": {\"mark\": {}}}");
    assert_int_equal(module_values(configuration, "mark")->general.experiment, 0);
    flowd_configuration_free(configuration);
}

static void test_old_spellings(void **state)
{
    struct flowd_configuration *configuration;
    struct flowd_options_report report;

    (void)state;
    assert_int_equal(
        read_text("{\"workDir\": \"/w\", \"log\": {\"level\": \"DEBUG\"}, \"backends\": "
                  "{\"oldMark\": {\"veryOldPort\": 99}}}",
                  &configuration, &report),
        0);
    assert_int_equal(report.deprecations.count, 3);
    assert_string_equal(report.deprecations.lines[0],
                        "workDir: is the old spelling of \"stateDir\"");
    assert_string_equal(report.deprecations.lines[1],
                        "backends.oldMark: is the old spelling of \"mark\"");
    assert_string_equal(report.deprecations.lines[2], "backends.mark.veryOldPort: is old");
    assert_string_equal(configuration->settings.state_dir, "/w");
    assert_int_equal(configuration->settings.log_level, 3);
    assert_int_equal(module_values(configuration, "mark")->port, 99);
    forget(&report);
    flowd_configuration_free(configuration);
}

static void test_json_and_back(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"plugins\": {\"pipe\": {}}}",
        "{\"pidPath\": \"/p\", \"stateDir\": \"\", \"flows\": {\"max\": 7, \"timeout\": 60, "
        "\"endOnClose\": false}, \"log\": {\"level\": \"error\", \"format\": \"json\"}, "
        "\"plugins\": "
        "{\"pipe\": {\"names\": [\"a\", \"b\"]}}, \"backends\": {\"mark\": {\"port\": 1}}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct flowd_configuration *first = read_good(texts[i]), *second;
        json_t *first_json = flowd_configuration_json(first), *second_json;
        char *text = json_dumps(first_json, 0);

        second = read_good(text);
        second_json = flowd_configuration_json(second);
        assert_true(json_equal(first_json, second_json));
        for (size_t at = 0; at < first->module_count; at++)
            assert_int_equal(first->modules[at].enabled, second->modules[at].enabled);
        free(text);
        json_decref(first_json);
        json_decref(second_json);
        flowd_configuration_free(first);
        flowd_configuration_free(second);
    }
}

static void test_merge(void **state)
{
    struct flowd_configuration *running = read_good(
        "{\"stateDir\": \"/a\", \"plugins\": {\"pipe\": {\"port\": 1, \"path\": \"/old\"}}}");
    struct flowd_configuration *fresh = read_good(
        "{\"stateDir\": \"/b\", \"log\": {\"level\": \"debug\"}, \"flows\": {\"max\": 3, "
        "\"timeout\": "
        "9}, \"plugins\": {\"pipe\": {\"port\": 2, \"path\": \"/new\"}}, \"backends\": {\"mark\": "
        "{\"port\": 5}}}");
    struct flowd_messages refused = {0};

    (void)state;
    flowd_configuration_merge(running, fresh, &refused);
    assert_int_equal(refused.count, 4);
    assert_non_null(strstr(refused.lines[0], "stateDir: can't change while flowd runs"));
    assert_non_null(strstr(refused.lines[1], "flows.max: can't change while flowd runs"));
    assert_non_null(strstr(refused.lines[2], "plugins.pipe.port: can't change while flowd runs"));
    assert_string_equal(refused.lines[3], "backends.mark: can't be switched on while flowd runs");
    assert_string_equal(fresh->settings.state_dir, "/a");
    assert_int_equal(fresh->settings.flows_max, 262144);
    assert_int_equal(fresh->settings.flows_timeout_s, 9);
    assert_int_equal(fresh->settings.log_level, 3);
    assert_int_equal(module_values(fresh, "pipe")->port, 1);
    assert_string_equal(module_values(fresh, "pipe")->path, "/new");
    assert_null(module_values(fresh, "mark"));
    flowd_messages_fini(&refused);
    flowd_configuration_free(fresh);

    fresh = read_good("{\"stateDir\": \"/a\"}");
    flowd_configuration_merge(running, fresh, &refused);
    assert_int_equal(refused.count, 1);
    assert_string_equal(refused.lines[0], "plugins.pipe: can't be switched off while flowd runs");
    assert_int_equal(module_values(fresh, "pipe")->port, 1);
    assert_string_equal(module_values(fresh, "pipe")->path, "/old");
    flowd_messages_fini(&refused);
    flowd_configuration_free(fresh);

    fresh = read_good("{\"stateDir\": \"/a\", \"plugins\": {\"pipe\": {\"port\": 1, \"path\": "
                      "\"/old\"}}}");
    flowd_configuration_merge(running, fresh, &refused);
    assert_int_equal(refused.count, 0);
    flowd_configuration_free(fresh);
    flowd_configuration_free(running);
}

/* A plugin that can't be switched off goes on, and so does what it gives to others. */
static void test_merge_what_is_shared(void **state)
{
    struct flowd_configuration *running =
        read_good("{\"plugins\": {\"all\": {\"port\": 100}}, \"backends\": {\"mark\": {}}}");
    struct flowd_configuration *fresh = read_good("{\"backends\": {\"mark\": {}}}");
    struct flowd_messages refused = {0};

    (void)state;
    flowd_configuration_merge(running, fresh, &refused);
    assert_int_equal(refused.count, 1);
    assert_int_equal(module_values(fresh, "mark")->general.experiment, 100);
    flowd_messages_fini(&refused);
    flowd_configuration_free(fresh);
    flowd_configuration_free(running);
}

static void test_files(void **state)
{
    static const struct {
        const char *text; /* NULL: there is no file */
        const char *mistake;
    } rows[] = {
        {NULL, "No such file or directory"},
        {"", "is empty"},
        {"{\n\"flows\": {\n", "line 3"},
        {"[]", "wants an object"},
        {"{\"pidPath\": \"a\", \"pidPath\": \"b\"}", "duplicate"},
        {"{\"flows\": {\"max\": 99999999999999999999}}", "line 1"},
        {"{\"pidPath\": \"\xff\"}", "0xff"},
        {"{} {}", "line 1"},
    };
    struct scratch scratch;

    (void)state;
    scratch_make(&scratch);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_configuration *configuration = NULL;
        struct flowd_options_report report = {0};

        if (rows[i].text != NULL)
            scratch_write(&scratch, "config.json", rows[i].text, strlen(rows[i].text));
        assert_int_equal(flowd_configuration_read(scratch_path(&scratch, "config.json"), modules,
                                                  &configuration, &report),
                         -EINVAL);
        assert_null(configuration);
        assert_int_equal(report.errors.count, 1);
        if (strstr(report.errors.lines[0], rows[i].mistake) == NULL ||
            strstr(report.errors.lines[0], "config.json") == NULL)
            fail_msg("row %zu gave \"%s\"", i, report.errors.lines[0]);
        forget(&report);
    }
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_five_mistakes),
        cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_general_tag),
        cmocka_unit_test(test_old_spellings), cmocka_unit_test(test_json_and_back),
        cmocka_unit_test(test_merge),         cmocka_unit_test(test_merge_what_is_shared),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
