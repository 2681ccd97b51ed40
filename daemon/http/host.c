/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether the host that a request names is this machine: "localhost", this machine's own
 * name, or any numeric address, because rebinding takes a name. Pure functions over the bytes.
 */
#include "daemon/http/host.h"

#include <string.h>
#include <strings.h>

#include "daemon/base/integer.h"
#include "daemon/net/address.h"

static bool equals_name(struct flowd_http_slice host, const char *name, size_t length)
{
    return length > 0 && host.length == length && strncasecmp(host.data, name, length) == 0;
}

/* Takes a port off the end, which may be empty (RFC 3986, 3.2.3). False: what stands there is none.
 */
static bool cut_port(struct flowd_http_slice *host)
{
    const char *colon;
    size_t length;
    uint64_t port;

    if (host->length > 0 && host->data[host->length - 1] == ']')
        return true;
    colon = memrchr(host->data, ':', host->length);
    if (colon == NULL)
        return true;
    length = (size_t)(host->data + host->length - colon - 1);
    if (length > 0 && flowd_integer_parse(colon + 1, length, 0, 65535, &port) != 0)
        return false;
    host->length = (size_t)(colon - host->data);
    return true;
}

bool flowd_http_host_is_own(struct flowd_http_slice host, const char *hostname)
{
    struct flowd_address address;
    size_t full = strlen(hostname);

    /* No zone: what stands behind the "%" could be any name. */
    if (host.length == 0 || memchr(host.data, '%', host.length) != NULL || !cut_port(&host))
        return false;
    if (host.length >= 2 && host.data[0] == '[' && host.data[host.length - 1] == ']')
        return flowd_address_parse(host.data + 1, host.length - 2, &address) == 0 &&
               memchr(host.data, ':', host.length) != NULL;
    if (host.length > 0 && host.data[host.length - 1] == '.')
        host.length--;
    if (equals_name(host, "localhost", 9) || equals_name(host, hostname, full) ||
        equals_name(host, hostname, strcspn(hostname, ".")))
        return true;
    return flowd_address_parse(host.data, host.length, &address) == 0 && address.family == AF_INET;
}
