/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numeric addresses and endpoints: what is taken, what is refused, and how they are written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "daemon/net/address.h"

#define TEXT(literal) literal, sizeof(literal) - 1

struct row {
    const char *text;
    size_t length;
    const char *canonical; /* NULL: refused */
    uint8_t family;
};

static const struct row rows[] = {
    {TEXT("192.0.2.1"), "192.0.2.1", AF_INET},
    {TEXT("0.0.0.0"), "0.0.0.0", AF_INET},
    {TEXT("255.255.255.255"), "255.255.255.255", AF_INET},
    {TEXT("::"), "::", AF_INET6},
    {TEXT("::1"), "::1", AF_INET6},
    {TEXT("2001:DB8:0:0:0:0:0:1"), "2001:db8::1", AF_INET6},
    {TEXT("2001:0db8:0000:0000:0000:0000:0000:0001"), "2001:db8::1", AF_INET6},
    {TEXT("2001:db8::192.0.2.1"), "2001:db8::c000:201", AF_INET6},
    {TEXT("::ffff:192.0.2.1"), "192.0.2.1", AF_INET},
    {TEXT("::FFFF:c000:201"), "192.0.2.1", AF_INET},
    {TEXT("0:0:0:0:0:ffff:192.0.2.1"), "192.0.2.1", AF_INET},
    {TEXT("0000:0000:0000:0000:0000:ffff:255.255.255.255"), "255.255.255.255", AF_INET},
    {TEXT("::ffff:0:192.0.2.1"), "::ffff:0:c000:201", AF_INET6},
    {TEXT("fe80::1%eth0"), "fe80::1", AF_INET6},
    {TEXT("fe80::1%25"), "fe80::1", AF_INET6},
    {TEXT("2001:0db8:0000:0000:0000:0000:0000:0001%a-rather-long-name"), "2001:db8::1", AF_INET6},
    {TEXT("::ffff:192.0.2.1%eth0"), "192.0.2.1", AF_INET},
    {TEXT(""), NULL, 0},
    {TEXT("%"), NULL, 0},
    {TEXT("%eth0"), NULL, 0},
    {TEXT("fe80::1%"), NULL, 0},
    {TEXT("192.0.2.1%eth0"), NULL, 0},
    {TEXT("192.0.2"), NULL, 0},
    {TEXT("192.0.2.1.1"), NULL, 0},
    {TEXT("192.0.2."), NULL, 0},
    {TEXT("192.0.2.256"), NULL, 0},
    {TEXT("192.0.2.01"), NULL, 0},
    {TEXT("192.0.2.00"), NULL, 0},
    {TEXT("0300.0.2.1"), NULL, 0},
    {TEXT("0xc0.0.2.1"), NULL, 0},
    {TEXT("3221225985"), NULL, 0},
    {TEXT("::ffff:192.0.2.01"), NULL, 0},
    {TEXT("192.0.2.1/32"), NULL, 0},
    {TEXT("2001:db8::1/128"), NULL, 0},
    {TEXT("[2001:db8::1]"), NULL, 0},
    {TEXT("2001:db8::1::"), NULL, 0},
    {TEXT(":::1"), NULL, 0},
    {TEXT("2001:db8:1"), NULL, 0},
    {TEXT("1:2:3:4:5:6:7:8:9"), NULL, 0},
    {TEXT("2001:db8::g"), NULL, 0},
    {TEXT("2001:db8::12345"), NULL, 0},
    {TEXT(" ::1"), NULL, 0},
    {TEXT("::1 "), NULL, 0},
    {TEXT("::1\n"), NULL, 0},
    {TEXT("::1\0"), NULL, 0},
    {TEXT("192.0.2.1\0x"), NULL, 0},
    {TEXT("localhost"), NULL, 0},
    {TEXT("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"), NULL, 0},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct flowd_address address, before;
        char text[FLOWD_ADDRESS_SIZE];
        int result;

        memset(&before, 0xa5, sizeof(before));
        address = before;
        result = flowd_address_parse(row->text, row->length, &address);
        if (row->canonical == NULL) {
            if (result != -EINVAL || memcmp(&address, &before, sizeof(before)) != 0)
                fail_msg("\"%s\" gave %d", row->text, result);
            continue;
        }
        if (result != 0 || address.family != row->family)
            fail_msg("\"%s\" gave %d, family %u", row->text, result, address.family);
        assert_int_equal(flowd_address_format(address.family, &address.addr, text),
                         strlen(row->canonical));
        assert_string_equal(text, row->canonical);
    }
}

static void test_ipv4_has_twelve_zero_bytes(void **state)
{
    struct flowd_address plain, mapped;

    (void)state;
    memset(&plain, 0xff, sizeof(plain));
    memset(&mapped, 0xff, sizeof(mapped));
    assert_int_equal(flowd_address_parse(TEXT("192.0.2.1"), &plain), 0);
    assert_int_equal(flowd_address_parse(TEXT("::ffff:192.0.2.1"), &mapped), 0);
    assert_memory_equal(&plain.addr, &mapped.addr, sizeof(plain.addr));
    assert_memory_equal(&plain.addr, "\xc0\x00\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

struct endpoint_row {
    const char *text;
    int result;
    const char *formatted;
};

static const struct endpoint_row endpoint_rows[] = {
    {"192.0.2.1", 0, "192.0.2.1:10514"},
    {"192.0.2.1:1", 0, "192.0.2.1:1"},
    {"192.0.2.1:65535", 0, "192.0.2.1:65535"},
    {"::1", 0, "[::1]:10514"},
    {"2001:db8::1", 0, "[2001:db8::1]:10514"},
    {"[2001:db8::1]", 0, "[2001:db8::1]:10514"},
    {"[2001:db8::1]:7777", 0, "[2001:db8::1]:7777"},
    {"[::ffff:192.0.2.1]:80", 0, "192.0.2.1:80"},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", 0,
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {"192.0.2.1:0", -ERANGE, NULL},
    {"192.0.2.1:65536", -ERANGE, NULL},
    {"[::1]:99999999999999999999999", -ERANGE, NULL},
    {"", -EINVAL, NULL},
    {":", -EINVAL, NULL},
    {":80", -EINVAL, NULL},
    {"192.0.2.1:", -EINVAL, NULL},
    {"192.0.2.1:http", -EINVAL, NULL},
    {"192.0.2.1:+80", -EINVAL, NULL},
    {"192.0.2.1: 80", -EINVAL, NULL},
    {"[192.0.2.1]:80", -EINVAL, NULL},
    {"[::1", -EINVAL, NULL},
    {"[::1]:", -EINVAL, NULL},
    {"[::1]80", -EINVAL, NULL},
    {"[]:80", -EINVAL, NULL},
    {"[[::1]]:80", -EINVAL, NULL},
    {"::1]:80", -EINVAL, NULL},
    {"collector.example.org", -EINVAL, NULL},
    {"collector.example.org:10514", -EINVAL, NULL},
};

static void test_endpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(endpoint_rows) / sizeof(endpoint_rows[0]); i++) {
        const struct endpoint_row *row = &endpoint_rows[i];
        struct sockaddr_storage endpoint = {.ss_family = AF_UNIX};
        socklen_t length = 99;
        char text[FLOWD_ENDPOINT_SIZE];
        int result = flowd_endpoint_parse(row->text, 10514, &endpoint, &length);

        if (result != row->result)
            fail_msg("\"%s\" gave %d", row->text, result);
        if (result < 0) {
            assert_int_equal(endpoint.ss_family, AF_UNIX);
            assert_int_equal(length, 99);
            continue;
        }
        assert_int_equal(length, endpoint.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                               : sizeof(struct sockaddr_in6));
        flowd_endpoint_format(&endpoint, text);
        assert_string_equal(text, row->formatted);
    }
}

/* Random addresses with many zeros, against the C library. */
static void test_format_agrees_with_the_library(void **state)
{
    uint64_t random = 0x2545f4914f6cdd1d;
    char ours[FLOWD_ADDRESS_SIZE], theirs[INET6_ADDRSTRLEN];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct in6_addr addr = {0};

        for (int word = i % 9; word < 8; word++) {
            uint16_t value;

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            value = (uint16_t)(random & 3 ? random >> 20 & 0xffff >> (random >> 2 & 15) : 0);
            addr.s6_addr[2 * word] = (uint8_t)(value >> 8);
            addr.s6_addr[2 * word + 1] = (uint8_t)value;
        }
        assert_non_null(inet_ntop(AF_INET6, &addr, theirs, sizeof(theirs)));
        assert_int_equal(flowd_address_format(AF_INET6, &addr, ours), strlen(theirs));
        assert_string_equal(ours, theirs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_ipv4_has_twelve_zero_bytes),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_format_agrees_with_the_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
