/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numeric IPv4 and IPv6 addresses, alone and with a port. Nothing here resolves names.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Enough for any address that flowd_address_format() writes, with its NUL. */
#define FLOWD_ADDRESS_SIZE INET6_ADDRSTRLEN
/* Enough for "[address]:port" with its NUL. */
#define FLOWD_ENDPOINT_SIZE (INET6_ADDRSTRLEN + 9)

/*
 * An address of either family. For AF_INET the four bytes stand first in addr and the other twelve
 * are zero, so that two equal addresses are equal bytes. Network byte order.
 */
struct flowd_address {
    struct in6_addr addr;
    uint8_t family; /* AF_INET or AF_INET6 */
};

/*
 * Parses len bytes of numeric IPv4 (four decimal parts without leading zeros) or IPv6. A zone
 * ("%if") is dropped and ::ffff:a.b.c.d becomes IPv4. Returns 0 or -EINVAL; *out is unchanged on
 * failure.
 */
int flowd_address_parse(const char *text, size_t len, struct flowd_address *out);
/*
 * Reads the address that the text up to end begins with, without a zone. Returns where it stops,
 * which is at end, or at a byte that belongs to no address or makes a wrong one of it; NULL: there
 * is none, and *out is unchanged.
 */
const char *flowd_address_read(const char *text, const char *end, struct flowd_address *out);

/* Writes the canonical text (RFC 5952 for IPv6) into buffer and returns its length. */
size_t flowd_address_format(uint8_t family, const struct in6_addr *addr,
                            char buffer[static FLOWD_ADDRESS_SIZE]);

/*
 * Parses "a.b.c.d", "a.b.c.d:port", "v6", "[v6]" or "[v6]:port" into a socket address, with
 * default_port (host byte order) where none is given. Returns 0, -EINVAL, or -ERANGE for a port
 * outside 1-65535. *length is the size of the family's sockaddr.
 */
int flowd_endpoint_parse(const char *text, uint16_t default_port, struct sockaddr_storage *out,
                         socklen_t *length);

/* Fills *out with the address and port (host byte order). Returns the sockaddr's length. */
socklen_t flowd_endpoint_make(uint8_t family, const struct in6_addr *addr, uint16_t port,
                              struct sockaddr_storage *out);

/* Writes "a.b.c.d:port" or "[v6]:port" into buffer. */
void flowd_endpoint_format(const struct sockaddr_storage *endpoint,
                           char buffer[static FLOWD_ENDPOINT_SIZE]);
