/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The namedPipe plugin: reads flow events from a fifo.
 *
 * The fifo is opened for reading and writing, so that it never reports an end when the last writer
 * leaves. It stays in place when flowd stops: a writer that keeps it open must find it again after
 * a restart. If somebody removes or replaces it meanwhile, it is made and opened anew (place.c).
 * One that the service manager hands over takes the place of the configured one; if it stands
 * elsewhere, its path is the service manager's affair.
 */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/metrics/counter.h"
#include "daemon/net/listen_fds.h"
#include "daemon/options/warnings.h"
#include "line.h"
#include "place.h"

#define READ_SIZE 65536
/* About a thousand lines a turn: what others wait for at the most. */
#define READS_PER_WAKEUP 1
/* What a pipe can hold at the most, for the last read before flowd stops. */
#define READS_AT_STOP 64
#define TRIES_AT_STOP 16
/* So many events are submitted together: the look-ups of their flows wait for memory together. */
#define LINES_HELD 8
#define LOOK_INTERVAL_S 5.0
#define RETRY_INTERVAL_S 1.0

extern const struct flowd_module flowd_plugin_fifo;

struct fifo_config {
    char *path;
    int64_t mode;
    char *group;
};

/* A good line whose event is not submitted yet. */
struct held_line {
    const char *text;
    size_t length;
    struct flowd_event event;
};

struct fifo {
    const struct flowd_context *context;
    const struct fifo_config *config;
    struct flowd_source *source;
    const char *elsewhere; /* where the fifo stands that was handed over; NULL: as configured */
    struct fifo_place place;
    struct ev_io readable;
    struct ev_stat path_watch;
    struct ev_timer look; /* for what is behind a symbolic link, which path_watch does not follow */
    struct ev_timer retry;   /* while the fifo can't be opened again */
    size_t used;             /* bytes of an unfinished line at the start of buffer */
    bool lost;               /* the path has no fifo of ours */
    struct flowd_error loss; /* why not */
    bool skipping;           /* inside a line that is too long */
    uint64_t lines;          /* good and bad, empty ones not counted */
    struct flowd_log_limit bad_lines;
    struct held_line held[LINES_HELD]; /* while the bytes of a read are handled */
    unsigned held_count;
    char buffer[READ_SIZE + FLOWD_FIFO_LINE_MAX + 2];
};

static void reject(struct fifo *fifo, const char *line, size_t len, const struct flowd_error *err)
{
    int shown = len > 200 ? 200 : (int)len;

    flowd_log_limited(&fifo->bad_lines, FLOWD_LOG_WARNING, "namedPipe", "%s; line: %.*s%s",
                      err->message, shown, line, len > 200 ? "..." : "");
}

static void submit_held(struct fifo *fifo)
{
    struct flowd_error err;

    for (unsigned i = 0; i < fifo->held_count; i++) {
        const struct held_line *held = &fifo->held[i];

        if (flowd_hub_submit(fifo->context->hub, fifo->source, &held->event, NULL, &err) < 0)
            reject(fifo, held->text, held->length, &err);
    }
    fifo->held_count = 0;
}

static void handle_line(struct fifo *fifo, const char *line, size_t len)
{
    struct held_line *held = &fifo->held[fifo->held_count];
    struct flowd_error err;
    int result = flowd_fifo_line_parse(line, len, fifo->context->registry, &held->event, &err);

    if (result == 0)
        return;
    fifo->lines++;
    if (result < 0) {
        submit_held(fifo);
        fifo->source->malformed++;
        reject(fifo, line, len, &err);
        return;
    }
    flowd_hub_prefetch(fifo->context->hub, &held->event);
    held->text = line;
    held->length = len;
    fifo->held_count++;
    if (fifo->held_count == LINES_HELD)
        submit_held(fifo);
}

static void begin_skipping(struct fifo *fifo)
{
    struct flowd_error err;

    flowd_fail(&err, E2BIG, "longer than %d bytes", FLOWD_FIFO_LINE_MAX);
    fifo->lines++;
    fifo->source->malformed++;
    reject(fifo, fifo->buffer, fifo->used, &err);
    fifo->skipping = true;
}

/* Handles every whole line of the first length bytes and moves the rest to the front. */
static void handle_bytes(struct fifo *fifo, size_t length)
{
    const char *line = fifo->buffer, *end = fifo->buffer + length;
    /* The bytes of the unfinished line have been searched before. */
    const char *search = fifo->buffer + fifo->used;
    const char *feed;

    while ((feed = memchr(search, '\n', (size_t)(end - search))) != NULL) {
        if (!fifo->skipping)
            handle_line(fifo, line, (size_t)(feed - line));
        fifo->skipping = false;
        line = search = feed + 1;
    }
    submit_held(fifo);
    fifo->used = fifo->skipping ? 0 : (size_t)(end - line);
    memmove(fifo->buffer, line, fifo->used);
    if (fifo->used > FLOWD_FIFO_LINE_MAX + 1) {
        begin_skipping(fifo);
        fifo->used = 0;
    }
}

static void read_lines(struct fifo *fifo, int reads)
{
    for (int i = 0; i < reads; i++) {
        ssize_t count = read(fifo->place.fd, fifo->buffer + fifo->used, READ_SIZE);

        if (count > 0)
            handle_bytes(fifo, fifo->used + (size_t)count);
        if (count < READ_SIZE)
            break;
    }
}

static void fifo_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    read_lines(watcher->data, READS_PER_WAKEUP);
}

static struct fifo_access access_of(const struct fifo_config *config)
{
    return (struct fifo_access){.mode = config->mode, .group = config->group};
}

static void watch(struct fifo *fifo)
{
    ev_io_init(&fifo->readable, fifo_on_readable, fifo->place.fd, EV_READ);
    fifo->readable.data = fifo;
    ev_io_start(fifo->context->loop, &fifo->readable);
}

static const char *path_of(const struct fifo *fifo)
{
    return fifo->elsewhere != NULL ? fifo->elsewhere : fifo->config->path;
}

/* Reads another fifo from here on, after what the former one holds still. */
static void take(struct fifo *fifo, const struct fifo_place *place)
{
    read_lines(fifo, READS_AT_STOP);
    ev_io_stop(fifo->context->loop, &fifo->readable);
    fifo_place_close(&fifo->place);
    fifo->place = *place;
    fifo->used = 0;
    fifo->skipping = false;
    watch(fifo);
}

/* Reads the fifo that is at the path. *again: it is another one than was read. Returns 0 or -errno.
 */
static int find_again(struct fifo *fifo, bool *again, struct flowd_error *err)
{
    const struct fifo_access access = access_of(fifo->config);
    struct fifo_place place;
    int result;

    *again = !fifo_place_is_there(&fifo->place, fifo->config->path);
    if (!*again)
        /* One that was away has let its lock go. */
        return fifo->lost ? fifo_place_lock(&fifo->place, fifo->config->path, err) : 0;
    fifo_place_unlock(&fifo->place);
    result = fifo_place_open(fifo->config->path, &access, &place, err);
    if (result == 0)
        take(fifo, &place);
    return result;
}

/* The path may have lost its fifo, or got another one. */
static void restore(struct fifo *fifo)
{
    struct ev_loop *loop = fifo->context->loop;
    struct flowd_error err;
    bool again;
    int result;

    ev_timer_stop(loop, &fifo->retry);
    result = find_again(fifo, &again, &err);
    if (result < 0) {
        fifo->loss = err;
        if (!fifo->lost)
            flowd_err("namedPipe",
                      "the fifo was removed or replaced, and can't be opened again: %s",
                      err.message);
        fifo->lost = true;
        /* A timer that has fired keeps nothing of its time. */
        ev_timer_set(&fifo->retry, RETRY_INTERVAL_S, 0);
        ev_timer_start(loop, &fifo->retry);
        return;
    }
    fifo->lost = false;
    if (again)
        flowd_warning("namedPipe", "fifo %s was removed or replaced; opened it again",
                      fifo->config->path);
}

static void on_path_change(struct ev_loop *loop, struct ev_stat *watcher, int events)
{
    (void)loop;
    (void)events;
    restore(watcher->data);
}

static void on_time(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    restore(watcher->data);
}

/* Takes the fifo that was handed over. Returns -ENOENT if none was. */
static int take_handed(struct fifo *fifo, const struct fifo_access *access, struct flowd_error *err)
{
    static const struct flowd_listen_wish wish = {.use = FLOWD_LISTEN_FOR_FIFO,
                                                  .kind = FLOWD_LISTEN_FIFO};
    const struct flowd_listen_fd *handed = flowd_listen_fds_take(fifo->context->listen_fds, &wish);
    int result;

    if (handed == NULL)
        return -ENOENT;
    result = fifo_place_adopt(handed->fd, handed->text, access, &fifo->place, err);
    if (result < 0)
        return result;
    if (fifo_place_is_there(&fifo->place, fifo->config->path) ||
        strcmp(handed->text, fifo->config->path) == 0) {
        flowd_info("namedPipe", "fifo %s was handed over", fifo->config->path);
    } else {
        fifo->elsewhere = handed->text;
        flowd_warning("namedPipe",
                      "fifo %s was handed over and is read in place of pipePath %s, which is not "
                      "used",
                      handed->text, fifo->config->path);
    }
    return 0;
}

static void watch_path(struct fifo *fifo)
{
    struct ev_loop *loop = fifo->context->loop;

    if (fifo->elsewhere != NULL)
        return;
    ev_stat_init(&fifo->path_watch, on_path_change, fifo->config->path, LOOK_INTERVAL_S);
    fifo->path_watch.data = fifo;
    ev_stat_start(loop, &fifo->path_watch);
    ev_timer_start(loop, &fifo->look);
}

static int fifo_start(const struct flowd_context *context, const void *config, void **instance,
                      struct flowd_error *err)
{
    struct fifo *fifo = calloc(1, sizeof(*fifo));
    struct fifo_access access = access_of(config);
    int result;

    if (fifo == NULL)
        return flowd_fail_errno(err, ENOMEM, "fifo");
    fifo->context = context;
    fifo->config = config;
    fifo->source = flowd_hub_source(context->hub, flowd_plugin_fifo.name);
    result = fifo->source != NULL ? take_handed(fifo, &access, err)
                                  : flowd_fail_errno(err, ENOMEM, "fifo");
    if (result == -ENOENT)
        result = fifo_place_open(fifo->config->path, &access, &fifo->place, err);
    if (result < 0) {
        free(fifo);
        return result;
    }
    fifo_place_join_group(fifo->config->group);
    watch(fifo);
    ev_timer_init(&fifo->retry, on_time, RETRY_INTERVAL_S, 0);
    ev_timer_init(&fifo->look, on_time, LOOK_INTERVAL_S, LOOK_INTERVAL_S);
    fifo->retry.data = fifo->look.data = fifo;
    watch_path(fifo);
    /* The service manager may still hold one that somebody has removed. */
    if (fifo->elsewhere == NULL)
        restore(fifo);
    flowd_info("namedPipe", "reading flow events from %s", path_of(fifo));
    *instance = fifo;
    return 0;
}

static int fifo_reload(void *instance, const void *config, struct flowd_error *err)
{
    const struct fifo_config *fresh = config;
    struct fifo_access access = access_of(fresh);
    struct fifo *fifo = instance;
    bool changed =
        fresh->mode != fifo->config->mode || strcmp(fresh->group, fifo->config->group) != 0;
    int result = changed ? fifo_place_change(&fifo->place, path_of(fifo), &access, err) : 0;

    if (result < 0)
        return result;
    fifo->config = fresh;
    ev_stat_stop(fifo->context->loop, &fifo->path_watch);
    watch_path(fifo);
    return 0;
}

/*
 * Puts the beginning of an unfinished line back into the empty fifo. Returns true when it stands
 * first there. Otherwise somebody has written at the same moment: everything is read again, and put
 * into its order (which a beginning of a few bytes that comes several times may mislead).
 */
static bool put_back(struct fifo *fifo)
{
    const size_t length = fifo->used;
    char *rest = fifo->buffer + length, *again;
    int waiting = 0;
    ssize_t count;

    if (write(fifo->place.fd, fifo->buffer, length) != (ssize_t)length) {
        flowd_warning("namedPipe", "an unfinished line is lost");
        return true;
    }
    if (ioctl(fifo->place.fd, FIONREAD, &waiting) < 0 || (size_t)waiting <= length)
        return true;
    count = read(fifo->place.fd, rest, READ_SIZE);
    if (count <= 0)
        return true;
    again = memmem(rest, (size_t)count, fifo->buffer, length);
    if (again != NULL) {
        memmove(again, again + length, (size_t)(rest + count - (again + length)));
        count -= (ssize_t)length;
    }
    fifo->used = 0;
    handle_bytes(fifo, length + (size_t)count);
    return false;
}

/*
 * The next flowd is to find an unfinished line whole. Either its rest is in the fifo already, and
 * the line is finished; or the fifo is empty, and what is there of the line goes back into it,
 * where the rest will follow. Where nobody else has the fifo open, it goes with the fifo's
 * contents.
 */
static void leave_unfinished_line(struct fifo *fifo)
{
    /* One that is too long has been thrown away: what stands for it makes a bad line of its rest.
     */
    if (fifo->skipping) {
        fifo->buffer[0] = 'x';
        fifo->used = 1;
        fifo->skipping = false;
    }
    for (int tries = 0; fifo->used > 0 && tries < TRIES_AT_STOP;) {
        if (read(fifo->place.fd, fifo->buffer + fifo->used, 1) == 1)
            handle_bytes(fifo, fifo->used + 1);
        else if (put_back(fifo))
            return;
        else
            tries++;
    }
}

static void fifo_stop(void *instance)
{
    struct fifo *fifo = instance;
    struct ev_loop *loop = fifo->context->loop;

    /* What writers have already handed over counts. */
    read_lines(fifo, READS_AT_STOP);
    leave_unfinished_line(fifo);
    ev_stat_stop(loop, &fifo->path_watch);
    ev_timer_stop(loop, &fifo->retry);
    ev_timer_stop(loop, &fifo->look);
    ev_io_stop(loop, &fifo->readable);
    fifo_place_close(&fifo->place);
    free(fifo);
}

static int fifo_ready(const void *instance, struct flowd_error *err)
{
    const struct fifo *fifo = instance;

    return fifo->lost ? flowd_fail(err, EAGAIN, "the fifo is not open: %s", fifo->loss.message) : 0;
}

static void fifo_status(const void *instance, json_t *object)
{
    const struct fifo *fifo = instance;

    json_object_set_new(object, "path", json_string(path_of(fifo)));
    json_object_set_new(object, "open", json_boolean(!fifo->lost));
    /* Counted by the hub, for each source, and shown with its events too. */
    json_object_set_new(object, "malformed", json_integer((json_int_t)fifo->source->malformed));
}

static const struct flowd_metric fifo_lines = {
    "flowd_fifo_lines_total", FLOWD_METRIC_COUNTER,
    "Lines that were read from the fifo, good and bad; empty ones are not counted."};

static const struct flowd_counter counters[] = {
    {.key = "lines", .metric = &fifo_lines, FLOWD_COUNTED(struct fifo, lines)},
    {.key = NULL},
};

static void fifo_count(const void *instance, const struct flowd_counter_sink *sink)
{
    flowd_counters_put(sink, counters, instance, NULL);
}

static void fifo_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct fifo_config *fifo = config;

    if (fifo->path[0] == '\0')
        flowd_messages_add(errors, "%s.pipePath: must not be empty", path);
}

static void fifo_warn(const void *config, const char *path,
                      const struct flowd_environment *environment, struct flowd_messages *warnings)
{
    const struct fifo_config *fifo = config;
    char option[64];

    snprintf(option, sizeof(option), "%s.mode", path);
    flowd_warnings_access(fifo->mode, fifo->group, option, warnings);
    snprintf(option, sizeof(option), "%s.pipePath", path);
    if (environment->host != NULL && (fifo->mode & S_IWOTH) != 0)
        flowd_warnings_passage(fifo->path, option, warnings);
}

static const struct flowd_option options[] = {
    {.key = "pipePath",
     .type = FLOWD_OPTION_STRING,
     .offset = offsetof(struct fifo_config, path),
     .default_json = "\"/run/flowd\"",
     .doc = "The fifo; made (and its directory) if it is not there, and left in place when flowd "
            "stops."},
    {.key = "mode",
     .type = FLOWD_OPTION_MODE,
     .offset = offsetof(struct fifo_config, mode),
     .default_json = "\"0666\"",
     .doc = "Permissions of a fifo that flowd made: who may write lines into it.",
     .reload = true},
    {.key = "group",
     .type = FLOWD_OPTION_STRING,
     .offset = offsetof(struct fifo_config, group),
     .default_json = "\"\"",
     .doc = "Group (name or number) of a fifo that flowd made; empty: flowd's own.",
     .reload = true},
    {.key = "buffSize", .type = FLOWD_OPTION_IGNORED, .doc = "Accepted from flowd-go, no effect."},
    {.key = "maxReaders",
     .type = FLOWD_OPTION_IGNORED,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = NULL},
};

const struct flowd_module flowd_plugin_fifo = {
    .kind = FLOWD_PLUGIN,
    .name = "namedPipe",
    .summary = "reads flow events, one a line, from a fifo",
    .options = options,
    .config_size = sizeof(struct fifo_config),
    .check = fifo_check,
    .warn = fifo_warn,
    .start = fifo_start,
    .reload = fifo_reload,
    .stop = fifo_stop,
    .ready = fifo_ready,
    .status = fifo_status,
    .count = fifo_count,
};
