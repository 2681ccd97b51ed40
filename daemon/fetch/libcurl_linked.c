/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, linked: a static program can't load libraries. It runs on any system, so the
 * certificates to trust are looked for where one or the other has them.
 */
#include <stddef.h>
#include <unistd.h>

#include "daemon/fetch/libcurl.h"

/* Debian, EL, openSUSE, Alpine. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

/* Where there is none, the first: libcurl's error names it. */
static const char *find_certificates(void)
{
    for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
        if (access(bundles[i], R_OK) == 0)
            return bundles[i];
    return bundles[0];
}

int flowd_libcurl_load(struct flowd_libcurl *curl, struct flowd_error *err)
{
    (void)err;
    curl->certificates = find_certificates();
#define TAKE(name) curl->f_##name = (name);
    FLOWD_LIBCURL_FUNCTIONS(TAKE)
#undef TAKE
    return 0;
}
