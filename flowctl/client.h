/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking HTTP/1.1 client, as much of one as flowctl needs: one request on one connection, to a
 * numeric address, "localhost" or a unix socket, with a time limit. libcurl is loaded by the first
 * request.
 */
#pragma once

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/base/text.h"

struct client_endpoint {
    const char *url;       /* "http://127.0.0.1:7777"; NULL: unix_path is used */
    const char *unix_path; /* NULL: url is used */
    const char *token;     /* bearer token; NULL: none */
    int timeout_ms;
};

/*
 * Sends one request and reads the answer. body may be NULL. Returns 0 with the HTTP status and the
 * answer's body in *answer (the caller's), or -errno: flowd can't be reached, it is no HTTP, or
 * (-ENOSYS) there is no libcurl.
 */
int client_request(const struct client_endpoint *endpoint, const char *method, const char *path,
                   const char *body, int *status, struct flowd_text *answer,
                   struct flowd_error *err);
