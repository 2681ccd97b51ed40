/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes a firefly on as its sender wrote it, with what is missing in it. Pure: needs no socket and
 * no clock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/text.h"
#include "daemon/firefly/message.h"

/* What may be put into a firefly that is passed on. */
struct firefly_additions {
    bool syslog;          /* a header where the sender put none */
    const char *hostname; /* that stands in it; borrowed */
    int64_t now_us;       /* CLOCK_REALTIME */
    int64_t start_us;     /* of the flow, CLOCK_REALTIME; 0: not known */
    const char *src_ip;   /* text in place of the sender's; NULL: that stays. Borrowed */
    const char *dst_ip;
};

/*
 * Appends the message to text. Every byte of its sender stays, in its place, but the values of
 * src-ip and dst-ip where additions name others. Where they are missing it gets a syslog header
 * (a timestamp, if only that is missing: RFC 5424, 6.2.3 knows "-" for one that its originator did
 * not have, which is kept), "version", "current-time", "start-time" where the flow's start is
 * known, and at an end "end-time". Whether there was memory says flowd_text_failed().
 */
void firefly_splice(struct flowd_text *text, const struct flowd_firefly_message *message,
                    const struct firefly_additions *additions);
