/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a whole file of bounded size, and writes the copy in one step: it is either the former one
 * or the new one.
 */
#include "daemon/flow/registry_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define SIZE_MAX_BYTES (16 << 20)
#define COPY_NAME "registry.json"
/* A registry with more than so many is some other file. */
#define SKIPPED_LOGGED 10

struct content {
    char *data; /* owned */
    size_t size;
};

static int read_open(int fd, struct content *content, struct flowd_error *err)
{
    struct stat status;
    ssize_t count = 0;

    if (fstat(fd, &status) < 0)
        return flowd_fail_errno(err, errno, "read it");
    if (!S_ISREG(status.st_mode) || status.st_size > SIZE_MAX_BYTES)
        return flowd_fail(err, EINVAL, "is no file, or one of more than %d MiB",
                          SIZE_MAX_BYTES >> 20);
    content->data = malloc((size_t)status.st_size + 1);
    if (content->data == NULL)
        return flowd_fail_errno(err, ENOMEM, "read it");
    while (content->size < (size_t)status.st_size &&
           (count = read(fd, content->data + content->size,
                         (size_t)status.st_size - content->size)) > 0)
        content->size += (size_t)count;
    return count < 0 ? flowd_fail_errno(err, errno, "read it") : 0;
}

static int read_content(const char *path, struct content *content, struct flowd_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int result;

    *content = (struct content){0};
    if (fd < 0)
        return flowd_fail_errno(err, errno, "registry %s", path);
    result = read_open(fd, content, err);
    close(fd);
    return result < 0 ? flowd_error_wrap(err, result, "registry %s", path) : 0;
}

/* Loads the file, whose bytes stay with the caller. */
static int registry_file_load(struct flowd_registry *registry, const char *path,
                              struct content *content, struct flowd_messages *skipped,
                              struct flowd_error *err)
{
    struct flowd_messages unseen = {0};
    int result = read_content(path, content, err);

    if (result < 0)
        return result;
    result = flowd_registry_read(registry, content->data, content->size,
                                 skipped != NULL ? skipped : &unseen, err);
    flowd_messages_fini(&unseen);
    return result < 0 ? flowd_error_wrap(err, result, "registry %s", path) : 0;
}

int flowd_registry_load(struct flowd_registry *registry, const char *path,
                        struct flowd_messages *skipped, struct flowd_error *err)
{
    struct content content = {0};
    int result = 0;

    if (path[0] == '\0')
        flowd_registry_clear(registry);
    else
        result = registry_file_load(registry, path, &content, skipped, err);
    free(content.data);
    return result;
}

/* Returns 0 or -errno. */
static int write_content(int fd, const struct content *content)
{
    size_t done = 0;

    /* Where there is no room for all of it, it is the next write that says why. */
    while (done < content->size) {
        ssize_t count = write(fd, content->data + done, content->size - done);

        if (count <= 0)
            return count < 0 ? -errno : -EIO;
        done += (size_t)count;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int write_file(const char *path, const struct content *content)
{
    int fd, result;

    /* Another start may have ended while it wrote. */
    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    result = write_content(fd, content);
    close(fd);
    return result;
}

static void keep_copy(const char *state_dir, const struct content *content)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int result;

    if (state_dir[0] == '\0')
        return;
    snprintf(path, sizeof(path), "%s/" COPY_NAME, state_dir);
    snprintf(fresh, sizeof(fresh), "%s/" COPY_NAME ".new", state_dir);
    result = write_file(fresh, content);
    if (result == 0 && rename(fresh, path) < 0)
        result = -errno;
    if (result < 0) {
        struct flowd_error err;

        (void)unlink(fresh);
        flowd_fail_errno(&err, -result, "the registry can't be copied to %s", path);
        flowd_warning("registry", "%s", err.message);
    }
}

static void log_skipped(const struct flowd_messages *skipped)
{
    for (size_t i = 0; i < skipped->count && i < SKIPPED_LOGGED; i++)
        flowd_warning("registry", "%s", skipped->lines[i]);
    if (skipped->count > SKIPPED_LOGGED)
        flowd_warning("registry", "%zu more entries are not as they should be",
                      skipped->count - SKIPPED_LOGGED);
}

static void take_copy(struct flowd_registry *registry, const char *state_dir, const char *why)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/" COPY_NAME, state_dir);
    if (state_dir[0] != '\0' && flowd_registry_load(registry, path, NULL, NULL) == 0)
        flowd_err("registry", "%s; %zu experiments have their names from the last good copy, %s",
                  why, flowd_registry_count(registry), path);
    else
        flowd_err("registry", "%s; flows are known by number only", why);
}

void flowd_registry_follow(struct flowd_registry *registry, const char *path, const char *state_dir)
{
    struct flowd_messages skipped = {0};
    struct content content = {0};
    struct flowd_error err;

    if (path[0] == '\0') {
        flowd_registry_clear(registry);
    } else if (registry_file_load(registry, path, &content, &skipped, &err) == 0) {
        flowd_info("registry", "%zu experiments have names, from %s",
                   flowd_registry_count(registry), path);
        log_skipped(&skipped);
        keep_copy(state_dir, &content);
    } else if (flowd_registry_count(registry) > 0) {
        flowd_err("registry", "%s; the old names stay", err.message);
    } else {
        take_copy(registry, state_dir, err.message);
    }
    flowd_messages_fini(&skipped);
    free(content.data);
}
