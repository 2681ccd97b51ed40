/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table against a model, and what a second process finds in its file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/flow/flow_table.h"
#include "lab/sample_flow.h"
#include "lab/scratch.h"

#define FLOWS 3000
#define STEPS 40000

/* What the table should say of a numbered flow. */
struct expected {
    struct flowd_flow *flow; /* NULL: not live */
    uint64_t id;
    uint64_t last_event; /* a step: the order of age */
};

struct model {
    struct flowd_flow_table *table;
    struct expected flows[FLOWS];
    struct flowd_flow *ended[64];
    size_t ended_count;
    size_t live;
};

static struct flowd_flow_table *open_table(const char *directory,
                                           struct flowd_flow_table_report *report)
{
    struct flowd_flow_table *table;
    struct flowd_error err;

    if (flowd_flow_table_open(directory, &table, report, &err) < 0)
        fail_msg("open %s: %s", directory, err.message);
    return table;
}

static void release_all(struct model *model)
{
    for (size_t i = 0; i < model->ended_count; i++) {
        uint32_t number = flowd_flow_index(model->ended[i]);

        assert_ptr_equal(flowd_flow_table_at(model->table, number), model->ended[i]);
        flowd_flow_table_release(model->table, model->ended[i]);
        assert_null(flowd_flow_table_at(model->table, number));
    }
    model->ended_count = 0;
}

static void add(struct model *model, uint32_t number, uint64_t step)
{
    struct flowd_flow prototype = sample_flow(number), *flow;
    struct expected *expected = &model->flows[number];

    assert_int_equal(flowd_flow_table_add(model->table, &prototype, &flow), 0);
    /* A record may be used again, its id never. */
    assert_true(flow->id != expected->id);
    assert_true(flow->id >> 32 != 0);
    assert_int_equal(flow->state, FLOWD_FLOW_LIVE);
    *expected = (struct expected){.flow = flow, .id = flow->id, .last_event = step};
    model->live++;
}

static void end(struct model *model, uint32_t number)
{
    struct expected *expected = &model->flows[number];
    struct flowd_flow_key key = sample_key(number);

    if (model->ended_count == sizeof(model->ended) / sizeof(model->ended[0]))
        release_all(model);
    flowd_flow_table_end(model->table, expected->flow);
    assert_int_equal(expected->flow->state, FLOWD_FLOW_ENDED);
    assert_memory_equal(&expected->flow->key, &key, sizeof(key));
    assert_ptr_equal(flowd_flow_table_find_id(model->table, expected->id), expected->flow);
    model->ended[model->ended_count++] = expected->flow;
    expected->flow = NULL;
    model->live--;
}

static struct flowd_flow *oldest_of(const struct model *model)
{
    const struct expected *oldest = NULL;

    for (uint32_t number = 0; number < FLOWS; number++) {
        const struct expected *expected = &model->flows[number];

        if (expected->flow != NULL && (oldest == NULL || expected->last_event < oldest->last_event))
            oldest = expected;
    }
    return oldest != NULL ? oldest->flow : NULL;
}

static size_t count_live(const struct flowd_flow_table *table)
{
    uint32_t budget = UINT32_MAX;
    size_t live = 0;

    for (uint32_t at = 0; flowd_flow_table_next_within(table, &at, &budget) != NULL; at++)
        live++;
    return live;
}

static void check_all(const struct model *model)
{
    for (uint32_t number = 0; number < FLOWS; number++) {
        struct flowd_flow_key key = sample_key(number);
        const struct expected *expected = &model->flows[number];

        assert_ptr_equal(flowd_flow_table_find(model->table, &key), expected->flow);
        if (expected->flow != NULL)
            assert_ptr_equal(flowd_flow_table_find_id(model->table, expected->id), expected->flow);
    }
    assert_int_equal(count_live(model->table), model->live);
    assert_int_equal(flowd_flow_table_count(model->table), model->live);
    assert_ptr_equal(flowd_flow_table_oldest(model->table), oldest_of(model));
}

static void run_steps(struct model *model, uint32_t steps)
{
    uint32_t random = 7;

    for (uint32_t step = 1; step <= steps; step++) {
        uint32_t number = sample_random(&random) % FLOWS;
        struct expected *expected = &model->flows[number];

        if (expected->flow == NULL) {
            add(model, number, step);
        } else if (step % 3 == 0) {
            flowd_flow_table_touch(model->table, expected->flow, step);
            expected->last_event = step;
        } else {
            end(model, number);
        }
        if (step % 4000 == 0)
            check_all(model);
    }
    release_all(model);
    check_all(model);
}

static void test_against_model(void **state)
{
    struct model *model = calloc(1, sizeof(*model));
    struct flowd_flow_table_report report;

    (void)state;
    assert_non_null(model);
    model->table = open_table("", &report);
    assert_int_equal(report.restored, 0);
    run_steps(model, STEPS);
    flowd_flow_table_close(model->table);
    free(model);
}

static void test_old_ids_find_nothing(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table = open_table("", &report);
    struct flowd_flow prototype = sample_flow(1), *first, *second;
    uint64_t id;

    (void)state;
    assert_null(flowd_flow_table_oldest(table));
    assert_null(flowd_flow_table_find_id(table, 0));
    assert_null(flowd_flow_table_find_id(table, UINT64_MAX));
    assert_null(flowd_flow_table_at(table, 0));
    assert_null(flowd_flow_table_at(table, UINT32_MAX));
    assert_int_equal(flowd_flow_table_add(table, &prototype, &first), 0);
    id = first->id;
    assert_null(flowd_flow_table_find_id(table, id + (1ull << 32)));
    flowd_flow_table_end(table, first);
    flowd_flow_table_release(table, first);
    assert_null(flowd_flow_table_find_id(table, id));
    assert_int_equal(flowd_flow_table_add(table, &prototype, &second), 0);
    assert_ptr_equal(first, second);
    assert_true(second->id != id);
    assert_null(flowd_flow_table_find_id(table, id));
    flowd_flow_table_close(table);
}

/* Closing without a release is what a kill leaves. */
static void test_reopened(void **state)
{
    struct scratch scratch;
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    int64_t base = sample_flow(0).last_event_us - 1000000;
    struct flowd_flow *flow;
    uint64_t ids[5000];
    enum { COUNT = 5000 };

    (void)state;
    scratch_make(&scratch);
    table = open_table(scratch.path, &report);
    for (uint32_t number = 0; number < COUNT; number++) {
        struct flowd_flow prototype = sample_flow(number);

        assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
        flow->backend[0] = 3;
        flow->directions = 1;
        ids[number] = flow->id;
    }
    /* The order of age becomes another one than that of the records. */
    for (uint32_t i = 0; i < COUNT; i++)
        flowd_flow_table_touch(table, flowd_flow_table_find_id(table, ids[i * 1009 % COUNT]),
                               base + i);
    for (uint32_t number = 0; number < COUNT; number += 5) {
        flow = flowd_flow_table_find_id(table, ids[number]);
        flowd_flow_table_end(table, flow);
        if (number % 2 == 0)
            flowd_flow_table_release(table, flow);
    }
    flowd_flow_table_close(table);

    table = open_table(scratch.path, &report);
    assert_string_equal(report.set_aside, "");
    assert_int_equal(report.damaged, 0);
    assert_int_equal(report.restored, COUNT * 4 / 5);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t number = i * 1009 % COUNT;
        struct flowd_flow wanted = sample_flow(number);

        if (number % 5 == 0) {
            assert_null(flowd_flow_table_find_id(table, ids[number]));
            continue;
        }
        flow = flowd_flow_table_oldest(table);
        assert_int_equal(flow->id, ids[number]);
        assert_memory_equal(&flow->key, &wanted.key, sizeof(wanted.key));
        assert_int_equal(flow->start_us, wanted.start_us);
        assert_int_equal(flow->flow_label, wanted.flow_label);
        assert_string_equal(flow->application, "sample");
        assert_int_equal(flow->backend[0], 0);
        assert_int_equal(flow->directions, 0);
        flowd_flow_table_end(table, flow);
        flowd_flow_table_release(table, flow);
    }
    assert_int_equal(flowd_flow_table_count(table), 0);
    flowd_flow_table_close(table);
    scratch_remove(&scratch);
}

/* Records that the file holds twice, or that an earlier process left, are used again. */
static void test_reopened_records_are_reused(void **state)
{
    struct scratch scratch;
    struct flowd_flow_table_report report;
    struct flowd_flow *flow;
    struct flowd_flow prototype = sample_flow(1);

    (void)state;
    scratch_make(&scratch);
    for (int life = 0; life < 5; life++) {
        struct flowd_flow_table *table = open_table(scratch.path, &report);

        assert_int_equal(report.restored, 0);
        assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
        assert_int_equal(flowd_flow_index(flow), 0);
        assert_int_equal(flow->id >> 32, life + 1);
        flowd_flow_table_end(table, flow);
        flowd_flow_table_close(table);
    }
    scratch_remove(&scratch);
}

/*
 * A kill in the middle of a change of tag, with the old record still live or already ended; the new
 * record is one behind the old one, or one before it that was free.
 */
static void cut_change_of_tag(bool ended, bool before)
{
    struct scratch scratch;
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow *first, *old, *other, *flow;
    struct flowd_flow prototypes[3] = {sample_flow(0), sample_flow(1), sample_flow(2)};
    struct flowd_flow changed = sample_flow(1);

    scratch_make(&scratch);
    table = open_table(scratch.path, &report);
    assert_int_equal(flowd_flow_table_add(table, &prototypes[0], &first), 0);
    assert_int_equal(flowd_flow_table_add(table, &prototypes[1], &old), 0);
    assert_int_equal(flowd_flow_table_add(table, &prototypes[2], &other), 0);
    old->last_event_us = other->last_event_us - 1000;
    if (before) {
        flowd_flow_table_end(table, first);
        flowd_flow_table_release(table, first);
    }
    changed.last_event_us = other->last_event_us;
    changed.activity = 18;
    changed.flow_label = flowd_flow_label(2, 18, 0);
    assert_int_equal(flowd_flow_table_store(table, &changed, &flow), 0);
    assert_int_equal(flowd_flow_index(flow) < flowd_flow_index(old), before);
    assert_ptr_equal(flowd_flow_table_find(table, &changed.key), old);
    if (ended)
        flowd_flow_table_end(table, old);
    flowd_flow_table_close(table);

    table = open_table(scratch.path, &report);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(report.restored, before ? 2 : 3);
    assert_int_equal(count_live(table), report.restored);
    flow = flowd_flow_table_find(table, &changed.key);
    assert_non_null(flow);
    assert_int_equal(flow->activity, 18);
    /* Each is in the order of age once, and each free record is used again. */
    while ((flow = flowd_flow_table_oldest(table)) != NULL)
        flowd_flow_table_end(table, flow);
    assert_int_equal(flowd_flow_table_count(table), 0);
    assert_int_equal(flowd_flow_table_add(table, &changed, &flow), 0);
    assert_int_equal(flowd_flow_table_records(table), before ? 3 : 4);
    flowd_flow_table_close(table);
    table = open_table(scratch.path, &report);
    assert_int_equal(report.restored, 1);
    flowd_flow_table_close(table);
    scratch_remove(&scratch);
}

static void test_change_of_tag_cut_short(void **state)
{
    (void)state;
    cut_change_of_tag(false, false);
    cut_change_of_tag(false, true);
    cut_change_of_tag(true, false);
    cut_change_of_tag(true, true);
}

static void test_second_opener(void **state)
{
    struct scratch scratch;
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table, *second = NULL;
    struct flowd_error err;

    (void)state;
    scratch_make(&scratch);
    table = open_table(scratch.path, &report);
    assert_int_equal(flowd_flow_table_open(scratch.path, &second, &report, &err), -EBUSY);
    assert_null(second);
    assert_non_null(strstr(err.message, scratch.path));
    flowd_flow_table_close(table);
    table = open_table(scratch.path, &report);
    flowd_flow_table_close(table);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model), cmocka_unit_test(test_old_ids_find_nothing),
        cmocka_unit_test(test_reopened),      cmocka_unit_test(test_reopened_records_are_reused),
        cmocka_unit_test(test_second_opener), cmocka_unit_test(test_change_of_tag_cut_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
