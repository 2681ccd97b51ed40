/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the status together from the hub's counters and what each module adds, decides whether flowd
 * is ready, and writes the summary in the log.
 */
#include "daemon/status.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/daemon_metrics.h"
#include "daemon/metrics/counter.h"
#include "daemon/registry_updates.h"

static const char *const kind_names[] = {
    [FLOWD_PLUGIN] = "plugin", [FLOWD_BACKEND] = "backend", [FLOWD_ENRICHER] = "enricher"};

static json_t *module_json(const struct flowd_running_module *entry)
{
    const struct flowd_module *module = entry->module;
    json_t *object =
        json_pack("{s:s, s:s, s:s}", "kind", kind_names[module->kind], "name", module->name,
                  "state", entry->instance != NULL ? "running" : "failed");
    const struct flowd_counter_sink sink = {.status = object};

    if (entry->instance == NULL)
        json_object_set_new(object, "reason", json_string(entry->failure));
    else if (module->status != NULL)
        module->status(entry->instance, object);
    if (entry->instance != NULL && module->count != NULL)
        module->count(entry->instance, &sink);
    return object;
}

/* Whichever module marks on interfaces, who asks finds them in one place. */
static void raise_interfaces(json_t *module, json_t *status)
{
    json_t *interfaces = json_object_get(module, "interfaces");

    if (interfaces == NULL)
        return;
    json_object_set(status, "interfaces", interfaces);
    json_object_del(module, "interfaces");
}

json_t *flowd_status_json(const struct flowd_context *context, const struct flowd_running *running,
                          const struct flowd_destroy_listener *destroy_listener)
{
    json_t *status = json_object();
    json_t *modules = json_array();
    const struct flowd_counter_sink sink = {.status = status};

    flowd_daemon_count(context, running, destroy_listener, &sink);
    flowd_registry_updates_status(running->registry, status);

    for (size_t i = 0; i < running->count; i++) {
        json_t *module = module_json(&running->modules[i]);

        raise_interfaces(module, status);
        json_array_append_new(modules, module);
    }
    json_object_set_new(status, "version", json_string(FLOWD_VERSION));
    json_object_set_new(status, "uptime",
                        json_integer((flowd_timestamp_boot_us() - running->started_us) / 1000000));
    json_object_set_new(status, "ready", json_boolean(flowd_status_ready(running, NULL) == 0));
    json_object_set_new(status, "modules", modules);
    return status;
}

static bool has_input(const struct flowd_running *running)
{
    for (size_t i = 0; i < running->count; i++)
        if (running->modules[i].module->kind == FLOWD_PLUGIN)
            return true;
    return false;
}

int flowd_status_ready(const struct flowd_running *running, struct flowd_error *err)
{
    if (!running->ready)
        return flowd_fail(err, EAGAIN, "flowd is starting or stopping");
    for (size_t i = 0; i < running->count; i++) {
        const struct flowd_running_module *entry = &running->modules[i];
        char path[FLOWD_MODULE_PATH_SIZE];
        int result = 0;

        flowd_module_path(entry->module, path);
        if (entry->instance == NULL)
            return flowd_fail(err, EAGAIN, "without %s: %s", path, entry->failure);
        if (entry->module->ready != NULL)
            result = entry->module->ready(entry->instance, err);
        if (result < 0)
            return flowd_error_wrap(err, result, "%s", path);
    }
    if (running->few_descriptors)
        return flowd_fail(
            err, EAGAIN,
            "too few file descriptors are left for connections: " FLOWD_DESCRIPTORS_REMEDY);
    if (!has_input(running))
        return flowd_fail(err, EAGAIN, "there is no plugin that tells of flows");
    return 0;
}

static void log_member(json_t *parent, const char *what, const char *key)
{
    char *text = json_dumps(json_object_get(parent, key), JSON_COMPACT | JSON_ENCODE_ANY);

    flowd_info("status", "%s %s", what, text != NULL ? text : "?");
    free(text);
}

void flowd_status_log(const struct flowd_context *context, const struct flowd_running *running,
                      const struct flowd_destroy_listener *destroy_listener)
{
    json_t *status = flowd_status_json(context, running, destroy_listener);
    json_t *module;
    size_t i;

    log_member(status, "flows", "flows");
    log_member(status, "events", "events");
    json_array_foreach (json_object_get(status, "modules"), i, module) {
        char *text = json_dumps(module, JSON_COMPACT);

        flowd_info("status", "module %s", text != NULL ? text : "?");
        free(text);
    }
    json_decref(status);
}
