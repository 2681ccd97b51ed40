/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What messages about rules and routes, and answers to questions, are taken to say; also those that
 * the kernel would not send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "daemon/net/local_prefixes.h"
#include "lab/route_message.h"

/* The tables after a rule of IPv4 with this attribute: 1 is that of the rule's head. */
static struct flowd_rule_tables tables_of(uint16_t attribute, const void *data, size_t length)
{
    const struct fib_rule_hdr head = {.family = AF_INET, .table = 1, .action = FR_ACT_TO_TBL};
    struct flowd_rule_tables tables = {.count = 0};
    struct route_message message;

    route_message_begin(&message, RTM_NEWRULE, &head, sizeof(head));
    route_message_add(&message, attribute, data, length);
    flowd_rule_tables_take(&tables, route_message_header(&message));
    return tables;
}

static void test_rules(void **state)
{
    const uint32_t table = 70000;
    struct flowd_rule_tables tables;

    (void)state;
    tables = tables_of(FRA_TABLE, &table, sizeof(table));
    assert_int_equal(tables.count, 1);
    assert_int_equal(tables.ids[0], 70000);
    tables = tables_of(FRA_PRIORITY, &table, sizeof(table));
    assert_int_equal(tables.count, 1);
    assert_int_equal(tables.ids[0], 1);
    assert_int_equal(tables_of(FRA_FWMARK, &table, sizeof(table)).count, 0);
    assert_int_equal(tables_of(FRA_IIFNAME, "lo", 3).count, 1);
    assert_int_equal(tables_of(FRA_IIFNAME, "eth0", 5).count, 0);
    assert_int_equal(tables_of(FRA_L3MDEV, "\1", 1).count, 0);
    assert_int_equal(tables_of(FRA_L3MDEV, "", 1).count, 1);
}

/* Of fewer bytes than it takes: the rule is not understood. */
static void test_short_attributes_of_rules(void **state)
{
    (void)state;
    assert_int_equal(tables_of(FRA_TABLE, "ab", 2).count, 0);
    assert_int_equal(tables_of(FRA_TABLE, "", 0).count, 0);
    assert_int_equal(tables_of(FRA_L3MDEV, "", 0).count, 0);
}

static void tell_route(struct flowd_local_prefixes *prefixes, const struct rtmsg *head,
                       const char *address, size_t length)
{
    struct in6_addr addr = {0};
    struct route_message message;

    assert_int_equal(inet_pton(head->rtm_family == AF_INET6 ? AF_INET6 : AF_INET, address, &addr),
                     1);
    route_message_begin(&message, RTM_NEWROUTE, head, sizeof(*head));
    route_message_add(&message, RTA_DST, &addr, length);
    flowd_local_prefixes_take(prefixes, route_message_header(&message));
}

static bool covers(const struct flowd_local_prefixes *prefixes, uint32_t family,
                   const char *address)
{
    struct in6_addr addr = {0};

    assert_int_equal(inet_pton((int)family, address, &addr), 1);
    return flowd_local_prefixes_cover(prefixes, family, &addr);
}

static void test_routes(void **state)
{
    struct flowd_local_prefixes prefixes = {.set = NULL};
    struct rtmsg head = {.rtm_family = AF_INET6, .rtm_dst_len = 47, .rtm_type = RTN_LOCAL};

    (void)state;
    tell_route(&prefixes, &head, "2001:db8:2::", 16);
    assert_true(covers(&prefixes, AF_INET6, "2001:db8:3::1"));
    assert_false(covers(&prefixes, AF_INET6, "2001:db8:4::1"));
    head = (struct rtmsg){.rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_type = RTN_LOCAL};
    tell_route(&prefixes, &head, "198.51.100.0", 4);
    assert_true(covers(&prefixes, AF_INET, "198.51.100.9"));
    head.rtm_type = RTN_UNICAST;
    tell_route(&prefixes, &head, "192.0.2.0", 4);
    assert_false(covers(&prefixes, AF_INET, "192.0.2.1"));
    flowd_local_prefixes_fini(&prefixes);
}

/* An address that is cut, a prefix longer than one, and families of nobody's questions. */
static void test_impossible_routes(void **state)
{
    struct flowd_local_prefixes prefixes = {.set = NULL};
    struct rtmsg head = {.rtm_family = AF_INET6, .rtm_dst_len = 48, .rtm_type = RTN_LOCAL};

    (void)state;
    tell_route(&prefixes, &head, "2001:db8::", 15);
    head.rtm_dst_len = 129;
    tell_route(&prefixes, &head, "2001:db8::", 16);
    head = (struct rtmsg){.rtm_family = AF_INET, .rtm_dst_len = 33, .rtm_type = RTN_LOCAL};
    tell_route(&prefixes, &head, "192.0.2.0", 4);
    head = (struct rtmsg){.rtm_family = AF_BRIDGE, .rtm_dst_len = 24, .rtm_type = RTN_LOCAL};
    tell_route(&prefixes, &head, "192.0.2.0", 4);
    assert_null(prefixes.set);
    flowd_local_prefixes_fini(&prefixes);
}

static void test_answers(void **state)
{
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
    } answer = {.header = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_seq = 77},
                .route = {.rtm_type = RTN_LOCAL}};

    (void)state;
    assert_int_equal(flowd_local_answer_read(&answer, sizeof(answer), 77), 1);
    assert_int_equal(flowd_local_answer_read(&answer, sizeof(answer), 78), -ENOMSG);
    assert_int_equal(flowd_local_answer_read(&answer, sizeof(answer) - 1, 77), -EBADMSG);
    answer.route.rtm_type = RTN_UNICAST;
    assert_int_equal(flowd_local_answer_read(&answer, sizeof(answer), 77), 0);
    answer.header.nlmsg_type = NLMSG_ERROR;
    answer.route.rtm_type = RTN_LOCAL;
    assert_int_equal(flowd_local_answer_read(&answer, sizeof(answer), 77), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),   cmocka_unit_test(test_short_attributes_of_rules),
        cmocka_unit_test(test_routes),  cmocka_unit_test(test_impossible_routes),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
