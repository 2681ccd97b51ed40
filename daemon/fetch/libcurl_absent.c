/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No libcurl, for a static program that was built without an archive of it: whatever wants to fetch
 * something is told, and goes on with what it has.
 */
#include <errno.h>

#include "daemon/fetch/libcurl.h"

int flowd_libcurl_load(struct flowd_libcurl *curl, struct flowd_error *err)
{
    (void)curl;
    return flowd_fail(err, ENOSYS, "this build has no http client");
}
