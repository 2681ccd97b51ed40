/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splices additions into a firefly. Missing members go to the front of their object, so that
 * nothing behind them has to be known; neither object can be empty, because a firefly without a
 * state is none.
 */
#include "splice.h"

#include "daemon/base/timestamp.h"
#include "daemon/firefly/firefly.h"

/* The sender's bytes that are still to be copied begin at done. */
struct copy {
    struct flowd_text *text;
    const struct flowd_firefly_message *message;
    size_t done;
};

static void copy_up_to(struct copy *copy, size_t offset)
{
    if (offset <= copy->done)
        return;
    flowd_text_append(copy->text, copy->message->text + copy->done, offset - copy->done);
    copy->done = offset;
}

static void put_time(struct flowd_text *text, int64_t time_us)
{
    char buffer[FLOWD_TIMESTAMP_SIZE];
    size_t length = flowd_timestamp_format(time_us, buffer);

    flowd_text_append(text, buffer, length);
}

static void put_header(struct copy *copy, const struct firefly_additions *additions)
{
    const struct flowd_firefly_message *message = copy->message;

    if (message->header.length == 0 && additions->syslog) {
        flowd_firefly_put_header(copy->text, additions->hostname, additions->now_us);
    } else if (message->header.length > 0 && message->timestamp.length == 0) {
        copy_up_to(copy, message->timestamp.offset);
        put_time(copy->text, additions->now_us);
    }
}

static void put_member_time(struct copy *copy, const char *name, int64_t time_us)
{
    flowd_text_puts(copy->text, "\"");
    flowd_text_puts(copy->text, name);
    flowd_text_puts(copy->text, "\": \"");
    put_time(copy->text, time_us);
    flowd_text_puts(copy->text, "\", ");
}

static void put_lifecycle(struct copy *copy, const struct firefly_additions *additions)
{
    const struct flowd_firefly_message *message = copy->message;

    copy_up_to(copy, message->lifecycle.offset + 1);
    if (!message->has_current_time)
        put_member_time(copy, "current-time", additions->now_us);
    if (!message->has_start_time && additions->start_us != 0)
        put_member_time(copy, "start-time", additions->start_us);
    if (!message->has_end_time && message->event.state == FLOWD_EVENT_END)
        put_member_time(copy, "end-time", additions->now_us);
}

static void put_address(struct copy *copy, const struct flowd_firefly_span *span,
                        const char *address)
{
    if (address == NULL)
        return;
    copy_up_to(copy, span->offset);
    flowd_text_puts(copy->text, "\"");
    flowd_text_puts(copy->text, address);
    flowd_text_puts(copy->text, "\"");
    copy->done = span->offset + span->length;
}

static void put_addresses(struct copy *copy, const struct firefly_additions *additions)
{
    const struct flowd_firefly_message *message = copy->message;

    if (message->src_ip.offset < message->dst_ip.offset) {
        put_address(copy, &message->src_ip, additions->src_ip);
        put_address(copy, &message->dst_ip, additions->dst_ip);
    } else {
        put_address(copy, &message->dst_ip, additions->dst_ip);
        put_address(copy, &message->src_ip, additions->src_ip);
    }
}

void firefly_splice(struct flowd_text *text, const struct flowd_firefly_message *message,
                    const struct firefly_additions *additions)
{
    struct copy copy = {.text = text, .message = message};

    put_header(&copy, additions);
    copy_up_to(&copy, message->object.offset + 1);
    if (!message->has_version)
        flowd_text_puts(text, "\"version\": 1, ");
    if (message->lifecycle.offset < message->src_ip.offset) {
        put_lifecycle(&copy, additions);
        put_addresses(&copy, additions);
    } else {
        put_addresses(&copy, additions);
        put_lifecycle(&copy, additions);
    }
    copy_up_to(&copy, message->length);
}
