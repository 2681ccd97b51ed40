/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole files of bounded size: read, and written in one step.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"

/* Zero-initialised is empty. */
struct flowd_content {
    char *data; /* owned */
    size_t size;
    int64_t modified_us; /* CLOCK_REALTIME */
};

/*
 * Reads a regular file of at most size_max bytes; nothing else is waited for. content is to be
 * passed to flowd_content_fini() in any case. Returns 0 or -errno with the reason.
 */
int flowd_content_read(const char *path, size_t size_max, struct flowd_content *content,
                       struct flowd_error *err);
void flowd_content_fini(struct flowd_content *content);

/*
 * Writes the file at path by another one ("path.new") that takes its place: it is either the former
 * or the new one. durable: it is that after a loss of power too, which waits for the disk. Returns
 * 0 or -errno.
 */
int flowd_content_write(const char *path, const char *data, size_t size, bool durable);
