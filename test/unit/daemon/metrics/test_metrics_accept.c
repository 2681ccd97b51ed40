/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which format an Accept header gets, from those that Prometheus has sent over the years to those
 * that nobody should send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/metrics/metrics.h"

#define TEXT FLOWD_METRICS_TEXT
#define OPEN FLOWD_METRICS_OPENMETRICS

struct row {
    const char *accept;
    enum flowd_metrics_format format;
};

static const struct row rows[] = {
    /* Nothing said, and everything taken. */
    {"", TEXT},
    {"*/*", TEXT},
    {"text/plain", TEXT},
    {"text/*", TEXT},
    {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT},
    /* Prometheus 2.x, */
    {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
     OPEN},
    {"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT},
    {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
     "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
     OPEN},
    /* 3.x, */
    {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
     "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
     "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
     OPEN},
    {"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,"
     "*/*;q=0.2",
     TEXT},
    /* and one that is told to prefer text. */
    {"text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", TEXT},

    /* Without a version any will do; another version will not. */
    {"application/openmetrics-text", OPEN},
    {"application/*", OPEN},
    {"application/openmetrics-text;version=2.0.0", TEXT},
    {"application/openmetrics-text;version=2.0.0, */*;q=0.1", TEXT},
    {"application/openmetrics-text;version=", TEXT},
    {"application/openmetrics-text;version=\"1.0.0\"", OPEN},
    {"APPLICATION/OpenMetrics-Text;VERSION=1.0.0;Q=0.9,text/plain;q=0.8", OPEN},

    /* Weights. */
    {"text/plain;q=0.5,application/openmetrics-text;q=0.51", OPEN},
    {"text/plain;q=0.511,application/openmetrics-text;q=0.51", TEXT},
    {"text/plain;q=0.5,application/openmetrics-text;q=0.5", TEXT},
    {"application/openmetrics-text;q=0.001", OPEN},
    {"application/openmetrics-text;q=0", TEXT},
    {"application/openmetrics-text;q=0.000,*/*", TEXT},
    {"text/plain;q=0,*/*;q=0.5", OPEN},
    {"*/*;q=0.5,application/openmetrics-text;q=1.000", OPEN},
    {"application/openmetrics-text,text/plain;q=0.9,*/*;q=0.1", OPEN},
    {"*/*,application/openmetrics-text;q=0.1", TEXT},
    {"application/openmetrics-text,*/*", OPEN}, /* named, where the other is only covered */
    {"text/plain;q=0,application/openmetrics-text;q=0", TEXT},

    /* A more exact range counts, wherever it stands. */
    {"application/openmetrics-text;version=1.0.0;q=0.1,application/openmetrics-text;q=0.9,"
     "text/plain;q=0.5",
     TEXT},
    {"application/openmetrics-text;q=0.1,application/openmetrics-text;version=1.0.0;q=0.9,"
     "text/plain;q=0.5",
     OPEN},
    {"text/*;q=0.9,text/plain;q=0.1,application/openmetrics-text;q=0.5", OPEN},

    /* Blanks, empty elements, quoted separators. */
    {" , ,\tapplication/openmetrics-text \t; \tversion = 1.0.0 ; q = 0.9\t,, ", OPEN},
    {"a/b;c=\"application/openmetrics-text,*/*\"", TEXT},
    {"a/b;c=\"\\\",application/openmetrics-text,\"", TEXT},
    {"a/b;c=\"x\\\\\",application/openmetrics-text", OPEN},
    {"application/openmetrics-text;x=\"a;version=2\"", OPEN},
    {"application/openmetrics-text;;;q=0.5;;", OPEN},

    /* What can't be read is passed over, alone. */
    {"application/openmetrics-text;q=2", TEXT},
    {"application/openmetrics-text;q=1.001", TEXT},
    {"application/openmetrics-text;q=-1", TEXT},
    {"application/openmetrics-text;q=0.1234", TEXT},
    {"application/openmetrics-text;q=.5", TEXT},
    {"application/openmetrics-text;q=0,5", TEXT},
    {"application/openmetrics-text;q=", TEXT},
    {"application/openmetrics-text;q=1e0", TEXT},
    {"application/openmetrics-text;q=nan,application/openmetrics-text;q=0.1", OPEN},
    {"application", TEXT},
    {"application/", TEXT},
    {"/openmetrics-text", TEXT},
    {"*/openmetrics-text", TEXT},
    {"application/openmetrics-text/x", TEXT},
    {"application/openmetrics-textx", TEXT},
    {"application /openmetrics-text", OPEN},
    {"\"", TEXT},
    {"application/openmetrics-text;version=\"1.0.0", TEXT},
    {"\xff\xfe,application/openmetrics-text", OPEN},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t length = strlen(rows[i].accept);
        /* On the heap with nothing behind it, so that reading too far is seen. */
        char *accept = malloc(length > 0 ? length : 1);

        assert_non_null(accept);
        memcpy(accept, rows[i].accept, length);
        if (flowd_metrics_negotiate(accept, length) != rows[i].format)
            fail_msg("%s", rows[i].accept);
        free(accept);
    }
}

static void test_no_header(void **state)
{
    (void)state;
    assert_int_equal(flowd_metrics_negotiate(NULL, 0), TEXT);
}

static void test_content_types(void **state)
{
    (void)state;
    assert_string_equal(flowd_metrics_content_type(TEXT),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(flowd_metrics_content_type(OPEN),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
    /* What is answered is what was asked for. */
    for (int format = TEXT; format <= OPEN; format++) {
        const char *type = flowd_metrics_content_type((enum flowd_metrics_format)format);

        assert_int_equal(flowd_metrics_negotiate(type, strlen(type)), format);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_header),
        cmocka_unit_test(test_content_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
