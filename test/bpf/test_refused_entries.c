/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Map entries that can't be written or taken away: a map that takes no more, and a kernel that
 * refuses what system calls ask for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lab/bpf_main.h"
#include "lab/entries_world.h"

/* More than fit: the least table has room for some hundred. */
#define TOO_MANY 1200u

/* A map that takes no more: the flows that are left out say so, and are marked once there is room.
 */
static void test_full_map(void **state)
{
    static struct flowd_flow *flows[TOO_MANY];
    struct world *world = world_new(false);
    struct flowd_error err;
    size_t failed = 0;

    (void)state;
    for (uint16_t i = 0; i < TOO_MANY; i++)
        flows[i] = world_submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i),
                                "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    for (unsigned i = 0; i < TOO_MANY; i++)
        failed += world_status(flows[i]) == MARKER_STATUS_FAILED;
    assert_true(failed > 0);
    assert_int_equal(world->entries.failed.count, failed);
    assert_int_equal(world_entry_count(world), TOO_MANY - failed);

    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, failed);
    assert_int_not_equal(marker_entries_ready(&world->entries, &err), 0);

    for (uint16_t i = 0; i < TOO_MANY * 3 / 4; i++)
        world_submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9,
                     0);
    flowd_hub_flush(world->hub);
    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, 0);
    assert_int_equal(world_entry_count(world), TOO_MANY - TOO_MANY * 3 / 4);
    for (uint16_t i = TOO_MANY * 3 / 4; i < TOO_MANY; i++) {
        assert_int_equal(world_status(flows[i]), MARKER_STATUS_MARKED);
        assert_int_equal(world_entry(world, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2), 9);
    }
    world_free(world);
}

/* Flows that end before their entry was tried again are not counted twice. */
static void test_ends_in_a_full_map(void **state)
{
    struct world *world = world_new(false);

    (void)state;
    for (uint16_t i = 0; i < TOO_MANY; i++)
        world_submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9,
                     0);
    flowd_hub_flush(world->hub);
    assert_int_equal(marker_entries_written(&world->entries),
                     TOO_MANY - world->entries.failed.count);
    for (uint16_t i = 0; i < TOO_MANY; i++)
        world_submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9,
                     0);
    flowd_hub_flush(world->hub);
    assert_int_equal(marker_entries_written(&world->entries), 0);
    assert_int_equal(world_entry_count(world), 0);
    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, 0);
    world_free(world);
}

/* Of flows that share a key and can't be written, each is marked in its turn all the same. */
static void test_shared_key_in_a_full_map(void **state)
{
    struct world *world = world_new(false);
    const struct flowd_flow *one;
    const struct flowd_flow *another;

    (void)state;
    for (uint16_t i = 0; i < TOO_MANY; i++)
        world_submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9,
                     0);
    for (uint16_t port = 1;; port++) {
        one = world_submit(world, FLOWD_EVENT_START, "fd00:1::a", port, "fd00:9::2", 2, 11, 1000);
        if (world_status(one) != MARKER_STATUS_FAILED)
            continue;
        another =
            world_submit(world, FLOWD_EVENT_START, "fd00:1::b", port, "fd00:9::2", 2, 12, 2000);
        assert_int_equal(world_status(another), MARKER_STATUS_FAILED);
        for (uint16_t i = 0; i < TOO_MANY; i++)
            world_submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2,
                         9, 0);
        flowd_hub_flush(world->hub);
        marker_entries_retry(&world->entries);
        assert_int_equal(world_entry(world, "::", port, "fd00:9::2", 2), 12);
        assert_int_equal(world_status(one), MARKER_STATUS_MARKED);
        world_submit(world, FLOWD_EVENT_END, "fd00:1::b", port, "fd00:9::2", 2, 12, 0);
        flowd_hub_flush(world->hub);
        assert_int_equal(world_entry(world, "::", port, "fd00:9::2", 2), 11);
        break;
    }
    world_free(world);
}

/* From now on, or no longer, the kernel refuses what is written into the flow map's lines. */
static void refuse_writes(struct world *world, bool refuse)
{
    static int kept = -1;

    if (refuse) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        kept = dup(world->maps.flows_fd);
        assert_true(kept >= 0 && null >= 0);
        assert_true(dup2(null, world->maps.flows_fd) >= 0);
        close(null);
    } else {
        assert_true(dup2(kept, world->maps.flows_fd) >= 0);
        close(kept);
    }
}

/* An entry that can't be taken away is tried again, not only when the next flow ends. */
static void test_refused_end(void **state)
{
    struct world *world = world_open(false, false);

    (void)state;
    world_submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    flowd_hub_flush(world->hub);
    refuse_writes(world, true);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    flowd_hub_flush(world->hub);
    assert_true(marker_entries_unfinished(&world->entries));
    marker_entries_retry(&world->entries);
    assert_true(marker_entries_unfinished(&world->entries));
    refuse_writes(world, false);
    marker_entries_retry(&world->entries);
    assert_false(marker_entries_unfinished(&world->entries));
    assert_int_equal(world_entry_count(world), 0);
    world_free(world);
}

/* A flow that is to have another one's key, in vain at first: each is marked in its turn, once. */
static void test_refused_change_of_shared_key(void **state)
{
    struct world *world = world_open(false, false);
    const struct flowd_flow *newer;

    (void)state;
    world_submit(world, FLOWD_EVENT_START, "fd00:1::a", 1, "fd00:9::1", 2, 11, 1000);
    flowd_hub_flush(world->hub);
    refuse_writes(world, true);
    newer = world_submit(world, FLOWD_EVENT_START, "fd00:1::b", 1, "fd00:9::1", 2, 12, 2000);
    assert_int_equal(world_status(newer), MARKER_STATUS_FAILED);
    for (unsigned i = 0; i < 3; i++)
        marker_entries_retry(&world->entries);
    refuse_writes(world, false);
    marker_entries_retry(&world->entries);
    assert_int_equal(world_status(newer), MARKER_STATUS_MARKED);
    assert_int_equal(world_entry(world, "::", 1, "fd00:9::1", 2), 12);
    assert_int_equal(world->entries.outdone.count, 1);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::b", 1, "fd00:9::1", 2, 12, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry(world, "::", 1, "fd00:9::1", 2), 11);
    world_submit(world, FLOWD_EVENT_END, "fd00:1::a", 1, "fd00:9::1", 2, 11, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world_entry_count(world), 0);
    assert_int_equal(world->entries.outdone.count, 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_map),
        cmocka_unit_test(test_ends_in_a_full_map),
        cmocka_unit_test(test_shared_key_in_a_full_map),
        cmocka_unit_test(test_refused_end),
        cmocka_unit_test(test_refused_change_of_shared_key),
    };

    return bpf_main(tests, NULL, NULL);
}
