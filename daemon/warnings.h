/*
 * Warnings: what a configuration may hold, but hardly means. `flowd check` prints them, the daemon
 * logs those that the configuration alone shows.
 *
 * Each module finds its own (struct flowd_module's warn); here stands what concerns several of them
 * and what several of them ask.
 */
#pragma once

#include <stdint.h>

#include "daemon/configuration.h"
#include "daemon/host.h"
#include "daemon/mistakes.h"

/*
 * Adds a line for each. host NULL: only what the configuration alone shows, because this host is
 * still starting and may have tomorrow what it has not today.
 */
void flowd_warnings_find(const struct flowd_configuration *configuration,
                         const struct flowd_host *host, struct flowd_mistakes *warnings);

/* For an option at path that names the numeric address of a listener. */
void flowd_warnings_address(const char *address, const char *path, const struct flowd_host *host,
                            struct flowd_mistakes *warnings);
/* For an option that names a file which every user is to reach: whether they get through its
 * directories, as far as these are there. */
void flowd_warnings_passage(const char *file, const char *path, struct flowd_mistakes *warnings);
/* For a file with this mode and group ("": flowd's own) that others are to write or connect to. */
void flowd_warnings_access(int64_t mode, const char *group, const char *path,
                           struct flowd_mistakes *warnings);
