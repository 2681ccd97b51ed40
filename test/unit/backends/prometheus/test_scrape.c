/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrapes over a hub with many flows: they take many turns of the loop and little of each, and what
 * starts and ends in between leaves no series twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/flow/flow_table.h"
#include "daemon/flow/registry.h"
#include "daemon/hub/hub.h"
#include "daemon/metrics/metrics.h"
#include "daemon/tcp/tcp_sample.h"
#include "lab/http_fixture.h"
#include "lab/sample_flow.h"
#include "prometheus.h"
#include "series.h"

#define FLOWS 2200 /* more than are looked at in a turn */
#define GET "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

struct bench {
    struct flowd_context context;
    struct flowd_source *source;
    struct prometheus_config config;
    struct prometheus prometheus;
    struct http_fixture fixture; /* for the clients: its server is the backend's */
};

static void write_metrics(const struct flowd_context *context, struct flowd_metrics *metrics)
{
    static const struct flowd_metric one = {"one", FLOWD_METRIC_GAUGE, "One."};

    (void)context;
    flowd_metrics_add(metrics, &one, 1, NULL);
}

static void start_flow(struct bench *bench, uint32_t number)
{
    static const struct flowd_tcp_sample sample = {
        .info_length = sizeof(struct flowd_tcp_info),
        .has = FLOWD_TCP_HAS_MEMORY,
        .congestion = "cubic",
        .info = {.rtt = 1000, .snd_mss = 1448, .snd_cwnd = 10}};
    struct flowd_event event = sample_event(number);
    struct flowd_flow *flow;

    assert_int_equal(flowd_hub_submit(bench->context.hub, bench->source, &event, &flow, NULL),
                     FLOWD_STARTED);
    flowd_hub_sample(bench->context.hub, flow, &sample);
}

static void open_hub(struct bench *bench)
{
    const struct flowd_hub_limits limits = {.flows_max = 4 * FLOWS};
    struct flowd_context *context = &bench->context;
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    assert_int_equal(flowd_flow_table_open("", &table, &report, NULL), 0);
    context->metrics = write_metrics;
    context->registry = flowd_registry_new();
    context->loop = ev_loop_new(0);
    context->hub = flowd_hub_new(context->loop, table, &limits);
    assert_true(context->registry != NULL && context->loop != NULL && context->hub != NULL);
    bench->source = flowd_hub_source(context->hub, "test");
    assert_non_null(bench->source);
    flowd_hub_begin(context->hub);
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));

    assert_non_null(bench);
    open_hub(bench);
    bench->config.max_series = 1000000;
    bench->prometheus = (struct prometheus){
        .context = &bench->context, .config = &bench->config, .patience_us = INT64_MAX};
    assert_int_equal(flowd_http_server_new(bench->context.loop, "test", &prometheus_http_handler,
                                           &bench->prometheus, &bench->prometheus.server, NULL),
                     0);
    bench->fixture =
        (struct http_fixture){.loop = bench->context.loop, .server = bench->prometheus.server};
    for (uint32_t i = 0; i < FLOWS; i++)
        start_flow(bench, i);
    http_fixture_turn(&bench->fixture);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    flowd_http_server_free(bench->prometheus.server);
    assert_int_equal(bench->prometheus.scrape_count, 0);
    flowd_hub_free(bench->context.hub);
    ev_loop_destroy(bench->context.loop);
    flowd_registry_free(bench->context.registry);
    free(bench);
    return 0;
}

static int compare(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* How many series of flows the body has; none must be there twice. The body is taken apart. */
static size_t count_series(char *body)
{
    char **lines = calloc(FLOWS * 100, sizeof(*lines));
    size_t count = 0;
    char *rest = body;
    char *line;

    assert_non_null(lines);
    while ((line = strsep(&rest, "\n")) != NULL)
        if (strncmp(line, "flow_tcp_", 9) == 0) {
            assert_true(count < (size_t)FLOWS * 100);
            *strrchr(line, ' ') = '\0';
            lines[count++] = line;
        }
    qsort(lines, count, sizeof(*lines), compare);
    for (size_t i = 1; i < count; i++)
        if (strcmp(lines[i - 1], lines[i]) == 0)
            fail_msg("%s is there twice", lines[i]);
    free(lines);
    return count;
}

/* Others are served between any two parts, of which there are many. */
static void test_in_parts(void **state)
{
    struct bench *bench = *state;
    struct http_client client, other;
    struct http_answer answer;
    unsigned served = 0;

    http_client_open(&client, &bench->fixture);
    http_client_open(&other, &bench->fixture);
    http_client_puts(&client, GET);
    do {
        http_client_puts(&other, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for (int turn = 0; turn < 3; turn++) {
            /* Before it is read, so that the scrape goes on. */
            http_client_read(&client, 1 << 20);
            http_fixture_turn(&bench->fixture);
        }
        http_client_expect(&other, 200, NULL);
        served++;
    } while (bench->prometheus.scrape_count > 0);
    http_client_take(&client, false, &answer);
    assert_true(answer.length > (size_t)7 << 20);
    assert_true(served > answer.length / (3 * 100000));
    assert_int_equal(count_series(answer.body), FLOWS * series_families());
    assert_true(bench->prometheus.series == FLOWS * series_families());
    assert_true(bench->prometheus.served == 1 && bench->prometheus.broken == 0);
    http_answer_free(&answer);
    http_client_close(&other);
    http_client_close(&client);
}

/* In each turn some flows end, and others begin under the same addresses in other records. */
static void test_flows_that_change_places(void **state)
{
    struct bench *bench = *state;
    struct http_client client;
    struct http_answer answer;
    uint32_t random = 1;
    size_t count;

    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, GET);
    do {
        uint32_t numbers[20];

        for (size_t i = 0; i < 20; i++) {
            struct flowd_event event;

            numbers[i] = sample_random(&random) % FLOWS;
            event = sample_event(numbers[i]);
            event.state = FLOWD_EVENT_END;
            flowd_hub_submit(bench->context.hub, bench->source, &event, NULL, NULL);
        }
        http_fixture_turn(&bench->fixture);
        for (size_t i = 20; i-- > 0;) {
            struct flowd_flow_key key = sample_key(numbers[i]);

            if (flowd_hub_find_key(bench->context.hub, &key) == NULL)
                start_flow(bench, numbers[i]);
        }
        http_client_read(&client, 1 << 20);
    } while (bench->prometheus.scrape_count > 0);
    http_client_take(&client, false, &answer);
    count = count_series(answer.body);
    assert_true(count > FLOWS * series_families() / 2);
    assert_true(count <= FLOWS * series_families());
    http_answer_free(&answer);
    http_client_close(&client);
}

static void test_limit(void **state)
{
    struct bench *bench = *state;
    struct http_client client;
    struct http_answer answer;

    bench->config.max_series = 100 * (int64_t)series_families() + 3;
    http_client_open(&client, &bench->fixture);
    for (uint64_t scrapes = 1; scrapes <= 3; scrapes++) {
        uint64_t left_out = (FLOWS - 100) * series_families();

        http_client_puts(&client, GET);
        http_client_take(&client, false, &answer);
        assert_int_equal(count_series(answer.body), 100 * series_families());
        assert_true(bench->prometheus.left_out == left_out);
        assert_true(bench->prometheus.left_out_total == scrapes * left_out);
        http_answer_free(&answer);
    }
    http_client_close(&client);
}

/* With all places taken the next one is refused, or takes the place of one that takes too long. */
static void test_too_many(void **state)
{
    struct bench *bench = *state;
    struct http_client clients[PROMETHEUS_SCRAPES_MAX + 1];
    struct http_client *last = &clients[PROMETHEUS_SCRAPES_MAX];
    struct http_answer answer;

    for (size_t i = 0; i <= PROMETHEUS_SCRAPES_MAX; i++) {
        http_client_open(&clients[i], &bench->fixture);
        http_client_puts(&clients[i], GET);
        http_fixture_settle(&bench->fixture);
    }
    http_client_expect(last, 503, NULL);
    assert_int_equal(bench->prometheus.scrape_count, PROMETHEUS_SCRAPES_MAX);
    assert_true(bench->prometheus.refused == 1);

    bench->prometheus.patience_us = 0;
    http_client_puts(last, GET);
    http_client_take(last, false, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(count_series(answer.body), FLOWS * series_families());
    http_answer_free(&answer);
    /* The oldest had to go. */
    assert_int_equal(bench->prometheus.scrape_count, PROMETHEUS_SCRAPES_MAX - 1);
    assert_true(bench->prometheus.broken == 1);
    while (http_client_read(&clients[0], 65536) > 0)
        ;
    clients[0].length = 0;
    http_client_expect_end(&clients[0]);
    for (size_t i = 0; i <= PROMETHEUS_SCRAPES_MAX; i++)
        http_client_close(&clients[i]);
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_in_parts),
        test(test_flows_that_change_places),
        test(test_limit),
        test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
