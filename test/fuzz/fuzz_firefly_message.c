/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams: a firefly that is taken passes the hub's check, jansson takes its object, too, and its
 * parts are where they are said to be.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/firefly/message.h"
#include "fuzz_target.h"

static void check_span(const struct flowd_firefly_message *message,
                       const struct flowd_firefly_span *span, char first, char last)
{
    REQUIRE(span->length >= 2 && span->offset + span->length <= message->length);
    REQUIRE(message->text[span->offset] == first);
    REQUIRE(message->text[span->offset + span->length - 1] == last);
}

static void check_good(const struct flowd_firefly_message *message)
{
    json_error_t error;
    json_t *object = json_loadb(message->text + message->object.offset, message->object.length,
                                JSON_ALLOW_NUL, &error);

    /* Numbers that fit no type, and names with a NUL, are jansson's own limits. */
    REQUIRE(object != NULL || json_error_code(&error) == json_error_numeric_overflow ||
            json_error_code(&error) == json_error_null_byte_in_key);
    json_decref(object);
    REQUIRE(flowd_event_check(&message->event, NULL) == 0);
    check_span(message, &message->object, '{', '}');
    check_span(message, &message->lifecycle, '{', '}');
    check_span(message, &message->src_ip, '"', '"');
    check_span(message, &message->dst_ip, '"', '"');
    REQUIRE(message->header.offset == 0 && message->header.length == message->object.offset);
    REQUIRE(message->object.offset + message->object.length == message->length);
    REQUIRE(message->timestamp.offset + message->timestamp.length <= message->header.length);
    REQUIRE(message->hostname.offset + message->hostname.length <= message->header.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flowd_firefly_message message;
    enum flowd_firefly_reject why = FLOWD_FIREFLY_REJECTS;
    int result = flowd_firefly_decode((const char *)data, size, &message, &why);

    if (result == 0)
        check_good(&message);
    else
        REQUIRE((unsigned)why < FLOWD_FIREFLY_REJECTS);
    return 0;
}
