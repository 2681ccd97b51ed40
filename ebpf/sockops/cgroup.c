/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the cgroup2 file system: on hosts with both versions of cgroups it is not where the
 * configuration's default says.
 */
#include "ebpf/sockops/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MOUNTINFO "/proc/self/mountinfo"
#define MOUNTINFO_MAX (4u << 20)
/* Fields of a line before the optional ones, from 0: the root shown, the mount point. */
#define ROOT_FIELD 3
#define POINT_FIELD 4
#define OPTIONAL_FIELDS 6

struct span {
    const char *text;
    size_t length;
};

/* Takes the next field of the line off it. False: there is none. */
static bool next_field(struct span *line, struct span *field)
{
    size_t blanks = 0;

    while (blanks < line->length && line->text[blanks] == ' ')
        blanks++;
    field->text = line->text + blanks;
    field->length = 0;
    while (blanks + field->length < line->length && field->text[field->length] != ' ')
        field->length++;
    line->text = field->text + field->length;
    line->length -= blanks + field->length;
    return field->length > 0;
}

static bool is(struct span field, const char *text)
{
    return field.length == strlen(text) && memcmp(field.text, text, field.length) == 0;
}

/* Whether the line is a mount of cgroup2, and what it shows where. */
static bool read_line(struct span line, struct span *root, struct span *point)
{
    struct span field;

    for (unsigned number = 0; next_field(&line, &field); number++) {
        if (number == ROOT_FIELD)
            *root = field;
        else if (number == POINT_FIELD)
            *point = field;
        else if (number >= OPTIONAL_FIELDS && is(field, "-"))
            return next_field(&line, &field) && is(field, "cgroup2");
    }
    return false;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* The kernel writes blanks, line ends and backslashes as \ooo. */
static int unescape(struct span from, char *path, size_t size)
{
    size_t length = 0;

    if (from.length >= size)
        return -ENAMETOOLONG;
    for (size_t i = 0; i < from.length; i++) {
        const char *at = from.text + i;

        if (from.length - i > 3 && at[0] == '\\' && is_octal(at[1]) && is_octal(at[2]) &&
            is_octal(at[3])) {
            path[length++] = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            i += 3;
        } else {
            path[length++] = *at;
        }
    }
    path[length] = '\0';
    return 0;
}

int flowd_cgroup_find(const char *mountinfo, char *path, size_t size)
{
    struct span best_root = {0};
    struct span best_point = {0};

    while (*mountinfo != '\0') {
        struct span line = {mountinfo, strcspn(mountinfo, "\n")};
        struct span root = {0};
        struct span point = {0};

        mountinfo += line.length + (mountinfo[line.length] == '\n');
        if (read_line(line, &root, &point) &&
            (best_point.text == NULL || root.length < best_root.length)) {
            best_root = root;
            best_point = point;
        }
    }
    return best_point.text != NULL ? unescape(best_point, path, size) : -ENOENT;
}

/* Returns owned text, or NULL. */
static char *read_mountinfo(void)
{
    int fd = open(MOUNTINFO, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? malloc(MOUNTINFO_MAX) : NULL;
    size_t length = 0;

    while (text != NULL && length < MOUNTINFO_MAX - 1) {
        ssize_t count = read(fd, text + length, MOUNTINFO_MAX - 1 - length);

        if (count <= 0)
            break;
        length += (size_t)count;
    }
    if (text != NULL)
        text[length] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

/* Returns a file descriptor; -ENOTSUP: it is no directory of cgroup2. */
static int open_cgroup(const char *path)
{
    struct statfs about;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (fstatfs(fd, &about) == 0 && about.f_type == CGROUP2_SUPER_MAGIC)
        return fd;
    close(fd);
    return -ENOTSUP;
}

static int find_and_open(char *path, size_t size, struct flowd_error *err)
{
    char *mountinfo = read_mountinfo();
    int result = mountinfo != NULL ? flowd_cgroup_find(mountinfo, path, size) : -EIO;
    int fd;

    free(mountinfo);
    if (result < 0)
        return flowd_fail_errno(
            err, ENOENT,
            "cgroupPath: no cgroup2 file system is mounted: mount -t cgroup2 none "
            "DIRECTORY (a container: start it with its own cgroup namespace), and name "
            "the directory if flowd does not find it");
    fd = open_cgroup(path);
    return fd < 0 ? flowd_fail_errno(err, -fd, "cgroup2 at %s", path) : fd;
}

int flowd_cgroup_open(const char *configured, char *path, size_t size, struct flowd_error *err)
{
    bool is_default = configured[0] == '\0' || strcmp(configured, FLOWD_CGROUP_DEFAULT) == 0;
    int fd = open_cgroup(configured);

    if (fd >= 0) {
        if ((size_t)snprintf(path, size, "%s", configured) < size)
            return fd;
        close(fd);
        return flowd_fail_errno(err, ENAMETOOLONG, "cgroupPath: %s", configured);
    }
    if (is_default)
        return find_and_open(path, size, err);
    if (fd == -ENOTSUP)
        return flowd_fail_errno(err, EINVAL,
                                "cgroupPath: %s is no directory of a cgroup2 file system; leave "
                                "the option out, so that flowd looks for it",
                                configured);
    return flowd_fail_errno(err, -fd, "cgroupPath: %s", configured);
}
