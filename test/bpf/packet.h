/*
 * Composes Ethernet frames for the marker's tests.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/marker.h"

#define PACKET_SIZE 512
#define PACKET_CHAIN_MAX 12

/* Extension headers by their numbers; fragments come in two kinds. */
enum packet_header {
    PACKET_HOP_BY_HOP = 0,
    PACKET_ROUTING = 43,
    PACKET_FRAGMENT_FIRST = 44,
    PACKET_AUTHENTICATION = 51,
    PACKET_DESTINATION = 60,
    PACKET_FRAGMENT_LATER = 0x100 + 44,
};

struct packet_recipe {
    const char *src; /* numeric IPv6 */
    const char *dst;
    uint16_t src_port;
    uint16_t dst_port;
    uint8_t protocol;
    uint8_t traffic_class;
    uint32_t flow_label;
    uint16_t tags[3];            /* ethertypes of VLAN tags, outermost first; 0 ends */
    int chain[PACKET_CHAIN_MAX]; /* enum packet_header, outermost first */
    unsigned chain_length;
};

struct packet {
    uint8_t bytes[PACKET_SIZE];
    size_t length;
    size_t network; /* where the IPv6 header begins */
};

void packet_compose(const struct packet_recipe *recipe, struct packet *packet);
/* The map key of the packets of recipe, with the source address. */
struct flowd_marker_key packet_key(const struct packet_recipe *recipe);
/* Writes label into the packet's IPv6 header, as the interface says that it must leave. */
void packet_set_label(struct packet *packet, uint32_t label);
