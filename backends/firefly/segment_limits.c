/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel has against messages of several datagrams. There are paths that can't have them
 * (IPsec, devices without checksums before Linux 6.11) and paths for which the datagrams are too
 * long by a bit. With another address of the receiver all is tried anew.
 */
#include "segment_limits.h"

#include <errno.h>
#include <string.h>

/* The receiver's place among the refusals, or where a new one goes. */
static size_t find(const struct segment_limits *limits, unsigned receiver)
{
    size_t count = limits->count < SEGMENT_REFUSALS_MAX ? limits->count : SEGMENT_REFUSALS_MAX;

    for (size_t i = 0; i < count; i++)
        if (limits->refusals[i].receiver == receiver)
            return i;
    return limits->count % SEGMENT_REFUSALS_MAX;
}

uint16_t segment_limits_of(const struct segment_limits *limits, unsigned receiver,
                           const struct sockaddr_in6 *address)
{
    const struct segment_refusal *found = &limits->refusals[find(limits, receiver)];

    if (found->receiver != receiver || memcmp(&found->address, address, sizeof(*address)) != 0)
        return SEGMENT_MAX;
    return found->limit;
}

bool segment_limits_refuse(struct segment_limits *limits, unsigned receiver,
                           const struct sockaddr_in6 *address, size_t length, int error)
{
    bool is_too_long = error == EINVAL || error == EMSGSIZE;
    struct segment_refusal *refusal = &limits->refusals[find(limits, receiver)];

    if (!is_too_long && error != EIO && error != EOPNOTSUPP && error != ENOPROTOOPT)
        return false;
    if (refusal->receiver != receiver)
        limits->count++;
    *refusal = (struct segment_refusal){
        .receiver = receiver,
        .address = *address,
        .limit = is_too_long && length > SEGMENT_MAX_SMALL_MTU ? SEGMENT_MAX_SMALL_MTU : 0};
    return true;
}
