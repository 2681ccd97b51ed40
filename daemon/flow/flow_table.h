/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of flows, which is the state file: records of fixed size in a file mapped from
 * stateDir, and in memory a hash index over them.
 *
 * A record becomes valid by its last store (its state), so the file is readable after `kill -9` at
 * any instant; its check word, stored before, proves it (flow_record.h). There is no fsync: a
 * reboot ends every flow anyway, and the boot id in the header tells. One process at a time has the
 * file (flock). The file grows by blocks that are allocated on disk before they are used: a full
 * disk is an error, never a SIGBUS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"

/* The most that `flows.max` may be. */
#define FLOWD_FLOWS_LIMIT 4194304
/* What it is unless it is configured. Memory for more flows than this is reserved at the start. */
#define FLOWD_FLOWS_USUAL 262144

struct flowd_flow_table;

/* What opening and reading found. */
struct flowd_flow_table_report {
    size_t restored; /* live flows */
    size_t damaged;  /* records that made no sense and were dropped */
    /* Each "" or what is to be said: why a file was not used (it was moved aside to
     * "flows.state.unusable", or left alone, or is of an earlier boot), */
    char set_aside[256];
    char unsafe[256]; /* who but flowd may write to it, */
    char note[256];   /* what was put right. */
};

/*
 * Opens the table in directory, made if it is missing; "" keeps it in memory only. It has no flows
 * until it has been read, and may only be read and closed before. Returns 0 and *out (owned), or
 * -errno: -EBUSY if another flowd has it.
 */
int flowd_flow_table_open_unread(const char *directory, size_t flows_max,
                                 struct flowd_flow_table **out,
                                 struct flowd_flow_table_report *report, struct flowd_error *err);
/*
 * Reads about count records more; report is that of opening. Returns 1 if there is more to read, 0
 * when the table is whole, or -errno.
 */
int flowd_flow_table_read(struct flowd_flow_table *table, size_t count,
                          struct flowd_flow_table_report *report, struct flowd_error *err);
/* Opens the table with the usual flows.max and reads all of it. */
int flowd_flow_table_open(const char *directory, struct flowd_flow_table **out,
                          struct flowd_flow_table_report *report, struct flowd_error *err);
/* flowd_state_file_restore() for the table's file. */
int flowd_flow_table_restore_file(struct flowd_flow_table *table, const char *directory,
                                  struct flowd_error *err);
void flowd_flow_table_close(struct flowd_flow_table *table);

size_t flowd_flow_table_count(const struct flowd_flow_table *table);
/* Records that made no sense when the table was read. */
size_t flowd_flow_table_damaged(const struct flowd_flow_table *table);

/* NULL if there is none. */
struct flowd_flow *flowd_flow_table_find(const struct flowd_flow_table *table,
                                         const struct flowd_flow_key *key);
/* The same flow will be looked for soon: has what is looked at first fetched into the cache. */
void flowd_flow_table_prefetch(const struct flowd_flow_table *table,
                               const struct flowd_flow_key *key);
/* The record with this number, if there is one, will be looked at soon: the same for itself. */
void flowd_flow_table_prefetch_at(const struct flowd_flow_table *table, uint32_t number);
struct flowd_flow *flowd_flow_table_find_id(const struct flowd_flow_table *table, uint64_t id);
/* Records that have ever been used: 0 up to this, without it. */
size_t flowd_flow_table_records(const struct flowd_flow_table *table);
/* The flow in record number if it is live or ended and not released; NULL: none. */
struct flowd_flow *flowd_flow_table_at(const struct flowd_flow_table *table, uint32_t number);
/*
 * The live flow in record index or after it, whose number *index becomes. Looks at *budget records
 * at most, which is lowered by one for each; NULL with a budget left: there is none.
 */
struct flowd_flow *flowd_flow_table_next_within(const struct flowd_flow_table *table,
                                                uint32_t *index, uint32_t *budget);

/*
 * Adds a live flow with prototype's key, times, tag, source and application; id, generation and
 * list are the table's. The key must not be live. Returns 0 and *out (borrowed), -ENOSPC at
 * FLOWD_FLOWS_LIMIT or on a full disk, or -ENOMEM.
 */
int flowd_flow_table_add(struct flowd_flow_table *table, const struct flowd_flow *prototype,
                         struct flowd_flow **out);
/*
 * The two halves of that, for a flow whose key is live with another tag. Stored, its record is in
 * the file, so that a kill leaves one of the two, and its predecessor is still the one to be found;
 * once that has ended, the flow is entered. Of two records of a key reading takes the newer one.
 */
int flowd_flow_table_store(struct flowd_flow_table *table, const struct flowd_flow *prototype,
                           struct flowd_flow **out);
void flowd_flow_table_enter(struct flowd_flow_table *table, struct flowd_flow *flow);
/* Takes the flow out of the index and the list and marks it ended; the record stays readable. */
void flowd_flow_table_end(struct flowd_flow_table *table, struct flowd_flow *flow);
/* Frees an ended flow's record. */
void flowd_flow_table_release(struct flowd_flow_table *table, struct flowd_flow *flow);

/* Notes an event: the flow becomes the newest. boot_us is CLOCK_BOOTTIME. */
void flowd_flow_table_touch(struct flowd_flow_table *table, struct flowd_flow *flow,
                            int64_t boot_us);
/* The live flow whose last event is the oldest; NULL: none. */
struct flowd_flow *flowd_flow_table_oldest(const struct flowd_flow_table *table);

/* The record's number, 0 up to FLOWD_FLOWS_LIMIT - 1, and back (no check that it is live). */
uint32_t flowd_flow_index(const struct flowd_flow *flow);
