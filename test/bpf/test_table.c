/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow map's table: against a model so simple that it can be believed, as the programs read it,
 * and through what a process that was killed left. Each with mappings and with system calls.
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
#include "lab/table_maps.h"
#include "table.h"
#include "table_bucket.h"
#include "table_store.h"

#define ROOM 2000u

/* A small generator (xorshift), so that a failure can be repeated. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static struct flowd_marker_key key_of(uint32_t number)
{
    struct flowd_marker_key key = {.protocol = number & 1 ? IPPROTO_TCP : IPPROTO_UDP};

    key.dst[0] = 0x20010db8;
    key.dst[1] = number >> 17;
    key.sport_be = (uint16_t)(number >> 1);
    key.dport_be = 1094;
    return key;
}

static void sums_of(const struct marker_table *table, uint32_t number, struct marker_sums *sums)
{
    const struct flowd_marker_key key = key_of(number);

    marker_table_sums(table, &key, sums);
}

/* What stands in the maps, read by system calls, of the key with this number; 0: nothing. */
static uint32_t read_value(const struct marker_table *table, uint32_t number)
{
    struct flowd_marker_shared shared;
    struct flowd_marker_bucket line;
    struct marker_sums sums;
    uint32_t at = 0;
    uint64_t bits;
    uint32_t found = 0;

    assert_int_equal(bpf_map_lookup_elem(table->maps.shared_fd, &at, &shared), 0);
    sums_of(table, number, &sums);
    at = flowd_marker_bucket_of(shared.geometry, sums.hash);
    assert_int_equal(bpf_map_lookup_elem(table->maps.bitmap_fd, &at, &bits), 0);
    for (bool more = true; more; more = at != 0) {
        assert_int_equal(bpf_map_lookup_elem(table->maps.flows_fd, &at, &line), 0);
        for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++) {
            if (line.checks[i] != sums.check || line.words[i] == 0 ||
                (line.words[i] ^ sums.tag) >> FLOWD_MARKER_VALUE_BITS != 0)
                continue;
            assert_int_equal(found, 0);
            found = flowd_marker_word_value(line.words[i]);
            assert_true(bits >> flowd_marker_bit(sums.hash) & 1);
        }
        at = line.next;
    }
    return found;
}

/* Lines that no bucket has and nobody could take: none. */
static void check_lines(const struct marker_table *table)
{
    uint32_t used = 0;
    uint32_t free_lines = 0;

    for (uint32_t bucket = 0; bucket < table->size.buckets; bucket++) {
        uint32_t entries = 0;
        uint32_t lines = 0;

        if (bucket >= marker_bucket_count(table)) {
            assert_int_equal(table->bitmap[bucket], 0);
            assert_int_equal(table->lines[bucket].next, 0);
            continue;
        }
        for (uint32_t line = bucket; lines == 0 || line != 0; line = table->lines[line].next) {
            for (unsigned i = 0; i < FLOWD_MARKER_SLOTS; i++)
                entries += table->lines[line].words[i] != 0;
            lines++;
        }
        used += lines - 1;
        assert_int_equal(table->bitmap[bucket], marker_bucket_bits(table, bucket));
        assert_true(lines == 1 || lines <= (entries + FLOWD_MARKER_SLOTS - 1) / FLOWD_MARKER_SLOTS);
    }
    for (uint32_t line = table->free_line; line != 0;
         line = table->owners[(size_t)line * FLOWD_MARKER_SLOTS].hash)
        free_lines++;
    assert_int_equal(used + free_lines, table->shared->lines - table->size.buckets);
}

struct model {
    uint32_t values[ROOM]; /* 0: no entry */
    size_t count;
};

static void set(struct marker_table *table, struct model *model, uint32_t number, uint32_t value)
{
    struct marker_owner *owner;
    struct marker_sums sums;

    sums_of(table, number, &sums);
    owner = marker_table_find(table, &sums);
    assert_int_equal(owner != NULL, model->values[number] != 0);
    model->count += value != 0;
    model->count -= model->values[number] != 0;
    model->values[number] = value;
    if (value == 0 && owner != NULL)
        assert_int_equal(marker_table_remove(table, owner, &sums), 0);
    else if (value != 0 && owner != NULL)
        assert_int_equal(marker_table_change(table, owner, &sums, value, number + 1), 0);
    else if (value != 0)
        assert_int_equal(marker_table_add(table, &sums, value, number + 1), 0);
    assert_int_equal(read_value(table, number), value);
    assert_int_equal(table->count, model->count);
}

static void check_all(struct marker_table *table, const struct model *model)
{
    for (uint32_t i = 0; i < ROOM; i++) {
        struct marker_owner *owner;
        struct marker_sums sums;

        assert_int_equal(read_value(table, i), model->values[i]);
        sums_of(table, i, &sums);
        owner = marker_table_find(table, &sums);
        assert_int_equal(owner != NULL, model->values[i] != 0);
        if (owner == NULL)
            continue;
        assert_int_equal(owner->ref, i + 1);
        assert_int_equal(table_value(table, owner), model->values[i]);
    }
    check_lines(table);
}

/* Grows and shrinks several times, up to the last entry that there is room for. */
static void try_model(bool mapped)
{
    const struct marker_table_maps maps = table_maps_new(mapped, ROOM, 0);
    struct model *model = calloc(1, sizeof(*model));
    uint32_t random = 2463534242u;
    struct marker_table table;
    uint32_t most = 0;

    assert_non_null(model);
    assert_int_equal(marker_table_open(&table, &maps), 0);
    for (unsigned step = 0; step < (mapped ? 60000u : 12000u); step++) {
        bool add = next_random(&random) % 100 < (step / 3000 % 2 == 0 ? 85u : 15u);

        set(&table, model, next_random(&random) % ROOM,
            add ? 1 + next_random(&random) % 0xffffff : 0);
        if (marker_bucket_count(&table) > most)
            most = marker_bucket_count(&table);
        if (step % 1500 == 0)
            check_all(&table, model);
    }
    assert_int_equal(most, table.size.buckets);
    for (uint32_t i = 0; i < ROOM; i++)
        set(&table, model, i, i + 1);
    check_all(&table, model);
    for (uint32_t i = 0; i < ROOM; i++)
        set(&table, model, i, 0);
    check_all(&table, model);
    while (marker_table_settle(&table, 1))
        ;
    assert_int_equal(marker_bucket_count(&table), FLOWD_MARKER_BUCKETS_MIN);
    marker_table_close(&table);
    table_maps_close(&maps);
    free(model);
}

static void test_model_mapped(void **state)
{
    (void)state;
    try_model(true);
}

static void test_model_by_calls(void **state)
{
    (void)state;
    try_model(false);
}

/* Whatever number of flows is allowed, there is room for all, whatever the seeds are. */
static void test_room(void **state)
{
    const uint32_t rooms[] = {512,  513,   1000,  1024,  1025,   3000,   6144,  8192,
                              8200, 12000, 16384, 50000, 131072, 131080, 200000};

    (void)state;
    for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        const struct marker_table_maps maps = table_maps_new(true, rooms[i], 0);
        struct marker_table table;

        assert_int_equal(marker_table_open(&table, &maps), 0);
        for (uint32_t n = 0; n < rooms[i]; n++) {
            struct marker_sums sums;

            sums_of(&table, n, &sums);
            assert_int_equal(marker_table_add(&table, &sums, 1, n + 1), 0);
        }
        assert_true(table.size.lines * 64.0 + table.size.buckets * 8.0 < 24.0 * rooms[i] + 20000);
        marker_table_close(&table);
        table_maps_close(&maps);
    }
}

/* A table that is full says so, changes nothing, and takes an entry for each that goes. */
static void test_full(void **state)
{
    const struct marker_table_maps maps = table_maps_new(true, 64, 0);
    struct marker_table table;
    struct marker_sums sums;
    uint32_t n = 0;
    int result = 0;

    (void)state;
    assert_int_equal(marker_table_open(&table, &maps), 0);
    while (result == 0) {
        sums_of(&table, n++, &sums);
        result = marker_table_add(&table, &sums, n, n);
    }
    assert_int_equal(result, -E2BIG);
    assert_int_equal(table.count, n - 1);
    for (uint32_t i = 0; i + 1 < n; i++)
        assert_int_equal(read_value(&table, i), i + 1);
    assert_int_equal(read_value(&table, n - 1), 0);
    check_lines(&table);
    for (uint32_t i = 0; i < n / 2; i++) {
        sums_of(&table, i, &sums);
        assert_int_equal(marker_table_remove(&table, marker_table_find(&table, &sums), &sums), 0);
    }
    sums_of(&table, n - 1, &sums);
    assert_int_equal(marker_table_add(&table, &sums, n, n), 0);
    check_lines(&table);
    marker_table_close(&table);
    table_maps_close(&maps);
}

/* What a process that was killed might leave: copies that were not cleared, lines of no bucket. */
static void spoil(struct marker_table *table, uint32_t *random)
{
    for (unsigned i = 0; i < 40; i++) {
        uint32_t bucket = next_random(random) % marker_bucket_count(table);
        struct marker_place place = {.line = bucket};

        if (!marker_bucket_next(table, &place))
            continue;
        /* The same entry once more, in its bucket or in that which it was to leave. */
        marker_bucket_put(table, i % 2 ? bucket : next_random(random) % marker_bucket_count(table),
                          marker_word_at(table, place), table->lines[place.line].checks[place.slot],
                          (struct marker_owner){0});
    }
    for (uint32_t bucket = marker_bucket_count(table); bucket < table->size.buckets; bucket++) {
        table->lines[bucket].next = table->size.buckets + bucket % 7;
        table->lines[bucket].words[3] = 77;
        table->bitmap[bucket] = UINT64_MAX;
    }
    if (table->shared->lines < table->size.lines)
        marker_store_lines(table, (uint32_t)table->shared->lines + 1);
}

static void try_takeover(bool mapped)
{
    struct marker_table_maps maps = table_maps_new(mapped, ROOM, 0);
    struct model *model = calloc(1, sizeof(*model));
    uint32_t random = 88172645;
    struct marker_table table;
    size_t removed = 0;
    int result;

    assert_non_null(model);
    assert_int_equal(marker_table_open(&table, &maps), 0);
    for (uint32_t i = 0; i < ROOM / 2; i++)
        set(&table, model, i, i + 1);
    if (mapped)
        spoil(&table, &random);
    marker_table_close(&table);

    maps.adopted = true;
    assert_int_equal(marker_table_open(&table, &maps), 0);
    assert_int_equal(table.count, 0);
    /* Flows are told of: some as they were, some with another mark, some are new, some gone. */
    for (uint32_t i = 0; i < ROOM; i++) {
        uint32_t value = i < ROOM / 2 && i % 3 == 1 ? i + 5 : i + 1;
        struct marker_owner *owner;
        struct marker_sums sums;

        sums_of(&table, i, &sums);
        owner = marker_table_find(&table, &sums);
        assert_int_equal(owner != NULL, i < ROOM / 2);
        if (i % 3 == 0 || i > ROOM * 3 / 4) {
            model->values[i] = 0;
            continue;
        }
        model->values[i] = value;
        result = owner != NULL ? marker_table_change(&table, owner, &sums, value, i + 1)
                               : marker_table_add(&table, &sums, value, i + 1);
        assert_int_equal(result, 0);
        assert_int_equal(read_value(&table, i), value);
    }
    while ((result = marker_table_sweep(&table, 3, &removed)) > 0)
        ;
    assert_int_equal(result, 0);
    assert_true(removed >= ROOM / 6);
    model->count = table.count;
    if (!mapped)
        check_all(&table, model);
    for (uint32_t i = 0; i < ROOM; i++)
        assert_int_equal(read_value(&table, i), model->values[i]);
    /* And it goes on as any other. */
    for (unsigned step = 0; step < 4000; step++)
        set(&table, model, next_random(&random) % ROOM,
            next_random(&random) % 2 ? 1 + next_random(&random) % 1000 : 0);
    for (uint32_t i = 0; i < ROOM; i++)
        assert_int_equal(read_value(&table, i), model->values[i]);
    marker_table_close(&table);
    table_maps_close(&maps);
    free(model);
}

static void test_takeover_mapped(void **state)
{
    (void)state;
    try_takeover(true);
}

static void test_takeover_by_calls(void **state)
{
    (void)state;
    try_takeover(false);
}

/* While a table that was taken over is swept, flows go on to come and go, and buckets with them. */
static void test_changes_beside_sweep(void **state)
{
    (void)state;
    /* In some of them bucket 64, which is made one with the first, has something that was left. */
    for (unsigned round = 0; round < 10; round++) {
        struct marker_table_maps maps = table_maps_new(true, ROOM, 0);
        struct model *model = calloc(1, sizeof(*model));
        struct marker_table table;
        size_t removed = 0;

        assert_non_null(model);
        assert_int_equal(marker_table_open(&table, &maps), 0);
        for (uint32_t i = 0; i < 300; i++)
            set(&table, model, i, i + 1);
        marker_table_close(&table);
        maps.adopted = true;
        assert_int_equal(marker_table_open(&table, &maps), 0);
        memset(model, 0, sizeof(*model));
        assert_int_equal(marker_table_sweep(&table, 1, &removed), 1);
        while (marker_bucket_count(&table) > FLOWD_MARKER_BUCKETS_MIN) {
            set(&table, model, 1000, 1);
            set(&table, model, 1000, 0);
        }
        while (marker_table_sweep(&table, 1, &removed) > 0)
            ;
        check_all(&table, model);
        marker_table_close(&table);
        table_maps_close(&maps);
        free(model);
    }
}

/* Buckets that flows are to come for stay until they are there. */
static void test_expect(void **state)
{
    const struct marker_table_maps maps = table_maps_new(true, ROOM, 0);
    struct model *model = calloc(1, sizeof(*model));
    struct marker_table table;

    (void)state;
    assert_non_null(model);
    assert_int_equal(marker_table_open(&table, &maps), 0);
    assert_int_equal(marker_table_expect(&table, 700), 0);
    for (uint32_t i = 0; i < 700; i++) {
        set(&table, model, i, i + 1);
        set(&table, model, i / 2, 0);
        set(&table, model, i / 2, i + 1);
        assert_int_equal(marker_bucket_count(&table), 256);
    }
    assert_int_equal(marker_table_expect(&table, 0), 0);
    for (uint32_t i = 0; i < 700; i++)
        set(&table, model, i, 0);
    assert_int_equal(marker_bucket_count(&table), FLOWD_MARKER_BUCKETS_MIN);
    check_all(&table, model);
    marker_table_close(&table);
    table_maps_close(&maps);
    free(model);
}

/* Maps that are no table, or lead nowhere, are refused. */
static void test_unsound(void **state)
{
    struct marker_table_maps maps = table_maps_new(true, ROOM, 0);
    struct flowd_marker_shared good;
    struct marker_table table;

    (void)state;
    assert_int_equal(marker_table_open(&table, &maps), 0);
    marker_table_expect(&table, 900);
    good = *table.shared;
    marker_table_close(&table);
    maps.adopted = true;
    for (unsigned fault = 0; fault < 8; fault++) {
        struct flowd_marker_shared shared = good;
        struct flowd_marker_bucket line = {0};
        uint32_t at = 0;
        uint32_t bucket = 5;

        if (fault == 1)
            shared.geometry = 0;
        if (fault == 2)
            shared.geometry += 1000;
        if (fault == 3)
            shared.geometry ^= 3ull << FLOWD_MARKER_ORDER_SHIFT;
        if (fault == 4)
            shared.lines = 10000000;
        if (fault == 5)
            line.next = 3; /* a bucket */
        if (fault == 6)
            line.next = (uint32_t)shared.lines; /* never in use */
        if (fault == 7)
            line.next = UINT32_MAX;
        assert_int_equal(bpf_map_update_elem(maps.shared_fd, &at, &shared, 0), 0);
        assert_int_equal(bpf_map_update_elem(maps.flows_fd, &bucket, &line, 0), 0);
        assert_int_equal(marker_table_open(&table, &maps), fault == 0 ? 0 : -EUCLEAN);
        if (fault == 0)
            marker_table_close(&table);
    }
    table_maps_close(&maps);
}

/* Buckets of few flows are no place for many that began since. */
static void test_too_small(void **state)
{
    struct marker_table_maps maps = table_maps_new(true, 20000, 0);
    struct marker_table table;

    (void)state;
    assert_int_equal(marker_table_open(&table, &maps), 0);
    marker_table_close(&table);
    maps.adopted = true;
    maps.expected = 2000;
    assert_int_equal(marker_table_open(&table, &maps), -EUCLEAN);
    maps.expected = 1900;
    assert_int_equal(marker_table_open(&table, &maps), 0);
    for (uint32_t i = 0; i < maps.expected; i++) {
        struct marker_sums sums;

        sums_of(&table, i, &sums);
        assert_int_equal(marker_table_add(&table, &sums, 1, i + 1), 0);
    }
    marker_table_close(&table);
    table_maps_close(&maps);
}

/* An address of this host in this network: the last two bytes of each half. */
static void place_host(struct flowd_marker_key *key, unsigned net, unsigned host)
{
    const uint8_t bytes[16] = {0x20,
                               0x01,
                               0x0d,
                               0xb8,
                               [6] = (uint8_t)(net >> 8),
                               (uint8_t)net,
                               [14] = (uint8_t)(host >> 8),
                               (uint8_t)host};

    memcpy(key->dst, bytes, sizeof(bytes));
}

/* Flows as they are: many ports or few, between many hosts or few, in many networks or one. */
static void test_spread(void **state)
{
    static const struct {
        unsigned nets;
        unsigned hosts;
        unsigned sports;
        unsigned dports;
    } shapes[] = {{1, 1, 1, 40000}, {1, 1, 16, 2500}, {1, 40000, 1, 1}, {1, 200, 1, 200},
                  {1, 250, 8, 20},  {200, 200, 1, 1}, {200, 20, 1, 10}, {40000, 1, 1, 1}};
    enum { BUCKETS = 8192, FLOWS = 40000 };
    static unsigned used[BUCKETS];

    (void)state;
    for (unsigned shape = 0; shape < sizeof(shapes) / sizeof(shapes[0]); shape++) {
        const struct marker_table_maps maps = table_maps_new(true, 2 * FLOWS, 0);
        struct marker_table table;
        double squares = 0;

        memset(used, 0, sizeof(used));
        assert_int_equal(marker_table_open(&table, &maps), 0);
        for (unsigned i = 0; i < FLOWS; i++) {
            struct flowd_marker_key key = {.protocol = IPPROTO_TCP};
            unsigned host = i / shapes[shape].dports / shapes[shape].sports;
            struct marker_sums sums;

            place_host(&key, host / shapes[shape].hosts, host % shapes[shape].hosts);
            key.sport_be = (uint16_t)(1024 + i / shapes[shape].dports % shapes[shape].sports);
            key.dport_be = (uint16_t)(20000 + i % shapes[shape].dports);
            marker_table_sums(&table, &key, &sums);
            used[sums.hash % BUCKETS]++;
        }
        for (unsigned i = 0; i < BUCKETS; i++)
            squares += (double)used[i] * used[i];
        /* Of a random spread: the mean, and its square. A fifth is tens of deviations. */
        assert_true(squares / (double)BUCKETS < 1.2 * (4.88 + 4.88 * 4.88));
        marker_table_close(&table);
        table_maps_close(&maps);
    }
}

static void test_references(void **state)
{
    (void)state;
    for (uint32_t record = 0; record < 4194304; record += 4111) {
        for (unsigned i = 0; i < MARKER_DIRECTIONS; i++) {
            enum marker_direction direction = i == 0 ? MARKER_FORWARD : MARKER_BACKWARD;
            marker_ref ref = marker_ref_make(record, direction);

            assert_true(ref != 0);
            assert_int_equal(marker_ref_record(ref), record);
            assert_int_equal(marker_ref_direction(ref), direction);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_mapped),
        cmocka_unit_test(test_model_by_calls),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_takeover_mapped),
        cmocka_unit_test(test_takeover_by_calls),
        cmocka_unit_test(test_changes_beside_sweep),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_unsound),
        cmocka_unit_test(test_too_small),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_references),
    };

    return bpf_main(tests, NULL, NULL);
}
