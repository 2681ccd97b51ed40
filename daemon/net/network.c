/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks in text form, and the one list of those that are private.
 *
 * Bits behind the prefix are a mistake rather than dropped: whoever writes 10.1.2.3/8 means either
 * one host or a network, and only one of the two is what would be done.
 */
#include "daemon/net/network.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/integer.h"

#define MAPPED_PREFIX 96

/*
 * Addresses for documentation (RFC 5737, RFC 3849) and for measurements of devices (RFC 2544) are
 * not in the list: nobody uses them by accident, and laboratories do on purpose.
 */
const struct flowd_private_network flowd_private_networks[] = {
    {"10.0.0.0/8", "RFC 1918"},     {"172.16.0.0/12", "RFC 1918"},
    {"192.168.0.0/16", "RFC 1918"}, {"100.64.0.0/10", "RFC 6598"},
    {"127.0.0.0/8", "RFC 1122"},    {"169.254.0.0/16", "RFC 3927"},
    {"::1/128", "RFC 4291, 2.5.3"}, {"fe80::/10", "RFC 4291, 2.5.6"},
    {"fec0::/10", "RFC 3879"},      {"fc00::/7", "RFC 4193"},
};
const size_t flowd_private_network_count =
    sizeof(flowd_private_networks) / sizeof(flowd_private_networks[0]);

static unsigned bits_of(uint8_t family)
{
    return family == AF_INET ? 32 : 128;
}

/* Clears what is behind the prefix. True: something was set there. */
static bool cut(struct flowd_network *network)
{
    uint8_t *bytes = network->base.addr.s6_addr;
    bool found = false;

    for (unsigned bit = network->prefix_length; bit < bits_of(network->base.family); bit++) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);

        found |= (bytes[bit / 8] & mask) != 0;
        bytes[bit / 8] &= (uint8_t)~mask;
    }
    return found;
}

/* The prefix's length from the text behind the slash. v6_text: counted as of an IPv6 address. */
static int parse_length(const char *text, size_t len, bool v6_text, uint8_t family, uint8_t *out,
                        struct flowd_error *err)
{
    unsigned bits = v6_text ? 128 : 32;
    uint64_t length;

    if (flowd_integer_parse(text, len, 0, bits, &length) < 0)
        return flowd_fail(err, EINVAL, "the prefix length is not in 0-%u", bits);
    if (v6_text && family == AF_INET) {
        if (length < MAPPED_PREFIX)
            return flowd_fail(err, EINVAL,
                              "an IPv4 address in IPv6 takes a prefix length of 96-128");
        length -= MAPPED_PREFIX;
    }
    *out = (uint8_t)length;
    return 0;
}

int flowd_network_parse(const char *text, size_t len, struct flowd_network *out,
                        struct flowd_error *err)
{
    const char *slash = memchr(text, '/', len);
    size_t address_length = slash != NULL ? (size_t)(slash - text) : len;
    char shown[FLOWD_NETWORK_SIZE];
    struct flowd_network network;
    int result = 0;

    if (memchr(text, '%', len) != NULL ||
        flowd_address_parse(text, address_length, &network.base) < 0)
        return flowd_fail(err, EINVAL, "no IPv4 or IPv6 network such as 192.0.2.0/24");
    network.prefix_length = (uint8_t)bits_of(network.base.family);
    if (slash != NULL)
        result = parse_length(slash + 1, len - address_length - 1,
                              memchr(text, ':', address_length) != NULL, network.base.family,
                              &network.prefix_length, err);
    if (result < 0)
        return result;
    if (cut(&network)) {
        flowd_network_format(&network, shown);
        return flowd_fail(err, EINVAL, "has bits set behind its prefix; the network is %s", shown);
    }
    *out = network;
    return 0;
}

size_t flowd_network_format(const struct flowd_network *network,
                            char buffer[static FLOWD_NETWORK_SIZE])
{
    char address[FLOWD_ADDRESS_SIZE];

    flowd_address_format(network->base.family, &network->base.addr, address);
    return (size_t)snprintf(buffer, FLOWD_NETWORK_SIZE, "%s/%u", address, network->prefix_length);
}

bool flowd_network_contains(const struct flowd_network *network, uint8_t family,
                            const struct in6_addr *addr)
{
    unsigned bytes = network->prefix_length / 8u, bits = network->prefix_length % 8u;
    uint8_t mask = (uint8_t)(0xff00u >> bits);

    return network->base.family == family && memcmp(&network->base.addr, addr, bytes) == 0 &&
           (bits == 0 || ((network->base.addr.s6_addr[bytes] ^ addr->s6_addr[bytes]) & mask) == 0);
}
