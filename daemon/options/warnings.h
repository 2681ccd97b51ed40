/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options whose value is allowed and hardly meant, as several modules have them: each adds a line
 * to warnings.
 */
#pragma once

#include <stdint.h>

struct flowd_host;
struct flowd_messages;

/* For an option at path that names the numeric address of a listener. */
void flowd_warnings_address(const char *address, const char *path, const struct flowd_host *host,
                            struct flowd_messages *warnings);
/* For an option that names a file which every user is to reach: whether they get through its
 * directories, as far as these are there. */
void flowd_warnings_passage(const char *file, const char *path, struct flowd_messages *warnings);
/* For a file with this mode and group ("": flowd's own) that others are to write or connect to. */
void flowd_warnings_access(int64_t mode, const char *group, const char *path,
                           struct flowd_messages *warnings);
