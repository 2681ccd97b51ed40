/*
 * The file that the flow table lives in: a header page and an array of flow records, mapped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/error.h"
#include "daemon/flow.h"

struct flowd_state_file {
    int fd;                     /* -1: memory only */
    void *mapping;              /* the header, then the records; the address never changes */
    struct flowd_flow *records; /* borrowed from mapping */
    size_t capacity;            /* records that the file has room for */
};

/*
 * Opens or makes directory/flows.state; "" keeps everything in memory. A file that can't be used is
 * moved aside and set_aside (size bytes) says why; "" otherwise. Returns 0, or -errno: -EBUSY if
 * another process has the file.
 */
int flowd_state_file_open(struct flowd_state_file *file, const char *directory, char *set_aside,
                          size_t size, struct flowd_error *err);
/*
 * Looks whether the file is still in its directory. If it was removed or moved, writes it anew, so
 * that a restart finds the flows. Returns 0 if it is there, 1 if it was written anew, or -errno.
 */
int flowd_state_file_restore(struct flowd_state_file *file, const char *directory,
                             struct flowd_error *err);
void flowd_state_file_close(struct flowd_state_file *file);

/* Whether a running flowd has the file of this directory. */
bool flowd_state_file_in_use(const char *directory);

/* How many records of the file have ever been used, or may have been. */
size_t flowd_state_file_records(const struct flowd_state_file *file);
/* Makes room for count records and notes that they are used. Returns 0, -ENOSPC or -errno. */
int flowd_state_file_grow(struct flowd_state_file *file, size_t count);

/* Whether a record that claims to be live can be believed. */
bool flowd_state_file_record_ok(const struct flowd_flow *flow, uint32_t number);
