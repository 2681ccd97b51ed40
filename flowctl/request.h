/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of flowd's API whose answers are JSON.
 */
#pragma once

#include <jansson.h>

#include "client.h"

/*
 * Makes one request; body may be NULL. Returns 0 with the answer in *out (owned; NULL where there
 * is none: 204), or -errno with the reason: no answer (-ECONNREFUSED, -ETIMEDOUT, ...), one that is
 * no JSON (-EPROTO), or a refusal (-EREMOTEIO, for want of a token -EPERM), whose problem document
 * is in *out then (owned); else *out is NULL.
 */
int request_json(const struct client_endpoint *endpoint, const char *method, const char *path,
                 const char *body, json_t **out, struct flowd_error *err);
