/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where flows become map entries: the real hub with a table in memory, real BPF maps of the least
 * size, and a host whose local addresses the test chooses.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/hub/hub.h"
#include "entries.h"

/* Every address under fd00:1::/32 is local, and those under fd00:2::/32 if this is set. */
extern bool world_second_net_local;

struct world {
    struct ev_loop *loop;
    struct flowd_hub *hub;
    struct flowd_source *source;
    struct marker_entries entries;
    struct marker_table_maps maps;
};

/* mapped: the maps are written through mappings, else by system calls. Owned. */
struct world *world_open(bool match_source, bool mapped);
struct world *world_new(bool match_source);
void world_free(struct world *world);

/* An event of a flow of TCP with activity 5; returns the flow. */
struct flowd_flow *world_submit(struct world *world, enum flowd_event_state state, const char *src,
                                uint16_t src_port, const char *dst, uint16_t dst_port,
                                uint16_t experiment, int64_t start_us);
/* The experiment of the map's entry for packets to dst, or -1; the bit must agree. */
int world_entry(struct world *world, const char *src, uint16_t src_port, const char *dst,
                uint16_t dst_port);
/* Also those of no flow. */
unsigned world_entry_count(const struct world *world);
enum marker_status world_status(const struct flowd_flow *flow);
