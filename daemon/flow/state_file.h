/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that the flow table lives in: a header page and an array of flow records, mapped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"

/* In the directory that the configuration names. */
#define FLOWD_STATE_FILE_NAME "flows.state"
/* By so many records the file grows, and so many are in a hole, or not, together. */
#define FLOWD_STATE_BLOCK_RECORDS 1024

struct flowd_flow_table_report;

struct flowd_state_file {
    int fd;                     /* -1: memory only */
    int kept_fd;                /* a file that is left as it is, and locked; -1: there is none */
    void *mapping;              /* the header, then the records; the address never changes */
    struct flowd_flow *records; /* borrowed from mapping */
    size_t capacity;            /* records that the file has room for */
    uint64_t seed;              /* of the records' check words */
    const char *doubt;          /* why the header proves nothing; NULL: it is good */
    char *directory;            /* owned; NULL: memory only */
};

/*
 * Opens or makes directory/flows.state; "" keeps everything in memory. Leaves the records as they
 * are: whoever has read them settles the file. What there is to say of the file goes to the texts
 * of report. Returns 0, or -errno: -EBUSY if another process has the file.
 */
int flowd_state_file_open(struct flowd_state_file *file, const char *directory,
                          struct flowd_flow_table_report *report, struct flowd_error *err);
/*
 * Once the records have been read: moves a file aside that has a doubtful header and no live flow,
 * cuts one down to used records, and makes sure that all of it is on the disk. Returns 0 or -errno.
 */
int flowd_state_file_settle(struct flowd_state_file *file, size_t used, size_t live,
                            struct flowd_flow_table_report *report, struct flowd_error *err);
/*
 * Looks whether the file is still in its directory. If it was removed or moved, writes it anew, so
 * that a restart finds the flows; another file in its place is moved to "flows.state.unusable",
 * unless another flowd has it. Returns 0 if the file is there, 1 if it was written anew, 2 if
 * another one was moved for that, or -errno.
 */
int flowd_state_file_restore(struct flowd_state_file *file, const char *directory,
                             struct flowd_error *err);
void flowd_state_file_close(struct flowd_state_file *file);

/*
 * Whether a running flowd has the file of this directory: 1, 0 (also where there is none), or
 * -errno: it can't be told.
 */
int flowd_state_file_in_use(const char *directory, struct flowd_error *err);

/* Makes room for count records. Returns 0, -ENOSPC or -errno. */
int flowd_state_file_grow(struct flowd_state_file *file, size_t count);

/*
 * The first record from number on that is not in a hole of the file, or the capacity. A file may be
 * large by its holes alone; they hold no flows, and reading them may take memory.
 */
size_t flowd_state_file_skip_hole(const struct flowd_state_file *file, size_t number);

/* Maps an open file. Returns 0 or -errno. */
int flowd_state_file_map(struct flowd_state_file *file, struct flowd_error *err);
