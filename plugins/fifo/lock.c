/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock file: one regular file of flowd's own user, mode 0600, that stays where it is. Its
 * content is the identity of the fifo that flowd made: a number that another fifo gets later has
 * another time of birth.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define TRIES 8
#define IDENTITY_SIZE 128

static int without_lock(const char *path, const char *why)
{
    flowd_warning("namedPipe", "%s: %s; nothing keeps a second flowd from reading the fifo too",
                  path, why);
    return 0;
}

/* A file that somebody else may open, or could have made, locks nothing. */
static const char *distrusted(int fd, struct stat *status)
{
    if (fstat(fd, status) < 0 || !S_ISREG(status->st_mode))
        return "is not a file";
    if (status->st_uid != geteuid())
        return "belongs to another user: remove it";
    /* flowd would write over somebody's file, at whatever name that has elsewhere. */
    if (status->st_nlink != 1 || status->st_size >= IDENTITY_SIZE)
        return "is no lock file of flowd's, and is left alone";
    if ((status->st_mode & 077) != 0 && fchmod(fd, 0600) < 0)
        return "is open to others: remove it";
    return NULL;
}

int fifo_lock_take(const char *fifo_path, int *lock, struct flowd_error *err)
{
    char path[PATH_MAX + sizeof(".lock")];
    struct stat ours, there;

    *lock = -1;
    snprintf(path, sizeof(path), "%s.lock", fifo_path);
    for (int i = 0; i < TRIES; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        const char *why;

        if (fd < 0)
            return without_lock(path, strerror(errno));
        why = distrusted(fd, &ours);
        if (why != NULL) {
            close(fd);
            return without_lock(path, why);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            close(fd);
            return flowd_fail(err, EBUSY, "another flowd is reading %s", fifo_path);
        }
        /* Somebody may have removed it before it was locked. */
        if (lstat(path, &there) == 0 && there.st_dev == ours.st_dev &&
            there.st_ino == ours.st_ino) {
            *lock = fd;
            return 0;
        }
        close(fd);
    }
    return without_lock(path, "is removed again and again");
}

/* Returns the length of the text, 0: unknown. */
static size_t identity_of(int fifo, char text[static IDENTITY_SIZE])
{
    struct statx status;
    int length;

    if (statx(fifo, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) < 0)
        return 0;
    if ((status.stx_mask & STATX_BTIME) == 0)
        status.stx_btime = (struct statx_timestamp){0};
    length = snprintf(text, IDENTITY_SIZE, "%u:%u %llu %lld.%09u\n", status.stx_dev_major,
                      status.stx_dev_minor, (unsigned long long)status.stx_ino,
                      (long long)status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
    return length > 0 && length < IDENTITY_SIZE ? (size_t)length : 0;
}

bool fifo_lock_remembers(int lock, int fifo)
{
    char wanted[IDENTITY_SIZE], found[IDENTITY_SIZE];
    size_t length = identity_of(fifo, wanted);

    return lock >= 0 && length > 0 && pread(lock, found, sizeof(found), 0) == (ssize_t)length &&
           memcmp(wanted, found, length) == 0;
}

void fifo_lock_remember(int lock, int fifo)
{
    char text[IDENTITY_SIZE];
    size_t length = identity_of(fifo, text);

    /* What is not written is a fifo that flowd did not make, which is said where it matters. */
    if (lock < 0 || ftruncate(lock, 0) < 0 || pwrite(lock, text, length, 0) != (ssize_t)length)
        flowd_debug("namedPipe", "the lock file does not remember the fifo");
}
