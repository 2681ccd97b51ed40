/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model of the marker's rules, which the other tests believe, against headers that were put
 * down by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lab/model.h"
#include "lab/packet.h"

static const struct flowd_marker_mark mark = {
    .label = 0x3fefd, .experiment = 0x1ff, .activity = 0x3f};

#define H PACKET_HOP_BY_HOP
#define D PACKET_DESTINATION
#define R PACKET_ROUTING
#define A PACKET_AUTHENTICATION
#define F PACKET_FRAGMENT_FIRST
#define L PACKET_FRAGMENT_MIDDLE
#define HM PACKET_HOP_BY_HOP_OPTION
#define DM PACKET_DESTINATION_OPTION
#define END (-1)

static const struct {
    enum flowd_marker_strategy strategy;
    int in[6];
    enum flowd_marker_verdict verdict;
    int out[6];
} chains[] = {
    {FLOWD_MARKER_LABEL, {H, R, D, END}, FLOWD_MARKER_MARKED, {H, R, D, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {END}, FLOWD_MARKER_MARKED, {HM, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {R, END}, FLOWD_MARKER_MARKED, {HM, R, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {D, R, D, END}, FLOWD_MARKER_MARKED, {HM, D, R, D, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {F, END}, FLOWD_MARKER_MARKED, {HM, F, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {L, END}, FLOWD_MARKER_MARKED, {HM, L, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {H, END}, FLOWD_MARKER_OPTIONS, {H, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {HM, D, END}, FLOWD_MARKER_MARKED, {HM, D, END}},
    {FLOWD_MARKER_HOP_BY_HOP, {A, END}, FLOWD_MARKER_OPTIONS, {A, END}},
    {FLOWD_MARKER_DESTINATION, {END}, FLOWD_MARKER_MARKED, {DM, END}},
    {FLOWD_MARKER_DESTINATION, {H, END}, FLOWD_MARKER_MARKED, {H, DM, END}},
    {FLOWD_MARKER_DESTINATION, {D, R, END}, FLOWD_MARKER_MARKED, {D, R, DM, END}},
    {FLOWD_MARKER_DESTINATION, {R, D, END}, FLOWD_MARKER_OPTIONS, {R, D, END}},
    {FLOWD_MARKER_DESTINATION, {F, END}, FLOWD_MARKER_FRAGMENT, {F, END}},
    {FLOWD_MARKER_DESTINATION, {L, END}, FLOWD_MARKER_FRAGMENT, {L, END}},
    {FLOWD_MARKER_HOP_BY_HOP_DESTINATION, {END}, FLOWD_MARKER_MARKED, {HM, DM, END}},
    {FLOWD_MARKER_HOP_BY_HOP_DESTINATION, {R, END}, FLOWD_MARKER_MARKED, {HM, R, DM, END}},
    {FLOWD_MARKER_HOP_BY_HOP_DESTINATION, {HM, R, DM, END}, FLOWD_MARKER_MARKED, {HM, R, DM, END}},
    {FLOWD_MARKER_HOP_BY_HOP_DESTINATION, {HM, END}, FLOWD_MARKER_OPTIONS, {HM, END}},
    {FLOWD_MARKER_HOP_BY_HOP_DESTINATION, {D, END}, FLOWD_MARKER_OPTIONS, {D, END}},
};

static const struct packet_recipe plain = {
    .src = "2001:db8::1",
    .dst = "2001:db8::2",
    .src_port = 0x0102,
    .dst_port = 0x0304,
    .protocol = IPPROTO_UDP,
    .flow_label = 0xfffff,
};

static void test_order_of_headers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        const struct model_settings settings = {.strategy = chains[i].strategy, .mtu = 1500};
        struct packet_recipe recipe = plain;
        struct model_packet packet = {.recipe = &recipe, .datagram_known = true};
        struct model_result result;
        unsigned length = 0;

        while (chains[i].in[recipe.chain_length] != END) {
            recipe.chain[recipe.chain_length] = chains[i].in[recipe.chain_length];
            recipe.chain_length++;
        }
        model_option(FLOWD_MARKER_SCITAGS, &mark, recipe.option);
        result = model_expect(&settings, &packet, &mark);
        assert_int_equal(result.verdict, chains[i].verdict);
        for (; chains[i].out[length] != END; length++)
            assert_int_equal(result.recipe.chain[length], chains[i].out[length]);
        assert_int_equal(result.recipe.chain_length, length);
        assert_int_equal(result.recipe.flow_label,
                         chains[i].strategy == FLOWD_MARKER_LABEL ? 0x3fefd : 0xfffff);
    }
}

/* From the length field to the hop limit, and from behind the addresses to the ports. */
static void check_wire(enum flowd_marker_strategy strategy, enum flowd_marker_encoding encoding,
                       const char *front, const char *headers)
{
    const struct model_settings settings = {
        .strategy = strategy, .encoding = encoding, .mtu = 1500};
    struct packet_recipe recipe = plain;
    struct model_packet packet = {.recipe = &recipe};
    struct model_result result;
    struct packet composed;
    char text[2 * 64 + 1] = "";

    recipe.chain[0] = PACKET_ROUTING;
    recipe.chain_length = 1;
    result = model_expect(&settings, &packet, &mark);
    packet_compose(&result.recipe, &composed);
    for (size_t i = 0; i < 4; i++)
        snprintf(text + 2 * i, 3, "%02x", composed.bytes[composed.network + 4 + i]);
    assert_string_equal(text, front);
    for (size_t i = 0; i < composed.transport - composed.network - 40 + 4; i++)
        snprintf(text + 2 * i, 3, "%02x", composed.bytes[composed.network + 40 + i]);
    assert_string_equal(text, headers);
}

#define ROUTING(next)                                                                              \
    next "02040000000000"                                                                          \
         "08090a0b0c0d0e0f"                                                                        \
         "1011121314151617"

static void test_bytes_of_headers(void **state)
{
    (void)state;
    /* 24 bytes of Routing header, 8 of UDP, 16 of payload; 8 or 16 more. */
    check_wire(FLOWD_MARKER_LABEL, FLOWD_MARKER_SCITAGS, "00302b40", ROUTING("11") "01020304");
    check_wire(FLOWD_MARKER_HOP_BY_HOP, FLOWD_MARKER_SCITAGS, "00380040",
               "2b001e0301ff3f00" ROUTING("11") "01020304");
    check_wire(FLOWD_MARKER_DESTINATION, FLOWD_MARKER_SCITAGS, "00382b40",
               ROUTING("3c") "11001e0301ff3f00"
                             "01020304");
    check_wire(FLOWD_MARKER_HOP_BY_HOP_DESTINATION, FLOWD_MARKER_2024, "00400040",
               "2b001f0403fefd00" ROUTING("3c") "11001f0403fefd00"
                                                "01020304");
}

static void test_sizes(void **state)
{
    static const struct {
        unsigned payload;
        unsigned segment;
        bool tcp;
        bool routes_read;
        enum flowd_marker_verdict verdict;
        unsigned segment_out;
    } sizes[] = {
        /* 40 + 20 + 1432 + 8 = 1500; 40 + 8 + 1444 + 8 = 1500. */
        {1432, 0, true, true, FLOWD_MARKER_MARKED, 0},
        {1433, 0, true, true, FLOWD_MARKER_MTU, 0},
        {1432, 0, true, false, FLOWD_MARKER_MARKED, 0},
        {1444, 0, false, true, FLOWD_MARKER_MARKED, 0},
        {1445, 0, false, true, FLOWD_MARKER_MTU, 0},
        {5000, 1432, true, true, FLOWD_MARKER_MARKED, 1432},
        {5000, 1433, true, true, FLOWD_MARKER_MARKED, 1425},
        {5000, 1432, true, false, FLOWD_MARKER_MARKED, 1424},
        {5000, 1440, true, true, FLOWD_MARKER_MARKED, 1432},
        {5000, 1441, true, true, FLOWD_MARKER_MTU, 1441},
        {5000, 1444, false, true, FLOWD_MARKER_MARKED, 1444},
        {5000, 1445, false, true, FLOWD_MARKER_MTU, 1445},
        {65507, 1000, true, true, FLOWD_MARKER_MARKED, 1000},
        {65508, 1000, true, true, FLOWD_MARKER_MTU, 1000},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct model_settings settings = {
            .strategy = FLOWD_MARKER_HOP_BY_HOP, .routes_read = sizes[i].routes_read, .mtu = 1500};
        struct packet_recipe recipe = plain;
        struct model_packet packet = {.recipe = &recipe, .segment = sizes[i].segment};
        struct model_result result;

        recipe.protocol = sizes[i].tcp ? IPPROTO_TCP : IPPROTO_UDP;
        recipe.payload_length = (uint16_t)sizes[i].payload;
        result = model_expect(&settings, &packet, &mark);
        assert_int_equal(result.verdict, sizes[i].verdict);
        assert_int_equal(result.segment, sizes[i].segment_out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_headers),
        cmocka_unit_test(test_bytes_of_headers),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
