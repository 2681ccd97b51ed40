/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of file descriptors, raised as far as this process may, and the test whether any are
 * left. The soft limit is often 1,024 for the sake of programs that use select(2), which flowd does
 * not.
 */
#include "daemon/base/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "daemon/base/log.h"

/* What flowd opens itself with every module and some interfaces. */
#define WANTED 64

void flowd_descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < WANTED)
        flowd_warning("daemon",
                      "only %llu files may be open; flowd itself needs up to %d, and one for each "
                      "connection: " FLOWD_DESCRIPTORS_REMEDY,
                      (unsigned long long)limit.rlim_cur, WANTED);
}

unsigned flowd_descriptors_left(unsigned most)
{
    struct rlimit limit;
    unsigned left = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return most;
    for (rlim_t fd = 0; fd < limit.rlim_cur && left < most; fd++)
        left += fcntl((int)fd, F_GETFD) < 0;
    return left;
}
