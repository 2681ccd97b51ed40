/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations: what is taken can be written out and is taken again with the same meaning; what
 * is refused has at least one line that says why.
 */
#include "daemon/configuration.h"
#include "fuzz_target.h"

extern const struct flowd_module flowd_plugin_fifo;
extern const struct flowd_module flowd_backend_firefly;
extern const struct flowd_module flowd_backend_log;

static const struct flowd_module *const modules[] = {&flowd_plugin_fifo, &flowd_backend_firefly,
                                                     &flowd_backend_log, NULL};

static void forget(struct flowd_options_report *report)
{
    flowd_messages_fini(&report->errors);
    flowd_messages_fini(&report->deprecations);
}

static void check_round_trip(const struct flowd_configuration *configuration)
{
    struct flowd_configuration *again;
    struct flowd_options_report report = {0};
    struct flowd_messages refused = {0};
    json_t *first = flowd_configuration_json(configuration), *second;

    REQUIRE(flowd_configuration_from_json(first, modules, &again, &report) == 0);
    REQUIRE(report.deprecations.count == 0);
    second = flowd_configuration_json(again);
    REQUIRE(json_equal(first, second));
    flowd_configuration_merge(configuration, again, &refused);
    REQUIRE(refused.count == 0);
    json_decref(first);
    json_decref(second);
    flowd_configuration_free(again);
    forget(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_configuration *configuration = NULL;
    struct flowd_options_report report = {0};
    json_t *root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(root)) {
        if (flowd_configuration_from_json(root, modules, &configuration, &report) == 0)
            check_round_trip(configuration);
        else
            REQUIRE(report.errors.count > 0 && configuration == NULL);
    }
    flowd_configuration_free(configuration);
    forget(&report);
    json_decref(root);
    return 0;
}
