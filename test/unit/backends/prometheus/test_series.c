/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flows' series: their names and types are those of test/data/metrics_flowd.txt, no more and no
 * less; their labels come from the registry; and what a sample lacks has no line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "daemon/flow/flow.h"
#include "daemon/flow/registry_file.h"
#include "lab/sample_flow.h"
#include "lab/scratch.h"
#include "series.h"

#define LABELS "a=\"b\""

static const struct series_flow full = {
    .labels = 0,
    .labels_length = sizeof(LABELS) - 1,
    .sample = {.info_length = sizeof(struct flowd_tcp_info),
               .has = FLOWD_TCP_HAS_MEMORY,
               .congestion = "cubic",
               .info = {.options = 7,
                        .wscale = 0xe7,
                        .rtt = 12345,
                        .rttvar = 250,
                        .snd_mss = 1448,
                        .snd_cwnd = 10,
                        .pacing_rate = 1000,
                        .total_retrans = 3,
                        .bytes_sent = 1ull << 40},
               .memory = {[8] = 17}},
};

static struct flowd_text written;

static int clear(void **state)
{
    (void)state;
    flowd_text_fini(&written);
    written = (struct flowd_text){0};
    return 0;
}

/* What has been written, NUL-terminated. */
static const char *take(void)
{
    flowd_text_char(&written, '\0');
    assert_false(flowd_text_failed(&written));
    return written.data;
}

static void write_samples(const struct series_flow *flow)
{
    for (size_t i = 0; i < series_families(); i++)
        series_sample_write(&written, i, flow, LABELS);
}

static unsigned count(const char *text, const char *what)
{
    unsigned found = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        found++;
    return found;
}

static void test_names(void **state)
{
    FILE *file = fopen(FLOWD_TEST_DATA "/metrics_flowd.txt", "re");
    unsigned wanted = 0;
    char line[256], name[64], type[16];

    (void)state;
    assert_non_null(file);
    for (size_t i = 0; i < series_families(); i++)
        series_head_write(&written, FLOWD_METRICS_TEXT, i);
    write_samples(&full);
    take();
    while (fgets(line, sizeof(line), file) != NULL) {
        char head[128], sample[128];

        if (line[0] == '#' || sscanf(line, "%63s %15s", name, type) != 2)
            continue;
        snprintf(head, sizeof(head), "# TYPE %s %s\n", name, type);
        snprintf(sample, sizeof(sample), "\n%s{a=\"b\"", name);
        if (count(written.data, head) != 1 || count(written.data, sample) != 1)
            fail_msg("%s is not there once", name);
        wanted++;
    }
    fclose(file);
    assert_int_equal(wanted, 41);
    assert_int_equal(series_families(), wanted);
    assert_int_equal(series_count(&full.sample), wanted);
    assert_int_equal(count(written.data, "# TYPE"), wanted);
    assert_int_equal(count(written.data, "# HELP"), wanted);
    assert_int_equal(count(written.data, "\n") - 2 * wanted, wanted);
}

static void test_values(void **state)
{
    static const char *const lines[] = {
        "flow_tcp_rtt{a=\"b\"} 12.345\n",
        "flow_tcp_rtt_var{a=\"b\"} 0.25\n",
        "flow_tcp_minrtt{a=\"b\"} 0\n",
        "flow_tcp_mss{a=\"b\"} 1448\n",
        "flow_tcp_send{a=\"b\"} 9383556\n",
        "flow_tcp_pacing_rate{a=\"b\"} 8000\n",
        "flow_tcp_bytes_sent_total{a=\"b\"} 1099511627776\n",
        "flow_tcp_retrans{a=\"b\"} 3\n",
        "flow_tcp_skmem_sock_drop{a=\"b\"} 17\n",
        "flow_tcp_ca_info{a=\"b\",opts=\"ts sack cubic wscale:7,14\"} 1\n",
    };

    (void)state;
    write_samples(&full);
    take();
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (strstr(written.data, lines[i]) == NULL)
            fail_msg("no %s in\n%s", lines[i], written.data);
}

/* An older kernel's sample ends before bytes_sent; one without memory has no skmem. */
static void test_what_is_not_known(void **state)
{
    struct series_flow flow = full;
    const char *text;

    (void)state;
    flow.sample.has = 0;
    flow.sample.info_length = offsetof(struct flowd_tcp_info, bytes_sent);
    write_samples(&flow);
    text = take();
    assert_null(strstr(text, "skmem"));
    assert_null(strstr(text, "bytes_sent"));
    assert_null(strstr(text, "snd_wnd"));
    assert_non_null(strstr(text, "flow_tcp_bytes_acked_total{"));
    assert_int_equal(count(text, "\n"), series_count(&flow.sample));

    clear(state);
    flow.sample.info_length = 0;
    write_samples(&flow);
    assert_string_equal(take(), "");
    assert_int_equal(series_count(&flow.sample), 0);
}

static void test_head_in_openmetrics(void **state)
{
    const char *text;

    (void)state;
    for (size_t i = 0; i < series_families(); i++)
        series_head_write(&written, FLOWD_METRICS_OPENMETRICS, i);
    text = take();
    assert_non_null(strstr(text, "# TYPE flow_tcp_bytes_sent counter\n"));
    assert_non_null(strstr(text, "# TYPE flow_tcp_rtt gauge\n"));
    assert_null(strstr(text, "_total"));
}

/* A registry whose names have what must be escaped. */
static struct flowd_registry *odd_registry(void)
{
    static const char json[] =
        "{\"experiments\": [{\"expName\": \"a\\\"b\\\\c\\nd\", \"expId\": 2, \"activities\": "
        "[{\"activityName\": \"Upload/Download (Job)\", \"activityId\": 17}]}]}";
    struct flowd_registry *registry = flowd_registry_new();
    struct flowd_error err = {0};
    struct scratch scratch;

    assert_non_null(registry);
    scratch_make(&scratch);
    scratch_write(&scratch, "registry", json, sizeof(json) - 1);
    if (flowd_registry_load(registry, scratch_path(&scratch, "registry"), NULL, &err) < 0)
        fail_msg("%s", err.message);
    scratch_remove(&scratch);
    return registry;
}

static void test_labels(void **state)
{
    struct flowd_registry *registry = odd_registry();
    struct flowd_flow flow = sample_flow(1);

    series_labels_write(&written, registry, &flow);
    assert_string_equal(take(), "exp=\"a\\\"b\\\\c\\nd\",act=\"Upload/Download (Job)\","
                                "src=\"2001:db8::1\",dst=\"2001:db8::ffff\",flow=\"1025:443\"");
    /* Numbers where there is no name. */
    clear(state);
    flow = sample_flow(2);
    flow.activity = 18;
    series_labels_write(&written, registry, &flow);
    assert_non_null(strstr(take(), "\",act=\"18\",src=\"192.0.2.1\",dst=\"203.0.113.1\","
                                   "flow=\"1026:443\""));
    clear(state);
    flow.experiment = 511;
    series_labels_write(&written, registry, &flow);
    assert_memory_equal(take(), "exp=\"511\",act=\"18\",", 19);
    flowd_registry_free(registry);
}

#define test(function) cmocka_unit_test_setup_teardown(function, clear, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_names),
        test(test_values),
        test(test_what_is_not_known),
        test(test_head_in_openmetrics),
        test(test_labels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
