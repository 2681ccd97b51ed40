/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of no flow: left alone, or bearing the general mark if all packets are to be marked. A
 * flow's own mark always wins, messages that the link itself needs never become longer, and what
 * has one flow's addresses and ports has one label.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lab/kernel_lacks.h"
#include "lab/stage.h"

#define ENTROPY 0xc0103u
#define ENTROPY_VALUES 32u

static struct stage stage;

static const struct flowd_marker_mark general = {
    .label = 0x2a4a8, .experiment = 0x0115, .activity = 0x2a};

static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6, 50, 59, 132, 41, 253};
#define PROTOCOLS sizeof(protocols)

static const struct {
    int headers[3];
    unsigned length;
} chains[] = {
    {{0}, 0},
    {{PACKET_HOP_BY_HOP}, 1},
    {{PACKET_DESTINATION}, 1},
    {{PACKET_DESTINATION, PACKET_ROUTING}, 2},
    {{PACKET_AUTHENTICATION}, 1},
    {{PACKET_FRAGMENT_FIRST}, 1},
    {{PACKET_FRAGMENT_ATOMIC}, 1},
    {{PACKET_FRAGMENT_MIDDLE}, 1},
    {{PACKET_ROUTING, PACKET_FRAGMENT_LAST}, 2},
    {{PACKET_HOP_BY_HOP, PACKET_FRAGMENT_LAST, PACKET_DESTINATION}, 3},
};
#define CHAINS (sizeof(chains) / sizeof(chains[0]))

static struct model_settings load(unsigned strategy, unsigned encoding,
                                  const struct flowd_marker_mark *mark)
{
    struct model_settings settings = {.strategy = strategy,
                                      .encoding = encoding,
                                      .routes_read = true,
                                      .mtu = STAGE_MTU,
                                      .general = mark};

    assert_int_equal(stage_load_as_model(&stage, &settings), 0);
    assert_int_equal(stage_add_flow(&stage, &packet_plain), 0);
    return settings;
}

static bool has_ports(const struct packet_recipe *recipe)
{
    return (recipe->protocol == IPPROTO_TCP || recipe->protocol == IPPROTO_UDP) &&
           !(recipe->chain_length > 0 && recipe->chain[0] == PACKET_FRAGMENT_MIDDLE) &&
           !(recipe->chain_length > 1 && recipe->chain[1] == PACKET_FRAGMENT_LAST);
}

/*
 * The general mark as packets with these addresses and ports have it: which entropy that is is the
 * program's choice, so it is read from a packet without extension headers. Only the label and the
 * 2024 option say it.
 */
static struct flowd_marker_mark learn(const struct model_settings *settings,
                                      const struct packet_recipe *recipe)
{
    struct packet_recipe bare = packet_plain;
    struct flowd_marker_mark mark = general;
    static struct packet packet;
    struct marker_run run;
    const uint8_t *label;

    bare.src_port = recipe->src_port;
    bare.dst_port = recipe->dst_port;
    bare.protocol = has_ports(recipe) ? recipe->protocol : 50;
    packet_compose(&bare, &packet);
    assert_int_equal(marker_run_on(stage.program.program_fds[MARKER_ETHERNET_HEADER],
                                   (uint32_t)stage.devices[LINK_ETHERNET].index, packet.bytes,
                                   packet.length, &run),
                     0);
    stage_forget_counters(&stage);
    if (settings->strategy == FLOWD_MARKER_LABEL)
        label = run.bytes + packet.network + 1;
    else if (settings->encoding == FLOWD_MARKER_2024)
        label = run.bytes + packet.network + 40 + 4;
    else
        return mark;
    mark.label = (uint32_t)(label[0] & 0x0f) << 16 | (uint32_t)label[1] << 8 | label[2];
    assert_int_equal(mark.label & ~ENTROPY, settings->general->label);
    return mark;
}

static void run(struct model_settings settings, enum combination_way way,
                const struct packet_recipe *recipe, const struct flowd_marker_mark *flow)
{
    struct flowd_marker_mark mark;

    if (settings.general != NULL && flow == NULL) {
        mark = learn(&settings, recipe);
        settings.general = &mark;
    }
    if (!stage_run_as_model(&stage, way, &settings, recipe, 0, flow))
        fail_msg("strategy %d, protocol %d, chain of %u from %x on: %s", settings.strategy,
                 recipe->protocol, recipe->chain_length, recipe->chain[0], stage.complaint);
}

/* Every protocol with every chain; of the flow only TCP and UDP to and from its ports are. */
static void run_everything(struct model_settings settings)
{
    for (unsigned p = 0; p < PROTOCOLS; p++)
        for (unsigned c = 0; c < CHAINS; c++)
            for (unsigned variant = 0; variant < 12; variant++) {
                struct packet_recipe recipe = packet_plain;
                enum combination_way way = WAY_TEST_RUN;
                bool flow_ports = variant % 2;

                recipe.protocol = protocols[p];
                memcpy(recipe.chain, chains[c].headers, sizeof(chains[c].headers));
                recipe.chain_length = chains[c].length;
                recipe.identification = ++stage.identification;
                if (!flow_ports)
                    recipe.dst_port = 443;
                if (variant / 2 % 3 == 1)
                    recipe.tags[0] = 0x8100;
                if (variant / 2 % 3 == 2) {
                    recipe.no_link_header = true;
                    way = WAY_DEVICE;
                }
                if (variant / 6 == 1) {
                    recipe.payload_length = 100;
                    recipe.traffic_class = 0x03;
                    recipe.flow_label = 0xfffff;
                }
                run(settings, way, &recipe, flow_ports && has_ports(&recipe) ? &stage_mark : NULL);
            }
}

static void test_general_mark(void **state)
{
    (void)state;
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++)
        for (unsigned encoding = 0; encoding < 2; encoding++)
            run_everything(load(strategy, encoding, &general));
}

static void test_left_alone(void **state)
{
    (void)state;
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++)
        run_everything(load(strategy, FLOWD_MARKER_SCITAGS, NULL));
}

/* RFC 2710, 3810 and 4861: 130-137 and 143; with and without the header that listeners send. */
static void test_link_messages(void **state)
{
    (void)state;
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++) {
        struct model_settings settings = load(strategy, FLOWD_MARKER_SCITAGS, &general);
        unsigned untouched = 0;

        for (unsigned type = 1; type < 256; type++) {
            struct packet_recipe recipe = packet_plain;
            struct model_packet packet = {.recipe = &recipe};

            recipe.protocol = IPPROTO_ICMPV6;
            recipe.icmp_type = (uint8_t)type;
            run(settings, WAY_TEST_RUN, &recipe, NULL);
            untouched +=
                model_expect(&settings, &packet, NULL).verdict == FLOWD_MARKER_OTHER_PROTOCOL;
            recipe.chain_length = 1;
            recipe.chain[0] = PACKET_HOP_BY_HOP;
            run(settings, WAY_TEST_RUN, &recipe, NULL);
        }
        assert_int_equal(untouched, strategy == FLOWD_MARKER_LABEL ? 0 : 9);
    }
}

/* Flows differ in their entropy; all of its bits are used, and none of the tag's. */
static void test_entropy(void **state)
{
    (void)state;
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++) {
        struct model_settings settings = load(strategy, FLOWD_MARKER_2024, &general);
        bool seen[ENTROPY_VALUES] = {false};
        unsigned values = 0;

        for (unsigned i = 0; i < 1000; i++) {
            struct packet_recipe recipe = packet_plain;
            uint32_t entropy;
            uint32_t folded;

            recipe.src_port = (uint16_t)(2000 + i);
            recipe.protocol = i % 2 ? IPPROTO_UDP : IPPROTO_TCP;
            entropy = learn(&settings, &recipe).label & ENTROPY;
            assert_int_equal(learn(&settings, &recipe).label & ENTROPY, entropy);
            folded = (entropy & 3) | (entropy >> 8 & 1) << 2 | (entropy >> 18) << 3;
            values += !seen[folded];
            seen[folded] = true;
        }
        assert_int_equal(values, ENTROPY_VALUES);
    }
}

/* Experiment 0 and activity 0 have a label too: 0 would say that there is none. */
static void test_tag_of_zeroes(void **state)
{
    static const struct flowd_marker_mark zeroes = {0};
    struct model_settings settings = load(FLOWD_MARKER_LABEL, FLOWD_MARKER_SCITAGS, &zeroes);

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct packet_recipe recipe = packet_plain;

        recipe.src_port = (uint16_t)(2000 + i);
        assert_int_not_equal(learn(&settings, &recipe).label, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_general_mark),  cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_link_messages), cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_tag_of_zeroes),
    };

    return stage_main(&stage, tests, NULL, NULL);
}
