/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole files: a registry, the copy of it that is kept, and what is known of that copy. None of
 * them is trusted to be what it was when flowd wrote it.
 */
#include "daemon/flow/registry_content.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void flowd_content_fini(struct flowd_content *content)
{
    free(content->data);
    *content = (struct flowd_content){0};
}

static int read_open(int fd, size_t size_max, struct flowd_content *content,
                     struct flowd_error *err)
{
    struct stat status;
    ssize_t count = 0;

    if (fstat(fd, &status) < 0)
        return flowd_fail_errno(err, errno, "read it");
    if (!S_ISREG(status.st_mode) || (size_t)status.st_size > size_max)
        return flowd_fail(err, EINVAL, "is no file, or one of more than %zu MiB", size_max >> 20);
    content->data = malloc((size_t)status.st_size + 1);
    if (content->data == NULL)
        return flowd_fail_errno(err, ENOMEM, "read it");
    content->modified_us = (int64_t)status.st_mtim.tv_sec * 1000000 + status.st_mtim.tv_nsec / 1000;
    while (content->size < (size_t)status.st_size &&
           (count = read(fd, content->data + content->size,
                         (size_t)status.st_size - content->size)) > 0)
        content->size += (size_t)count;
    return count < 0 ? flowd_fail_errno(err, errno, "read it") : 0;
}

int flowd_content_read(const char *path, size_t size_max, struct flowd_content *content,
                       struct flowd_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int result;

    *content = (struct flowd_content){0};
    if (fd < 0)
        return flowd_fail_errno(err, errno, "registry %s", path);
    result = read_open(fd, size_max, content, err);
    close(fd);
    return result < 0 ? flowd_error_wrap(err, result, "registry %s", path) : 0;
}

/* Returns 0 or -errno. */
static int write_open(int fd, const char *data, size_t size, bool durable)
{
    size_t done = 0;

    /* Where there is no room for all of it, it is the next write that says why. */
    while (done < size) {
        ssize_t count = write(fd, data + done, size - done);

        if (count <= 0)
            return count < 0 ? -errno : -EIO;
        done += (size_t)count;
    }
    return durable && fsync(fd) < 0 ? -errno : 0;
}

int flowd_content_write(const char *path, const char *data, size_t size, bool durable)
{
    char fresh[PATH_MAX];
    int fd, result;

    snprintf(fresh, sizeof(fresh), "%s.new", path);
    /* Another start may have ended while it wrote. */
    (void)unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    result = write_open(fd, data, size, durable);
    close(fd);
    if (result == 0 && rename(fresh, path) < 0)
        result = -errno;
    if (result < 0)
        (void)unlink(fresh);
    return result;
}
