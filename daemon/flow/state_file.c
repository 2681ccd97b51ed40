/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file on disk: how it is found, locked and mapped, what becomes of one that is not ours,
 * and how it grows.
 *
 * How many records there are follows from the file's size; free ones are zero or without a check
 * word, so nothing else needs to be true for the records to be read.
 */
#include "daemon/flow/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/flow/flow_record.h"
#include "daemon/flow/flow_table.h"
#include "daemon/flow/state_file_header.h"
#include "daemon/flow/state_file_upgrade.h"

#define UNUSABLE_NAME "flows.state.unusable"
#define UPGRADE_NAME "flows.state.new"
#define HEADER_SIZE FLOWD_STATE_HEADER_SIZE
#define RECORD_SIZE sizeof(struct flowd_flow)
#define BLOCK_RECORDS FLOWD_STATE_BLOCK_RECORDS
#define MAPPING_SIZE (HEADER_SIZE + (size_t)FLOWD_FLOWS_LIMIT * RECORD_SIZE)

static off_t size_for(size_t records)
{
    return (off_t)(HEADER_SIZE + records * RECORD_SIZE);
}

static int allocate(struct flowd_state_file *file, size_t capacity)
{
    int result;

    do
        result = file->fd >= 0 ? posix_fallocate(file->fd, 0, size_for(capacity)) : 0;
    while (result == EINTR);
    if (result != 0)
        return -result;
    file->capacity = capacity;
    return 0;
}

int flowd_state_file_grow(struct flowd_state_file *file, size_t count)
{
    size_t blocks = (count + BLOCK_RECORDS - 1) / BLOCK_RECORDS;

    return count > file->capacity ? allocate(file, blocks * BLOCK_RECORDS) : 0;
}

size_t flowd_state_file_skip_hole(const struct flowd_state_file *file, size_t number)
{
    off_t data;

    /* Once in a block is often enough. */
    if (file->fd < 0 || number % BLOCK_RECORDS != 0 || number >= file->capacity)
        return number;
    data = lseek(file->fd, size_for(number), SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? file->capacity : number;
    return data <= size_for(number) ? number : (size_t)(data - HEADER_SIZE) / RECORD_SIZE;
}

int flowd_state_file_map(struct flowd_state_file *file, struct flowd_error *err)
{
    int flags = file->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;

    file->mapping =
        mmap(NULL, MAPPING_SIZE, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, file->fd, 0);
    if (file->mapping == MAP_FAILED) {
        file->mapping = NULL;
        return flowd_fail_errno(err, errno, "map the state file");
    }
    file->records = (struct flowd_flow *)((char *)file->mapping + HEADER_SIZE);
    return 0;
}

/* Empties the file and writes its header. */
static int state_file_begin(struct flowd_state_file *file, const struct flowd_boot *boot,
                            struct flowd_error *err)
{
    int result;

    if (file->fd >= 0 && ftruncate(file->fd, 0) < 0)
        return flowd_fail_errno(err, errno, "empty the state file");
    result = allocate(file, 0);
    if (result < 0)
        return flowd_fail_errno(err, -result, "make room for the state file");
    file->seed = flowd_flow_record_seed(boot->id);
    file->doubt = NULL;
    flowd_state_header_write(file->mapping, boot);
    return 0;
}

static int make_directory(const char *directory, struct flowd_error *err)
{
    char path[4096];
    size_t length = strlen(directory);

    if (length >= sizeof(path))
        return flowd_fail_errno(err, ENAMETOOLONG, "stateDir %.64s...", directory);
    for (size_t i = 1; i <= length; i++) {
        if (directory[i] != '/' && directory[i] != '\0')
            continue;
        memcpy(path, directory, i);
        path[i] = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return flowd_fail_errno(err, errno, "make stateDir %s", path);
    }
    return 0;
}

static bool is_same_file(const struct stat *left, const struct stat *right)
{
    return left->st_dev == right->st_dev && left->st_ino == right->st_ino;
}

/* Locks the file that has just been opened. */
static int lock(const char *directory, int directory_fd, int fd, struct flowd_error *err)
{
    struct stat opened, named;

    if (fstat(fd, &opened) < 0)
        return flowd_fail_errno(err, errno, "look at %s/%s", directory, FLOWD_STATE_FILE_NAME);
    if (!S_ISREG(opened.st_mode))
        return flowd_fail(err, EINVAL, "%s/%s is not a file", directory, FLOWD_STATE_FILE_NAME);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? flowd_fail(err, EBUSY, "another flowd is using it")
                   : flowd_fail_errno(err, errno, "lock %s/%s", directory, FLOWD_STATE_FILE_NAME);
    /* Another flowd may have put a new file in its place between the opening and the lock. */
    if (fstatat(directory_fd, FLOWD_STATE_FILE_NAME, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        !is_same_file(&opened, &named))
        return flowd_fail(err, EBUSY, "another flowd is using it");
    return 0;
}

/*
 * Opens and locks the file; *made says that it was not there. A file at that name that is no
 * regular file is an error.
 */
static int open_locked(const char *directory, int directory_fd, int *out, bool *made,
                       struct flowd_error *err)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = openat(directory_fd, FLOWD_STATE_FILE_NAME, flags);
    int result;

    *made = fd < 0 && errno == ENOENT;
    if (*made)
        fd = openat(directory_fd, FLOWD_STATE_FILE_NAME, flags | O_CREAT, 0600);

    if (fd < 0)
        return flowd_fail_errno(err, errno, "open %s/%s", directory, FLOWD_STATE_FILE_NAME);
    result = lock(directory, directory_fd, fd, err);
    if (result < 0) {
        close(fd);
        return result;
    }
    *out = fd;
    return 0;
}

/* Says whether somebody else may write to the file, or may put another one in its place. */
static void look_for_others(const char *directory, int directory_fd, int fd,
                            struct flowd_flow_table_report *report)
{
    struct stat file, place;
    const char *what = NULL;

    if (fstat(fd, &file) < 0 || fstat(directory_fd, &place) < 0)
        return;
    if (file.st_uid != 0 && file.st_uid != geteuid())
        what = "the file belongs to another user";
    else if (file.st_mode & S_IWOTH)
        what = "every user may write to the file";
    else if (place.st_uid != 0 && place.st_uid != geteuid())
        what = "the directory belongs to another user";
    else if ((place.st_mode & S_IWOTH) && !(place.st_mode & S_ISVTX))
        what = "every user may write to the directory";
    if (what != NULL)
        snprintf(report->unsafe, sizeof(report->unsafe),
                 "%s/%s: %s, and so decides which packets are marked", directory,
                 FLOWD_STATE_FILE_NAME, what);
}

/* Moves an unusable file away, keeps it for a human to look at, and opens an empty one. */
static int replace(struct flowd_state_file *file, int directory_fd, const struct flowd_boot *boot,
                   struct flowd_error *err)
{
    bool made;
    int fresh, result;

    if (renameat(directory_fd, FLOWD_STATE_FILE_NAME, directory_fd, UNUSABLE_NAME) < 0)
        return flowd_fail_errno(err, errno, "rename %s/%s", file->directory, FLOWD_STATE_FILE_NAME);
    result = open_locked(file->directory, directory_fd, &fresh, &made, err);
    if (result < 0)
        return result;
    munmap(file->mapping, MAPPING_SIZE);
    file->mapping = NULL;
    close(file->fd);
    file->fd = fresh;
    result = flowd_state_file_map(file, err);
    return result < 0 ? result : state_file_begin(file, boot, err);
}

static int set_aside(struct flowd_state_file *file, int directory_fd, const struct flowd_boot *boot,
                     const char *why, struct flowd_flow_table_report *report,
                     struct flowd_error *err)
{
    snprintf(report->set_aside, sizeof(report->set_aside), "%s/%s: %s; kept as %s", file->directory,
             FLOWD_STATE_FILE_NAME, why, UNUSABLE_NAME);
    return replace(file, directory_fd, boot, err);
}

/* Puts a file of this version in the place of one of the version before, with its flows. */
static int upgrade(struct flowd_state_file *file, int directory_fd, const struct flowd_boot *boot,
                   struct flowd_flow_table_report *report, struct flowd_error *err)
{
    struct flowd_state_file fresh;
    int result = flowd_state_file_upgrade(file, directory_fd, UPGRADE_NAME, boot, &fresh, err);

    if (result < 0)
        return result;
    if (renameat(directory_fd, UPGRADE_NAME, directory_fd, FLOWD_STATE_FILE_NAME) < 0) {
        result = flowd_fail_errno(err, errno, "rename %s/%s", file->directory, UPGRADE_NAME);
        flowd_state_file_close(&fresh);
        return result;
    }
    munmap(file->mapping, MAPPING_SIZE);
    close(file->fd);
    file->fd = fresh.fd;
    file->mapping = fresh.mapping;
    file->records = fresh.records;
    file->capacity = fresh.capacity;
    file->seed = fresh.seed;
    snprintf(report->note, sizeof(report->note),
             "%s/%s was written by an earlier version of flowd and has its present form",
             file->directory, FLOWD_STATE_FILE_NAME);
    return 0;
}

/* An error is no answer: the file stays for a flowd that can tell, and is locked meanwhile. */
static int keep_and_go_on(struct flowd_state_file *file, const struct flowd_boot *boot,
                          struct flowd_flow_table_report *report, struct flowd_error *err)
{
    int result;

    snprintf(report->set_aside, sizeof(report->set_aside),
             "%s/%s: whether the host has rebooted since it was written can't be told, "
             "/proc/sys/kernel/random/boot_id: %s; it is left as it is, and this flowd keeps its "
             "flows in memory",
             file->directory, FLOWD_STATE_FILE_NAME, strerror(-boot->error));
    file->kept_fd = file->fd;
    file->fd = -1;
    munmap(file->mapping, MAPPING_SIZE);
    file->capacity = 0;
    result = flowd_state_file_map(file, err);
    return result < 0 ? result : state_file_begin(file, boot, err);
}

/* Records that are whole in a file of this size, and that can be mapped. */
static size_t records_in(off_t size)
{
    size_t records = (size_t)(size - HEADER_SIZE) / RECORD_SIZE;

    return records < FLOWD_FLOWS_LIMIT ? records : FLOWD_FLOWS_LIMIT;
}

/* Decides what an existing file is worth. */
static int take_over(struct flowd_state_file *file, int directory_fd, bool made,
                     struct flowd_flow_table_report *report, struct flowd_error *err)
{
    const char *why = NULL;
    struct flowd_boot boot;
    struct stat status;

    flowd_boot_read(&boot);
    if (fstat(file->fd, &status) < 0)
        return flowd_fail_errno(err, errno, "look at %s/%s", file->directory,
                                FLOWD_STATE_FILE_NAME);
    if (status.st_size == 0) {
        if (!made)
            snprintf(report->set_aside, sizeof(report->set_aside), "state file %s/%s: it is empty",
                     file->directory, FLOWD_STATE_FILE_NAME);
        return state_file_begin(file, &boot, err);
    }
    if (status.st_size < HEADER_SIZE)
        return set_aside(file, directory_fd, &boot, "it is shorter than its header", report, err);
    file->capacity = records_in(status.st_size);
    if ((status.st_size - HEADER_SIZE) % (off_t)RECORD_SIZE != 0)
        report->damaged++; /* it was cut in the last one */
    file->seed = flowd_flow_record_seed(boot.id);
    switch (flowd_state_header_judge(file->mapping, (size_t)status.st_size, &boot, &why)) {
    case FLOWD_STATE_OURS:
        file->seed = flowd_flow_record_seed(flowd_state_header_boot_id(file->mapping));
        break;
    case FLOWD_STATE_FORMER:
        return upgrade(file, directory_fd, &boot, report, err);
    case FLOWD_STATE_REBOOTED:
        snprintf(report->set_aside, sizeof(report->set_aside),
                 "%s/%s: the host has rebooted, its flows are over", file->directory,
                 FLOWD_STATE_FILE_NAME);
        return state_file_begin(file, &boot, err);
    case FLOWD_STATE_DOUBTFUL:
        file->doubt = why;
        break;
    case FLOWD_STATE_UNKNOWN:
        return keep_and_go_on(file, &boot, report, err);
    }
    return 0;
}

static int open_in(struct flowd_state_file *file, int directory_fd,
                   struct flowd_flow_table_report *report, struct flowd_error *err)
{
    bool made = false;
    int result = open_locked(file->directory, directory_fd, &file->fd, &made, err);

    if (result < 0)
        return result;
    look_for_others(file->directory, directory_fd, file->fd, report);
    result = flowd_state_file_map(file, err);
    return result < 0 ? result : take_over(file, directory_fd, made, report, err);
}

static int open_directory(const char *directory, struct flowd_error *err)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 ? fd : flowd_fail_errno(err, errno, "open stateDir %s", directory);
}

int flowd_state_file_open(struct flowd_state_file *file, const char *directory,
                          struct flowd_flow_table_report *report, struct flowd_error *err)
{
    static const struct flowd_boot no_boot;
    int directory_fd, result;

    *file = (struct flowd_state_file){.fd = -1, .kept_fd = -1};
    if (directory[0] == '\0') {
        result = flowd_state_file_map(file, err);
        return result < 0 ? result : state_file_begin(file, &no_boot, err);
    }
    result = make_directory(directory, err);
    if (result < 0)
        return result;
    directory_fd = open_directory(directory, err);
    if (directory_fd < 0)
        return directory_fd;
    file->directory = strdup(directory);
    result = file->directory != NULL ? open_in(file, directory_fd, report, err)
                                     : flowd_fail_errno(err, ENOMEM, "open it");
    close(directory_fd);
    if (result < 0)
        flowd_state_file_close(file);
    return result < 0 ? flowd_error_wrap(err, result, "stateDir %s", directory) : 0;
}

/* The header proved nothing; the records have, or not. */
static int settle_doubt(struct flowd_state_file *file, size_t live,
                        struct flowd_flow_table_report *report, struct flowd_error *err)
{
    struct flowd_boot boot;
    int directory_fd, result;

    flowd_boot_read(&boot);
    if (live > 0) {
        snprintf(report->note, sizeof(report->note),
                 "%s/%s: %s, its records are not; the header was written again", file->directory,
                 FLOWD_STATE_FILE_NAME, file->doubt);
        file->doubt = NULL;
        flowd_state_header_write(file->mapping, &boot);
        return 0;
    }
    directory_fd = open_directory(file->directory, err);
    if (directory_fd < 0)
        return directory_fd;
    result = set_aside(file, directory_fd, &boot, file->doubt, report, err);
    close(directory_fd);
    return result;
}

int flowd_state_file_settle(struct flowd_state_file *file, size_t used, size_t live,
                            struct flowd_flow_table_report *report, struct flowd_error *err)
{
    size_t blocks = (used + BLOCK_RECORDS - 1) / BLOCK_RECORDS;
    size_t capacity = blocks * BLOCK_RECORDS;
    struct stat status;
    int result;

    if (file->fd < 0)
        return 0;
    if (file->doubt != NULL) {
        result = settle_doubt(file, live, report, err);
        if (result < 0 || live == 0)
            return result;
    }
    if (capacity > file->capacity)
        capacity = file->capacity;
    if (fstat(file->fd, &status) < 0)
        return flowd_fail_errno(err, errno, "look at %s/%s", file->directory,
                                FLOWD_STATE_FILE_NAME);
    /* What is cut off is free; a flow that comes finds zeroes there. */
    if (status.st_size > size_for(capacity) && ftruncate(file->fd, size_for(capacity)) < 0)
        return flowd_fail_errno(err, errno, "cut %s/%s", file->directory, FLOWD_STATE_FILE_NAME);
    result = allocate(file, capacity);
    return result < 0 ? flowd_fail_errno(err, -result, "make room for %s/%s", file->directory,
                                         FLOWD_STATE_FILE_NAME)
                      : 0;
}

/* Copies the mapping into a new file and maps that in its place: the address stays. */
static int move_to(struct flowd_state_file *file, int fd, struct flowd_error *err)
{
    size_t size = (size_t)size_for(file->capacity);
    int result = posix_fallocate(fd, 0, (off_t)size);

    if (result != 0)
        return flowd_fail_errno(err, result, "make room for the state file");
    for (size_t done = 0; done < size;) {
        ssize_t count = pwrite(fd, (char *)file->mapping + done, size - done, (off_t)done);

        if (count < 0)
            return flowd_fail_errno(err, errno, "write the state file");
        done += (size_t)count;
    }
    if (mmap(file->mapping, MAPPING_SIZE, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED)
        return flowd_fail_errno(err, errno, "map the state file");
    close(file->fd);
    file->fd = fd;
    return 0;
}

static bool is_in_place(const struct flowd_state_file *file, const char *directory)
{
    struct stat ours, theirs;
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", directory, FLOWD_STATE_FILE_NAME);
    return fstat(file->fd, &ours) == 0 && lstat(path, &theirs) == 0 && is_same_file(&ours, &theirs);
}

/*
 * Opens the new file. A file that somebody put in the place of ours knows nothing of the flows of
 * now, and a restart would believe it. *replaced says that there was one.
 */
static int open_anew(const char *directory, int directory_fd, int *fd, bool *replaced,
                     struct flowd_error *err)
{
    bool made = false;
    int stranger_fd;
    int result = open_locked(directory, directory_fd, fd, &made, err);

    *replaced = result == 0 && !made;
    if (!*replaced)
        return result;
    /* Locked as long as it has our name: no other flowd takes it. */
    stranger_fd = *fd;
    *fd = -1;
    if (renameat(directory_fd, FLOWD_STATE_FILE_NAME, directory_fd, UNUSABLE_NAME) < 0)
        result = flowd_fail_errno(err, errno, "%s/%s is somebody else's; rename it", directory,
                                  FLOWD_STATE_FILE_NAME);
    else
        result = open_locked(directory, directory_fd, fd, &made, err);
    if (result == 0 && !made) {
        result =
            flowd_fail(err, EEXIST, "%s/%s is somebody else's", directory, FLOWD_STATE_FILE_NAME);
        close(*fd);
        *fd = -1;
    }
    close(stranger_fd);
    return result;
}

int flowd_state_file_restore(struct flowd_state_file *file, const char *directory,
                             struct flowd_error *err)
{
    bool replaced = false;
    int directory_fd, fd = -1, result;

    if (file->fd < 0 || is_in_place(file, directory))
        return 0;
    result = make_directory(directory, err);
    if (result < 0)
        return result;
    directory_fd = open_directory(directory, err);
    if (directory_fd < 0)
        return directory_fd;
    result = open_anew(directory, directory_fd, &fd, &replaced, err);
    if (result == 0)
        result = move_to(file, fd, err);
    if (result < 0 && fd >= 0) {
        unlinkat(directory_fd, FLOWD_STATE_FILE_NAME, 0);
        close(fd);
    }
    close(directory_fd);
    if (result < 0)
        return result;
    return replaced ? 2 : 1;
}

int flowd_state_file_in_use(const char *directory, struct flowd_error *err)
{
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = directory_fd >= 0
                 ? openat(directory_fd, FLOWD_STATE_FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                 : -1;
    int result = fd < 0 && errno != ENOENT ? -errno : 0;

    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0)
        result = errno == EWOULDBLOCK ? 1 : -errno;
    if (fd >= 0)
        close(fd);
    if (directory_fd >= 0)
        close(directory_fd);
    return result < 0
               ? flowd_fail_errno(err, -result, "look at %s/%s", directory, FLOWD_STATE_FILE_NAME)
               : result;
}

void flowd_state_file_close(struct flowd_state_file *file)
{
    if (file->mapping != NULL)
        munmap(file->mapping, MAPPING_SIZE);
    if (file->fd >= 0)
        close(file->fd);
    if (file->kept_fd >= 0)
        close(file->kept_fd);
    free(file->directory);
    *file = (struct flowd_state_file){.fd = -1, .kept_fd = -1};
}
