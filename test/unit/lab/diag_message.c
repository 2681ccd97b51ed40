/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lays the message out by offset rather than through the kernel's structures, so that a mistake in
 * reading them is not made twice.
 */
#include "lab/diag_message.h"

#include <netinet/in.h>
#include <string.h>

static void put16(unsigned char *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void put32(unsigned char *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void finish(struct diag_message *message)
{
    put32(message->bytes, (uint32_t)message->length);
}

void diag_message_begin(struct diag_message *message, uint8_t family, const uint8_t *src,
                        const uint8_t *dst)
{
    unsigned char *bytes = message->bytes;
    size_t size = family == AF_INET ? 4 : 16;

    memset(message, 0, sizeof(*message));
    put16(bytes + 4, 20); /* SOCK_DIAG_BY_FAMILY */
    put32(bytes + 8, 7);  /* sequence */
    bytes[16] = family;
    bytes[17] = 1;            /* TCP_ESTABLISHED */
    bytes[20] = 1094 >> 8;    /* source port, big endian */
    bytes[21] = 1094 & 0xff;  /* */
    bytes[22] = 40000 >> 8;   /* destination port */
    bytes[23] = 40000 & 0xff; /* */
    memcpy(bytes + 24, src, size);
    memcpy(bytes + 40, dst, size);
    put32(bytes + 60, 1); /* cookie, low half first */
    put32(bytes + 64, 2);
    message->length = DIAG_HEAD;
    finish(message);
}

void diag_message_add(struct diag_message *message, uint16_t type, const void *data, size_t length)
{
    unsigned char *at = message->bytes + message->length;

    put16(at, (uint16_t)(4 + length));
    put16(at + 2, type);
    if (data != NULL)
        memcpy(at + 4, data, length);
    message->length += (4 + length + 3) & ~(size_t)3;
    finish(message);
}
