/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the sk_ops programs become events: keys, times, samples, and what is no record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "ebpf/sockops.h"
#include "ebpf/sockops/event.h"

#define CLOCK_US INT64_C(1700000000000000)

static struct flowd_sockops_record record_of(uint8_t kind, uint16_t info_length)
{
    struct flowd_sockops_record record = {
        .head = {.tuple = {.local_port = 1094,
                           .remote_port = 40000,
                           .family = AF_INET6,
                           .protocol = IPPROTO_TCP},
                 .cookie = 77,
                 .taken_ns = 5000999,
                 .info_length = info_length,
                 .kind = kind,
                 .state = TCP_ESTABLISHED},
        .congestion = "cubic",
    };

    inet_pton(AF_INET6, "2001:db8::1", &record.head.tuple.local_be);
    inet_pton(AF_INET6, "2001:db8::2", &record.head.tuple.remote_be);
    record.info.rtt = 1234;
    record.info.accecn_opt_seen = 3;
    for (uint32_t i = 0; i < FLOWD_SOCKOPS_MEMORY_FIELDS; i++)
        record.memory[i] = 100 + i;
    return record;
}

static void check_key(const struct flowd_flow_key *key)
{
    struct in6_addr local, remote;

    inet_pton(AF_INET6, "2001:db8::1", &local);
    inet_pton(AF_INET6, "2001:db8::2", &remote);
    assert_memory_equal(&key->src, &local, sizeof(local));
    assert_memory_equal(&key->dst, &remote, sizeof(remote));
    assert_int_equal(key->src_port, 1094);
    assert_int_equal(key->dst_port, 40000);
    assert_int_equal(key->family, AF_INET6);
    assert_int_equal(key->protocol, IPPROTO_TCP);
    assert_int_equal(key->zero, 0);
}

static void test_established(void **state)
{
    struct flowd_sockops_record record = record_of(FLOWD_SOCKOPS_ESTABLISHED, 0);
    struct flowd_sockops_event event;

    (void)state;
    assert_int_equal(flowd_sockops_event_decode(&record, sizeof(record.head), CLOCK_US, &event), 0);
    assert_int_equal(event.happening, FLOWD_SOCKOPS_BEGINS);
    check_key(&event.key);
    assert_int_equal(event.sample.taken_us, CLOCK_US + 5000);
    assert_int_equal(event.sample.cookie, 77);
    assert_int_equal(event.sample.info_length, 0);
    assert_int_equal(event.sample.has, 0);
}

static void test_samples(void **state)
{
    const struct {
        uint8_t kind;
        enum flowd_sockops_happening happening;
    } kinds[] = {{FLOWD_SOCKOPS_SAMPLE, FLOWD_SOCKOPS_GOES_ON},
                 {FLOWD_SOCKOPS_CLOSED, FLOWD_SOCKOPS_ENDS}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct flowd_sockops_record record =
            record_of(kinds[i].kind, sizeof(struct flowd_sockops_info));
        struct flowd_sockops_event event;

        assert_int_equal(flowd_sockops_event_decode(&record, sizeof(record), CLOCK_US, &event), 0);
        assert_int_equal(event.happening, kinds[i].happening);
        check_key(&event.key);
        assert_int_equal(event.sample.info_length, sizeof(struct flowd_tcp_info));
        assert_int_equal(event.sample.info.rtt, 1234);
        assert_int_equal(event.sample.info.accecn_opt_seen, 3);
        assert_string_equal(event.sample.congestion, "cubic");
        assert_int_equal(event.sample.has, FLOWD_TCP_HAS_MEMORY);
        assert_int_equal(event.sample.memory[0], 100);
        assert_int_equal(event.sample.memory[FLOWD_TCP_MEMORY_FIELDS - 1], 108);
    }
}

static void test_no_record(void **state)
{
    const struct {
        uint8_t kind;
        uint16_t info_length;
        size_t length;
    } cases[] = {
        {FLOWD_SOCKOPS_ESTABLISHED, 0, 0},
        {FLOWD_SOCKOPS_ESTABLISHED, 0, sizeof(struct flowd_sockops_head) - 1},
        {FLOWD_SOCKOPS_SAMPLE, 248, sizeof(struct flowd_sockops_record) - 1},
        {FLOWD_SOCKOPS_SAMPLE, sizeof(struct flowd_sockops_info) + 1,
         sizeof(struct flowd_sockops_record)},
        {FLOWD_SOCKOPS_CLOSED + 1, 0, sizeof(struct flowd_sockops_record)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flowd_sockops_record record = record_of(cases[i].kind, cases[i].info_length);
        struct flowd_sockops_event event;

        assert_int_equal(flowd_sockops_event_decode(&record, cases[i].length, 0, &event), -EINVAL);
    }
}

/* The two ends of a connection have one key in the map of those that are watched. */
static void test_watched_key(void **state)
{
    struct flowd_sockops_tuple one = record_of(0, 0).head.tuple;
    struct flowd_sockops_tuple other = flowd_sockops_reverse(&one);
    struct flowd_sockops_tuple back = flowd_sockops_reverse(&other);

    (void)state;
    assert_memory_equal(&one, &back, sizeof(one));
    assert_int_equal(flowd_sockops_is_first(&one) + flowd_sockops_is_first(&other), 1);
    memcpy(&one.remote_be, &one.local_be, sizeof(one.local_be));
    other = flowd_sockops_reverse(&one);
    assert_int_equal(flowd_sockops_is_first(&one) + flowd_sockops_is_first(&other), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_established),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_no_record),
        cmocka_unit_test(test_watched_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
