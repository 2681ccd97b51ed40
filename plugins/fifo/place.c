/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system's side of the fifo. Others may be able to write into the directories on the way,
 * so what is at a path is looked at through a descriptor, and what is opened must be the same.
 */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/group.h"
#include "daemon/base/log.h"
#include "lock.h"

#define PIPE_SIZE (1 << 20)
#define LINKS_MAX 8
#define NGROUPS_LISTED 256
#define DIRECTORY_MODE 0755
/* How often it may turn out that somebody has put something else there meanwhile. */
#define TRIES 4
#define MADE 1

/* What is at the end of a path. */
struct found {
    char path[PATH_MAX]; /* without the links that were followed */
    struct stat status;
    bool link;
};

static bool is_trusted(const struct stat *status)
{
    return status->st_uid == 0 || status->st_uid == geteuid();
}

static bool is_same(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* The length of the directory's part of path, with its last slash; 0: there is none. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

/* Puts the target of a link, which stands at path, in the place of path. */
static int follow(char path[static PATH_MAX], const char *target)
{
    char whole[PATH_MAX];
    int length = target[0] == '/' ? 0 : (int)directory_length(path);

    length = snprintf(whole, sizeof(whole), "%.*s%s", length, path, target);
    if (length < 0 || length >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, whole, (size_t)length + 1);
    return 0;
}

/* Looks at found->path. Returns 1 if it was a link, whose target stands there instead; -errno. */
static int look(struct found *found, struct flowd_error *err)
{
    int fd = open(found->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char target[PATH_MAX];
    ssize_t length = 0;
    int result;

    if (fd < 0 && errno == ENOENT && !found->link)
        return -ENOENT;
    if (fd < 0 && errno == ENOENT)
        return flowd_fail(
            err, EEXIST,
            "a symbolic link leads to the fifo %s, which is not there; nothing is made "
            "behind a link",
            found->path);
    if (fd < 0)
        return flowd_fail_errno(err, errno, "look at %s", found->path);
    result = fstat(fd, &found->status) < 0 ? -errno : 0;
    if (result == 0 && S_ISLNK(found->status.st_mode)) {
        length = readlinkat(fd, "", target, sizeof(target) - 1);
        result = length < 0 ? -errno : 1;
    }
    close(fd);
    if (result < 0)
        return flowd_fail_errno(err, -result, "look at %s", found->path);
    if (result == 0)
        return 0;
    if (!is_trusted(&found->status))
        return flowd_fail(
            err, EEXIST,
            "%s is a symbolic link of user %u, not of root or flowd's own user; it is "
            "not followed",
            found->path, (unsigned)found->status.st_uid);
    target[length] = '\0';
    result = follow(found->path, target);
    return result < 0 ? flowd_fail_errno(err, -result, "follow the symbolic link %s", found->path)
                      : 1;
}

/* Finds what is at the end of path. -ENOENT without a message: nothing is. */
static int place_find(const char *path, struct found *found, struct flowd_error *err)
{
    int result = 1;

    *found = (struct found){.link = false};
    if (strlen(path) >= sizeof(found->path))
        return flowd_fail_errno(err, ENAMETOOLONG, "%.64s...", path);
    memcpy(found->path, path, strlen(path));
    for (int links = 0; links <= LINKS_MAX && result == 1; links++) {
        result = look(found, err);
        found->link |= result == 1;
    }
    if (result < 0)
        return result;
    if (result == 1)
        return flowd_fail_errno(err, ELOOP, "follow the symbolic link %s", path);
    if (!S_ISFIFO(found->status.st_mode))
        return flowd_fail(err, EEXIST, "%s%s%s exists and is not a fifo; it is left alone",
                          found->link ? path : "", found->link ? ": " : "", found->path);
    if (found->link && !is_trusted(&found->status))
        return flowd_fail(err, EEXIST,
                          "%s leads to %s, which belongs to user %u, not to root or flowd's own "
                          "user; it is not read",
                          path, found->path, (unsigned)found->status.st_uid);
    return 0;
}

static int find_group(const char *name, gid_t *gid, struct flowd_error *err)
{
    return flowd_group_find(name, gid) == 0
               ? 0
               : flowd_fail(err, EINVAL, "group: \"%s\" is not known here", name);
}

/* The group that a file gets that is made beside path. */
static gid_t own_group(const char *path)
{
    char directory[PATH_MAX];
    struct stat status;

    snprintf(directory, sizeof(directory), "%.*s.", (int)directory_length(path), path);
    return stat(directory, &status) == 0 && (status.st_mode & S_ISGID) != 0 ? status.st_gid
                                                                            : getegid();
}

/* Returns 1 if anything was to be changed, 0, or -errno. */
static int set_access(int fd, const char *path, const struct fifo_access *access,
                      struct flowd_error *err)
{
    const mode_t mode = (mode_t)access->mode;
    gid_t gid = own_group(path);
    struct stat status;

    if (access->group[0] != '\0' && find_group(access->group, &gid, err) < 0)
        return -EINVAL;
    if (fstat(fd, &status) < 0)
        return flowd_fail_errno(err, errno, "look at fifo %s", path);
    if (status.st_gid == gid && (status.st_mode & 07777) == mode)
        return 0;
    if (status.st_gid != gid && fchown(fd, (uid_t)-1, gid) < 0)
        return errno == EPERM
                   ? flowd_fail(err, EPERM,
                                "group: fifo %s can't be given to group %s by who is neither root "
                                "nor a member of it: start flowd as root, or add its user to the "
                                "group; a changed group needs a restart",
                                path, access->group)
                   : flowd_fail_errno(err, errno, "give fifo %s to group %s", path, access->group);
    if (fchmod(fd, mode) < 0)
        return flowd_fail_errno(err, errno, "set the mode of fifo %s", path);
    return 1;
}

static void warn_of_foreign_access(int fd, const char *path, const struct fifo_access *access)
{
    const unsigned mode = (unsigned)access->mode & 0777u;
    struct stat status;
    gid_t gid = 0;

    if (fstat(fd, &status) < 0)
        return;
    if ((status.st_mode & 0777) != mode)
        flowd_warning("namedPipe",
                      "fifo %s was not made by this flowd: its mode %04o stays, not %04o; chmod "
                      "it, or remove it while flowd is stopped; of a fifo that systemd made, set "
                      "SocketMode= in flowd.socket",
                      path, (unsigned)status.st_mode & 0777u, mode);
    if (access->group[0] != '\0' && find_group(access->group, &gid, NULL) == 0 &&
        gid != status.st_gid)
        flowd_warning("namedPipe",
                      "fifo %s was not made by this flowd: its group %u stays, not %s; chgrp it, "
                      "or remove it while flowd is stopped; of a fifo that systemd made, set "
                      "SocketGroup= in flowd.socket",
                      path, (unsigned)status.st_gid, access->group);
}

int fifo_place_change(const struct fifo_place *place, const char *path,
                      const struct fifo_access *access, struct flowd_error *err)
{
    int result;

    if (!place->made) {
        warn_of_foreign_access(place->fd, path, access);
        return 0;
    }
    result = set_access(place->fd, path, access, err);
    if (result == 1)
        flowd_info("namedPipe", "fifo %s has mode %04o%s%s", path, (unsigned)access->mode & 0777u,
                   access->group[0] != '\0' ? " and group " : "", access->group);
    return result < 0 ? result : 0;
}

/* Makes the directory that path is to stand in, for everybody to pass. */
static int make_directory(const char *path, struct flowd_error *err)
{
    char directory[PATH_MAX];
    size_t length = directory_length(path);
    struct stat status;
    int fd;

    while (length > 1 && path[length - 1] == '/')
        length--;
    snprintf(directory, sizeof(directory), "%.*s", (int)length, path);
    if (mkdir(directory, DIRECTORY_MODE) < 0)
        return flowd_fail_errno(err, errno, "make directory %s for fifo %s", directory, path);
    /* The umask has a say in mkdir(2). */
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid())
        (void)fchmod(fd, DIRECTORY_MODE);
    if (fd >= 0)
        close(fd);
    flowd_info("namedPipe", "made directory %s", directory);
    return 0;
}

/* Makes the fifo for nobody else yet. Returns MADE, 0 if somebody was faster, or -errno. */
static int make(const char *path, struct flowd_error *err)
{
    int result = mkfifo(path, 0600) < 0 ? -errno : 0;

    if (result == -ENOENT && directory_length(path) > 1) {
        result = make_directory(path, err);
        if (result < 0)
            return result;
        result = mkfifo(path, 0600) < 0 ? -errno : 0;
    }
    if (result == -EEXIST)
        return 0;
    return result == 0 ? MADE : flowd_fail_errno(err, -result, "make fifo %s", path);
}

/* Opens what was found. -EAGAIN: something else is there meanwhile. */
static int open_found(const struct found *found, int *out, struct flowd_error *err)
{
    int fd = open(found->path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;

    if (fd < 0)
        return flowd_fail_errno(err, errno, "open fifo %s", found->path);
    if (fstat(fd, &status) < 0 || !is_same(&status, &found->status)) {
        close(fd);
        return flowd_fail(err, EAGAIN, "%s is replaced again and again", found->path);
    }
    (void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
    *out = fd;
    return 0;
}

static int give_access(struct fifo_place *place, const struct found *found, bool fresh,
                       const struct fifo_access *access, struct flowd_error *err)
{
    int result;

    place->made =
        found->status.st_uid == geteuid() && (fresh || fifo_lock_remembers(place->lock, place->fd));
    /* Where others write into the directory, what was made may have been replaced. */
    if (!fresh || !place->made)
        return fifo_place_change(place, found->path, access, err);
    result = set_access(place->fd, found->path, access, err);
    if (result >= 0)
        fifo_lock_remember(place->lock, place->fd);
    return result < 0 ? result : 0;
}

/* One try. -EAGAIN: what was there is not there any more. */
static int open_once(const char *path, const struct fifo_access *access, struct fifo_place *place,
                     struct flowd_error *err)
{
    struct found found;
    bool fresh = false;
    int result = place_find(path, &found, err);

    if (result == -ENOENT) {
        result = make(path, err);
        if (result < 0)
            return result;
        fresh = result == MADE;
        result = place_find(path, &found, err);
        if (result == -ENOENT)
            return flowd_fail(err, EAGAIN, "%s is removed again and again", path);
    }
    if (result < 0)
        return result;
    *place = (struct fifo_place){.fd = -1, .lock = -1};
    result = open_found(&found, &place->fd, err);
    if (result == 0)
        result = fifo_lock_take(found.path, &place->lock, err);
    if (result == 0)
        result = give_access(place, &found, fresh, access, err);
    if (result < 0 && fresh)
        unlink(path);
    if (result < 0)
        fifo_place_close(place);
    return result;
}

int fifo_place_open(const char *path, const struct fifo_access *access, struct fifo_place *place,
                    struct flowd_error *err)
{
    int result = -EAGAIN;
    gid_t gid;

    if (access->group[0] != '\0' && find_group(access->group, &gid, err) < 0)
        return -EINVAL;
    for (int i = 0; i < TRIES && result == -EAGAIN; i++)
        result = open_once(path, access, place, err);
    return result;
}

int fifo_place_lock(struct fifo_place *place, const char *path, struct flowd_error *err)
{
    struct found found;

    /* Nothing is beside a fifo whose path is not known. */
    if (path[0] == '\0')
        return 0;
    if (place_find(path, &found, err) == 0)
        path = found.path;
    return fifo_lock_take(path, &place->lock, err);
}

int fifo_place_adopt(int fd, const char *path, const struct fifo_access *access,
                     struct fifo_place *place, struct flowd_error *err)
{
    int result;

    *place = (struct fifo_place){.fd = fd, .lock = -1};
    (void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
    result = fifo_place_lock(place, path, err);
    if (result < 0)
        fifo_place_close(place);
    else if (path[0] != '\0')
        warn_of_foreign_access(fd, path, access);
    return result;
}

void fifo_place_unlock(struct fifo_place *place)
{
    if (place->lock >= 0)
        close(place->lock);
    place->lock = -1;
}

void fifo_place_close(struct fifo_place *place)
{
    if (place->fd >= 0)
        close(place->fd);
    place->fd = -1;
    fifo_place_unlock(place);
}

bool fifo_place_is_there(const struct fifo_place *place, const char *path)
{
    struct stat ours, there;

    return fstat(place->fd, &ours) == 0 && stat(path, &there) == 0 && is_same(&ours, &there);
}

void fifo_place_join_group(const char *name)
{
    gid_t groups[NGROUPS_LISTED + 1], gid = (gid_t)-1;
    int count;

    if (name[0] == '\0' || find_group(name, &gid, NULL) < 0)
        return;
    count = getgroups(NGROUPS_LISTED, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] == gid)
            return;
    if (count >= 0) {
        groups[count] = gid;
        if (setgroups((size_t)count + 1, groups) == 0)
            return;
    }
    flowd_warning("namedPipe", "can't join group %s: %s; a fifo that somebody removes stays away",
                  name, strerror(errno));
}
