/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No libcurl, for a static program where there is no archive of it and of all that it stands on:
 * whatever wants to fetch something is told, and goes on with what it has.
 */
#include <errno.h>

#include "daemon/fetch/libcurl.h"

int flowd_libcurl_load(struct flowd_libcurl *curl, struct flowd_error *err)
{
    (void)curl;
    return flowd_fail(err, ENOSYS, "this flowd was linked statically and without libcurl");
}
