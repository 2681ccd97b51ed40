/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of packets and settings that the marker must cope with, as the product of dimensions: a
 * combination has one value of each. Every combination is either run, in one of the ways below, or
 * can't exist, for a reason that is written down.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lab/kernel_lacks.h"
#include "lab/packet.h"

enum combination_dimension {
    COMBINATION_STRATEGY, /* enum flowd_marker_strategy */
    COMBINATION_ENCODING, /* enum flowd_marker_encoding */
    COMBINATION_ROUTES,
    COMBINATION_PROTOCOL,
    COMBINATION_LINK,
    COMBINATION_VLAN,
    COMBINATION_EXTENSION,
    COMBINATION_FRAGMENT,
    COMBINATION_CUT,
    COMBINATION_SIZE,
    COMBINATION_DIMENSIONS,
};

/* Whether the programs were loaded so that they can read the MTU of a packet's route. */
enum combination_routes { ROUTES_READ, ROUTES_READ_BY_HELPER, ROUTES_UNKNOWN, ROUTES_COUNT };

enum combination_protocol {
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    PROTOCOL_ICMPV6,
    PROTOCOL_ESP,
    PROTOCOL_NONE, /* the number that says that nothing follows */
    PROTOCOL_IPV4, /* TCP over it */
    PROTOCOL_COUNT,
};

enum combination_link { LINK_ETHERNET, LINK_NONE, LINK_COUNT };

enum combination_vlan { VLAN_NONE, VLAN_8021Q, VLAN_8021AD_8021Q, VLAN_THREE, VLAN_COUNT };

/* Own extension headers, outermost first; the order is that of RFC 8200, section 4.1. */
enum combination_extension {
    EXTENSION_NONE,
    EXTENSION_HOP_BY_HOP,
    EXTENSION_DESTINATION,
    EXTENSION_ROUTING,
    EXTENSION_HOP_BY_HOP_ROUTING,
    EXTENSION_DESTINATION_ROUTING, /* for the next hop, not for the last destination */
    EXTENSION_ROUTING_DESTINATION,
    EXTENSION_HOP_BY_HOP_DESTINATION,
    EXTENSION_AUTHENTICATION,
    EXTENSION_EVERY,
    EXTENSION_EIGHT,     /* as many as are walked */
    EXTENSION_NINE,      /* one more */
    EXTENSION_256_BYTES, /* as long as may be moved */
    EXTENSION_264_BYTES, /* longer */
    /* The packet's own headers look like the strategy's mark: they are it (it has left by another
     * interface before), it around a Routing header, another one's, or it and something more. */
    EXTENSION_MARKED,
    EXTENSION_MARKED_ROUTING,
    EXTENSION_MARKED_OTHERWISE,
    EXTENSION_MARKED_AND_MORE,
    /* Half of two headers. */
    EXTENSION_MARKED_HOP_BY_HOP,
    EXTENSION_MARKED_DESTINATION,
    EXTENSION_COUNT,
};

enum combination_fragment {
    FRAGMENT_NONE,
    FRAGMENT_ATOMIC, /* RFC 6946: first and last at once */
    FRAGMENT_FIRST,
    FRAGMENT_LATER_KNOWN,   /* after the first one of the flow */
    FRAGMENT_LATER_UNKNOWN, /* with data that look like the flow's ports */
    FRAGMENT_COUNT,
};

/* The header in which the packet ends. */
enum combination_cut {
    CUT_NOWHERE,
    CUT_TAG,       /* the last one */
    CUT_IP,        /* the IP header */
    CUT_EXTENSION, /* the last one that can be seen */
    CUT_FRAGMENT,  /* the fragment header */
    CUT_TRANSPORT, /* in the ports */
    CUT_PAYLOAD,
    CUT_COUNT,
};

/* How long the packet is, or each segment that the kernel will cut it into. */
enum combination_size {
    SIZE_SMALL,
    SIZE_EXACT, /* fits the MTU with the mark */
    SIZE_OVER,  /* a byte longer: fits without it */
    SIZE_SEGMENTS_EXACT,
    SIZE_SEGMENTS_OVER,
    SIZE_SEGMENTS_FULL, /* each is as long as the MTU, without the mark */
    SIZE_SEGMENTS_LONG, /* and a byte longer than it */
    SIZE_COUNT,
};

struct combination {
    uint8_t value[COMBINATION_DIMENSIONS];
};

enum combination_way {
    WAY_NOT,
    WAY_TEST_RUN, /* BPF_PROG_TEST_RUN */
    WAY_DEVICE,   /* a packet that leaves a device (device.h) */
    WAYS,
};

/* The number of all combinations. A combination and its number are one-to-one. */
size_t combination_total(void);
struct combination combination_at(size_t number);

unsigned combination_values(enum combination_dimension dimension);
/* "hopByHop scitags ... small"; the text lives until the next call. */
const char *combination_text(const struct combination *combination);
const char *combination_value_text(enum combination_dimension dimension, unsigned value);

/* Why there can be no such packet, or NULL; *rule is the number of the reason's rule if not NULL.
 */
const char *combination_impossible(const struct combination *combination, unsigned *rule);
unsigned combination_rules(void);
/*
 * What keeps the combination, which is none of the impossible, from being run on a kernel that
 * lacks what is in lacking, by enum kernel_lack; KERNEL_LACKS if nothing does.
 */
enum kernel_lack combination_left_out(const struct combination *combination,
                                      const bool lacking[static KERNEL_LACKS]);
enum combination_way combination_way(const struct combination *combination);

/* Bytes that the strategy adds to a packet. */
unsigned combination_added(const struct combination *combination);

/*
 * The packet as it comes to the marker, from a flow whose mark is written as option, or bears
 * label. mtu is the device's. Sets *cut to the length after which it is cut off, and *segment to
 * the bytes of payload in each segment, 0 if it is one packet.
 */
void combination_packet(const struct combination *combination, uint32_t label,
                        const uint8_t option[static PACKET_OPTION_SIZE], uint32_t identification,
                        unsigned mtu, struct packet_recipe *recipe, size_t *cut, unsigned *segment);
