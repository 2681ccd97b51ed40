/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash index against the plainest model there is: an array that says which flow is in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/flow/flow_index.h"
#include "lab/sample_flow.h"

#define FLOWS 4000
#define STEPS 60000

static struct flowd_flow records[FLOWS];

static void check_all(const struct flowd_flow_index *index, const bool *present)
{
    size_t count = 0;

    for (uint32_t number = 0; number < FLOWS; number++) {
        uint32_t found = flowd_flow_index_find(index, records, &records[number].key);

        if (found != (present[number] ? number : FLOWD_FLOW_INDEX_NONE))
            fail_msg("flow %u: found %u, present %d", number, found, present[number]);
        count += present[number];
    }
    assert_int_equal(index->probe.count, count);
}

static void run_model(uint64_t seed)
{
    static bool present[FLOWS];
    struct flowd_flow_index index;
    uint32_t random = 1;

    memset(present, 0, sizeof(present));
    assert_int_equal(flowd_flow_index_init(&index, sizeof(records[0])), 0);
    index.seed = seed;
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t number = sample_random(&random) % FLOWS;

        if (present[number]) {
            flowd_flow_index_remove(&index, &records[number].key, number);
        } else {
            assert_int_equal(flowd_flow_index_reserve(&index), 0);
            flowd_flow_index_add(&index, &records[number].key, number);
        }
        present[number] = !present[number];
        if (step % 2000 == 0)
            check_all(&index, present);
    }
    check_all(&index, present);
    for (uint32_t number = 0; number < FLOWS; number++)
        if (present[number])
            flowd_flow_index_remove(&index, &records[number].key, number);
    assert_int_equal(index.probe.count, 0);
    for (size_t slot = 0; slot < (size_t)1 << index.probe.order; slot++)
        assert_int_equal(index.probe.slots[slot].number, 0);
    flowd_flow_index_fini(&index);
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint32_t number = 0; number < FLOWS; number++)
        records[number].key = sample_key(number);
    for (uint64_t seed = 0; seed < 4; seed++)
        run_model(seed * 0x9e3779b97f4a7c15u);
}

/* Every entry has the same home near the end of the slots: one run that wraps around. */
static void test_run_that_wraps(void **state)
{
    struct flowd_flow_index index;
    enum { RUN = 40 };

    (void)state;
    assert_int_equal(flowd_flow_index_init(&index, sizeof(records[0])), 0);
    for (uint32_t number = 0, key = 0; number < RUN; key++) {
        uint32_t hash;

        records[number].key = sample_key(key);
        hash = (uint32_t)flowd_flow_key_hash(&records[number].key, index.seed);
        if (flowd_probe_home(&index.probe, hash) < ((size_t)1 << index.probe.order) - 9)
            continue;
        flowd_flow_index_add(&index, &records[number].key, number);
        number++;
    }
    for (uint32_t removed = 0; removed < RUN; removed++) {
        uint32_t victim = removed * 7 % RUN;

        flowd_flow_index_remove(&index, &records[victim].key, victim);
        for (uint32_t later = removed + 1; later < RUN; later++)
            assert_int_equal(flowd_flow_index_find(&index, records, &records[later * 7 % RUN].key),
                             later * 7 % RUN);
        assert_int_equal(flowd_flow_index_find(&index, records, &records[victim].key),
                         FLOWD_FLOW_INDEX_NONE);
    }
    flowd_flow_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_run_that_wraps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
