/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See without_btf.h.
 */
#include "lab/without_btf.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mount.h>

#define BTF_DIRECTORY "/sys/kernel/btf"

int without_btf_begin(void)
{
    static bool entered;

    if (!entered) {
        /* Not of /, which in a chroot may be no mount point. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/sys", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            return -1;
        entered = true;
    }
    return mount("tmpfs", BTF_DIRECTORY, "tmpfs", MS_RDONLY, NULL);
}

int without_btf_end(void)
{
    return umount(BTF_DIRECTORY);
}

const char *without_btf_unavailable(void)
{
    if (without_btf_begin() < 0 || without_btf_end() < 0)
        return "BTF can't be hidden: /sys is no mount point, or mounts of one's own are refused";
    return NULL;
}
