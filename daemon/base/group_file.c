/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of /etc/group, for a static program: what /etc/nsswitch.conf names are shared libraries of
 * the system's C library, which is another one.
 */
#include <grp.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/group.h"

#define GROUP_FILE "/etc/group"

bool flowd_group_look_up(const char *name, gid_t *gid)
{
    FILE *file = fopen(GROUP_FILE, "re");
    const struct group *group;
    bool found = false;

    if (file == NULL)
        return false;
    while (!found && (group = fgetgrent(file)) != NULL)
        if (strcmp(group->gr_name, name) == 0) {
            *gid = group->gr_gid;
            found = true;
        }
    fclose(file);
    return found;
}
