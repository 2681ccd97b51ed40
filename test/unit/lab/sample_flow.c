/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbered flows, all with documentation addresses.
 */
#include "lab/sample_flow.h"

#include <arpa/inet.h>
#include <string.h>

#include "daemon/base/timestamp.h"

struct flowd_flow_key sample_key(uint32_t number)
{
    struct flowd_flow_key key = {
        .src_port = (uint16_t)(1024 + number % 60000), .dst_port = 443, .protocol = IPPROTO_TCP};

    if (number % 3 == 2) {
        key.family = AF_INET;
        memcpy(&key.src, "\xc0\x00\x02\x01", 4);
        memcpy(&key.dst, "\xcb\x00\x71\x01", 4);
        key.dst_port = (uint16_t)(443 + number / 60000);
    } else {
        uint32_t low = htonl(number);

        key.family = AF_INET6;
        memcpy(&key.src, "\x20\x01\x0d\xb8", 4);
        memcpy(&key.src.s6_addr[12], &low, 4);
        memcpy(&key.dst, "\x20\x01\x0d\xb8", 4);
        memset(&key.dst.s6_addr[14], 0xff, 2);
    }
    return key;
}

struct flowd_event sample_event(uint32_t number)
{
    return (struct flowd_event){
        .state = FLOWD_EVENT_START, .key = sample_key(number), .experiment = 2, .activity = 17};
}

struct flowd_flow sample_flow(uint32_t number)
{
    return (struct flowd_flow){.key = sample_key(number),
                               .start_us = 1767225600000000 + number,
                               .last_event_us = flowd_timestamp_boot_us(),
                               .flow_label = flowd_flow_label(2, 17, 0),
                               .experiment = 2,
                               .activity = 17,
                               .source = "test",
                               .application = "sample"};
}

uint32_t sample_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}
