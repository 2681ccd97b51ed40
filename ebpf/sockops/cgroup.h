/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup at which the sk_ops programs are attached: they are told of the sockets that were made
 * by processes in it and below it.
 */
#pragma once

#include <stddef.h>

#include "daemon/base/error.h"

/* Where hosts usually have it. */
#define FLOWD_CGROUP_DEFAULT "/sys/fs/cgroup"

/*
 * Finds in the text of /proc/self/mountinfo (proc_pid_mountinfo(5)) where the cgroup2 file system
 * is mounted: the mount that shows most of it, the first one of equals. Returns 0, -ENOENT: it is
 * not mounted, or -ENAMETOOLONG; *path is then unchanged.
 */
int flowd_cgroup_find(const char *mountinfo, char *path, size_t size);

/*
 * Opens the directory configured; where that is "" or FLOWD_CGROUP_DEFAULT and no cgroup2 is
 * there, the one that flowd_cgroup_find() finds. Writes its path into path. Returns a file
 * descriptor, or -errno with the reason and the remedy.
 */
int flowd_cgroup_open(const char *configured, char *path, size_t size, struct flowd_error *err);
