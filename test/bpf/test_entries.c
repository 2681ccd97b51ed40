/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From flows to map entries: the real hub with a table in memory, a real BPF map, and a host whose
 * local addresses the test chooses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include <errno.h>
#include <ev.h>
#include <unistd.h>

#include "batch.h"
#include "daemon/flow/flow_table.h"
#include "daemon/hub/hub.h"
#include "daemon/net/host.h"
#include "entries.h"
#include "lab/bpf_main.h"
#include "lab/marker_run.h"
#include "sweep.h"

#define ENTRIES_MAX 8u

/* Every address under fd00:1::/32 is local, and those under fd00:2::/32 if this is set. */
static bool second_net_local;

bool flowd_host_is_local(const struct flowd_host *host, uint8_t family, const struct in6_addr *addr)
{
    (void)host;
    return family == AF_INET6 && addr->s6_addr[0] == 0xfd && addr->s6_addr[2] == 0 &&
           (addr->s6_addr[3] == 1 || (addr->s6_addr[3] == 2 && second_net_local));
}

struct world {
    struct ev_loop *loop;
    struct flowd_hub *hub;
    struct flowd_source *source;
    struct marker_entries entries;
    struct flowd_marker_shared *shared;
    int map_fd;
};

static void start(void *instance, struct flowd_flow *flow, bool restored)
{
    (void)restored;
    marker_entries_start(&((struct world *)instance)->entries, flow);
}

static void end(void *instance, struct flowd_flow *flow)
{
    marker_entries_end(&((struct world *)instance)->entries, flow);
}

static void commit(void *instance)
{
    marker_entries_commit(&((struct world *)instance)->entries);
}

static const struct flowd_backend_ops ops = {
    .flow_start = start,
    .flow_end = end,
    .commit = commit,
};
static const struct flowd_module backend = {
    .kind = FLOWD_BACKEND,
    .name = "test",
    .backend = &ops,
};

static struct world *world_new(bool match_source)
{
    struct flowd_hub_limits limits = {.flows_max = 1000};
    struct world *world = calloc(1, sizeof(*world));
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    assert_non_null(world);
    second_net_local = false;
    world->loop = ev_loop_new(0);
    assert_int_equal(flowd_flow_table_open("", &table, &report, NULL), 0);
    world->hub = flowd_hub_new(world->loop, table, &limits);
    world->source = flowd_hub_source(world->hub, "test");
    world->shared = calloc(1, sizeof(*world->shared));
    world->map_fd =
        bpf_map_create(BPF_MAP_TYPE_HASH, "test",
                       match_source ? FLOWD_MARKER_KEY_SOURCE_SIZE : FLOWD_MARKER_KEY_SIZE,
                       sizeof(flowd_marker_word), ENTRIES_MAX, NULL);
    assert_true(world->map_fd >= 0);
    assert_int_equal(marker_entries_init(&world->entries, world->hub, NULL, world->map_fd,
                                         world->shared, match_source, FLOWD_LABEL_EXPERIMENT_MAX),
                     0);
    world->entries.attached = true;
    world->entries.slot = flowd_hub_next_slot(world->hub);
    assert_int_equal(flowd_hub_add(world->hub, &backend, world), 0);
    return world;
}

static void world_free(struct world *world)
{
    flowd_hub_free(world->hub);
    marker_entries_fini(&world->entries);
    close(world->map_fd);
    free(world->shared);
    ev_loop_destroy(world->loop);
    free(world);
}

static struct flowd_flow *submit(struct world *world, enum flowd_event_state state, const char *src,
                                 uint16_t src_port, const char *dst, uint16_t dst_port,
                                 uint16_t experiment, int64_t start_us)
{
    struct flowd_event event = {
        .state = state, .experiment = experiment, .activity = 5, .start_us = start_us};
    struct flowd_flow *flow = NULL;

    event.key = (struct flowd_flow_key){
        .src_port = src_port, .dst_port = dst_port, .family = AF_INET6, .protocol = IPPROTO_TCP};
    assert_int_equal(inet_pton(AF_INET6, src, &event.key.src), 1);
    assert_int_equal(inet_pton(AF_INET6, dst, &event.key.dst), 1);
    assert_true(flowd_hub_submit(world->hub, world->source, &event, &flow, NULL) >= 0);
    return flow;
}

/* The experiment of the map's entry for packets to dst, or -1; the bit must agree. */
static int entry(struct world *world, const char *src, uint16_t src_port, const char *dst,
                 uint16_t dst_port)
{
    struct flowd_marker_key key = {
        .sport_be = htons(src_port), .dport_be = htons(dst_port), .protocol = IPPROTO_TCP};
    struct flowd_marker_mark mark;
    flowd_marker_word word;
    uint32_t hash;
    uint32_t bit;
    bool bit_set;

    inet_pton(AF_INET6, dst, key.dst);
    inet_pton(AF_INET6, src, key.src);
    hash = flowd_marker_key_hash(&key);
    bit = flowd_marker_bit(hash);
    bit_set = world->shared->bitmap[bit / 64] >> (bit % 64) & 1;
    if (bpf_map_lookup_elem(world->map_fd, &key, &word) < 0) {
        /* The keys of these tests are on different bits. */
        assert_false(bit_set && world->entries.failed.count == 0);
        return -1;
    }
    assert_true(bit_set);
    assert_int_equal(flowd_marker_word_check(word),
                     world->entries.match_source ? flowd_marker_check(hash, key.src[0], key.src[1])
                                                 : flowd_marker_check(hash, 0, 0));
    mark = flowd_marker_word_mark(word);
    assert_int_equal(mark.activity, 5);
    assert_int_equal(mark.label & 0x3fefc, flowd_flow_label(mark.experiment, 5, 0));
    return mark.experiment;
}

static unsigned entry_count(const struct world *world)
{
    struct flowd_marker_key key;
    struct flowd_marker_key next;
    unsigned count = 0;

    for (int more = bpf_map_get_next_key(world->map_fd, NULL, &next); more == 0; count++) {
        key = next;
        more = bpf_map_get_next_key(world->map_fd, &key, &next);
    }
    return count;
}

static enum marker_status status(const struct flowd_flow *flow)
{
    return (enum marker_status)flow->backend[0];
}

static void test_directions(void **state)
{
    struct world *world = world_new(false);
    struct flowd_flow *out =
        submit(world, FLOWD_EVENT_START, "fd00:1::1", 10, "fd00:9::1", 20, 1, 0);
    struct flowd_flow *in =
        submit(world, FLOWD_EVENT_START, "fd00:9::2", 30, "fd00:1::1", 40, 2, 0);
    struct flowd_flow *both =
        submit(world, FLOWD_EVENT_START, "fd00:1::1", 50, "fd00:1::2", 60, 3, 0);
    struct flowd_flow *none =
        submit(world, FLOWD_EVENT_START, "fd00:8::1", 70, "fd00:9::1", 80, 4, 0);

    (void)state;
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, "fd00:1::1", 10, "fd00:9::1", 20), 1);
    assert_int_equal(entry(world, "fd00:9::1", 20, "fd00:1::1", 10), -1);
    assert_int_equal(entry(world, "fd00:1::1", 40, "fd00:9::2", 30), 2);
    assert_int_equal(entry(world, "fd00:1::1", 50, "fd00:1::2", 60), 3);
    assert_int_equal(entry(world, "fd00:1::2", 60, "fd00:1::1", 50), 3);
    assert_int_equal(entry(world, "fd00:8::1", 70, "fd00:9::1", 80), 4);
    assert_int_equal(entry(world, "fd00:9::1", 80, "fd00:8::1", 70), 4);
    assert_int_equal(entry_count(world), 6);
    assert_int_equal(world->entries.keys, 6);
    assert_int_equal(world->entries.forwarded, 1);
    assert_int_equal(status(out), MARKER_STATUS_MARKED);
    assert_int_equal(status(in), MARKER_STATUS_MARKED);
    assert_int_equal(status(both), MARKER_STATUS_MARKED);
    assert_int_equal(status(none), MARKER_STATUS_FORWARDED);

    submit(world, FLOWD_EVENT_END, "fd00:1::1", 10, "fd00:9::1", 20, 1, 0);
    submit(world, FLOWD_EVENT_END, "fd00:1::1", 50, "fd00:1::2", 60, 3, 0);
    assert_int_equal(status(both), MARKER_STATUS_UNMARKED);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, "fd00:1::1", 10, "fd00:9::1", 20), -1);
    assert_int_equal(entry(world, "fd00:1::1", 40, "fd00:9::2", 30), 2);
    assert_int_equal(entry_count(world), 3);
    assert_int_equal(world->entries.keys, 3);
    submit(world, FLOWD_EVENT_END, "fd00:8::1", 70, "fd00:9::1", 80, 4, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 1);
    assert_int_equal(world->entries.keys, 1);
    assert_int_equal(world->entries.forwarded, 0);
    world_free(world);
}

static void test_addresses_change(void **state)
{
    struct world *world = world_new(true);
    struct flowd_flow *flow =
        submit(world, FLOWD_EVENT_START, "fd00:2::1", 1, "fd00:9::1", 2, 7, 0);

    (void)state;
    flowd_hub_flush(world->hub);
    assert_int_equal(status(flow), MARKER_STATUS_FORWARDED);
    assert_int_equal(entry(world, "fd00:9::1", 2, "fd00:2::1", 1), 7);
    second_net_local = true;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 1);
    marker_entries_commit(&world->entries);
    assert_int_equal(status(flow), MARKER_STATUS_MARKED);
    assert_int_equal(entry(world, "fd00:2::1", 1, "fd00:9::1", 2), 7);
    assert_int_equal(entry(world, "fd00:9::1", 2, "fd00:2::1", 1), -1);
    second_net_local = false;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 1);
    marker_entries_commit(&world->entries);
    assert_int_equal(status(flow), MARKER_STATUS_FORWARDED);
    assert_int_equal(entry(world, "fd00:2::1", 1, "fd00:9::1", 2), 7);
    assert_int_equal(entry(world, "fd00:9::1", 2, "fd00:2::1", 1), 7);
    world_free(world);
}

/* Without matchSource the most recently started flow of a key is marked, then the other again. */
static void test_shared_key(void **state)
{
    static const char *const sources[] = {"fd00:1::a", "fd00:1::b", "fd00:1::c"};
    struct world *world = world_new(false);

    (void)state;
    submit(world, FLOWD_EVENT_START, sources[0], 1, "fd00:9::1", 2, 11, 1000);
    submit(world, FLOWD_EVENT_START, sources[1], 1, "fd00:9::1", 2, 12, 3000);
    submit(world, FLOWD_EVENT_START, sources[2], 1, "fd00:9::1", 2, 13, 2000);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), 12);
    assert_int_equal(entry_count(world), 1);
    assert_int_equal(world->entries.keys, 1);
    submit(world, FLOWD_EVENT_END, sources[1], 1, "fd00:9::1", 2, 12, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), 13);
    submit(world, FLOWD_EVENT_END, sources[0], 1, "fd00:9::1", 2, 11, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), 13);
    submit(world, FLOWD_EVENT_END, sources[2], 1, "fd00:9::1", 2, 13, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), -1);
    assert_int_equal(world->entries.keys, 0);
    world_free(world);
}

/* The last event of a turn counts, and a key that begins again is never deleted in between. */
static void test_one_turn(void **state)
{
    struct world *world = world_new(true);

    (void)state;
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 1, 0);
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 2, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, "fd00:1::1", 1, "fd00:9::1", 2), 2);
    submit(world, FLOWD_EVENT_END, "fd00:1::1", 1, "fd00:9::1", 2, 2, 0);
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    submit(world, FLOWD_EVENT_END, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 4, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, "fd00:1::1", 1, "fd00:9::1", 2), 4);
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 5, "fd00:9::1", 6, 1, 0);
    submit(world, FLOWD_EVENT_END, "fd00:1::1", 5, "fd00:9::1", 6, 1, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, "fd00:1::1", 5, "fd00:9::1", 6), -1);
    assert_int_equal(entry_count(world), 1);
    world_free(world);
}

/* A map that takes no more: the flows that are left out say so, and are marked once there is room.
 */
static void test_full_map(void **state)
{
    struct world *world = world_new(false);
    struct flowd_flow *flows[ENTRIES_MAX + 3];
    unsigned failed = 0;

    (void)state;
    for (uint16_t i = 0; i < ENTRIES_MAX + 3; i++)
        flows[i] = submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1",
                          2, 9, 0);
    flowd_hub_flush(world->hub);
    for (unsigned i = 0; i < ENTRIES_MAX + 3; i++)
        failed += status(flows[i]) == MARKER_STATUS_FAILED;
    assert_int_equal(failed, 3);
    assert_int_equal(world->entries.failed.count, 3);
    assert_int_equal(entry_count(world), ENTRIES_MAX);

    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, 3);

    for (uint16_t i = 0; i < 3; i++)
        submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, 0);
    assert_int_equal(entry_count(world), ENTRIES_MAX);
    for (uint16_t i = 3; i < ENTRIES_MAX + 3; i++) {
        assert_int_equal(status(flows[i]), MARKER_STATUS_MARKED);
        assert_int_equal(entry(world, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2), 9);
    }
    world_free(world);
}

/* Flows that end before their entry was tried again are not counted twice. */
static void test_ends_in_a_full_map(void **state)
{
    struct world *world = world_new(false);

    (void)state;
    for (uint16_t i = 0; i < ENTRIES_MAX + 3; i++)
        submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(marker_entries_written(&world->entries), ENTRIES_MAX);
    for (uint16_t i = 0; i < ENTRIES_MAX + 3; i++)
        submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(world->entries.failed.count, 3);
    assert_int_equal(marker_entries_written(&world->entries), 0);
    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, 0);
    world_free(world);
}

/* Maps that an earlier process left: strange entries and bits go, those of live flows stay. */
/* Returns how many entries were deleted. */
static int64_t sweep(struct world *world)
{
    struct marker_sweep *sweep = marker_sweep_new(&world->entries);
    int64_t deleted;
    int result;

    assert_non_null(sweep);
    do
        result = marker_sweep_some(sweep);
    while (result > 0);
    assert_int_equal(result, 0);
    deleted = sweep->deleted;
    free(sweep);
    return deleted;
}

static void test_sweep(void **state)
{
    struct world *world = world_new(true);
    flowd_marker_word word = 1;
    struct flowd_marker_key key = {.sport_be = 1};

    (void)state;
    for (uint16_t i = 0; i < 5; i++) {
        key.dport_be = i;
        assert_int_equal(bpf_map_update_elem(world->map_fd, &key, &word, BPF_ANY), 0);
        world->shared->bitmap[i * 1000u] = UINT64_MAX;
    }
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 6);
    assert_int_equal(sweep(world), 5);
    assert_int_equal(entry_count(world), 1);
    assert_int_equal(entry(world, "fd00:1::1", 1, "fd00:9::1", 2), 3);
    for (unsigned i = 0, set = 0; i < FLOWD_MARKER_BITMAP_WORDS; i++) {
        set += (unsigned)__builtin_popcountll(world->shared->bitmap[i]);
        assert_true(set <= 1);
    }
    world_free(world);
}

/*
 * Maps of an earlier process while flows are untold: what is as it should be is not written again,
 * and what somebody untold may need is not deleted.
 */
static void test_adopted(void **state)
{
    struct world *world = world_new(false);

    (void)state;
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    flowd_hub_flush(world->hub);
    world->entries.adopted = true;
    submit(world, FLOWD_EVENT_END, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, "::", 1, "fd00:9::1", 2), 3);
    /* From here on the map refuses what is written. */
    assert_int_equal(bpf_map_freeze(world->map_fd), 0);
    assert_int_equal(status(submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0)),
                     MARKER_STATUS_MARKED);
    flowd_hub_flush(world->hub);
    assert_int_equal(world->entries.update_failures, 0);
    assert_int_equal(entry(world, "::", 1, "fd00:9::1", 2), 3);
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 4, 0);
    flowd_hub_flush(world->hub);
    assert_int_not_equal(world->entries.update_failures, 0);
    world_free(world);
}

/* An untold flow has no mark, and an address change makes it none. */
static void test_untold(void **state)
{
    struct world *world = world_new(true);
    struct flowd_flow *flow =
        submit(world, FLOWD_EVENT_START, "fd00:2::1", 1, "fd00:9::1", 2, 3, 0);
    unsigned marks = (unsigned)world->entries.marks.count;

    (void)state;
    flow->untold = true;
    second_net_local = true;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 0);
    flow->untold = false;
    assert_int_equal(marker_entries_reconsider(&world->entries, flow), 1);
    assert_int_not_equal(world->entries.marks.count, marks);
    world_free(world);
}

/* More entries than are looked at in one go. */
static void test_sweep_of_many(void **state)
{
    enum { MANY = 10000 };
    struct world *world = world_new(true);
    flowd_marker_word word = 1;

    (void)state;
    close(world->map_fd);
    world->map_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "many", FLOWD_MARKER_KEY_SOURCE_SIZE,
                                   sizeof(flowd_marker_word), MANY + 8, NULL);
    assert_true(world->map_fd >= 0);
    world->entries.flows_fd = world->entries.batch->map_fd = world->map_fd;
    for (uint32_t i = 0; i < MANY; i++) {
        struct flowd_marker_key key = {.sport_be = (uint16_t)i, .dport_be = 1};

        assert_int_equal(bpf_map_update_elem(world->map_fd, &key, &word, BPF_ANY), 0);
    }
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 3, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(sweep(world), MANY);
    assert_int_equal(entry_count(world), 1);
    world_free(world);
}

static uint32_t generation(const struct world *world, uint16_t src_port)
{
    struct flowd_marker_key key = {
        .sport_be = htons(src_port), .dport_be = htons(2), .protocol = IPPROTO_TCP};

    inet_pton(AF_INET6, "fd00:9::1", key.dst);
    return world->shared->generations[flowd_marker_recent_slot(flowd_marker_key_hash(&key))];
}

/* Whenever an entry changes, what CPUs remember of it is void, and nothing else is. */
static void test_generations(void **state)
{
    const enum flowd_event_state states[] = {FLOWD_EVENT_START, FLOWD_EVENT_START, FLOWD_EVENT_END};
    const uint16_t experiments[] = {3, 4, 4};
    struct world *world = world_new(false);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t before = generation(world, 1);
        uint32_t other = generation(world, 9);

        submit(world, states[i], "fd00:1::1", 1, "fd00:9::1", 2, experiments[i], 0);
        flowd_hub_flush(world->hub);
        assert_int_not_equal(generation(world, 1), before);
        assert_int_equal(generation(world, 9), other);
    }
    for (unsigned i = 0; i < FLOWD_MARKER_RECENT_SLOTS; i++)
        world->shared->generations[i] = 7;
    assert_int_equal(sweep(world), 0);
    for (unsigned i = 0; i < FLOWD_MARKER_RECENT_SLOTS; i++)
        assert_int_not_equal(world->shared->generations[i], 7);
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
    assert_int_equal(status(flow), MARKER_STATUS_NOT_IPV6);
    flow = submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 600, 0);
    assert_int_equal(status(flow), MARKER_STATUS_NO_LABEL);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directions),  cmocka_unit_test(test_addresses_change),
        cmocka_unit_test(test_shared_key),  cmocka_unit_test(test_one_turn),
        cmocka_unit_test(test_full_map),    cmocka_unit_test(test_ends_in_a_full_map),
        cmocka_unit_test(test_sweep),       cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_untold),      cmocka_unit_test(test_sweep_of_many),
        cmocka_unit_test(test_generations), cmocka_unit_test(test_not_for_labels),
    };

    return bpf_main(tests, NULL, NULL);
}
