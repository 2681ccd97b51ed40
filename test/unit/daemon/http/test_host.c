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

/* A slice in memory of just its size. */
static struct flowd_http_slice slice_of(const char *text)
{
    size_t length = strlen(text);
    char *data = malloc(length > 0 ? length : 1);

    assert_non_null(data);
    memcpy(data, text, length);
    return (struct flowd_http_slice){data, length};
}

static void slice_free(struct flowd_http_slice slice)
{
    free((void *)(uintptr_t)slice.data);
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
    for (size_t i = 0; i < ROWS(own); i++) {
        struct flowd_http_slice slice = slice_of(own[i]);

        if (!flowd_http_host_is_own(slice, name))
            fail_msg("\"%s\" is refused", own[i]);
        slice_free(slice);
    }
    for (size_t i = 0; i < ROWS(others); i++) {
        struct flowd_http_slice slice = slice_of(others[i]);

        if (flowd_http_host_is_own(slice, name))
            fail_msg("\"%s\" is let in", others[i]);
        slice_free(slice);
    }
}

/* A machine without a name answers to no name but localhost. */
static void test_hosts_without_name(void **state)
{
    static const char *const names[] = {"", ".", "se01"};

    (void)state;
    for (size_t i = 0; i < ROWS(names); i++)
        assert_false(
            flowd_http_host_is_own((struct flowd_http_slice){names[i], strlen(names[i])}, ""));
    assert_true(flowd_http_host_is_own((struct flowd_http_slice){"localhost", 9}, ""));
    assert_true(flowd_http_host_is_own((struct flowd_http_slice){"se01", 4}, "se01"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_hosts_without_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
