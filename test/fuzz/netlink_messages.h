/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts an input into the netlink messages that stand in it one behind the other, as the kernel puts
 * them into a datagram. Each is handed over in memory of its own length, where a read behind its
 * end is seen.
 */
#pragma once

#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_target.h"

/* Calls take for each; the last may be shorter than it says, and is left out unless cut. */
static inline void for_each_message(const uint8_t *data, size_t size, bool cut,
                                    void (*take)(void *context, void *message, size_t length),
                                    void *context)
{
    struct nlmsghdr header;

    while (size >= sizeof(header)) {
        size_t length, step;
        void *message;

        memcpy(&header, data, sizeof(header));
        length = header.nlmsg_len < size ? header.nlmsg_len : size;
        if (length < sizeof(header) || (length < header.nlmsg_len && !cut))
            return;
        message = malloc(length);
        REQUIRE(message != NULL);
        memcpy(message, data, length);
        take(context, message, length);
        free(message);
        step = NLMSG_ALIGN(length);
        step = step < size ? step : size;
        data += step;
        size -= step;
    }
}
