/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifo lines: every class of malformed line, what is tolerated, and each input that flowd 1.1.7 was
 * measured with. Where flowd and this program differ, the row says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "daemon/flow/registry_file.h"
#include "line.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static struct flowd_registry *registry;

static int load(void **state)
{
    (void)state;
    registry = flowd_registry_new();
    return flowd_registry_load(registry, FLOWD_TEST_DATA "/registry.json", NULL, NULL);
}

static int unload(void **state)
{
    (void)state;
    flowd_registry_free(registry);
    return 0;
}

/* Lines that say the same: start, TCP, [2001:db8::1]:1094 > [2001:db8::2]:40000, 2, 3. */
static const struct {
    const char *line;
    size_t length;
} same[] = {
    {TEXT("start tcp 2001:db8::1 1094 2001:db8::2 40000 2 3")},
    {TEXT("START TCP 2001:DB8::1 1094 2001:DB8::2 40000 2 3")},
    {TEXT("  start\ttcp   2001:db8::1\t\t1094 2001:db8::2 40000 2 3 \t")},
    {TEXT("start tcp 2001:db8::1 1094 2001:db8::2 40000 2 3\r")},
    {TEXT("start tcp 2001:db8::1 1094 2001:db8::2 40000 2 3 \r")},
    {TEXT("start tcp 2001:db8::1%eth0 1094 2001:0db8:0::2%7 40000 2 3")},
    {TEXT("start tcp 2001:db8::1 01094 2001:db8::2 040000 002 03")},
    {TEXT("start tcp 2001:db8::1 1094 2001:db8::2 40000 atlas 3")},
    {TEXT("start tcp 2001:db8::1 1094 2001:db8::2 40000 ATLAS data_brokering")},
    {TEXT("start tcp 2001:db8::1 1094 2001:db8::2 40000 2 Data_Brokering")},
};

static void test_same(void **state)
{
    struct flowd_event first, event;
    struct flowd_error err = {.message = ""};
    char key[FLOWD_FLOW_KEY_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        memset(&event, 0xee, sizeof(event));
        if (flowd_fifo_line_parse(same[i].line, same[i].length, registry, &event, &err) != 1)
            fail_msg("\"%s\": %s", same[i].line, err.message);
        if (i == 0)
            first = event;
        flowd_flow_key_format(&event.key, key);
        assert_string_equal(key, "tcp [2001:db8::1]:1094 > [2001:db8::2]:40000");
        assert_memory_equal(&event.key, &first.key, sizeof(event.key));
        assert_int_equal(event.state, FLOWD_EVENT_START);
        assert_int_equal(event.experiment, 2);
        assert_int_equal(event.activity, 3);
        assert_int_equal(event.start_us, 0);
        assert_int_equal(flowd_event_check(&event, NULL), 0);
    }
}

#define OK "start tcp 192.0.2.1 1 192.0.2.2 2 2 3"

/* result 0 is an empty line. */
static const struct {
    const char *line;
    size_t length;
    int result;
    const char *reason;
} rows[] = {
    {TEXT(""), 0, NULL},
    {TEXT("\r"), 0, NULL},
    {TEXT(" \t "), 0, NULL},
    {TEXT(" \t \r"), 0, NULL},
    {TEXT("start"), -EINVAL, "fewer than 8 fields"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 2"), -EINVAL, "fewer than 8 fields"},
    {TEXT(OK " 4"), -EINVAL, "more than 8 fields"},
    {TEXT(OK " " OK), -EINVAL, "more than 8 fields"},
    {TEXT(OK "\r" OK), -EINVAL, "more than 8 fields"},
    {TEXT("begin tcp 192.0.2.1 1 192.0.2.2 2 2 3"), -EINVAL,
     "state: \"begin\" is none of start, end, ongoing"},
    {TEXT("start sctp 192.0.2.1 1 192.0.2.2 2 2 3"), -EINVAL,
     "protocol: \"sctp\" is neither tcp nor udp"},
    {TEXT("start 6 192.0.2.1 1 192.0.2.2 2 2 3"), -EINVAL,
     "protocol: \"6\" is neither tcp nor udp"},
    {TEXT("start tcp host 1 192.0.2.2 2 2 3"), -EINVAL,
     "src: \"host\" is no numeric IPv4 or IPv6 address"},
    {TEXT("start tcp 192.0.2.1 1 [::1] 2 2 3"), -EINVAL,
     "dst: \"[::1]\" is no numeric IPv4 or IPv6 address"},
    {TEXT("start tcp 192.0.2.1 1 2001:db8::1 2 2 3"), -EINVAL,
     "dst: not of the address family of src"},
    {TEXT("start tcp ::ffff:192.0.2.1 1 2001:db8::1 2 2 3"), -EINVAL,
     "dst: not of the address family of src"},
    {TEXT("start tcp 192.0.2.1 0 192.0.2.2 2 2 3"), -ERANGE, "srcPort: 0 is not in 1-65535"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 65536 2 3"), -ERANGE,
     "dstPort: 65536 is not in 1-65535"},
    {TEXT("start tcp 192.0.2.1 http 192.0.2.2 2 2 3"), -EINVAL, "srcPort: \"http\" is no number"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 -2 2 3"), -EINVAL, "dstPort: \"-2\" is no number"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 1024 3"), -ERANGE,
     "experiment: 1024 is not in 0-1023"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 2 64"), -ERANGE, "activity: 64 is not in 0-63"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 nobody 3"), -ENOENT,
     "experiment: \"nobody\" is no number and no name in the registry"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 2 nothing"), -ENOENT,
     "activity: \"nothing\" is no number and no activity of this experiment"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 2 3\0"), -EINVAL, "a NUL byte"},
    {TEXT("\0"), -EINVAL, "a NUL byte"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 2 \xff"), -EILSEQ, "not UTF-8"},
    {TEXT("\xc3"), -EILSEQ, "not UTF-8"},
    {TEXT("start tcp 192.0.2.1\xc2\xa0"
          "1 192.0.2.2 2 2 3"),
     -EINVAL, "fewer than 8 fields"},
    {TEXT("start tcp 192.0.2.1 1 192.0.2.2 2 2 3\x0b"), -ENOENT,
     "activity: \"3\x0b\" is no number and no activity of this experiment"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_event event, before;
        struct flowd_error err = {.message = ""};
        int result;

        memset(&before, 0xee, sizeof(before));
        event = before;
        result = flowd_fifo_line_parse(rows[i].line, rows[i].length, registry, &event, &err);
        if (result != rows[i].result)
            fail_msg("row %zu \"%s\" gave %d: %s", i, rows[i].line, result, err.message);
        if (result < 0)
            assert_string_equal(err.message, rows[i].reason);
        assert_memory_equal(&event, &before, sizeof(event));
    }
}

static void test_length(void **state)
{
    char line[FLOWD_FIFO_LINE_MAX + 16];
    struct flowd_event event;
    struct flowd_error err;

    (void)state;
    memset(line, ' ', sizeof(line));
    memcpy(line, OK, sizeof(OK) - 1);
    line[FLOWD_FIFO_LINE_MAX] = '\r';
    assert_int_equal(flowd_fifo_line_parse(line, FLOWD_FIFO_LINE_MAX, registry, &event, &err), 1);
    assert_int_equal(flowd_fifo_line_parse(line, FLOWD_FIFO_LINE_MAX + 1, registry, &event, &err),
                     1);
    assert_int_equal(flowd_fifo_line_parse(line, FLOWD_FIFO_LINE_MAX + 2, registry, &event, &err),
                     -E2BIG);
    line[FLOWD_FIFO_LINE_MAX] = ' ';
    assert_int_equal(flowd_fifo_line_parse(line, FLOWD_FIFO_LINE_MAX + 1, registry, &event, &err),
                     -E2BIG);
    assert_string_equal(err.message, "longer than 4096 bytes");
}

/* Each line cut anywhere is never taken for another event. */
static void test_cut(void **state)
{
    static const char line[] = "start tcp 192.0.2.1 1094 192.0.2.2 40000 2 3";
    struct flowd_event event;
    struct flowd_error err;

    (void)state;
    for (size_t length = 1; length < sizeof(line) - 1; length++) {
        assert_int_not_equal(flowd_fifo_line_parse(line, length, registry, &event, &err), 1);
        assert_int_not_equal(
            flowd_fifo_line_parse(line + length, sizeof(line) - 1 - length, registry, &event, &err),
            1);
    }
}

/*
 * What becomes of each input of flowd_np_firefly.json, in its order: one letter for each line, "+"
 * an event, "-" a bad line, "." an empty line.
 */
static const struct {
    const char *lines;
    const char *why; /* it differs from flowd; NULL: it does not */
} measured[] = {
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"-", "experiment and activity have to be in range"},
    {"-", "experiment and activity have to be in range"},
    {"+", NULL},
    {"+", NULL},
    {"+++", NULL},
    {"+-+", NULL},
    {"++", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {".", NULL},
    {"...", NULL},
    {".", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", NULL},
    {"-", "there is no such port"},
    {"-", "there is no such port"},
    {"+", NULL},
    {"-", "there is no such port"},
    {"-", "there is no such port"},
    {"-", "numbers have no sign"},
    {"-", "numbers have no sign"},
    {"-", "numbers have no sign"},
    {"-", "numbers have no sign"},
    {"+", NULL},
    {"-", "digits and nothing else"},
    {"-", NULL},
    {"-", NULL},
    {"-", "experiment and activity have to be in range"},
    {"+", "a registry is loaded"},
    {"+", "a registry is loaded"},
    {"+", "a registry is loaded"},
    {"+", "any run of blanks separates fields"},
    {"+", "any run of blanks separates fields"},
    {"+", "any run of blanks separates fields"},
    {"+", "any run of blanks separates fields"},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"++", NULL},
    {"", "a carriage return ends no line"},
    {"", "an unfinished line waits for its end"},
    {"+", "an unfinished line waits for its end"},
    {"-", "a vertical tab ends no line"},
    {"-", "a line separator ends no line"},
    {"-", NULL},
    {"-", "digits are 0 to 9"},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"+", NULL},
    {"-", "no such state"},
    {"-", "no such state"},
};

/* The letters of an input's lines; what stands behind the last line feed is no line yet. */
static void judge(const char *input, size_t length, char letters[static 16])
{
    const char *end = input + length, *feed;
    size_t count = 0;

    for (; (feed = memchr(input, '\n', (size_t)(end - input))) != NULL; input = feed + 1) {
        struct flowd_event event;
        struct flowd_error err;
        int result = flowd_fifo_line_parse(input, (size_t)(feed - input), registry, &event, &err);

        assert_in_range(count, 0, 14);
        letters[count++] = result > 0 ? '+' : result < 0 ? '-' : '.';
    }
    letters[count] = '\0';
}

static void test_measured(void **state)
{
    json_t *cases = json_load_file(FLOWD_TEST_DATA "/flowd_np_firefly.json", JSON_ALLOW_NUL, NULL);
    size_t i;
    json_t *item;

    (void)state;
    assert_int_equal(json_array_size(cases), sizeof(measured) / sizeof(measured[0]));
    json_array_foreach (cases, i, item) {
        const json_t *input = json_object_get(item, "input");
        char letters[16];
        size_t events = 0;

        judge(json_string_value(input), json_string_length(input), letters);
        if (strcmp(letters, measured[i].lines) != 0)
            fail_msg("%s: found \"%s\", wanted \"%s\"", json_string_value(input), letters,
                     measured[i].lines);
        for (const char *c = letters; *c != '\0'; c++)
            events += *c == '+';
        assert_int_equal(events == json_array_size(json_object_get(item, "datagrams")),
                         measured[i].why == NULL);
    }
    json_decref(cases);
}

#define LOADED(test) cmocka_unit_test_setup_teardown(test, load, unload)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOADED(test_same), LOADED(test_rows),     LOADED(test_length),
        LOADED(test_cut),  LOADED(test_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
