/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of addresses against inet_pton(): the same texts are taken, and for the same
 * addresses. Texts are the library's own of random addresses, what a few changed bytes make of
 * them, and random ones of the bytes that addresses are written with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "lab/library_address.h"

#define ROUNDS 300000
#define TEXT_SIZE 64

static uint64_t state = 0x9e3779b97f4a7c15;

/* 0 to limit - 1. */
static unsigned below(unsigned limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 32) % limit);
}

/* Returns whether it is an address. */
static bool compare(const char *text, size_t length)
{
    /* Of just this size, so that reading past it is seen. */
    char *exact = malloc(length > 0 ? length : 1);
    struct flowd_address ours, theirs, before;
    int result, expected;

    assert_non_null(exact);
    memcpy(exact, text, length);
    memset(&before, 0xa5, sizeof(before));
    ours = theirs = before;
    result = flowd_address_parse(exact, length, &ours);
    expected = library_address_parse(exact, length, &theirs);
    free(exact);
    if (result != expected || ours.family != theirs.family ||
        memcmp(&ours.addr, &theirs.addr, sizeof(ours.addr)) != 0)
        fail_msg("\"%.*s\" gave %d in place of %d", (int)length, text, result, expected);
    return result == 0;
}

/* Writes an address in one of the ways in which it can be written. */
static size_t compose(char text[static TEXT_SIZE])
{
    struct in6_addr addr;
    size_t length = 0;

    for (int i = 0; i < 16; i++)
        addr.s6_addr[i] = (uint8_t)(below(3) == 0 ? below(256) : 0);
    if (below(4) == 0) {
        inet_ntop(AF_INET, &addr, text, TEXT_SIZE);
        return strlen(text);
    }
    if (below(2) == 0) {
        inet_ntop(AF_INET6, &addr, text, TEXT_SIZE);
        return strlen(text);
    }
    for (unsigned i = 0, left = below(8) == 0 ? 7 + below(3) : 8; i < left; i++) {
        if (i > 0)
            text[length++] = ':';
        length +=
            (size_t)snprintf(text + length, TEXT_SIZE - length, below(2) == 0 ? "%0*x" : "%0*X",
                             1 << below(3), (unsigned)addr.s6_addr[i] << (below(2) * 8));
    }
    return length;
}

static size_t mutate(char text[static TEXT_SIZE], size_t length)
{
    static const char bytes[] = "0123456789abcdefABCDEF::::....gG%%/- \n\t\xff[]x";
    size_t at = below((unsigned)length + 1);

    switch (below(4)) {
    case 0:
        if (at < length)
            text[at] = bytes[below(sizeof(bytes))]; /* also the NUL */
        return length;
    case 1:
        if (length == TEXT_SIZE)
            return length;
        memmove(text + at + 1, text + at, length - at);
        text[at] = bytes[below(sizeof(bytes))];
        return length + 1;
    case 2:
        if (at == length)
            return length;
        memmove(text + at, text + at + 1, length - at - 1);
        return length - 1;
    default:
        return at;
    }
}

static void test_changed_addresses(void **unused)
{
    unsigned good = 0, bad = 0;

    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        char text[TEXT_SIZE];
        size_t length = compose(text);

        compare(text, length);
        for (unsigned left = 1 + below(4); left > 0; left--) {
            length = mutate(text, length);
            *(compare(text, length) ? &good : &bad) += 1;
        }
    }
    /* Both are met, and often. */
    assert_true(good > ROUNDS / 10);
    assert_true(bad > ROUNDS / 10);
}

static void test_random_bytes(void **unused)
{
    static const char bytes[] = "01259afAF::::....%";
    unsigned good = 0;

    (void)unused;
    for (int i = 0; i < 4 * ROUNDS; i++) {
        char text[TEXT_SIZE];
        unsigned length = below(20);

        for (unsigned at = 0; at < length; at++)
            text[at] = bytes[below(sizeof(bytes) - 1)];
        good += compare(text, length);
    }
    assert_true(good > ROUNDS / 100);
}

/* All that three words, and what is between them and around them, can look like. */
static void test_colons(void **unused)
{
    static const char *const parts[] = {"",
                                        ":",
                                        "::",
                                        ":::",
                                        "1",
                                        "1:",
                                        ":1",
                                        "12345",
                                        "1.2.3.4",
                                        "1:2:3:4:5:6",
                                        "1:2:3:4:5:6:7",
                                        "1:2:3:4:5:6:7:8",
                                        "ffff"};
    const size_t count = sizeof(parts) / sizeof(parts[0]);

    (void)unused;
    for (size_t i = 0; i < count * count * count * count; i++) {
        char text[TEXT_SIZE];
        int length =
            snprintf(text, sizeof(text), "%s%s%s%s", parts[i % count], parts[i / count % count],
                     parts[i / count / count % count], parts[i / count / count / count]);

        compare(text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
    }
}

/* Where an address ends inside a text. */
static void test_read(void **unused)
{
    static const struct {
        const char *text;
        size_t stop; /* SIZE_MAX: no address */
    } rows[] = {
        {"192.0.2.1 1094", 9},
        {"192.0.2.1", 9},
        {"192.0.2.1x", 9},
        {"2001:db8::1\t1", 11},
        {"fe80::1%eth0", 7},
        {":: x", 2},
        {":::", 2},
        {"2001:db8::1,", 11},
        {"1:2:3:4:5:6:7:8 ", 15},
        {"::ffff:192.0.2.1 ", 16},
        {"", SIZE_MAX},
        {" ::1", SIZE_MAX},
        {"host", SIZE_MAX},
        {"192.0.2", SIZE_MAX},
        {"1:2", SIZE_MAX},
        {"1:: 2::3", 3},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *text = rows[i].text;
        struct flowd_address address, before;
        const char *stop;

        memset(&before, 0xa5, sizeof(before));
        address = before;
        stop = flowd_address_read(text, text + strlen(text), &address);
        if (rows[i].stop == SIZE_MAX) {
            assert_null(stop);
            assert_memory_equal(&address, &before, sizeof(address));
            continue;
        }
        if (stop != text + rows[i].stop)
            fail_msg("\"%s\" stopped elsewhere", text);
        assert_int_equal(flowd_address_parse(text, rows[i].stop, &before), 0);
        assert_memory_equal(&address.addr, &before.addr, sizeof(address.addr));
        assert_int_equal(address.family, before.family);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed_addresses),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_colons),
        cmocka_unit_test(test_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
