/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must become of a packet: the rules of packet marks, written down a second time. The model
 * knows a packet by its recipe; what must leave is a recipe too, so it says where in the order of
 * headers the mark stands and never moves a byte.
 */
#pragma once

#include <stdint.h>

#include "lab/combination.h"

struct model_settings {
    enum flowd_marker_strategy strategy;
    enum flowd_marker_encoding encoding;
    bool routes_read;
    bool by_helper; /* as on kernels where they can't be read directly */
    unsigned mtu;   /* the device's */
    /* What packets of no flow bear; NULL: nothing. */
    const struct flowd_marker_mark *general;
};

/* A packet as it comes. */
struct model_packet {
    const struct packet_recipe *recipe;
    enum combination_cut cut;
    bool datagram_known; /* the first fragment of its datagram was of a flow */
    unsigned segment;    /* bytes of payload in each segment, 0: it is one packet */
};

struct model_result {
    enum flowd_marker_verdict verdict;
    struct packet_recipe recipe;
    unsigned segment;
};

/* The option that says the mark, as the six bytes that fill an extension header. */
void model_option(enum flowd_marker_encoding encoding, const struct flowd_marker_mark *mark,
                  uint8_t option[static PACKET_OPTION_SIZE]);

/* What becomes of a packet of a flow with the mark, or of no flow if that is NULL. */
struct model_result model_expect(const struct model_settings *settings,
                                 const struct model_packet *packet,
                                 const struct flowd_marker_mark *mark);
