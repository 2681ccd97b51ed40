/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goes by the same option tables as the reading of a configuration, so that an option that a module
 * gets is converted, and written down without its default, with no word here.
 */
#include "daemon/conversion.h"

#include <stdio.h>
#include <string.h>

static const struct flowd_option *find_option(const struct flowd_option *table, const char *key)
{
    for (; table != NULL && table->key != NULL; table++)
        if (strcmp(table->key, key) == 0 ||
            (table->alias != NULL && strcmp(table->alias, key) == 0))
            return table;
    return NULL;
}

static void leave_out(json_t *object, const char *path, const char *key, const char *why,
                      struct flowd_messages *notes)
{
    flowd_messages_add(notes, "%s%s%s: %s, left out", path, path[0] != '\0' ? "." : "", key, why);
    json_object_del(object, key);
}

/* Returns whether the member is left out for a reason that every option may have. */
static bool fit_member(json_t *object, const char *path, const char *key, const json_t *value,
                       const struct flowd_option *option, struct flowd_messages *notes)
{
    if (json_is_null(value))
        leave_out(object, path, key, "has no value", notes);
    else if (option != NULL && option->type == FLOWD_OPTION_LATER)
        leave_out(object, path, key, "is not in this version of flowd", notes);
    else
        return false;
    return true;
}

static void fit_options(json_t *object, const char *path, const struct flowd_option *table,
                        struct flowd_messages *notes)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe (object, next, key, value) {
        const struct flowd_option *option = find_option(table, key);

        if (fit_member(object, path, key, value, option, notes))
            continue;
        if (option == NULL) {
            leave_out(object, path, key, "has no equivalent", notes);
        } else if (option->type == FLOWD_OPTION_SECTION) {
            char inner[FLOWD_MODULE_PATH_SIZE];

            snprintf(inner, sizeof(inner), "%s.%s", path, key);
            fit_options(value, inner, option->section, notes);
        }
    }
}

static const struct flowd_module *find_module(const struct flowd_module *const *modules,
                                              const char *section, const char *key)
{
    for (; *modules != NULL; modules++)
        if (strcmp(flowd_module_section(*modules), section) == 0 &&
            (strcmp((*modules)->name, key) == 0 ||
             ((*modules)->alias != NULL && strcmp((*modules)->alias, key) == 0)))
            return *modules;
    return NULL;
}

static const struct flowd_option *find_section(const char *path)
{
    for (size_t i = 0; i < flowd_settings_section_count; i++)
        if (strcmp(flowd_settings_sections[i].path, path) == 0)
            return flowd_settings_sections[i].options;
    return NULL;
}

static bool has_modules(const struct flowd_module *const *modules, const char *section)
{
    for (; *modules != NULL; modules++)
        if (strcmp(flowd_module_section(*modules), section) == 0)
            return true;
    return false;
}

static void fit_module(json_t *object, const struct flowd_module *module,
                       struct flowd_messages *notes, struct flowd_options_report *report)
{
    char path[FLOWD_MODULE_PATH_SIZE];

    if (!json_is_object(object))
        return;
    flowd_module_path(module, path);
    if (module->translate != NULL)
        module->translate(object, path, report);
    fit_options(object, path, module->options, notes);
}

static void fit_modules(json_t *object, const char *section,
                        const struct flowd_module *const *modules, struct flowd_messages *notes,
                        struct flowd_options_report *report)
{
    const struct flowd_option *beside = find_section(section);
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe (object, next, key, value) {
        const struct flowd_option *option = find_option(beside, key);
        const struct flowd_module *module = find_module(modules, section, key);

        if (fit_member(object, section, key, value, option, notes) || option != NULL)
            continue;
        if (module != NULL)
            fit_module(value, module, notes, report);
        else
            leave_out(object, section, key, "has no equivalent in this version of flowd", notes);
    }
}

void flowd_conversion_fit(json_t *root, const struct flowd_module *const *modules,
                          struct flowd_messages *notes, struct flowd_options_report *report)
{
    const struct flowd_option *top = find_section("");
    const char *key;
    json_t *value;
    void *next;

    flowd_configuration_translate(root, report);
    json_object_foreach_safe (root, next, key, value) {
        const struct flowd_option *option = find_option(top, key);
        const struct flowd_option *table = key[0] != '\0' ? find_section(key) : NULL;

        if (fit_member(root, "", key, value, option, notes) || option != NULL)
            continue;
        if (has_modules(modules, key))
            fit_modules(value, key, modules, notes, report);
        else if (table != NULL)
            fit_options(value, key, table, notes);
        else
            leave_out(root, "", key, "has no equivalent", notes);
    }
}

static void drop_defaults(json_t *object, const struct flowd_option *table)
{
    for (; table != NULL && table->key != NULL; table++) {
        json_t *value = table->default_json != NULL
                            ? json_loads(table->default_json, JSON_DECODE_ANY, NULL)
                            : NULL;

        if (table->type == FLOWD_OPTION_SECTION)
            drop_defaults(json_object_get(object, table->key), table->section);
        if (value != NULL && json_equal(value, json_object_get(object, table->key)))
            json_object_del(object, table->key);
        json_decref(value);
    }
}

json_t *flowd_conversion_json(const struct flowd_configuration *configuration)
{
    json_t *root = flowd_configuration_json(configuration);
    const char *key;
    json_t *value;
    void *next;

    for (size_t i = 0; i < flowd_settings_section_count; i++) {
        const struct flowd_settings_section *section = &flowd_settings_sections[i];

        drop_defaults(section->path[0] == '\0' ? root : json_object_get(root, section->path),
                      section->options);
    }
    for (size_t i = 0; i < configuration->module_count; i++) {
        const struct flowd_module *module = configuration->modules[i].module;

        drop_defaults(
            json_object_get(json_object_get(root, flowd_module_section(module)), module->name),
            module->options);
    }
    json_object_foreach_safe (root, next, key, value)
        if (json_is_object(value) && json_object_size(value) == 0)
            json_object_del(root, key);
    return root;
}
