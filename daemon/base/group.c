/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group's name or number, in the order of chgrp(1): a name that consists of digits is a name
 * first. Containers have numbers more often than a file with names.
 */
#include "daemon/base/group.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "daemon/base/integer.h"

/* The highest number stands for "unchanged" to chown(2). */
#define GID_MAX (UINT32_MAX - 1)

int flowd_group_find(const char *name, gid_t *gid)
{
    uint64_t number;

    if (flowd_group_look_up(name, gid))
        return 0;
    if (flowd_integer_parse(name, strlen(name), 0, GID_MAX, &number) < 0)
        return -ENOENT;
    *gid = (gid_t)number;
    return 0;
}
