/*
 * Names of experiments and activities, looked up without regard to case and with "_" for a blank.
 *
 * Names are kept as the registry writes them and hashed in their folded form. An activity's key is
 * its experiment's number before its name.
 */
#include "daemon/registry.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "daemon/flow.h"
#include "daemon/integer.h"

#define NAME_SIZE 128

struct entry {
    char key[NAME_SIZE]; /* folded: "2/data_brokering"; "/atlas" for an experiment */
    uint16_t experiment;
    uint8_t activity;
    bool is_activity;
    char *name; /* as the registry writes it; owned */
    UT_hash_handle hh;
};

struct flowd_registry {
    struct entry *entries;
    size_t experiments;
};

struct flowd_registry *flowd_registry_new(void)
{
    return calloc(1, sizeof(struct flowd_registry));
}

static void clear(struct flowd_registry *registry)
{
    struct entry *entry, *next;

    HASH_ITER (hh, registry->entries, entry, next) {
        HASH_DEL(registry->entries, entry);
        free(entry->name);
        free(entry);
    }
    registry->experiments = 0;
}

void flowd_registry_free(struct flowd_registry *registry)
{
    if (registry == NULL)
        return;
    clear(registry);
    free(registry);
}

/* Folds a name behind a prefix. Returns 0, or -ENOENT if it is too long to be in any registry. */
static int fold(char key[static NAME_SIZE], const char *prefix, const char *name, size_t len)
{
    size_t at = (size_t)snprintf(key, NAME_SIZE, "%s/", prefix);

    if (at + len >= NAME_SIZE || memchr(name, '\0', len) != NULL)
        return -ENOENT;
    for (size_t i = 0; i < len; i++)
        key[at + i] = name[i] == ' ' ? '_' : (char)tolower((unsigned char)name[i]);
    key[at + len] = '\0';
    return 0;
}

static void prefix_of(uint16_t experiment, char buffer[static 8])
{
    snprintf(buffer, 8, "%u", experiment);
}

static int add(struct flowd_registry *registry, const char *prefix, const char *name,
               uint16_t experiment, int activity)
{
    struct entry *entry = calloc(1, sizeof(*entry)), *same;

    if (entry == NULL || fold(entry->key, prefix, name, strlen(name)) < 0) {
        free(entry);
        return entry == NULL ? -ENOMEM : -EINVAL;
    }
    HASH_FIND_STR(registry->entries, entry->key, same);
    if (same != NULL) {
        free(entry);
        return -EEXIST;
    }
    entry->name = strdup(name);
    if (entry->name == NULL) {
        free(entry);
        return -ENOMEM;
    }
    entry->experiment = experiment;
    entry->is_activity = activity >= 0;
    entry->activity = (uint8_t)(activity >= 0 ? activity : 0);
    HASH_ADD_STR(registry->entries, key, entry);
    return 0;
}

static int fail_name(int result, const char *name, struct flowd_error *err)
{
    if (result == -EEXIST)
        return flowd_fail(err, result, "the name \"%s\" stands there twice", name);
    return flowd_fail(err, -result, "the name \"%s\"", name);
}

/* A number of the registry's, or -1. */
static int number_of(const json_t *object, const char *key, json_int_t max)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
        return -1;
    return (int)json_integer_value(value);
}

static int read_activities(struct flowd_registry *registry, const json_t *activities,
                           uint16_t experiment, const char *experiment_name,
                           struct flowd_error *err)
{
    char prefix[8];
    size_t i;
    json_t *item;

    prefix_of(experiment, prefix);
    json_array_foreach (activities, i, item) {
        const char *name = json_string_value(json_object_get(item, "activityName"));
        int number = number_of(item, "activityId", FLOWD_ACTIVITY_MAX);
        int result;

        if (name == NULL || number < 0)
            return flowd_fail(err, -EINVAL,
                              "activity %zu of \"%s\" has no activityName or no activityId in 0-%d",
                              i, experiment_name, FLOWD_ACTIVITY_MAX);
        result = add(registry, prefix, name, experiment, number);
        if (result < 0)
            return fail_name(result, name, err);
    }
    return 0;
}

static int read_root(struct flowd_registry *registry, const json_t *root, struct flowd_error *err)
{
    const json_t *experiments = json_object_get(root, "experiments");
    size_t i;
    json_t *item;

    if (!json_is_array(experiments))
        return flowd_fail(err, -EINVAL, "no array \"experiments\": not a SciTags registry");
    json_array_foreach (experiments, i, item) {
        const char *name = json_string_value(json_object_get(item, "expName"));
        int number = number_of(item, "expId", FLOWD_EXPERIMENT_MAX);
        int result;

        if (name == NULL || number < 0)
            return flowd_fail(err, -EINVAL, "experiment %zu has no expName or no expId in 0-%d", i,
                              FLOWD_EXPERIMENT_MAX);
        result = add(registry, "", name, (uint16_t)number, -1);
        if (result < 0)
            return fail_name(result, name, err);
        result = read_activities(registry, json_object_get(item, "activities"), (uint16_t)number,
                                 name, err);
        if (result < 0)
            return result;
        registry->experiments++;
    }
    return 0;
}

int flowd_registry_load(struct flowd_registry *registry, const char *path, struct flowd_error *err)
{
    struct flowd_registry fresh = {0};
    json_error_t error;
    json_t *root;
    int result;

    if (path[0] == '\0') {
        clear(registry);
        return 0;
    }
    errno = 0;
    root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return error.line > 0 ? flowd_fail(err, -EINVAL, "registry %s: line %d, column %d: %s",
                                           path, error.line, error.column, error.text)
                              : flowd_fail(err, errno > 0 ? -errno : -EIO, "registry %s: %s", path,
                                           error.text);
    result = read_root(&fresh, root, err);
    json_decref(root);
    if (result < 0) {
        clear(&fresh);
        return flowd_error_wrap(err, result, "registry %s", path);
    }
    clear(registry);
    *registry = fresh;
    return 0;
}

size_t flowd_registry_count(const struct flowd_registry *registry)
{
    return registry->experiments;
}

static const struct entry *find(const struct flowd_registry *registry, const char *prefix,
                                const char *name, size_t len)
{
    char key[NAME_SIZE];
    struct entry *entry;

    if (fold(key, prefix, name, len) < 0)
        return NULL;
    HASH_FIND_STR(registry->entries, key, entry);
    return entry;
}

int flowd_registry_experiment(const struct flowd_registry *registry, const char *name, size_t len,
                              uint16_t *experiment)
{
    const struct entry *entry = find(registry, "", name, len);

    if (entry == NULL)
        return -ENOENT;
    *experiment = entry->experiment;
    return 0;
}

int flowd_registry_activity(const struct flowd_registry *registry, uint16_t experiment,
                            const char *name, size_t len, uint8_t *activity)
{
    char prefix[8];
    const struct entry *entry;

    prefix_of(experiment, prefix);
    entry = find(registry, prefix, name, len);
    if (entry == NULL)
        return -ENOENT;
    *activity = entry->activity;
    return 0;
}

static const char *name_of(const struct flowd_registry *registry, uint16_t experiment,
                           bool is_activity, uint8_t activity)
{
    const struct entry *entry, *next;

    HASH_ITER (hh, registry->entries, entry, next)
        if (entry->experiment == experiment && entry->is_activity == is_activity &&
            entry->activity == activity)
            return entry->name;
    return NULL;
}

const char *flowd_registry_experiment_name(const struct flowd_registry *registry,
                                           uint16_t experiment)
{
    return name_of(registry, experiment, false, 0);
}

const char *flowd_registry_activity_name(const struct flowd_registry *registry, uint16_t experiment,
                                         uint8_t activity)
{
    return name_of(registry, experiment, true, activity);
}

/* How many bytes of a peer's word an error message repeats. */
static int shown(size_t len)
{
    return len > 48 ? 48 : (int)len;
}

int flowd_registry_read_experiment(const struct flowd_registry *registry, const char *text,
                                   size_t len, uint16_t *experiment, struct flowd_error *err)
{
    uint64_t number;
    int result = flowd_integer_parse(text, len, 0, FLOWD_EXPERIMENT_MAX, &number);

    if (result == 0) {
        *experiment = (uint16_t)number;
        return 0;
    }
    if (result == -ERANGE)
        return flowd_fail(err, result, "experiment: %.*s is not in 0-%d", shown(len), text,
                          FLOWD_EXPERIMENT_MAX);
    if (flowd_registry_experiment(registry, text, len, experiment) == 0)
        return 0;
    return flowd_fail(err, -ENOENT, "experiment: \"%.*s\" is no number%s", shown(len), text,
                      registry->experiments > 0 ? " and no name in the registry"
                                                : ", and no registry is loaded");
}

int flowd_registry_read_activity(const struct flowd_registry *registry, uint16_t experiment,
                                 const char *text, size_t len, uint8_t *activity,
                                 struct flowd_error *err)
{
    uint64_t number;
    int result = flowd_integer_parse(text, len, 0, FLOWD_ACTIVITY_MAX, &number);

    if (result == 0) {
        *activity = (uint8_t)number;
        return 0;
    }
    if (result == -ERANGE)
        return flowd_fail(err, result, "activity: %.*s is not in 0-%d", shown(len), text,
                          FLOWD_ACTIVITY_MAX);
    if (flowd_registry_activity(registry, experiment, text, len, activity) == 0)
        return 0;
    return flowd_fail(err, -ENOENT, "activity: \"%.*s\" is no number%s", shown(len), text,
                      registry->experiments > 0 ? " and no activity of this experiment"
                                                : ", and no registry is loaded");
}
