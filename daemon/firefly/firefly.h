/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firefly codec: one flow event as one UDP payload, a JSON object behind a syslog header.
 *
 * Pure: needs no socket and no clock. Format: SciTags firefly schema 1.0.0, RFC 5424, RFC 3339.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/text.h"
#include "daemon/flow/flow.h"
#include "daemon/tcp/tcp_sample.h"

/* What a firefly may be long if it is not to be fragmented on the way. */
#define FLOWD_FIREFLY_SIZE_MAX 1400
/* What fits a UDP datagram in any case (IPv4). */
#define FLOWD_FIREFLY_SIZE_UDP 65507

struct flowd_firefly_header {
    bool syslog;          /* put the RFC 5424 header before the object */
    const char *hostname; /* borrowed; "-" where it is not known */
};

/* The TCP statistics that go into a firefly: "usage" and "netlink". */
struct flowd_firefly_statistics {
    const struct flowd_tcp_sample *sample; /* borrowed */
    unsigned set;                          /* FLOWD_TCP_LEAN, ... (tcp_field.h) */
    /* Of the whole firefly. What does not fit is left out from the end of the table of fields on;
     * without statistics no firefly is longer than FLOWD_FIREFLY_SIZE_MAX, and the first field, the
     * round-trip time, still fits that. */
    size_t size_max;
};

/*
 * Appends the firefly of flow to text. state says what happened, now_us (CLOCK_REALTIME) when the
 * message is sent. For FLOWD_EVENT_END flow->end_us must be set. statistics (NULL: not known) stand
 * behind all that other fireflies have.
 */
void flowd_firefly_encode(struct flowd_text *text, const struct flowd_firefly_header *header,
                          const struct flowd_flow *flow, enum flowd_event_state state,
                          const struct flowd_firefly_statistics *statistics, int64_t now_us);

/* Appends flowd's own syslog header, which ends with a blank. Arguments as above. */
void flowd_firefly_put_header(struct flowd_text *text, const char *hostname, int64_t now_us);

/*
 * The host's name as RFC 5424 wants it: printable ASCII without blanks, at most 255 bytes, "-" if
 * there is none. buffer holds size bytes.
 */
void flowd_firefly_hostname(char *buffer, size_t size);
