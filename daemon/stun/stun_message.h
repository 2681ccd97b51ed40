/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The STUN codec, as much of RFC 8489 as a client needs that asks for its own address: a Binding
 * request, and what the answers to it say. Pure: needs no socket and no clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/net/address.h"

#define FLOWD_STUN_PORT 3478
#define FLOWD_STUN_ID_SIZE 12
#define FLOWD_STUN_REQUEST_SIZE 20

/* The transaction id: 96 bits from a cryptographic source (RFC 8489, 5). */
struct flowd_stun_id {
    uint8_t bytes[FLOWD_STUN_ID_SIZE];
};

/* Writes a Binding request without attributes. */
void flowd_stun_request(const struct flowd_stun_id *id,
                        uint8_t request[static FLOWD_STUN_REQUEST_SIZE]);

enum flowd_stun_verdict {
    FLOWD_STUN_ADDRESS,  /* the answer to the request, with an address */
    FLOWD_STUN_ERROR,    /* the answer to the request: an error code */
    FLOWD_STUN_UNUSABLE, /* the answer to the request, without an address that can be used */
    FLOWD_STUN_FOREIGN,  /* something else: to be ignored, the answer may still come */
};

struct flowd_stun_answer {
    struct flowd_address mapped; /* FLOWD_STUN_ADDRESS: how the server saw the request's source */
    uint16_t port;               /* of it; host byte order */
    int error_code;              /* FLOWD_STUN_ERROR: 300-699, 0 where it is not told */
};

/*
 * Reads a datagram that came to the socket which the request with this id went out of. answer is
 * set as far as the verdict says.
 */
enum flowd_stun_verdict flowd_stun_read(const uint8_t *data, size_t length,
                                        const struct flowd_stun_id *id,
                                        struct flowd_stun_answer *answer);
