/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, linked: a static program can't load libraries, and whoever builds one has counted what
 * it costs.
 */
#include "daemon/fetch/libcurl.h"

int flowd_libcurl_load(struct flowd_libcurl *curl, struct flowd_error *err)
{
    (void)err;
#define TAKE(name) curl->f_##name = (name);
    FLOWD_LIBCURL_FUNCTIONS(TAKE)
#undef TAKE
    return 0;
}
