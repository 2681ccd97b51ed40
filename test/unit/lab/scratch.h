/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory for one test, removed with all that is in it: by the test, or when the program exits
 * after a test that failed half way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SCRATCH_PATH_SIZE 512

struct scratch {
    char path[64];
};

void scratch_make(struct scratch *scratch);
void scratch_remove(struct scratch *scratch);

/*
 * Mounts a tmpfs of 512 KiB on the directory, in a mount namespace of this program's own, so that
 * it goes with the program. Returns false where that is not permitted.
 */
bool scratch_mount_small(const struct scratch *scratch);
void scratch_unmount(const struct scratch *scratch);

/* The path of name in the directory; good until the next call. */
const char *scratch_path(const struct scratch *scratch, const char *name);
/* Writes a file of length bytes. */
void scratch_write(const struct scratch *scratch, const char *name, const void *bytes,
                   size_t length);
