/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The STUN codec: the sample messages of RFC 5769, and answers of which one thing each is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/stun/stun_message.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae
#define FINGERPRINT_AT (sizeof(ipv4) - 8)
#define COOKIE 0x21, 0x12, 0xa4, 0x42
#define SOFTWARE 0x80, 0x22, 0x00, 0x0b, 't', 'e', 's', 't', ' ', 'v', 'e', 'c', 't', 'o', 'r', ' '

static const struct flowd_stun_id id = {{ID}};

/* RFC 5769, 2.2: success, length 60; XOR-MAPPED-ADDRESS of 192.0.2.1 port 32853; integrity;
 * fingerprint. */
static const uint8_t ipv4[] = {
    0x01, 0x01, 0x00, 0x3c, COOKIE, ID,   SOFTWARE,                               /**/
    0x00, 0x20, 0x00, 0x08, 0x00,   0x01, 0xa1,     0x47, 0xe1, 0x12, 0xa6, 0x43, /**/
    0x00, 0x08, 0x00, 0x14, 0x2b,   0x91, 0xf5,     0x99, 0xfd, 0x9e, 0x90, 0xc3, /**/
    0x8c, 0x74, 0x89, 0xf9, 0x2a,   0xf9, 0xba,     0x53, 0xf0, 0x6b, 0xe7, 0xd7, /**/
    0x80, 0x28, 0x00, 0x04, 0xc0,   0x7d, 0x4c,     0x96,
};
/* RFC 5769, 2.3: the same with 2001:db8:1234:5678:11:2233:4455:6677. */
static const uint8_t ipv6[] = {
    0x01, 0x01, 0x00, 0x48, COOKIE, ID,   SOFTWARE,                               /**/
    0x00, 0x20, 0x00, 0x14, 0x00,   0x02, 0xa1,     0x47, 0x01, 0x13, 0xa9, 0xfa, /**/
    0xa5, 0xd3, 0xf1, 0x79, 0xbc,   0x25, 0xf4,     0xb5, 0xbe, 0xd2, 0xb9, 0xd9, /**/
    0x00, 0x08, 0x00, 0x14, 0xa3,   0x82, 0x95,     0x4e, 0x4b, 0xe6, 0x7b, 0xf1, /**/
    0x17, 0x84, 0xc9, 0x7c, 0x82,   0x92, 0xc2,     0x75, 0xbf, 0xe3, 0xed, 0x41, /**/
    0x80, 0x28, 0x00, 0x04, 0xc8,   0xfb, 0x0b,     0x4c,
};

static void check_address(const uint8_t *data, size_t length, const char *expected, uint16_t port)
{
    struct flowd_stun_answer answer = {0};
    char text[FLOWD_ADDRESS_SIZE];

    assert_int_equal(flowd_stun_read(data, length, &id, &answer), FLOWD_STUN_ADDRESS);
    flowd_address_format(answer.mapped.family, &answer.mapped.addr, text);
    assert_string_equal(text, expected);
    assert_int_equal(answer.port, port);
}

static void test_samples(void **state)
{
    (void)state;
    check_address(ipv4, sizeof(ipv4), "192.0.2.1", 32853);
    check_address(ipv6, sizeof(ipv6), "2001:db8:1234:5678:11:2233:4455:6677", 32853);
}

static void test_request(void **state)
{
    static const uint8_t expected[] = {0x00, 0x01, 0x00, 0x00, COOKIE, ID};
    uint8_t request[FLOWD_STUN_REQUEST_SIZE];

    (void)state;
    flowd_stun_request(&id, request);
    assert_memory_equal(request, expected, sizeof(expected));
}

/* Each byte of a message that has a fingerprint, changed: none is taken. */
static void test_damage(void **state)
{
    struct flowd_stun_answer answer;
    uint8_t damaged[sizeof(ipv4)];

    (void)state;
    for (size_t i = 0; i < sizeof(ipv4); i++) {
        memcpy(damaged, ipv4, sizeof(ipv4));
        /* A fingerprint under another type is none, and a message may be without. */
        if (i == FINGERPRINT_AT || i == FINGERPRINT_AT + 1)
            continue;
        damaged[i] ^= 0x10;
        assert_int_not_equal(flowd_stun_read(damaged, sizeof(damaged), &id, &answer),
                             FLOWD_STUN_ADDRESS);
    }
    for (size_t length = 0; length < sizeof(ipv4); length++)
        assert_int_equal(flowd_stun_read(ipv4, length, &id, &answer), FLOWD_STUN_FOREIGN);
}

/* Header and attributes of an answer of that type to the request. */
struct row {
    const char *what;
    uint8_t type[2];
    uint8_t length;
    uint8_t attributes[32];
    enum flowd_stun_verdict verdict;
    int error_code;
};

/* clang-format off */
#define SUCCESS {0x01, 0x01}
#define ERROR {0x01, 0x11}
/* clang-format on */
#define XOR_IPV4 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43

static const struct row rows[] = {
    {"an address alone", SUCCESS, 12, {XOR_IPV4}, FLOWD_STUN_ADDRESS, 0},
    {"MAPPED-ADDRESS",
     SUCCESS,
     12,
     {0x00, 0x01, 0x00, 0x08, 0x00, 0x01, 0x80, 0x55, 192, 0, 2, 1},
     FLOWD_STUN_ADDRESS,
     0},
    {"XOR-MAPPED-ADDRESS goes before MAPPED-ADDRESS",
     SUCCESS,
     24,
     {XOR_IPV4, 0x00, 0x01, 0x00, 0x08, 0x00, 0x01, 0x80, 0x55, 10, 0, 0, 1},
     FLOWD_STUN_ADDRESS,
     0},
    {"of two addresses the first",
     SUCCESS,
     24,
     {XOR_IPV4, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0x2b, 0x12, 0xa4, 0x43},
     FLOWD_STUN_ADDRESS,
     0},
    {"an error of no class",
     ERROR,
     8,
     {0x00, 0x09, 0x00, 0x04, 0x00, 0x00, 0x01, 0x14},
     FLOWD_STUN_FOREIGN,
     0},
    {"an error's number past 99",
     ERROR,
     8,
     {0x00, 0x09, 0x00, 0x04, 0x00, 0x00, 0x04, 0x64},
     FLOWD_STUN_FOREIGN,
     0},
    {"no address", SUCCESS, 0, {0}, FLOWD_STUN_UNUSABLE, 0},
    {"an attribute that must be understood",
     SUCCESS,
     16,
     {XOR_IPV4, 0x7f, 0x00, 0x00, 0x00},
     FLOWD_STUN_UNUSABLE,
     0},
    {"one that need not be",
     SUCCESS,
     16,
     {XOR_IPV4, 0xff, 0x00, 0x00, 0x00},
     FLOWD_STUN_ADDRESS,
     0},
    {"an attribute longer than the message",
     SUCCESS,
     12,
     {0x00, 0x20, 0x00, 0x09, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43},
     FLOWD_STUN_FOREIGN,
     0},
    {"an IPv4 address of 16 bytes' family",
     SUCCESS,
     12,
     {0x00, 0x20, 0x00, 0x08, 0x00, 0x02, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43},
     FLOWD_STUN_FOREIGN,
     0},
    {"an address without its bytes",
     SUCCESS,
     8,
     {0x00, 0x20, 0x00, 0x03, 0x00, 0x01, 0x00},
     FLOWD_STUN_FOREIGN,
     0},
    {"error 420",
     ERROR,
     8,
     {0x00, 0x09, 0x00, 0x04, 0x00, 0x00, 0x04, 0x14},
     FLOWD_STUN_ERROR,
     420},
    {"an error without a code", ERROR, 0, {0}, FLOWD_STUN_ERROR, 0},
    {"a request that comes back", {0x00, 0x01}, 0, {0}, FLOWD_STUN_FOREIGN, 0},
    {"an answer to another method", {0x01, 0x02}, 12, {XOR_IPV4}, FLOWD_STUN_FOREIGN, 0},
};

static size_t compose(const struct row *row, uint8_t *message)
{
    static const uint8_t behind_length[] = {COOKIE, ID};

    memcpy(message, row->type, 2);
    message[2] = 0;
    message[3] = row->length;
    memcpy(message + 4, behind_length, sizeof(behind_length));
    memcpy(message + 20, row->attributes, row->length);
    return 20u + row->length;
}

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct flowd_stun_answer answer = {0};
        uint8_t message[64];
        size_t length = compose(&rows[i], message);

        if (flowd_stun_read(message, length, &id, &answer) != rows[i].verdict)
            fail_msg("%s", rows[i].what);
        if (rows[i].verdict == FLOWD_STUN_ADDRESS)
            assert_int_equal(answer.mapped.addr.s6_addr[0], 192);
        assert_int_equal(answer.error_code, rows[i].error_code);
    }
}

static void test_forged_answers(void **state)
{
    struct flowd_stun_answer answer;
    struct flowd_stun_id other = id;
    uint8_t message[64];
    size_t length = compose(&rows[0], message);

    (void)state;
    other.bytes[11] ^= 1;
    assert_int_equal(flowd_stun_read(message, length, &other, &answer), FLOWD_STUN_FOREIGN);
    message[4] ^= 1;
    assert_int_equal(flowd_stun_read(message, length, &id, &answer), FLOWD_STUN_FOREIGN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),        cmocka_unit_test(test_request),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_answers),
        cmocka_unit_test(test_forged_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
