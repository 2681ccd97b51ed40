/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups as the system knows them: by file, by directory service, by whatever /etc/nsswitch.conf
 * names.
 */
#include <grp.h>
#include <stddef.h>

#include "daemon/base/group.h"

bool flowd_group_look_up(const char *name, gid_t *gid)
{
    const struct group *group = getgrnam(name);

    if (group != NULL)
        *gid = group->gr_gid;
    return group != NULL;
}
