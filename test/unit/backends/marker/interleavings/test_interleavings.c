/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow map while it changes: each operation of the table against the marker program's lookup,
 * in every order of the stores of the one and the loads of the other. A flow that is there before
 * and after has to be found, with its mark; what is not there is never found. With a mapping, and
 * with system calls that store byte by byte, from either end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "lookup.h"
#include "record.h"
#include "table_bucket.h"
#include "table_store.h"
#include "walk.h"

/* Entries that a scene can have, and what is nobody's besides. */
#define ENTRIES_MAX 40u
#define KEYS_TRIED 2000000u
/* Numbers of entries with which the number of buckets goes up, or down. */
#define MANY 1000000u
#define FEW 0u
/* Of a hash, what gives the bit in the bitmap. */
#define BIT_MASK 0xfc000000u

struct entry {
    struct flowd_marker_key key;
    struct marker_sums sums;
    uint32_t before; /* its mark; 0: it is not there */
    uint32_t after;
    bool comes_and_goes; /* it may be missed in between */
};

struct scene {
    struct marker_table table;
    struct entry entries[ENTRIES_MAX];
    uint32_t count;
    uint32_t next_key;
};

static struct scene *scene_open(bool by_calls, enum record_order order)
{
    const struct marker_table_maps maps = {
        .flows_fd = RECORD_FLOWS_FD,
        .bitmap_fd = RECORD_BITMAP_FD,
        .shared_fd = RECORD_SHARED_FD,
        .entries_max = RECORD_ENTRIES,
        .without_mmap = by_calls,
    };
    static struct scene only;
    struct scene *scene = &only;

    /* What a failed test left. */
    marker_table_close(&scene->table);
    *scene = (struct scene){0};
    record_reset(by_calls, order);
    assert_int_equal(marker_table_open(&scene->table, &maps), 0);
    assert_int_equal(scene->table.size.buckets, RECORD_BUCKETS);
    assert_true(scene->table.size.lines <= RECORD_LINES);
    return scene;
}

/* A key that nothing has yet, whose hash has these lower bits under this mask. */
static struct entry *entry_new(struct scene *scene, uint32_t mask, uint32_t bits)
{
    struct entry *entry = &scene->entries[scene->count];

    assert_true(scene->count < ENTRIES_MAX);
    *entry = (struct entry){.key.dst = {0x20010db8, 7}, .key.protocol = IPPROTO_TCP};
    do {
        assert_true(scene->next_key < KEYS_TRIED);
        entry->key.ports = scene->next_key++;
        marker_table_sums(&scene->table, &entry->key, &entry->sums);
    } while ((entry->sums.hash & mask) != bits);
    scene->count++;
    return entry;
}

/* Does what stands in after, while it is recorded or not. */
static void apply(struct scene *scene, struct entry *entry, uint32_t value)
{
    struct marker_table *table = &scene->table;
    struct marker_owner *owner = marker_table_find(table, &entry->sums);
    marker_ref ref = (marker_ref)(entry - scene->entries) + 1;

    if (owner == NULL)
        assert_int_equal(marker_table_add(table, &entry->sums, value, ref), 0);
    else if (value == 0)
        assert_int_equal(marker_table_remove(table, owner, &entry->sums), 0);
    else
        assert_int_equal(marker_table_change(table, owner, &entry->sums, value, ref), 0);
    entry->after = value;
}

/* So many entries in the bucket, and some keys that are nobody's: no entry's, and a former one's.
 */
static void fill(struct scene *scene, uint32_t mask, uint32_t bits, uint32_t entries)
{
    for (uint32_t i = 0; i < entries; i++)
        apply(scene, entry_new(scene, mask, bits), 0x010101 * (1 + scene->count % 200));
}

/* A former entry's key, and one that never was an entry's. The bitmap has a bit for them. */
static void add_strangers(struct scene *scene, uint32_t mask, uint32_t bits)
{
    uint32_t bit = scene->entries[0].sums.hash & BIT_MASK;
    struct entry *former = entry_new(scene, mask | BIT_MASK, bits | bit);

    apply(scene, former, 77);
    apply(scene, former, 0);
    entry_new(scene, mask | BIT_MASK, bits | bit);
}

/* Nothing moves, as while an earlier process's entries are not known. */
static void hold(struct scene *scene, bool is_held)
{
    scene->table.adopted = is_held;
}

static void scene_begin(struct scene *scene)
{
    for (uint32_t i = 0; i < scene->count; i++)
        scene->entries[i].before = scene->entries[i].after;
    record_begin();
}

static uint64_t look_up(const void *context)
{
    const struct entry *entry = context;

    return lookup(&entry->key, entry->sums.hash);
}

static void judge(const void *context, uint64_t word)
{
    const struct entry *entry = context;
    uint32_t value = flowd_marker_word_value(word);

    if (word == 0 && (entry->before == 0 || entry->after == 0 || entry->comes_and_goes))
        return;
    if (word != 0 && (word ^ entry->sums.tag) >> FLOWD_MARKER_VALUE_BITS == 0 && value != 0 &&
        (value == entry->before || value == entry->after))
        return;
    fail_msg("key %u, mark %#x and then %#x: found %#llx", entry->key.ports, entry->before,
             entry->after, (unsigned long long)word);
}

/* Of a word or check that is not the entry's, the program sees just that. */
static uint64_t meaning(const void *context, const void *at, uint64_t value)
{
    const struct entry *entry = context;
    const char *lines = (const char *)recorded.maps.lines;
    size_t within = (size_t)((const char *)at - lines) % sizeof(struct flowd_marker_bucket);

    if (!recorded.by_calls || (const char *)at < lines)
        return value;
    if (within < offsetof(struct flowd_marker_bucket, checks))
        return (value ^ entry->sums.tag) >> FLOWD_MARKER_VALUE_BITS == 0 ? value : 0;
    if (within < offsetof(struct flowd_marker_bucket, next))
        return value == entry->sums.check;
    return value;
}

static void scene_end(struct scene *scene)
{
    static const struct walker program = {.run = look_up, .seen = judge, .meaning = meaning};

    record_end();
    for (uint32_t i = 0; i < scene->count; i++)
        walk(&program, &scene->entries[i]);
}

/* The operations. Each is given an empty table. */

static void add(struct scene *scene, uint32_t entries, uint32_t more)
{
    fill(scene, 63, 5, entries);
    add_strangers(scene, 63, 5);
    scene_begin(scene);
    fill(scene, 63, 5, more);
    scene_end(scene);
}

static void remove_one(struct scene *scene, uint32_t entries, uint32_t which)
{
    fill(scene, 63, 5, entries);
    add_strangers(scene, 63, 5);
    scene_begin(scene);
    apply(scene, &scene->entries[which], 0);
    scene_end(scene);
}

static void change(struct scene *scene, uint32_t entries, uint32_t which)
{
    fill(scene, 63, 5, entries);
    add_strangers(scene, 63, 5);
    scene_begin(scene);
    apply(scene, &scene->entries[which], 0x020304);
    scene_end(scene);
}

/* The same where the bucket has a free slot before the entry, as an earlier process leaves them. */
static void change_behind_hole(struct scene *scene, uint32_t entries, uint32_t which)
{
    hold(scene, true);
    fill(scene, 63, 5, entries);
    apply(scene, &scene->entries[0], 0);
    change(scene, 0, which);
}

/* Away and back again, with another mark: where it was, or elsewhere. */
static void renew(struct scene *scene, uint32_t entries, uint32_t which)
{
    struct entry *entry = &scene->entries[which];

    fill(scene, 63, 5, entries);
    add_strangers(scene, 63, 5);
    scene_begin(scene);
    entry->comes_and_goes = true;
    apply(scene, entry, 0);
    apply(scene, entry, 0x020304);
    scene_end(scene);
}

/* Another key's entry comes to the place of one that goes. */
static void replace(struct scene *scene, uint32_t entries, uint32_t which)
{
    fill(scene, 63, 5, entries);
    add_strangers(scene, 63, 5);
    scene_begin(scene);
    apply(scene, &scene->entries[which], 0);
    fill(scene, 63, 5, 1);
    scene_end(scene);
}

/* A line that one bucket gives back goes on with another one, which has a further one behind it. */
static void reuse(struct scene *scene, uint32_t which, uint32_t more)
{
    fill(scene, 63, 5, 6);
    fill(scene, 63, 9, 5);
    add_strangers(scene, 63, 5);
    add_strangers(scene, 63, 9);
    scene_begin(scene);
    apply(scene, &scene->entries[which], 0);
    fill(scene, 63, 9, more);
    scene_end(scene);
}

/* Sets the number of buckets. */
static void settle_at(struct scene *scene, uint32_t buckets)
{
    size_t count = scene->table.count;

    while (marker_bucket_count(&scene->table) != buckets) {
        scene->table.count = marker_bucket_count(&scene->table) < buckets ? MANY : FEW;
        marker_table_settle(&scene->table, 1);
    }
    scene->table.count = count;
}

/* So many entries that go to the new bucket, and so many that stay, in turn. */
static void fill_both(struct scene *scene, uint32_t buckets, uint32_t going, uint32_t staying)
{
    uint32_t upper = 1u << (31 - (unsigned)__builtin_clz(buckets));
    uint32_t mask = 2 * upper - 1;

    while (going + staying > 0) {
        if (going > 0) {
            fill(scene, mask, buckets, 1);
            going--;
        }
        if (staying > 0) {
            fill(scene, mask, buckets - upper, 1);
            staying--;
        }
    }
}

/* Copies the entry to the first place of bucket 5, as move() begins. */
static void copy_to_front(struct scene *scene, const struct entry *entry)
{
    assert_int_equal(
        marker_store_entry(&scene->table, 5, 0, entry->sums.tag | entry->after, entry->sums.check),
        0);
}

/*
 * Takes over what a process left that was killed while it moved the last entry to the first place;
 * no flow has the one before it any more.
 */
static void take_over(struct scene *scene, uint32_t entries, uint32_t unused)
{
    struct marker_table *table = &scene->table;
    struct entry *gone;
    size_t removed = 0;

    (void)unused;
    fill(scene, 63, 5, entries);
    hold(scene, true);
    apply(scene, &scene->entries[0], 0);
    copy_to_front(scene, &scene->entries[entries - 1]);
    gone = &scene->entries[entries - 2];
    for (uint32_t i = 0; i < table->size.lines * FLOWD_MARKER_SLOTS; i++)
        table->owners[i].ref = 0;
    table->count = 0;
    scene_begin(scene);
    for (struct entry *entry = scene->entries; entry < scene->entries + scene->count; entry++)
        if (entry->before != 0 && entry != gone)
            apply(scene, entry, entry->before);
    while (marker_table_sweep(table, 1, &removed) == 1)
        ;
    gone->after = 0;
    scene_end(scene);
}

static void split_at(struct scene *scene, uint32_t buckets, uint32_t going, uint32_t staying)
{
    settle_at(scene, buckets);
    hold(scene, true);
    fill_both(scene, buckets, going, staying);
    apply(scene, &scene->entries[0], 0);
    entry_new(scene, 63, buckets & 63);
    hold(scene, false);
    scene_begin(scene);
    settle_at(scene, buckets + 1);
    scene_end(scene);
}

static void merge_at(struct scene *scene, uint32_t buckets, uint32_t going, uint32_t staying)
{
    settle_at(scene, buckets + 1);
    hold(scene, true);
    fill_both(scene, buckets, going, staying);
    apply(scene, &scene->entries[0], 0);
    entry_new(scene, 63, buckets & 63);
    hold(scene, false);
    scene_begin(scene);
    settle_at(scene, buckets);
    scene_end(scene);
}

/* There and back; then a line that was given back with entries in it goes on with a bucket. */
static void merge_and_reuse(struct scene *scene, uint32_t going, uint32_t staying)
{
    settle_at(scene, 65);
    hold(scene, true);
    fill_both(scene, 64, going, staying);
    fill(scene, 63, 9, 5);
    hold(scene, false);
    scene_begin(scene);
    settle_at(scene, 64);
    fill(scene, 63, 9, 1);
    scene_end(scene);
}

/* A line that has a copy of what was removed since goes on with the bucket that it was in. */
static void return_line(struct scene *scene, uint32_t going, uint32_t more)
{
    settle_at(scene, 65);
    hold(scene, true);
    fill(scene, 127 | BIT_MASK, 64, going);
    hold(scene, false);
    settle_at(scene, 64);
    apply(scene, &scene->entries[going - 1], 0);
    scene_begin(scene);
    fill(scene, 63 | BIT_MASK, 0, more);
    scene_end(scene);
}

static void merge_and_split(struct scene *scene, uint32_t going, uint32_t staying)
{
    settle_at(scene, 65);
    hold(scene, true);
    fill_both(scene, 64, going, staying);
    hold(scene, false);
    scene_begin(scene);
    settle_at(scene, 64);
    settle_at(scene, 65);
    scene_end(scene);
}

static void split(struct scene *scene, uint32_t going, uint32_t staying)
{
    split_at(scene, 64, going, staying);
}

static void merge(struct scene *scene, uint32_t going, uint32_t staying)
{
    merge_at(scene, 64, going, staying);
}

/* The number of buckets carries from its lowest byte to the next one. */
static void split_with_carry(struct scene *scene, uint32_t going, uint32_t staying)
{
    fill(scene, 255, 200, 2);
    split_at(scene, 255, going, staying);
}

static void merge_with_carry(struct scene *scene, uint32_t going, uint32_t staying)
{
    fill(scene, 255, 200, 2);
    merge_at(scene, 255, going, staying);
}

typedef void operation(struct scene *scene, uint32_t one, uint32_t another);

static void in_each_way(operation *operate, uint32_t one, uint32_t another)
{
    for (unsigned way = 0; way < 3; way++) {
        struct scene *scene = scene_open(way > 0, way == 2 ? RECORD_DOWNWARDS : RECORD_UPWARDS);

        operate(scene, one, another);
        marker_table_close(&scene->table);
    }
}

static void adding(void **state)
{
    (void)state;
    in_each_way(add, 0, 1);
    in_each_way(add, 3, 2);
    in_each_way(add, 5, 1);
    in_each_way(add, 9, 2);
}

static void removing(void **state)
{
    (void)state;
    for (uint32_t which = 0; which < 3; which++)
        in_each_way(remove_one, 3, which);
    for (uint32_t which = 0; which < 7; which++) {
        in_each_way(remove_one, 6, which % 6);
        in_each_way(remove_one, 7, which);
    }
    in_each_way(remove_one, 11, 0);
    in_each_way(remove_one, 11, 7);
    in_each_way(remove_one, 12, 2);
}

static void changing(void **state)
{
    (void)state;
    in_each_way(change, 3, 1);
    in_each_way(change, 5, 1);
    in_each_way(change, 6, 5);
    in_each_way(change, 8, 2);
    in_each_way(change_behind_hole, 3, 1);
    in_each_way(change_behind_hole, 7, 6);
}

static void coming_and_going(void **state)
{
    (void)state;
    in_each_way(renew, 3, 1);
    in_each_way(renew, 7, 2);
    in_each_way(replace, 3, 1);
    in_each_way(replace, 6, 1);
    in_each_way(replace, 7, 2);
}

static void taking_over(void **state)
{
    (void)state;
    in_each_way(take_over, 5, 0);
    in_each_way(take_over, 7, 0);
}

static void lines_of_others(void **state)
{
    (void)state;
    in_each_way(reuse, 5, 1);
    in_each_way(reuse, 1, 1);
    in_each_way(reuse, 5, 6);
}

static void splitting(void **state)
{
    (void)state;
    in_each_way(split, 0, 2);
    in_each_way(split, 2, 0);
    in_each_way(split, 2, 2);
    in_each_way(split, 3, 3);
    in_each_way(split, 6, 1);
    in_each_way(split, 1, 6);
    in_each_way(split, 4, 4);
    in_each_way(split_with_carry, 2, 2);
}

static void merging(void **state)
{
    (void)state;
    in_each_way(merge, 0, 2);
    in_each_way(merge, 2, 0);
    in_each_way(merge, 2, 2);
    in_each_way(merge, 3, 3);
    in_each_way(merge, 6, 1);
    in_each_way(merge, 5, 6);
    in_each_way(merge_with_carry, 2, 2);
}

static void merging_and_more(void **state)
{
    (void)state;
    in_each_way(merge_and_reuse, 6, 2);
    in_each_way(return_line, 6, 6);
    in_each_way(merge_and_split, 2, 2);
    in_each_way(merge_and_split, 3, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adding),           cmocka_unit_test(removing),
        cmocka_unit_test(changing),         cmocka_unit_test(coming_and_going),
        cmocka_unit_test(taking_over),      cmocka_unit_test(lines_of_others),
        cmocka_unit_test(splitting),        cmocka_unit_test(merging),
        cmocka_unit_test(merging_and_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
