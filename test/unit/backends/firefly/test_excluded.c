/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows have both ends in the excluded networks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/net/address.h"
#include "excluded.h"

static struct flowd_flow_key make_key(const char *src, const char *dst)
{
    struct flowd_address from, to;

    assert_int_equal(flowd_address_parse(src, strlen(src), &from), 0);
    assert_int_equal(flowd_address_parse(dst, strlen(dst), &to), 0);
    assert_int_equal(from.family, to.family);
    return (struct flowd_flow_key){.src = from.addr, .dst = to.addr, .family = from.family};
}

static void test_holds(void **state)
{
    static const struct {
        const char *src, *dst;
        bool excluded;
    } cases[] = {
        {"192.0.2.1", "192.0.2.255", true},
        {"192.0.2.1", "198.51.100.7", true},
        {"198.51.100.7", "192.0.2.1", true},
        {"192.0.2.1", "198.51.100.8", false},
        {"203.0.113.1", "192.0.2.1", false},
        {"203.0.113.1", "203.0.113.2", false},
        {"2001:db8::1", "2001:db8:ff::1", true},
        {"2001:db8::1", "2001:db9::1", false},
        {"2001:db9::1", "2001:db8::1", false},
        /* The first bytes are those of a network of the other family. */
        {"c000:201::", "c000:202::", false},
    };
    char *texts[] = {"192.0.2.0/24", "198.51.100.7", "2001:db8::/32"};
    const struct flowd_strings strings = {.items = texts, .count = 3};
    struct firefly_excluded excluded = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flowd_flow_key key = make_key(cases[i].src, cases[i].dst);

        assert_false(firefly_excluded_holds(&excluded, &key));
    }
    assert_int_equal(firefly_excluded_init(&excluded, &strings, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flowd_flow_key key = make_key(cases[i].src, cases[i].dst);

        assert_int_equal(firefly_excluded_holds(&excluded, &key), cases[i].excluded);
    }
    firefly_excluded_fini(&excluded);
}

static void test_what_is_no_network(void **state)
{
    char *texts[] = {"192.0.2.0/24", "192.0.2.1/24"};
    const struct flowd_strings strings = {.items = texts, .count = 2};
    struct firefly_excluded excluded = {0};
    struct flowd_error error;

    (void)state;
    assert_int_equal(firefly_excluded_init(&excluded, &strings, &error), -EINVAL);
    assert_non_null(strstr(error.message, "192.0.2.1/24"));
    assert_int_equal(excluded.count, 0);
    assert_null(excluded.networks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_what_is_no_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
