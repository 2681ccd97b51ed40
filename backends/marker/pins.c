/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of pins on bpffs: makes, locks, fills and reads it. Every object is reached by its
 * full path, as the bpf(2) commands want it.
 */
#include "pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/base/integer.h"

#define BPFFS_MAGIC 0xcafe4a11
#define LOCK_TRIES 5
#define FRESH_SUFFIX "_fresh"

static const char *const map_names[] = {MARKER_PIN_FLOWS, MARKER_PIN_BITMAP, MARKER_PIN_SHARED,
                                        MARKER_PIN_COUNTERS, MARKER_PIN_FRAGMENTS};
#define MAP_NAMES (sizeof(map_names) / sizeof(map_names[0]))

static void join(char out[static PATH_MAX], const struct marker_pins *pins, const char *name)
{
    snprintf(out, PATH_MAX, "%s/%s", pins->path, name);
}

static void join_index(char out[static PATH_MAX], const struct marker_pins *pins,
                       const char *directory, int index)
{
    snprintf(out, PATH_MAX, "%s/%s/%d", pins->path, directory, index);
}

/* Whether path would be on a bpffs. */
static bool is_possible(const char *path)
{
    char ancestor[PATH_MAX];
    struct statfs about;

    if (path[0] != '/' || strlen(path) >= sizeof(ancestor) - 64)
        return false;
    snprintf(ancestor, sizeof(ancestor), "%s", path);
    /* The nearest directory that exists. */
    while (statfs(ancestor, &about) < 0) {
        char *slash = strrchr(ancestor, '/');

        if ((errno != ENOENT && errno != ENOTDIR) || slash == NULL || slash == ancestor)
            return false;
        *slash = '\0';
    }
    return (uint64_t)about.f_type == BPFFS_MAGIC;
}

static int make_directories(const char *path, struct flowd_error *err)
{
    char partial[PATH_MAX];

    snprintf(partial, sizeof(partial), "%s", path);
    for (char *at = partial + 1;; at++) {
        char end = *at;

        if (end != '/' && end != '\0')
            continue;
        *at = '\0';
        if (mkdir(partial, 0700) < 0 && errno != EEXIST)
            return flowd_fail_errno(
                err, errno,
                "mkdir %s (pinPath must be on a BPF file system that can be written: "
                "remount it, or set another pinPath)",
                partial);
        *at = end;
        if (end == '\0')
            return 0;
    }
}

/* Whether the directory behind fd is still the one at path: another daemon may have removed it. */
static bool still_there(int fd, const char *path)
{
    struct stat opened;
    struct stat named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

static int open_locked(const char *path, enum marker_pins_mode mode, struct flowd_error *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd;

        if (mode == MARKER_PINS_CREATE) {
            int result = make_directories(path, err);

            if (result < 0)
                return result;
        }
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return flowd_fail_errno(err, errno, "%s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int error = errno;

            close(fd);
            if (error == EWOULDBLOCK)
                return flowd_fail(err, EBUSY, "another flowd is running and holds %s (pinPath)",
                                  path);
            return flowd_fail_errno(err, error, "lock %s", path);
        }
        if (still_there(fd, path))
            return fd;
        close(fd);
    }
    return flowd_fail(err, EBUSY, "%s (pinPath) is removed as fast as it is made", path);
}

void marker_pins_close(struct marker_pins *pins)
{
    if (pins->directory >= 0)
        close(pins->directory);
    free(pins->path);
    *pins = (struct marker_pins){.directory = -1};
}

int marker_pins_look(const struct marker_pins *pins)
{
    char path[PATH_MAX];

    for (size_t i = 0; pins->path != NULL && i < MAP_NAMES; i++) {
        join(path, pins, map_names[i]);
        if (access(path, F_OK) < 0)
            return -errno;
    }
    return 0;
}

int marker_pins_reopen(struct marker_pins *pins, struct flowd_error *err)
{
    int fd;

    if (pins->path == NULL || still_there(pins->directory, pins->path))
        return 0;
    fd = open_locked(pins->path, MARKER_PINS_CREATE, err);
    if (fd < 0)
        return fd;
    close(pins->directory);
    pins->directory = fd;
    return 0;
}

static int get(const struct marker_pins *pins, const char *path)
{
    int fd;

    if (pins->path == NULL)
        return -ENOENT;
    fd = bpf_obj_get(path);
    return fd < 0 ? -errno : fd;
}

int marker_pins_get(const struct marker_pins *pins, const char *name)
{
    char path[PATH_MAX];

    join(path, pins, name);
    return get(pins, path);
}

/* A pin that takes the place of the one at path has this name before. */
static void join_fresh(char fresh[static PATH_MAX + 8], const char *path)
{
    snprintf(fresh, PATH_MAX + 8, "%s" FRESH_SUFFIX, path);
}

/* Also a directory, if it is empty: nothing in these places is anybody else's. */
static int take_away(const char *path)
{
    return unlink(path) == 0 || (errno != ENOENT && rmdir(path) == 0) ? 0 : -errno;
}

static bool is_directory(const char *path)
{
    struct stat about;

    return lstat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static int make_directory(const char *path)
{
    if (!is_directory(path))
        take_away(path);
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int put(const char *path, int fd)
{
    char fresh[PATH_MAX + 8];

    join_fresh(fresh, path);
    take_away(fresh);
    if (bpf_obj_pin(fd, fresh) < 0)
        return -errno;
    if (is_directory(path))
        take_away(path);
    if (rename(fresh, path) < 0) {
        int result = -errno;

        unlink(fresh);
        return result;
    }
    return 0;
}

int marker_pins_put(const struct marker_pins *pins, const char *name, int fd)
{
    char path[PATH_MAX];

    if (pins->path == NULL)
        return 0;
    join(path, pins, name);
    return put(path, fd);
}

int marker_pins_get_link(const struct marker_pins *pins, int index)
{
    char path[PATH_MAX];
    int fd;

    join_index(path, pins, "links", index);
    fd = get(pins, path);
    /* Of what is no object of BPF the kernel says the same as of what one may not look at. */
    return fd == -EACCES && access(path, F_OK) == 0 ? -EINVAL : fd;
}

int marker_pins_put_link(const struct marker_pins *pins, int index, int fd)
{
    char path[PATH_MAX];
    int result;

    if (pins->path == NULL)
        return 0;
    join(path, pins, "links");
    result = make_directory(path);
    if (result < 0)
        return result;
    join_index(path, pins, "links", index);
    return put(path, fd);
}

void marker_pins_drop_fresh_link(const struct marker_pins *pins, int index)
{
    char path[PATH_MAX], fresh[PATH_MAX + 8];

    if (pins->path == NULL)
        return;
    join_index(path, pins, "links", index);
    join_fresh(fresh, path);
    take_away(fresh);
}

void marker_pins_remove_link(const struct marker_pins *pins, int index)
{
    char path[PATH_MAX];

    if (pins->path == NULL)
        return;
    join_index(path, pins, "links", index);
    take_away(path);
    marker_pins_drop_fresh_link(pins, index);
}

bool marker_pins_has_link(const struct marker_pins *pins, int index)
{
    char path[PATH_MAX];

    if (pins->path == NULL)
        return true;
    join_index(path, pins, "links", index);
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

void marker_pins_note_qdisc(const struct marker_pins *pins, int index, bool made)
{
    char path[PATH_MAX];

    if (pins->path == NULL)
        return;
    join(path, pins, "qdisc");
    if (made)
        make_directory(path);
    join_index(path, pins, "qdisc", index);
    if (made)
        make_directory(path);
    else
        take_away(path);
}

bool marker_pins_made_qdisc(const struct marker_pins *pins, int index)
{
    char path[PATH_MAX];

    if (pins->path == NULL)
        return false;
    join_index(path, pins, "qdisc", index);
    return is_directory(path);
}

/* Visits every name that is an index with this suffix. */
static void each_name(const struct marker_pins *pins, const char *directory, const char *suffix,
                      void (*visit)(void *context, int index), void *context)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *listing;

    if (pins->path == NULL)
        return;
    join(path, pins, directory);
    listing = opendir(path);
    if (listing == NULL)
        return;
    while ((entry = readdir(listing)) != NULL) {
        size_t digits = strspn(entry->d_name, "0123456789");
        uint64_t index;

        if (strcmp(entry->d_name + digits, suffix) == 0 &&
            flowd_integer_parse(entry->d_name, digits, 1, INT_MAX, &index) == 0)
            visit(context, (int)index);
    }
    closedir(listing);
}

/* A crash in the midst of pinning left the link by the name that it has before. */
static void finish_link(void *context, int index)
{
    const struct marker_pins *pins = context;
    char path[PATH_MAX], fresh[PATH_MAX + 8];

    join_index(path, pins, "links", index);
    join_fresh(fresh, path);
    if (marker_pins_has_link(pins, index) || rename(fresh, path) < 0)
        take_away(fresh);
}

int marker_pins_open(struct marker_pins *pins, const char *path, enum marker_pins_mode mode,
                     struct flowd_error *err)
{
    char *copy;
    int fd;

    *pins = (struct marker_pins){.directory = -1};
    if (!is_possible(path))
        return 0;
    if (mode == MARKER_PINS_EXISTING && access(path, F_OK) < 0)
        return errno == ENOENT ? 0 : flowd_fail_errno(err, errno, "%s", path);
    copy = strdup(path);
    if (copy == NULL)
        return flowd_fail_errno(err, ENOMEM, "%s", path);
    fd = open_locked(path, mode, err);
    if (fd < 0) {
        free(copy);
        return fd;
    }
    *pins = (struct marker_pins){.path = copy, .directory = fd};
    each_name(pins, "links", FRESH_SUFFIX, finish_link, pins);
    return 0;
}

void marker_pins_each_link(const struct marker_pins *pins, void (*visit)(void *context, int index),
                           void *context)
{
    each_name(pins, "links", "", visit, context);
}

void marker_pins_each_qdisc(const struct marker_pins *pins, void (*visit)(void *context, int index),
                            void *context)
{
    each_name(pins, "qdisc", "", visit, context);
}

static void remove_link(void *context, int index)
{
    marker_pins_remove_link(context, index);
}

static void remove_qdisc(void *context, int index)
{
    marker_pins_note_qdisc(context, index, false);
}

void marker_pins_clear(struct marker_pins *pins, void (*removed)(void *context, const char *path),
                       void *context)
{
    char path[PATH_MAX], fresh[PATH_MAX + 8];

    if (pins->path == NULL)
        return;
    for (size_t i = 0; i < MAP_NAMES; i++) {
        join(path, pins, map_names[i]);
        join_fresh(fresh, path);
        take_away(fresh);
        if (take_away(path) == 0 && removed != NULL)
            removed(context, path);
    }
    marker_pins_each_link(pins, remove_link, pins);
    marker_pins_each_qdisc(pins, remove_qdisc, pins);
    join(path, pins, "links");
    take_away(path);
    join(path, pins, "qdisc");
    take_away(path);
    if (rmdir(pins->path) == 0 && removed != NULL)
        removed(context, pins->path);
    marker_pins_close(pins);
}
