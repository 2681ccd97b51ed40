/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firefly decoder: one datagram that somebody sent, as a flow event and as the places of what
 * whoever passes it on has to know. Pure; allocates nothing and leaves the datagram as it is.
 *
 * Format: SciTags firefly schema 1.0.0, RFC 5424, RFC 3339, and what flowd 1.x, flowd-go, XRootD
 * and dCache make of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

/* A stretch of a message's text, in bytes. */
struct flowd_firefly_span {
    size_t offset;
    size_t length;
};

/* Points into the datagram and into itself: must not be copied, nor outlive the datagram. */
struct flowd_firefly_message {
    /* start_us is 0 where the firefly has no start-time; the application is cut to what a flow
     * holds, and "" where it has control characters. */
    struct flowd_event event;
    int64_t end_us;   /* CLOCK_REALTIME; 0: it has no end-time */
    const char *text; /* the datagram without blanks, line ends and NULs around it; borrowed */
    size_t length;
    struct flowd_firefly_span header; /* the syslog header up to the object; length 0: none */
    /* Of the header. RFC 5424's "-" is one; length 0: it has none, which would stand at offset. */
    struct flowd_firefly_span timestamp;
    struct flowd_firefly_span hostname;  /* of the header */
    struct flowd_firefly_span object;    /* with its braces; to the end of the text */
    struct flowd_firefly_span lifecycle; /* the value of "flow-lifecycle", with its braces */
    struct flowd_firefly_span src_ip;    /* the values, with their quotes */
    struct flowd_firefly_span dst_ip;
    bool has_version;
    bool has_current_time;
    bool has_start_time;
    bool has_end_time;
    bool has_application;
    bool has_usage;
    bool has_netlink;
    char application[FLOWD_APPLICATION_SIZE]; /* of one that has escapes */
};

/* Why a datagram is no firefly. */
enum flowd_firefly_reject {
    FLOWD_FIREFLY_HEADER,     /* neither an object nor a syslog header before one */
    FLOWD_FIREFLY_JSON,       /* not JSON, not UTF-8, nested too deeply, or text behind it */
    FLOWD_FIREFLY_TYPE,       /* a member is of another type than the schema's */
    FLOWD_FIREFLY_REPEATED,   /* a member that is read is there twice */
    FLOWD_FIREFLY_MISSING,    /* a member without which it is no event is not there */
    FLOWD_FIREFLY_VERSION,    /* not 1 */
    FLOWD_FIREFLY_STATE,      /* none of start, ongoing and end */
    FLOWD_FIREFLY_TIME,       /* start-time or end-time is no RFC 3339 date-time */
    FLOWD_FIREFLY_PROTOCOL,   /* neither tcp nor udp */
    FLOWD_FIREFLY_ADDRESS,    /* not a numeric address */
    FLOWD_FIREFLY_FAMILY,     /* the addresses are not of one family, or not of "afi"'s */
    FLOWD_FIREFLY_PORT,       /* not 1-65535 */
    FLOWD_FIREFLY_EXPERIMENT, /* not 0-1023 */
    FLOWD_FIREFLY_ACTIVITY,   /* not 0-63 */
};
#define FLOWD_FIREFLY_REJECTS 14
/* A word for each of them: "header", "json", ... */
extern const char *const flowd_firefly_reject_names[FLOWD_FIREFLY_REJECTS];

/*
 * Decodes a datagram. Returns 0, or -EBADMSG with the reason in *why; *out is undefined then. What
 * flowd_event_check() asks for holds for the event. Members that are not read may be anything.
 */
int flowd_firefly_decode(const char *datagram, size_t length, struct flowd_firefly_message *out,
                         enum flowd_firefly_reject *why);
