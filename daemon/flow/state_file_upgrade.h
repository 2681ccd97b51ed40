/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the version before: the same records without a check word.
 */
#pragma once

#include "daemon/base/error.h"
#include "daemon/flow/state_file.h"

struct flowd_boot;

/*
 * Writes the live flows of file, which is of the version before, into the file directory_fd/name
 * and maps that into *out. The caller puts it in the place of the old one. Returns 0 or -errno.
 */
int flowd_state_file_upgrade(const struct flowd_state_file *file, int directory_fd,
                             const char *name, const struct flowd_boot *boot,
                             struct flowd_state_file *out, struct flowd_error *err);
