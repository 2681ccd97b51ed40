/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternative names in a link's message, put together by the numbers that the kernel uses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/net/link_names.h"

#define PROP_LIST 52
#define ALT_IFNAME 53
#define OTHER 54
#define NESTED 0x8000u

/* An attribute with what is nested in it. */
struct list {
    _Alignas(8) unsigned char bytes[4096];
    size_t length;
};

static void put16(unsigned char *at, size_t value)
{
    uint16_t number = (uint16_t)value;

    memcpy(at, &number, sizeof(number));
}

static void add(struct list *list, unsigned type, const void *data, size_t length)
{
    unsigned char *at = list->bytes + list->length;

    put16(at, 4 + length);
    put16(at + 2, type);
    memcpy(at + 4, data, length);
    list->length += (4 + length + 3) & ~(size_t)3;
    put16(list->bytes, list->length);
}

static void begin(struct list *list)
{
    memset(list, 0, sizeof(*list));
    list->length = 4;
    put16(list->bytes, 4);
    put16(list->bytes + 2, PROP_LIST | NESTED);
}

static char *read_list(struct list *list)
{
    struct nlattr *attributes[FLOWD_LINK_ATTRIBUTE_MAX + 1] = {NULL};

    attributes[PROP_LIST] = (struct nlattr *)(void *)list->bytes;
    return flowd_link_names_read(attributes);
}

static void test_none(void **state)
{
    struct nlattr *attributes[FLOWD_LINK_ATTRIBUTE_MAX + 1] = {NULL};
    struct list list;

    (void)state;
    assert_null(flowd_link_names_read(attributes));
    begin(&list);
    assert_null(read_list(&list));
    assert_false(flowd_link_names_have(NULL, "enp3s0f0"));
    assert_false(flowd_link_names_have(NULL, ""));
}

static void test_several(void **state)
{
    struct list list;
    char *names, longest[FLOWD_LINK_NAME_SIZE] = "";

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    begin(&list);
    add(&list, ALT_IFNAME, "enp3s0f0", 9);
    add(&list, OTHER, "other", 6);
    add(&list, ALT_IFNAME, longest, sizeof(longest));
    names = read_list(&list);
    assert_true(flowd_link_names_have(names, "enp3s0f0"));
    assert_true(flowd_link_names_have(names, longest));
    assert_false(flowd_link_names_have(names, "other"));
    assert_false(flowd_link_names_have(names, "enp3s0f"));
    assert_false(flowd_link_names_have(names, "enp3s0f01"));
    assert_false(flowd_link_names_have(names, ""));
    free(names);
}

/* Names without their NUL, of no character and of too many: what the kernel never sends. */
static void test_odd(void **state)
{
    struct list list;
    char *names, too_long[FLOWD_LINK_NAME_SIZE + 1];

    (void)state;
    memset(too_long, 'x', sizeof(too_long));
    begin(&list);
    add(&list, ALT_IFNAME, "", 0);
    add(&list, ALT_IFNAME, "", 1);
    add(&list, ALT_IFNAME, too_long, sizeof(too_long));
    add(&list, ALT_IFNAME, "bare", 4);
    names = read_list(&list);
    assert_true(flowd_link_names_have(names, "bare"));
    assert_string_equal(names, "bare");
    free(names);
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(flowd_link_names_equal(NULL, NULL));
    assert_true(flowd_link_names_equal(NULL, "\0"));
    assert_true(flowd_link_names_equal("a\0b\0", "a\0b\0"));
    assert_false(flowd_link_names_equal("a\0b\0", "a\0"));
    assert_false(flowd_link_names_equal("a\0", NULL));
    assert_false(flowd_link_names_equal("ab\0", "a\0b\0"));
}

static void test_index(void **state)
{
    char longest[FLOWD_LINK_NAME_SIZE] = "";

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    assert_int_equal(flowd_link_names_index("lo"), 1);
    assert_int_equal(flowd_link_names_index(""), 0);
    assert_int_equal(flowd_link_names_index(longest), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),  cmocka_unit_test(test_several), cmocka_unit_test(test_odd),
        cmocka_unit_test(test_equal), cmocka_unit_test(test_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
