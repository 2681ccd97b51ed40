/*
 * Composes Ethernet frames byte by byte, so that the tests depend on nobody's idea of a header.
 */
#include "packet.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

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

static void put_ethernet(struct packet *packet, const struct packet_recipe *recipe)
{
    static const uint8_t addresses[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

    put(packet, addresses, sizeof(addresses));
    for (unsigned i = 0; i < 3 && recipe->tags[i] != 0; i++) {
        put_u16(packet, recipe->tags[i]);
        put_u16(packet, (uint16_t)(100 + i));
    }
    put_u16(packet, 0x86dd);
}

/* One extension header of its usual size, followed by next. */
static void put_extension(struct packet *packet, int header, uint8_t next)
{
    /* An option of padding (PadN, length 4) fills the eight bytes. */
    const uint8_t options[] = {next, 0, 1, 4, 0, 0, 0, 0};
    /* RFC 8200 section 4.4: no segments left. */
    const uint8_t routing[] = {next, 2, 4, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0,
                               0,    0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 1};
    const uint8_t first[] = {next, 0, 0, 1, 0, 0, 0x12, 0x34};
    const uint8_t later[] = {next, 0, 0x05, 0xa8, 0, 0, 0x12, 0x34};
    /* RFC 4302: the length counts 32-bit words minus 2; a 12-byte integrity value. */
    const uint8_t authentication[] = {next, 4, 0, 0, 0, 0, 0, 9, 0, 0,  0,  1,
                                      1,    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

    switch (header) {
    case PACKET_ROUTING:
        put(packet, routing, sizeof(routing));
        break;
    case PACKET_FRAGMENT_FIRST:
        put(packet, first, sizeof(first));
        break;
    case PACKET_FRAGMENT_LATER:
        put(packet, later, sizeof(later));
        break;
    case PACKET_AUTHENTICATION:
        put(packet, authentication, sizeof(authentication));
        break;
    default:
        put(packet, options, sizeof(options));
        break;
    }
}

static void put_transport(struct packet *packet, const struct packet_recipe *recipe)
{
    /* Behind the ports: sequence, acknowledgement, flags, window, checksum, urgent pointer. */
    const uint8_t tcp[] = {0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0};
    const uint8_t udp[] = {0, 24, 0, 0};
    const uint8_t payload[16] = "abcdefghijklmno";

    put_u16(packet, recipe->src_port);
    put_u16(packet, recipe->dst_port);
    if (recipe->protocol == IPPROTO_UDP)
        put(packet, udp, sizeof(udp));
    else
        put(packet, tcp, sizeof(tcp));
    put(packet, payload, sizeof(payload));
}

void packet_compose(const struct packet_recipe *recipe, struct packet *packet)
{
    uint8_t first = recipe->chain_length > 0 ? (uint8_t)recipe->chain[0] : recipe->protocol;
    struct in6_addr address;
    size_t payload_length;

    memset(packet, 0, sizeof(*packet));
    put_ethernet(packet, recipe);
    packet->network = packet->length;
    put_u16(packet, (uint16_t)(0x6000 | recipe->traffic_class << 4));
    put_u16(packet, 0);
    put_u16(packet, 0);
    put(packet, &first, 1);
    put(packet, "\x40", 1);
    inet_pton(AF_INET6, recipe->src, &address);
    put(packet, &address, sizeof(address));
    inet_pton(AF_INET6, recipe->dst, &address);
    put(packet, &address, sizeof(address));
    for (unsigned i = 0; i < recipe->chain_length; i++)
        put_extension(packet, recipe->chain[i],
                      i + 1 < recipe->chain_length ? (uint8_t)recipe->chain[i + 1]
                                                   : recipe->protocol);
    put_transport(packet, recipe);
    payload_length = packet->length - packet->network - 40;
    packet->bytes[packet->network + 4] = (uint8_t)(payload_length >> 8);
    packet->bytes[packet->network + 5] = (uint8_t)payload_length;
    packet_set_label(packet, recipe->flow_label);
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
