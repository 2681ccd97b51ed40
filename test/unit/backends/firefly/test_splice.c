/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is put into fireflies that are passed on, and that nothing else of them changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/firefly/firefly.h"
#include "splice.h"

#define NOW "2026-01-01T00:00:10.000000+00:00"
#define START "2026-01-01T00:00:00.000000+00:00"
#define NOW_US 1767225610000000
#define START_US 1767225600000000

#define HEADER "<134>1 2025-12-31T23:59:59Z door.example.org dcache - firefly-json - "
/* Of any order and spelling; the rest is not for flowd to know. */
#define FLOW                                                                                       \
    "\"flow-id\":{\"afi\" : \"ipv4\",\"dst-ip\":\"192.0.2.2\", \"src-ip\":\"192.0.2.1\","          \
    "\"protocol\":\"tcp\",\"src-port\":1094,\"dst-port\":40000}"
#define REST                                                                                       \
    ",\"context\":{\"activity-id\":1,\"experiment-id\":2,\"application\":\"d\\u0043ache\"},"       \
    "\"usage\":{\"sent\":18446744073709551615,\"received\":0},"                                    \
    "\"storage-stats\": {\"read\":1e3 , \"x\":[1.50,null,\"\\/\"]} , \"\":{}}"
#define TIMES                                                                                      \
    "\"current-time\":\"c\",\"start-time\":\"2026-01-01T00:00:00Z\","                              \
    "\"end-time\":\"2026-01-01T01:00:00+01:00\""
#define LIFECYCLE "\"flow-lifecycle\":{ \"state\":\"end\"," TIMES "},"
#define COMPLETE "{\"version\":1," LIFECYCLE FLOW REST

static const struct row {
    const char *name;
    const char *in;
    const char *out; /* NULL: as it came */
    bool no_syslog;
    bool unknown; /* the flow's start is */
    const char *src_ip, *dst_ip;
} rows[] = {
    {.name = "all there", .in = HEADER COMPLETE},
    {.name = "all there, no header wanted", .in = HEADER COMPLETE, .no_syslog = true},
    {.name = "no header wanted, none there", .in = COMPLETE, .no_syslog = true},
    {.name = "no header",
     .in = COMPLETE,
     .out = "<134>1 " NOW " h.example.org flowd - firefly-json - " COMPLETE},
    {.name = "no timestamp, two blanks",
     .in = "<134>1  h flowd-go - firefly-json - " COMPLETE,
     .out = "<134>1 " NOW " h flowd-go - firefly-json - " COMPLETE},
    {.name = "a timestamp that its sender did not know",
     .in = "<134>1 - h xrootd - firefly-json - " COMPLETE},
    {.name = "no version",
     .in = HEADER "{" LIFECYCLE FLOW REST,
     .out = HEADER "{\"version\": 1, " LIFECYCLE FLOW REST},
    {.name = "no times",
     .in = HEADER "{\"version\":1,\"flow-lifecycle\":{\"state\":\"end\"}," FLOW REST,
     .out = HEADER "{\"version\":1,\"flow-lifecycle\":{\"current-time\": \"" NOW
                   "\", \"start-time\": \"" START "\", \"end-time\": \"" NOW
                   "\", \"state\":\"end\"}," FLOW REST},
    {.name = "no times of an unknown flow, which goes on",
     .in = HEADER "{\"version\":1,\"flow-lifecycle\":{\"state\":\"ongoing\"}," FLOW REST,
     .out = HEADER "{\"version\":1,\"flow-lifecycle\":{\"current-time\": \"" NOW
                   "\", \"state\":\"ongoing\"}," FLOW REST,
     .unknown = true},
    {.name = "both addresses",
     .in = HEADER COMPLETE,
     .out = HEADER "{\"version\":1," LIFECYCLE
                   "\"flow-id\":{\"afi\" : \"ipv4\",\"dst-ip\":\"203.0.113.200\", "
                   "\"src-ip\":\"198.51.100.1\",\"protocol\":\"tcp\",\"src-port\":1094,"
                   "\"dst-port\":40000}" REST,
     .src_ip = "198.51.100.1",
     .dst_ip = "203.0.113.200"},
    {.name = "one address, and the lifecycle behind it",
     .in = "{" FLOW ",\"flow-lifecycle\":{\"state\":\"start\"}" REST,
     .out = "{\"version\": 1, "
            "\"flow-id\":{\"afi\" : \"ipv4\",\"dst-ip\":\"192.0.2.2\", \"src-ip\":\"198.51.100.1\","
            "\"protocol\":\"tcp\",\"src-port\":1094,\"dst-port\":40000}"
            ",\"flow-lifecycle\":{\"current-time\": \"" NOW "\", \"start-time\": \"" START
            "\", \"state\":\"start\"}" REST,
     .no_syslog = true,
     .src_ip = "198.51.100.1"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct flowd_firefly_message message;
        enum flowd_firefly_reject why;
        const struct firefly_additions additions = {.syslog = !row->no_syslog,
                                                    .hostname = "h.example.org",
                                                    .now_us = NOW_US,
                                                    .start_us = row->unknown ? 0 : START_US,
                                                    .src_ip = row->src_ip,
                                                    .dst_ip = row->dst_ip};
        const char *wanted = row->out != NULL ? row->out : row->in;
        struct flowd_text text = {0};

        if (flowd_firefly_decode(row->in, strlen(row->in), &message, &why) < 0)
            fail_msg("%s: %s", row->name, flowd_firefly_reject_names[why]);
        firefly_splice(&text, &message, &additions);
        flowd_text_append(&text, "", 1);
        assert_false(flowd_text_failed(&text));
        if (strcmp(text.data, wanted) != 0)
            fail_msg("%s:\n%s\nwants\n%s", row->name, text.data, wanted);
        flowd_text_fini(&text);
    }
}

/* With the timestamp that its header lacked a firefly is still one, and none is without limit. */
static void test_long_headers(void **state)
{
    static const struct firefly_additions additions = {.syslog = true, .now_us = NOW_US};
    unsigned fireflies = 0;

    (void)state;
    for (unsigned padding = 900; padding < 1100; padding++) {
        struct flowd_text in = {0}, out = {0};
        struct flowd_firefly_message message;
        enum flowd_firefly_reject why;

        flowd_text_printf(&in, "<134>1  h flowd-go - firefly-json %*s" COMPLETE, (int)padding, "");
        if (flowd_firefly_decode(in.data, in.length, &message, &why) == 0) {
            fireflies++;
            firefly_splice(&out, &message, &additions);
            assert_int_equal(flowd_firefly_decode(out.data, out.length, &message, &why), 0);
        }
        flowd_text_fini(&in);
        flowd_text_fini(&out);
    }
    assert_true(fireflies > 0 && fireflies < 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_long_headers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
