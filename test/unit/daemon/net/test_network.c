/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks in text form: what is taken, what is refused and why, and which addresses they hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/net/network.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        const char *canonical; /* NULL: refused */
        const char *reason;    /* a part of it */
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.0/24", NULL},
        {"192.0.2.1", "192.0.2.1/32", NULL},
        {"0.0.0.0/0", "0.0.0.0/0", NULL},
        {"10.0.0.0/8", "10.0.0.0/8", NULL},
        {"192.0.2.128/25", "192.0.2.128/25", NULL},
        {"2001:db8::/32", "2001:db8::/32", NULL},
        {"2001:DB8:0::1", "2001:db8::1/128", NULL},
        {"::/0", "::/0", NULL},
        {"fe80::/10", "fe80::/10", NULL},
        {"::ffff:192.0.2.0/120", "192.0.2.0/24", NULL},
        {"::ffff:0:0/96", "0.0.0.0/0", NULL},
        {"::ffff:192.0.2.0/24", NULL, "96-128"},
        {"192.0.2.1/24", NULL, "the network is 192.0.2.0/24"},
        {"2001:db8::1/64", NULL, "the network is 2001:db8::/64"},
        {"192.0.2.0/33", NULL, "0-32"},
        {"2001:db8::/129", NULL, "0-128"},
        {"192.0.2.0/", NULL, "0-32"},
        {"192.0.2.0/ 24", NULL, "0-32"},
        {"192.0.2.0/+24", NULL, "0-32"},
        {"192.0.2.0/24/8", NULL, "0-32"},
        {"192.0.2/24", NULL, "192.0.2.0/24"},
        {"fe80::%eth0/64", NULL, "192.0.2.0/24"},
        {"/24", NULL, "192.0.2.0/24"},
        {"", NULL, "192.0.2.0/24"},
        {"example.org/24", NULL, "192.0.2.0/24"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_network network, untouched;
        char text[FLOWD_NETWORK_SIZE];
        struct flowd_error err;
        int result;

        memset(&network, 0xa5, sizeof(network));
        untouched = network;
        result = flowd_network_parse(rows[i].text, strlen(rows[i].text), &network, &err);
        if (rows[i].canonical == NULL) {
            assert_int_equal(result, -EINVAL);
            assert_memory_equal(&network, &untouched, sizeof(network));
            assert_non_null(strstr(err.message, rows[i].reason));
            continue;
        }
        assert_int_equal(result, 0);
        assert_int_equal(flowd_network_format(&network, text), strlen(rows[i].canonical));
        assert_string_equal(text, rows[i].canonical);
    }
}

static void test_contains(void **state)
{
    static const struct {
        const char *network, *address;
        bool holds;
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/23", "192.0.3.255", true},
        {"192.0.2.0/23", "192.0.4.0", false},
        {"192.0.2.1/32", "192.0.2.1", true},
        {"192.0.2.1/32", "192.0.2.0", false},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "192.0.2.1", false},
        {"fe80::/10", "febf::1", true},
        {"fe80::/10", "fec0::1", false},
        {"fc00::/7", "fd00::1", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8::1", "2001:db8::2", false},
        {"2001:db8::/127", "2001:db8::1", true},
        /* A network of IPv4 also holds what an IPv6 socket calls ::ffff:a.b.c.d. */
        {"192.0.2.0/24", "::ffff:192.0.2.7", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_network network;
        struct flowd_address address;

        assert_int_equal(
            flowd_network_parse(rows[i].network, strlen(rows[i].network), &network, NULL), 0);
        assert_int_equal(flowd_address_parse(rows[i].address, strlen(rows[i].address), &address),
                         0);
        if (flowd_network_contains(&network, address.family, &address.addr) != rows[i].holds)
            fail_msg("%s in %s", rows[i].address, rows[i].network);
    }
}

static void test_private_networks(void **state)
{
    (void)state;
    assert_true(flowd_private_network_count > 0);
    for (size_t i = 0; i < flowd_private_network_count; i++) {
        const char *text = flowd_private_networks[i].text;
        struct flowd_network network;

        assert_int_equal(flowd_network_parse(text, strlen(text), &network, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_private_networks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
