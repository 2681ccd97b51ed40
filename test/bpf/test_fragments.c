/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which fragments are known to be of a flow's datagram: those with its addresses and
 * identification, from its first fragment to its last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <bpf/bpf.h>
#include <cmocka.h>

#include "lab/kernel_lacks.h"
#include "lab/stage.h"

static struct stage stage;
static struct model_settings settings = {.routes_read = true, .mtu = STAGE_MTU};

static struct packet_recipe datagram(void)
{
    return (struct packet_recipe){
        .src = "2001:db8:86dd::1",
        .dst = "2001:db8:0:1::2",
        .src_port = 1094,
        .dst_port = 40000,
        .protocol = IPPROTO_UDP,
        .traffic_class = 0xb8,
        .flow_label = 0x13579,
        .identification = ++stage.identification,
        .chain_length = 1,
    };
}

static void pass(const struct packet_recipe *recipe, int header, bool known,
                 const struct flowd_marker_mark *mark)
{
    struct packet_recipe fragment = *recipe;
    const struct model_packet packet = {.recipe = &fragment, .datagram_known = known};
    struct model_result expected;
    struct packet composed;

    fragment.chain[fragment.chain_length - 1] = header;
    expected = model_expect(&settings, &packet, mark);
    packet_compose(&fragment, &composed);
    if (!stage_run(&stage, fragment.no_link_header ? WAY_DEVICE : WAY_TEST_RUN, &fragment,
                   composed.length, 0, &expected))
        fail_msg("strategy %d, header %x: %s", settings.strategy, header, stage.complaint);
}

static void known(const struct packet_recipe *recipe, int header)
{
    pass(recipe, header, true, &stage_mark);
}

static void unknown(const struct packet_recipe *recipe, int header)
{
    pass(recipe, header, false, NULL);
}

static void check_strategy(bool no_link_header)
{
    struct packet_recipe sent = datagram();
    struct packet_recipe other = sent;

    sent.no_link_header = no_link_header;
    other.no_link_header = no_link_header;
    unknown(&sent, PACKET_FRAGMENT_MIDDLE);
    known(&sent, PACKET_FRAGMENT_FIRST);
    known(&sent, PACKET_FRAGMENT_MIDDLE);
    known(&sent, PACKET_FRAGMENT_MIDDLE);

    other.identification += 0x10000;
    unknown(&other, PACKET_FRAGMENT_MIDDLE);
    other = sent;
    other.src = "2001:db8:86dd::3";
    unknown(&other, PACKET_FRAGMENT_LAST);
    other = sent;
    other.dst = "2001:db8:0:1::3";
    unknown(&other, PACKET_FRAGMENT_LAST);

    /* The same fragments once more: they leave by a second interface, or overtook each other. */
    known(&sent, PACKET_FRAGMENT_LAST);
    known(&sent, PACKET_FRAGMENT_MIDDLE);
    known(&sent, PACKET_FRAGMENT_LAST);

    /* Nothing follows an atomic fragment, and what follows another flow's first is not known. */
    other = datagram();
    other.no_link_header = no_link_header;
    known(&other, PACKET_FRAGMENT_ATOMIC);
    unknown(&other, PACKET_FRAGMENT_MIDDLE);
    other.src_port++;
    unknown(&other, PACKET_FRAGMENT_FIRST);
    unknown(&other, PACKET_FRAGMENT_MIDDLE);

    /* Behind other headers. */
    other = datagram();
    other.no_link_header = no_link_header;
    other.chain[0] = PACKET_ROUTING;
    other.chain_length = 2;
    known(&other, PACKET_FRAGMENT_FIRST);
    known(&other, PACKET_FRAGMENT_LAST);
}

static void test_fragments(void **state)
{
    (void)state;
    for (unsigned strategy = 0; strategy < kernel_strategies(); strategy++) {
        struct packet_recipe recipe = datagram();

        settings.strategy = strategy;
        assert_int_equal(stage_load_as_model(&stage, &settings), 0);
        assert_int_equal(stage_add_flow(&stage, &recipe), 0);
        check_strategy(false);
        check_strategy(true);
        assert_true(stage_counters_complete(&stage));
    }
}

/* More datagrams at once than are remembered: some fragments are not marked, none wrongly. */
static void test_many_datagrams(void **state)
{
    struct packet_recipe recipe = datagram();
    struct packet composed;
    uint64_t marked;

    (void)state;
    settings.strategy = FLOWD_MARKER_LABEL;
    assert_int_equal(stage_load_as_model(&stage, &settings), 0);
    assert_int_equal(stage_add_flow(&stage, &recipe), 0);
    for (unsigned i = 0; i < 20000; i++) {
        recipe.identification = i;
        known(&recipe, PACKET_FRAGMENT_FIRST);
    }
    /* The last one is surely remembered. */
    known(&recipe, PACKET_FRAGMENT_MIDDLE);
    marked = stage.counted[LINK_ETHERNET].packets[FLOWD_MARKER_MARKED];
    recipe.chain[0] = PACKET_FRAGMENT_MIDDLE;
    for (unsigned i = 0; i < 20000; i++) {
        struct marker_run run;

        recipe.identification = i;
        packet_compose(&recipe, &composed);
        assert_int_equal(marker_run_on(stage.program.program_fds[MARKER_ETHERNET_HEADER],
                                       (uint32_t)stage.devices[LINK_ETHERNET].index, composed.bytes,
                                       composed.length, &run),
                         0);
        if (memcmp(run.bytes, composed.bytes, composed.length) == 0)
            continue;
        marked++;
        packet_set_label(&composed, stage_mark.label);
        assert_memory_equal(run.bytes, composed.bytes, composed.length);
    }
    stage_forget_counters(&stage);
    assert_int_equal(stage.counted[LINK_ETHERNET].packets[FLOWD_MARKER_MARKED], marked);
    assert_true(marked < 20001 + 20000);
}

/* What stands in a datagram's entry and was another one's is not its mark. */
static void test_word_of_another_datagram(void **state)
{
    struct packet_recipe one = datagram();
    struct packet_recipe another = datagram();
    uint8_t keys[2][40];
    uint64_t words[2];
    int fd;

    (void)state;
    another.src = "2001:db8:86dd::3"; /* the check holds the source too */
    another.identification = one.identification;
    settings.strategy = FLOWD_MARKER_LABEL;
    assert_int_equal(stage_load_as_model(&stage, &settings), 0);
    assert_int_equal(stage_add_flow(&stage, &one), 0);
    fd = stage.program.fragments_fd;
    known(&one, PACKET_FRAGMENT_FIRST);
    known(&another, PACKET_FRAGMENT_FIRST);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(bpf_map_get_next_key(fd, i > 0 ? keys[i - 1] : NULL, keys[i]), 0);
        assert_int_equal(bpf_map_lookup_elem(fd, keys[i], &words[i]), 0);
    }
    known(&one, PACKET_FRAGMENT_MIDDLE);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(bpf_map_update_elem(fd, keys[i], &words[1 - i], BPF_EXIST), 0);
    unknown(&one, PACKET_FRAGMENT_MIDDLE);
    unknown(&another, PACKET_FRAGMENT_MIDDLE);
    assert_true(stage_counters_complete(&stage));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_many_datagrams),
        cmocka_unit_test(test_word_of_another_datagram),
    };

    return stage_main(&stage, tests, NULL, NULL);
}
