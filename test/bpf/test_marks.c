/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of marks against a model so simple that it can be believed: a plain list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ebpf/marker.h"
#include "marks.h"

#define MODEL_MAX 4000

struct model {
    struct flowd_probe_slot marks[MODEL_MAX];
    size_t count;
};

/* A small generator (xorshift), so that a failure can be repeated. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void add_mark(struct flowd_probe *marks, uint32_t hash, marker_ref ref)
{
    assert_int_equal(flowd_probe_expect(marks, marks->count + 1), 0);
    flowd_probe_add(marks, hash, ref);
}

static void check_hash(const struct flowd_probe *marks, const struct model *model, uint32_t hash)
{
    size_t cursor = FLOWD_PROBE_BEGIN;
    size_t expected = 0;
    size_t found = 0;
    bool bit_used = false;
    marker_ref ref;

    for (size_t i = 0; i < model->count; i++) {
        expected += model->marks[i].hash == hash;
        bit_used |= flowd_marker_bit(model->marks[i].hash) == flowd_marker_bit(hash);
    }
    while ((ref = flowd_probe_next(marks, hash, &cursor)) != 0) {
        bool known = false;

        for (size_t i = 0; i < model->count && !known; i++)
            known = model->marks[i].hash == hash && model->marks[i].number == ref;
        assert_true(known);
        found++;
    }
    assert_int_equal(found, expected);
    assert_int_equal(marker_marks_bit_used(marks, hash), bit_used);
}

/* Hashes from a few values crowd the table's homes, its end, and the bitmap's bits. */
static uint32_t crowded_hash(uint32_t random)
{
    static const uint32_t bases[] = {0, 0x80000000, 0xffffff00, 0xfffff000, 0x12345400};
    uint32_t base = bases[random % 5];

    return base | ((random >> 8) & 0xff) << (random & 0x10000 ? 4 : 0);
}

static void test_random_against_model(void **state)
{
    struct model *model = calloc(1, sizeof(*model));
    struct flowd_probe marks;
    uint32_t random = 2463534242u;
    uint32_t record = 0;

    (void)state;
    assert_non_null(model);
    assert_int_equal(flowd_probe_init(&marks), 0);
    for (unsigned step = 0; step < 40000; step++) {
        uint32_t choice = next_random(&random);
        /* Grows in the first half of each 8,000 steps, shrinks in the second. */
        bool add = choice % 100 < (step / 4000 % 2 == 0 ? 70u : 30u);

        if (add && model->count < MODEL_MAX) {
            struct flowd_probe_slot mark = {
                .hash = choice & 0x100 ? crowded_hash(next_random(&random)) : next_random(&random),
                .number =
                    marker_ref_make(record++, choice & 0x200 ? MARKER_BACKWARD : MARKER_FORWARD),
            };

            add_mark(&marks, mark.hash, mark.number);
            model->marks[model->count++] = mark;
            check_hash(&marks, model, mark.hash);
        } else if (model->count > 0) {
            size_t victim = next_random(&random) % model->count;
            struct flowd_probe_slot mark = model->marks[victim];

            assert_true(flowd_probe_remove(&marks, mark.hash, mark.number));
            assert_false(flowd_probe_remove(&marks, mark.hash, mark.number));
            model->marks[victim] = model->marks[--model->count];
            check_hash(&marks, model, mark.hash);
        }
        check_hash(&marks, model, crowded_hash(next_random(&random)));
        assert_int_equal(marks.count, model->count);
    }
    for (size_t i = 0; i < model->count; i++)
        check_hash(&marks, model, model->marks[i].hash);
    flowd_probe_fini(&marks);
    free(model);
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

/* Past 2^22 slots one bit of the bitmap has several homes, and the first of them may be free. */
static void test_more_slots_than_bits(void **state)
{
    const uint32_t low = 0x7ffffc00; /* the first and the last hash of one bit */
    const uint32_t high = 0x7fffffff;
    struct flowd_probe marks;
    uint32_t random = 88172645;

    (void)state;
    assert_int_equal(flowd_probe_init(&marks), 0);
    for (uint32_t record = 0; marks.order <= FLOWD_MARKER_BITMAP_ORDER + 1; record++) {
        uint32_t hash = next_random(&random);

        if (flowd_marker_bit(hash) != flowd_marker_bit(low))
            add_mark(&marks, hash, marker_ref_make(record, MARKER_FORWARD));
    }
    assert_false(marker_marks_bit_used(&marks, low));
    assert_false(marker_marks_bit_used(&marks, high));
    add_mark(&marks, high, UINT32_MAX);
    assert_true(marker_marks_bit_used(&marks, low));
    assert_true(marker_marks_bit_used(&marks, high));
    assert_true(flowd_probe_remove(&marks, high, UINT32_MAX));
    assert_false(marker_marks_bit_used(&marks, low));
    flowd_probe_fini(&marks);
}

static void test_fill(void **state)
{
    uint64_t *bitmap = calloc(FLOWD_MARKER_BITMAP_WORDS, sizeof(*bitmap));
    struct flowd_probe marks;
    uint32_t random = 12345;
    unsigned set = 0;

    (void)state;
    assert_non_null(bitmap);
    assert_int_equal(flowd_probe_init(&marks), 0);
    for (uint32_t record = 0; record < 3000; record++) {
        uint32_t hash = next_random(&random);

        add_mark(&marks, hash, marker_ref_make(record, MARKER_FORWARD));
    }
    marker_marks_fill(&marks, bitmap);
    for (uint32_t bit = 0; bit < FLOWD_MARKER_BITMAP_BITS; bit++) {
        bool is_set = bitmap[bit / 64] >> (bit % 64) & 1;

        if (is_set != marker_marks_bit_used(&marks, bit << (32 - FLOWD_MARKER_BITMAP_ORDER)))
            fail_msg("bit %u", bit);
        set += is_set;
    }
    assert_in_range(set, 2900, 3000);
    flowd_probe_fini(&marks);
    free(bitmap);
}

/* Flows as they are: many ports between few hosts, and few ports between many hosts. */
static void test_hash_spreads(void **state)
{
    static const struct {
        unsigned hosts;
        unsigned sports;
        unsigned dports;
    } shapes[] = {{1, 1, 40000}, {1, 16, 12000}, {50000, 1, 1}, {200, 1, 1000}, {250, 40, 20}};
    uint8_t *used = malloc(FLOWD_MARKER_BITMAP_BITS);

    (void)state;
    assert_non_null(used);
    for (unsigned shape = 0; shape < sizeof(shapes) / sizeof(shapes[0]); shape++) {
        unsigned flows = shapes[shape].hosts * shapes[shape].sports * shapes[shape].dports;
        unsigned bits = 0;

        memset(used, 0, FLOWD_MARKER_BITMAP_BITS);
        for (unsigned i = 0; i < flows; i++) {
            unsigned host = i / (shapes[shape].sports * shapes[shape].dports) + 1;
            unsigned sport = 1024 + i / shapes[shape].dports % shapes[shape].sports;
            unsigned dport = 20000 + i % shapes[shape].dports;
            uint8_t address[16] = {0x20, 0x01, 0x0d, 0xb8};
            uint8_t ports[4] = {(uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8),
                                (uint8_t)dport};
            uint64_t halves[2];
            uint32_t both;
            uint32_t bit;

            address[14] = (uint8_t)(host >> 8);
            address[15] = (uint8_t)host;
            memcpy(halves, address, sizeof(halves));
            memcpy(&both, ports, sizeof(both));
            bit = flowd_marker_bit(flowd_marker_hash(halves[0], halves[1], both, 6));
            bits += !used[bit];
            used[bit] = 1;
        }
        /* A perfect random spread of 200,000 flows uses 97.7 % as many bits. */
        assert_true(bits * 100.0 / flows > 97.0);
    }
    free(used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_model), cmocka_unit_test(test_references),
        cmocka_unit_test(test_more_slots_than_bits), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_hash_spreads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
