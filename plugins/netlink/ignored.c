/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of ignored networks, those of IPv4 first, which is the order that the kernel's filter
 * wants. It is walked where the filter can't be used or does not hold all of them.
 */
#include "ignored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Adds the networks of one family that text is one of; the other family has its own walk. */
static int add(struct flowd_netlink_ignored *ignored, const char *text, uint8_t family,
               struct flowd_error *err)
{
    struct flowd_network network;
    int result = flowd_network_parse(text, strlen(text), &network, err);

    if (result < 0)
        return flowd_error_wrap(err, result, "%s", text);
    if (network.base.family == family)
        ignored->networks[ignored->count++] = network;
    return 0;
}

static int add_family(struct flowd_netlink_ignored *ignored, const struct flowd_strings *internal,
                      bool private_too, uint8_t family, struct flowd_error *err)
{
    int result = 0;

    for (size_t i = 0; private_too && i < flowd_private_network_count && result == 0; i++)
        result = add(ignored, flowd_private_networks[i].text, family, err);
    for (size_t i = 0; i < internal->count && result == 0; i++)
        result = add(ignored, internal->items[i], family, err);
    return result;
}

int flowd_netlink_ignored_init(struct flowd_netlink_ignored *out,
                               const struct flowd_strings *internal, bool private_too,
                               struct flowd_error *err)
{
    struct flowd_netlink_ignored ignored = {0};
    int result;

    ignored.networks =
        calloc(internal->count + flowd_private_network_count, sizeof(*ignored.networks));
    if (ignored.networks == NULL)
        return flowd_fail_errno(err, ENOMEM, "internalNetworks");
    result = add_family(&ignored, internal, private_too, AF_INET, err);
    if (result == 0)
        result = add_family(&ignored, internal, private_too, AF_INET6, err);
    if (result < 0) {
        flowd_netlink_ignored_fini(&ignored);
        return result;
    }
    *out = ignored;
    return 0;
}

void flowd_netlink_ignored_fini(struct flowd_netlink_ignored *ignored)
{
    free(ignored->networks);
    *ignored = (struct flowd_netlink_ignored){0};
}

bool flowd_netlink_ignored_holds(const struct flowd_netlink_ignored *ignored, size_t first,
                                 uint8_t family, const struct in6_addr *addr)
{
    for (size_t i = first; i < ignored->count; i++)
        if (flowd_network_contains(&ignored->networks[i], family, addr))
            return true;
    return false;
}
