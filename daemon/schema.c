/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the schemas of all tables together as the configuration has them: sections at the top, and
 * modules in theirs. What modules check beyond their rows (an address, the name of an interface,
 * one module's need of another) is in no schema: `flowd check` knows it.
 */
#include "daemon/schema.h"

#include "daemon/configuration.h"
#include "daemon/options/option_schema.h"

static const struct flowd_option no_options[] = {{.key = NULL}};

/* The section's object in the schema; made where it is not there yet. Borrowed. */
static json_t *section_schema(json_t *root, const char *name)
{
    json_t *properties = json_object_get(root, "properties");

    if (json_object_get(properties, name) == NULL)
        json_object_set_new(properties, name, flowd_options_schema(no_options, NULL));
    return json_object_get(properties, name);
}

static void add_module(json_t *root, const struct flowd_module *module)
{
    const char *section = flowd_module_section(module);
    json_t *properties = json_object_get(section_schema(root, section), "properties");
    json_t *schema = flowd_options_schema(module->options, module->old_options);
    json_t *alias;

    json_object_set_new(schema, "description",
                        json_sprintf("%s.%s %s.", section, module->name, module->summary));
    json_object_set_new(properties, module->name, schema);
    if (module->alias == NULL)
        return;
    alias = json_pack("{s:o, s:s, s:b, s:o}", "description",
                      json_sprintf("The old spelling of %s.", module->name), "x-oldSpellingOf",
                      module->name, "deprecated", 1, "$ref",
                      json_sprintf("#/properties/%s/properties/%s", section, module->name));
    json_object_set_new(properties, module->alias, alias);
    schema = section_schema(root, section);
    if (json_object_get(schema, "allOf") == NULL)
        json_object_set_new(schema, "allOf", json_array());
    json_array_append_new(
        json_object_get(schema, "allOf"),
        json_pack("{s:{s:[s,s]}}", "not", "required", module->name, module->alias));
}

json_t *flowd_configuration_schema(const struct flowd_module *const *modules)
{
    json_t *root =
        json_pack("{s:s, s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema",
                  "title", "Configuration of flowd", "description",
                  "The manual page is flowd.json(5); `flowd check` finds "
                  "mistakes that a schema can't.");

    for (size_t i = 0; i < flowd_settings_section_count; i++) {
        const struct flowd_settings_section *section = &flowd_settings_sections[i];
        bool is_top = section->path[0] == '\0';
        json_t *schema = flowd_options_schema(section->options, is_top ? flowd_old_options : NULL);

        if (is_top)
            json_object_update(root, schema);
        else
            json_object_set(json_object_get(root, "properties"), section->path, schema);
        json_decref(schema);
    }
    for (; *modules != NULL; modules++)
        add_module(root, *modules);
    return root;
}
