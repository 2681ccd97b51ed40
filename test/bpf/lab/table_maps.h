/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps for a table (backends/marker/table.h) that no program reads, and what stands in a table.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "table.h"

/* Empty maps; a failure is the test's. The caller closes them. */
struct marker_table_maps table_maps_new(bool mapped, uint32_t entries_max, unsigned format);
void table_maps_close(const struct marker_table_maps *maps);

/* The mark of an entry that marker_table_find() has found. */
flowd_marker_value table_value(const struct marker_table *table, const struct marker_owner *owner);
