/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See packet.h.
 */
#include "lab/packet.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

const struct packet_recipe packet_plain = {
    /* A frame's ethertype stands in it too. */
    .src = "2001:db8:86dd::1", .dst = "2001:db8:0:1::2", .src_port = 1094,      .dst_port = 40000,
    .protocol = IPPROTO_TCP,   .traffic_class = 0xb8,    .flow_label = 0x13579,
};

#define PAYLOAD_USUAL 16u
#define PAYLOAD_PERIOD 47u

static const uint8_t ipv4_addresses[] = {192, 0, 2, 1, 198, 51, 100, 2};

static void put(struct packet *packet, const void *bytes, size_t length)
{
    assert(packet->length + length <= sizeof(packet->bytes));
    memcpy(packet->bytes + packet->length, bytes, length);
    packet->length += length;
}

static void put_u16(struct packet *packet, uint16_t number)
{
    const uint8_t bytes[] = {(uint8_t)(number >> 8), (uint8_t)number};

    put(packet, bytes, sizeof(bytes));
}

static void put_u32(struct packet *packet, uint32_t number)
{
    put_u16(packet, (uint16_t)(number >> 16));
    put_u16(packet, (uint16_t)number);
}

static void set_u16(struct packet *packet, size_t offset, size_t number)
{
    packet->bytes[offset] = (uint8_t)(number >> 8);
    packet->bytes[offset + 1] = (uint8_t)number;
}

/* RFC 1071, without the final complement. */
static uint32_t sum(uint32_t start, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        start += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    return start;
}

static uint16_t fold(uint32_t number)
{
    while (number > 0xffff)
        number = (number >> 16) + (number & 0xffff);
    return (uint16_t)number;
}

static size_t payload_length(const struct packet_recipe *recipe)
{
    return recipe->payload_length > 0 ? recipe->payload_length : PAYLOAD_USUAL;
}

static void put_ethernet(struct packet *packet, const struct packet_recipe *recipe)
{
    static const uint8_t addresses[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

    put(packet, addresses, sizeof(addresses));
    for (unsigned i = 0; i < 3 && recipe->tags[i] != 0; i++) {
        put_u16(packet, recipe->tags[i]);
        packet->tag = packet->length;
        put_u16(packet, (uint16_t)(100 + i));
    }
    put_u16(packet, recipe->ipv4 ? 0x0800 : 0x86dd);
}

bool packet_is_fragment(int header)
{
    return (header & 0xff) == PACKET_FRAGMENT_FIRST;
}

bool packet_is_later_fragment(int header)
{
    return header == PACKET_FRAGMENT_MIDDLE || header == PACKET_FRAGMENT_LAST;
}

unsigned packet_header_size(int header)
{
    switch (header) {
    case PACKET_ROUTING:
    case PACKET_AUTHENTICATION:
        return 24;
    case PACKET_ROUTING_256_BYTES:
        return 256;
    case PACKET_ROUTING_264_BYTES:
        return 264;
    case PACKET_HOP_BY_HOP_LONGER:
    case PACKET_DESTINATION_LONGER:
        return 16;
    default:
        return 8;
    }
}

/* RFC 8200, section 4.4: type 4 with no segments left. */
static void put_routing(struct packet *packet, int header, uint8_t next)
{
    unsigned size = packet_header_size(header);
    uint8_t bytes[264] = {next, (uint8_t)(size / 8 - 1), 4};

    for (unsigned i = 8; i < size; i++)
        bytes[i] = (uint8_t)i;
    put(packet, bytes, size);
}

/* RFC 8200, section 4.5. */
static void put_fragment(struct packet *packet, int header, uint8_t next, uint32_t identification)
{
    uint16_t offset = 0;

    if (header == PACKET_FRAGMENT_FIRST)
        offset = 1;
    else if (header == PACKET_FRAGMENT_MIDDLE)
        offset = 1448 | 1;
    else if (header == PACKET_FRAGMENT_LAST)
        offset = 2896;
    packet->fragment = packet->length;
    put(packet, &next, 1);
    put(packet, "", 1);
    put_u16(packet, offset);
    put_u32(packet, identification);
}

/* RFC 4302: the length counts 32-bit words minus 2; a 12-byte integrity value. */
static void put_authentication(struct packet *packet, uint8_t next)
{
    const uint8_t bytes[] = {next, 4, 0, 0, 0, 0, 0, 9, 0, 0,  0,  1,
                             1,    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

    put(packet, bytes, sizeof(bytes));
}

/* RFC 8200, section 4.2: eight bytes that are filled by one option, PadN if it is none of ours. */
static void put_options(struct packet *packet, const struct packet_recipe *recipe, int header,
                        uint8_t next)
{
    const uint8_t padding[8] = {1, 6};
    uint8_t option[PACKET_OPTION_SIZE] = {1, 4};
    bool longer = packet_header_size(header) == 16;

    if (header != PACKET_HOP_BY_HOP && header != PACKET_DESTINATION)
        memcpy(option, recipe->option, sizeof(option));
    if (header == PACKET_HOP_BY_HOP_NEIGHBOUR || header == PACKET_DESTINATION_NEIGHBOUR)
        option[4] ^= 1;
    put(packet, &next, 1);
    put(packet, longer ? "\1" : "\0", 1);
    put(packet, option, sizeof(option));
    if (longer)
        put(packet, padding, sizeof(padding));
}

static void put_extension(struct packet *packet, const struct packet_recipe *recipe, int header,
                          uint8_t next)
{
    if (!packet_is_fragment(header))
        packet->extension = packet->length;
    switch (header & 0xff) {
    case PACKET_ROUTING:
        put_routing(packet, header, next);
        break;
    case PACKET_FRAGMENT_FIRST:
        put_fragment(packet, header, next, recipe->identification);
        break;
    case PACKET_AUTHENTICATION:
        put_authentication(packet, next);
        break;
    default:
        put_options(packet, recipe, header, next);
        break;
    }
}

/* A stream of bytes that repeats after a prime number, so that no part looks like its neighbour. */
static void put_payload(struct packet *packet, const struct packet_recipe *recipe)
{
    static uint8_t stream[PACKET_SIZE + PAYLOAD_PERIOD];

    if (stream[0] == 0)
        for (size_t i = 0; i < sizeof(stream); i++)
            stream[i] = (uint8_t)('A' + i % PAYLOAD_PERIOD);
    put(packet, stream + recipe->payload_start % PAYLOAD_PERIOD, payload_length(recipe));
}

static void put_transport(struct packet *packet, const struct packet_recipe *recipe)
{
    uint8_t offset = (uint8_t)((20 + recipe->tcp_options) / 4 << 4);

    packet->transport = packet->length;
    if (recipe->icmp_type != 0) {
        put_u16(packet, (uint16_t)(recipe->icmp_type << 8));
        put_u16(packet, 0);
    } else {
        put_u16(packet, recipe->src_port);
        put_u16(packet, recipe->dst_port);
    }
    if (recipe->protocol == IPPROTO_UDP) {
        put_u16(packet, (uint16_t)(8 + payload_length(recipe)));
        put_u16(packet, 0);
    } else {
        put_u32(packet, 1u + recipe->payload_start);
        put_u32(packet, 0);
        /* Data offset, ACK, window; then checksum and urgent pointer. */
        put(packet, &offset, 1);
        put(packet, "\x10", 1);
        put_u16(packet, 0x2000);
        put_u32(packet, 0);
        for (unsigned i = 0; i < recipe->tcp_options; i++)
            put(packet, "\1", 1);
    }
    packet->payload = packet->length;
    put_payload(packet, recipe);
}

static void put_ipv4(struct packet *packet, const struct packet_recipe *recipe)
{
    put_u16(packet, 0x4500);
    put_u16(packet, 0);
    put_u16(packet, (uint16_t)recipe->identification);
    put_u16(packet, 0);
    put(packet, "\x40", 1);
    put(packet, &recipe->protocol, 1);
    put_u16(packet, 0);
    put(packet, ipv4_addresses, sizeof(ipv4_addresses));
}

static void put_ipv6(struct packet *packet, const struct packet_recipe *recipe)
{
    struct in6_addr address;

    put_u16(packet, (uint16_t)(0x6000 | recipe->traffic_class << 4));
    put_u32(packet, 0);
    put(packet, &(uint8_t){recipe->chain_length > 0 ? (uint8_t)recipe->chain[0] : recipe->protocol},
        1);
    put(packet, "\x40", 1);
    inet_pton(AF_INET6, recipe->src, &address);
    put(packet, &address, sizeof(address));
    inet_pton(AF_INET6, recipe->dst, &address);
    put(packet, &address, sizeof(address));
    for (unsigned i = 0; i < recipe->chain_length; i++) {
        uint8_t next =
            i + 1 < recipe->chain_length ? (uint8_t)recipe->chain[i + 1] : recipe->protocol;

        put_extension(packet, recipe, recipe->chain[i], next);
        if (packet_is_later_fragment(recipe->chain[i]))
            break;
    }
}

static uint32_t pseudo_header(const struct packet_recipe *recipe, const struct packet *packet,
                              size_t length)
{
    const uint8_t *network = packet->bytes + packet->network;
    uint32_t total = (uint32_t)length + recipe->protocol;

    return recipe->ipv4 ? sum(total, network + 12, 8) : sum(total, network + 8, 32);
}

void packet_compose(const struct packet_recipe *recipe, struct packet *packet)
{
    packet->length = packet->tag = packet->extension = packet->fragment = 0;
    if (!recipe->no_link_header)
        put_ethernet(packet, recipe);
    packet->network = packet->length;
    if (recipe->ipv4)
        put_ipv4(packet, recipe);
    else
        put_ipv6(packet, recipe);
    put_transport(packet, recipe);
    if (recipe->ipv4) {
        set_u16(packet, packet->network + 2, packet->length - packet->network);
        set_u16(packet, packet->network + 10,
                0xffffu ^ fold(sum(0, packet->bytes + packet->network, 20)));
    } else {
        if (!recipe->no_length)
            set_u16(packet, packet->network + 4, packet->length - packet->network - 40);
        packet_set_label(packet, recipe->flow_label);
    }
    if (recipe->partial_checksum)
        set_u16(packet, packet->transport + packet_checksum_offset(recipe),
                fold(pseudo_header(recipe, packet, packet->length - packet->transport)));
    for (unsigned i = 0; i < recipe->padding; i++)
        put(packet, "", 1);
}

struct flowd_marker_key packet_key(const struct packet_recipe *recipe)
{
    struct flowd_marker_key key = {
        .sport_be = htons(recipe->src_port),
        .dport_be = htons(recipe->dst_port),
        .protocol = recipe->protocol,
    };

    inet_pton(AF_INET6, recipe->dst, key.dst);
    inet_pton(AF_INET6, recipe->src, key.src);
    return key;
}

void packet_set_label(struct packet *packet, uint32_t label)
{
    uint8_t *header = packet->bytes + packet->network;

    header[1] = (uint8_t)((header[1] & 0xf0) | ((label >> 16) & 0x0f));
    header[2] = (uint8_t)(label >> 8);
    header[3] = (uint8_t)label;
}

size_t packet_checksum_offset(const struct packet_recipe *recipe)
{
    return recipe->protocol == IPPROTO_UDP ? 6 : 16;
}

bool packet_checksum_right(const struct packet_recipe *recipe, const struct packet *packet,
                           const uint8_t *bytes, size_t length)
{
    size_t size = length - packet->transport;

    return length > packet->transport && fold(sum(pseudo_header(recipe, packet, size),
                                                  bytes + packet->transport, size)) == 0xffff;
}
