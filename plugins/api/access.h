/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use the API: bearer tokens, and what tells a page that somebody visits from a tool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/http/server.h"

struct api_tokens {
    struct flowd_http_slice *items; /* into text */
    size_t count;
    char *text; /* the file; owned */
};

/*
 * Reads a token a line; blanks around and empty lines do not count. "" gives no tokens. Returns 0
 * and *out (owned), or -errno; a file without a token is -EINVAL.
 */
int api_tokens_read(const char *path, struct api_tokens *out, struct flowd_error *err);
void api_tokens_fini(struct api_tokens *tokens);

/* True if authorization is "Bearer TOKEN" with one of the tokens, found in constant time. */
bool api_tokens_match(const struct api_tokens *tokens, struct flowd_http_slice authorization);

/*
 * True where a browser says that a page from elsewhere has it send the request (Fetch Metadata, or
 * an Origin other than the host).
 */
bool api_is_cross_site(const struct flowd_http_request *request);

/* True for application/json, with or without parameters. */
bool api_is_json(struct flowd_http_slice content_type);
