/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives privileges up with libcap-ng. Interfaces come and go while flowd runs, so the right to
 * attach programs to them has to stay.
 */
#include "daemon/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>

static const unsigned kept[] = {CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON};

int flowd_privileges_drop(struct flowd_error *err)
{
    bool held[sizeof(kept) / sizeof(kept[0])];
    bool any_bpf = false;
    /* What can't be read is not kept. */
    bool known = capng_get_caps_process() == 0;
    bool held_admin = known && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) > 0;

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        held[i] = known && capng_have_capability(CAPNG_EFFECTIVE, kept[i]) > 0;
    any_bpf = held[1];
    capng_clear(CAPNG_SELECT_CAPS);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (held[i])
            capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]);
    if (!any_bpf && held_admin)
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_ADMIN);
    if (capng_apply(CAPNG_SELECT_CAPS) < 0)
        return flowd_fail_errno(err, errno, "give up capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return flowd_fail_errno(err, errno, "set no_new_privs");
    return 0;
}
