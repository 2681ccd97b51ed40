/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads state files of format 1. A record of it has its members where format 2 has them, but for
 * what stands between the state and the order of age: notes of modules, which nobody reads from a
 * file. Its state is another number, and nothing proves it: what makes no sense is left out.
 */
#include "daemon/flow/state_file_upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/flow/flow_record.h"
#include "daemon/flow/state_file_header.h"

#define FORMER_LIVE 1

/* The last record that may be live, and one: the new file needs no more. */
static size_t count_used(const struct flowd_state_file *file)
{
    size_t used = 0;

    for (size_t number = flowd_state_file_skip_hole(file, 0); number < file->capacity;
         number = flowd_state_file_skip_hole(file, number + 1))
        if (file->records[number].state == FORMER_LIVE)
            used = number + 1;
    return used;
}

static void copy_records(const struct flowd_state_file *from, struct flowd_state_file *to)
{
    size_t end = from->capacity < to->capacity ? from->capacity : to->capacity;

    for (size_t number = flowd_state_file_skip_hole(from, 0); number < end;
         number = flowd_state_file_skip_hole(from, number + 1)) {
        const struct flowd_flow *old = &from->records[number];
        struct flowd_flow *flow = &to->records[number];

        if (old->state != FORMER_LIVE || !flowd_flow_record_ok(old, (uint32_t)number))
            continue;
        *flow = *old;
        flow->directions = 0;
        flow->untold = flow->looked_for = flow->waits = false;
        memset(flow->backend, 0, sizeof(flow->backend));
        flow->check = flowd_flow_record_check(flow, to->seed);
        flow->state = FLOWD_FLOW_LIVE;
    }
}

int flowd_state_file_upgrade(const struct flowd_state_file *file, int directory_fd,
                             const char *name, const struct flowd_boot *boot,
                             struct flowd_state_file *out, struct flowd_error *err)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    struct flowd_state_file fresh = {.fd = openat(directory_fd, name, flags, 0600), .kept_fd = -1};
    int result;

    if (fresh.fd < 0)
        return flowd_fail_errno(err, errno, "open %s", name);
    if (flock(fresh.fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fresh.fd, 0) < 0) {
        result = flowd_fail_errno(err, errno, "empty %s", name);
        close(fresh.fd);
        return result;
    }
    result = flowd_state_file_map(&fresh, err);
    if (result == 0) {
        size_t used = count_used(file);

        /* One at least: the header, too, has its room from that. */
        result = flowd_state_file_grow(&fresh, used > 0 ? used : 1);
        if (result < 0)
            flowd_fail_errno(err, -result, "make room for %s", name);
    }
    if (result < 0) {
        flowd_state_file_close(&fresh);
        return result;
    }
    fresh.seed = flowd_flow_record_seed(boot->id);
    copy_records(file, &fresh);
    flowd_state_header_write(fresh.mapping, boot);
    *out = fresh;
    return 0;
}
