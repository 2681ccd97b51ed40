/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of experiments and activities. Registries write "Data Challenge", tools "DataChallenge" or
 * "data_challenge": a name is looked up without blanks, "_", "-" and case, and where that leaves
 * several, the one that is nearest to what was written counts.
 *
 * Names are kept as the registry writes them and hashed in their folded form. An activity's key is
 * its experiment's number before its name.
 */
#include "daemon/flow/registry.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "daemon/base/integer.h"
#include "daemon/base/timestamp.h"
#include "daemon/flow/flow.h"

#define NAME_SIZE 128
/* Names that fold to one key: a registry with more has them for no good reason. */
#define SAME_KEY_MAX 32
/* Experiments, and activities of one: more than there are numbers. */
#define ENTRIES_MAX 4096

struct entry {
    char key[NAME_SIZE]; /* folded: "2/databrokering"; "/atlas" for an experiment */
    uint16_t experiment;
    uint8_t activity;
    bool is_activity;
    bool repeated;      /* another entry has the very same name: it names no number */
    char *name;         /* as the registry writes it; owned */
    struct entry *also; /* the next with the same key, in the registry's order */
    uint32_t number;    /* what it is the name of, see number_key() */
    UT_hash_handle hh;  /* of the first with its key */
    UT_hash_handle hn;  /* of the one that names its number */
};

struct flowd_registry {
    struct entry *entries; /* by key */
    struct entry *numbers; /* the same, by what they name */
    size_t experiments;
    char *origin; /* owned; NULL: nobody said */
    int64_t confirmed_us;
};

struct flowd_registry *flowd_registry_new(void)
{
    return calloc(1, sizeof(struct flowd_registry));
}

static void entry_free(struct entry *entry)
{
    while (entry != NULL) {
        struct entry *also = entry->also;

        free(entry->name);
        free(entry);
        entry = also;
    }
}

static void clear(struct flowd_registry *registry)
{
    struct entry *entry, *next;

    HASH_CLEAR(hn, registry->numbers);
    HASH_ITER (hh, registry->entries, entry, next) {
        HASH_DEL(registry->entries, entry);
        entry_free(entry);
    }
    free(registry->origin);
    *registry = (struct flowd_registry){0};
}

void flowd_registry_free(struct flowd_registry *registry)
{
    if (registry == NULL)
        return;
    clear(registry);
    free(registry);
}

/* Folds a name behind a prefix. Returns 0, or -ENOENT if no registry can have it. */
static int fold(char key[static NAME_SIZE], const char *prefix, const char *name, size_t len)
{
    size_t at = (size_t)snprintf(key, NAME_SIZE, "%s/", prefix);
    size_t start = at;

    if (at + len >= NAME_SIZE || memchr(name, '\0', len) != NULL)
        return -ENOENT;
    for (size_t i = 0; i < len; i++)
        if (name[i] != ' ' && name[i] != '_' && name[i] != '-')
            key[at++] = (char)tolower((unsigned char)name[i]);
    key[at] = '\0';
    return at > start ? 0 : -ENOENT;
}

/* How much a name of len bytes, whose key is the entry's, is like the entry's. */
enum likeness { FOLDED, SAME_WORDS, SAME_BYTES };

static enum likeness likeness_of(const struct entry *entry, const char *name, size_t len)
{
    enum likeness likeness = SAME_BYTES;

    if (strlen(entry->name) != len)
        return FOLDED;
    for (size_t i = 0; i < len; i++) {
        char ours = entry->name[i] == ' ' ? '_' : (char)tolower((unsigned char)entry->name[i]);
        char theirs = name[i] == ' ' ? '_' : (char)tolower((unsigned char)name[i]);

        if (ours != theirs)
            return FOLDED;
        if (entry->name[i] != name[i])
            likeness = SAME_WORDS;
    }
    return likeness;
}

static void prefix_of(uint16_t experiment, char buffer[static 8])
{
    snprintf(buffer, 8, "%u", experiment);
}

static bool is_same_number(const struct entry *one, const struct entry *other)
{
    return one->experiment == other->experiment && one->activity == other->activity;
}

/* activity is negative for an experiment. */
static uint32_t number_key(uint16_t experiment, int activity)
{
    return (uint32_t)experiment << 8 | (uint32_t)(activity >= 0 ? activity : 0xff);
}

/*
 * Puts the entry behind those with its key. Returns 0 and the one that has its name already, or
 * NULL; or -ENOSPC: there are too many.
 */
static int link_entry(struct entry *first, struct entry *entry, const struct entry **same)
{
    size_t length = strlen(entry->name);
    unsigned count = 1;

    *same = NULL;
    for (;; first = first->also, count++) {
        enum likeness likeness = likeness_of(first, entry->name, length);

        if (*same == NULL && likeness != FOLDED)
            *same = first;
        entry->repeated |= likeness == SAME_BYTES;
        if (first->also == NULL)
            break;
    }
    if (count >= SAME_KEY_MAX)
        return -ENOSPC;
    first->also = entry;
    return 0;
}

/* The first name of a number is the one that is shown. */
static void index_number(struct flowd_registry *registry, struct entry *entry)
{
    const struct entry *known;

    if (entry->repeated)
        return;
    HASH_FIND(hn, registry->numbers, &entry->number, sizeof(entry->number), known);
    if (known == NULL)
        HASH_ADD(hn, registry->numbers, number, sizeof(entry->number), entry);
}

/* Finds the entry its place among the others; one that finds none is freed. */
static void place(struct flowd_registry *registry, struct entry *entry,
                  struct flowd_messages *skipped)
{
    const char *what = entry->is_activity ? "activity" : "experiment";
    const struct entry *same = NULL;
    struct entry *first;

    HASH_FIND_STR(registry->entries, entry->key, first);
    if (first == NULL) {
        HASH_ADD_STR(registry->entries, key, entry);
    } else if (link_entry(first, entry, &same) < 0) {
        flowd_messages_add(skipped, "%s \"%.64s\": more than %d have names like it", what,
                           entry->name, SAME_KEY_MAX);
        entry_free(entry);
        return;
    }
    index_number(registry, entry);
    if (same != NULL && !is_same_number(same, entry))
        flowd_messages_add(skipped, "the name \"%s\" is that of %s %d and of %d: use their numbers",
                           entry->name, what,
                           entry->is_activity ? same->activity : same->experiment,
                           entry->is_activity ? entry->activity : entry->experiment);
}

/* activity is negative for an experiment. What can't be added as it is adds a line to skipped. */
static int add(struct flowd_registry *registry, const char *prefix, const char *name,
               uint16_t experiment, int activity, struct flowd_messages *skipped)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    const char *what = activity >= 0 ? "activity" : "experiment";

    if (entry == NULL)
        return -ENOMEM;
    if (fold(entry->key, prefix, name, strlen(name)) < 0) {
        flowd_messages_add(skipped, "%s \"%.64s\" has no name that can be looked up", what, name);
        free(entry);
        return 0;
    }
    entry->name = strdup(name);
    if (entry->name == NULL) {
        free(entry);
        return -ENOMEM;
    }
    entry->experiment = experiment;
    entry->is_activity = activity >= 0;
    entry->activity = (uint8_t)(activity >= 0 ? activity : 0);
    entry->number = number_key(experiment, activity);
    place(registry, entry, skipped);
    return 0;
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
                           struct flowd_messages *skipped)
{
    char prefix[8];
    size_t i;
    json_t *item;
    int result = 0;

    prefix_of(experiment, prefix);
    if (json_array_size(activities) > ENTRIES_MAX) {
        flowd_messages_add(skipped, "\"%.64s\" has more than %d activities", experiment_name,
                           ENTRIES_MAX);
        return 0;
    }
    json_array_foreach (activities, i, item) {
        const char *name = json_string_value(json_object_get(item, "activityName"));
        int number = number_of(item, "activityId", FLOWD_ACTIVITY_MAX);

        if (name == NULL || number < 0)
            flowd_messages_add(
                skipped, "activity %zu of \"%s\" has no activityName or no activityId in 0-%d", i,
                experiment_name, FLOWD_ACTIVITY_MAX);
        else
            result = add(registry, prefix, name, experiment, number, skipped);
        if (result < 0)
            return result;
    }
    return 0;
}

static int read_experiments(struct flowd_registry *registry, const json_t *experiments,
                            struct flowd_messages *skipped)
{
    size_t i;
    json_t *item;

    json_array_foreach (experiments, i, item) {
        const char *name = json_string_value(json_object_get(item, "expName"));
        int number = number_of(item, "expId", FLOWD_EXPERIMENT_MAX);
        int result;

        if (name == NULL || number < 0) {
            flowd_messages_add(skipped, "experiment %zu has no expName or no expId in 0-%d", i,
                               FLOWD_EXPERIMENT_MAX);
            continue;
        }
        result = add(registry, "", name, (uint16_t)number, -1, skipped);
        if (result == 0)
            result = read_activities(registry, json_object_get(item, "activities"),
                                     (uint16_t)number, name, skipped);
        if (result < 0)
            return result;
        registry->experiments++;
    }
    return 0;
}

int flowd_registry_read(struct flowd_registry *registry, const char *text, size_t size,
                        struct flowd_messages *skipped, struct flowd_error *err)
{
    struct flowd_registry fresh = {0};
    const json_t *experiments;
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    int result;

    if (root == NULL)
        return flowd_fail(err, EINVAL, "line %d, column %d: %s", error.line, error.column,
                          error.text);
    experiments = json_object_get(root, "experiments");
    if (!json_is_array(experiments))
        result = flowd_fail(err, EINVAL, "no array \"experiments\": not a SciTags registry");
    else if (json_array_size(experiments) > ENTRIES_MAX)
        result = flowd_fail(err, EINVAL, "more than %d experiments", ENTRIES_MAX);
    else if ((result = read_experiments(&fresh, experiments, skipped)) < 0)
        flowd_fail_errno(err, -result, "reading it");
    else if (fresh.experiments == 0 && json_array_size(experiments) > 0)
        result = flowd_fail(err, EINVAL, "no experiment in it has a name and a number");
    json_decref(root);
    if (result < 0) {
        clear(&fresh);
        return result;
    }
    clear(registry);
    *registry = fresh;
    return 0;
}

void flowd_registry_clear(struct flowd_registry *registry)
{
    clear(registry);
}

void flowd_registry_move(struct flowd_registry *registry, struct flowd_registry *from)
{
    clear(registry);
    *registry = *from;
    *from = (struct flowd_registry){0};
}

void flowd_registry_set_origin(struct flowd_registry *registry, const char *origin,
                               int64_t confirmed_us)
{
    free(registry->origin);
    registry->origin = strdup(origin);
    registry->confirmed_us = confirmed_us;
}

const char *flowd_registry_origin(const struct flowd_registry *registry)
{
    return registry->origin != NULL ? registry->origin : "";
}

int64_t flowd_registry_age_us(const struct flowd_registry *registry)
{
    int64_t now_us = flowd_timestamp_now_us();

    return registry->origin == NULL || now_us < registry->confirmed_us
               ? 0
               : now_us - registry->confirmed_us;
}

size_t flowd_registry_count(const struct flowd_registry *registry)
{
    return registry->experiments;
}

/* Returns 0, -ENOENT, or -ENOTUNIQ: several are as near to what was written. */
static int registry_find(const struct flowd_registry *registry, const char *prefix,
                         const char *name, size_t len, const struct entry **out)
{
    enum likeness best = FOLDED;
    char key[NAME_SIZE];
    const struct entry *found;
    struct entry *first;
    bool several = false;

    if (fold(key, prefix, name, len) < 0)
        return -ENOENT;
    HASH_FIND_STR(registry->entries, key, first);
    if (first == NULL)
        return -ENOENT;
    found = first;
    best = likeness_of(first, name, len);
    for (const struct entry *entry = first->also; entry != NULL; entry = entry->also) {
        enum likeness likeness = likeness_of(entry, name, len);

        if (likeness > best) {
            best = likeness;
            found = entry;
            several = false;
        } else if (likeness == best && !is_same_number(entry, found)) {
            several = true;
        }
    }
    if (several)
        return -ENOTUNIQ;
    *out = found;
    return 0;
}

int flowd_registry_experiment(const struct flowd_registry *registry, const char *name, size_t len,
                              uint16_t *experiment)
{
    const struct entry *entry;
    int result = registry_find(registry, "", name, len, &entry);

    if (result == 0)
        *experiment = entry->experiment;
    return result;
}

int flowd_registry_activity(const struct flowd_registry *registry, uint16_t experiment,
                            const char *name, size_t len, uint8_t *activity)
{
    char prefix[8];
    const struct entry *entry;
    int result;

    prefix_of(experiment, prefix);
    result = registry_find(registry, prefix, name, len, &entry);
    if (result == 0)
        *activity = entry->activity;
    return result;
}

static const char *name_of(const struct flowd_registry *registry, uint32_t number)
{
    const struct entry *entry;

    HASH_FIND(hn, registry->numbers, &number, sizeof(number), entry);
    return entry != NULL ? entry->name : NULL;
}

const char *flowd_registry_experiment_name(const struct flowd_registry *registry,
                                           uint16_t experiment)
{
    return name_of(registry, number_key(experiment, -1));
}

const char *flowd_registry_activity_name(const struct flowd_registry *registry, uint16_t experiment,
                                         uint8_t activity)
{
    return name_of(registry, number_key(experiment, activity));
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
        return flowd_fail_field(err, -result, "experiment", "%.*s is not in 0-%d", shown(len), text,
                                FLOWD_EXPERIMENT_MAX);
    result = flowd_registry_experiment(registry, text, len, experiment);
    if (result == 0)
        return 0;
    if (result == -ENOTUNIQ)
        return flowd_fail_field(err, -result, "experiment",
                                "\"%.*s\" is the name of several in the registry: give the "
                                "number, or the name as it stands there",
                                shown(len), text);
    return flowd_fail_field(err, ENOENT, "experiment", "\"%.*s\" is no number%s", shown(len), text,
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
        return flowd_fail_field(err, -result, "activity", "%.*s is not in 0-%d", shown(len), text,
                                FLOWD_ACTIVITY_MAX);
    result = flowd_registry_activity(registry, experiment, text, len, activity);
    if (result == 0)
        return 0;
    if (result == -ENOTUNIQ)
        return flowd_fail_field(err, -result, "activity",
                                "\"%.*s\" is the name of several of this experiment: give the "
                                "number, or the name as it stands in the registry",
                                shown(len), text);
    return flowd_fail_field(err, ENOENT, "activity", "\"%.*s\" is no number%s", shown(len), text,
                            registry->experiments > 0 ? " and no activity of this experiment"
                                                      : ", and no registry is loaded");
}
