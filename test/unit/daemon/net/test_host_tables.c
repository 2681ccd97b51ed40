/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What messages make of the tables of interfaces and addresses, in any order, and messages that the
 * kernel would not send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "daemon/net/host_tables.h"
#include "lab/route_message.h"

#define INDEX 5

static struct flowd_host_tables tables;
static struct in6_addr address;

static int begin(void **state)
{
    (void)state;
    tables = (struct flowd_host_tables){.links = NULL};
    return inet_pton(AF_INET6, "2001:db8::1", &address) == 1 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    flowd_host_tables_clear(&tables);
    return 0;
}

static void begin_link(struct route_message *message, uint16_t type)
{
    const struct ifinfomsg head = {.ifi_index = INDEX, .ifi_type = 1, .ifi_flags = IFF_UP};

    route_message_begin(message, type, &head, sizeof(head));
    route_message_add(message, IFLA_IFNAME, "seed0", 6);
}

static void tell_link(uint16_t type, uint32_t mtu)
{
    struct route_message message;

    begin_link(&message, type);
    route_message_add(&message, IFLA_MTU, &mtu, sizeof(mtu));
    flowd_host_tables_take(&tables, route_message_header(&message));
}

static void tell_address(uint16_t type)
{
    const struct ifaddrmsg head = {.ifa_family = AF_INET6, .ifa_index = INDEX};
    struct route_message message;

    route_message_begin(&message, type, &head, sizeof(head));
    route_message_add(&message, IFA_ADDRESS, &address, sizeof(address));
    flowd_host_tables_take(&tables, route_message_header(&message));
}

static void expect_ipv6(bool has)
{
    const struct flowd_interface *interface = flowd_host_tables_interface(&tables, "seed0");

    assert_non_null(interface);
    assert_int_equal(interface->ipv6, has);
    assert_int_equal(interface->global_ipv6, has);
    assert_int_equal(flowd_host_tables_have(&tables, AF_INET6, &address), has);
}

static void test_link_and_address(void **state)
{
    (void)state;
    tell_link(RTM_NEWLINK, 1500);
    expect_ipv6(false);
    tell_address(RTM_NEWADDR);
    tell_address(RTM_NEWADDR);
    expect_ipv6(true);
    assert_true(tables.links_changed && tables.addresses_changed);
    tell_address(RTM_DELADDR);
    expect_ipv6(false);
}

static void test_address_before_its_link(void **state)
{
    (void)state;
    tell_address(RTM_NEWADDR);
    assert_true(flowd_host_tables_have(&tables, AF_INET6, &address));
    tell_link(RTM_NEWLINK, 1500);
    expect_ipv6(true);
}

/* It takes its addresses along, for which there may be no messages. */
static void test_link_goes(void **state)
{
    (void)state;
    tell_link(RTM_NEWLINK, 1500);
    tell_address(RTM_NEWADDR);
    tell_link(RTM_DELLINK, 1500);
    assert_null(flowd_host_tables_next(&tables, 0));
    assert_false(flowd_host_tables_have(&tables, AF_INET6, &address));
}

/* Of fewer bytes than it takes: those behind it are no part of it. */
static void test_short_mtu(void **state)
{
    struct route_message message;

    (void)state;
    tell_link(RTM_NEWLINK, 1500);
    begin_link(&message, RTM_NEWLINK);
    route_message_add(&message, IFLA_MTU, "", 0);
    flowd_host_tables_take(&tables, route_message_header(&message));
    assert_int_equal(flowd_host_tables_next(&tables, 0)->mtu, 1500);
}

static void test_short_address(void **state)
{
    const struct ifaddrmsg head = {.ifa_family = AF_INET6, .ifa_index = INDEX};
    struct route_message message;

    (void)state;
    route_message_begin(&message, RTM_NEWADDR, &head, sizeof(head));
    route_message_add(&message, IFA_ADDRESS, &address, 15);
    flowd_host_tables_take(&tables, route_message_header(&message));
    assert_false(tables.addresses_changed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_link_and_address), TEST(test_address_before_its_link), TEST(test_link_goes),
        TEST(test_short_mtu),        TEST(test_short_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
