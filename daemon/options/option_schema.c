/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From rows to JSON Schema: what flowd_options_read() refuses of a row's value, its schema refuses
 * too. One difference is JSON Schema's: 1.0 is an integer there, and none here.
 */
#include "daemon/options/option_schema.h"

#include <ctype.h>
#include <string.h>

#include "daemon/base/text.h"

static json_t *integer_schema(const struct flowd_option *option)
{
    json_t *schema = json_pack("{s:s}", "type", "integer");

    if (option->min != 0 || option->max != 0) {
        json_object_set_new(schema, "minimum", json_integer(option->min));
        json_object_set_new(schema, "maximum", json_integer(option->max));
    }
    return schema;
}

/* A choice's name as a part of a pattern that takes it in any case. */
static void put_any_case(struct flowd_text *pattern, const char *name)
{
    for (; *name != '\0'; name++) {
        unsigned char letter = (unsigned char)*name;

        if (isalpha(letter))
            flowd_text_printf(pattern, "[%c%c]", toupper(letter), tolower(letter));
        else
            flowd_text_char(pattern, *name);
    }
}

/* "^([Aa]|[Bb])$"; NULL: no memory. */
static json_t *pattern_of(const struct flowd_option *option)
{
    struct flowd_text pattern = {0};
    json_t *string = NULL;

    flowd_text_puts(&pattern, "^(");
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (choice != option->choices)
            flowd_text_char(&pattern, '|');
        put_any_case(&pattern, *choice);
    }
    for (const struct flowd_choice_alias *alias = option->aliases;
         alias != NULL && alias->name != NULL; alias++) {
        flowd_text_char(&pattern, '|');
        put_any_case(&pattern, alias->name);
    }
    flowd_text_puts(&pattern, ")$");
    if (!flowd_text_failed(&pattern))
        string = json_stringn(pattern.data, pattern.length);
    flowd_text_fini(&pattern);
    return string;
}

/* The names, for who offers them; the old names; and either in any case. */
static json_t *choice_schema(const struct flowd_option *option)
{
    json_t *names = json_array(), *old = json_object();
    json_t *kinds;

    for (const char *const *choice = option->choices; *choice != NULL; choice++)
        json_array_append_new(names, json_string(*choice));
    for (const struct flowd_choice_alias *alias = option->aliases;
         alias != NULL && alias->name != NULL; alias++)
        json_object_set_new(old, alias->name, json_string(option->choices[alias->choice]));
    kinds = json_pack("[{s:o}, {s:s, s:o}]", "enum", names, "type", "string", "pattern",
                      pattern_of(option));
    if (json_object_size(old) > 0)
        json_object_set(json_array_get(kinds, 1), "x-oldSpellings", old);
    json_decref(old);
    return json_pack("{s:o}", "anyOf", kinds);
}

static json_t *strings_schema(const struct flowd_option *option)
{
    json_t *item = json_pack("{s:s}", "type", "string");
    json_t *old;

    if (option->section != NULL) {
        old = flowd_options_schema(option->section, NULL);
        json_object_set_new(old, "deprecated", json_true());
        item = json_pack("{s:[o,o]}", "anyOf", item, old);
    }
    return json_pack("{s:s, s:o}", "type", "array", "items", item);
}

/* What a value may be, without a word on what it is for. */
static json_t *value_schema(const struct flowd_option *option)
{
    switch (option->type) {
    case FLOWD_OPTION_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case FLOWD_OPTION_INTEGER:
        return integer_schema(option);
    case FLOWD_OPTION_STRING:
        return json_pack("{s:s}", "type", "string");
    case FLOWD_OPTION_CHOICE:
        return choice_schema(option);
    case FLOWD_OPTION_STRINGS:
        return strings_schema(option);
    case FLOWD_OPTION_INTEGERS:
        return json_pack("{s:s, s:o}", "type", "array", "items", integer_schema(option));
    case FLOWD_OPTION_PAIRS:
        return json_pack("{s:s, s:{s:s}}", "type", "object", "additionalProperties", "type",
                         "string");
    case FLOWD_OPTION_SECTION:
        return flowd_options_schema(option->section, NULL);
    case FLOWD_OPTION_MODE:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^0?[0-7]{3}$");
    case FLOWD_OPTION_IGNORED:
        return json_object();
    case FLOWD_OPTION_EMPTY:
        return json_pack("{s:s}", "const", "");
    case FLOWD_OPTION_LATER:
        break;
    }
    return json_pack("{s:{}}", "not");
}

static bool is_without_effect(const struct flowd_option *option)
{
    return option->type == FLOWD_OPTION_IGNORED || option->type == FLOWD_OPTION_EMPTY;
}

static json_t *option_schema(const struct flowd_option *option, bool is_old)
{
    json_t *schema = value_schema(option);
    json_t *value;

    if (option->doc != NULL)
        json_object_set_new(schema, "description", json_string(option->doc));
    if (option->default_json != NULL) {
        value = json_loads(option->default_json, JSON_DECODE_ANY, NULL);
        json_object_set_new(schema, "default", value);
    }
    if (option->unit != NULL)
        json_object_set_new(schema, "x-unit", json_string(option->unit));
    if (option->reload)
        json_object_set_new(schema, "x-reload", json_true());
    if (option->instead != NULL)
        json_object_set_new(schema, is_old ? "x-oldSpellingOf" : "x-instead",
                            json_string(option->instead));
    if (is_old || is_without_effect(option))
        json_object_set_new(schema, "deprecated", json_true());
    return schema;
}

/* The row's other key. Of a list of strings its value may be one string. */
static json_t *alias_schema(const struct flowd_option *option)
{
    json_t *schema = value_schema(option);

    if (option->type == FLOWD_OPTION_STRINGS)
        schema = json_pack("{s:[{s:s}, o]}", "anyOf", "type", "string", schema);
    json_object_set_new(schema, "description",
                        json_sprintf("The old spelling of %s.", option->key));
    json_object_set_new(schema, "x-oldSpellingOf", json_string(option->key));
    json_object_set_new(schema, "deprecated", json_true());
    return schema;
}

json_t *flowd_options_schema(const struct flowd_option *table, const struct flowd_option *old)
{
    json_t *properties = json_object(), *rules = json_array();
    json_t *schema;

    for (const struct flowd_option *option = table; option->key != NULL; option++) {
        json_object_set_new(properties, option->key, option_schema(option, false));
        if (option->alias == NULL)
            continue;
        json_object_set_new(properties, option->alias, alias_schema(option));
        json_array_append_new(
            rules, json_pack("{s:{s:[s,s]}}", "not", "required", option->key, option->alias));
    }
    for (; old != NULL && old->key != NULL; old++)
        json_object_set_new(properties, old->key, option_schema(old, true));
    schema = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties,
                       "additionalProperties", 0);
    if (json_array_size(rules) > 0)
        json_object_set(schema, "allOf", rules);
    json_decref(rules);
    return schema;
}
