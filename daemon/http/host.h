/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check against DNS rebinding: a page in a browser on this machine can have its own name point
 * to 127.0.0.1, but its requests then bear that name as their host.
 */
#pragma once

#include <stdbool.h>

#include "daemon/http/target.h"

/*
 * True for a host (with or without port) that is an address, "localhost" or hostname, in any case
 * and with or without hostname's domain.
 */
bool flowd_http_host_is_own(struct flowd_http_slice host, const char *hostname);
