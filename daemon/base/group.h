/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of this system, by name or by number.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Sets *gid to the number of the group with this name or, where there is none, to the number that
 * the name is. Returns 0, or -ENOENT if it is neither; *gid is unchanged then.
 */
int flowd_group_find(const char *name, gid_t *gid);

/*
 * Sets *gid to the number of the group with this name and returns true if there is one: by what the
 * system asks for names (group_system.c), or by /etc/group alone (group_file.c).
 */
bool flowd_group_look_up(const char *name, gid_t *gid);
