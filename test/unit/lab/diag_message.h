/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of sock_diag(7) for tests, put together byte by byte.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIAG_MESSAGE_SIZE 2048
/* Of the netlink header and struct inet_diag_msg. */
#define DIAG_HEAD 88

struct diag_message {
    _Alignas(8) unsigned char bytes[DIAG_MESSAGE_SIZE];
    size_t length;
};

/*
 * The head of an answer about an established connection, sequence 7, cookie 0x0000000200000001,
 * from port 1094 to port 40000; src and dst are 4 (AF_INET) or 16 bytes.
 */
void diag_message_begin(struct diag_message *message, uint8_t family, const uint8_t *src,
                        const uint8_t *dst);
/* Adds an attribute; data may be NULL: zeros. */
void diag_message_add(struct diag_message *message, uint16_t type, const void *data, size_t length);
