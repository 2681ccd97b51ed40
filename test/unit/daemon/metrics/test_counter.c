/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of counters in the status and in the metrics: the same numbers under their names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "daemon/metrics/counter.h"

struct counts {
    uint32_t narrow;
    uint64_t wide;
    size_t waiting;
    int64_t took_us;
};

static const struct flowd_metric lines = {"x_lines_total", FLOWD_METRIC_COUNTER, "Lines."};
static const struct flowd_metric waiting = {"x_waiting", FLOWD_METRIC_GAUGE, "What waits."};
static const struct flowd_metric took = {"x_took_seconds", FLOWD_METRIC_GAUGE, "Time."};

static const struct flowd_counter rows[] = {
    {.key = "lines.read",
     .metric = &lines,
     .labels = {"result", "read"},
     FLOWD_COUNTED(struct counts, narrow)},
    {.key = "lines.lost",
     .metric = &lines,
     .labels = {"result", "lost", "why", "room"},
     FLOWD_COUNTED(struct counts, wide)},
    {.key = "waiting", .metric = &waiting, FLOWD_COUNTED(struct counts, waiting)},
    {.key = "tookMs", .metric = &took, FLOWD_COUNTED(struct counts, took_us), .is_time = true},
    {.key = NULL},
};

static const struct counts counts = {
    .narrow = UINT32_MAX, .wide = 1ull << 53, .waiting = 3, .took_us = 1500};

static void test_status(void **state)
{
    const struct flowd_counter_sink sink = {.status = json_pack("{s:s}", "name", "x")};
    char *text;

    (void)state;
    flowd_counters_put(&sink, rows, &counts, FLOWD_LABELS("server", "x"));
    text = json_dumps(sink.status, JSON_COMPACT);
    assert_string_equal(text, "{\"name\":\"x\",\"lines\":{\"read\":4294967295,"
                              "\"lost\":9007199254740992},\"waiting\":3,\"tookMs\":1.5}");
    free(text);
    json_decref(sink.status);
}

static void assert_metrics(const char *const *labels, const char *wanted)
{
    struct flowd_metrics metrics = {.format = FLOWD_METRICS_TEXT};
    const struct flowd_counter_sink sink = {.metrics = &metrics};
    struct flowd_text text = {0};

    flowd_counters_put(&sink, rows, &counts, labels);
    flowd_metrics_write(&metrics, &text);
    flowd_text_char(&text, '\0');
    assert_string_equal(text.data, wanted);
    flowd_text_fini(&text);
    flowd_metrics_fini(&metrics);
}

static void test_metrics(void **state)
{
    (void)state;
    assert_metrics(NULL, "# HELP x_lines_total Lines.\n"
                         "# TYPE x_lines_total counter\n"
                         "x_lines_total{result=\"read\"} 4294967295\n"
                         "x_lines_total{result=\"lost\",why=\"room\"} 9007199254740992\n"
                         "# HELP x_waiting What waits.\n"
                         "# TYPE x_waiting gauge\n"
                         "x_waiting 3\n"
                         "# HELP x_took_seconds Time.\n"
                         "# TYPE x_took_seconds gauge\n"
                         "x_took_seconds 0.0015\n");
    assert_metrics(FLOWD_LABELS("server", "x"),
                   "# HELP x_lines_total Lines.\n"
                   "# TYPE x_lines_total counter\n"
                   "x_lines_total{server=\"x\",result=\"read\"} 4294967295\n"
                   "x_lines_total{server=\"x\",result=\"lost\",why=\"room\"} 9007199254740992\n"
                   "# HELP x_waiting What waits.\n"
                   "# TYPE x_waiting gauge\n"
                   "x_waiting{server=\"x\"} 3\n"
                   "# HELP x_took_seconds Time.\n"
                   "# TYPE x_took_seconds gauge\n"
                   "x_took_seconds{server=\"x\"} 0.0015\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
