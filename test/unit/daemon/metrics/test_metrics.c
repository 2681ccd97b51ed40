/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in both formats: families in one piece, names, escapes and numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "daemon/metrics/metrics.h"

static const struct flowd_metric packets = {"x_packets_total", FLOWD_METRIC_COUNTER,
                                            "What went out."};
static const struct flowd_metric queue = {"x_queue", FLOWD_METRIC_GAUGE, "What waits."};

static void fill(struct flowd_metrics *metrics)
{
    /* The same family from another place. */
    static const struct flowd_metric again = {"x_packets_total", FLOWD_METRIC_COUNTER, "Other."};

    flowd_metrics_add(metrics, &packets, 1, FLOWD_LABELS("interface", "eth0", "result", "marked"));
    flowd_metrics_add(metrics, &queue, 0, NULL);
    flowd_metrics_add(metrics, &again, UINT64_MAX, FLOWD_LABELS("interface", ""));
    flowd_metrics_add_number(metrics, &queue,
                             (struct flowd_tcp_number){.number = 1250, .decimals = 3},
                             FLOWD_LABELS("a", "b"));
}

static void assert_written(const struct flowd_metrics *metrics, const char *wanted)
{
    struct flowd_text text = {0};

    flowd_metrics_write(metrics, &text);
    flowd_metrics_end_write(&text, metrics->format);
    flowd_text_char(&text, '\0');
    assert_false(flowd_text_failed(&text));
    assert_string_equal(text.data, wanted);
    flowd_text_fini(&text);
}

static void test_text(void **state)
{
    struct flowd_metrics metrics = {.format = FLOWD_METRICS_TEXT};

    (void)state;
    fill(&metrics);
    assert_written(&metrics, "# HELP x_packets_total What went out.\n"
                             "# TYPE x_packets_total counter\n"
                             "x_packets_total{interface=\"eth0\",result=\"marked\"} 1\n"
                             "x_packets_total{interface=\"\"} 18446744073709551615\n"
                             "# HELP x_queue What waits.\n"
                             "# TYPE x_queue gauge\n"
                             "x_queue 0\n"
                             "x_queue{a=\"b\"} 1.25\n");
    flowd_metrics_fini(&metrics);
}

/* A counter's family has no "_total", its samples have; and there is an end. */
static void test_openmetrics(void **state)
{
    struct flowd_metrics metrics = {.format = FLOWD_METRICS_OPENMETRICS};

    (void)state;
    fill(&metrics);
    assert_written(&metrics, "# HELP x_packets What went out.\n"
                             "# TYPE x_packets counter\n"
                             "x_packets_total{interface=\"eth0\",result=\"marked\"} 1\n"
                             "x_packets_total{interface=\"\"} 18446744073709551615\n"
                             "# HELP x_queue What waits.\n"
                             "# TYPE x_queue gauge\n"
                             "x_queue 0\n"
                             "x_queue{a=\"b\"} 1.25\n"
                             "# EOF\n");
    flowd_metrics_fini(&metrics);
}

static void test_nothing(void **state)
{
    struct flowd_metrics metrics = {.format = FLOWD_METRICS_OPENMETRICS};

    (void)state;
    assert_written(&metrics, "# EOF\n");
    metrics.format = FLOWD_METRICS_TEXT;
    assert_written(&metrics, "");
    flowd_metrics_fini(&metrics);
}

static void test_label_values(void **state)
{
    static const struct {
        const char *value;
        const char *written;
    } rows[] = {
        {"", "x=\"\""},
        {"a b{c}=d,e", "x=\"a b{c}=d,e\""},
        {"\"\\\n", "x=\"\\\"\\\\\\n\""},
        {"\\n", "x=\"\\\\n\""},
        {"\t\r\x01", "x=\"\t\r\x01\""},
        {"caf\xc3\xa9 \xf0\x9f\x98\x80", "x=\"caf\xc3\xa9 \xf0\x9f\x98\x80\""},
        {"\xff", "x=\"\xef\xbf\xbd\""},
        {"a\xc3", "x=\"a\xef\xbf\xbd\""},
        {"\xc3\"", "x=\"\xef\xbf\xbd\\\"\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_text text = {0};

        flowd_metrics_label_write(&text, "x", rows[i].value);
        flowd_text_char(&text, '\0');
        assert_string_equal(text.data, rows[i].written);
        flowd_text_fini(&text);
    }
}

/* Too many families make the whole text failed: a part of it would look like everything. */
static void test_too_many_families(void **state)
{
    static char names[FLOWD_METRICS_FAMILIES_MAX + 1][16];
    static struct flowd_metric list[FLOWD_METRICS_FAMILIES_MAX + 1];
    struct flowd_metrics metrics = {.format = FLOWD_METRICS_TEXT};
    struct flowd_text text = {0};

    (void)state;
    for (size_t i = 0; i <= FLOWD_METRICS_FAMILIES_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "x_%zu", i);
        list[i] = (struct flowd_metric){names[i], FLOWD_METRIC_GAUGE, "One of many."};
        assert_false(metrics.failed);
        flowd_metrics_add(&metrics, &list[i], i, NULL);
    }
    flowd_metrics_add(&metrics, &list[0], 7, FLOWD_LABELS("known", "family"));
    flowd_metrics_write(&metrics, &text);
    assert_true(flowd_text_failed(&text));
    flowd_text_fini(&text);
    flowd_metrics_fini(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_label_values),
        cmocka_unit_test(test_too_many_families),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
