/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter of a dump: an interpreter of the kernel's instructions (as inet_diag(7)'s header
 * describes them) has to let pass exactly the addresses that are in none of the networks, and a
 * check of the program's form has to accept it, as the kernel's own does before it runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/inet_diag.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"

static struct flowd_netlink_filter filter;

static struct flowd_address address_of(const char *text)
{
    struct flowd_address address;

    assert_int_equal(flowd_address_parse(text, strlen(text), &address), 0);
    return address;
}

static size_t parse_all(const char *const *texts, struct flowd_network *networks)
{
    size_t count = 0;

    for (; texts[count] != NULL; count++)
        assert_int_equal(
            flowd_network_parse(texts[count], strlen(texts[count]), &networks[count], NULL), 0);
    return count;
}

static bool starts_alike(const uint8_t *left, const uint8_t *right, unsigned bits)
{
    for (unsigned bit = 0; bit < bits; bit++)
        if (((left[bit / 8] ^ right[bit / 8]) >> (7 - bit % 8)) & 1)
            return false;
    return true;
}

static bool meets(const struct inet_diag_hostcond *condition, const uint8_t *prefix,
                  const struct flowd_address *remote)
{
    assert_int_equal(condition->port, -1);
    if (condition->family != remote->family)
        return false;
    return starts_alike(prefix, remote->addr.s6_addr, condition->prefix_len);
}

/* What the kernel does with the program for a socket with this remote address. */
static bool passes(const struct flowd_address *remote)
{
    long left = (long)filter.length;
    const uint8_t *at = filter.code;

    while (left > 0) {
        struct inet_diag_bc_op op;
        bool yes = false;

        memcpy(&op, at, sizeof(op));
        if (op.code == INET_DIAG_BC_D_COND) {
            struct inet_diag_hostcond condition;

            memcpy(&condition, at + sizeof(op), sizeof(condition));
            yes = meets(&condition, at + sizeof(op) + sizeof(condition), remote);
        } else {
            assert_int_equal(op.code, INET_DIAG_BC_JMP);
        }
        left -= yes ? op.yes : op.no;
        at += yes ? op.yes : op.no;
    }
    return left == 0;
}

/* Each jump leads forward to an instruction, to the end, or to just behind it. */
static void check_form(void)
{
    bool *begins = calloc(filter.length + 5, sizeof(*begins));

    assert_non_null(begins);
    begins[filter.length] = begins[filter.length + 4] = true;
    for (size_t at = 0; at < filter.length;) {
        const struct inet_diag_bc_op *op = (const struct inet_diag_bc_op *)(filter.code + at);

        begins[at] = true;
        assert_in_range(op->yes, 4, filter.length - at);
        at += op->yes;
    }
    for (size_t at = 0; at < filter.length;) {
        const struct inet_diag_bc_op *op = (const struct inet_diag_bc_op *)(filter.code + at);

        assert_in_range(op->no, 4, filter.length - at + 4);
        assert_true(begins[at + op->no]);
        at += op->yes;
    }
    free(begins);
}

static void test_addresses(void **state)
{
    static const char *const texts[] = {
        "10.0.0.0/8", "192.168.0.0/16",  "198.51.100.7/32", "203.0.113.0/25",
        "fc00::/7",   "2001:db8:1::/48", "2001:db8::7",     NULL};
    static const char *const addresses[] = {
        "10.0.0.0",        "10.255.255.255", "11.0.0.0",        "9.255.255.255", "192.168.3.4",
        "192.169.0.0",     "198.51.100.7",   "198.51.100.8",    "203.0.113.127", "203.0.113.128",
        "fc00::1",         "fdff::1",        "fe00::1",         "2001:db8:1::9", "2001:db8:2::9",
        "2001:db8::7",     "2001:db8::8",    "::ffff:10.1.1.1", "::1",           "0.0.0.0",
        "255.255.255.255",
    };
    struct flowd_network networks[8];
    size_t count = parse_all(texts, networks);

    (void)state;
    flowd_netlink_filter_compile(networks, count, &filter);
    assert_int_equal(filter.networks, count);
    check_form();
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        const struct flowd_address remote = address_of(addresses[i]);
        bool held = false;

        for (size_t n = 0; n < count; n++)
            held |= flowd_network_contains(&networks[n], remote.family, &remote.addr);
        if (passes(&remote) == held)
            fail_msg("%s: held %d", addresses[i], held);
    }
}

/* One family alone, everything, and nothing. */
static void test_corners(void **state)
{
    static const struct {
        const char *texts[3];
        bool passes_ipv4, passes_ipv6;
    } rows[] = {
        {{"0.0.0.0/0"}, false, true},          {{"::/0"}, true, false},
        {{"0.0.0.0/0", "::/0"}, false, false}, {{"192.0.2.9"}, true, true},
        {{"2001:db8::9"}, true, true},
    };
    const struct flowd_address ipv4 = address_of("192.0.2.1"), ipv6 = address_of("2001:db8::1");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_network networks[3];
        size_t count = parse_all(rows[i].texts, networks);

        flowd_netlink_filter_compile(networks, count, &filter);
        check_form();
        assert_int_equal(passes(&ipv4), rows[i].passes_ipv4);
        assert_int_equal(passes(&ipv6), rows[i].passes_ipv6);
    }
    flowd_netlink_filter_compile(NULL, 0, &filter);
    assert_int_equal(filter.length, 0);
    assert_int_equal(filter.networks, 0);
}

/* As many networks as there is room for; jumps reach over all of them. */
static void test_full(void **state)
{
    enum { MANY = 6000 };
    struct flowd_network *networks = calloc(MANY, sizeof(*networks));
    struct flowd_address remote = {.family = AF_INET};

    (void)state;
    assert_non_null(networks);
    for (unsigned i = 0; i < MANY; i++) {
        networks[i] = (struct flowd_network){.base.family = i < MANY / 3 ? AF_INET : AF_INET6,
                                             .prefix_length = i < MANY / 3 ? 32 : 128};
        networks[i].base.addr.s6_addr[0] = (uint8_t)(i >> 8 & 0xff);
        networks[i].base.addr.s6_addr[1] = (uint8_t)(i & 0xff);
    }
    flowd_netlink_filter_compile(networks, MANY, &filter);
    assert_in_range(filter.networks, MANY / 3 + 1, MANY - 1);
    assert_in_range(filter.length, 60000, FLOWD_NETLINK_FILTER_SIZE);
    check_form();
    for (unsigned i = 0; i < MANY; i++) {
        remote = networks[i].base;
        assert_int_equal(passes(&remote), i >= filter.networks);
    }
    free(networks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
