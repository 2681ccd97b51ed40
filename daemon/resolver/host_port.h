/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "host[:port]" as a configuration has it: the host is a name or a numeric address.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A name (RFC 1035: up to 253 characters and a dot at the end) or an address, with its NUL. */
#define FLOWD_HOST_SIZE 256

struct flowd_host_port {
    char host[FLOWD_HOST_SIZE]; /* without brackets */
    uint16_t port;              /* host byte order */
};

/*
 * Whether text is a host name: labels of 1 to 63 letters, digits, "-" and "_" (RFC 1123, 2.1; "_"
 * because some names have it), and in the last one something else than digits, so that a mistyped
 * address is none.
 */
bool flowd_host_name_is_valid(const char *text);

/*
 * Parses "name", "name:port", and what flowd_endpoint_parse() takes. Returns 0, -EINVAL, or -ERANGE
 * for a port outside 1-65535. *out is unchanged on failure.
 */
int flowd_host_port_parse(const char *text, uint16_t default_port, struct flowd_host_port *out);
