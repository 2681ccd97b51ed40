/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's functions as a table, for the fetcher and for flowctl. They are loaded and not linked:
 * with the libraries behind it (TLS, LDAP, Kerberos, ssh, ...) libcurl would cost every flowd more
 * memory and time at the start than flowd itself.
 */
#pragma once

#define CURL_DISABLE_DEPRECATION /* CURLOPT_PROTOCOLS works in every version, its heir does not */
#include <curl/curl.h>

#include "daemon/base/error.h"

#define FLOWD_LIBCURL_FUNCTIONS(F)                                                                 \
    F(curl_global_init)                                                                            \
    F(curl_version_info)                                                                           \
    F(curl_easy_init)                                                                              \
    F(curl_easy_setopt)                                                                            \
    F(curl_easy_perform)                                                                           \
    F(curl_easy_getinfo)                                                                           \
    F(curl_easy_strerror)                                                                          \
    F(curl_easy_cleanup)                                                                           \
    F(curl_multi_init)                                                                             \
    F(curl_multi_setopt)                                                                           \
    F(curl_multi_add_handle)                                                                       \
    F(curl_multi_remove_handle)                                                                    \
    F(curl_multi_socket_action)                                                                    \
    F(curl_multi_assign)                                                                           \
    F(curl_multi_info_read)                                                                        \
    F(curl_multi_cleanup)                                                                          \
    F(curl_slist_append)                                                                           \
    F(curl_slist_free_all)

#define FLOWD_LIBCURL_MEMBER(name) __typeof__(&(name)) f_##name;
/* A member's name has "f_" before the function's, which libcurl's headers have macros for. */
struct flowd_libcurl {
    FLOWD_LIBCURL_FUNCTIONS(FLOWD_LIBCURL_MEMBER)
    const char *certificates; /* file of those to trust; NULL: libcurl knows the system's */
};
#undef FLOWD_LIBCURL_MEMBER

/* Fills the table: of libcurl.so.4, or of what is linked. Returns 0 or -ENOSYS with the reason. */
int flowd_libcurl_load(struct flowd_libcurl *curl, struct flowd_error *err);
