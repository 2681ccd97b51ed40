/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flowd_address_parse() says of a text, said by inet_pton(): its reader must agree with the C
 * library about every text.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "daemon/net/address.h"

static inline int library_address_parse(const char *text, size_t length, struct flowd_address *out)
{
    const char *zone = memchr(text, '%', length);
    size_t bare = zone != NULL ? (size_t)(zone - text) : length;
    struct flowd_address address = {.family = AF_INET6};
    char copy[INET6_ADDRSTRLEN];
    bool v6;

    if (bare >= sizeof(copy) || memchr(text, '\0', bare) != NULL)
        return -EINVAL;
    memcpy(copy, text, bare);
    copy[bare] = '\0';
    v6 = strchr(copy, ':') != NULL;
    if (zone != NULL && (!v6 || bare + 1 == length))
        return -EINVAL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, copy, &address.addr) != 1)
        return -EINVAL;
    if (!v6)
        address.family = AF_INET;
    if (v6 && IN6_IS_ADDR_V4MAPPED(&address.addr)) {
        struct flowd_address mapped = {.family = AF_INET};

        memcpy(&mapped.addr, &address.addr.s6_addr[12], 4);
        address = mapped;
    }
    *out = address;
    return 0;
}
