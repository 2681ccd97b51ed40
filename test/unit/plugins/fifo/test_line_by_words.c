/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser against the rules as they are told (line_by_words.h): the same lines are taken for the
 * same events, and the others refused with the same words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "daemon/flow/registry_file.h"
#include "line_by_words.h"

#define ROUNDS 200000
#define LINE_SIZE 512

static struct flowd_registry *registry;
static uint64_t state = 0x2545f4914f6cdd1d;

/* 0 to limit - 1. */
static unsigned below(unsigned limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 32) % limit);
}

static int load(void **unused)
{
    (void)unused;
    registry = flowd_registry_new();
    return flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", NULL, NULL);
}

static int unload(void **unused)
{
    (void)unused;
    flowd_registry_free(registry);
    return 0;
}

/* Returns what the parser does. */
static int compare(const char *text, size_t length)
{
    /* Of just this size, so that reading past it is seen. */
    char *exact = malloc(length > 0 ? length : 1);
    struct flowd_event ours = {0}, theirs = {0};
    struct flowd_error error = {.message = ""}, expected_error = {.message = ""};
    int result, expected;

    assert_non_null(exact);
    memcpy(exact, text, length);
    result = flowd_fifo_line_parse(exact, length, registry, &ours, &error);
    expected = parse_by_words(exact, length, registry, &theirs, &expected_error);
    free(exact);
    if (result != expected)
        fail_msg("\"%.*s\" gave %d (%s) in place of %d (%s)", (int)length, text, result,
                 error.message, expected, expected_error.message);
    if (result < 0) {
        assert_string_equal(error.message, expected_error.message);
        assert_ptr_equal(error.field, expected_error.field);
    }
    assert_int_equal(ours.state, theirs.state);
    assert_memory_equal(&ours.key, &theirs.key, sizeof(ours.key));
    assert_int_equal(ours.experiment, theirs.experiment);
    assert_int_equal(ours.activity, theirs.activity);
    return result;
}

/* What may stand in each field; the first ones are good and usual. */
#define CHOICES 12
static const char *const choices[FIELDS][CHOICES] = {
    {"start", "end", "ongoing", "START", "oNgoing", "starts", "en", "", "6", "\xc3\xa9", "STArt",
     "end\r"},
    {"tcp", "udp", "TCP", "Udp", "udp", "tcp", "tc", "tcpp", "17", "sctp", "t\xff", ""},
    {"192.0.2.1", "2001:db8::1", "fd00::1", "::ffff:192.0.2.7", "2001:db8::1%eth0", "::", "::1%",
     "fe80::1%\xff", "192.0.2.1%1", "192.0.2.256", "host", "192.0.2.1x"},
    {"1094", "65535", "1", "00080", "40000", "0", "65536", "http", "-1", "",
     "00000000000000000000001", "18446744073709551617"},
    {"192.0.2.2", "2001:db8::2", "fd00::2", "1:2:3:4:5:6:7:8", "2001:db8::%\xc3\xa9", "::1",
     "fe80::1%\xc3", "[::1]", "1:2:3", "::1%0 ", "192.0.2.02", ":::"},
    {"1094", "65535", "1", "00080", "40000", "0", "65536", "http", "99999999999999999999", "",
     "00000000000000000001", "123456789012345678901"},
    {"2", "0", "1023", "atlas", "ATLAS", "002", "1024", "nobody", "", "\xe2\x82",
     "00000000000000000002", "at_las"},
    {"3", "0", "63", "data_brokering", "Data-Brokering", "0003", "64", "nothing", "", "3\x0b",
     "99999999999999999999999", "3 4"},
};

static size_t append(char line[static LINE_SIZE], size_t length, const char *text)
{
    size_t more = strlen(text);

    memcpy(line + length, text, more);
    return length + more;
}

/* A line of which a field is rare, one in so many. */
static size_t compose(char line[static LINE_SIZE], unsigned rarity)
{
    static const char *const blanks[] = {" ", " ", " ", "\t", "  ", " \t"};
    size_t length = below(8) == 0 ? append(line, 0, " ") : 0;

    for (int field = 0; field < FIELDS; field++) {
        length = append(line, length, choices[field][below(below(rarity) == 0 ? CHOICES : 3)]);
        if (field < FIELDS - 1)
            length = append(line, length, blanks[below(6)]);
    }
    return append(line, length, below(8) == 0 ? " " : below(8) == 0 ? "\r" : "");
}

static size_t mutate(char line[static LINE_SIZE], size_t length)
{
    static const char bytes[] = "019afAF::..%- \t\r\n\xff\xc3\xa9startendupTCP";
    size_t at = below((unsigned)length + 1);

    if (at == length || below(3) == 0)
        return at;
    if (below(2) == 0) {
        line[at] = bytes[below(sizeof(bytes))]; /* also the NUL */
        return length;
    }
    memmove(line + at, line + at + 1, length - at - 1);
    return length - 1;
}

static void test_lines(void **unused)
{
    unsigned good = 0, bad = 0;

    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        char line[LINE_SIZE];
        size_t length = compose(line, 1 + below(16));

        *(compare(line, length) == 1 ? &good : &bad) += 1;
    }
    /* Both are met, and often. */
    assert_true(good > ROUNDS / 10);
    assert_true(bad > ROUNDS / 10);
}

static void test_changed_lines(void **unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        char line[LINE_SIZE];
        size_t length = compose(line, 32);

        for (unsigned left = 1 + below(3); left > 0; left--) {
            length = mutate(line, length);
            compare(line, length);
        }
    }
}

/* Around the longest line that is taken. */
static void test_long_lines(void **unused)
{
    static const char *const ends[] = {"", "\r", " \r", "\r\r", "x", "\xff", "\xff\r"};
    char line[FLOWD_FIFO_LINE_MAX + 16];

    (void)unused;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        for (size_t length = FLOWD_FIFO_LINE_MAX - 3; length < FLOWD_FIFO_LINE_MAX + 3; length++) {
            memset(line, ' ', sizeof(line));
            append(line, append(line, 0, "start tcp 192.0.2.1 1 192.0.2.2 2 2 3") - 1, "3");
            compare(line, append(line, length, ends[i]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_changed_lines),
        cmocka_unit_test(test_long_lines),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
