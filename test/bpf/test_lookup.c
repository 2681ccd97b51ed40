/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs find in the flow map, in whatever line of a bucket it stands: each flow's
 * packets bear its own mark, and no other packet bears any. Also while entries come, go and move.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "lab/bpf_main.h"
#include "lab/marker_run.h"
#include "lab/packet.h"
#include "table_bucket.h"

#define UNMARKED 0x54321u
/* So many flows make chains of several lines of the least number of buckets, and grow past it. */
#define FLOWS 1200u

static struct marker_program mapped;
static struct marker_program by_calls;

static struct packet_recipe recipe_of(uint32_t number)
{
    struct packet_recipe recipe = packet_plain;

    recipe.flow_label = UNMARKED;
    recipe.src_port = (uint16_t)(1000 + number % 40000);
    recipe.dst_port = (uint16_t)(2000 + number / 40000);
    return recipe;
}

static uint32_t label_of(uint32_t number)
{
    return 0x80000u | number;
}

static uint32_t sent(const struct marker_program *program, uint32_t number)
{
    struct packet_recipe recipe = recipe_of(number);
    const uint8_t *header;
    struct packet packet;
    struct marker_run run;

    packet_compose(&recipe, &packet);
    if (marker_run(program->program_fds[MARKER_ETHERNET_HEADER], packet.bytes, packet.length, 1,
                   &run) != 0)
        return UINT32_MAX;
    header = run.bytes + 14;
    return (uint32_t)(header[1] & 0x0f) << 16 | (uint32_t)header[2] << 8 | header[3];
}

static void put(struct marker_program *program, uint32_t number, uint32_t label)
{
    struct packet_recipe recipe = recipe_of(number);
    struct flowd_marker_key key = packet_key(&recipe);
    const struct flowd_marker_mark mark = {.label = label};

    assert_int_equal(
        label != 0 ? marker_run_add(program, &key, &mark) : marker_run_remove(program, &key), 0);
}

static void check(const struct marker_program *program, uint32_t from, uint32_t to, bool there)
{
    for (uint32_t i = from; i < to; i++) {
        uint32_t label = sent(program, i);

        if (label != (there ? label_of(i) : UNMARKED))
            fail_msg("packet of flow %u has label %x", i, label);
    }
}

static void try_lines(struct marker_program *program)
{
    assert_int_equal(marker_run_clear(program), 0);
    /* Without more buckets than at the start: lines that go on, several for each. */
    marker_run_table(program)->adopted = true;
    for (uint32_t i = 0; i < 500; i++)
        put(program, i, label_of(i));
    check(program, 0, 500, true);
    check(program, 500, FLOWS, false);
    marker_run_table(program)->adopted = false;
    for (uint32_t i = 500; i < FLOWS; i++)
        put(program, i, label_of(i));
    check(program, 0, FLOWS, true);
    check(program, FLOWS, 3 * FLOWS, false);
    for (uint32_t i = 0; i < FLOWS; i += 2)
        put(program, i, 0);
    for (uint32_t i = 0; i < FLOWS; i++)
        check(program, i, i + 1, i % 2 == 1);
    for (uint32_t i = 1; i < FLOWS; i += 2)
        put(program, i, 0);
    check(program, 0, FLOWS, false);
}

static void test_lines(void **state)
{
    (void)state;
    try_lines(&mapped);
    try_lines(&by_calls);
}

/* Packets of flows that stay, of one whose mark changes, and of none, beside changes of others. */
static struct {
    struct marker_program *program;
    atomic_bool over;
    atomic_uint changing; /* the last mark that was written, or is about to be */
    atomic_ulong changes;
} stress;

#define STAYING 300u
#define CHANGING 100000u
#define ROUNDS_OF_PACKETS 4000u

static void *change_entries(void *unused)
{
    uint32_t random = 2463534242u;

    (void)unused;
    while (!atomic_load(&stress.over)) {
        /* Waves, so that buckets are split and made one again. */
        uint32_t wave = 0;

        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        for (uint32_t i = 0; i < 1500 && !atomic_load(&stress.over); i++) {
            wave++;
            put(stress.program, STAYING + (random + i) % 5000, label_of(1));
            atomic_fetch_add(&stress.changes, 1);
            if (i % 16 != 0)
                continue;
            atomic_fetch_xor(&stress.changing, 1);
            put(stress.program, CHANGING, 0xc0000u | atomic_load(&stress.changing));
        }
        for (uint32_t i = 0; i < wave; i++) {
            put(stress.program, STAYING + (random + i) % 5000, 0);
            atomic_fetch_add(&stress.changes, 1);
        }
    }
    return NULL;
}

static void try_beside_changes(struct marker_program *program)
{
    pthread_t thread;
    unsigned long wrong = 0;

    assert_int_equal(marker_run_clear(program), 0);
    stress.program = program;
    atomic_store(&stress.over, false);
    atomic_store(&stress.changing, 0);
    atomic_store(&stress.changes, 0);
    for (uint32_t i = 0; i < STAYING; i++)
        put(program, i, label_of(i));
    put(program, CHANGING, 0xc0000u);
    assert_int_equal(pthread_create(&thread, NULL, change_entries, NULL), 0);
    for (uint32_t i = 0; i < ROUNDS_OF_PACKETS * 8 && wrong == 0; i++) {
        uint32_t number = i * 7 % STAYING;

        wrong += sent(program, number) != label_of(number);
        wrong += (sent(program, CHANGING) & ~1u) != 0xc0000u;
        wrong += sent(program, CHANGING + 1 + i % 10000) != UNMARKED;
        if (wrong != 0)
            print_message("after %u rounds: flow %u %x, changing %x\n", i, number,
                          sent(program, number), sent(program, CHANGING));
    }
    atomic_store(&stress.over, true);
    pthread_join(thread, NULL);
    print_message("%u packets beside %lu changes\n", ROUNDS_OF_PACKETS * 24,
                  atomic_load(&stress.changes));
    assert_int_equal(wrong, 0);
    assert_true(atomic_load(&stress.changes) > 100);
    check(program, 0, STAYING, true);
}

static void test_beside_changes(void **state)
{
    (void)state;
    try_beside_changes(&mapped);
    try_beside_changes(&by_calls);
}

static int open_programs(void **state)
{
    const struct marker_program_settings settings = {.entries_max = 16384};
    struct marker_program_settings calls = settings;

    (void)state;
    calls.without_mmap = true;
    if (marker_run_load(&mapped, &settings) != 0)
        return -1;
    return marker_run_load(&by_calls, &calls);
}

static int close_programs(void **state)
{
    (void)state;
    marker_run_close(&mapped);
    marker_run_close(&by_calls);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_beside_changes),
    };

    return bpf_main(tests, open_programs, close_programs);
}
