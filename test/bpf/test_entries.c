/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From flows to map entries: the real hub with a table in memory, real BPF maps, and a host whose
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

#include "daemon/flow/flow_table.h"
#include "daemon/hub/hub.h"
#include "daemon/net/host.h"
#include "entries.h"
#include "lab/bpf_main.h"
#include "lab/marker_run.h"
#include "lab/table_maps.h"
#include "table_bucket.h"
#include "table_store.h"

/* More than fit: the least table has room for some hundred. */
#define TOO_MANY 1200u

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
    struct marker_table_maps maps;
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
    struct flowd_hub_limits limits = {.flows_max = 20000};
    struct world *world = calloc(1, sizeof(*world));
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    assert_non_null(world);
    second_net_local = false;
    world->loop = ev_loop_new(0);
    assert_int_equal(flowd_flow_table_open("", &table, &report, NULL), 0);
    world->hub = flowd_hub_new(world->loop, table, &limits);
    world->source = flowd_hub_source(world->hub, "test");
    world->maps = table_maps_new(true, 1, match_source ? FLOWD_MARKER_FORMAT_SOURCE : 0);
    assert_int_equal(marker_entries_init(&world->entries, world->hub, NULL, &world->maps,
                                         FLOWD_LABEL_EXPERIMENT_MAX),
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
    table_maps_close(&world->maps);
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
    struct marker_table *table = &world->entries.table;
    struct flowd_marker_key key = {
        .sport_be = htons(src_port), .dport_be = htons(dst_port), .protocol = IPPROTO_TCP};
    const struct marker_owner *owner;
    struct marker_sums sums;
    flowd_marker_value label;

    inet_pton(AF_INET6, dst, key.dst);
    inet_pton(AF_INET6, src, key.src);
    marker_table_sums(table, &key, &sums);
    owner = marker_table_find(table, &sums);
    if (owner == NULL)
        return -1;
    assert_true(table->bitmap[marker_bucket_of(table, sums.hash)] >> flowd_marker_bit(sums.hash) &
                1);
    label = table_value(table, owner);
    /* Bits of a label that are its entropy are left out. */
    for (uint16_t experiment = 0; experiment <= FLOWD_LABEL_EXPERIMENT_MAX; experiment++)
        if ((label & 0x3fefc) == flowd_flow_label(experiment, 5, 0))
            return experiment;
    fail_msg("label %x", label);
    return -1;
}

/* Also those of no flow. */
static unsigned entry_count(const struct world *world)
{
    const struct marker_table *table = &world->entries.table;
    unsigned count = 0;

    for (uint32_t bucket = 0; bucket < marker_bucket_count(table); bucket++)
        for (struct marker_place place = {.line = bucket}; marker_bucket_next(table, &place);
             place.slot++)
            count++;
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
    assert_int_equal(marker_entries_written(&world->entries), 6);
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
    assert_int_equal(marker_entries_written(&world->entries), 3);
    submit(world, FLOWD_EVENT_END, "fd00:8::1", 70, "fd00:9::1", 80, 4, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 1);
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
            submit(world, FLOWD_EVENT_START, sources[port % 2], port, "fd00:9::1", 20, 1, 0);
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
    assert_int_equal(marker_entries_written(&world->entries), 1);
    submit(world, FLOWD_EVENT_END, sources[1], 1, "fd00:9::1", 2, 12, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), 13);
    submit(world, FLOWD_EVENT_END, sources[0], 1, "fd00:9::1", 2, 11, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), 13);
    submit(world, FLOWD_EVENT_END, sources[2], 1, "fd00:9::1", 2, 13, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry(world, sources[0], 1, "fd00:9::1", 2), -1);
    assert_int_equal(marker_entries_written(&world->entries), 0);
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
    static struct flowd_flow *flows[TOO_MANY];
    struct world *world = world_new(false);
    struct flowd_error err;
    size_t failed = 0;

    (void)state;
    for (uint16_t i = 0; i < TOO_MANY; i++)
        flows[i] = submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1",
                          2, 9, 0);
    flowd_hub_flush(world->hub);
    for (unsigned i = 0; i < TOO_MANY; i++)
        failed += status(flows[i]) == MARKER_STATUS_FAILED;
    assert_true(failed > 0);
    assert_int_equal(world->entries.failed.count, failed);
    assert_int_equal(entry_count(world), TOO_MANY - failed);

    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, failed);
    assert_int_not_equal(marker_entries_ready(&world->entries, &err), 0);

    for (uint16_t i = 0; i < TOO_MANY * 3 / 4; i++)
        submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    marker_entries_retry(&world->entries);
    assert_int_equal(world->entries.failed.count, 0);
    assert_int_equal(entry_count(world), TOO_MANY - TOO_MANY * 3 / 4);
    for (uint16_t i = TOO_MANY * 3 / 4; i < TOO_MANY; i++) {
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
    for (uint16_t i = 0; i < TOO_MANY; i++)
        submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(marker_entries_written(&world->entries),
                     TOO_MANY - world->entries.failed.count);
    for (uint16_t i = 0; i < TOO_MANY; i++)
        submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(marker_entries_written(&world->entries), 0);
    assert_int_equal(entry_count(world), 0);
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
        submit(world, FLOWD_EVENT_START, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
    for (uint16_t port = 1;; port++) {
        one = submit(world, FLOWD_EVENT_START, "fd00:1::a", port, "fd00:9::2", 2, 11, 1000);
        if (status(one) != MARKER_STATUS_FAILED)
            continue;
        another = submit(world, FLOWD_EVENT_START, "fd00:1::b", port, "fd00:9::2", 2, 12, 2000);
        assert_int_equal(status(another), MARKER_STATUS_FAILED);
        for (uint16_t i = 0; i < TOO_MANY; i++)
            submit(world, FLOWD_EVENT_END, "fd00:1::1", (uint16_t)(100 + i), "fd00:9::1", 2, 9, 0);
        flowd_hub_flush(world->hub);
        marker_entries_retry(&world->entries);
        assert_int_equal(entry(world, "::", port, "fd00:9::2", 2), 12);
        assert_int_equal(status(one), MARKER_STATUS_MARKED);
        submit(world, FLOWD_EVENT_END, "fd00:1::b", port, "fd00:9::2", 2, 12, 0);
        flowd_hub_flush(world->hub);
        assert_int_equal(entry(world, "::", port, "fd00:9::2", 2), 11);
        break;
    }
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
        submit(world, FLOWD_EVENT_START, "fd00:1::1", i, "fd00:9::1", 2, 3, 0);
    for (uint16_t i = 1; i <= 100; i++)
        submit(world, FLOWD_EVENT_START, "fd00:1::1", i, "fd00:9::2", 2, 3, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 200);
    take_over(world);
    for (uint16_t i = 1; i <= 100; i++) {
        submit(world, FLOWD_EVENT_END, "fd00:1::1", i, "fd00:9::1", 2, 3, 0);
        flowd_hub_flush(world->hub);
        if (i % 2 == 0)
            submit(world, FLOWD_EVENT_START, "fd00:1::1", i, "fd00:9::1", 2, i % 4 ? 3 : 4, 0);
    }
    submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::3", 2, 5, 0);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 201);
    assert_int_equal(marker_entries_written(&world->entries), 51);
    assert_int_equal(sweep(world), 150);
    assert_int_equal(entry_count(world), 51);
    for (uint16_t i = 1; i <= 100; i++)
        assert_int_equal(entry(world, "::", i, "fd00:9::1", 2), i % 2 ? -1 : i % 4 ? 3 : 4);
    assert_int_equal(entry(world, "::", 1, "fd00:9::3", 2), 5);
    world_free(world);
}

/* An untold flow has no mark, and an address change makes it none. */
static void test_untold(void **state)
{
    struct world *world = world_new(true);
    struct flowd_flow *flow =
        submit(world, FLOWD_EVENT_START, "fd00:2::1", 1, "fd00:9::1", 2, 3, 0);
    unsigned marks = (unsigned)marker_entries_written(&world->entries);

    (void)state;
    flow->untold = true;
    second_net_local = true;
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
    assert_int_equal(status(flow), MARKER_STATUS_NOT_IPV6);
    flow = submit(world, FLOWD_EVENT_START, "fd00:1::1", 1, "fd00:9::1", 2, 600, 0);
    assert_int_equal(status(flow), MARKER_STATUS_NO_LABEL);
    flowd_hub_flush(world->hub);
    assert_int_equal(entry_count(world), 0);
    world_free(world);
}

/* What may live at a time in the test that follows: between all of these ends, also to oneself. */
static const char *const ends[] = {"fd00:1::1", "fd00:1::2", "fd00:2::1", "fd00:9::1"};
#define ENDS (sizeof(ends) / sizeof(ends[0]))

static bool is_local(unsigned one)
{
    return one < 2 || (one == 2 && second_net_local);
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

        flows[src][dst] = submit(world, one == NULL ? FLOWD_EVENT_START : FLOWD_EVENT_END,
                                 ends[src], 7, ends[dst], 7, step % 500, 1 + rand());
        if (one != NULL)
            flows[src][dst] = NULL;
        if (step % 50 == 0) {
            second_net_local = !second_net_local;
            for (unsigned i = 0; i < ENDS * ENDS; i++)
                if (flows[i / ENDS][i % ENDS] != NULL)
                    marker_entries_reconsider(&world->entries, flows[i / ENDS][i % ENDS]);
        }
        if (rand() % 3 != 0)
            continue;
        flowd_hub_flush(world->hub);
        marker_entries_commit(&world->entries);
        for (unsigned i = 0; i < ENDS; i++)
            assert_int_equal(entry(world, "::", 7, ends[i], 7), expected(flows, i));
        assert_int_equal(entry_count(world), marker_entries_written(&world->entries));
    }
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_hints_change_nothing),
        cmocka_unit_test(test_addresses_change),
        cmocka_unit_test(test_shared_key),
        cmocka_unit_test(test_one_turn),
        cmocka_unit_test(test_full_map),
        cmocka_unit_test(test_ends_in_a_full_map),
        cmocka_unit_test(test_shared_key_in_a_full_map),
        cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_untold),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_not_for_labels),
    };

    return bpf_main(tests, NULL, NULL);
}
