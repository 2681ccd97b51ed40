/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that a longer packet meets: the device's MTU, the length field, what the kernel lets a
 * program insert into, and what stands around the packet. Whatever does not fit leaves as it came.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include <net/ethernet.h>
#include <unistd.h>

#include "lab/kernel_lacks.h"
#include "lab/stage.h"

#define LENGTH_FIELD_MAX 65535u
#define SEGMENT_MIN 6u
#define SEGMENT_MIN_OF_TCP 8u /* not more than what one header takes */

static struct stage stage;

static struct model_settings load(unsigned strategy, unsigned mtu)
{
    struct model_settings settings = {
        .strategy = strategy, .routes_read = true, .by_helper = stage_by_helper, .mtu = mtu};

    for (unsigned link = 0; link < STAGE_LINKS; link++)
        assert_int_equal(device_set_mtu(&stage.devices[link], mtu), 0);
    assert_int_equal(stage_load_as_model(&stage, &settings), 0);
    assert_int_equal(stage_add_flow(&stage, &packet_plain), 0);
    return settings;
}

static void run(const struct model_settings *settings, enum combination_way way,
                const struct packet_recipe *recipe, unsigned segment)
{
    if (!stage_run_as_model(&stage, way, settings, recipe, segment, &stage_mark))
        fail_msg("strategy %d: %s", settings->strategy, stage.complaint);
}

/* As long as the usual MTUs allow, and what they do not. */
static void test_mtu(void **state)
{
    static const unsigned mtus[] = {1280, 1500, 9000};

    (void)state;
    for (unsigned s = 0; s < kernel_strategies(); s++)
        for (unsigned m = 0; m < sizeof(mtus) / sizeof(mtus[0]); m++) {
            struct model_settings settings = load(s, mtus[m]);

            for (unsigned spare = 0; spare < 20; spare++) {
                struct packet_recipe recipe = packet_plain;

                recipe.payload_length = (uint16_t)(mtus[m] - 60 - spare);
                run(&settings, WAY_DEVICE, &recipe, 0);
                recipe.no_link_header = true;
                run(&settings, WAY_DEVICE, &recipe, 0);
            }
        }
}

/*
 * The size that this kernel gives to segments that come with a size of 6 bytes: some make them as
 * long as the shortest that TCP allows itself before anything else sees the packet.
 */
static uint16_t shortest_segment(void)
{
    const struct device *device = &stage.devices[LINK_NONE];
    const struct packet_recipe recipe = {.src = packet_plain.src,
                                         .dst = packet_plain.dst,
                                         .protocol = IPPROTO_TCP,
                                         .no_link_header = true,
                                         .payload_length = 3 * SEGMENT_MIN,
                                         .partial_checksum = true};
    struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                    .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
                                    .gso_size = SEGMENT_MIN,
                                    .csum_offset = (uint16_t)packet_checksum_offset(&recipe)};
    static struct packet packet;
    static uint8_t bytes[PACKET_SIZE];

    packet_compose(&recipe, &packet);
    header.hdr_len = (uint16_t)packet.payload;
    header.csum_start = (uint16_t)packet.transport;
    assert_int_equal(device_detach(device, STAGE_PRIORITY), 0);
    assert_int_equal(device_send(device, &header, packet.bytes, packet.length), 0);
    assert_int_equal(device_receive(device, &header, bytes, sizeof(bytes)), packet.length);
    assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV6);
    return header.gso_size;
}

/* Segments that are hardly longer than what would be taken from them, from the shortest on. */
static void test_tiny_segments(void **state)
{
    uint16_t shortest;

    (void)state;
    load(FLOWD_MARKER_LABEL, 78);
    shortest = shortest_segment();
    assert_true(shortest == SEGMENT_MIN || shortest == SEGMENT_MIN_OF_TCP);
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, 78);

        for (uint16_t segment = shortest; segment <= 19; segment++)
            for (unsigned link = 0; link < STAGE_LINKS; link++) {
                struct packet_recipe recipe = packet_plain;

                recipe.payload_length = (uint16_t)(3 * segment);
                recipe.partial_checksum = true;
                recipe.no_link_header = link == LINK_NONE;
                run(&settings, WAY_DEVICE, &recipe, segment);
            }
    }
}

/* Segments share the length field of the packet that they are cut from. */
static void test_length_field(void **state)
{
    (void)state;
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, 1500);

        for (unsigned spare = 0; spare < 18; spare++)
            for (unsigned link = 0; link < STAGE_LINKS; link++) {
                struct packet_recipe recipe = packet_plain;

                recipe.payload_length = (uint16_t)(LENGTH_FIELD_MAX - 20 - spare);
                recipe.partial_checksum = true;
                recipe.no_link_header = link == LINK_NONE;
                run(&settings, WAY_DEVICE, &recipe, 1400);
            }
    }
}

/* RFC 2675, and packets of more than 64 KiB inside the kernel. */
static void test_no_length(void **state)
{
    struct packet_recipe recipe = packet_plain;

    (void)state;
    recipe.no_length = true;
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, STAGE_MTU);

        run(&settings, WAY_TEST_RUN, &recipe, 0);
        recipe.chain_length = 1;
        recipe.chain[0] = PACKET_ROUTING;
        run(&settings, WAY_TEST_RUN, &recipe, 0);
        recipe.chain_length = 0;
    }
}

/* Bytes behind the packet, as in a short Ethernet frame, do not vanish, and have to fit too. */
static void test_padding(void **state)
{
    struct packet_recipe recipe = packet_plain;

    (void)state;
    recipe.padding = 18;
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, STAGE_MTU);

        for (unsigned spare = 0; spare < 20; spare++) {
            recipe.payload_length = (uint16_t)(STAGE_MTU - 60 - recipe.padding - spare);
            run(&settings, WAY_TEST_RUN, &recipe, 0);
        }
    }
}

/*
 * The kernel inserts nothing into one packet that is longer than four pages: it leaves as it came.
 * Where pages are of more than 4 KiB, none is that long.
 */
static void test_refused(void **state)
{
    struct packet_recipe recipe = packet_plain;
    bool refused = 60 + 59000 > 4 * kernel_page_size();

    (void)state;
    recipe.payload_length = 59000;
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, 60000);
        const struct model_packet packet = {.recipe = &recipe};
        struct model_result expected = model_expect(&settings, &packet, &stage_mark);

        if (s != FLOWD_MARKER_LABEL && refused)
            expected = (struct model_result){.verdict = FLOWD_MARKER_MTU, .recipe = recipe};
        for (unsigned link = 0; link < STAGE_LINKS; link++) {
            recipe.no_link_header = expected.recipe.no_link_header = link == LINK_NONE;
            if (!stage_run(&stage, WAY_DEVICE, &recipe, 60 + 59000 + (link == LINK_NONE ? 0 : 14),
                           0, &expected))
                fail_msg("%s", stage.complaint);
        }
    }
}

/*
 * A device that takes no segments has the kernel cut them behind the program: each segment bears
 * the mark, has a right checksum, and is no longer than the MTU.
 */
static void test_segments_on_the_wire(void **state)
{
    static const int chains[][2] = {{-1}, {PACKET_ROUTING, -1}, {PACKET_HOP_BY_HOP, -1}};

    (void)state;
    if (!stage_cuts_datagrams(&stage))
        kernel_leave_out(KERNEL_NO_DATAGRAMS, "");
    for (unsigned link = 0; link < STAGE_LINKS; link++)
        assert_int_equal(device_set_segmentation(&stage.devices[link], false), 0);
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, 1500);

        for (unsigned i = 0; i < 3 * 2 * STAGE_LINKS; i++) {
            struct packet_recipe recipe = packet_plain;
            bool udp = i / 3 % 2;

            if (udp && !stage_cuts_datagrams(&stage))
                continue;
            recipe.chain_length = chains[i % 3][0] >= 0;
            recipe.chain[0] = chains[i % 3][0];
            recipe.protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
            recipe.partial_checksum = true;
            recipe.payload_length = 20000;
            recipe.no_link_header = i / 6 == LINK_NONE;
            for (unsigned segment = 1396; segment <= 1440; segment += udp ? 11 : 4)
                run(&settings, WAY_DEVICE, &recipe, segment - 8 * recipe.chain_length * 3);
        }
    }
    for (unsigned link = 0; link < STAGE_LINKS; link++)
        assert_int_equal(device_set_segmentation(&stage.devices[link], true), 0);
}

/* A program that puts a VLAN tag beside the packet, as VLAN devices do. */
static int load_tagger(void)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = htons(ETHERTYPE_VLAN)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = 100},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };

    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "tagger", "GPL", instructions,
                         sizeof(instructions) / sizeof(instructions[0]), NULL);
}

/* A tag that is not in band is in nobody's way: the device writes it in front of what is marked. */
static void test_tag_beside_the_packet(void **state)
{
    const struct device *device = &stage.devices[LINK_ETHERNET];
    int tagger = load_tagger();

    (void)state;
    assert_true(tagger >= 0);
    assert_int_equal(device_attach(device, tagger, STAGE_PRIORITY - 1), 0);
    for (unsigned s = 0; s < kernel_strategies(); s++) {
        struct model_settings settings = load(s, STAGE_MTU);
        const struct model_packet packet = {.recipe = &packet_plain};
        struct model_result expected = model_expect(&settings, &packet, &stage_mark);
        struct virtio_net_hdr header = {0};
        static struct packet sent;
        static struct packet leaving;
        static uint8_t bytes[PACKET_SIZE];

        assert_int_equal(expected.verdict, FLOWD_MARKER_MARKED);
        expected.recipe.tags[0] = ETHERTYPE_VLAN;
        packet_compose(&packet_plain, &sent);
        packet_compose(&expected.recipe, &leaving);
        assert_int_equal(device_send(device, &header, sent.bytes, sent.length), 0);
        assert_int_equal(device_receive(device, &header, bytes, sizeof(bytes)), leaving.length);
        assert_memory_equal(bytes, leaving.bytes, leaving.length);
    }
    assert_int_equal(device_detach(device, STAGE_PRIORITY - 1), 0);
    close(tagger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_BOTH_WAYS(test_mtu),
        STAGE_BOTH_WAYS(test_tiny_segments),
        STAGE_BOTH_WAYS(test_length_field),
        STAGE_BOTH_WAYS(test_no_length),
        STAGE_BOTH_WAYS(test_padding),
        STAGE_BOTH_WAYS(test_refused),
        STAGE_BOTH_WAYS(test_segments_on_the_wire),
        STAGE_BOTH_WAYS(test_tag_beside_the_packet),
    };

    return stage_main(&stage, tests, NULL, NULL);
}
