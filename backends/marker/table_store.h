/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing in the flow map's maps, so that the programs that read them see each thing whole, and
 * what was stored before it. Functions return 0, or -errno of a system call; what is stored through
 * a mapping never fails.
 */
#pragma once

#include <stdint.h>

struct flowd_marker_shared;
struct marker_table;

/* Maps the maps of table->maps, or reads copies of them. */
int marker_store_open(struct marker_table *table);
void marker_store_close(struct marker_table *table);

/* The whole of what is shared, of maps that no program reads yet. */
int marker_store_shared(struct marker_table *table, const struct flowd_marker_shared *shared);
int marker_store_geometry(struct marker_table *table, uint64_t geometry);
/* The number of the first line that was never in use. */
int marker_store_lines(struct marker_table *table, uint32_t lines);

/* word 0: the slot is free, whatever check is. */
int marker_store_entry(struct marker_table *table, uint32_t line, uint32_t slot, uint64_t word,
                       uint32_t check);
int marker_store_next(struct marker_table *table, uint32_t line, uint32_t next);
/* A line that no program comes to, or comes to in vain. */
int marker_store_empty_line(struct marker_table *table, uint32_t line);
int marker_store_bits(struct marker_table *table, uint32_t bucket, uint64_t bits);
