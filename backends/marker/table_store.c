/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Through a mapping, each word is stored as one, and after what was stored before it (release): an
 * entry's check and its bit come before its word, a line's entries before the number that leads to
 * it, copies before the geometry that tells of them, and that before the former places are
 * cleared. On x86-64 stores are in order anyway; on arm64 these are store-release instructions.
 *
 * A system call copies a line byte by byte, and a program may see a part of the bytes. So the entry
 * gets a check first that is nobody's, then its word, then its check: a word that is not whole
 * never stands beside a check that fits. Whoever reads the check after such a word reads the word
 * again. One byte of the bitmap is written as one, and each bit stands for itself. The numbers of
 * lines and of buckets have no such protection: they are taken to be copied as aligned words of 32
 * bits. A copy that stops within such a word would let packets of live flows pass unmarked for as
 * long, where a number of buckets carries from one byte to the next.
 */
#include "table_store.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "table.h"

static size_t lines_size(const struct marker_table *table)
{
    return table->size.lines * sizeof(*table->lines);
}

static size_t bitmap_size(const struct marker_table *table)
{
    return table->size.buckets * sizeof(*table->bitmap);
}

static void *map_of(int fd, size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return at == MAP_FAILED ? NULL : at;
}

static int open_mapped(struct marker_table *table)
{
    table->shared = map_of(table->maps.shared_fd, sizeof(*table->shared));
    table->lines = table->shared == NULL ? NULL : map_of(table->maps.flows_fd, lines_size(table));
    table->bitmap = table->lines == NULL ? NULL : map_of(table->maps.bitmap_fd, bitmap_size(table));
    return table->bitmap == NULL ? -errno : 0;
}

static int read_map(int fd, void *into, size_t size, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (bpf_map_lookup_elem(fd, &i, (char *)into + i * size) < 0)
            return -errno;
    return 0;
}

static int open_copied(struct marker_table *table)
{
    int result;

    table->shared = malloc(sizeof(*table->shared));
    table->lines = malloc(lines_size(table));
    table->bitmap = malloc(bitmap_size(table));
    if (table->shared == NULL || table->lines == NULL || table->bitmap == NULL)
        return -ENOMEM;
    result = read_map(table->maps.shared_fd, table->shared, sizeof(*table->shared), 1);
    if (result == 0)
        result =
            read_map(table->maps.flows_fd, table->lines, sizeof(*table->lines), table->size.lines);
    if (result == 0)
        result = read_map(table->maps.bitmap_fd, table->bitmap, sizeof(*table->bitmap),
                          table->size.buckets);
    return result;
}

int marker_store_open(struct marker_table *table)
{
    return table->maps.without_mmap ? open_copied(table) : open_mapped(table);
}

void marker_store_close(struct marker_table *table)
{
    if (table->maps.without_mmap) {
        free(table->shared);
        free(table->lines);
        free(table->bitmap);
        return;
    }
    if (table->shared != NULL)
        munmap(table->shared, sizeof(*table->shared));
    if (table->lines != NULL)
        munmap(table->lines, lines_size(table));
    if (table->bitmap != NULL)
        munmap(table->bitmap, bitmap_size(table));
}

static int write_element(int fd, uint32_t index, const void *value)
{
    return bpf_map_update_elem(fd, &index, value, BPF_ANY) < 0 ? -errno : 0;
}

static int write_shared(const struct marker_table *table)
{
    return table->maps.without_mmap ? write_element(table->maps.shared_fd, 0, table->shared) : 0;
}

static int write_line(const struct marker_table *table, uint32_t line)
{
    return table->maps.without_mmap ? write_element(table->maps.flows_fd, line, &table->lines[line])
                                    : 0;
}

int marker_store_shared(struct marker_table *table, const struct flowd_marker_shared *shared)
{
    *table->shared = *shared;
    return write_shared(table);
}

/* A number of what is shared. */
static int store_number(struct marker_table *table, __u64 *number, uint64_t value)
{
    uint64_t before = *number;
    int result;

    __atomic_store_n(number, value, __ATOMIC_RELEASE);
    result = write_shared(table);
    if (result < 0)
        *number = before;
    return result;
}

int marker_store_geometry(struct marker_table *table, uint64_t geometry)
{
    return store_number(table, &table->shared->geometry, geometry);
}

int marker_store_lines(struct marker_table *table, uint32_t lines)
{
    return store_number(table, &table->shared->lines, lines);
}

/* A check that is neither of the two. */
static uint32_t nobodys_check(uint32_t one, uint32_t another)
{
    return ~one == another ? ~one ^ 1 : ~one;
}

/* On failure the slot is as it was, or free. */
static int write_entry(struct marker_table *table, uint32_t line, uint32_t slot, uint64_t word,
                       uint32_t check)
{
    struct flowd_marker_bucket *bucket = &table->lines[line];
    uint32_t former = bucket->checks[slot];
    int result;

    bucket->checks[slot] = nobodys_check(former, check);
    result = write_line(table, line);
    if (result < 0) {
        bucket->checks[slot] = former;
        return result;
    }
    bucket->words[slot] = word;
    result = write_line(table, line);
    if (result == 0 && word != 0) {
        bucket->checks[slot] = check;
        result = write_line(table, line);
    }
    if (result < 0)
        bucket->words[slot] = 0;
    return result;
}

int marker_store_entry(struct marker_table *table, uint32_t line, uint32_t slot, uint64_t word,
                       uint32_t check)
{
    struct flowd_marker_bucket *bucket = &table->lines[line];

    if (table->maps.without_mmap)
        return write_entry(table, line, slot, word, check);
    if (word != 0)
        __atomic_store_n(&bucket->checks[slot], check, __ATOMIC_RELEASE);
    __atomic_store_n(&bucket->words[slot], word, __ATOMIC_RELEASE);
    return 0;
}

int marker_store_next(struct marker_table *table, uint32_t line, uint32_t next)
{
    uint32_t before = table->lines[line].next;
    int result;

    __atomic_store_n(&table->lines[line].next, next, __ATOMIC_RELEASE);
    result = write_line(table, line);
    if (result < 0)
        table->lines[line].next = before;
    return result;
}

/* Takes the checks from a line's entries. */
static int write_without_checks(struct marker_table *table, uint32_t line)
{
    struct flowd_marker_bucket *bucket = &table->lines[line];
    const struct flowd_marker_bucket before = *bucket;
    bool has_entries = false;
    int result;

    for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++) {
        if (bucket->words[i] == 0)
            continue;
        bucket->checks[i] = ~bucket->checks[i];
        has_entries = true;
    }
    result = has_entries ? write_line(table, line) : 0;
    if (result < 0)
        *bucket = before;
    return result;
}

int marker_store_empty_line(struct marker_table *table, uint32_t line)
{
    struct flowd_marker_bucket *bucket = &table->lines[line];
    int result = table->maps.without_mmap ? write_without_checks(table, line) : 0;

    if (result < 0)
        return result;
    __atomic_store_n(&bucket->next, 0, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++)
        __atomic_store_n(&bucket->words[i], 0, __ATOMIC_RELEASE);
    return write_line(table, line);
}

int marker_store_bits(struct marker_table *table, uint32_t bucket, uint64_t bits)
{
    uint64_t before = table->bitmap[bucket];
    int result;

    if (before == bits)
        return 0;
    __atomic_store_n(&table->bitmap[bucket], bits, __ATOMIC_RELEASE);
    if (!table->maps.without_mmap)
        return 0;
    result = write_element(table->maps.bitmap_fd, bucket, &table->bitmap[bucket]);
    if (result < 0)
        table->bitmap[bucket] = before;
    return result;
}
