/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends that are held: until their time is over, until they are dropped, and within bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "held.h"
#include "lab/sample_flow.h"

#define HOLD_S 0.2

/* What was sent, by the numbers of the flows; sample_key() gives ports from 1024 on. */
struct sent {
    unsigned ports[16]; /* the first of them */
    unsigned count;
    unsigned flushes;
    size_t bytes;
};

static struct ev_loop *loop;
static struct firefly_held held;
static struct sent sent;

static void on_send(void *context, const struct flowd_flow_key *key, const char *text,
                    size_t length)
{
    struct sent *list = context;

    assert_memory_equal(text, "end", 3);
    if (list->count < 16)
        list->ports[list->count] = key->src_port - 1024u;
    list->count++;
    list->bytes += length;
}

static void on_flush(void *context)
{
    struct sent *list = context;

    list->flushes++;
}

static int open_held(void **state)
{
    (void)state;
    sent = (struct sent){0};
    loop = ev_loop_new(0);
    return firefly_held_init(&held, loop, HOLD_S, on_send, on_flush, &sent);
}

static int close_held(void **state)
{
    (void)state;
    firefly_held_fini(&held);
    ev_loop_destroy(loop);
    return 0;
}

static void add(uint32_t number)
{
    const struct flowd_flow_key key = sample_key(number);

    firefly_held_add(&held, &key, "end", 3);
}

static bool drop(uint32_t number)
{
    const struct flowd_flow_key key = sample_key(number);

    return firefly_held_drop(&held, &key);
}

static void expect_sent(unsigned count, const unsigned *numbers)
{
    assert_int_equal(sent.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(sent.ports[i], numbers[i]);
}

static void test_order(void **state)
{
    struct flowd_flow_key four = sample_key(4);

    (void)state;
    for (uint32_t number = 1; number <= 6; number++)
        add(number);
    assert_int_equal(held.count, 6);
    assert_int_equal(held.bytes, 18);
    assert_true(drop(1) && drop(3) && drop(6));
    assert_false(drop(3) || drop(9));
    firefly_held_release(&held, &four);
    firefly_held_release(&held, &four);
    expect_sent(1, (const unsigned[]){4});
    /* Places are used again, and the order stays that of time. */
    add(3);
    add(1);
    /* Of one key only one is held. */
    add(2);
    expect_sent(2, (const unsigned[]){4, 2});
    firefly_held_release_all(&held);
    expect_sent(6, (const unsigned[]){4, 2, 5, 3, 1, 2});
    assert_int_equal(held.count, 0);
    assert_int_equal(held.bytes, 0);
    assert_int_equal(sent.flushes, 0);
}

/* The clock of the loop is what counts: nothing goes out before, everything after. */
static void test_time(void **state)
{
    ev_tstamp begin = ev_now(loop);

    (void)state;
    add(1);
    add(2);
    assert_true(drop(1));
    assert_true(ev_is_active(&held.timer));
    while (sent.count == 0)
        ev_run(loop, EVRUN_ONCE);
    assert_true(ev_now(loop) - begin >= HOLD_S * 0.9);
    expect_sent(1, (const unsigned[]){2});
    assert_int_equal(sent.flushes, 1);
    assert_false(ev_is_active(&held.timer));
}

/* The oldest make room, in number ... */
static void test_too_many(void **state)
{
    (void)state;
    for (uint32_t number = 0; number < FIREFLY_HELD_MAX + 3; number++)
        add(3 * number); /* IPv6, whose keys differ beyond the ports */
    assert_int_equal(held.count, FIREFLY_HELD_MAX);
    expect_sent(3, (const unsigned[]){0, 3, 6});
    assert_int_equal(sent.count, 3);
    assert_false(drop(6));
    assert_true(drop(9));
}

/* ... and in bytes. */
static void test_too_long(void **state)
{
    enum { SIZE = 65000, FIT = FIREFLY_HELD_BYTES_MAX / SIZE };
    char *text = calloc(1, SIZE);

    (void)state;
    assert_non_null(text);
    memcpy(text, "end", 3);
    for (uint32_t number = 1; number <= FIT + 2; number++) {
        const struct flowd_flow_key key = sample_key(number);

        firefly_held_add(&held, &key, text, SIZE);
        assert_true(held.bytes <= FIREFLY_HELD_BYTES_MAX);
    }
    expect_sent(2, (const unsigned[]){1, 2});
    assert_int_equal(held.count, FIT);
    free(text);
}

#define WITH_HELD(test) cmocka_unit_test_setup_teardown(test, open_held, close_held)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HELD(test_order),
        WITH_HELD(test_time),
        WITH_HELD(test_too_many),
        WITH_HELD(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
