/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of rtnetlink for tests, put together from heads and attributes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ROUTE_MESSAGE_SIZE 512

struct route_message {
    _Alignas(8) unsigned char bytes[ROUTE_MESSAGE_SIZE]; /* what is behind its end is 0xff */
    size_t length;
};

/* type is RTM_NEWLINK, ...; head the structure of its kind, of size bytes. */
void route_message_begin(struct route_message *message, uint16_t type, const void *head,
                         size_t size);
void route_message_add(struct route_message *message, uint16_t type, const void *data,
                       size_t length);
/* For whom takes messages; borrowed. */
struct nlmsghdr *route_message_header(struct route_message *message);
