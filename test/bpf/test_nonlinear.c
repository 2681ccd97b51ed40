/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets whose headers are not in the linear part of the kernel's buffer, and packets that end
 * anywhere in their headers; BPF_PROG_TEST_RUN can make neither, so they leave through devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <net/ethernet.h>

#include "lab/kernel_lacks.h"
#include "lab/stage.h"

/* Around the payload: headers, as long as they come here. */
#define HEADERS 3000u
#define SHORT_MTU 9000u

static struct stage stage;

static const struct packet_recipe plain = {
    .src = "2001:db8::1",
    .dst = "2001:db8::2",
    .src_port = 1094,
    .dst_port = 40000,
    .protocol = IPPROTO_TCP,
    .traffic_class = 0xb8,
    .flow_label = 0x13579,
    .payload_length = 100,
};

static const struct {
    int headers[3];
    unsigned length;
} chains[] = {
    {{0}, 0},
    {{PACKET_HOP_BY_HOP, PACKET_DESTINATION}, 2},
    {{PACKET_DESTINATION, PACKET_ROUTING}, 2},
    {{PACKET_HOP_BY_HOP, PACKET_ROUTING}, 2},
    {{PACKET_ROUTING_256_BYTES}, 1},
    {{PACKET_ROUTING, PACKET_FRAGMENT_FIRST}, 2},
};
#define CHAINS (sizeof(chains) / sizeof(chains[0]))

static struct model_settings load(enum flowd_marker_strategy strategy, unsigned mtu)
{
    struct model_settings settings = {
        .strategy = strategy, .routes_read = true, .by_helper = stage_by_helper, .mtu = mtu};

    for (unsigned link = 0; link < STAGE_LINKS; link++)
        assert_int_equal(device_set_mtu(&stage.devices[link], mtu), 0);
    assert_int_equal(stage_load_as_model(&stage, &settings), 0);
    assert_int_equal(stage_add_flow(&stage, &plain), 0);
    return settings;
}

/* Linear up to each byte from the link header's end to the payload's begin, in steps. */
static void check_linear(const struct model_settings *settings, const struct packet_recipe *recipe,
                         unsigned segment)
{
    static struct packet packet;

    packet_compose(recipe, &packet);
    for (size_t linear = packet.network; linear <= packet.payload + 4; linear += 3) {
        stage.linear = (uint16_t)(linear > 0 ? linear : 1);
        if (!stage_run_as_model(&stage, WAY_DEVICE, settings, recipe, segment, &stage_mark))
            fail_msg("strategy %d, chain of %u from %x on, %u bytes linear: %s", settings->strategy,
                     recipe->chain_length, recipe->chain[0], stage.linear, stage.complaint);
    }
    stage.linear = 0;
}

static void test_nonlinear(void **state)
{
    /* Longer than a page: a shorter packet is made linear whatever the virtio header says. */
    const size_t payload = kernel_page_size() + 2000;

    (void)state;
    if (payload + HEADERS > UINT16_MAX) {
        kernel_leave_out(KERNEL_LINEAR, "");
        skip();
    }
    if (!stage_cuts_datagrams(&stage))
        kernel_leave_out(KERNEL_NO_DATAGRAMS, "");
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++) {
        struct model_settings settings = load(strategy, (unsigned)payload + HEADERS);

        for (unsigned c = 0; c < CHAINS; c++)
            for (unsigned variant = 0; variant < 8; variant++) {
                struct packet_recipe recipe = plain;
                bool fragment;

                recipe.payload_length = (uint16_t)payload;
                memcpy(recipe.chain, chains[c].headers, sizeof(chains[c].headers));
                recipe.chain_length = chains[c].length;
                fragment = c > 0 && packet_is_fragment(recipe.chain[recipe.chain_length - 1]);
                recipe.protocol = variant % 2 ? IPPROTO_UDP : IPPROTO_TCP;
                recipe.no_link_header = variant / 2 % 2;
                recipe.partial_checksum = variant / 4 && !fragment;
                if (recipe.partial_checksum && recipe.protocol == IPPROTO_UDP &&
                    !stage_cuts_datagrams(&stage))
                    continue;
                check_linear(&settings, &recipe, recipe.partial_checksum ? 2500 : 0);
            }
        assert_true(stage_counters_complete(&stage));
    }
}

/* Cut off anywhere up to the ports' end: counted as truncated, and not a byte is touched. */
static void check_cut(const struct packet_recipe *recipe, size_t shortest)
{
    struct model_result expected = {.verdict = FLOWD_MARKER_TRUNCATED, .recipe = *recipe};
    struct packet packet;

    packet_compose(recipe, &packet);
    for (size_t length = shortest; length < packet.transport + 4; length++)
        if (!stage_run(&stage, WAY_DEVICE, recipe, length, 0, &expected))
            fail_msg("%zu bytes: %s", length, stage.complaint);
}

static void test_short(void **state)
{
    (void)state;
    stage.linear = 0;
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++) {
        load(strategy, SHORT_MTU);
        for (unsigned variant = 0; variant < 8; variant++) {
            struct packet_recipe recipe = plain;

            recipe.protocol = variant % 2 ? IPPROTO_UDP : IPPROTO_TCP;
            recipe.no_link_header = variant / 2 % 2;
            if (variant / 4) {
                recipe.chain[0] = PACKET_ROUTING;
                recipe.chain[1] = PACKET_DESTINATION;
                recipe.chain[2] = PACKET_FRAGMENT_FIRST;
                recipe.chain_length = 3;
            }
            check_cut(&recipe, recipe.no_link_header ? 1 : ETHER_HDR_LEN);
        }
        assert_true(stage_counters_complete(&stage));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_BOTH_WAYS(test_nonlinear),
        STAGE_BOTH_WAYS(test_short),
    };

    return stage_main(&stage, tests, NULL, NULL);
}
