/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is drawn fits the screen, whatever its size; what is piped has no orders to a terminal; and
 * JSON is JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "top_view.h"

#define FLOWS 30
#define LONG "1111:2222:3333:4444:5555:6666:7777:8888"

/* FLOWS flows of long addresses, of which the first has a rate. */
static void fill(struct top_rows *rows)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        top_rows_begin(rows);
        for (unsigned i = 0; i < FLOWS; i++) {
            char id[17];
            json_t *flow;

            snprintf(id, sizeof(id), "%016x", i + 1);
            flow = json_pack("{s:s,s:s,s:s,s:i,s:s,s:i,s:i,s:i}", "id", id, "protocol", "tcp",
                             "src", LONG, "srcPort", 10000 + i, "dst", i % 2 ? "192.0.2.1" : LONG,
                             "dstPort", 40000, "experiment", 511, "activity", 63);
            assert_non_null(flow);
            if (i == 0)
                json_object_set_new(
                    flow, "sample",
                    json_pack("{s:s,s:f,s:i,s:{s:i,s:i}}", "time",
                              pass ? "2026-01-01T00:00:01Z" : "2026-01-01T00:00:00Z", "rtt", 1.25,
                              "retrans", 7, "usage", "sent", pass ? 125000 : 0, "received", 0));
            assert_int_equal(top_rows_take(rows, flow, pass * 1000), 0);
            json_decref(flow);
        }
        assert_int_equal(top_rows_end(rows, pass * 1000), 0);
    }
    top_rows_sort(rows, TOP_SORT_RATE);
}

/* Counts the lines and the columns of the rows, without escape sequences, which are checked. */
static void measure(const struct flowd_text *text, size_t *lines, size_t *widest)
{
    size_t column = 0, line = 0;

    *widest = 0;
    for (size_t i = 0; i < text->length; i++) {
        char c = text->data[i];

        if (c == '\033') {
            assert_int_equal(text->data[++i], '[');
            while (text->data[++i] < '@')
                assert_in_range(i, 0, text->length);
        } else if (c == '\n') {
            line++;
            column = 0;
        } else if (c != '\r') {
            column++;
            /* The two lines above the table are cut by the terminal. */
            if (line >= 2 && column > *widest)
                *widest = column;
        }
    }
    *lines = line + 1;
}

static void test_screen(void **state)
{
    static const struct {
        size_t columns, lines;
        bool fits; /* narrower than the narrowest table, the terminal cuts it */
    } sizes[] = {{80, 24, true}, {200, 24, true}, {80, 4, true}, {80, 3, true},
                 {76, 50, true}, {20, 10, false}, {1, 1, false}};
    struct top_rows rows = {0};

    (void)state;
    fill(&rows);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct top_view view = {
            .columns = sizes[i].columns, .lines = sizes[i].lines, .where = "http://127.0.0.1:7777"};
        size_t room = sizes[i].lines > 3 ? sizes[i].lines - 3 : 0;
        struct flowd_text text = {0};
        size_t lines, widest;

        top_view_screen(&text, &rows, &view);
        measure(&text, &lines, &widest);
        assert_int_equal(lines, 3 + (room < FLOWS ? room : FLOWS));
        if (sizes[i].fits)
            assert_in_range(widest, 1, sizes[i].columns);
        flowd_text_char(&text, '\0');
        /* However much of an address is left out, the ports stay. */
        if (sizes[i].fits && room > 0)
            assert_non_null(strstr(text.data, ":10000 "));
        flowd_text_fini(&text);
    }
    top_rows_fini(&rows);
}

/* The key in force is marked; a problem stands in the place of the keys, and gives no orders. */
static void test_second_line(void **state)
{
    struct top_view view = {
        .columns = 80, .lines = 24, .where = "x\033]0;title", .sort = TOP_SORT_RTT};
    struct top_rows rows = {0};
    struct flowd_text text = {0};

    (void)state;
    top_view_screen(&text, &rows, &view);
    flowd_text_char(&text, '\0');
    assert_non_null(strstr(text.data, "[t round-trip time]"));
    assert_null(strstr(text.data, "[r rate]"));
    assert_null(strstr(text.data, "\033]"));
    assert_non_null(strstr(text.data, "x?]0;title"));
    assert_non_null(strstr(text.data, "0 flows, "));
    flowd_text_clear(&text);
    view.problem = "refused\033[2J";
    top_view_screen(&text, &rows, &view);
    flowd_text_char(&text, '\0');
    assert_non_null(strstr(text.data, "not up to date: refused?[2J"));
    assert_null(strstr(text.data, "round-trip time"));
    flowd_text_fini(&text);
}

static void test_plain(void **state)
{
    const struct top_view view = {.where = "/run/flowd.sock"};
    struct top_rows rows = {0};
    struct flowd_text text = {0};
    size_t lines, widest;

    (void)state;
    fill(&rows);
    top_view_plain(&text, &rows, &view);
    assert_null(memchr(text.data, '\033', text.length));
    measure(&text, &lines, &widest);
    assert_int_equal(lines, FLOWS + 4);
    flowd_text_char(&text, '\0');
    assert_non_null(strstr(text.data, "30 flows, sending 1.00Mbit/s, receiving 0bit/s - /run/"));
    assert_non_null(strstr(text.data, "[" LONG "]:10000 [" LONG "]:40000"));
    assert_non_null(strstr(text.data, " 1.00M      0   125k   1.25     0     7\n"));
    assert_non_null(strstr(text.data, "      -      -      -      -     -     -\n"));
    flowd_text_fini(&text);
    top_rows_fini(&rows);
}

static void test_json(void **state)
{
    struct top_rows rows = {0};
    struct flowd_text text = {0};
    json_t *document, *flow;

    (void)state;
    fill(&rows);
    top_view_json(&text, &rows, 1767225661500000);
    assert_ptr_equal(memchr(text.data, '\n', text.length), text.data + text.length - 1);
    document = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    assert_int_equal(json_integer_value(json_object_get(document, "live")), FLOWS);
    assert_int_equal(json_integer_value(json_object_get(document, "sentRate")), 1000000);
    assert_int_equal(json_array_size(json_object_get(document, "flows")), FLOWS);
    flow = json_array_get(json_object_get(document, "flows"), 0);
    assert_string_equal(json_string_value(json_object_get(flow, "id")), "0000000000000001");
    assert_int_equal(json_integer_value(json_object_get(flow, "sent")), 125000);
    assert_int_equal(json_integer_value(json_object_get(flow, "retransmissions")), 7);
    assert_true(json_number_value(json_object_get(flow, "rtt")) == 1.25);
    flow = json_array_get(json_object_get(document, "flows"), 1);
    assert_null(json_object_get(flow, "sent"));
    assert_null(json_object_get(flow, "rtt"));
    json_decref(document);
    flowd_text_fini(&text);
    top_rows_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_screen),
        cmocka_unit_test(test_second_line),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
