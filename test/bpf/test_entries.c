/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From flows to map entries: which there are when flows come, go and change, share a key, or were
 * there before this process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "lab/bpf_main.h"
#include "lab/entries_world.h"

static void test_directions(void **state)
{
    struct world *world = world_new(false);
    struct flowd_flow *out =
        world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 10, "fd00:9::1", 20, 1, 0);
    struct flowd_flow *in =
        world_submit(world, FLOWD_EVENT_START, "fd00:9::2", 30, "fd00:1::1", 40, 2, 0);
    struct flowd_flow *both =
        world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 50, "fd00:1::2", 60, 3, 0);
    struct flowd_flow *none =
        world_submit(world, FLOWD_EVENT_START, "fd00:8::1", 70, "fd00:9::1", 80, 4, 0);

    (void)state;
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, "fd00:1::1", 10, "fd00:9::1", 20), 1);
    assert_int_equal(world_entry(world, "fd00:9::1", 20, "fd00:1::1", 10), -1);
    assert_int_equal(world_entry(world, "fd00:1::1", 40, "fd00:9::2", 30), 2);
    assert_int_equal(world_entry(world, "fd00:1::1", 50, "fd00:1::2", 60), 3);
    assert_int_equal(world_entry(world, "fd00:1::2", 60, "fd00:1::1", 50), 3);
    assert_int_equal(world_entry(world, "fd00:8::1", 70, "fd00:9::1", 80), 4);
    assert_int_equal(world_entry(world, "fd00:9::1", 80, "fd00:8::1", 70), 4);
    assert_int_equal(world_entry_count(world), 6);
    assert_int_equal(marker_entries_written(&world->entries), 6);
    assert_int_equal(world->entries.forwarded, 1);
    assert_int_equal(world_status(out), MARKER_STATUS_MARKED);
    assert_int_equal(world_status(in), MARKER_STATUS_MARKED);
    assert_int_equal(world_status(both), MARKER_STATUS_MARKED);
    assert_int_equal(world_status(none), MARKER_STATUS_FORWARDED);

    world_submit(world, FLOWD_EVENT_END, "fd00:1::1", 10, "fd00:9::1", 20, 1, 0);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::1", 50, "fd00:1::2", 60, 3, 0);
    assert_int_equal(world_status(both), MARKER_STATUS_UNMARKED);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, "fd00:1::1", 10, "fd00:9::1", 20), -1);
    assert_int_equal(world_entry(world, "fd00:1::1", 40, "fd00:9::2", 30), 2);
    assert_int_equal(world_entry_count(world), 3);
    assert_int_equal(marker_entries_written(&world->entries), 3);
    world_submit(world, FLOWD_EVENT_END, "fd00:8::1", 70, "fd00:9::1", 80, 4, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry_count(world), 1);
    assert_int_equal(marker_entries_written(&world->entries), 1);
    assert_int_equal(world->entries.forwarded, 0);
    world_free(world);
}

/* Be it of a flow that has its entries or of another one; the second of the sources is remote. */
static void test_hints_change_nothing(void **state)
{
    static const char *const sources[] = {"fd00:1::1", "fd00:8::1"};
    struct world *world = world_new(true);
    struct marker_table *table = &world->entries.table;
    size_t size = marker_table_size(1).lines * sizeof(*table->lines);
    struct flowd_marker_bucket *before = malloc(size);

    (void)state;
    assert_non_null(before);
    for (uint16_t port = 1; port <= 40; port++) {
        struct flowd_flow *flow =
            world_submit(world, FLOWD_EVENT_START, sources[port % 2], port, "fd00:9::1", 20, 1, 0);
        struct flowd_flow same = *flow;
        struct flowd_flow_key other = flow->key;

        memcpy(before, table->lines, size);
        other.src_port = htons(port);
        other.family = port % 3 == 0 ? AF_INET : AF_INET6;
        marker_entries_expect(&world->entries, &flow->key);
        marker_entries_expect(&world->entries, &other);
        assert_memory_equal(&same, flow, sizeof(same));
        assert_memory_equal(before, table->lines, size);
        assert_int_equal(marker_entries_written(&world->entries), (port + 1) / 2 * 2 + port / 2);
    }
    free(before);
    world_free(world);
}

static void test_addresses_change(void **state)
{
    struct world *world = world_new(true);
    struct flowd_flow *flow =
        world_submit(world, FLOWD_EVENT_START, "fd00:2::1", 1, "fd00:9::1", 2, 7, 0);

    (void)state;
    flowd_hub_flush(world->hub);
    assert_int_equal(world_status(flow), MARKER_STATUS_FORWARDED);
    assert_int_equal(world_entry(world, "fd00:9::1", 2, "fd00:2::1", 1), 7);
    world_second_net_local = true;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 1);
    marker_entries_commit(&world->entries);
    assert_int_equal(world_status(flow), MARKER_STATUS_MARKED);
    assert_int_equal(world_entry(world, "fd00:2::1", 1, "fd00:9::1", 2), 7);
    assert_int_equal(world_entry(world, "fd00:9::1", 2, "fd00:2::1", 1), -1);
    world_second_net_local = false;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 1);
    marker_entries_commit(&world->entries);
    assert_int_equal(world_status(flow), MARKER_STATUS_FORWARDED);
    assert_int_equal(world_entry(world, "fd00:2::1", 1, "fd00:9::1", 2), 7);
    assert_int_equal(world_entry(world, "fd00:9::1", 2, "fd00:2::1", 1), 7);
    world_free(world);
}

/* Without matchSource the most recently started flow of a key is marked, then the other again. */
static void test_shared_key(void **state)
{
    static const char *const sources[] = {"fd00:1::a", "fd00:1::b", "fd00:1::c"};
    struct world *world = world_new(false);

    (void)state;
    world_submit(world, FLOWD_EVENT_START, sources[0], 1, "fd00:9::1", 2, 11, 1000);
    world_submit(world, FLOWD_EVENT_START, sources[1], 1, "fd00:9::1", 2, 12, 3000);
    world_submit(world, FLOWD_EVENT_START, sources[2], 1, "fd00:9::1", 2, 13, 2000);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, sources[0], 1, "fd00:9::1", 2), 12);
    assert_int_equal(world_entry_count(world), 1);
    assert_int_equal(marker_entries_written(&world->entries), 1);
    world_submit(world, FLOWD_EVENT_END, sources[1], 1, "fd00:9::1", 2, 12, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, sources[0], 1, "fd00:9::1", 2), 13);
    world_submit(world, FLOWD_EVENT_END, sources[0], 1, "fd00:9::1", 2, 11, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, sources[0], 1, "fd00:9::1", 2), 13);
    world_submit(world, FLOWD_EVENT_END, sources[2], 1, "fd00:9::1", 2, 13, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, sources[0], 1, "fd00:9::1", 2), -1);
    assert_int_equal(marker_entries_written(&world->entries), 0);
    world_free(world);
}

/* The last event of a turn counts, and a key that begins again is never deleted in between. */
static void test_one_turn(void **state)
{
    struct world *world = world_new(true);

    (void)state;
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 1, 0);
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 2, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, "fd00:1::1", 1, "fd00:9::1", 2), 2);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::1", 1, "fd00:9::1", 2, 2, 0);
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 4, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, "fd00:1::1", 1, "fd00:9::1", 2), 4);
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 5, "fd00:9::1", 6, 1, 0);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::1", 5, "fd00:9::1", 6, 1, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, "fd00:1::1", 5, "fd00:9::1", 6), -1);
    assert_int_equal(world_entry_count(world), 1);
    world_free(world);
}

/* An earlier process's maps, as this process has them before the flows are told of. */
static void take_over(struct world *world)
{
    struct marker_table_maps maps = world->maps;

    maps.adopted = true;
    marker_table_close(&world->entries.table);
    assert_int_equal(marker_table_open(&world->entries.table, &maps), 0);
}

static size_t sweep(struct world *world)
{
    size_t removed = 0;

    while (marker_table_sweep(&world->entries.table, 10, &removed) > 0)
        ;
    return removed;
}

/*
 * Maps of an earlier process: what somebody untold may need is not deleted, a flow that begins has
 * its entry, and what is nobody's in the end goes.
 */
static void test_adopted(void **state)
{
    struct world *world = world_new(false);

    (void)state;
    for (uint16_t i = 1; i <= 100; i++)
        world_submit(world, FLOWD_EVENT_START, "fd00:1::1", i, "fd00:9::1", 2, 3, 0);
    for (uint16_t i = 1; i <= 100; i++)
        world_submit(world, FLOWD_EVENT_START, "fd00:1::1", i, "fd00:9::2", 2, 3, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry_count(world), 200);
    take_over(world);
    for (uint16_t i = 1; i <= 100; i++) {
        world_submit(world, FLOWD_EVENT_END, "fd00:1::1", i, "fd00:9::1", 2, 3, 0);
        flowd_hub_flush(world->hub);
        if (i % 2 == 0)
            world_submit(world, FLOWD_EVENT_START, "fd00:1::1", i, "fd00:9::1", 2, i % 4 ? 3 : 4,
                         0);
    }
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::3", 2, 5, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry_count(world), 201);
    assert_int_equal(marker_entries_written(&world->entries), 51);
    assert_int_equal(sweep(world), 150);
    assert_int_equal(world_entry_count(world), 51);
    for (uint16_t i = 1; i <= 100; i++)
        assert_int_equal(world_entry(world, "::", i, "fd00:9::1", 2), i % 2 ? -1 : i % 4 ? 3 : 4);
    assert_int_equal(world_entry(world, "::", 1, "fd00:9::3", 2), 5);
    world_free(world);
}

/* An untold flow has no mark, and an address change makes it none. */
static void test_untold(void **state)
{
    struct world *world = world_new(true);
    struct flowd_flow *flow =
        world_submit(world, FLOWD_EVENT_START, "fd00:2::1", 1, "fd00:9::1", 2, 3, 0);
    unsigned marks = (unsigned)marker_entries_written(&world->entries);

    (void)state;
    flow->untold = true;
    world_second_net_local = true;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 0);
    flow->untold = false;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 1);
    assert_int_not_equal(marker_entries_written(&world->entries), marks);
    world_free(world);
}

static void test_not_for_labels(void **state)
{
    struct world *world = world_new(false);
    struct flowd_event event = {
        .experiment = 2,
        .key = {.src_port = 1, .dst_port = 2, .family = AF_INET, .protocol = IPPROTO_UDP}};
    struct flowd_flow *flow = NULL;

    (void)state;
    inet_pton(AF_INET, "192.0.2.1", &event.key.src);
    inet_pton(AF_INET, "192.0.2.2", &event.key.dst);
    assert_int_equal(flowd_hub_submit(world->hub, world->source, &event, &flow, NULL),
                     FLOWD_STARTED);
    assert_int_equal(world_status(flow), MARKER_STATUS_NOT_IPV6);
    flow = world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 600, 0);
    assert_int_equal(world_status(flow), MARKER_STATUS_NO_LABEL);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry_count(world), 0);
    world_free(world);
}

/* What may live at a time in the test that follows: between all of these ends, also to oneself. */
static const char *const ends[] = {"fd00:1::1", "fd00:1::2", "fd00:2::1", "fd00:9::1"};
#define ENDS (sizeof(ends) / sizeof(ends[0]))

static bool is_local(unsigned one)
{
    return one < 2 || (one == 2 && world_second_net_local);
}

/* The experiment of the newest flow of which packets to this end are marked, or -1. */
static int expected(struct flowd_flow *flows[ENDS][ENDS], unsigned dst)
{
    const struct flowd_flow *newest = NULL;

    for (unsigned i = 0; i < 2 * ENDS; i++) {
        unsigned src = i / 2;
        const struct flowd_flow *one = i % 2 ? flows[dst][src] : flows[src][dst];

        if (one != NULL && (is_local(src) || !is_local(dst)) &&
            (newest == NULL || one->start_us > newest->start_us))
            newest = one;
    }
    return newest == NULL ? -1 : newest->experiment;
}

/* Flows of a few keys come and go as chance has it, and so do addresses. */
static void test_random(void **state)
{
    static struct flowd_flow *flows[ENDS][ENDS];
    struct world *world = world_new(false);

    (void)state;
    srand(7);
    for (uint16_t step = 1; step <= 30000; step++) {
        unsigned src = (unsigned)rand() % ENDS;
        unsigned dst = (unsigned)rand() % ENDS;
        struct flowd_flow *one = flows[src][dst];

        flows[src][dst] = world_submit(world, one == NULL ? FLOWD_EVENT_START : FLOWD_EVENT_END,
                                       ends[src], 7, ends[dst], 7, step % 500, 1 + rand());
        if (one != NULL)
            flows[src][dst] = NULL;
        if (step % 50 == 0) {
            world_second_net_local = !world_second_net_local;
            for (unsigned i = 0; i < ENDS * ENDS; i++)
                if (flows[i / ENDS][i % ENDS] != NULL)
                    marker_entries_reconsider(&world->entries, flows[i / ENDS][i % ENDS]);
        }
        if (rand() % 3 != 0)
            continue;
        flowd_hub_flush(world->hub);
        marker_entries_commit(&world->entries);
        for (unsigned i = 0; i < ENDS; i++)
            assert_int_equal(world_entry(world, "::", 7, ends[i], 7), expected(flows, i));
        assert_int_equal(world_entry_count(world), marker_entries_written(&world->entries));
    }
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directions),       cmocka_unit_test(test_hints_change_nothing),
        cmocka_unit_test(test_addresses_change), cmocka_unit_test(test_shared_key),
        cmocka_unit_test(test_one_turn),         cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_untold),           cmocka_unit_test(test_random),
        cmocka_unit_test(test_not_for_labels),
    };

    return bpf_main(tests, NULL, NULL);
}
