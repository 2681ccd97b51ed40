/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow map's maps in plain memory, and each store that backends/marker makes there. The table's
 * sources are compiled with this header in front of them (see CMakeLists.txt): what they store
 * atomically, and their system calls, come here. What is stored in another way is found out,
 * because the stores have to make of the memory before what there is afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ebpf/marker.h"

/* As many as a table for RECORD_ENTRIES entries has. */
#define RECORD_ENTRIES 2048u
#define RECORD_BUCKETS 256u
#define RECORD_LINES 1024u
#define RECORD_STORES 1024u

enum record_fd { RECORD_SHARED_FD = 1000, RECORD_BITMAP_FD, RECORD_FLOWS_FD };

struct record_maps {
    struct flowd_marker_shared shared __attribute__((aligned(64)));
    uint64_t bitmap[RECORD_BUCKETS];
    struct flowd_marker_bucket lines[RECORD_LINES];
};

/* One store: so many bytes, at this distance from the maps' beginning. */
struct record_store {
    uint32_t at;
    uint32_t size;
    uint64_t value;
};

/*
 * How a system call copies what it writes: byte by byte, but the numbers of lines and buckets as
 * words of 32 bits (see table_store.c); from either end.
 */
enum record_order { RECORD_UPWARDS, RECORD_DOWNWARDS };

struct record {
    bool by_calls;
    enum record_order order;
    bool on;
    struct record_maps before; /* when recording began */
    struct record_maps maps;   /* as they are */
    struct record_store stores[RECORD_STORES];
    uint32_t count;
};
extern struct record recorded;

/* Empties the maps. */
void record_reset(bool by_calls, enum record_order order);
void record_begin(void);
/* Sees that all stores were recorded. */
void record_end(void);

/* What a program gets of a map of the record, or NULL. */
const void *record_element(const void *map, uint32_t at);

/* What the table's sources call instead of the compiler's, libc's and libbpf's functions. */
void record_atomic_store(void *at, uint64_t value, size_t size, int order);
void *record_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int record_munmap(void *at, size_t size);
ssize_t record_getrandom(void *bytes, size_t size, unsigned flags);
int record_lookup(int fd, const void *key, void *value);
int record_update(int fd, const void *key, const void *value, __u64 flags);
