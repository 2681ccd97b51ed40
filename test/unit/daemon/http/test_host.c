/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hosts of requests are this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/http/host.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* In memory of just its size, so that reading too far is seen. */
static bool is_own(const char *host, const char *name)
{
    size_t length = strlen(host);
    char *data = malloc(length > 0 ? length : 1);
    bool own;

    assert_non_null(data);
    memcpy(data, host, length);
    own = flowd_http_host_is_own((struct flowd_http_slice){data, length}, name);
    free(data);
    return own;
}

static void test_hosts(void **state)
{
    static const char name[] = "se01.example.org";
    static const char *const own[] = {
        "localhost",
        "LocalHost",
        "localhost.",
        "localhost:7777",
        "localhost:0",
        "localhost:",
        "127.0.0.1:",
        "[::1]:",
        "se01.example.org",
        "SE01.EXAMPLE.ORG:80",
        "se01.example.org.",
        "se01",
        "se01:65535",
        "127.0.0.1",
        "127.0.0.1:7777",
        "192.0.2.1:7777",
        "[::1]",
        "[::1]:7777",
        "[2001:db8::1]:7777",
        "[::ffff:192.0.2.1]",
    };
    static const char *const others[] = {
        "",
        ".",
        ":",
        ":7777",
        "example.org",
        "localhost.example.org",
        "localhostx",
        "xlocalhost",
        "localhost..",
        "localhost::",
        "localhost:x",
        "[::1%evil.example]",
        "[::1%25lo]:7777",
        "[fe80::1%eth0]",
        "127.0.0.1%evil.example",
        "localhost%evil.example",
        "localhost:65536",
        "localhost:80:80",
        "se0",
        "se01.example",
        "se01.example.orgx",
        "se01.example.org.example.net",
        "user@localhost",
        "localhost, localhost",
        "127.0.0.1.example.org",
        "127.0.0.256",
        "0x7f.0.0.1",
        "2130706433",
        "::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]]",
        "[[::1]]",
        "[127.0.0.1]",
        "[localhost]",
        "[]",
        "[]:80",
    };

    (void)state;
    for (size_t i = 0; i < ROWS(own); i++)
        if (!is_own(own[i], name))
            fail_msg("\"%s\" is refused", own[i]);
    for (size_t i = 0; i < ROWS(others); i++)
        if (is_own(others[i], name))
            fail_msg("\"%s\" is let in", others[i]);
}

/* A machine without a name answers to no name but localhost. */
static void test_hosts_without_name(void **state)
{
    static const char *const names[] = {"", ".", "se01"};

    (void)state;
    for (size_t i = 0; i < ROWS(names); i++)
        assert_false(is_own(names[i], ""));
    assert_true(is_own("localhost", ""));
    assert_true(is_own("se01", "se01"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_hosts_without_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
