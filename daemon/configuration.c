/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the configuration file to settings: walks the sections, finds each module's table, collects
 * every mistake, and knows what a reload may change.
 */
#include "daemon/configuration.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/convert/source.h"
#include "daemon/flow/flow_table.h"

#define PATH_SIZE FLOWD_MODULE_PATH_SIZE
#define PIPE_WAIT_MS 1000
#define NAMES_MAX (FLOWD_MODULES_MAX + 8)

#define AT(field) offsetof(struct flowd_settings, field)

static const struct flowd_option top_options[] = {
    {.key = "pidPath",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(pid_path),
     .default_json = "\"\"",
     .doc = "File that the process id is written to; empty: none."},
    {.key = "stateDir",
     .alias = "workDir",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(state_dir),
     .default_json = "\"/var/lib/flowd\"",
     .doc = "Directory in which live flows survive a crash or restart; empty: in memory only."},
    {.key = NULL},
};

static const struct flowd_option registry_options[] = {
    {.key = "path",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(registry_path),
     .default_json = "\"\"",
     .doc = "SciTags registry (api.json) on disk; empty: numbers only.",
     .reload = true},
    {.key = "url",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(registry_url),
     .default_json = "\"\"",
     .doc =
         "The registry by http(s), which goes before the path once it has answered; empty: none.",
     .reload = true},
    {.key = "refresh",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(registry_refresh_s),
     .default_json = "86400",
     .min = 1,
     .max = 31536000,
     .unit = "s",
     .doc = "Time between fetches of the url.",
     .reload = true},
    {.key = NULL},
};

static const struct flowd_option flows_options[] = {
    {.key = "max",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(flows_max),
     .default_json = "262144",
     .min = 1,
     .max = FLOWD_FLOWS_LIMIT,
     .doc = "Most flows held at once; past it a start is refused and counted."},
    {.key = "timeout",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(flows_timeout_s),
     .default_json = "0",
     .min = 0,
     .max = 31536000,
     .unit = "s",
     .doc = "End a flow this long after its last event; 0: never.",
     .reload = true},
    {.key = "endOnClose",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(flows_end_on_close),
     .default_json = "true",
     .doc = "End a TCP flow when the kernel says that its socket is gone.",
     .reload = true},
    {.key = NULL},
};

static const struct flowd_option enrichers_options[] = {
    {.key = "period",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(sample_period_ms),
     .default_json = "1000",
     .min = 10,
     .max = 3600000,
     .unit = "ms",
     .doc = "Time between samples of each watched flow, and between its ongoing fireflies."},
    {.key = NULL},
};

static const struct flowd_option log_options[] = {
    {.key = "level",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(log_level),
     .default_json = "\"info\"",
     .choices = flowd_log_level_names,
     .doc = "Least important messages that are written; --log-level goes before it.",
     .reload = true},
    {.key = "format",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(log_format),
     .default_json = "\"text\"",
     .choices = flowd_log_format_names,
     .doc = "How messages are written; --log-format goes before it.",
     .reload = true},
    {.key = NULL},
};

const struct flowd_settings_section flowd_settings_sections[] = {
    {"", top_options},        {"registry", registry_options},
    {"flows", flows_options}, {"enrichers", enrichers_options},
    {"log", log_options},
};
const size_t flowd_settings_section_count =
    sizeof(flowd_settings_sections) / sizeof(flowd_settings_sections[0]);

/* Objects at the top level that are not rows of the top table. */
static const char *const top_objects[] = {"registry", "flows",     "log", "plugins",
                                          "backends", "enrichers", NULL};

/* The sections that modules stand in, by enum flowd_module_kind. */
static const char *const module_sections[] = {
    [FLOWD_PLUGIN] = "plugins", [FLOWD_BACKEND] = "backends", [FLOWD_ENRICHER] = "enrichers"};
#define MODULE_SECTIONS (sizeof(module_sections) / sizeof(module_sections[0]))

const char *flowd_module_section(const struct flowd_module *module)
{
    return module_sections[module->kind];
}

void flowd_module_path(const struct flowd_module *module, char path[static FLOWD_MODULE_PATH_SIZE])
{
    snprintf(path, FLOWD_MODULE_PATH_SIZE, "%s.%s", flowd_module_section(module), module->name);
}

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

/* The member of root named name if it is an object; NULL if it is not there or wrong. */
static json_t *section_object(json_t *root, const char *name, struct flowd_messages *errors)
{
    json_t *object = json_object_get(root, name);

    if (object == NULL || json_is_object(object))
        return object;
    flowd_messages_add(errors, "%s: found %s, wants an object", name, kind_of(object));
    return NULL;
}

static bool names_module(const struct flowd_module *module, const char *section, const char *key)
{
    return strcmp(flowd_module_section(module), section) == 0 &&
           (strcmp(module->name, key) == 0 ||
            (module->alias != NULL && strcmp(module->alias, key) == 0));
}

/* The table of the section's own options, beside its modules; NULL: it has none. */
static const struct flowd_option *options_of_section(const char *section)
{
    for (size_t i = 0; i < flowd_settings_section_count; i++)
        if (strcmp(flowd_settings_sections[i].path, section) == 0)
            return flowd_settings_sections[i].options;
    return NULL;
}

static bool names_option(const struct flowd_option *option, const char *key)
{
    for (; option != NULL && option->key != NULL; option++)
        if (strcmp(option->key, key) == 0)
            return true;
    return false;
}

static void report_unknown_module(const struct flowd_module *const *modules, const char *section,
                                  const struct flowd_option *options, const char *key,
                                  struct flowd_messages *errors)
{
    const char *names[NAMES_MAX + 1];
    const char *nearest;
    char path[PATH_SIZE];
    size_t count = 0;

    snprintf(path, sizeof(path), "%s.%s", section, key);
    for (; *modules != NULL && count < NAMES_MAX; modules++)
        if (strcmp(flowd_module_section(*modules), section) == 0)
            names[count++] = (*modules)->name;
    for (; options != NULL && options->key != NULL && count < NAMES_MAX; options++)
        names[count++] = options->key;
    names[count] = NULL;
    nearest = flowd_option_nearest(key, names);
    if (nearest != NULL)
        flowd_messages_add(errors, "%s: unknown; the nearest known one is \"%s\"", path, nearest);
    else
        flowd_messages_add(errors, "%s: unknown", path);
}

static void check_module_names(json_t *root, const char *section,
                               const struct flowd_module *const *modules,
                               struct flowd_messages *errors)
{
    json_t *object = section_object(root, section, errors);
    const struct flowd_option *options = options_of_section(section);
    const char *key;
    json_t *member;

    json_object_foreach (object, key, member) {
        bool known = false;

        if (names_option(options, key))
            continue;

        for (const struct flowd_module *const *module = modules; *module != NULL; module++)
            known |= names_module(*module, section, key);
        if (!known)
            report_unknown_module(modules, section, options, key, errors);
        else if (!json_is_object(member))
            flowd_messages_add(errors, "%s.%s: found %s, wants an object; {} takes the defaults",
                               section, key, kind_of(member));
    }
}

/* The module's own object, by its name or its old one; NULL: not given. */
static json_t *module_object(json_t *root, const struct flowd_module *module,
                             struct flowd_options_report *report)
{
    const char *section = flowd_module_section(module);
    json_t *parent = json_object_get(root, section);
    json_t *object = json_object_get(parent, module->name);
    json_t *old = module->alias != NULL ? json_object_get(parent, module->alias) : NULL;

    if (old == NULL)
        return json_is_object(object) ? object : NULL;
    if (object != NULL)
        flowd_messages_add(&report->errors,
                           "%s.%s: is the old spelling of \"%s\", which is there too", section,
                           module->alias, module->name);
    else
        flowd_messages_add(&report->deprecations, "%s.%s: is the old spelling of \"%s\"", section,
                           module->alias, module->name);
    return json_is_object(old) ? old : NULL;
}

static void read_module(struct flowd_configuration *configuration, json_t *root,
                        const struct flowd_module *module, struct flowd_options_report *report)
{
    struct flowd_module_settings *entry = &configuration->modules[configuration->module_count];
    json_t *object = module_object(root, module, report);
    char path[PATH_SIZE];

    entry->values = calloc(1, module->config_size);
    if (entry->values == NULL) {
        report->errors.out_of_memory = true;
        return;
    }
    entry->module = module;
    entry->enabled = object != NULL;
    configuration->module_count++;
    flowd_module_path(module, path);
    if (object != NULL && module->translate != NULL)
        module->translate(object, path, report);
    flowd_options_read(module->options, path, object, NULL, entry->values, report);
    if (object != NULL && module->check != NULL)
        module->check(entry->values, path, &report->errors);
}

static void share_settings(struct flowd_configuration *configuration, enum flowd_module_kind kind,
                           struct flowd_shared *shared, struct flowd_messages *errors)
{
    char path[PATH_SIZE];

    for (size_t i = 0; i < configuration->module_count; i++) {
        const struct flowd_module_settings *entry = &configuration->modules[i];

        if (!entry->enabled || entry->module->kind != kind || entry->module->share == NULL)
            continue;
        flowd_module_path(entry->module, path);
        entry->module->share(entry->values, path, shared, errors);
    }
}

void flowd_configuration_share(struct flowd_configuration *configuration,
                               struct flowd_messages *errors)
{
    struct flowd_shared shared = {0};

    share_settings(configuration, FLOWD_PLUGIN, &shared, errors);
    share_settings(configuration, FLOWD_BACKEND, &shared, errors);
    if (shared.general_tag_plugin != NULL && !shared.general_tag_taken)
        flowd_messages_add(errors, "plugins.%s: needs backends.marker, which marks the packets",
                           shared.general_tag_plugin->name);
    if (shared.firefly_receivers != NULL && shared.firefly_receivers->count > 0 &&
        !shared.firefly_receivers_taken)
        flowd_messages_add(errors,
                           "plugins.firefly.fireflyReceivers: needs \"backends\": {\"firefly\": "
                           "{\"sendToDestination\": false}}, which sends to them");
}

static bool has_modules(const char *section)
{
    for (size_t i = 0; i < MODULE_SECTIONS; i++)
        if (strcmp(module_sections[i], section) == 0)
            return true;
    return false;
}

/* Reads the options that stand beside modules. check_module_names() has looked at the other keys.
 */
static void read_options_beside_modules(const struct flowd_settings_section *section, json_t *root,
                                        struct flowd_settings *settings,
                                        struct flowd_options_report *report)
{
    json_t *object = json_object_get(root, section->path);
    json_t *own = json_object();

    for (const struct flowd_option *option = section->options; option->key != NULL; option++)
        if (json_object_get(object, option->key) != NULL)
            json_object_set(own, option->key, json_object_get(object, option->key));
    flowd_options_read(section->options, section->path, own, NULL, settings, report);
    json_decref(own);
}

static void read_settings(struct flowd_configuration *configuration, json_t *root,
                          struct flowd_options_report *report)
{
    for (size_t i = 0; i < flowd_settings_section_count; i++) {
        const struct flowd_settings_section *section = &flowd_settings_sections[i];
        bool top = section->path[0] == '\0';

        if (has_modules(section->path)) {
            read_options_beside_modules(section, root, &configuration->settings, report);
            continue;
        }
        flowd_options_read(section->options, section->path,
                           top ? root : section_object(root, section->path, &report->errors),
                           top ? top_objects : NULL, &configuration->settings, report);
    }
}

static void check_registry(const struct flowd_settings *settings, struct flowd_messages *errors)
{
    static const char *const schemes[] = {"http://", "https://"};
    const char *url = settings->registry_url;

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0 &&
            url[strlen(schemes[i])] != '\0')
            return;
    if (url[0] != '\0')
        flowd_messages_add(errors,
                           "registry.url: \"%.200s\" begins neither with http:// nor with "
                           "https:// and a host; a file is for registry.path",
                           url);
}

int flowd_configuration_from_json(json_t *root, const struct flowd_module *const *modules,
                                  struct flowd_configuration **out,
                                  struct flowd_options_report *report)
{
    struct flowd_configuration *configuration = calloc(1, sizeof(*configuration));

    if (configuration == NULL) {
        report->errors.out_of_memory = true;
        return -EINVAL;
    }
    flowd_configuration_translate(root, report);
    read_settings(configuration, root, report);
    check_registry(&configuration->settings, &report->errors);
    for (size_t i = 0; i < MODULE_SECTIONS; i++)
        check_module_names(root, module_sections[i], modules, &report->errors);
    for (const struct flowd_module *const *module = modules;
         *module != NULL && configuration->module_count < FLOWD_MODULES_MAX; module++)
        read_module(configuration, root, *module, report);
    flowd_configuration_share(configuration, &report->errors);
    if (flowd_messages_any(&report->errors)) {
        flowd_configuration_free(configuration);
        return -EINVAL;
    }
    *out = configuration;
    return 0;
}

/* Whether reading will not wait for ever: of a pipe, somebody has to write into it soon. */
static bool is_readable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    struct stat status;

    if (fstat(fd, &status) < 0)
        return false;
    if (!S_ISFIFO(status.st_mode))
        return true;
    return poll(&ready, 1, PIPE_WAIT_MS) == 1 && (ready.revents & POLLIN) &&
           fcntl(fd, F_SETFL, 0) == 0;
}

static json_t *load_file(const char *path, json_error_t *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    json_t *root = NULL;

    *error = (json_error_t){0};
    if (fd < 0)
        snprintf(error->text, sizeof(error->text), "unable to open %s: %s", path, strerror(errno));
    else if (is_readable(fd))
        root = json_loadfd(fd, JSON_REJECT_DUPLICATES, error);
    if (fd >= 0)
        close(fd);
    return root;
}

int flowd_configuration_read(const char *path, const struct flowd_module *const *modules,
                             struct flowd_configuration **out, struct flowd_options_report *report)
{
    json_error_t error;
    json_t *root = load_file(path, &error);
    struct stat status = {0};
    const char *foreign;
    int result;

    if (root == NULL && stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        flowd_messages_add(&report->errors, "%s: is not a file", path);
    else if (root == NULL && error.line > 0 && status.st_size == 0)
        flowd_messages_add(&report->errors, "%s: is empty; {} is the least there can be", path);
    else if (root == NULL && error.line > 0 && (foreign = flowd_source_foreign(path)) != NULL)
        flowd_messages_add(&report->errors,
                           "%s: this is %s: flowd convert %s > " FLOWD_CONFIGURATION_PATH, path,
                           foreign, path);
    else if (root == NULL && error.line > 0)
        flowd_messages_add(&report->errors, "%s: line %d, column %d: %s", path, error.line,
                           error.column, error.text);
    else if (root == NULL)
        flowd_messages_add(&report->errors, "%s", error.text);
    else if (!json_is_object(root))
        flowd_messages_add(&report->errors, "%s: found %s, wants an object", path, kind_of(root));
    result = flowd_messages_any(&report->errors)
                 ? -EINVAL
                 : flowd_configuration_from_json(root, modules, out, report);
    json_decref(root);
    return result;
}

void flowd_configuration_free(struct flowd_configuration *configuration)
{
    if (configuration == NULL)
        return;
    for (size_t i = 0; i < flowd_settings_section_count; i++)
        flowd_options_fini(flowd_settings_sections[i].options, &configuration->settings);
    for (size_t i = 0; i < configuration->module_count; i++) {
        struct flowd_module_settings *entry = &configuration->modules[i];

        flowd_options_fini(entry->module->options, entry->values);
        free(entry->values);
    }
    free(configuration);
}

json_t *flowd_configuration_json(const struct flowd_configuration *configuration)
{
    json_t *root = json_object();

    for (size_t i = 0; i < flowd_settings_section_count; i++) {
        const struct flowd_settings_section *section = &flowd_settings_sections[i];
        json_t *object = flowd_options_json(section->options, &configuration->settings);

        if (section->path[0] == '\0')
            json_object_update(root, object);
        else
            json_object_set(root, section->path, object);
        json_decref(object);
    }
    for (size_t i = 0; i < MODULE_SECTIONS; i++)
        if (json_object_get(root, module_sections[i]) == NULL)
            json_object_set_new(root, module_sections[i], json_object());
    for (size_t i = 0; i < configuration->module_count; i++) {
        const struct flowd_module_settings *entry = &configuration->modules[i];
        const struct flowd_module *module = entry->module;

        if (entry->enabled)
            json_object_set_new(json_object_get(root, flowd_module_section(module)), module->name,
                                flowd_options_json(module->options, entry->values));
    }
    return root;
}

/* One section of a reload. */
struct merge {
    const char *path;
    const void *running;
    void *fresh;
    struct flowd_messages *refused;
};

static void merge_option(void *context, const struct flowd_option *option)
{
    struct merge *merge = context;

    if (option->reload)
        return;
    flowd_messages_add(merge->refused,
                       "%s%s%s: can't change while flowd runs; the old value stays until a restart",
                       merge->path, merge->path[0] != '\0' ? "." : "", option->key);
    if (flowd_option_copy(option, merge->running, merge->fresh) < 0)
        merge->refused->out_of_memory = true;
}

static void merge_section(const char *path, const struct flowd_option *options, const void *running,
                          void *fresh, struct flowd_messages *refused)
{
    struct merge merge = {.path = path, .running = running, .fresh = fresh, .refused = refused};

    flowd_options_compare(options, running, fresh, merge_option, &merge);
}

void flowd_configuration_merge(const struct flowd_configuration *running,
                               struct flowd_configuration *fresh, struct flowd_messages *refused)
{
    for (size_t i = 0; i < flowd_settings_section_count; i++)
        merge_section(flowd_settings_sections[i].path, flowd_settings_sections[i].options,
                      &running->settings, &fresh->settings, refused);
    for (size_t i = 0; i < running->module_count; i++) {
        const struct flowd_module_settings *old = &running->modules[i];
        struct flowd_module_settings *new = &fresh->modules[i];
        char path[PATH_SIZE];

        flowd_module_path(old->module, path);
        if (old->enabled != new->enabled) {
            flowd_messages_add(refused, "%s: can't be switched %s while flowd runs", path,
                               new->enabled ? "on" : "off");
            new->enabled = old->enabled;
            for (const struct flowd_option *option = old->module->options; option->key != NULL;
                 option++)
                if (flowd_option_copy(option, old->values, new->values) < 0)
                    refused->out_of_memory = true;
        } else if (old->enabled) {
            merge_section(path, old->module->options, old->values, new->values, refused);
        }
    }
    flowd_configuration_share(fresh, refused);
}
