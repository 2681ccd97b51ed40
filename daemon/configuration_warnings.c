/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks every module that is switched on for what looks unintended, and looks at what no module sees
 * by itself.
 */
#include "daemon/configuration_warnings.h"

#include <string.h>
#include <strings.h>

static bool has_module(const struct flowd_configuration *configuration, enum flowd_module_kind kind)
{
    for (size_t i = 0; i < configuration->module_count; i++)
        if (configuration->modules[i].enabled && configuration->modules[i].module->kind == kind)
            return true;
    return false;
}

void flowd_configuration_warnings(const struct flowd_configuration *configuration,
                                  const struct flowd_host *host, struct flowd_messages *warnings)
{
    const struct flowd_environment environment = {
        .host = host, .has_enricher = has_module(configuration, FLOWD_ENRICHER)};

    if (!has_module(configuration, FLOWD_PLUGIN))
        flowd_messages_add(warnings,
                           "plugins: there is none, so flowd never hears of a flow; for example: "
                           "\"plugins\": {\"namedPipe\": {}, \"api\": {}}");
    if (strncasecmp(configuration->settings.registry_url, "http:", strlen("http:")) == 0)
        flowd_messages_add(warnings,
                           "registry.url: without TLS whoever is on the way may change names; "
                           "https:// verifies the server");
    for (size_t i = 0; i < configuration->module_count; i++) {
        const struct flowd_module_settings *entry = &configuration->modules[i];
        char path[FLOWD_MODULE_PATH_SIZE];

        if (!entry->enabled)
            continue;
        flowd_module_path(entry->module, path);
        if (entry->module->warn != NULL)
            entry->module->warn(entry->values, path, &environment, warnings);
    }
}
