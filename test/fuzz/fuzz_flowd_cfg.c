/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations of other programs, whatever their syntax: what comes out has no key that flowd
 * does not know. It may have values that are out of range, which is for the configuration's reader.
 */
#include "daemon/conversion.h"
#include "daemon/convert/source.h"
#include "fuzz_target.h"

extern const struct flowd_module flowd_plugin_fifo;
extern const struct flowd_module flowd_backend_firefly;
extern const struct flowd_module flowd_backend_log;

static const struct flowd_module *const modules[] = {&flowd_plugin_fifo, &flowd_backend_firefly,
                                                     &flowd_backend_log, NULL};

/* A second time there is nothing to leave out. */
static void require_fitting(json_t *root, struct flowd_options_report *report)
{
    struct flowd_messages notes = {0};

    flowd_conversion_fit(root, modules, &notes, report);
    REQUIRE(notes.count == 0);
    flowd_messages_fini(&notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_configuration *configuration = NULL;
    struct flowd_options_report report = {0};
    struct flowd_messages notes = {0};
    struct flowd_error err = {.message = ""};
    json_t *root = flowd_source_convert((const char *)data, size, &notes, &err);

    if (root != NULL) {
        flowd_conversion_fit(root, modules, &notes, &report);
        require_fitting(root, &report);
        if (flowd_configuration_from_json(root, modules, &configuration, &report) == 0)
            json_decref(flowd_conversion_json(configuration));
    } else {
        REQUIRE(err.message[0] != '\0');
    }
    flowd_configuration_free(configuration);
    flowd_messages_fini(&notes);
    flowd_messages_fini(&report.errors);
    flowd_messages_fini(&report.deprecations);
    json_decref(root);
    return 0;
}
