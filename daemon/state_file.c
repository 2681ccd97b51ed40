/*
 * The state file on disk: what its header says, when a file of an earlier process can be used, and
 * how it grows.
 *
 * The header holds the boot id, because a reboot ends every connection, and a format number with
 * the record size, because a record is memory as the compiler lays it out.
 */
#include "daemon/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/flow_table.h"
#include "daemon/timestamp.h"

#define FILE_NAME "flows.state"
#define UNUSABLE_NAME "flows.state.unusable"
#define HEADER_SIZE 4096
#define BLOCK_RECORDS 1024
#define MAPPING_SIZE (HEADER_SIZE + (size_t)FLOWD_FLOWS_LIMIT * sizeof(struct flowd_flow))
#define FORMAT 1
#define BOOT_ID_SIZE 37

struct header {
    char magic[8];
    uint32_t format;
    uint32_t record_size;
    uint64_t records; /* ever used */
    char boot_id[BOOT_ID_SIZE];
};

static const char magic[8] = "flowdST";
static const char no_boot[BOOT_ID_SIZE] = "";

static struct header *header_of(const struct flowd_state_file *file)
{
    return file->mapping;
}

static void read_boot_id(char boot_id[static BOOT_ID_SIZE])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, boot_id, BOOT_ID_SIZE - 1) : 0;

    boot_id[length > 0 ? length : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

size_t flowd_state_file_records(const struct flowd_state_file *file)
{
    size_t records = (size_t)header_of(file)->records;

    return records < file->capacity ? records : file->capacity;
}

bool flowd_state_file_record_ok(const struct flowd_flow *flow, uint32_t number)
{
    struct flowd_event event = {.key = flow->key,
                                .experiment = flow->experiment,
                                .activity = flow->activity,
                                .application = flow->application,
                                .application_length =
                                    strnlen(flow->application, FLOWD_APPLICATION_SIZE)};
    size_t source = strnlen(flow->source, FLOWD_SOURCE_SIZE);

    return flowd_event_check(&event, NULL) == 0 && flow->key.zero == 0 &&
           (flow->id & UINT32_MAX) == number + 1u && flow->id >> 32 != 0 && source > 0 &&
           source < FLOWD_SOURCE_SIZE && flow->flow_label <= 0xfffff && flow->start_us > 0 &&
           flow->last_event_us >= 0 && flow->last_event_us <= flowd_timestamp_boot_us();
}

/* Why the file can't be used, or NULL. size is the file's. */
static const char *why_unusable(const struct flowd_state_file *file, off_t size)
{
    const struct header *header = header_of(file);

    if (size < HEADER_SIZE)
        return "it is shorter than its header";
    if (memcmp(header->magic, magic, sizeof(magic)) != 0)
        return "it is no state file of flowd";
    if (header->format != FORMAT || header->record_size != sizeof(struct flowd_flow))
        return "it was written by another version of flowd";
    if (header->records > FLOWD_FLOWS_LIMIT)
        return "its header makes no sense";
    if ((size_t)(size - HEADER_SIZE) / sizeof(struct flowd_flow) < header->records)
        return "it is truncated";
    return NULL;
}

static int allocate(struct flowd_state_file *file, size_t capacity)
{
    off_t size = (off_t)(HEADER_SIZE + capacity * sizeof(struct flowd_flow));
    int result;

    do
        result = file->fd >= 0 ? posix_fallocate(file->fd, 0, size) : 0;
    while (result == EINTR);
    if (result != 0)
        return -result;
    file->capacity = capacity;
    return 0;
}

int flowd_state_file_grow(struct flowd_state_file *file, size_t count)
{
    int result;

    if (count > file->capacity) {
        size_t blocks = (count + BLOCK_RECORDS - 1) / BLOCK_RECORDS;

        result = allocate(file, blocks * BLOCK_RECORDS);
        if (result < 0)
            return result;
    }
    header_of(file)->records = count;
    return 0;
}

static int map(struct flowd_state_file *file, struct flowd_error *err)
{
    int flags = file->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;

    file->mapping =
        mmap(NULL, MAPPING_SIZE, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, file->fd, 0);
    if (file->mapping == MAP_FAILED) {
        file->mapping = NULL;
        return flowd_fail(err, errno, "map the state file");
    }
    file->records = (struct flowd_flow *)((char *)file->mapping + HEADER_SIZE);
    return 0;
}

/* Empties the file and writes its header; the magic last. */
static int begin(struct flowd_state_file *file, const char *boot_id, struct flowd_error *err)
{
    struct header *header = header_of(file);
    int result;

    if (file->fd >= 0 && ftruncate(file->fd, 0) < 0)
        return flowd_fail(err, errno, "empty the state file");
    result = allocate(file, 0);
    if (result < 0)
        return flowd_fail(err, -result, "make room for the state file");
    header->format = FORMAT;
    header->record_size = sizeof(struct flowd_flow);
    header->records = 0;
    memcpy(header->boot_id, boot_id, BOOT_ID_SIZE);
    memcpy(header->magic, magic, sizeof(magic));
    return 0;
}

static int make_directory(const char *directory, struct flowd_error *err)
{
    char path[4096];
    size_t length = strlen(directory);

    if (length >= sizeof(path))
        return flowd_fail(err, ENAMETOOLONG, "stateDir %.64s...", directory);
    for (size_t i = 1; i <= length; i++) {
        if (directory[i] != '/' && directory[i] != '\0')
            continue;
        memcpy(path, directory, i);
        path[i] = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return flowd_fail(err, errno, "make stateDir %s", path);
    }
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
    int fd = openat(directory_fd, FILE_NAME, flags);
    struct stat status;
    int result;

    *made = fd < 0 && errno == ENOENT;
    if (*made)
        fd = openat(directory_fd, FILE_NAME, flags | O_CREAT, 0600);

    if (fd < 0)
        return flowd_fail(err, errno, "open %s/%s", directory, FILE_NAME);
    if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)) {
        close(fd);
        return flowd_fail(err, -EINVAL, "%s/%s is not a file", directory, FILE_NAME);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        result = errno == EWOULDBLOCK ? flowd_fail(err, -EBUSY, "another flowd is using it")
                                      : flowd_fail(err, errno, "lock %s/%s", directory, FILE_NAME);
        close(fd);
        return result;
    }
    *out = fd;
    return 0;
}

static off_t size_of(int fd)
{
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 ? status.st_size : 0;
}

/* Moves an unusable file away, keeps it for a human to look at, and opens an empty one. */
static int replace(struct flowd_state_file *file, const char *directory, int directory_fd,
                   struct flowd_error *err)
{
    bool made;
    int fresh, result;

    if (renameat(directory_fd, FILE_NAME, directory_fd, UNUSABLE_NAME) < 0)
        return flowd_fail(err, errno, "rename %s/%s", directory, FILE_NAME);
    result = open_locked(directory, directory_fd, &fresh, &made, err);
    if (result < 0)
        return result;
    munmap(file->mapping, MAPPING_SIZE);
    file->mapping = NULL;
    close(file->fd);
    file->fd = fresh;
    return map(file, err);
}

/* Decides what an existing file is worth and leaves a usable one. */
static int take_over(struct flowd_state_file *file, const char *directory, int directory_fd,
                     bool made, char *set_aside, size_t size, struct flowd_error *err)
{
    char boot_id[BOOT_ID_SIZE];
    off_t file_size = size_of(file->fd);
    const char *why;
    int result;

    read_boot_id(boot_id);
    if (file_size == 0) {
        if (!made)
            snprintf(set_aside, size, "state file %s/%s: it is empty", directory, FILE_NAME);
        return begin(file, boot_id, err);
    }
    why = why_unusable(file, file_size);
    if (why != NULL) {
        snprintf(set_aside, size, "%s/%s: %s; kept as %s", directory, FILE_NAME, why,
                 UNUSABLE_NAME);
        result = replace(file, directory, directory_fd, err);
        return result < 0 ? result : begin(file, boot_id, err);
    }
    if (boot_id[0] == '\0' || strncmp(header_of(file)->boot_id, boot_id, BOOT_ID_SIZE) != 0) {
        snprintf(set_aside, size, "%s/%s: the host has rebooted, its flows are over", directory,
                 FILE_NAME);
        return begin(file, boot_id, err);
    }
    return allocate(file, (size_t)(file_size - HEADER_SIZE) / sizeof(struct flowd_flow));
}

int flowd_state_file_open(struct flowd_state_file *file, const char *directory, char *set_aside,
                          size_t size, struct flowd_error *err)
{
    bool made = false;
    int directory_fd, result;

    *file = (struct flowd_state_file){.fd = -1};
    if (directory[0] == '\0') {
        result = map(file, err);
        return result < 0 ? result : begin(file, no_boot, err);
    }
    result = make_directory(directory, err);
    if (result < 0)
        return result;
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0)
        return flowd_fail(err, errno, "open stateDir %s", directory);
    result = open_locked(directory, directory_fd, &file->fd, &made, err);
    if (result == 0)
        result = map(file, err);
    if (result == 0)
        result = take_over(file, directory, directory_fd, made, set_aside, size, err);
    close(directory_fd);
    if (result < 0)
        flowd_state_file_close(file);
    return result < 0 ? flowd_error_wrap(err, result, "stateDir %s", directory) : 0;
}

/* Copies the mapping into a new file and maps that in its place: the address stays. */
static int move_to(struct flowd_state_file *file, int fd, struct flowd_error *err)
{
    size_t size = HEADER_SIZE + file->capacity * sizeof(struct flowd_flow);
    int result = posix_fallocate(fd, 0, (off_t)size);

    if (result != 0)
        return flowd_fail(err, result, "make room for the state file");
    for (size_t done = 0; done < size;) {
        ssize_t count = pwrite(fd, (char *)file->mapping + done, size - done, (off_t)done);

        if (count < 0)
            return flowd_fail(err, errno, "write the state file");
        done += (size_t)count;
    }
    if (mmap(file->mapping, MAPPING_SIZE, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED)
        return flowd_fail(err, errno, "map the state file");
    close(file->fd);
    file->fd = fd;
    return 0;
}

static bool is_in_place(const struct flowd_state_file *file, const char *directory)
{
    struct stat ours, theirs;
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", directory, FILE_NAME);
    return fstat(file->fd, &ours) == 0 && lstat(path, &theirs) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

int flowd_state_file_restore(struct flowd_state_file *file, const char *directory,
                             struct flowd_error *err)
{
    bool made = false;
    int directory_fd, fd = -1, result;

    if (file->fd < 0 || is_in_place(file, directory))
        return 0;
    result = make_directory(directory, err);
    if (result < 0)
        return result;
    directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0)
        return flowd_fail(err, errno, "open stateDir %s", directory);
    result = open_locked(directory, directory_fd, &fd, &made, err);
    if (result == 0 && !made)
        result = flowd_fail(err, -EEXIST, "%s/%s is somebody else's", directory, FILE_NAME);
    if (result == 0)
        result = move_to(file, fd, err);
    if (result < 0 && fd >= 0) {
        if (made)
            unlinkat(directory_fd, FILE_NAME, 0);
        close(fd);
    }
    close(directory_fd);
    return result < 0 ? result : 1;
}

bool flowd_state_file_in_use(const char *directory)
{
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd =
        directory_fd >= 0 ? openat(directory_fd, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    bool in_use = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

    if (fd >= 0)
        close(fd);
    if (directory_fd >= 0)
        close(directory_fd);
    return in_use;
}

void flowd_state_file_close(struct flowd_state_file *file)
{
    if (file->mapping != NULL)
        munmap(file->mapping, MAPPING_SIZE);
    if (file->fd >= 0)
        close(file->fd);
    *file = (struct flowd_state_file){.fd = -1};
}
