/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life cycle: the order in which things are set up and taken down, and the signals.
 *
 * Backends start before plugins, and the flows from the state file are announced when nothing can
 * fail any more. Nothing is read before the loop runs. Taking down goes the other way round.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"
#include "daemon/base/timestamp.h"
#include "daemon/configuration_warnings.h"
#include "daemon/daemon_metrics.h"
#include "daemon/fetch/fetch.h"
#include "daemon/flow/flow_reading.h"
#include "daemon/flow/flow_table.h"
#include "daemon/flow/registry.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/destroy_listener.h"
#include "daemon/liveness/liveness.h"
#include "daemon/net/host.h"
#include "daemon/net/listen_fds.h"
#include "daemon/privileges.h"
#include "daemon/registry_updates.h"
#include "daemon/reload.h"
#include "daemon/service.h"
#include "daemon/status.h"

#define LOOK_INTERVAL_S 5.0
/* Connections, and files that are read again. */
#define DESCRIPTORS_FOR_OTHERS 4
#define RESTORING_LOOK_S 0.05

struct daemon {
    struct flowd_context context; /* first: modules hand it back */
    struct flowd_configuration *configuration;
    const char *path;
    struct flowd_log_override log;
    struct flowd_running running;
    struct flowd_destroy_listener *destroy_listener; /* NULL: flows do not end with their sockets */
    struct ev_signal terminate, interrupt, hangup, user1;
    struct flowd_service service;
    struct ev_timer look;           /* whether the state file is still there */
    struct ev_timer restoring;      /* whether flowd is ready by now */
    struct flowd_flow_table *table; /* borrowed from the hub */
    bool state_lost;
    bool stopping;
    bool up;            /* everything is set up */
    bool reload_wanted; /* before that */
    bool pid_written;
};

static void apply_log(const struct daemon *daemon)
{
    const struct flowd_settings *settings = &daemon->configuration->settings;

    flowd_log_configure(
        (enum flowd_log_level)(daemon->log.level >= 0 ? daemon->log.level : settings->log_level),
        (enum flowd_log_format)(daemon->log.format >= 0 ? daemon->log.format
                                                        : settings->log_format));
}

static struct flowd_hub_limits limits_of(const struct flowd_configuration *configuration)
{
    return (struct flowd_hub_limits){
        .flows_max = (size_t)configuration->settings.flows_max,
        .timeout_s = configuration->settings.flows_timeout_s,
        .sample_period_ms = configuration->settings.sample_period_ms,
    };
}

static void follow_registry(struct daemon *daemon)
{
    const struct flowd_settings *settings = &daemon->configuration->settings;
    const struct flowd_registry_places places = {
        .path = settings->registry_path,
        .url = settings->registry_url,
        .refresh_s = settings->registry_refresh_s,
        .state_dir = settings->state_dir,
    };

    flowd_registry_updates_follow(daemon->running.registry, &places);
}

static int open_core(struct daemon *daemon, struct flowd_error *err)
{
    const struct flowd_settings *settings = &daemon->configuration->settings;
    const struct flowd_hub_limits limits = limits_of(daemon->configuration);
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    int result;

    daemon->context.flows_max = limits.flows_max;
    daemon->context.sample_period_ms = limits.sample_period_ms;
    daemon->context.registry = flowd_registry_new();
    if (daemon->context.registry == NULL)
        return flowd_fail_errno(err, ENOMEM, "registry");
    daemon->context.fetcher = flowd_fetcher_new(daemon->context.loop);
    if (daemon->context.fetcher == NULL)
        return flowd_fail_errno(err, ENOMEM, "fetcher");
    result = flowd_host_new(daemon->context.loop, &daemon->context.host, err);
    if (result < 0)
        return result;
    result =
        flowd_flow_table_open_unread(settings->state_dir, limits.flows_max, &table, &report, err);
    if (result < 0)
        return result;
    /* Names are a convenience; flows announced by number must not wait for a good file. */
    daemon->running.registry = flowd_registry_updates_new(
        daemon->context.loop, daemon->context.fetcher, daemon->context.registry);
    if (daemon->running.registry == NULL) {
        flowd_flow_table_close(table);
        return flowd_fail_errno(err, ENOMEM, "registry");
    }
    follow_registry(daemon);
    daemon->context.hub = flowd_hub_new(daemon->context.loop, table, &limits);
    if (daemon->context.hub == NULL) {
        flowd_flow_table_close(table);
        return flowd_fail_errno(err, ENOMEM, "hub");
    }
    daemon->table = table;
    daemon->context.liveness = flowd_liveness_new(&daemon->context);
    if (daemon->context.liveness == NULL)
        return flowd_fail_errno(err, ENOMEM, "liveness");
    return flowd_flow_reading_run(daemon->context.loop, table, settings->state_dir,
                                  &daemon->stopping, &report, err);
}

/* Starts one module. A lack of privileges leaves some out, anything else is an error. */
static int start_module(struct daemon *daemon, const struct flowd_module_settings *settings,
                        struct flowd_error *err)
{
    const struct flowd_module *module = settings->module;
    struct flowd_running_module *entry = &daemon->running.modules[daemon->running.count];
    char path[FLOWD_MODULE_PATH_SIZE];
    int result;

    *entry = (struct flowd_running_module){.module = module};
    flowd_module_path(module, path);
    result = module->start(&daemon->context, settings->values, &entry->instance, err);
    if (result == -EPERM && module->can_be_left_out) {
        flowd_err(path, "%s; flowd goes on without it", err->message);
        snprintf(entry->failure, sizeof(entry->failure), "%s", err->message);
        daemon->running.count++;
        return 0;
    }
    if (result < 0)
        return flowd_error_wrap(err, result, "%s", path);
    daemon->running.count++;
    if (module->kind != FLOWD_PLUGIN)
        result = flowd_hub_add(daemon->context.hub, module, entry->instance);
    return result < 0 ? flowd_fail_errno(err, -result, "too many %s", flowd_module_section(module))
                      : 0;
}

static int start_modules(struct daemon *daemon, enum flowd_module_kind kind,
                         struct flowd_error *err)
{
    const struct flowd_configuration *configuration = daemon->configuration;

    for (size_t i = 0; i < configuration->module_count; i++) {
        const struct flowd_module_settings *settings = &configuration->modules[i];
        int result;

        if (!settings->enabled || settings->module->kind != kind)
            continue;
        result = start_module(daemon, settings, err);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Without any of the plugins that are configured, flowd would do nothing and look healthy. */
static int check_input(const struct daemon *daemon, struct flowd_error *err)
{
    const struct flowd_running_module *missing = NULL;

    for (size_t i = 0; i < daemon->running.count; i++) {
        const struct flowd_running_module *entry = &daemon->running.modules[i];

        if (entry->module->kind == FLOWD_PLUGIN && entry->instance != NULL)
            return 0;
        if (entry->module->kind == FLOWD_PLUGIN)
            missing = entry;
    }
    return missing == NULL
               ? 0
               : flowd_fail(err, EPERM,
                            "no plugin could be started, so flowd would never hear of a flow; "
                            "plugins.%s: %s",
                            missing->module->name, missing->failure);
}

/* Whoever misses the file will look into the log; packets are marked without it. */
static void write_pid(struct daemon *daemon)
{
    const char *path = daemon->configuration->settings.pid_path;
    int fd;

    if (path[0] == '\0')
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    daemon->pid_written = fd >= 0 && dprintf(fd, "%ld\n", (long)getpid()) > 0;
    if (!daemon->pid_written)
        flowd_err("daemon", "write pidPath %s: %s%s; flowd goes on without it", path,
                  strerror(errno), flowd_error_remedy());
    if (fd >= 0)
        close(fd);
}

static void log_lines(enum flowd_log_level level, const struct flowd_messages *lines,
                      const char *prefix)
{
    for (size_t i = 0; i < lines->count; i++)
        flowd_log(level, "config", "%s%s", prefix, lines->lines[i]);
}

/* What this host lacks, modules say as they meet it. */
static void log_warnings(const struct daemon *daemon)
{
    struct flowd_messages warnings = {0};

    flowd_configuration_warnings(daemon->configuration, NULL, &warnings);
    log_lines(FLOWD_LOG_WARNING, &warnings, "");
    flowd_messages_fini(&warnings);
}

/* Has flows end with their sockets, or not, as the configuration wants. */
static void follow_destroy_notifications(struct daemon *daemon)
{
    struct flowd_error err;

    if (!daemon->configuration->settings.flows_end_on_close) {
        flowd_destroy_listener_free(daemon->destroy_listener);
        daemon->destroy_listener = NULL;
        return;
    }
    if (daemon->destroy_listener != NULL)
        return;
    if (flowd_destroy_listener_new(&daemon->context, !daemon->running.ready,
                                   &daemon->destroy_listener, &err) < 0)
        flowd_warning("flows.endOnClose", "flows do not end with their sockets: %s", err.message);
}

/*
 * Everything that may change is taken from fresh; the rest has been put back to what it was.
 * Whether every module took its part.
 */
static bool apply(struct daemon *daemon, struct flowd_configuration *fresh)
{
    const struct flowd_hub_limits limits = limits_of(fresh);
    struct flowd_messages ignored = {0};
    bool all = flowd_reload_modules(&daemon->running, daemon->configuration, fresh);

    /* Those that a module goes on with were of the one that goes. */
    flowd_configuration_share(fresh, &ignored);
    flowd_messages_fini(&ignored);
    flowd_configuration_free(daemon->configuration);
    daemon->configuration = fresh;
    apply_log(daemon);
    log_warnings(daemon);
    follow_destroy_notifications(daemon);
    flowd_hub_set_limits(daemon->context.hub, &limits);
    follow_registry(daemon);
    return all;
}

static void on_hangup(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;
    struct flowd_options_report report = {0};
    struct flowd_messages refused = {0};
    struct flowd_configuration *fresh;
    struct flowd_reloads *reloads = &daemon->running.reloads;
    uint64_t *result = &reloads->refused;
    const char *note = "the configuration was changed and has mistakes, the former one goes on";

    (void)loop;
    (void)events;
    daemon->reload_wanted = !daemon->up;
    if (daemon->reload_wanted)
        return;
    flowd_info("config", "reload: reading %s", daemon->path);
    flowd_service_reloading();
    if (flowd_configuration_read(daemon->path, flowd_modules, &fresh, &report) < 0) {
        log_lines(FLOWD_LOG_ERROR, &report.errors, "reload: ");
        flowd_err("config", "reload refused: nothing was changed");
    } else {
        log_lines(FLOWD_LOG_WARNING, &report.deprecations, "deprecated: ");
        flowd_configuration_merge(daemon->configuration, fresh, &refused);
        log_lines(FLOWD_LOG_ERROR, &refused, "reload refused: ");
        if (refused.out_of_memory) {
            flowd_err("config", "reload refused: out of memory");
            flowd_configuration_free(fresh);
        } else {
            result = apply(daemon, fresh) && refused.count == 0 ? &reloads->done : &reloads->partly;
            note = refused.count > 0 ? "some changed settings wait for a restart" : NULL;
            flowd_info("config", "reloaded; %zu flows are live",
                       flowd_hub_live(daemon->context.hub));
        }
    }
    flowd_reload_count(reloads, result);
    flowd_service_reloaded(&daemon->service, note);
    flowd_messages_fini(&refused);
    flowd_messages_fini(&report.errors);
    flowd_messages_fini(&report.deprecations);
}

static void on_terminate(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;

    (void)events;
    daemon->stopping = true;
    flowd_info("daemon", "stopping on %s", watcher->signum == SIGINT ? "SIGINT" : "SIGTERM");
    ev_break(loop, EVBREAK_ALL);
}

static void on_user1(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;

    (void)loop;
    (void)events;
    flowd_status_log(&daemon->context, &daemon->running, daemon->destroy_listener);
}

/* A state directory that somebody removes must not cost the flows at the next restart. */
static void look_after_state(struct daemon *daemon)
{
    const char *directory = daemon->configuration->settings.state_dir;
    struct flowd_error err;
    int result = flowd_flow_table_restore_file(daemon->table, directory, &err);

    if (result > 0)
        flowd_warning("state", "somebody %s the state file in %s; it was written again%s",
                      result > 1 ? "replaced" : "removed or moved", directory,
                      result > 1 ? ", and the other file is kept as flows.state.unusable" : "");
    if (result < 0 && !daemon->state_lost)
        flowd_err("state",
                  "somebody removed, moved or replaced the state file, and a restart will not find "
                  "the flows: %s",
                  err.message);
    daemon->state_lost = result < 0;
}

static void on_look(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct daemon *daemon = watcher->data;

    (void)loop;
    (void)events;
    look_after_state(daemon);
    flowd_service_tell(&daemon->service);
}

static void watch_signal(struct daemon *daemon, struct ev_signal *watcher, int signum,
                         void (*callback)(struct ev_loop *, struct ev_signal *, int))
{
    ev_signal_init(watcher, callback, signum);
    watcher->data = daemon;
    ev_signal_start(daemon->context.loop, watcher);
}

static void watch_signals(struct daemon *daemon)
{
    signal(SIGPIPE, SIG_IGN);
    /* A file that would pass RLIMIT_FSIZE is an error like a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    watch_signal(daemon, &daemon->terminate, SIGTERM, on_terminate);
    watch_signal(daemon, &daemon->interrupt, SIGINT, on_terminate);
    watch_signal(daemon, &daemon->hangup, SIGHUP, on_hangup);
    watch_signal(daemon, &daemon->user1, SIGUSR1, on_user1);
}

static void start_looking(struct daemon *daemon)
{
    ev_timer_init(&daemon->look, on_look, LOOK_INTERVAL_S, LOOK_INTERVAL_S);
    daemon->look.data = daemon;
    ev_timer_start(daemon->context.loop, &daemon->look);
}

static json_t *status_json(const struct flowd_context *context)
{
    const struct daemon *daemon = (const struct daemon *)context;

    return flowd_status_json(context, &daemon->running, daemon->destroy_listener);
}

static void write_metrics(const struct flowd_context *context, struct flowd_metrics *metrics)
{
    const struct daemon *daemon = (const struct daemon *)context;

    flowd_daemon_metrics(context, &daemon->running, daemon->destroy_listener, metrics);
}

static int readiness(const struct flowd_context *context, struct flowd_error *err)
{
    const struct daemon *daemon = (const struct daemon *)context;

    return flowd_status_ready(&daemon->running, err);
}

/* Ready is who would mark packets: with maps that are new, once each restored flow is in them. */
static void say_ready(struct daemon *daemon)
{
    struct flowd_error err;
    int result;

    /* Before clients take some of them. */
    if (!daemon->running.ready)
        daemon->running.few_descriptors =
            flowd_descriptors_left(DESCRIPTORS_FOR_OTHERS) < DESCRIPTORS_FOR_OTHERS;
    daemon->running.ready = true;
    result = flowd_status_ready(&daemon->running, &err);
    if (result < 0 && flowd_hub_is_restoring(daemon->context.hub)) {
        ev_timer_set(&daemon->restoring, RESTORING_LOOK_S, 0);
        ev_timer_start(daemon->context.loop, &daemon->restoring);
        return;
    }
    if (result < 0)
        flowd_warning("daemon", "ready, but %s", err.message);
    else
        flowd_info("daemon", "ready");
    flowd_service_ready(&daemon->service);
}

static void on_restoring(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    say_ready(watcher->data);
}

static void log_configuration(const struct daemon *daemon)
{
    json_t *root = flowd_configuration_json(daemon->configuration);
    char *text = json_dumps(root, JSON_COMPACT);

    flowd_debug("config", "in effect: %s", text != NULL ? text : "?");
    free(text);
    json_decref(root);
}

static int daemon_set_up(struct daemon *daemon, struct flowd_error *err)
{
    int result = open_core(daemon, err);

    if (result < 0 || daemon->stopping)
        return result;
    result = start_modules(daemon, FLOWD_BACKEND, err);
    if (result == 0)
        result = start_modules(daemon, FLOWD_ENRICHER, err);
    if (result < 0)
        return result;
    result = start_modules(daemon, FLOWD_PLUGIN, err);
    if (result == 0)
        result = check_input(daemon, err);
    if (result == 0)
        flowd_listen_fds_report(daemon->context.listen_fds);
    if (result == 0)
        write_pid(daemon);
    if (result == 0)
        result = flowd_privileges_drop(err);
    /* Last: from here on kernel state is this process's, and a start that fails leaves it alone. */
    if (result == 0)
        flowd_hub_restore(daemon->context.hub);
    return result;
}

static void stop_modules(struct daemon *daemon, enum flowd_module_kind kind)
{
    for (size_t i = daemon->running.count; i-- > 0;) {
        struct flowd_running_module *entry = &daemon->running.modules[i];

        if (entry->module->kind != kind || entry->instance == NULL)
            continue;
        entry->module->stop(entry->instance);
        entry->instance = NULL;
    }
}

static void take_down(struct daemon *daemon)
{
    flowd_destroy_listener_free(daemon->destroy_listener);
    /* The commits that follow have requests answered, for the status and the metrics too. */
    daemon->destroy_listener = NULL;
    daemon->running.ready = false;
    if (daemon->context.hub != NULL)
        flowd_hub_flush(daemon->context.hub);
    stop_modules(daemon, FLOWD_PLUGIN);
    if (daemon->context.hub != NULL)
        flowd_hub_flush(daemon->context.hub);
    stop_modules(daemon, FLOWD_ENRICHER);
    stop_modules(daemon, FLOWD_BACKEND);
    /* The last moment at which the flows are known. */
    if (daemon->up)
        look_after_state(daemon);
    flowd_liveness_free(daemon->context.liveness);
    flowd_hub_free(daemon->context.hub);
    flowd_host_free(daemon->context.host);
    flowd_registry_updates_free(daemon->running.registry);
    flowd_fetcher_free(daemon->context.fetcher);
    flowd_registry_free(daemon->context.registry);
    flowd_listen_fds_free(daemon->context.listen_fds);
    if (daemon->pid_written)
        unlink(daemon->configuration->settings.pid_path);
    flowd_configuration_free(daemon->configuration);
    if (daemon->context.loop != NULL)
        ev_loop_destroy(daemon->context.loop);
}

int flowd_daemon_run(struct flowd_configuration *configuration, const char *path,
                     const struct flowd_log_override *log, struct flowd_error *err)
{
    struct daemon daemon = {.configuration = configuration, .path = path, .log = *log};
    int result;

    daemon.running.started_us = flowd_timestamp_boot_us();
    daemon.running.started_at_us = flowd_timestamp_now_us();
    daemon.context.status = status_json;
    daemon.context.metrics = write_metrics;
    daemon.context.ready = readiness;
    apply_log(&daemon);
    flowd_info("daemon", "flowd %s starts with %s", FLOWD_VERSION, path);
    if (flowd_log_level() >= FLOWD_LOG_DEBUG)
        log_configuration(&daemon);
    log_warnings(&daemon);
    /* Before anything else is opened, which could have the number of one that is not there. */
    daemon.context.listen_fds = flowd_listen_fds_new();
    daemon.context.loop = ev_default_loop(EVFLAG_AUTO);
    if (daemon.context.loop == NULL) {
        take_down(&daemon);
        return flowd_fail(err, EIO, "no event loop");
    }
    flowd_service_init(&daemon.service, &daemon.context, &daemon.running);
    watch_signals(&daemon);
    flowd_descriptors_raise();
    result = daemon_set_up(&daemon, err);
    if (result == 0 && !daemon.stopping) {
        flowd_hub_begin(daemon.context.hub);
        follow_destroy_notifications(&daemon);
        start_looking(&daemon);
        ev_timer_init(&daemon.restoring, on_restoring, 0, 0);
        daemon.restoring.data = &daemon;
        say_ready(&daemon);
        flowd_registry_updates_begin(daemon.running.registry);
        daemon.up = true;
        if (daemon.reload_wanted)
            on_hangup(daemon.context.loop, &daemon.hangup, 0);
        ev_run(daemon.context.loop, 0);
        flowd_service_stopping(&daemon.service);
    }
    take_down(&daemon);
    if (result == 0)
        flowd_info("daemon", "stopped");
    return result;
}
