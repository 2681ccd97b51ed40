/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow map between any two stores: what a program that reads it meanwhile finds, and what the
 * next process makes of it if this one is killed there. Each with mappings and with system calls.
 *
 * table_store.c is compiled into this file, so that each of its stores can be counted, noted, and
 * be the one that is not reached any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "lab/bpf_main.h"
#include "lab/stride.h"
#include "lab/table_maps.h"
#include "table.h"
#include "table_bucket.h"

static void before_store(void);
static void after_store(const void *at);
static int update_element(int fd, const void *index, const void *value, uint64_t flags);

/* NOLINTBEGIN(bugprone-reserved-identifier,bugprone-suspicious-include,cert-*) */
#define __atomic_store_n(at, value, order)                                                         \
    (before_store(), *(volatile __typeof__(*(at)) *)(at) = (value), after_store(at))
#define bpf_map_update_elem update_element
#include "table_store.c"
#undef bpf_map_update_elem
#undef __atomic_store_n
/* NOLINTEND(bugprone-reserved-identifier,bugprone-suspicious-include,cert-*) */

#define ROOM 2000u
#define KEYS 320u
#define STORES_MAX 4096u
#define NEVER UINT32_MAX

/* Everything in the maps, as 64-bit units: what is shared, the bitmap, the lines. */
struct picture {
    uint64_t *units;
    size_t bitmap_at;
    size_t lines_at;
    size_t count;
};

struct store {
    size_t unit;
    uint64_t value; /* from then on */
};

static struct marker_table table;
static struct picture now;    /* what the programs read */
static struct picture before; /* the same before the last operation */
static struct store stores[STORES_MAX];
static uint32_t stores_done; /* of the operation */
static uint32_t killed_at;   /* the store before which the process is killed */
static bool is_noting;       /* a store is one of the process that may be killed */
static jmp_buf killed;
static uint32_t values[KEYS]; /* of each key; 0: no flow */

static struct stride kills;     /* of the points at which the process may be killed */
static uint32_t refused_one_in; /* system calls; 0: none is refused */

static uint32_t next_random(void)
{
    static uint32_t state = 2463534242u;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void before_store(void)
{
    if (is_noting && stores_done >= killed_at)
        longjmp(killed, 1);
}

static void note_store(size_t unit, uint64_t value)
{
    assert_true(stores_done < STORES_MAX);
    stores[stores_done++] = (struct store){unit, value};
    now.units[unit] = value;
}

static size_t unit_in(const struct picture *picture, const void *at, const void *start,
                      size_t first)
{
    size_t unit = (size_t)((const char *)at - (const char *)start) / sizeof(uint64_t) + first;

    assert_true(unit < picture->count);
    return unit;
}

/* Copies are nothing that a program sees. */
static void after_store(const void *at)
{
    const char *lines = (const char *)table.lines;
    size_t unit;
    uint64_t value;

    if (table.maps.without_mmap || !is_noting)
        return;
    if ((const char *)at >= lines && (const char *)at < lines + table.size.lines * 64)
        unit = unit_in(&now, at, lines, now.lines_at);
    else if ((const uint64_t *)at >= table.bitmap &&
             (const uint64_t *)at < table.bitmap + table.size.buckets)
        unit = unit_in(&now, at, table.bitmap, now.bitmap_at);
    else
        unit = unit_in(&now, at, table.shared, 0);
    memcpy(&value, (const void *)((uintptr_t)at & ~(uintptr_t)7), sizeof(value));
    note_store(unit, value);
}

/* One unit is changed after the other. */
static int update_element(int fd, const void *index, const void *value, uint64_t flags)
{
    uint32_t at = *(const uint32_t *)index;
    size_t size = sizeof(uint64_t);
    size_t unit = now.bitmap_at + at;

    if (fd == table.maps.shared_fd) {
        size = sizeof(struct flowd_marker_shared);
        unit = 0;
    } else if (fd == table.maps.flows_fd) {
        size = sizeof(struct flowd_marker_bucket);
        unit = now.lines_at + at * (size / sizeof(uint64_t));
    }
    before_store();
    if (refused_one_in != 0 && next_random() % refused_one_in == 0) {
        errno = ENOMEM;
        return -1;
    }
    for (size_t i = 0; is_noting && i < size / sizeof(uint64_t); i++) {
        uint64_t fresh = ((const uint64_t *)value)[i];

        if (now.units[unit + i] != fresh)
            note_store(unit + i, fresh);
    }
    return bpf_map_update_elem(fd, index, value, flags);
}

static struct picture picture_new(void)
{
    const struct marker_table_size size = marker_table_size(ROOM);
    struct picture picture = {.bitmap_at = sizeof(struct flowd_marker_shared) / sizeof(uint64_t)};

    picture.lines_at = picture.bitmap_at + size.buckets;
    picture.count =
        picture.lines_at + size.lines * (sizeof(struct flowd_marker_bucket) / sizeof(uint64_t));
    picture.units = calloc(picture.count, sizeof(uint64_t));
    assert_non_null(picture.units);
    return picture;
}

static void read_or_write(int fd, uint64_t *units, size_t size, uint32_t count, bool write)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *at = units + i * (size / sizeof(uint64_t));

        assert_int_equal(
            write ? bpf_map_update_elem(fd, &i, at, 0) : bpf_map_lookup_elem(fd, &i, at), 0);
    }
}

static void copy_maps(const struct marker_table_maps *maps, const struct picture *picture,
                      bool write)
{
    const struct marker_table_size size = marker_table_size(ROOM);

    read_or_write(maps->shared_fd, picture->units, sizeof(struct flowd_marker_shared), 1, write);
    read_or_write(maps->bitmap_fd, picture->units + picture->bitmap_at, sizeof(uint64_t),
                  size.buckets, write);
    read_or_write(maps->flows_fd, picture->units + picture->lines_at,
                  sizeof(struct flowd_marker_bucket), size.lines, write);
}

static void sums_of(const struct marker_table *of, uint32_t number, struct marker_sums *sums)
{
    const struct flowd_marker_key key = {
        .protocol = IPPROTO_UDP,
        .dst = {0x20010db8, number},
        .dport_be = 1094,
    };

    marker_table_sums(of, &key, sums);
}

static int put(struct marker_table *of, uint32_t number, uint32_t value)
{
    struct marker_owner *owner;
    struct marker_sums sums;

    sums_of(of, number, &sums);
    owner = marker_table_find(of, &sums);
    if (value == 0 && owner != NULL)
        return marker_table_remove(of, owner, &sums);
    if (value != 0 && owner != NULL)
        return marker_table_change(of, owner, &sums, value, number + 1);
    return value != 0 ? marker_table_add(of, &sums, value, number + 1) : 0;
}

static void set(struct marker_table *of, uint32_t number, uint32_t value)
{
    assert_int_equal(put(of, number, value), 0);
}

/* What a program finds in the picture. */
static uint32_t look(const struct picture *picture, const struct marker_sums *sums)
{
    uint32_t at = flowd_marker_bucket_of(picture->units[0], sums->hash);

    if (!(picture->units[picture->bitmap_at + at] >> flowd_marker_bit(sums->hash) & 1))
        return 0;
    for (unsigned length = 0; length < FLOWD_MARKER_CHAIN_MAX; length++) {
        struct flowd_marker_bucket line;

        memcpy(&line, picture->units + picture->lines_at + at * (sizeof(line) / sizeof(uint64_t)),
               sizeof(line));
        for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++)
            if ((line.words[i] ^ sums->tag) >> FLOWD_MARKER_VALUE_BITS == 0 &&
                line.checks[i] == sums->check)
                return flowd_marker_word_value(line.words[i]);
        at = line.next;
        if (at == 0)
            break;
    }
    return 0;
}

/* Each line is in one bucket or free, and nothing is in the table but the flows. */
static void check_sound(const struct marker_table *of, uint32_t flows)
{
    uint32_t lines = 0;
    uint32_t entries = 0;

    for (uint32_t bucket = 0; bucket < marker_bucket_count(of); bucket++) {
        uint32_t line = bucket;

        assert_int_equal(of->bitmap[bucket], marker_bucket_bits(of, bucket));
        do {
            for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++)
                entries += of->lines[line].words[i] != 0;
            lines += line >= of->size.buckets;
            line = of->lines[line].next;
        } while (line != 0);
    }
    for (uint32_t line = of->free_line; line != 0;
         line = of->owners[(size_t)line * FLOWD_MARKER_SLOTS].hash)
        lines++;
    assert_int_equal(lines, of->shared->lines - of->size.buckets);
    assert_int_equal(entries, flows);
    assert_int_equal(of->count, flows);
}

/* Takes the maps over, with all flows, and sweeps some buckets. Returns whether all are swept. */
static bool take_over(struct marker_table *next, uint32_t changed, uint32_t value, uint32_t slices)
{
    struct marker_table_maps maps = table.maps;
    size_t removed = 0;
    int result = 1;

    maps.adopted = true;
    assert_int_equal(marker_table_open(next, &maps), 0);
    for (uint32_t i = 0; i < KEYS; i++)
        if (i == changed ? value : values[i])
            set(next, i, i == changed ? value : values[i]);
    for (uint32_t i = 0; i < slices && result > 0; i++) {
        uint32_t comes = KEYS + (killed_at + i) * 5 % 50;

        result = marker_table_sweep(next, 7, &removed);
        set(next, comes, 5);
        set(next, comes, 0);
    }
    assert_true(result >= 0);
    return result == 0;
}

/* The process was killed: programs go on reading, and others take the maps over. */
static void check_killed(uint32_t changed, uint32_t value)
{
    struct picture left = picture_new();
    struct marker_table next;
    uint32_t flows = 0;

    copy_maps(&table.maps, &left, false);
    assert_memory_equal(left.units, now.units, left.count * sizeof(uint64_t));
    for (uint32_t i = 0; i < KEYS; i++) {
        struct marker_sums sums;
        uint32_t found;

        sums_of(&table, i, &sums);
        found = look(&left, &sums);
        assert_true(found == values[i] || (i == changed && found == value));
    }
    /* Whether the next process knows of the flow that began or ended is chance. */
    if (killed_at % 2)
        value = values[changed];
    /* The first of them does not come to the end either. */
    if (!take_over(&next, changed, value, killed_at % 12)) {
        marker_table_close(&next);
        assert_true(take_over(&next, changed, value, NEVER));
    }
    copy_maps(&table.maps, &left, false);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t wanted = i == changed ? value : values[i];
        struct marker_sums sums;

        flows += wanted != 0;
        sums_of(&table, i, &sums);
        assert_int_equal(look(&left, &sums), wanted);
    }
    check_sound(&next, flows);
    marker_table_close(&next);
    free(left.units);
}

/* A unit when so many stores were done. */
static uint64_t unit_at(size_t unit, uint32_t time)
{
    uint64_t value = before.units[unit];

    for (uint32_t i = 0; i < time; i++)
        if (stores[i].unit == unit)
            value = stores[i].value;
    return value;
}

/* Whether loads are done in the program's order, or only after those that their address is of. */
static bool in_order;

static uint32_t later(uint32_t one, uint32_t other)
{
    return one > other ? one : other;
}

/* When the slot may be read, from a time on, as one that is not the key's; NEVER: it may not. */
static uint32_t miss_slot(size_t line_unit, unsigned slot, const struct marker_sums *sums,
                          uint32_t from)
{
    size_t check_unit = line_unit + FLOWD_MARKER_SLOTS + slot / 2;

    for (uint32_t time = from; time <= stores_done; time++) {
        uint32_t check = (uint32_t)(unit_at(check_unit, time) >> (slot % 2 * 32));
        uint64_t word = unit_at(line_unit + slot, time);

        if ((word ^ sums->tag) >> FLOWD_MARKER_VALUE_BITS != 0 || check != sums->check)
            return time;
    }
    return NEVER;
}

/*
 * Whether a program that comes to the line at a time may go through it and what follows, find
 * nothing, and see the geometry that it began with.
 */
static bool may_miss_line(uint32_t line, const struct marker_sums *sums, uint32_t from,
                          uint32_t last, uint64_t geometry)
{
    size_t unit = now.lines_at + line * (sizeof(struct flowd_marker_bucket) / sizeof(uint64_t));
    uint32_t seen = NEVER;

    for (unsigned slot = 0; slot < FLOWD_MARKER_SLOTS; slot++) {
        uint32_t time = miss_slot(unit, slot, sums, in_order ? last : from);

        if (time == NEVER)
            return false;
        last = later(last, time);
    }
    for (uint32_t time = in_order ? last : from; time <= stores_done; time++) {
        uint32_t next = (uint32_t)(unit_at(unit + 7, time) >> 32);

        if (next == seen)
            continue;
        seen = next;
        if (next == 0 ? unit_at(0, later(last, time)) == geometry
                      : may_miss_line(next, sums, time, later(last, time), geometry))
            return true;
    }
    return false;
}

/* Whether a program may not find the key's entry, and not look again. */
static bool may_miss(const struct marker_sums *sums)
{
    uint64_t seen = 0;

    for (uint32_t time = 0; time <= stores_done; time++) {
        uint64_t geometry = unit_at(0, time);
        uint32_t bucket = flowd_marker_bucket_of(geometry, sums->hash);

        if (geometry == seen)
            continue;
        seen = geometry;
        for (uint32_t later_on = time; later_on <= stores_done; later_on++)
            if (!(unit_at(now.bitmap_at + bucket, later_on) >> flowd_marker_bit(sums->hash) & 1) &&
                unit_at(0, later_on) == geometry)
                return true;
        if (may_miss_line(bucket, sums, time, time, geometry))
            return true;
    }
    return false;
}

/* No program misses, at any point of the operation, a flow that was there before and is after. */
static void check_readers(uint32_t changed, uint32_t value)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        struct marker_sums sums;

        if (values[i] == 0 || (i == changed && value == 0))
            continue;
        sums_of(&table, i, &sums);
        in_order = true;
        assert_false(may_miss(&sums));
        in_order = false;
        assert_false(may_miss(&sums));
    }
}

/* Does one thing to a key, after it was killed before each store that it takes, or each so many. */
static void try(uint32_t number, uint32_t value, bool is_killed)
{
    static struct marker_owner owners[ROOM * FLOWD_MARKER_SLOTS];
    const size_t size = (size_t)table.size.lines * FLOWD_MARKER_SLOTS * sizeof(*owners);
    struct marker_table saved = table;
    volatile uint32_t at = is_killed ? (uint32_t)(kills.taken % stride_length()) : NEVER;

    assert_true(size <= sizeof(owners));
    memcpy(owners, table.owners, size);
    memcpy(before.units, now.units, now.count * sizeof(uint64_t));
    for (;;) {
        killed_at = at;
        stores_done = 0;
        is_noting = true;
        if (setjmp(killed) == 0) {
            set(&table, number, value);
            is_noting = false;
            kills.seen += is_killed ? stores_done : 0;
            break;
        }
        is_noting = false;
        check_killed(number, value);
        copy_maps(&table.maps, &before, true);
        table = saved;
        memcpy(table.owners, owners, size);
        memcpy(now.units, before.units, now.count * sizeof(uint64_t));
        if (table.maps.without_mmap) {
            memcpy(table.shared, now.units, sizeof(*table.shared));
            memcpy(table.bitmap, now.units + now.bitmap_at, bitmap_size(&table));
            memcpy(table.lines, now.units + now.lines_at, lines_size(&table));
        }
        kills.taken++;
        at += stride_length();
    }
    check_readers(number, value);
    values[number] = value;
}

static void begin(bool mapped)
{
    const struct marker_table_maps maps = table_maps_new(mapped, ROOM, 0);

    memset(values, 0, sizeof(values));
    now = picture_new();
    before = picture_new();
    killed_at = NEVER;
    assert_int_equal(marker_table_open(&table, &maps), 0);
    copy_maps(&maps, &now, false);
}

static void end(void)
{
    const struct marker_table_maps maps = table.maps;

    marker_table_close(&table);
    close(maps.flows_fd);
    close(maps.bitmap_fd);
    close(maps.shared_fd);
    free(now.units);
    free(before.units);
}

/* Buckets are split and made one again, lines come and go, marks change. */
static void try_all(bool mapped)
{
    uint32_t most = 0;

    begin(mapped);
    for (uint32_t i = 0; i < KEYS; i++) {
        bool is_killed = i % 40 == 0 || (i > 190 && i < 212);

        try(i, i + 1, is_killed);
        if (i % 5 == 0)
            try(i / 2, i + 500, is_killed);
        most = later(most, marker_bucket_count(&table));
    }
    assert_int_equal(most, 2 * FLOWD_MARKER_BUCKETS_MIN);
    for (uint32_t i = 0; i < KEYS; i++)
        try(i, 0, i % 40 == 0 || i < 10 || (i > 220 && i < 245));
    check_sound(&table, 0);
    assert_int_equal(marker_bucket_count(&table), FLOWD_MARKER_BUCKETS_MIN);
    end();
}

static int say_how_many(void **state)
{
    (void)state;
    stride_say(&kills, "stores before which the process was killed");
    return 0;
}

static void test_mapped(void **state)
{
    (void)state;
    try_all(true);
}

static void test_by_calls(void **state)
{
    (void)state;
    try_all(false);
}

/* Does one thing to a key, however often it is refused. */
static void insist(uint32_t number, uint32_t value)
{
    struct marker_sums sums;
    unsigned times = 1;

    stores_done = 0;
    for (; put(&table, number, value) < 0; times++)
        assert_true(times < 100);
    sums_of(&table, number, &sums);
    values[number] = value;
    assert_int_equal(look(&now, &sums), value);
}

/* The kernel refuses system calls now and then: whatever was begun, nothing comes of it. */
static void test_refused(void **state)
{
    (void)state;
    begin(false);
    is_noting = true;
    for (refused_one_in = 3; refused_one_in < 60; refused_one_in += 8) {
        for (unsigned step = 0; step < 2000; step++)
            insist(next_random() % KEYS,
                   next_random() % 1000 < step / 2 ? 0 : 1 + next_random() % 5);
        for (uint32_t i = 0; i < KEYS; i++) {
            struct marker_sums sums;

            sums_of(&table, i, &sums);
            assert_int_equal(look(&now, &sums), values[i]);
            insist(i, 0);
        }
        assert_int_equal(table.count, 0);
        for (uint32_t bucket = 0; bucket < marker_bucket_count(&table); bucket++)
            assert_int_equal(marker_bucket_bits(&table, bucket), 0);
    }
    refused_one_in = 0;
    is_noting = false;
    for (uint32_t i = 0; i < KEYS; i++)
        set(&table, i, 1);
    for (uint32_t bucket = 0; bucket < marker_bucket_count(&table); bucket++)
        marker_store_bits(&table, bucket, marker_bucket_bits(&table, bucket));
    check_sound(&table, KEYS);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_by_calls),
        cmocka_unit_test(test_refused),
    };

    return bpf_main(tests, NULL, say_how_many);
}
