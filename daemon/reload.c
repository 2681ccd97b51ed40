/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reload does to modules: each is handed its new settings and may refuse them. Whichever set
 * a module goes on with has to outlive the other, so sets that are not taken are swapped.
 */
#include "daemon/reload.h"

#include "daemon/base/log.h"

static bool reload_module(struct flowd_running_module *entry, struct flowd_module_settings *running,
                          struct flowd_module_settings *fresh)
{
    bool can_reload = entry->instance != NULL && entry->module->reload != NULL;
    char path[FLOWD_MODULE_PATH_SIZE];
    struct flowd_error err;
    void *values = running->values;

    if (can_reload && entry->module->reload(entry->instance, fresh->values, &err) == 0)
        return true;
    if (can_reload) {
        flowd_module_path(entry->module, path);
        flowd_err(path, "reload: %s; the old settings stay", err.message);
    }
    /* The module goes on with the settings that it has. */
    running->values = fresh->values;
    fresh->values = values;
    return !can_reload;
}

bool flowd_reload_modules(struct flowd_running *daemon, struct flowd_configuration *running,
                          struct flowd_configuration *fresh)
{
    bool all = true;

    for (size_t i = 0; i < fresh->module_count; i++)
        for (size_t j = 0; j < daemon->count; j++)
            if (daemon->modules[j].module == fresh->modules[i].module)
                all &= reload_module(&daemon->modules[j], &running->modules[i], &fresh->modules[i]);
    return all;
}

void flowd_reload_count(struct flowd_reloads *reloads, uint64_t *result)
{
    (*result)++;
    reloads->outdated = result != &reloads->done;
}
