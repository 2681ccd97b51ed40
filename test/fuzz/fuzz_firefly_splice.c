/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fireflies that are passed on: what comes out is the same event, has all that was missing, and
 * nothing is added to it a second time.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/firefly/message.h"
#include "fuzz_target.h"
#include "splice.h"

static void check(const struct flowd_firefly_message *message,
                  const struct firefly_additions *additions)
{
    struct flowd_text once = {0}, twice = {0};
    struct flowd_firefly_message result;
    enum flowd_firefly_reject why;

    firefly_splice(&once, message, additions);
    REQUIRE(additions->src_ip != NULL || once.length >= message->length);
    REQUIRE(flowd_firefly_decode(once.data, once.length, &result, &why) == 0);
    REQUIRE(result.header.length > 0 && result.timestamp.length > 0);
    REQUIRE(result.has_version && result.has_current_time && result.has_start_time);
    REQUIRE(result.has_end_time || message->event.state != FLOWD_EVENT_END);
    REQUIRE(result.event.state == message->event.state);
    REQUIRE(result.event.experiment == message->event.experiment);
    REQUIRE(result.event.activity == message->event.activity);
    if (additions->src_ip == NULL)
        REQUIRE(memcmp(&result.event.key, &message->event.key, sizeof(result.event.key)) == 0);
    firefly_splice(&twice, &result, additions);
    REQUIRE(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
    flowd_text_fini(&once);
    flowd_text_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct firefly_additions additions = {
        .syslog = true, .hostname = "h", .now_us = 1767225610000000, .start_us = 1767225600000000};
    struct flowd_firefly_message message;
    enum flowd_firefly_reject why;

    if (flowd_firefly_decode((const char *)data, size, &message, &why) < 0)
        return 0;
    check(&message, &additions);
    additions.src_ip = message.event.key.family == AF_INET ? "192.0.2.1" : "2001:db8::1";
    additions.dst_ip = message.event.key.family == AF_INET ? "192.0.2.2" : "2001:db8::2";
    check(&message, &additions);
    return 0;
}
