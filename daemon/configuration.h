/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole configuration: the daemon's own settings and those of each module that is switched on.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/hub/module.h"
#include "daemon/options/option.h"

#define FLOWD_MODULES_MAX 24
#define FLOWD_CONFIGURATION_PATH "/etc/flowd/config.json"

/* What belongs to no module; filled by the tables in configuration.c. */
struct flowd_settings {
    char *pid_path;
    char *state_dir;
    char *registry_path;
    char *registry_url;
    int64_t registry_refresh_s;
    int64_t flows_max;
    int64_t flows_timeout_s;
    int64_t sample_period_ms;
    bool flows_end_on_close;
    int log_level;  /* enum flowd_log_level */
    int log_format; /* enum flowd_log_format */
};

struct flowd_module_settings {
    const struct flowd_module *module;
    bool enabled; /* its key is present */
    void *values; /* owned; module->config_size bytes */
};

struct flowd_configuration {
    struct flowd_settings settings;
    struct flowd_module_settings modules[FLOWD_MODULES_MAX];
    size_t module_count;
};

/* The keys at the top that flowd_configuration_translate() takes; see struct flowd_module. */
extern const struct flowd_option flowd_old_options[];

/* One table of the daemon's own settings and the object it is read from ("" is the top level). */
struct flowd_settings_section {
    const char *path;
    const struct flowd_option *options;
};
extern const struct flowd_settings_section flowd_settings_sections[];
extern const size_t flowd_settings_section_count;

/*
 * Reads the file at path. Returns 0 and *out (owned), or -EINVAL with every mistake in report:
 * also that the file can't be read or is no JSON. modules is NULL-terminated and borrowed.
 */
int flowd_configuration_read(const char *path, const struct flowd_module *const *modules,
                             struct flowd_configuration **out, struct flowd_options_report *report);
/* The same from an object (borrowed; its deprecated members may be rewritten). */
int flowd_configuration_from_json(json_t *root, const struct flowd_module *const *modules,
                                  struct flowd_configuration **out,
                                  struct flowd_options_report *report);
/*
 * Rewrites members at the top that other programs' configurations have, as struct flowd_module's
 * translate() does in a section; the functions above do so themselves.
 */
void flowd_configuration_translate(json_t *root, struct flowd_options_report *report);
void flowd_configuration_free(struct flowd_configuration *configuration);

/* The effective configuration with every default. Returns owned, NULL: no memory. */
json_t *flowd_configuration_json(const struct flowd_configuration *configuration);

/* "plugins", "backends" or "enrichers". */
const char *flowd_module_section(const struct flowd_module *module);
/* "plugins.api": where the module stands in the configuration. */
#define FLOWD_MODULE_PATH_SIZE 128
void flowd_module_path(const struct flowd_module *module, char path[static FLOWD_MODULE_PATH_SIZE]);

/*
 * Gives modules anew what they take from others. Whoever puts values of another configuration into
 * this one calls it: they may point to that. What can't be taken is in errors.
 */
void flowd_configuration_share(struct flowd_configuration *configuration,
                               struct flowd_messages *errors);
/*
 * Prepares a reload: what differs between running and fresh and may change while flowd runs stays
 * in fresh; what may not is put back to running's value, with a line in refused ("plugins.api.
 * bindPort: can't change while flowd runs; ..."). A module that was switched on or off is
 * refused the same way.
 */
void flowd_configuration_merge(const struct flowd_configuration *running,
                               struct flowd_configuration *fresh, struct flowd_messages *refused);
