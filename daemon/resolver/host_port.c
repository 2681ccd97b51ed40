/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "host[:port]": addresses are told from names by being numeric, so that "[2001:db8::1]:514" and
 * "collector.example.org:514" can stand in one list.
 */
#include "host_port.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/integer.h"
#include "daemon/net/address.h"

#define NAME_MAX_LENGTH 253
#define LABEL_MAX_LENGTH 63

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_label_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

static bool is_label(const char *text, size_t length)
{
    if (length == 0 || length > LABEL_MAX_LENGTH || text[0] == '-' || text[length - 1] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_label_character(text[i]))
            return false;
    return true;
}

static bool is_number(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_digit(text[i]))
            return false;
    return true;
}

bool flowd_host_name_is_valid(const char *text)
{
    size_t length = strlen(text);
    const char *label = text, *end;

    if (length > 0 && text[length - 1] == '.')
        length--;
    if (length == 0 || length > NAME_MAX_LENGTH)
        return false;
    end = text + length;
    for (;;) {
        const char *dot = memchr(label, '.', (size_t)(end - label));
        size_t size = (size_t)((dot != NULL ? dot : end) - label);

        if (!is_label(label, size))
            return false;
        if (dot == NULL)
            return !is_number(label, size);
        label = dot + 1;
    }
}

/* What flowd_endpoint_parse() takes. */
static int parse_address(const char *text, uint16_t default_port, struct flowd_host_port *out)
{
    struct sockaddr_storage endpoint;
    socklen_t length;
    char buffer[FLOWD_ENDPOINT_SIZE];
    int result = flowd_endpoint_parse(text, default_port, &endpoint, &length);
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)&endpoint;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&endpoint;
    struct in6_addr address = {{{0}}};

    if (result < 0)
        return result;
    if (endpoint.ss_family == AF_INET)
        memcpy(&address, &in4->sin_addr, sizeof(in4->sin_addr));
    else
        address = in6->sin6_addr;
    flowd_address_format((uint8_t)endpoint.ss_family, &address, buffer);
    memset(out, 0, sizeof(*out));
    memcpy(out->host, buffer, strlen(buffer) + 1);
    out->port = ntohs(endpoint.ss_family == AF_INET ? in4->sin_port : in6->sin6_port);
    return 0;
}

int flowd_host_port_parse(const char *text, uint16_t default_port, struct flowd_host_port *out)
{
    struct flowd_host_port found = {.port = default_port};
    const char *colon = strchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
    uint64_t port = default_port;
    int result = parse_address(text, default_port, out);

    if (result != -EINVAL)
        return result;
    if (length >= sizeof(found.host))
        return -EINVAL;
    memcpy(found.host, text, length);
    if (!flowd_host_name_is_valid(found.host))
        return -EINVAL;
    if (colon != NULL) {
        result = flowd_integer_parse(colon + 1, strlen(colon + 1), 1, UINT16_MAX, &port);
        if (result < 0)
            return result;
    }
    found.port = (uint16_t)port;
    *out = found;
    return 0;
}
