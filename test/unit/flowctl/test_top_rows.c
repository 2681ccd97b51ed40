/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows from one refresh to the next: which flows are there, what their rates are and when there is
 * none, and their order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "top_rows.h"

/* One flow of the list; second < 0: without a sample. */
static void take(struct top_rows *rows, unsigned id, int second, unsigned sent, unsigned received,
                 unsigned retransmissions, double rtt, int64_t now_ms)
{
    json_t *flow = json_pack("{s:s+,s:s,s:s,s:i,s:s,s:i,s:i,s:i}", "id", "000000010000000",
                             (char[]){(char)('0' + id), '\0'}, "protocol", "tcp", "src",
                             "2001:db8::1", "srcPort", 1094, "dst", "2001:db8::2", "dstPort", 40000,
                             "experiment", 2, "activity", 17);

    assert_non_null(flow);
    if (second >= 0) {
        char time[] = "2026-01-01T00:00:00.000000+00:00";
        json_t *sample;

        time[17] = (char)('0' + second / 10);
        time[18] = (char)('0' + second % 10);
        sample =
            json_pack("{s:s,s:f,s:i,s:{s:i,s:i}}", "time", time, "rtt", rtt, "retrans",
                      (int)retransmissions, "usage", "sent", (int)sent, "received", (int)received);
        assert_int_equal(json_object_set_new(flow, "sample", sample), 0);
    }
    assert_int_equal(top_rows_take(rows, flow, now_ms), 0);
    json_decref(flow);
}

static const struct top_row *row_of(const struct top_rows *rows, unsigned id)
{
    for (size_t i = 0; i < rows->count; i++)
        if ((rows->sorted[i]->id & 0xf) == id)
            return rows->sorted[i];
    fail_msg("no flow %u", id);
    return NULL;
}

/* One refresh of one flow. */
static const struct top_row *refresh(struct top_rows *rows, int second, unsigned sent,
                                     unsigned received, unsigned retransmissions, int64_t now_ms)
{
    top_rows_begin(rows);
    take(rows, 1, second, sent, received, retransmissions, 0.5, now_ms);
    assert_int_equal(top_rows_end(rows, now_ms), 0);
    assert_int_equal(rows->count, 1);
    return rows->sorted[0];
}

static void test_rates(void **state)
{
    struct top_rows rows = {0};
    const struct top_row *row;

    (void)state;
    row = refresh(&rows, 10, 1000, 50, 1, 0);
    assert_true(row->sampled);
    assert_false(row->rated);
    assert_true(row->rtt_ms == 0.5);
    /* 2 s between the samples, however long it was between the refreshes. */
    row = refresh(&rows, 12, 3000, 150, 4, 700);
    assert_true(row->rated);
    assert_true(row->sent_rate == 8000 && row->received_rate == 400);
    assert_int_equal(row->retransmissions_last, 3);
    assert_int_equal(row->retransmissions, 4);
    assert_true(rows.sent_rate == 8000 && rows.received_rate == 400);
    /* The same sample once more says nothing new. */
    row = refresh(&rows, 12, 3000, 150, 4, 1400);
    assert_true(row->rated && row->sent_rate == 8000);
    top_rows_fini(&rows);
    assert_int_equal(rows.count, 0);
}

/* Three spans without another sample: the flow has no socket any more. */
static void test_rates_grow_old(void **state)
{
    struct top_rows rows = {0};

    (void)state;
    refresh(&rows, 10, 0, 0, 0, 0);
    refresh(&rows, 12, 2000, 0, 0, 2000);
    assert_true(refresh(&rows, 12, 2000, 0, 0, 8000)->rated);
    assert_false(refresh(&rows, 12, 2000, 0, 0, 8001)->rated);
    assert_true(rows.sent_rate == 0);
    assert_int_equal(refresh(&rows, 12, 2000, 0, 0, 9000)->sent, 2000);
    top_rows_fini(&rows);
}

/* Counts that go down are another socket's, and a clock that goes back makes no rate. */
static void test_no_rates(void **state)
{
    static const struct {
        int second;
        unsigned sent, received, retransmissions;
    } next[] = {{12, 999, 500, 5}, {12, 1000, 499, 5}, {12, 1000, 500, 4}, {9, 2000, 600, 5}};

    (void)state;
    for (size_t i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
        struct top_rows rows = {0};
        const struct top_row *row;

        refresh(&rows, 10, 1000, 500, 5, 0);
        row = refresh(&rows, next[i].second, next[i].sent, next[i].received,
                      next[i].retransmissions, 1000);
        assert_false(row->rated);
        assert_int_equal(row->sent, next[i].sent);
        /* From there on it goes on. */
        assert_true(refresh(&rows, next[i].second + 1, next[i].sent + 10, next[i].received,
                            next[i].retransmissions, 2000)
                        ->sent_rate == 80);
        top_rows_fini(&rows);
    }
}

static void test_flows_come_and_go(void **state)
{
    struct top_rows rows = {0};

    (void)state;
    top_rows_begin(&rows);
    take(&rows, 1, 10, 0, 0, 0, 1, 0);
    take(&rows, 2, -1, 0, 0, 0, 0, 0);
    assert_int_equal(top_rows_end(&rows, 0), 0);
    assert_int_equal(rows.count, 2);
    assert_false(row_of(&rows, 2)->sampled);
    assert_true(row_of(&rows, 2)->rtt_ms < 0);
    top_rows_begin(&rows);
    take(&rows, 2, 11, 0, 0, 0, 1, 1000);
    take(&rows, 3, 11, 0, 0, 0, 1, 1000);
    /* On two pages of one refresh, because the list moved: still one row. */
    take(&rows, 3, 11, 0, 0, 0, 1, 1000);
    assert_int_equal(top_rows_end(&rows, 1000), 0);
    assert_int_equal(rows.count, 2);
    assert_true(row_of(&rows, 2)->sampled);
    row_of(&rows, 3);
    top_rows_begin(&rows);
    assert_int_equal(top_rows_end(&rows, 2000), 0);
    assert_int_equal(rows.count, 0);
    top_rows_sort(&rows, TOP_SORT_RATE);
    top_rows_fini(&rows);
}

static void expect_order(struct top_rows *rows, enum top_sort sort, const char *ids)
{
    top_rows_sort(rows, sort);
    assert_int_equal(rows->count, strlen(ids));
    for (size_t i = 0; i < rows->count; i++)
        assert_int_equal(rows->sorted[i]->id & 0xf, ids[i] - '0');
}

/* What is not known stands last, and equal ones stand by their ids. */
static void test_order(void **state)
{
    struct top_rows rows = {0};

    (void)state;
    top_rows_begin(&rows);
    take(&rows, 1, 10, 0, 0, 9, 3.0, 0);
    take(&rows, 2, 10, 0, 0, 0, 1.0, 0);
    take(&rows, 3, 10, 0, 0, 0, 2.0, 0);
    assert_int_equal(top_rows_end(&rows, 0), 0);
    top_rows_begin(&rows);
    take(&rows, 6, -1, 0, 0, 0, 0, 1000);
    take(&rows, 5, -1, 0, 0, 0, 0, 1000);
    take(&rows, 4, 11, 500, 0, 2, 0.5, 1000);
    take(&rows, 3, 11, 100, 200, 2, 2.0, 1000);
    take(&rows, 2, 11, 250, 0, 2, 9.0, 1000);
    take(&rows, 1, 11, 0, 0, 9, 3.0, 1000);
    assert_int_equal(top_rows_end(&rows, 1000), 0);
    expect_order(&rows, TOP_SORT_RATE, "321456");
    expect_order(&rows, TOP_SORT_RTT, "213456");
    expect_order(&rows, TOP_SORT_RETRANSMISSIONS, "231456");
    top_rows_fini(&rows);
}

static void test_no_flow(void **state)
{
    static const char *const texts[] = {"{}", "{\"id\": 7}", "{\"id\": \"nothing\"}", "[]"};
    struct top_rows rows = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *flow = json_loads(texts[i], 0, NULL);

        assert_int_equal(top_rows_take(&rows, flow, 0), -EINVAL);
        json_decref(flow);
    }
    top_rows_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),    cmocka_unit_test(test_rates_grow_old),
        cmocka_unit_test(test_no_rates), cmocka_unit_test(test_flows_come_and_go),
        cmocka_unit_test(test_order),    cmocka_unit_test(test_no_flow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
