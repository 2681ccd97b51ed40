/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as text, and endpoints: an address with a port, as text and as a socket address. Their
 * reader is in address_text.c.
 */
#include "daemon/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/integer.h"

static char *put_hex(char *at, unsigned word)
{
    static const char digits[] = "0123456789abcdef";

    if (word >= 0x1000)
        *at++ = digits[word >> 12];
    if (word >= 0x100)
        *at++ = digits[word >> 8 & 0xf];
    if (word >= 0x10)
        *at++ = digits[word >> 4 & 0xf];
    *at++ = digits[word & 0xf];
    return at;
}

/*
 * RFC 5952 by hand: inet_ntop(3) formats with printf, which is what an answer with a thousand flows
 * would spend its time on. Returns 0 for addresses that end in an IPv4 one.
 */
static size_t format_v6(const struct in6_addr *addr, char buffer[static FLOWD_ADDRESS_SIZE])
{
    unsigned words[8];
    int run = 0, run_length = 1; /* the longest run of zeros; one alone is not shortened */
    char *at = buffer;

    for (int i = 0; i < 8; i++)
        words[i] = (unsigned)addr->s6_addr[2 * i] << 8 | addr->s6_addr[2 * i + 1];
    for (int i = 0; i < 8; i++) {
        int length = 0;

        while (i + length < 8 && words[i + length] == 0)
            length++;
        if (length > run_length) {
            run = i;
            run_length = length;
        }
        i += length;
    }
    if (run == 0 && (run_length == 6 || (run_length == 5 && words[5] == 0xffff)))
        return 0;
    for (int i = 0; i < 8; i++) {
        if (run_length > 1 && i == run) {
            *at++ = ':';
            i += run_length - 1;
            if (i == 7)
                *at++ = ':';
            continue;
        }
        if (i > 0)
            *at++ = ':';
        at = put_hex(at, words[i]);
    }
    *at = '\0';
    return (size_t)(at - buffer);
}

size_t flowd_address_format(uint8_t family, const struct in6_addr *addr,
                            char buffer[static FLOWD_ADDRESS_SIZE])
{
    size_t length = family == AF_INET6 ? format_v6(addr, buffer) : 0;

    if (length > 0)
        return length;
    if (inet_ntop(family, addr, buffer, FLOWD_ADDRESS_SIZE) == NULL)
        buffer[0] = '\0';
    return strlen(buffer);
}

socklen_t flowd_endpoint_make(uint8_t family, const struct in6_addr *addr, uint16_t port,
                              struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){0};
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;

        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, addr, 4);
        return sizeof(*v4);
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    v6->sin6_addr = *addr;
    return sizeof(*v6);
}

/*
 * Finds the address and, if there is one, the port in text: "[v6]:port", "[v6]", "v4:port", or an
 * address alone (several colons without brackets: IPv6).
 */
static int split_endpoint(const char *text, const char **address, size_t *address_length,
                          const char **port)
{
    const char *colon = strchr(text, ':');

    *port = NULL;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');

        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return -EINVAL;
        *address = text + 1;
        *address_length = (size_t)(end - text - 1);
        if (end[1] == ':')
            *port = end + 2;
        /* Brackets are for IPv6 alone. */
        return memchr(*address, ':', *address_length) != NULL ? 0 : -EINVAL;
    }
    *address = text;
    *address_length = strlen(text);
    if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *address_length = (size_t)(colon - text);
        *port = colon + 1;
    }
    return 0;
}

int flowd_endpoint_parse(const char *text, uint16_t default_port, struct sockaddr_storage *out,
                         socklen_t *length)
{
    const char *address_text, *port_text;
    size_t address_length;
    struct flowd_address address;
    uint64_t port = default_port;
    int result;

    result = split_endpoint(text, &address_text, &address_length, &port_text);
    if (result == 0)
        result = flowd_address_parse(address_text, address_length, &address);
    if (result == 0 && port_text != NULL)
        result = flowd_integer_parse(port_text, strlen(port_text), 1, UINT16_MAX, &port);
    if (result < 0)
        return result;
    *length = flowd_endpoint_make(address.family, &address.addr, (uint16_t)port, out);
    return 0;
}

void flowd_endpoint_format(const struct sockaddr_storage *endpoint,
                           char buffer[static FLOWD_ENDPOINT_SIZE])
{
    char address[FLOWD_ADDRESS_SIZE];

    if (endpoint->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)endpoint;

        inet_ntop(AF_INET, &v4->sin_addr, address, sizeof(address));
        snprintf(buffer, FLOWD_ENDPOINT_SIZE, "%s:%u", address, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)endpoint;

        inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof(address));
        snprintf(buffer, FLOWD_ENDPOINT_SIZE, "[%s]:%u", address, ntohs(v6->sin6_port));
    }
}
