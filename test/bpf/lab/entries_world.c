/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See entries_world.h.
 */
#include "lab/entries_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <ev.h>

#include "daemon/flow/flow_table.h"
#include "daemon/net/host.h"
#include "lab/table_maps.h"
#include "table_bucket.h"

bool world_second_net_local;

bool flowd_host_is_local(const struct flowd_host *host, uint8_t family, const struct in6_addr *addr)
{
    (void)host;
    return family == AF_INET6 && addr->s6_addr[0] == 0xfd && addr->s6_addr[2] == 0 &&
           (addr->s6_addr[3] == 1 || (addr->s6_addr[3] == 2 && world_second_net_local));
}

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

struct world *world_open(bool match_source, bool mapped)
{
    struct flowd_hub_limits limits = {.flows_max = 20000};
    struct world *world = calloc(1, sizeof(*world));
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    assert_non_null(world);
    world_second_net_local = false;
    world->loop = ev_loop_new(0);
    assert_int_equal(flowd_flow_table_open("", &table, &report, NULL), 0);
    world->hub = flowd_hub_new(world->loop, table, &limits);
    world->source = flowd_hub_source(world->hub, "test");
    world->maps = table_maps_new(mapped, 1, match_source ? FLOWD_MARKER_FORMAT_SOURCE : 0);
    assert_int_equal(marker_entries_init(&world->entries, world->hub, NULL, &world->maps,
                                         FLOWD_LABEL_EXPERIMENT_MAX),
                     0);
    world->entries.attached = true;
    world->entries.slot = flowd_hub_next_slot(world->hub);
    assert_int_equal(flowd_hub_add(world->hub, &backend, world), 0);
    return world;
}

struct world *world_new(bool match_source)
{
    return world_open(match_source, true);
}

void world_free(struct world *world)
{
    flowd_hub_free(world->hub);
    marker_entries_fini(&world->entries);
    table_maps_close(&world->maps);
    ev_loop_destroy(world->loop);
    free(world);
}

struct flowd_flow *world_submit(struct world *world, enum flowd_event_state state, const char *src,
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

int world_entry(struct world *world, const char *src, uint16_t src_port, const char *dst,
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

unsigned world_entry_count(const struct world *world)
{
    const struct marker_table *table = &world->entries.table;
    unsigned count = 0;

    for (uint32_t bucket = 0; bucket < marker_bucket_count(table); bucket++)
        for (struct marker_place place = {.line = bucket}; marker_bucket_next(table, &place);
             place.slot++)
            count++;
    return count;
}

enum marker_status world_status(const struct flowd_flow *flow)
{
    return (enum marker_status)flow->backend[0];
}
