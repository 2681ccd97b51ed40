/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands: run, check, conf, clean, version, and the list of options. Each reads the
 * configuration that it needs and says on the terminal what a person would want to know.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <ev.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/configuration_warnings.h"
#include "daemon/flow/registry_file.h"
#include "daemon/flow/state_file.h"
#include "daemon/net/host.h"
#include "daemon/schema.h"
#include "daemon/service.h"

static const char *path_of(const struct flowd_command_line *line)
{
    return line->path != NULL ? line->path : FLOWD_CONFIGURATION_PATH;
}

static void report_fini(struct flowd_options_report *report)
{
    flowd_messages_fini(&report->errors);
    flowd_messages_fini(&report->deprecations);
}

struct flowd_configuration *flowd_command_configuration(const struct flowd_command_line *line)
{
    struct flowd_options_report report = {0};
    struct flowd_configuration *configuration = NULL;

    if (flowd_configuration_read(path_of(line), flowd_modules, &configuration, &report) < 0) {
        for (size_t i = 0; i < report.errors.count; i++)
            fprintf(line->errors, "flowd: %s\n", report.errors.lines[i]);
        if (report.errors.out_of_memory)
            fprintf(line->errors, "flowd: out of memory\n");
    } else {
        for (size_t i = 0; i < report.deprecations.count; i++)
            fprintf(line->errors, "flowd: deprecated: %s\n", report.deprecations.lines[i]);
    }
    report_fini(&report);
    return configuration;
}

enum flowd_exit flowd_command_run(const struct flowd_command_line *line)
{
    struct flowd_configuration *configuration = flowd_command_configuration(line);
    struct flowd_error err;

    /* As systemd starts it: few places are open to a service, and few are its user's. */
    if (getenv("INVOCATION_ID") != NULL && geteuid() != 0)
        flowd_error_set_remedy(" (kept from the service? docs/systemd.md, \"To loosen it\")");
    if (configuration == NULL) {
        flowd_fail(&err, EINVAL, "NOT RUNNING: %s has mistakes, see flowd check", path_of(line));
        flowd_service_failed(err.message);
        return FLOWD_EXIT_USAGE;
    }
    if (flowd_daemon_run(configuration, path_of(line), &line->log, &err) < 0) {
        flowd_err("daemon", "%s", err.message);
        flowd_error_wrap(&err, 0, "NOT RUNNING");
        flowd_service_failed(err.message);
        return FLOWD_EXIT_FAILED;
    }
    return FLOWD_EXIT_OK;
}

/* flowd runs without a registry that it can't read. */
static void check_registry(const char *path, struct flowd_messages *warnings)
{
    struct flowd_registry *registry = flowd_registry_new();
    struct flowd_error err;

    if (registry != NULL && flowd_registry_load(registry, path, warnings, &err) < 0)
        flowd_messages_add(warnings, "%s", err.message);
    flowd_registry_free(registry);
}

/* What the configuration and this host show. */
static void find_warnings(const struct flowd_configuration *configuration,
                          struct flowd_messages *warnings)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct flowd_host *host = NULL;
    struct flowd_error err = {.message = "no event loop"};

    if (loop == NULL || flowd_host_new(loop, &host, &err) < 0)
        flowd_messages_add(warnings, "interfaces and addresses were not looked at: %s",
                           err.message);
    flowd_configuration_warnings(configuration, host, warnings);
    check_registry(configuration->settings.registry_path, warnings);
    flowd_host_free(host);
    if (loop != NULL)
        ev_loop_destroy(loop);
}

/*
 * Root may read what flowd may not: where stateDir is another user's, the service runs as that
 * user, in the groups that the system knows of, and looks are for what that user would see. Returns
 * whether that is so; the process is not root then.
 */
static bool become_service(const char *state_dir)
{
    const struct passwd *user;
    struct stat about;
    gid_t group;

    if (geteuid() != 0 || stat(state_dir, &about) < 0 || about.st_uid == 0)
        return false;
    user = getpwuid(about.st_uid);
    group = user != NULL ? user->pw_gid : about.st_gid;
    if ((user != NULL ? initgroups(user->pw_name, group) : setgroups(0, NULL)) < 0 ||
        setgid(group) < 0 || setuid(about.st_uid) < 0)
        return false;
    flowd_error_set_remedy(" for the user of stateDir, as whom the service runs");
    return true;
}

/* What is there and flowd can't use, though it does not start without it. */
static void check_usable(const char *path, int access_mode, struct flowd_messages *warnings)
{
    struct flowd_error err;

    if (access(path, access_mode) == 0 || errno == ENOENT)
        return;
    flowd_fail_errno(&err, errno, "%s", path);
    flowd_messages_add(warnings, "%s; so flowd does not start", err.message);
}

static void check_state(const char *state_dir, struct flowd_messages *warnings)
{
    char path[PATH_MAX];

    if (state_dir[0] == '\0')
        return;
    snprintf(path, sizeof(path), "%s/.", state_dir);
    check_usable(path, W_OK | X_OK, warnings);
    snprintf(path, sizeof(path), "%s/" FLOWD_STATE_FILE_NAME, state_dir);
    check_usable(path, R_OK | W_OK, warnings);
}

/* What is handed over by a pipe is no file that the service would read. */
static bool is_file(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

enum flowd_exit flowd_command_check(const struct flowd_command_line *line)
{
    struct flowd_configuration *configuration = flowd_command_configuration(line);
    struct flowd_messages warnings = {0};
    bool file = is_file(path_of(line)), root = geteuid() == 0;

    if (configuration == NULL)
        return FLOWD_EXIT_USAGE;
    if (become_service(configuration->settings.state_dir) && file)
        check_usable(path_of(line), R_OK, &warnings);
    if (root)
        check_state(configuration->settings.state_dir, &warnings);
    find_warnings(configuration, &warnings);
    for (size_t i = 0; i < warnings.count; i++)
        fprintf(line->errors, "flowd: warning: %s\n", warnings.lines[i]);
    fprintf(line->out, "%s: no mistakes", path_of(line));
    if (warnings.count > 0)
        fprintf(line->out, ", %zu warning%s", warnings.count, warnings.count > 1 ? "s" : "");
    fputc('\n', line->out);
    flowd_messages_fini(&warnings);
    flowd_configuration_free(configuration);
    return FLOWD_EXIT_OK;
}

enum flowd_exit flowd_command_conf(const struct flowd_command_line *line)
{
    struct flowd_configuration *configuration = flowd_command_configuration(line);
    json_t *root;
    bool written;

    if (configuration == NULL)
        return FLOWD_EXIT_USAGE;
    root = flowd_configuration_json(configuration);
    written = json_dumpf(root, line->out, JSON_INDENT(2)) == 0 && fputc('\n', line->out) != EOF;
    json_decref(root);
    flowd_configuration_free(configuration);
    return written ? FLOWD_EXIT_OK : FLOWD_EXIT_FAILED;
}

/* The configuration for cleaning: where there is none at the default place, the defaults. */
static struct flowd_configuration *cleaning_configuration(const struct flowd_command_line *line)
{
    struct flowd_options_report report = {0};
    struct flowd_configuration *configuration = NULL;
    json_t *root;

    if (line->path != NULL || access(FLOWD_CONFIGURATION_PATH, F_OK) == 0)
        return flowd_command_configuration(line);
    root = json_object();
    (void)flowd_configuration_from_json(root, flowd_modules, &configuration, &report);
    json_decref(root);
    report_fini(&report);
    return configuration;
}

static int clean_module(const struct flowd_command_line *line,
                        const struct flowd_module_settings *settings)
{
    struct flowd_messages removed = {0};
    struct flowd_error err;
    int result;

    if (settings->module->clean == NULL)
        return 0;
    result = settings->module->clean(settings->values, &line->interfaces, &removed, &err);
    for (size_t i = 0; i < removed.count; i++)
        fprintf(line->out, "removed %s\n", removed.lines[i]);
    flowd_messages_fini(&removed);
    if (result < 0)
        fprintf(line->errors, "flowd: %s.%s: %s\n", flowd_module_section(settings->module),
                settings->module->name, err.message);
    return result;
}

enum flowd_exit flowd_command_clean(const struct flowd_command_line *line)
{
    struct flowd_configuration *configuration = cleaning_configuration(line);
    struct flowd_error err;
    int result;

    if (configuration == NULL)
        return FLOWD_EXIT_USAGE;
    result = flowd_state_file_in_use(configuration->settings.state_dir, &err);
    if (result > 0)
        fprintf(line->errors, "flowd: a running flowd uses stateDir %s; stop it first\n",
                configuration->settings.state_dir);
    if (result < 0)
        fprintf(line->errors, "flowd: whether a running flowd uses stateDir can't be told: %s\n",
                err.message);
    if (result != 0) {
        flowd_configuration_free(configuration);
        return FLOWD_EXIT_FAILED;
    }
    for (size_t i = 0; i < configuration->module_count; i++)
        if (clean_module(line, &configuration->modules[i]) < 0)
            result = -EIO;
    flowd_configuration_free(configuration);
    return result == 0 ? FLOWD_EXIT_OK : FLOWD_EXIT_FAILED;
}

static void print_option(FILE *out, const struct flowd_option *option)
{
    fprintf(out, "  %s", option->key);
    if (option->type == FLOWD_OPTION_INTEGER && (option->min != 0 || option->max != 0))
        fprintf(out, " (%lld-%lld%s%s)", (long long)option->min, (long long)option->max,
                option->unit != NULL ? " " : "", option->unit != NULL ? option->unit : "");
    for (const char *const *choice = option->choices; choice != NULL && *choice != NULL; choice++)
        fprintf(out, "%s\"%s\"%s", choice == option->choices ? " (" : " | ", *choice,
                choice[1] == NULL ? ")" : "");
    if (option->default_json != NULL)
        fprintf(out, " = %s", option->default_json);
    fprintf(out, "\n      %s%s%s%s%s%s\n", option->doc,
            option->type == FLOWD_OPTION_LATER ? " Not in this version of flowd." : "",
            option->reload ? " Can change on SIGHUP." : "",
            option->alias != NULL ? " Old spelling: " : "",
            option->alias != NULL ? option->alias : "", option->alias != NULL ? "." : "");
}

static void print_rows(FILE *out, const struct flowd_option *table)
{
    for (; table->key != NULL; table++) {
        print_option(out, table);
        if (table->type != FLOWD_OPTION_SECTION)
            continue;
        fprintf(out, "  in %s:\n", table->key);
        print_rows(out, table->section);
    }
}

static void print_options(FILE *out, const struct flowd_option *table)
{
    print_rows(out, table);
    fputc('\n', out);
}

enum flowd_exit flowd_command_options(const struct flowd_command_line *line)
{
    for (size_t i = 0; i < flowd_settings_section_count; i++) {
        const struct flowd_settings_section *section = &flowd_settings_sections[i];

        fprintf(line->out, "%s\n", section->path[0] != '\0' ? section->path : "(top level)");
        print_options(line->out, section->options);
    }
    for (const struct flowd_module *const *module = flowd_modules; *module != NULL; module++) {
        fprintf(line->out, "%s.%s: %s\n", flowd_module_section(*module), (*module)->name,
                (*module)->summary);
        print_options(line->out, (*module)->options);
    }
    return FLOWD_EXIT_OK;
}

enum flowd_exit flowd_command_schema(const struct flowd_command_line *line)
{
    json_t *schema = flowd_configuration_schema(flowd_modules);
    bool written =
        json_dumpf(schema, line->out, JSON_INDENT(2)) == 0 && fputc('\n', line->out) != EOF;

    json_decref(schema);
    return written ? FLOWD_EXIT_OK : FLOWD_EXIT_FAILED;
}

enum flowd_exit flowd_command_version(const struct flowd_command_line *line)
{
    fprintf(line->out, "flowd %s\n", FLOWD_VERSION);
    return FLOWD_EXIT_OK;
}
