/*
 * Who may use the API: bearer tokens, and the content type that a form cannot have.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/error.h"
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

/* True for application/json, with or without parameters. */
bool api_is_json(struct flowd_http_slice content_type);
