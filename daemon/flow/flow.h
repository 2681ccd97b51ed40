/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: what identifies one, what flowd remembers of it, and the events that change it.
 *
 * `struct flowd_flow` is also the record of the state file (flow_table.h), so its layout is part of
 * that file's version.
 */
#pragma once

#include <assert.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/net/address.h"

/* What every input accepts; a strategy may take less (interface: "Packet marks"). */
#define FLOWD_EXPERIMENT_MAX 1023
#define FLOWD_ACTIVITY_MAX 63
#define FLOWD_SCITAG_MIN 65
#define FLOWD_SCITAG_MAX 65535
/* What fits the nine experiment bits of a flow label. */
#define FLOWD_LABEL_EXPERIMENT_MAX 511

/* What packets are marked with. */
struct flowd_tag {
    uint16_t experiment;
    uint8_t activity;
};

#define FLOWD_APPLICATION_SIZE 56 /* with its NUL */
#define FLOWD_SOURCE_SIZE 12      /* with its NUL */
#define FLOWD_BACKENDS_MAX 6

/* The 5-tuple. 40 bytes without holes, so that equal keys are equal bytes. */
struct flowd_flow_key {
    struct in6_addr src; /* network byte order; IPv4 as in struct flowd_address */
    struct in6_addr dst;
    uint16_t src_port; /* host byte order, 1-65535 */
    uint16_t dst_port;
    uint8_t family;   /* AF_INET or AF_INET6 */
    uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t zero;
};
static_assert(sizeof(struct flowd_flow_key) == 40, "a flow key has no holes");

/* No damage of four bits makes one of another. */
enum flowd_flow_state {
    FLOWD_FLOW_FREE = 0,     /* the record is unused */
    FLOWD_FLOW_LIVE = 0x1f,  /* a live flow */
    FLOWD_FLOW_ENDED = 0xe3, /* ended in this loop turn; freed after the commit */
};

/*
 * One flow. Pointers to it are good until the commit of the loop turn in which the flow ends;
 * whoever wants to find it later keeps the id.
 */
struct flowd_flow {
    struct flowd_flow_key key;
    uint64_t id;      /* record number in the low 32 bits, generation in the high ones; never 0 */
    int64_t start_us; /* CLOCK_REALTIME */
    union {
        int64_t last_event_us; /* while live; CLOCK_BOOTTIME */
        int64_t end_us;        /* once ended; CLOCK_REALTIME */
    };
    uint32_t flow_label; /* 20 bits, with entropy, the same for the flow's whole life; 0 if the
                            experiment does not fit one */
    uint16_t experiment; /* 0-1023 */
    uint8_t activity;    /* 0-63 */
    uint8_t state;       /* enum flowd_flow_state; stored last */
    uint8_t directions;  /* the marker's: which directions have an entry in its map */
    bool untold : 1;     /* the hub's: restored, and the modules do not know of it yet */
    bool looked_for : 1; /* TCP: whether it has a socket was asked (attendance.h) ... */
    bool waits : 1;      /* ... and it never had one: its connection is yet to come */
    uint8_t backend[FLOWD_BACKENDS_MAX]; /* per backend slot: index into its statuses */
    uint32_t check; /* of what never changes while the flow is live: flow_record.h; else 0 */
    uint32_t older; /* neighbours in the order of last_event_us; record number + 1, 0: none */
    uint32_t newer;
    char source[FLOWD_SOURCE_SIZE];           /* the plugin that announced it */
    char application[FLOWD_APPLICATION_SIZE]; /* UTF-8, NUL-terminated, may be empty */
};
static_assert(sizeof(struct flowd_flow) == 160, "the record size is part of the state file");

enum flowd_event_state { FLOWD_EVENT_START, FLOWD_EVENT_END, FLOWD_EVENT_ONGOING };
#define FLOWD_EVENT_STATES 3
/* "start", "end", "ongoing" */
extern const char *const flowd_event_state_names[FLOWD_EVENT_STATES];

struct flowd_firefly_message;

/* What a plugin submits. What it points to is borrowed for the time of the call. */
struct flowd_event {
    enum flowd_event_state state;
    struct flowd_flow_key key;
    uint16_t experiment;
    uint8_t activity;
    int64_t start_us;        /* CLOCK_REALTIME; 0: now */
    const char *application; /* NULL or "": flowd itself */
    size_t application_length;
    const struct flowd_firefly_message *message; /* the firefly that it came as; NULL: none */
};

/*
 * Sets the addresses and the family of key from two addresses. Returns 0, or -EINVAL if they are
 * not of one family.
 */
int flowd_flow_key_set_addresses(struct flowd_flow_key *key, const struct flowd_address *src,
                                 const struct flowd_address *dst);
/* The same connection as its other end sees it. */
struct flowd_flow_key flowd_flow_key_reverse(const struct flowd_flow_key *key);

/*
 * Checks what no single field shows: ports not 0, a known protocol and family, experiment and
 * activity in range, application short enough (55 bytes) and UTF-8 without control characters.
 * Returns 0 or -EINVAL/-ERANGE with the reason, which names the field.
 */
int flowd_event_check(const struct flowd_event *event, struct flowd_error *err);

/* A hash of the key that is the same in every process (not for tables that peers can fill). */
uint64_t flowd_flow_key_hash(const struct flowd_flow_key *key, uint64_t seed);

static inline uint32_t flowd_scitag(uint16_t experiment, uint8_t activity)
{
    return (uint32_t)experiment * 64u + activity;
}

/*
 * The 20-bit flow label of SciTags, most significant bit first: 2 bits entropy, 9 bits experiment
 * reversed (its least significant bit first), 1 bit entropy, 6 bits activity, 2 bits entropy.
 * entropy: its five low bits are used, in that order. experiment 0-511, activity 0-63.
 */
uint32_t flowd_flow_label(uint16_t experiment, uint8_t activity, uint8_t entropy);

/* "tcp" or "udp" for the protocol number; and back: 0, or -EINVAL. Any case is accepted. */
const char *flowd_protocol_name(uint8_t protocol);
int flowd_protocol_parse(const char *text, size_t len, uint8_t *protocol);
/* "start", "end", "ongoing" in any case. Returns 0 or -EINVAL. */
int flowd_event_state_parse(const char *text, size_t len, enum flowd_event_state *state);

/* Flow ids as users see them: 16 hexadecimal digits. */
#define FLOWD_FLOW_ID_SIZE 17
void flowd_flow_id_format(uint64_t id, char buffer[static FLOWD_FLOW_ID_SIZE]);
int flowd_flow_id_parse(const char *text, size_t len, uint64_t *id);

/* "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000", for logs. */
#define FLOWD_FLOW_KEY_TEXT_SIZE (2 * FLOWD_ENDPOINT_SIZE + 8)
void flowd_flow_key_format(const struct flowd_flow_key *key,
                           char buffer[static FLOWD_FLOW_KEY_TEXT_SIZE]);
