/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lays the message out by offset, as diag_message.c does, and for the same reason: a mistake in
 * reading is not made twice.
 */
#include "lab/route_message.h"

#include <string.h>

static void route_message_finish(struct route_message *message)
{
    const uint32_t length = (uint32_t)message->length;

    memcpy(message->bytes, &length, sizeof(length));
}

void route_message_begin(struct route_message *message, uint16_t type, const void *head,
                         size_t size)
{
    memset(message->bytes, 0xff, sizeof(message->bytes));
    memset(message->bytes, 0, 16);
    memcpy(message->bytes + 4, &type, sizeof(type));
    memcpy(message->bytes + 16, head, size);
    message->length = 16 + size;
    route_message_finish(message);
}

void route_message_add(struct route_message *message, uint16_t type, const void *data,
                       size_t length)
{
    unsigned char *at = message->bytes + message->length;
    const uint16_t said = (uint16_t)(4 + length);

    memcpy(at, &said, sizeof(said));
    memcpy(at + 2, &type, sizeof(type));
    memcpy(at + 4, data, length);
    message->length += (4 + length + 3) & ~(size_t)3;
    route_message_finish(message);
}

struct nlmsghdr *route_message_header(struct route_message *message)
{
    return (struct nlmsghdr *)(void *)message->bytes;
}
