/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composes packets for the marker's tests, byte by byte, so that the tests depend on nobody's idea
 * of a header.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/marker.h"

#define PACKET_SIZE 66000
#define PACKET_CHAIN_MAX 14
#define PACKET_OPTION_SIZE 6

/* Extension headers: their number in the low byte, which variant above it. */
enum packet_header {
    PACKET_HOP_BY_HOP = 0,
    PACKET_ROUTING = 43,
    PACKET_FRAGMENT_FIRST = 44,
    PACKET_AUTHENTICATION = 51,
    PACKET_DESTINATION = 60,
    PACKET_FRAGMENT_MIDDLE = 0x100 | PACKET_FRAGMENT_FIRST,
    PACKET_FRAGMENT_LAST = 0x200 | PACKET_FRAGMENT_FIRST,
    PACKET_FRAGMENT_ATOMIC = 0x300 | PACKET_FRAGMENT_FIRST,
    PACKET_ROUTING_256_BYTES = 0x100 | PACKET_ROUTING,
    PACKET_ROUTING_264_BYTES = 0x200 | PACKET_ROUTING,
    /* With the recipe's option, with a neighbour of it, and with it and padding behind it. */
    PACKET_HOP_BY_HOP_OPTION = 0x100 | PACKET_HOP_BY_HOP,
    PACKET_HOP_BY_HOP_NEIGHBOUR = 0x200 | PACKET_HOP_BY_HOP,
    PACKET_HOP_BY_HOP_LONGER = 0x300 | PACKET_HOP_BY_HOP,
    PACKET_DESTINATION_OPTION = 0x100 | PACKET_DESTINATION,
    PACKET_DESTINATION_NEIGHBOUR = 0x200 | PACKET_DESTINATION,
    PACKET_DESTINATION_LONGER = 0x300 | PACKET_DESTINATION,
};

struct packet_recipe {
    const char *src; /* numeric IPv6 */
    const char *dst;
    uint16_t src_port;
    uint16_t dst_port;
    uint8_t protocol; /* others than UDP have what TCP has, so that ports stand there */
    uint8_t traffic_class;
    uint32_t flow_label;
    uint16_t tags[3];            /* ethertypes of VLAN tags, outermost first; 0 ends */
    int chain[PACKET_CHAIN_MAX]; /* enum packet_header, outermost first */
    unsigned chain_length;
    uint8_t option[PACKET_OPTION_SIZE]; /* of the headers called ..._OPTION */
    bool no_link_header;
    bool ipv4;               /* between two addresses of its own; no chain */
    uint32_t identification; /* of fragments, and of an IPv4 packet */
    uint8_t tcp_options;     /* bytes of them, a multiple of 4 */
    uint8_t icmp_type;       /* 0: ports stand there */
    uint16_t payload_length; /* 0: 16 bytes */
    uint16_t payload_start;  /* this many bytes of the stream went before, in other segments */
    uint16_t padding;        /* bytes behind the payload that the length does not count */
    bool no_length;          /* the length field is 0, as where it can't hold the length */
    bool partial_checksum;   /* the pseudo header's sum, for somebody else to finish */
};

struct packet {
    uint8_t bytes[PACKET_SIZE];
    size_t length;
    /* Where things begin; 0 for a tag, an extension or a fragment header that is not there. */
    size_t tag;       /* the last VLAN tag, behind the ethertype that announces it */
    size_t network;   /* the IP header */
    size_t extension; /* the last extension header that is no fragment header */
    size_t fragment;
    size_t transport;
    size_t payload;
};

/* A TCP packet with an Ethernet header, in which whatever the marker leaves alone is not 0. */
extern const struct packet_recipe packet_plain;

void packet_compose(const struct packet_recipe *recipe, struct packet *packet);
/* The map key of the packets of recipe, with the source address. */
struct flowd_marker_key packet_key(const struct packet_recipe *recipe);
/* Writes label into the packet's IPv6 header, as the interface says that it must leave. */
void packet_set_label(struct packet *packet, uint32_t label);

/* Whether the header is a fragment header, and one that data follow instead of headers. */
bool packet_is_fragment(int header);
bool packet_is_later_fragment(int header);
/* Bytes of the header. */
unsigned packet_header_size(int header);
/* Whether the checksum of a TCP or UDP packet that lies in bytes is right. */
bool packet_checksum_right(const struct packet_recipe *recipe, const struct packet *packet,
                           const uint8_t *bytes, size_t length);
/* Where the checksum stands, from the transport header on. */
size_t packet_checksum_offset(const struct packet_recipe *recipe);
