/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet of a combination, as it comes to the marker.
 */
#include "lab/combination.h"

#include <string.h>

#define SEGMENT_COUNT 3u
#define TCP_OPTIONS 12u

/* The chains of own headers, and how many of them stand before a fragment header. */
struct chain {
    int headers[PACKET_CHAIN_MAX];
    unsigned length;
    unsigned before;
};

static const struct chain own_chains[EXTENSION_COUNT] = {
    [EXTENSION_HOP_BY_HOP] = {{PACKET_HOP_BY_HOP}, 1, 1},
    [EXTENSION_DESTINATION] = {{PACKET_DESTINATION}, 1, 0},
    [EXTENSION_ROUTING] = {{PACKET_ROUTING}, 1, 1},
    [EXTENSION_HOP_BY_HOP_ROUTING] = {{PACKET_HOP_BY_HOP, PACKET_ROUTING}, 2, 2},
    [EXTENSION_DESTINATION_ROUTING] = {{PACKET_DESTINATION, PACKET_ROUTING}, 2, 2},
    [EXTENSION_ROUTING_DESTINATION] = {{PACKET_ROUTING, PACKET_DESTINATION}, 2, 1},
    [EXTENSION_HOP_BY_HOP_DESTINATION] = {{PACKET_HOP_BY_HOP, PACKET_DESTINATION}, 2, 1},
    [EXTENSION_AUTHENTICATION] = {{PACKET_AUTHENTICATION}, 1, 0},
    [EXTENSION_EVERY] = {{PACKET_HOP_BY_HOP, PACKET_DESTINATION, PACKET_ROUTING,
                          PACKET_AUTHENTICATION, PACKET_DESTINATION},
                         5,
                         3},
    [EXTENSION_EIGHT] = {{43, 43, 43, 43, 43, 43, 43, 43}, 8, 8},
    [EXTENSION_NINE] = {{43, 43, 43, 43, 43, 43, 43, 43, 43}, 9, 9},
    [EXTENSION_256_BYTES] = {{PACKET_ROUTING_256_BYTES}, 1, 1},
    [EXTENSION_264_BYTES] = {{PACKET_ROUTING_264_BYTES}, 1, 1},
    [EXTENSION_MARKED_HOP_BY_HOP] = {{PACKET_HOP_BY_HOP_OPTION}, 1, 1},
    [EXTENSION_MARKED_DESTINATION] = {{PACKET_DESTINATION_OPTION}, 1, 0},
};

static void add(struct packet_recipe *recipe, int header)
{
    recipe->chain[recipe->chain_length++] = header;
}

/* Headers that look like the mark of the strategy, perhaps with a Routing header between them. */
static struct chain mark_like(unsigned strategy, int hop_by_hop, int destination, bool routing)
{
    struct chain chain = {0};

    if (strategy & FLOWD_MARKER_HOP_BY_HOP)
        chain.headers[chain.length++] = hop_by_hop;
    if (routing)
        chain.headers[chain.length++] = PACKET_ROUTING;
    chain.before = chain.length;
    if (strategy & FLOWD_MARKER_DESTINATION)
        chain.headers[chain.length++] = destination;
    return chain;
}

static struct chain chain_of(const struct combination *combination)
{
    unsigned strategy = combination->value[COMBINATION_STRATEGY];
    enum combination_extension extension = combination->value[COMBINATION_EXTENSION];

    switch (extension) {
    case EXTENSION_MARKED:
    case EXTENSION_MARKED_ROUTING:
        return mark_like(strategy, PACKET_HOP_BY_HOP_OPTION, PACKET_DESTINATION_OPTION,
                         extension == EXTENSION_MARKED_ROUTING);
    case EXTENSION_MARKED_OTHERWISE:
        return mark_like(strategy, PACKET_HOP_BY_HOP_NEIGHBOUR, PACKET_DESTINATION_NEIGHBOUR,
                         false);
    case EXTENSION_MARKED_AND_MORE:
        return mark_like(strategy, PACKET_HOP_BY_HOP_LONGER, PACKET_DESTINATION_LONGER, false);
    default:
        return own_chains[extension];
    }
}

static void fill_chain(const struct combination *combination, struct packet_recipe *recipe)
{
    static const int fragments[FRAGMENT_COUNT] = {
        [FRAGMENT_ATOMIC] = PACKET_FRAGMENT_ATOMIC,
        [FRAGMENT_FIRST] = PACKET_FRAGMENT_FIRST,
        [FRAGMENT_LATER_KNOWN] = PACKET_FRAGMENT_MIDDLE,
        [FRAGMENT_LATER_UNKNOWN] = PACKET_FRAGMENT_MIDDLE,
    };
    enum combination_fragment fragment = combination->value[COMBINATION_FRAGMENT];
    struct chain chain = chain_of(combination);

    for (unsigned i = 0; i < chain.length; i++) {
        if (i == chain.before && fragment != FRAGMENT_NONE)
            add(recipe, fragments[fragment]);
        add(recipe, chain.headers[i]);
    }
    if (chain.before == chain.length && fragment != FRAGMENT_NONE)
        add(recipe, fragments[fragment]);
}

unsigned combination_added(const struct combination *combination)
{
    switch ((enum flowd_marker_strategy)combination->value[COMBINATION_STRATEGY]) {
    case FLOWD_MARKER_HOP_BY_HOP:
    case FLOWD_MARKER_DESTINATION:
        return 8;
    case FLOWD_MARKER_HOP_BY_HOP_DESTINATION:
        return 16;
    case FLOWD_MARKER_LABEL:
        break;
    }
    return 0;
}

/* Chooses the payload so that the packet, or each of its segments, is as long as it should be. */
static void fill_size(const struct combination *combination, unsigned mtu,
                      struct packet_recipe *recipe, unsigned *segment)
{
    struct packet packet;
    unsigned added = combination_added(combination);
    unsigned room;
    unsigned payload = 0;

    packet_compose(recipe, &packet);
    room = mtu - (unsigned)(packet.payload - packet.network);
    *segment = 0;
    switch ((enum combination_size)combination->value[COMBINATION_SIZE]) {
    case SIZE_SMALL:
    case SIZE_COUNT:
        return;
    case SIZE_EXACT:
        recipe->payload_length = (uint16_t)(room - added);
        return;
    case SIZE_OVER:
        recipe->payload_length = (uint16_t)(room - added + 1);
        return;
    case SIZE_SEGMENTS_EXACT:
        payload = room - added;
        break;
    case SIZE_SEGMENTS_OVER:
        payload = room - added + 1;
        break;
    case SIZE_SEGMENTS_FULL:
        payload = room;
        break;
    case SIZE_SEGMENTS_LONG:
        payload = room + 1;
        break;
    }
    *segment = payload;
    recipe->payload_length = (uint16_t)(payload * SEGMENT_COUNT - 5);
    recipe->partial_checksum = true;
}

static size_t cut_at(const struct combination *combination, const struct packet *packet)
{
    switch ((enum combination_cut)combination->value[COMBINATION_CUT]) {
    case CUT_TAG:
        return packet->tag + 2;
    case CUT_IP:
        return packet->network + 10;
    case CUT_EXTENSION:
        return packet->extension + 2;
    case CUT_FRAGMENT:
        return packet->fragment + 2;
    case CUT_TRANSPORT:
        return packet->transport + 3;
    case CUT_PAYLOAD:
        return packet->payload + 1;
    case CUT_NOWHERE:
    case CUT_COUNT:
        break;
    }
    return packet->length;
}

void combination_packet(const struct combination *combination, uint32_t label,
                        const uint8_t option[static PACKET_OPTION_SIZE], uint32_t identification,
                        unsigned mtu, struct packet_recipe *recipe, size_t *cut, unsigned *segment)
{
    static const uint16_t tags[VLAN_COUNT][3] = {
        [VLAN_8021Q] = {0x8100},
        [VLAN_8021AD_8021Q] = {0x88a8, 0x8100},
        [VLAN_THREE] = {0x88a8, 0x8100, 0x8100},
    };
    static const uint8_t protocols[PROTOCOL_COUNT] = {
        [PROTOCOL_TCP] = 6,  [PROTOCOL_UDP] = 17,  [PROTOCOL_ICMPV6] = 58,
        [PROTOCOL_ESP] = 50, [PROTOCOL_NONE] = 59, [PROTOCOL_IPV4] = 6,
    };
    struct packet packet;

    *recipe = (struct packet_recipe){
        /* Bytes 4 and 5 of the address are the ethertype of IPv6. */
        .src = "2001:db8:86dd::1",
        .dst = "2001:db8:0:1::2",
        .src_port = 1094,
        .dst_port = 40000,
        .protocol = protocols[combination->value[COMBINATION_PROTOCOL]],
        .traffic_class = 0xb8,
        .flow_label = 0x13579,
        .no_link_header = combination->value[COMBINATION_LINK] == LINK_NONE,
        .ipv4 = combination->value[COMBINATION_PROTOCOL] == PROTOCOL_IPV4,
        .identification = identification,
        .tcp_options = TCP_OPTIONS,
    };
    memcpy(recipe->tags, tags[combination->value[COMBINATION_VLAN]], sizeof(recipe->tags));
    memcpy(recipe->option, option, sizeof(recipe->option));
    if (combination->value[COMBINATION_STRATEGY] == FLOWD_MARKER_LABEL &&
        combination->value[COMBINATION_EXTENSION] == EXTENSION_MARKED)
        recipe->flow_label = label;
    fill_chain(combination, recipe);
    fill_size(combination, mtu, recipe, segment);
    packet_compose(recipe, &packet);
    *cut = cut_at(combination, &packet);
}
