/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow map as its only writer has it: ebpf/marker.h says what stands in it and how the programs
 * read it meanwhile. Beside each slot stands, in this process's memory, which flow's it is.
 *
 * The maps are written through mappings. Where those can't be had, this process keeps the same in
 * memory of its own and copies each changed line with a system call.
 *
 * Where nothing else is said, functions return 0 or -errno: -E2BIG where no line is free, -ENOMEM,
 * or what the kernel answered to a system call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/marker.h"

/* The record's number and the direction, as one number that is never 0. */
typedef uint32_t marker_ref;

enum marker_direction { MARKER_FORWARD = 0, MARKER_BACKWARD = 1 };
#define MARKER_DIRECTIONS 2

static inline marker_ref marker_ref_make(uint32_t record, enum marker_direction direction)
{
    return (record << 1 | (uint32_t)direction) + 1;
}

static inline uint32_t marker_ref_record(marker_ref ref)
{
    return (ref - 1) >> 1;
}

static inline enum marker_direction marker_ref_direction(marker_ref ref)
{
    return (ref - 1) & 1 ? MARKER_BACKWARD : MARKER_FORWARD;
}

/* What a key is found by. */
struct marker_sums {
    uint64_t tag; /* as in an entry's word */
    uint32_t hash;
    uint32_t check;
};

/* What this process knows of a slot. */
struct marker_owner {
    marker_ref ref; /* 0: no live flow's that is known */
    uint32_t hash;  /* of the key; only where ref is not 0, or was not */
};

/* How large the maps are. */
struct marker_table_size {
    uint32_t buckets; /* at most */
    uint32_t lines;   /* buckets and those that go on with one */
};

/* Room for so many entries, whatever their keys are. */
struct marker_table_size marker_table_size(uint32_t entries_max);

/* The maps in the kernel. */
struct marker_table_maps {
    int flows_fd;
    int bitmap_fd;
    int shared_fd;
    uint32_t entries_max;
    size_t expected;   /* entries that the flows known at the start will have at most */
    unsigned format;   /* enum flowd_marker_format, without FLOWD_MARKER_FORMAT_SET */
    bool adopted;      /* they are those of an earlier process */
    bool without_mmap; /* they are written by system calls */
};

struct marker_table {
    struct marker_table_maps maps;
    struct marker_table_size size;
    /* The maps' contents: mappings of them, or copies. */
    struct flowd_marker_shared *shared;
    struct flowd_marker_bucket *lines;
    uint64_t *bitmap;
    struct marker_owner *owners; /* FLOWD_MARKER_SLOTS for each line; owned */
    size_t count;                /* entries whose flow is known */
    size_t expected;             /* so many there will be */
    uint32_t free_line;          /* the first of those that were in use; 0: none */
    /* What an earlier process left is not known yet: nothing moves. */
    bool adopted;
    uint32_t sweep_at; /* the bucket that is swept next */
};

int marker_table_open(struct marker_table *table, const struct marker_table_maps *maps);
void marker_table_close(struct marker_table *table);

void marker_table_sums(const struct marker_table *table, const struct flowd_marker_key *key,
                       struct marker_sums *sums);

/* Has what a search for the key and a change of its entry look at first fetched into the cache. */
void marker_table_prefetch(const struct marker_table *table, const struct marker_sums *sums);
/* The entry's slot for those calls that take one, valid until the table changes; NULL: none. */
struct marker_owner *marker_table_find(struct marker_table *table, const struct marker_sums *sums);

/* Adds an entry, which must not be there. */
int marker_table_add(struct marker_table *table, const struct marker_sums *sums,
                     flowd_marker_value value, marker_ref ref);
/* Gives an entry another mark and flow. */
int marker_table_change(struct marker_table *table, struct marker_owner *owner,
                        const struct marker_sums *sums, flowd_marker_value value, marker_ref ref);
/* Says that no flow is behind the entry any more; it stays. */
void marker_table_abandon(struct marker_table *table, struct marker_owner *owner);
/* Takes an entry away. On failure it stays, abandoned. */
int marker_table_remove(struct marker_table *table, struct marker_owner *owner,
                        const struct marker_sums *sums);

/*
 * Brings the number of buckets nearer to what the number of entries asks for, by at most so many.
 * Returns whether there is more to do.
 */
bool marker_table_settle(struct marker_table *table, uint32_t buckets);
/*
 * Prepares an empty table for so many entries, and keeps it so until it is told that 0 are
 * expected: any number may come or go then.
 */
int marker_table_expect(struct marker_table *table, size_t entries);

/*
 * Removes what an earlier process left and no flow claimed, from some buckets; the first call says
 * that all flows are told of. Returns 1 as long as there is more to do, then 0, or -errno. *removed
 * grows by the number of entries that went.
 */
int marker_table_sweep(struct marker_table *table, uint32_t buckets, size_t *removed);
