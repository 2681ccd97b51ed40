/*
 * The firefly codec: one flow event as one UDP payload, a JSON object behind a syslog header.
 *
 * Pure: needs no socket and no clock. Format: SciTags firefly schema 1.0.0, RFC 5424, RFC 3339.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow.h"
#include "daemon/text.h"

/* No datagram is longer, so that none is ever fragmented on the way. */
#define FLOWD_FIREFLY_SIZE_MAX 1400

struct flowd_firefly_header {
    bool syslog;          /* put the RFC 5424 header before the object */
    const char *hostname; /* borrowed; "-" where it is not known */
};

/*
 * Appends the firefly of flow to text. state says what happened, now_us (CLOCK_REALTIME) when the
 * message is sent. For FLOWD_EVENT_END flow->end_us must be set.
 */
void flowd_firefly_encode(struct flowd_text *text, const struct flowd_firefly_header *header,
                          const struct flowd_flow *flow, enum flowd_event_state state,
                          int64_t now_us);

/*
 * The host's name as RFC 5424 wants it: printable ASCII without blanks, at most 255 bytes, "-" if
 * there is none. buffer holds size bytes.
 */
void flowd_firefly_hostname(char *buffer, size_t size);
