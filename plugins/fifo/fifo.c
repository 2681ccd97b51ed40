/*
 * The namedPipe plugin: reads flow events from a fifo.
 *
 * The fifo is opened for reading and writing, so that it never reports an end when the last writer
 * leaves. It stays in place when flowd stops: a writer that keeps it open must find it again after
 * a restart. If somebody removes or replaces it meanwhile, it is made and opened anew. One that the
 * service manager hands over takes the place of the configured one; if it stands elsewhere, its
 * path is the service manager's affair.
 */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/hub.h"
#include "daemon/listen_fds.h"
#include "daemon/log.h"
#include "daemon/module.h"
#include "daemon/warnings.h"
#include "line.h"

#define PIPE_SIZE (1 << 20)
#define READ_SIZE 65536
/* About a thousand lines a turn: what others wait for at the most. */
#define READS_PER_WAKEUP 1
/* What a pipe can hold at the most, for the last read before flowd stops. */
#define READS_AT_STOP 64
#define LOOK_INTERVAL_S 5.0
#define RETRY_INTERVAL_S 1.0
#define NGROUPS_LISTED 256

extern const struct flowd_module flowd_plugin_fifo;

struct fifo_config {
    char *path;
    int64_t mode;
    char *group;
};

struct fifo {
    const struct flowd_context *context;
    const struct fifo_config *config;
    struct flowd_source *source;
    const char *elsewhere; /* where the fifo stands that was handed over; NULL: as configured */
    int fd;
    struct ev_io readable;
    struct ev_stat path_watch;
    struct ev_timer retry; /* while the fifo can't be opened again */
    size_t used;           /* bytes of an unfinished line at the start of buffer */
    bool lost;             /* the path has no fifo of ours */
    bool skipping;         /* inside a line that is too long */
    uint64_t lines;        /* good and bad, empty ones not counted */
    struct flowd_log_limit bad_lines;
    char buffer[READ_SIZE + FLOWD_FIFO_LINE_MAX + 2];
};

static void reject(struct fifo *fifo, const char *line, size_t len, const struct flowd_error *err)
{
    int shown = len > 200 ? 200 : (int)len;

    flowd_log_limited(&fifo->bad_lines, FLOWD_LOG_WARNING, "namedPipe", "%s; line: %.*s%s",
                      err->message, shown, line, len > 200 ? "..." : "");
}

static void handle_line(struct fifo *fifo, const char *line, size_t len)
{
    struct flowd_event event;
    struct flowd_error err;
    int result = flowd_fifo_line_parse(line, len, fifo->context->registry, &event, &err);

    if (result == 0)
        return;
    fifo->lines++;
    if (result < 0)
        fifo->source->malformed++;
    else
        result = flowd_hub_submit(fifo->context->hub, fifo->source, &event, NULL, &err);
    if (result < 0)
        reject(fifo, line, len, &err);
}

static void begin_skipping(struct fifo *fifo)
{
    struct flowd_error err;

    flowd_fail(&err, -E2BIG, "longer than %d bytes", FLOWD_FIFO_LINE_MAX);
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
        ssize_t count = read(fifo->fd, fifo->buffer + fifo->used, READ_SIZE);

        if (count > 0)
            handle_bytes(fifo, fifo->used + (size_t)count);
        if (count < READ_SIZE)
            break;
    }
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    read_lines(watcher->data, READS_PER_WAKEUP);
}

static int find_group(const char *name, gid_t *gid, struct flowd_error *err)
{
    const struct group *group;

    *gid = (gid_t)-1;
    if (name[0] == '\0')
        return 0;
    group = getgrnam(name);
    if (group == NULL)
        return flowd_fail(err, -EINVAL, "group: \"%s\" is not known here", name);
    *gid = group->gr_gid;
    return 0;
}

/* Makes the fifo with exactly the configured mode and group. */
static int make_fifo(const struct fifo_config *config, gid_t gid, struct flowd_error *err)
{
    int result = 0;

    if (mkfifo(config->path, 0600) < 0)
        return flowd_fail(err, errno, "make fifo %s", config->path);
    if (gid != (gid_t)-1 && lchown(config->path, (uid_t)-1, gid) < 0)
        result = flowd_fail(err, errno, "give fifo %s to group %s", config->path, config->group);
    else if (chmod(config->path, (mode_t)config->mode) < 0)
        result = flowd_fail(err, errno, "set the mode of fifo %s", config->path);
    if (result < 0)
        unlink(config->path);
    return result;
}

static int open_fifo(const struct fifo_config *config, int *out, struct flowd_error *err)
{
    struct stat status;
    gid_t gid;
    int fd, result = find_group(config->group, &gid, err);

    if (result < 0)
        return result;
    if (lstat(config->path, &status) < 0) {
        if (errno != ENOENT)
            return flowd_fail(err, errno, "look at %s", config->path);
        result = make_fifo(config, gid, err);
        if (result < 0)
            return result;
    } else if (!S_ISFIFO(status.st_mode)) {
        return flowd_fail(err, -EEXIST, "%s exists and is not a fifo; it is left alone",
                          config->path);
    }
    fd = open(config->path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return flowd_fail(err, errno, "open fifo %s", config->path);
    if (fstat(fd, &status) < 0 || !S_ISFIFO(status.st_mode)) {
        close(fd);
        return flowd_fail(err, -EEXIST, "%s is not a fifo", config->path);
    }
    /* Two readers would each get some of the lines. */
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return flowd_fail(err, -EBUSY, "another flowd is reading %s", config->path);
    }
    (void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
    *out = fd;
    return 0;
}

static void watch(struct fifo *fifo, int fd)
{
    fifo->fd = fd;
    ev_io_init(&fifo->readable, on_readable, fd, EV_READ);
    fifo->readable.data = fifo;
    ev_io_start(fifo->context->loop, &fifo->readable);
}

static const char *path_of(const struct fifo *fifo)
{
    return fifo->elsewhere != NULL ? fifo->elsewhere : fifo->config->path;
}

static bool is_in_place(const struct fifo *fifo)
{
    struct stat ours, theirs;

    return fstat(fifo->fd, &ours) == 0 && lstat(fifo->config->path, &theirs) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* The path may have lost its fifo, or got another one. */
static void restore(struct fifo *fifo)
{
    struct ev_loop *loop = fifo->context->loop;
    struct flowd_error err;
    int fd = -1;

    ev_timer_stop(loop, &fifo->retry);
    if (is_in_place(fifo)) {
        fifo->lost = false;
        return;
    }
    if (open_fifo(fifo->config, &fd, &err) < 0) {
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
    flowd_warning("namedPipe", "fifo %s was removed or replaced; opened it again",
                  fifo->config->path);
    fifo->lost = false;
    read_lines(fifo, READS_AT_STOP);
    ev_io_stop(loop, &fifo->readable);
    close(fifo->fd);
    fifo->used = 0;
    fifo->skipping = false;
    watch(fifo, fd);
}

static void on_path_change(struct ev_loop *loop, struct ev_stat *watcher, int events)
{
    (void)loop;
    (void)events;
    restore(watcher->data);
}

static void on_retry(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    restore(watcher->data);
}

/*
 * Joins the fifo's group: its owner may give a file to a group that it belongs to, also after
 * flowd has given up its capabilities, and a fifo that is made again must get its group again.
 */
static void join_group(const char *name)
{
    gid_t groups[NGROUPS_LISTED + 1], gid;
    int count;

    if (find_group(name, &gid, NULL) < 0 || gid == (gid_t)-1)
        return;
    count = getgroups(NGROUPS_LISTED, groups);
    if (count >= 0) {
        groups[count] = gid;
        if (setgroups((size_t)count + 1, groups) == 0)
            return;
    }
    flowd_warning("namedPipe", "can't join group %s: %s; a fifo that somebody removes stays away",
                  name, strerror(errno));
}

/* Takes the fifo that was handed over. Returns false if none was. */
static bool take_handed(struct fifo *fifo)
{
    static const struct flowd_listen_wish wish = {.use = FLOWD_LISTEN_FOR_FIFO,
                                                  .kind = FLOWD_LISTEN_FIFO};
    const struct flowd_listen_fd *handed = flowd_listen_fds_take(fifo->context->listen_fds, &wish);

    if (handed == NULL)
        return false;
    fifo->fd = handed->fd;
    (void)fcntl(fifo->fd, F_SETPIPE_SZ, PIPE_SIZE);
    if (is_in_place(fifo) || strcmp(handed->text, fifo->config->path) == 0) {
        flowd_info("namedPipe", "fifo %s was handed over", fifo->config->path);
    } else {
        fifo->elsewhere = handed->text;
        flowd_warning("namedPipe",
                      "fifo %s was handed over and is read in place of pipePath %s, which is not "
                      "used",
                      handed->text, fifo->config->path);
    }
    return true;
}

static void watch_path(struct fifo *fifo)
{
    if (fifo->elsewhere != NULL)
        return;
    ev_stat_init(&fifo->path_watch, on_path_change, fifo->config->path, LOOK_INTERVAL_S);
    fifo->path_watch.data = fifo;
    ev_stat_start(fifo->context->loop, &fifo->path_watch);
}

static int start(const struct flowd_context *context, const void *config, void **instance,
                 struct flowd_error *err)
{
    struct fifo *fifo = calloc(1, sizeof(*fifo));
    int result;

    if (fifo == NULL)
        return flowd_fail(err, ENOMEM, "fifo");
    fifo->context = context;
    fifo->config = config;
    fifo->source = flowd_hub_source(context->hub, flowd_plugin_fifo.name);
    result = fifo->source != NULL ? 0 : flowd_fail(err, ENOMEM, "fifo");
    if (result == 0 && !take_handed(fifo))
        result = open_fifo(config, &fifo->fd, err);
    if (result < 0) {
        free(fifo);
        return result;
    }
    join_group(fifo->config->group);
    watch(fifo, fifo->fd);
    ev_timer_init(&fifo->retry, on_retry, RETRY_INTERVAL_S, 0);
    fifo->retry.data = fifo;
    watch_path(fifo);
    /* The service manager may still hold one that somebody has removed. */
    if (fifo->elsewhere == NULL)
        restore(fifo);
    flowd_info("namedPipe", "reading flow events from %s", path_of(fifo));
    *instance = fifo;
    return 0;
}

static int reload(void *instance, const void *config, struct flowd_error *err)
{
    struct fifo *fifo = instance;

    (void)err;
    fifo->config = config;
    ev_stat_stop(fifo->context->loop, &fifo->path_watch);
    watch_path(fifo);
    return 0;
}

static void stop(void *instance)
{
    struct fifo *fifo = instance;

    /* What writers have already handed over counts. */
    read_lines(fifo, READS_AT_STOP);
    ev_stat_stop(fifo->context->loop, &fifo->path_watch);
    ev_timer_stop(fifo->context->loop, &fifo->retry);
    ev_io_stop(fifo->context->loop, &fifo->readable);
    close(fifo->fd);
    free(fifo);
}

static void status(const void *instance, json_t *object)
{
    const struct fifo *fifo = instance;

    json_object_set_new(object, "path", json_string(path_of(fifo)));
    json_object_set_new(object, "open", json_boolean(!fifo->lost));
    json_object_set_new(object, "lines", json_integer((json_int_t)fifo->lines));
    json_object_set_new(object, "malformed", json_integer((json_int_t)fifo->source->malformed));
}

static void check(const void *config, const char *path, struct flowd_mistakes *mistakes)
{
    const struct fifo_config *fifo = config;

    if (fifo->path[0] == '\0')
        flowd_mistakes_add(mistakes, "%s.pipePath: must not be empty", path);
}

static void warn(const void *config, const char *path, const struct flowd_host *host,
                 struct flowd_mistakes *warnings)
{
    const struct fifo_config *fifo = config;
    char option[64];

    (void)host;
    snprintf(option, sizeof(option), "%s.mode", path);
    flowd_warnings_access(fifo->mode, fifo->group, option, warnings);
}

static const struct flowd_option options[] = {
    {.key = "pipePath",
     .type = FLOWD_OPTION_STRING,
     .offset = offsetof(struct fifo_config, path),
     .standard = "\"/run/flowd\"",
     .doc = "The fifo; made if it is not there, and left in place when flowd stops."},
    {.key = "mode",
     .type = FLOWD_OPTION_MODE,
     .offset = offsetof(struct fifo_config, mode),
     .standard = "\"0666\"",
     .doc = "Permissions of a fifo that flowd makes: who may write lines into it."},
    {.key = "group",
     .type = FLOWD_OPTION_STRING,
     .offset = offsetof(struct fifo_config, group),
     .standard = "\"\"",
     .doc = "Group of a fifo that flowd makes; empty: flowd's own."},
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
    .check = check,
    .warn = warn,
    .start = start,
    .reload = reload,
    .stop = stop,
    .status = status,
};
