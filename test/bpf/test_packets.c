/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which packets the program takes for a flow's: the key's fields, the bitmap, whatever stands in
 * other fields, and packets in which something else stands where a key would be. Each packet is
 * checked three ways: the verdict is "next", the bytes are the expected ones, and exactly the
 * expected counter has moved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <net/ethernet.h>

#include "lab/bpf_main.h"
#include "lab/marker_run.h"
#include "lab/packet.h"

#define LABEL 0xabcde
/* The interface of packets that BPF_PROG_TEST_RUN makes is the loopback device. */
#define LOOPBACK_SLOT 1u

static struct marker_program programs[2]; /* without and with the source address */

static void read_counters(const struct marker_program *program,
                          struct flowd_marker_counters *counters)
{
    struct flowd_marker_counters shared;

    assert_int_equal(marker_program_counters(program, LOOPBACK_SLOT, counters), 0);
    assert_int_equal(marker_program_counters(program, FLOWD_MARKER_SHARED_SLOT, &shared), 0);
    for (unsigned i = 0; i < FLOWD_MARKER_VERDICTS; i++)
        assert_true(i == FLOWD_MARKER_NO_FLOW || shared.packets[i] == 0);
    assert_int_equal(counters->packets[FLOWD_MARKER_NO_FLOW], 0);
    counters->packets[FLOWD_MARKER_NO_FLOW] = shared.packets[FLOWD_MARKER_NO_FLOW];
}

/* Runs bytes; what comes out must be expected (as long), and verdict's counter one more. */
static void run_bytes(const struct marker_program *program, const uint8_t *bytes, size_t length,
                      const uint8_t *expected, enum flowd_marker_verdict verdict)
{
    struct flowd_marker_counters before;
    struct flowd_marker_counters after;
    struct marker_run run;

    read_counters(program, &before);
    assert_int_equal(
        marker_run(program->program_fds[MARKER_ETHERNET_HEADER], bytes, length, 1, &run), 0);
    read_counters(program, &after);
    assert_int_equal(run.verdict, -1);
    assert_int_equal(run.length, length);
    assert_memory_equal(run.bytes, expected, length);
    before.packets[verdict]++;
    for (unsigned i = 0; i < FLOWD_MARKER_VERDICTS; i++)
        if (before.packets[i] != after.packets[i])
            fail_msg("counter %u is %llu, not %llu", i, (unsigned long long)after.packets[i],
                     (unsigned long long)before.packets[i]);
}

/* Runs the recipe's packet on a program that has an entry for flow. */
static void check(struct marker_program *program, const struct packet_recipe *flow,
                  const struct packet_recipe *recipe, enum flowd_marker_verdict verdict)
{
    struct flowd_marker_key key = packet_key(flow);
    struct packet packet;
    struct packet expected;

    assert_int_equal(marker_run_clear(program), 0);
    assert_int_equal(marker_run_add(program, &key, &(struct flowd_marker_mark){.label = LABEL}), 0);
    packet_compose(recipe, &packet);
    expected = packet;
    if (verdict == FLOWD_MARKER_MARKED)
        packet_set_label(&expected, LABEL);
    run_bytes(program, packet.bytes, packet.length, expected.bytes, verdict);
}

/* The entry of one direction does not match the other one, nor a neighbour in any field. */
static void test_what_does_not_match(void **state)
{
    struct packet_recipe others[] = {packet_plain, packet_plain, packet_plain, packet_plain,
                                     packet_plain};

    (void)state;
    others[0].src = packet_plain.dst;
    others[0].dst = packet_plain.src;
    others[0].src_port = packet_plain.dst_port;
    others[0].dst_port = packet_plain.src_port;
    others[1].src_port++;
    others[2].dst_port--;
    others[3].dst = "2001:db8:0:1::3";
    others[4].protocol = IPPROTO_UDP;
    for (unsigned match = 0; match < 2; match++) {
        for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            check(&programs[match], &packet_plain, &others[i], FLOWD_MARKER_NO_FLOW);
            check(&programs[match], &others[i], &others[i], FLOWD_MARKER_MARKED);
        }
    }
}

static void test_source_address(void **state)
{
    struct packet_recipe other = packet_plain;

    (void)state;
    other.src = "2001:db8::ffff";
    check(&programs[0], &packet_plain, &other, FLOWD_MARKER_MARKED);
    check(&programs[1], &packet_plain, &other, FLOWD_MARKER_NO_FLOW);
}

/* The bit decides first: an entry without its bit is not found, a bit without entry does no harm.
 */
static void test_bitmap(void **state)
{
    struct flowd_marker_key key = packet_key(&packet_plain);
    struct packet packet;

    (void)state;
    packet_compose(&packet_plain, &packet);
    for (unsigned match = 0; match < 2; match++) {
        assert_int_equal(marker_run_clear(&programs[match]), 0);
        marker_run_bit(&programs[match], &key, true);
        run_bytes(&programs[match], packet.bytes, packet.length, packet.bytes,
                  FLOWD_MARKER_NO_FLOW);
        assert_int_equal(
            marker_run_add(&programs[match], &key, &(struct flowd_marker_mark){.label = LABEL}), 0);
        marker_run_bit(&programs[match], &key, false);
        run_bytes(&programs[match], packet.bytes, packet.length, packet.bytes,
                  FLOWD_MARKER_NO_FLOW);
    }
}

static void test_every_traffic_class(void **state)
{
    (void)state;
    for (unsigned traffic_class = 0; traffic_class < 256; traffic_class++) {
        struct packet_recipe recipe = packet_plain;

        recipe.traffic_class = (uint8_t)traffic_class;
        check(&programs[0], &recipe, &recipe, FLOWD_MARKER_MARKED);
    }
}

/*
 * Frames cut anywhere from shortest on, up to the ports' end. Where the Ethernet header announces
 * IPv6, BPF_PROG_TEST_RUN takes no frame without a whole IPv6 header: test_nonlinear.c sends those.
 */
static void check_cut(const struct packet_recipe *recipe, size_t shortest)
{
    struct flowd_marker_key key = packet_key(recipe);
    struct packet packet;
    struct packet expected;
    size_t ports_end;

    packet_compose(recipe, &packet);
    ports_end = packet.length - (recipe->protocol == IPPROTO_TCP ? 32 : 20);
    assert_int_equal(marker_run_clear(&programs[0]), 0);
    assert_int_equal(
        marker_run_add(&programs[0], &key, &(struct flowd_marker_mark){.label = LABEL}), 0);
    for (size_t length = shortest; length < ports_end; length++)
        run_bytes(&programs[0], packet.bytes, length, packet.bytes, FLOWD_MARKER_TRUNCATED);
    expected = packet;
    packet_set_label(&expected, LABEL);
    run_bytes(&programs[0], packet.bytes, ports_end, expected.bytes, FLOWD_MARKER_MARKED);
}

static void test_truncated(void **state)
{
    struct packet_recipe recipe = packet_plain;

    (void)state;
    check_cut(&recipe, ETHER_HDR_LEN + 40);
    recipe.protocol = IPPROTO_UDP;
    check_cut(&recipe, ETHER_HDR_LEN + 40);
    recipe.tags[0] = 0x8100;
    check_cut(&recipe, ETHER_HDR_LEN + 1);
    recipe.chain[0] = PACKET_ROUTING;
    recipe.chain[1] = PACKET_FRAGMENT_FIRST;
    recipe.chain_length = 2;
    check_cut(&recipe, ETHER_HDR_LEN + 1);
    recipe.tags[0] = 0;
    check_cut(&recipe, ETHER_HDR_LEN + 40);
}

static void test_other_protocols(void **state)
{
    /* ICMPv6, no next header, ESP, SCTP, IPv6 in IPv6, an unknown one. */
    static const uint8_t protocols[] = {58, 59, 50, 132, 41, 253};

    (void)state;
    for (unsigned i = 0; i < sizeof(protocols); i++) {
        struct packet_recipe recipe = packet_plain;

        recipe.protocol = protocols[i];
        check(&programs[0], &recipe, &recipe, FLOWD_MARKER_OTHER_PROTOCOL);
        recipe.tags[0] = 0x8100;
        check(&programs[0], &recipe, &recipe, FLOWD_MARKER_OTHER_PROTOCOL);
        recipe.chain[0] = PACKET_HOP_BY_HOP;
        recipe.chain_length = 1;
        check(&programs[0], &recipe, &recipe, FLOWD_MARKER_OTHER_PROTOCOL);
    }
}

/* An IPv4 packet in whose bytes an entry's address and ports stand where IPv6 has them. */
static void test_not_ipv6(void **state)
{
    static const uint16_t ethertypes[] = {0x0800, 0x0806, 0x8847, 0x88cc};
    struct flowd_marker_key key = packet_key(&packet_plain);

    (void)state;
    for (unsigned tagged = 0; tagged < 2; tagged++)
        for (unsigned i = 0; i < sizeof(ethertypes) / sizeof(ethertypes[0]); i++) {
            struct packet_recipe recipe = packet_plain;
            struct packet packet;

            recipe.tags[0] = tagged ? 0x8100 : 0;
            packet_compose(&recipe, &packet);
            packet.bytes[packet.network - 2] = (uint8_t)(ethertypes[i] >> 8);
            packet.bytes[packet.network - 1] = (uint8_t)ethertypes[i];
            assert_int_equal(marker_run_clear(&programs[0]), 0);
            assert_int_equal(
                marker_run_add(&programs[0], &key, &(struct flowd_marker_mark){.label = LABEL}), 0);
            run_bytes(&programs[0], packet.bytes, packet.length, packet.bytes,
                      FLOWD_MARKER_NOT_IPV6);
        }
}

static int load_programs(void **state)
{
    const struct marker_program_settings settings[] = {
        {.entries_max = 16},
        {.match_source = true, .debug = true, .entries_max = 16},
    };
    int result = 0;

    (void)state;
    for (unsigned i = 0; i < 2 && result == 0; i++)
        result = marker_run_load(&programs[i], &settings[i]);
    return result;
}

static int close_programs(void **state)
{
    (void)state;
    marker_run_close(&programs[0]);
    marker_run_close(&programs[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_does_not_match),
        cmocka_unit_test(test_source_address),
        cmocka_unit_test(test_bitmap),
        cmocka_unit_test(test_every_traffic_class),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_other_protocols),
        cmocka_unit_test(test_not_ipv6),
    };

    return bpf_main(tests, load_programs, close_programs);
}
