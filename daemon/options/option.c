/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option tables at work: from JSON into structs, back into JSON, and compared for a reload. What a
 * row can't say (one option's bearing on another) is left to the module's check().
 */
#include "daemon/options/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/options/option_lists.h"

#define FOUND_SIZE 64
#define NAMES_MAX 64

static void *place_of(const struct flowd_option *option, void *values)
{
    return (char *)values + option->offset;
}

static const void *const_place_of(const struct flowd_option *option, const void *values)
{
    return (const char *)values + option->offset;
}

void flowd_options_fini(const struct flowd_option *table, void *values)
{
    for (const struct flowd_option *option = table; option->key != NULL; option++) {
        if (option->type == FLOWD_OPTION_STRING) {
            char **string = place_of(option, values);

            free(*string);
            *string = NULL;
        } else if (option->type == FLOWD_OPTION_STRINGS) {
            option_strings_fini(place_of(option, values));
        } else if (option->type == FLOWD_OPTION_INTEGERS) {
            option_integers_fini(place_of(option, values));
        } else if (option->type == FLOWD_OPTION_PAIRS) {
            option_pairs_fini(place_of(option, values));
        } else if (option->type == FLOWD_OPTION_SECTION) {
            flowd_options_fini(option->section, place_of(option, values));
        }
    }
}

/* The value as a user would recognise it, cut short. */
static const char *found_text(const json_t *value, char buffer[static FOUND_SIZE])
{
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

    if (dump == NULL) {
        buffer[0] = '\0';
        return buffer;
    }
    if (snprintf(buffer, FOUND_SIZE, "%s", dump) >= FOUND_SIZE)
        memcpy(buffer + FOUND_SIZE - 4, "...", 4);
    free(dump);
    return buffer;
}

static void path_of(const char *path, const char *key, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s%s%s", path, path[0] != '\0' ? "." : "", key);
}

static void mistake(struct flowd_messages *errors, const char *path, const char *key,
                    const json_t *value, const char *wanted)
{
    char found[FOUND_SIZE], full[256];

    path_of(path, key, full, sizeof(full));
    flowd_messages_add(errors, "%s: found %s, wants %s", full, found_text(value, found), wanted);
}

static int read_integer(const struct flowd_option *option, const char *path, json_t *value,
                        int64_t *out, struct flowd_messages *errors)
{
    bool limited = option->min != 0 || option->max != 0;
    char wanted[96] = "an integer";

    if (limited)
        snprintf(wanted, sizeof(wanted), "an integer in %" PRId64 "-%" PRId64 "%s%s", option->min,
                 option->max, option->unit != NULL ? " " : "",
                 option->unit != NULL ? option->unit : "");
    if (!json_is_integer(value) || (limited && (json_integer_value(value) < option->min ||
                                                json_integer_value(value) > option->max))) {
        mistake(errors, path, option->key, value, wanted);
        return -EINVAL;
    }
    *out = json_integer_value(value);
    return 0;
}

static int read_mode(const struct flowd_option *option, const char *path, json_t *value,
                     int64_t *out, struct flowd_messages *errors)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    size_t length = strlen(text);
    int64_t mode = 0;

    for (size_t i = 0; i < length; i++)
        mode = text[i] >= '0' && text[i] <= '7' && i < 4 ? mode * 8 + (text[i] - '0') : INT32_MAX;
    if (length < 3 || mode > 0777) {
        mistake(errors, path, option->key, value,
                "permission bits as an octal string such as \"0660\"");
        return -EINVAL;
    }
    *out = mode;
    return 0;
}

static void list_choices(const struct flowd_option *option, char *buffer, size_t size)
{
    size_t at = 0;

    for (const char *const *choice = option->choices; *choice != NULL && at < size; choice++)
        at += (size_t)snprintf(buffer + at, size - at, "%s\"%s\"",
                               choice == option->choices ? "" : ", ", *choice);
}

static int read_choice(const struct flowd_option *option, const char *path, json_t *value, int *out,
                       struct flowd_options_report *report)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    char wanted[192] = "one of ", full[256];

    for (int i = 0; json_is_string(value) && option->choices[i] != NULL; i++) {
        if (strcasecmp(option->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
    }
    for (const struct flowd_choice_alias *alias = option->aliases;
         alias != NULL && alias->name != NULL; alias++) {
        if (strcasecmp(alias->name, text) != 0)
            continue;
        path_of(path, option->key, full, sizeof(full));
        flowd_messages_add(&report->deprecations, "%s: \"%s\" is the old name of \"%s\"", full,
                           text, option->choices[alias->choice]);
        *out = alias->choice;
        return 0;
    }
    list_choices(option, wanted + strlen(wanted), sizeof(wanted) - strlen(wanted));
    mistake(&report->errors, path, option->key, value, wanted);
    return -EINVAL;
}

static int read_strings(const struct flowd_option *option, const char *path, json_t *value,
                        struct flowd_strings *out, struct flowd_messages *errors)
{
    struct flowd_strings strings = {0};
    size_t count = json_is_array(value) ? json_array_size(value) : 1;

    strings.items = calloc(count > 0 ? count : 1, sizeof(char *));
    for (size_t i = 0; strings.items != NULL && i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;

        if (!json_is_string(item)) {
            option_strings_fini(&strings);
            mistake(errors, path, option->key, value, "an array of strings");
            return -EINVAL;
        }
        strings.items[i] = strdup(json_string_value(item));
        if (strings.items[i] == NULL)
            break;
        strings.count++;
    }
    if (strings.count != count) {
        option_strings_fini(&strings);
        errors->out_of_memory = true;
        return -ENOMEM;
    }
    *out = strings;
    return 0;
}

static int read_integers(const struct flowd_option *option, const char *path, json_t *value,
                         struct flowd_integers *out, struct flowd_messages *errors)
{
    struct flowd_integers integers = {.count = json_array_size(value)};
    int result = 0;

    if (!json_is_array(value)) {
        mistake(errors, path, option->key, value, "an array of integers");
        return -EINVAL;
    }
    integers.items = calloc(integers.count > 0 ? integers.count : 1, sizeof(*integers.items));
    if (integers.items == NULL) {
        errors->out_of_memory = true;
        return -ENOMEM;
    }
    for (size_t i = 0; i < integers.count && result == 0; i++)
        result = read_integer(option, path, json_array_get(value, i), &integers.items[i], errors);
    if (result < 0)
        option_integers_fini(&integers);
    else
        *out = integers;
    return result;
}

static int read_string(const struct flowd_option *option, const char *path, json_t *value,
                       char **out, struct flowd_messages *errors)
{
    if (!json_is_string(value)) {
        mistake(errors, path, option->key, value, "a string");
        return -EINVAL;
    }
    *out = strdup(json_string_value(value));
    if (*out == NULL) {
        errors->out_of_memory = true;
        return -ENOMEM;
    }
    return 0;
}

static int read_pairs(const struct flowd_option *option, const char *path, json_t *value,
                      struct flowd_pairs *out, struct flowd_messages *errors)
{
    struct flowd_pairs pairs = {0};
    const char *name;
    json_t *member;
    bool strings = json_is_object(value);

    json_object_foreach (value, name, member)
        strings = strings && json_is_string(member);
    if (!strings) {
        mistake(errors, path, option->key, value, "an object whose members are strings");
        return -EINVAL;
    }
    pairs.items = calloc(json_object_size(value) + 1, sizeof(*pairs.items));
    json_object_foreach (value, name, member) {
        struct flowd_pair pair = {.name = strdup(name), .value = strdup(json_string_value(member))};

        if (pairs.items == NULL || pair.name == NULL || pair.value == NULL) {
            free(pair.name);
            free(pair.value);
            option_pairs_fini(&pairs);
            errors->out_of_memory = true;
            return -ENOMEM;
        }
        pairs.items[pairs.count++] = pair;
    }
    *out = pairs;
    return 0;
}

static int read_section(const struct flowd_option *option, const char *path, json_t *value,
                        void *place, struct flowd_options_report *report)
{
    char full[256];

    if (!json_is_object(value)) {
        mistake(&report->errors, path, option->key, value, "an object");
        return -EINVAL;
    }
    path_of(path, option->key, full, sizeof(full));
    flowd_options_read(option->section, full, value, NULL, place, report);
    return 0;
}

/* What another program's configuration has and flowd does not need. */
static int read_needless(const struct flowd_option *option, const char *path, json_t *value,
                         struct flowd_options_report *report)
{
    char full[256], wanted[192];
    const char *instead = option->instead != NULL ? option->instead : "";

    if (option->type == FLOWD_OPTION_EMPTY &&
        (!json_is_string(value) || json_string_length(value) > 0)) {
        snprintf(wanted, sizeof(wanted), "an empty string%s%s", instead[0] != '\0' ? ": " : "",
                 instead);
        mistake(&report->errors, path, option->key, value, wanted);
        return -EINVAL;
    }
    path_of(path, option->key, full, sizeof(full));
    flowd_messages_add(&report->deprecations, "%s: has no effect%s%s", full,
                       instead[0] != '\0' ? ": " : "", instead);
    return 0;
}

static bool has_value(const struct flowd_option *option)
{
    return option->type != FLOWD_OPTION_IGNORED && option->type != FLOWD_OPTION_EMPTY &&
           option->type != FLOWD_OPTION_LATER;
}

static int read_value(const struct flowd_option *option, const char *path, json_t *value,
                      void *values, struct flowd_options_report *report)
{
    void *place = place_of(option, values);
    char full[256];

    switch (option->type) {
    case FLOWD_OPTION_BOOL:
        if (!json_is_boolean(value)) {
            mistake(&report->errors, path, option->key, value, "true or false");
            return -EINVAL;
        }
        *(bool *)place = json_is_true(value);
        return 0;
    case FLOWD_OPTION_INTEGER:
        return read_integer(option, path, value, place, &report->errors);
    case FLOWD_OPTION_STRING:
        return read_string(option, path, value, place, &report->errors);
    case FLOWD_OPTION_CHOICE:
        return read_choice(option, path, value, place, report);
    case FLOWD_OPTION_STRINGS:
        if (json_is_array(value))
            return read_strings(option, path, value, place, &report->errors);
        mistake(&report->errors, path, option->key, value, "an array of strings");
        return -EINVAL;
    case FLOWD_OPTION_INTEGERS:
        return read_integers(option, path, value, place, &report->errors);
    case FLOWD_OPTION_MODE:
        return read_mode(option, path, value, place, &report->errors);
    case FLOWD_OPTION_PAIRS:
        return read_pairs(option, path, value, place, &report->errors);
    case FLOWD_OPTION_SECTION:
        return read_section(option, path, value, place, report);
    case FLOWD_OPTION_IGNORED:
    case FLOWD_OPTION_EMPTY:
        return read_needless(option, path, value, report);
    case FLOWD_OPTION_LATER:
        path_of(path, option->key, full, sizeof(full));
        flowd_messages_add(&report->errors, "%s: not in this version of flowd", full);
        return -EINVAL;
    }
    return -EINVAL;
}

static void read_default(const struct flowd_option *option, const char *path, void *values,
                         struct flowd_options_report *report)
{
    json_t *value;

    if (!has_value(option))
        return;
    value = json_loads(option->default_json, JSON_DECODE_ANY, NULL);
    if (value == NULL)
        report->errors.out_of_memory = true;
    else
        read_value(option, path, value, values, report);
    json_decref(value);
}

/* The row's value in object, by its key or its old spelling; NULL: not given. */
static json_t *given_value(const struct flowd_option *option, const char *path, json_t *object,
                           struct flowd_options_report *report, bool *by_alias)
{
    json_t *value = json_object_get(object, option->key);
    json_t *old = option->alias != NULL ? json_object_get(object, option->alias) : NULL;
    char full[256];

    *by_alias = value == NULL && old != NULL;
    if (old == NULL)
        return value;
    path_of(path, option->alias, full, sizeof(full));
    if (value != NULL)
        flowd_messages_add(&report->errors, "%s: is the old spelling of \"%s\", which is there too",
                           full, option->key);
    else
        flowd_messages_add(&report->deprecations, "%s: is the old spelling of \"%s\"", full,
                           option->key);
    return value != NULL ? value : old;
}

static bool is_known(const struct flowd_option *table, const char *const *skip, const char *key)
{
    for (; table->key != NULL; table++)
        if (strcmp(table->key, key) == 0 ||
            (table->alias != NULL && strcmp(table->alias, key) == 0))
            return true;
    for (; skip != NULL && *skip != NULL; skip++)
        if (strcmp(*skip, key) == 0)
            return true;
    return false;
}

static void report_unknown(const struct flowd_option *table, const char *path,
                           const char *const *skip, const char *key, struct flowd_messages *errors)
{
    const char *names[NAMES_MAX + 1];
    const char *nearest;
    size_t count = 0;
    char full[256];

    for (; table->key != NULL && count < NAMES_MAX; table++)
        names[count++] = table->key;
    for (; skip != NULL && *skip != NULL && count < NAMES_MAX; skip++)
        names[count++] = *skip;
    names[count] = NULL;
    nearest = flowd_option_nearest(key, names);
    path_of(path, key, full, sizeof(full));
    if (nearest != NULL)
        flowd_messages_add(errors, "%s: unknown key; the nearest known one is \"%s\"", full,
                           nearest);
    else
        flowd_messages_add(errors, "%s: unknown key", full);
}

void flowd_options_read(const struct flowd_option *table, const char *path, json_t *object,
                        const char *const *skip, void *values, struct flowd_options_report *report)
{
    const char *key;
    json_t *member;

    json_object_foreach (object, key, member)
        if (!is_known(table, skip, key))
            report_unknown(table, path, skip, key, &report->errors);
    for (const struct flowd_option *option = table; option->key != NULL; option++) {
        bool by_alias;
        json_t *value = given_value(option, path, object, report, &by_alias);
        int result;

        if (value == NULL)
            result = -ENOENT;
        else if (by_alias && option->type == FLOWD_OPTION_STRINGS && json_is_string(value))
            result = read_strings(option, path, value, place_of(option, values), &report->errors);
        else
            result = read_value(option, path, value, values, report);
        if (result < 0)
            read_default(option, path, values, report);
    }
}

static json_t *value_json(const struct flowd_option *option, const void *place)
{
    char mode[8];

    switch (option->type) {
    case FLOWD_OPTION_BOOL:
        return json_boolean(*(const bool *)place);
    case FLOWD_OPTION_INTEGER:
        return json_integer(*(const int64_t *)place);
    case FLOWD_OPTION_STRING:
        return json_string(*(char *const *)place);
    case FLOWD_OPTION_CHOICE:
        return json_string(option->choices[*(const int *)place]);
    case FLOWD_OPTION_STRINGS:
        return option_strings_json(place);
    case FLOWD_OPTION_INTEGERS:
        return option_integers_json(place);
    case FLOWD_OPTION_MODE:
        snprintf(mode, sizeof(mode), "%04o", (unsigned)*(const int64_t *)place & 0777u);
        return json_string(mode);
    case FLOWD_OPTION_PAIRS:
        return option_pairs_json(place);
    case FLOWD_OPTION_SECTION:
        return flowd_options_json(option->section, place);
    case FLOWD_OPTION_IGNORED:
    case FLOWD_OPTION_EMPTY:
    case FLOWD_OPTION_LATER:
        break;
    }
    return NULL;
}

json_t *flowd_options_json(const struct flowd_option *table, const void *values)
{
    json_t *object = json_object();

    for (const struct flowd_option *option = table; option->key != NULL; option++) {
        json_t *value = value_json(option, const_place_of(option, values));

        if (value != NULL)
            json_object_set_new(object, option->key, value);
    }
    return object;
}

void flowd_options_compare(const struct flowd_option *table, const void *old_values,
                           const void *new_values,
                           void (*changed)(void *context, const struct flowd_option *option),
                           void *context)
{
    for (const struct flowd_option *option = table; option->key != NULL; option++) {
        json_t *old_value = value_json(option, const_place_of(option, old_values));
        json_t *new_value = value_json(option, const_place_of(option, new_values));

        if (old_value != NULL && new_value != NULL && !json_equal(old_value, new_value))
            changed(context, option);
        json_decref(old_value);
        json_decref(new_value);
    }
}

static size_t value_size(const struct flowd_option *option)
{
    switch (option->type) {
    case FLOWD_OPTION_BOOL:
        return sizeof(bool);
    case FLOWD_OPTION_INTEGER:
    case FLOWD_OPTION_MODE:
        return sizeof(int64_t);
    case FLOWD_OPTION_STRING:
        return sizeof(char *);
    case FLOWD_OPTION_CHOICE:
        return sizeof(int);
    case FLOWD_OPTION_STRINGS:
        return sizeof(struct flowd_strings);
    case FLOWD_OPTION_INTEGERS:
        return sizeof(struct flowd_integers);
    case FLOWD_OPTION_PAIRS:
        return sizeof(struct flowd_pairs);
    case FLOWD_OPTION_SECTION: /* copied option by option */
    case FLOWD_OPTION_IGNORED:
    case FLOWD_OPTION_EMPTY:
    case FLOWD_OPTION_LATER:
        break;
    }
    return 0;
}

static int copy_section(const struct flowd_option *option, const void *from, void *to)
{
    int result = 0;

    for (const struct flowd_option *row = option->section; row->key != NULL && result == 0; row++)
        result = flowd_option_copy(row, const_place_of(option, from), place_of(option, to));
    return result;
}

int flowd_option_copy(const struct flowd_option *option, const void *from, void *to)
{
    /* The copy is read into a place of its own first, so that a failure leaves `to` as it is. */
    const struct flowd_option row[] = {*option, {.key = NULL}};
    struct flowd_option alone = *option;
    struct flowd_options_report report = {0};
    struct flowd_strings place = {0}; /* the largest of the types */
    json_t *value = value_json(option, const_place_of(option, from));
    int result = -ENOMEM;

    if (option->type == FLOWD_OPTION_SECTION) {
        json_decref(value);
        return copy_section(option, from, to);
    }
    if (!has_value(option)) {
        json_decref(value);
        return 0;
    }
    alone.offset = 0;
    if (value != NULL)
        result = read_value(&alone, "", value, &place, &report);
    if (result == 0) {
        flowd_options_fini(row, to);
        memcpy(place_of(option, to), &place, value_size(option));
    }
    json_decref(value);
    flowd_messages_fini(&report.errors);
    flowd_messages_fini(&report.deprecations);
    return result;
}
