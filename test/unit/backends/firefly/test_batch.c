/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which datagrams leave together: what groups there are, what keeps datagrams apart, and that those
 * of one flow keep their order whatever comes. And what refusals of the kernel change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "segment_limits.h"

static const struct segment_limits none;
static struct datagram datagrams[BATCH_MAX];
static struct batch batch;

static struct datagram make(unsigned receiver, uint32_t length, uint64_t order)
{
    struct datagram made = {.receiver = receiver, .length = length, .order = order};

    made.address.sin6_family = AF_INET6;
    made.address.sin6_port = htons((uint16_t)(10514 + receiver));
    return made;
}

/* A small generator: the same numbers each time. */
static uint32_t any(uint32_t below)
{
    static uint64_t seed = 1;

    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* Each place is there once, and groups are what can leave as one message. */
static void assert_whole(size_t count)
{
    static bool seen[BATCH_MAX];

    memset(seen, 0, sizeof(seen));
    assert_int_equal(batch.count, count);
    assert_int_equal(batch.at, 0);
    for (size_t at = 0; at < count;) {
        const struct datagram *first = &datagrams[batch.places[at]];
        size_t together = batch_together(&batch, at);

        assert_in_range(together, 1, BATCH_SEGMENTS_MAX);
        assert_true(together == 1 || first->length * together <= BATCH_BYTES_MAX);
        for (; together > 0; together--, at++) {
            const struct datagram *one = &datagrams[batch.places[at]];

            assert_false(seen[batch.places[at]]);
            seen[batch.places[at]] = true;
            assert_int_equal(one->length, first->length);
            assert_int_equal(one->receiver, first->receiver);
            assert_memory_equal(&one->address, &first->address, sizeof(one->address));
        }
    }
}

static void plan(size_t count, const struct segment_limits *limits)
{
    batch_plan(&batch, datagrams, count, limits);
    assert_whole(count);
}

static size_t groups(void)
{
    size_t found = 0;

    for (size_t at = 0; at < batch.count; at += batch_together(&batch, at))
        found++;
    return found;
}

static void test_one_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < 200; i++)
        datagrams[i] = make(1, 350, i);
    plan(200, &none);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(batch.places[i], i);
    assert_int_equal(groups(), 4);
    assert_int_equal(batch_together(&batch, 0), 64);
    assert_int_equal(batch_together(&batch, 192), 8);
    batch.at = 64;
    batch_split(&batch, datagrams, &none);
    assert_int_equal(batch_together(&batch, 64), 1);
    assert_int_equal(batch_together(&batch, 127), 1);
    assert_int_equal(batch_together(&batch, 128), 64);
    plan(0, &none);
}

static void test_bytes_of_a_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        datagrams[i] = make(1, SEGMENT_MAX, i);
    plan(100, &none);
    assert_int_equal(batch_together(&batch, 0), BATCH_BYTES_MAX / SEGMENT_MAX);
}

/* Lengths and receivers in turn form one group each; with another address another one. */
static void test_what_is_kept_apart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++)
        datagrams[i] = make(1 + i % 2, 300 + i % 3, i);
    plan(60, &none);
    assert_int_equal(groups(), 6);
    for (size_t i = 30; i < 60; i++)
        datagrams[i].address.sin6_port++;
    plan(60, &none);
    assert_int_equal(groups(), 12);
}

/* Those to anybody, empty ones, and those that are too long. */
static void test_what_leaves_alone(void **state)
{
    const struct datagram alone[] = {make(0, 350, 1), make(1, 0, 1), make(1, SEGMENT_MAX + 1, 1),
                                     make(1, 65507, 1), make(1, 70000, 1)};

    (void)state;
    for (size_t kind = 0; kind < sizeof(alone) / sizeof(alone[0]); kind++) {
        for (size_t i = 0; i < 20; i++)
            datagrams[i] = alone[kind];
        plan(20, &none);
        assert_int_equal(groups(), 20);
    }
}

/* The end of a flow, its next start, and the end of that: the second start follows the first end.
 */
static void test_a_flow_again(void **state)
{
    static const uint16_t places[] = {0, 2, 1, 3};

    (void)state;
    datagrams[0] = make(1, 350, 7);
    datagrams[1] = make(1, 400, 8);
    datagrams[2] = make(1, 350, 9);
    datagrams[3] = make(1, 350, 8);
    plan(4, &none);
    assert_memory_equal(batch.places, places, sizeof(places));
    assert_int_equal(groups(), 3);
    /* For another receiver that is no reason. */
    datagrams[1] = make(2, 400, 8);
    plan(4, &none);
    assert_int_equal(groups(), 2);
}

static void assert_in_order(size_t count)
{
    static size_t position[BATCH_MAX];

    for (size_t i = 0; i < count; i++)
        position[batch.places[i]] = i;
    for (size_t i = 0; i < count; i++)
        for (size_t later = i + 1; later < count; later++)
            if (datagrams[i].order == datagrams[later].order &&
                datagrams[i].receiver == datagrams[later].receiver && datagrams[i].receiver != 0)
                assert_true(position[i] < position[later]);
}

static void test_any_mixture(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        size_t count = 1 + any(BATCH_MAX);
        uint32_t flows = 1 + any(600), lengths = 1 + any(700);

        for (size_t i = 0; i < count; i++)
            datagrams[i] = make(any(4), 300 + any(lengths), any(flows));
        plan(count, &none);
        assert_in_order(count);
    }
}

/* Where many flows each have several events, groups do not fall to pieces. */
static void test_groups_stay_large(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BATCH_MAX; i++)
        datagrams[i] = make(1, 330 + any(30) + (i % 2) * 60, any(1 << 30));
    plan(BATCH_MAX, &none);
    assert_in_range(groups(), 60, 120);
}

static void test_refusals(void **state)
{
    struct segment_limits limits = {0};
    struct sockaddr_in6 address = make(1, 0, 0).address, other = make(2, 0, 0).address;

    (void)state;
    assert_int_equal(segment_limits_of(&limits, 1, &address), SEGMENT_MAX);
    assert_false(segment_limits_refuse(&limits, 1, &address, 350, EPERM));
    assert_int_equal(segment_limits_of(&limits, 1, &address), SEGMENT_MAX);
    /* Too long a bit, and then in any case. */
    assert_true(segment_limits_refuse(&limits, 1, &address, 1300, EINVAL));
    assert_int_equal(segment_limits_of(&limits, 1, &address), SEGMENT_MAX_SMALL_MTU);
    assert_true(segment_limits_refuse(&limits, 1, &address, 350, EMSGSIZE));
    assert_int_equal(segment_limits_of(&limits, 1, &address), 0);
    assert_int_equal(segment_limits_of(&limits, 1, &other), SEGMENT_MAX);
    assert_int_equal(segment_limits_of(&limits, 2, &address), SEGMENT_MAX);
    /* At once. */
    assert_true(segment_limits_refuse(&limits, 2, &other, 1300, EIO));
    assert_int_equal(segment_limits_of(&limits, 2, &other), 0);
    /* At its next address the receiver has one refusal, not two. */
    assert_true(segment_limits_refuse(&limits, 1, &other, 1300, EINVAL));
    assert_int_equal(segment_limits_of(&limits, 1, &other), SEGMENT_MAX_SMALL_MTU);
    assert_int_equal(segment_limits_of(&limits, 1, &address), SEGMENT_MAX);
    assert_int_equal(limits.count, 2);
}

static void test_many_refusals(void **state)
{
    struct segment_limits limits = {0};
    struct sockaddr_in6 address = make(1, 0, 0).address;

    (void)state;
    for (unsigned receiver = 1; receiver <= SEGMENT_REFUSALS_MAX + 1; receiver++)
        assert_true(segment_limits_refuse(&limits, receiver, &address, 350, EIO));
    assert_int_equal(segment_limits_of(&limits, 1, &address), SEGMENT_MAX);
    for (unsigned receiver = 2; receiver <= SEGMENT_REFUSALS_MAX + 1; receiver++)
        assert_int_equal(segment_limits_of(&limits, receiver, &address), 0);
}

static void test_plan_by_limits(void **state)
{
    struct segment_limits limits = {0};

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        datagrams[i] = make(1 + i % 2, i < 50 ? 1300 : 350, i);
    assert_true(segment_limits_refuse(&limits, 1, &datagrams[0].address, 1300, EINVAL));
    plan(100, &limits);
    assert_int_equal(groups(), 25 + 3);
    /* A refusal in the middle of a batch is for the rest of it. */
    assert_true(segment_limits_refuse(&limits, 1, &datagrams[0].address, 350, EINVAL));
    batch_split(&batch, datagrams, &limits);
    assert_int_equal(groups(), 25 + 1 + 25 + 1);
}

/* Several receivers of the same fireflies have as large groups as one. */
static void test_receivers_beside_each_other(void **state)
{
    size_t alone;

    (void)state;
    for (unsigned i = 0; i < BATCH_MAX; i++)
        datagrams[i] = make(1 + i % 2, 330 + i / 2 % 150, i / 2);
    plan(BATCH_MAX / 2, &none);
    alone = groups();
    assert_int_equal(alone, 2 * 150);
    plan(BATCH_MAX, &none);
    assert_int_equal(groups(), alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_length),
        cmocka_unit_test(test_bytes_of_a_message),
        cmocka_unit_test(test_what_is_kept_apart),
        cmocka_unit_test(test_what_leaves_alone),
        cmocka_unit_test(test_a_flow_again),
        cmocka_unit_test(test_any_mixture),
        cmocka_unit_test(test_groups_stay_large),
        cmocka_unit_test(test_receivers_beside_each_other),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_many_refusals),
        cmocka_unit_test(test_plan_by_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
