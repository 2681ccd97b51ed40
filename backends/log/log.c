/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log backend: one line for each start and each end of a flow, in the daemon's log or in a file
 * of its own.
 *
 * Lines of a loop turn are written in one piece; what a full disk does not take waits, and so does
 * everything while the file cannot be opened. SIGHUP opens the file anew, for logrotate.
 */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/metrics/counter.h"

#define FLUSH_SIZE (1 << 20)
/* Lines that wait for a full disk take no more memory than this. */
#define WAITING_MAX (4 << 20)
#define TURN_MAX 1024
#define RETRY_S 1.0

extern const struct flowd_module flowd_backend_log;

enum format { TEXT, JSON };
enum status { OFF, LOGGED, FAILED };

struct log_config {
    char *path;
    int format;
};

struct flow_log {
    const struct flowd_context *context;
    const struct log_config *config;
    unsigned slot;
    int fd;                  /* -1: the daemon's log, or a file that cannot be opened yet */
    int open_error;          /* the errno of that; 0: there is none */
    struct flowd_text lines; /* not yet written */
    uint64_t turn[TURN_MAX]; /* ids of the flows whose lines came in this turn */
    size_t turn_count;
    struct ev_timer retry;
    uint64_t written;
    uint64_t lost; /* lines that had no room in memory either */
    struct flowd_log_limit failures;
};

static void on_retry(struct ev_loop *loop, struct ev_timer *watcher, int events);

static int open_file(const struct log_config *config, int *out, struct flowd_error *err)
{
    int fd = -1;

    if (config->path[0] != '\0') {
        fd = open(config->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
        if (fd < 0)
            return flowd_fail_errno(err, errno, "open %s", config->path);
    }
    *out = fd;
    return 0;
}

static void try_again_later(struct flow_log *log)
{
    if (ev_is_active(&log->retry))
        return;
    /* A timer that has fired keeps nothing of its time. */
    ev_timer_set(&log->retry, RETRY_S, 0);
    ev_timer_start(log->context->loop, &log->retry);
}

/* A file that cannot be opened yet stops nothing: the lines wait for it, as for a full disk. */
static void open_or_wait(struct flow_log *log)
{
    struct flowd_error err;
    int result = open_file(log->config, &log->fd, &err);

    if (result < 0 && log->open_error != -result)
        flowd_err("log", "%s; flowd goes on and tries again until it can", err.message);
    else if (result == 0 && log->open_error != 0)
        flowd_info("log", "%s is open", log->config->path);
    log->open_error = -result;
    if (result < 0)
        try_again_later(log);
}

static int log_start(const struct flowd_context *context, const void *config, void **instance,
                     struct flowd_error *err)
{
    struct flow_log *log = calloc(1, sizeof(*log));

    if (log == NULL)
        return flowd_fail_errno(err, ENOMEM, "log");
    log->context = context;
    log->config = config;
    log->slot = flowd_hub_next_slot(context->hub);
    ev_timer_init(&log->retry, on_retry, RETRY_S, 0);
    log->retry.data = log;
    log->fd = -1;
    open_or_wait(log);
    *instance = log;
    return 0;
}

static void put_tag_text(struct flowd_text *text, const struct flowd_flow *flow)
{
    char key[FLOWD_FLOW_KEY_TEXT_SIZE], id[FLOWD_FLOW_ID_SIZE];

    flowd_flow_key_format(&flow->key, key);
    flowd_flow_id_format(flow->id, id);
    flowd_text_printf(text, "%s experiment=%u activity=%u scitag=%u label=0x%05x id=%s plugin=%s",
                      key, flow->experiment, flow->activity,
                      flowd_scitag(flow->experiment, flow->activity), flow->flow_label, id,
                      flow->source);
    if (flow->application[0] != '\0') {
        flowd_text_puts(text, " application=");
        flowd_text_json(text, flow->application, strlen(flow->application));
    }
}

static void put_json(struct flowd_text *text, const struct flowd_flow *flow,
                     enum flowd_event_state state, const char *now)
{
    char src[FLOWD_ADDRESS_SIZE], dst[FLOWD_ADDRESS_SIZE], id[FLOWD_FLOW_ID_SIZE];
    char start[FLOWD_TIMESTAMP_SIZE];

    flowd_address_format(flow->key.family, &flow->key.src, src);
    flowd_address_format(flow->key.family, &flow->key.dst, dst);
    flowd_flow_id_format(flow->id, id);
    flowd_timestamp_format(flow->start_us, start);
    flowd_text_printf(
        text,
        "{\"time\":\"%s\",\"state\":\"%s\",\"id\":\"%s\",\"protocol\":\"%s\","
        "\"src\":\"%s\",\"srcPort\":%u,\"dst\":\"%s\",\"dstPort\":%u,"
        "\"experiment\":%u,\"activity\":%u,\"scitag\":%u,\"flowLabel\":%u,"
        "\"startTime\":\"%s\",\"plugin\":\"%s\",\"application\":",
        now, flowd_event_state_names[state], id, flowd_protocol_name(flow->key.protocol), src,
        flow->key.src_port, dst, flow->key.dst_port, flow->experiment, flow->activity,
        flowd_scitag(flow->experiment, flow->activity), flow->flow_label, start, flow->source);
    flowd_text_json(text, flow->application, strlen(flow->application));
    flowd_text_char(text, '}');
}

/* Remembers a flow whose line is to be written in this turn. */
static void remember(struct flow_log *log, uint64_t id)
{
    if (log->turn_count == TURN_MAX)
        return;
    log->turn[log->turn_count++] = id;
}

/* Says of each flow of this turn whether its line is in the file. */
static void set_statuses(struct flow_log *log, enum status status)
{
    for (size_t i = 0; i < log->turn_count; i++) {
        struct flowd_flow *flow = flowd_hub_find(log->context->hub, log->turn[i]);

        if (flow != NULL)
            flow->backend[log->slot] = (uint8_t)status;
    }
    log->turn_count = 0;
}

static size_t count_lines(const struct flowd_text *lines)
{
    size_t count = 0;

    for (size_t i = 0; i < lines->length; i++)
        count += lines->data[i] == '\n';
    return count;
}

/*
 * Writes what there is. What does not fit stays, so that a line is never torn and nothing is glued
 * to the rest of one; it goes when there is room again.
 */
static void write_lines(struct flow_log *log)
{
    struct flowd_text *lines = &log->lines;
    ssize_t count = 0;

    if (log->open_error != 0) {
        set_statuses(log, FAILED);
        return;
    }
    if (lines->length > 0)
        count = write(log->fd, lines->data, lines->length);
    if (count > 0) {
        lines->length -= (size_t)count;
        memmove(lines->data, lines->data + count, lines->length);
    }
    set_statuses(log, lines->length > 0 ? FAILED : LOGGED);
    if (lines->length == 0)
        return;
    flowd_log_limited(&log->failures, FLOWD_LOG_WARNING, "log", "write to %s: %s; trying again",
                      log->config->path, count < 0 ? strerror(errno) : "not everything fits");
    try_again_later(log);
}

static void on_retry(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flow_log *log = watcher->data;

    (void)loop;
    (void)events;
    if (log->open_error != 0)
        open_or_wait(log);
    write_lines(log);
}

static bool is_daemons_log(const struct flow_log *log)
{
    return log->fd < 0 && log->open_error == 0;
}

static void write_event(struct flow_log *log, struct flowd_flow *flow, enum flowd_event_state state)
{
    struct flowd_text *lines = &log->lines;
    size_t before = lines->length;
    char now[FLOWD_TIMESTAMP_SIZE];

    flow->backend[log->slot] = FAILED;
    if (lines->length > WAITING_MAX) {
        log->lost++;
        return;
    }
    flowd_timestamp_format(flowd_timestamp_now_us(), now);
    if (log->config->format == JSON) {
        put_json(lines, flow, state, now);
    } else {
        if (!is_daemons_log(log))
            flowd_text_printf(lines, "%s ", now);
        flowd_text_printf(lines, "%s ", flowd_event_state_names[state]);
        put_tag_text(lines, flow);
    }
    flowd_text_char(lines, '\n');
    if (flowd_text_failed(lines)) {
        /* Out of memory: no half of a line stays. */
        lines->length = before;
        lines->failed = false;
        log->lost++;
        return;
    }
    flow->backend[log->slot] = LOGGED;
    log->written++;
    if (is_daemons_log(log)) {
        flowd_info("flow", "%.*s", (int)lines->length - 1, lines->data);
        flowd_text_clear(lines);
        return;
    }
    remember(log, flow->id);
    if (lines->length > FLUSH_SIZE || log->turn_count == TURN_MAX)
        write_lines(log);
}

static void log_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    struct flow_log *log = instance;

    flow->backend[log->slot] = LOGGED;
    if (!restored)
        write_event(log, flow, FLOWD_EVENT_START);
}

static void log_flow_end(void *instance, struct flowd_flow *flow)
{
    write_event(instance, flow, FLOWD_EVENT_END);
}

static void log_commit(void *instance)
{
    struct flow_log *log = instance;

    if (log->turn_count > 0)
        write_lines(log);
}

/* What the old file does not take is lost: the end of a torn line must not begin the new one. */
static void finish_file(struct flow_log *log)
{
    if (log->lines.length > 0)
        write_lines(log);
    if (log->lines.length > 0) {
        size_t count = count_lines(&log->lines);

        flowd_warning("log", "%zu lines could not be written to %s", count, log->config->path);
        log->lost += count;
        flowd_text_clear(&log->lines);
    }
    ev_timer_stop(log->context->loop, &log->retry);
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    log->open_error = 0;
}

static int log_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct flow_log *log = instance;
    int fd = -1;
    int result = open_file(config, &fd, err);

    if (result < 0)
        return result;
    /* Lines that no file has taken yet go into this one. */
    if (log->open_error == 0 || fd < 0)
        finish_file(log);
    log->open_error = 0;
    log->fd = fd;
    log->config = config;
    return 0;
}

static void log_stop(void *instance)
{
    struct flow_log *log = instance;

    finish_file(log);
    flowd_text_fini(&log->lines);
    free(log);
}

static int log_ready(const void *instance, struct flowd_error *err)
{
    const struct flow_log *log = instance;

    return log->open_error == 0 ? 0
                                : flowd_fail(err, EAGAIN, "open %s: %s", log->config->path,
                                             strerror(log->open_error));
}

static void log_status(const void *instance, json_t *object)
{
    const struct flow_log *log = instance;

    json_object_set_new(object, "path", json_string(log->config->path));
}

struct log_counts {
    uint64_t written, lost, waiting;
};

static const struct flowd_metric log_lines = {"flowd_flow_log_lines_total", FLOWD_METRIC_COUNTER,
                                              "Lines of the flow log; lost: they had no room."};
static const struct flowd_metric log_waiting = {"flowd_flow_log_waiting_lines", FLOWD_METRIC_GAUGE,
                                                "Lines that wait for room on the disk."};

static const struct flowd_counter counters[] = {
    {.key = "lines",
     .metric = &log_lines,
     .labels = {"result", "written"},
     FLOWD_COUNTED(struct log_counts, written)},
    {.key = "lost",
     .metric = &log_lines,
     .labels = {"result", "lost"},
     FLOWD_COUNTED(struct log_counts, lost)},
    {.key = "waiting", .metric = &log_waiting, FLOWD_COUNTED(struct log_counts, waiting)},
    {.key = NULL},
};

static void log_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct flow_log *log = instance;
    const struct log_counts counts = {
        .written = log->written, .lost = log->lost, .waiting = count_lines(&log->lines)};

    flowd_counters_put(sink, counters, &counts, NULL);
}

static const char *const formats[] = {[TEXT] = "text", [JSON] = "json", NULL};

static const struct flowd_option options[] = {
    {.key = "path",
     .type = FLOWD_OPTION_STRING,
     .offset = offsetof(struct log_config, path),
     .default_json = "\"\"",
     .doc = "File that lines are appended to; empty: the daemon's log.",
     .reload = true},
    {.key = "format",
     .type = FLOWD_OPTION_CHOICE,
     .offset = offsetof(struct log_config, format),
     .default_json = "\"text\"",
     .choices = formats,
     .doc = "How a line is written.",
     .reload = true},
    {.key = NULL},
};

static const struct flowd_backend_status statuses[] = {
    [OFF] = {"off", false}, [LOGGED] = {"logged", false}, [FAILED] = {"failed", false}};

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .flow_start = log_flow_start,
    .flow_end = log_flow_end,
    .commit = log_commit,
};

const struct flowd_module flowd_backend_log = {
    .kind = FLOWD_BACKEND,
    .name = "log",
    .summary = "writes a line for each start and end of a flow",
    .options = options,
    .config_size = sizeof(struct log_config),
    .start = log_start,
    .reload = log_reload,
    .stop = log_stop,
    .ready = log_ready,
    .status = log_status,
    .count = log_count,
    .backend = &ops,
};
