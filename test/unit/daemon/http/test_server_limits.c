/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of the server: sizes of header and body, who is listened to at all, how many connections
 * there may be, and how long a peer may take. Deadlines are shortened for the tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/http_fixture.h"

#define HOST "Host: localhost\r\n"
#define SHORT_S 0.02

static const struct flowd_http_counters *counters(const struct http_bench *bench)
{
    return flowd_http_server_counters(bench->fixture.server);
}

/* A header block of length bytes, owned. */
static char *large_head(size_t length)
{
    static const char begin[] = "GET / HTTP/1.1\r\n" HOST "X: ";
    char *head = malloc(length);

    assert_non_null(head);
    memset(head, 'x', length);
    memcpy(head, begin, sizeof(begin) - 1);
    memcpy(head + length - 4, "\r\n\r\n", 4);
    return head;
}

static void test_header_size(void **state)
{
    struct http_bench *bench = *state;
    char *head = large_head(FLOWD_HTTP_HEAD_MAX);

    for (int i = 0; i < 2; i++) {
        http_client_send(&bench->client, head, FLOWD_HTTP_HEAD_MAX);
        http_client_expect(&bench->client, 200, "GET / ? localhost");
    }
    free(head);
    head = large_head(FLOWD_HTTP_HEAD_MAX + 1);
    http_client_send(&bench->client, head, FLOWD_HTTP_HEAD_MAX + 1);
    http_client_expect(&bench->client, 431, NULL);
    http_client_expect_end(&bench->client);
    free(head);
}

/* A header that never ends, much larger than what is read at once. */
static void test_header_without_end(void **state)
{
    struct http_bench *bench = *state;
    char *head = large_head(100000);

    http_client_send(&bench->client, head, 99996);
    http_client_expect(&bench->client, 431, NULL);
    http_client_expect_end(&bench->client);
    free(head);
}

static void test_many_small_headers(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 200; i++)
        http_client_puts(&bench->client,
                         "X-Some-Name: a value of so many bytes that two hundred are too many; "
                         "it is repeated\r\n");
    http_client_expect(&bench->client, 431, NULL);
    http_client_expect_end(&bench->client);
}

/* Sends length bytes of content in chunks of at most 64 KiB (chunked) or as they are. */
static void send_content(struct http_client *client, size_t length, bool chunked)
{
    static char content[65536];
    char size[16];

    memset(content, 'x', sizeof(content));
    while (length > 0) {
        size_t part = length < sizeof(content) ? length : sizeof(content);

        if (chunked) {
            snprintf(size, sizeof(size), "%zx\r\n", part);
            http_client_puts(client, size);
        }
        http_client_send(client, content, part);
        if (chunked)
            http_client_puts(client, "\r\n");
        length -= part;
    }
    if (chunked)
        http_client_puts(client, "0\r\n\r\n");
}

static void test_largest_body(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client,
                     "POST /length HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n");
    send_content(&bench->client, FLOWD_HTTP_BODY_MAX, false);
    http_client_expect(&bench->client, 200, "4194304");
    http_client_puts(&bench->client,
                     "POST /length HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    send_content(&bench->client, FLOWD_HTTP_BODY_MAX, true);
    http_client_expect(&bench->client, 200, "4194304");
    /* The memory goes back. */
    http_client_expect_nothing(&bench->client);
    assert_int_equal(bench->fixture.server->buffered, 0);
    assert_in_range(bench->fixture.server->connections->in_capacity, 0, 4096);
}

static void test_body_announced_too_large(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client,
                     "POST /length HTTP/1.1\r\n" HOST "Content-Length: 4194305\r\n\r\n");
    http_client_expect(&bench->client, 413, NULL);
    http_client_expect_end(&bench->client);
    http_fixture_seen(&bench->fixture, "");
    assert_int_equal(bench->fixture.admitted, 0);
}

static void test_chunks_too_large(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client,
                     "POST /length HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    http_client_puts(&bench->client, "400000\r\n");
    send_content(&bench->client, FLOWD_HTTP_BODY_MAX, false);
    http_client_puts(&bench->client, "\r\n1\r\n");
    http_client_expect(&bench->client, 413, NULL);
    http_client_expect_end(&bench->client);
    http_fixture_seen(&bench->fixture, "");
}

/* The refusal arrives though the peer goes on sending what nobody wants. */
static void test_refused_while_sending(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client,
                     "POST /length HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n");
    send_content(&bench->client, 2000000, false);
    http_client_expect(&bench->client, 413, NULL);
    http_client_expect_end(&bench->client);
}

static void test_expect_continue(void **state)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "POST /echo HTTP/1.1\r\n" HOST
                                     "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    http_client_take(&bench->client, true, &answer);
    assert_string_equal(answer.head, go_on);
    http_answer_free(&answer);
    http_client_expect_nothing(&bench->client);
    http_client_puts(&bench->client, "hel");
    http_client_expect_nothing(&bench->client);
    http_client_puts(&bench->client, "lo");
    http_client_expect(&bench->client, 200, "hello");
    assert_int_equal(bench->fixture.admitted, 1);

    http_client_puts(&bench->client, "POST /echo HTTP/1.1\r\n" HOST
                                     "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    http_client_take(&bench->client, true, &answer);
    assert_string_equal(answer.head, go_on);
    http_answer_free(&answer);
    http_client_puts(&bench->client, "2\r\nok\r\n0\r\n\r\n");
    http_client_expect(&bench->client, 200, "ok");

    /* With the body there already, or a part of it, with none, and with HTTP/1.0 nobody waits for
     * it. */
    http_client_puts(&bench->client, "POST /echo HTTP/1.1\r\n" HOST
                                     "Content-Length: 2\r\nExpect: 100-continue\r\n\r\nok");
    http_client_expect(&bench->client, 200, "ok");
    http_client_puts(&bench->client, "POST /echo HTTP/1.1\r\n" HOST
                                     "Content-Length: 2\r\nExpect: 100-continue\r\n\r\no");
    http_client_expect_nothing(&bench->client);
    http_client_puts(&bench->client, "k");
    http_client_expect(&bench->client, 200, "ok");
    http_client_puts(&bench->client, "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n");
    http_client_expect(&bench->client, 200, "GET / ? localhost");
    http_client_puts(&bench->client, "POST /echo HTTP/1.0\r\n"
                                     "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    http_client_expect_nothing(&bench->client);
    http_client_puts(&bench->client, "ok");
    http_client_expect(&bench->client, 200, "ok");
    http_client_expect_end(&bench->client);
}

/* A body that is refused from its header is not waited for. */
static void test_not_admitted(void **state)
{
    static const char *const requests[] = {
        "POST /forbidden HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "POST /forbidden HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell",
        "POST /forbidden HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct http_client client;
        struct http_answer answer;

        http_client_open(&client, &bench->fixture);
        http_client_puts(&client, requests[i]);
        http_client_take(&client, false, &answer);
        assert_int_equal(answer.status, 401);
        assert_non_null(strstr(answer.head, "\r\nWWW-Authenticate: Bearer\r\n"));
        assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
        http_answer_free(&answer);
        http_client_puts(&client, "o\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n");
        http_client_expect_end(&client);
        http_client_close(&client);
    }
    http_fixture_connections(&bench->fixture, 1);
    http_fixture_seen(&bench->fixture, "");
}

/* With too much in the buffers already, small requests work and large ones have to wait. */
static void test_crowded(void **state)
{
    struct http_bench *bench = *state;

    bench->fixture.server->buffered = FLOWD_HTTP_BUFFERED_MAX + 1;
    assert_true(flowd_http_server_crowded(bench->fixture.server));
    http_client_puts(&bench->client, "GET / HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&bench->client, 200, "GET / ? localhost");
    http_client_puts(&bench->client,
                     "POST /length HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n");
    send_content(&bench->client, 100000, false);
    http_client_expect(&bench->client, 503, NULL);
    http_client_expect_end(&bench->client);
    assert_int_equal(bench->fixture.server->buffered, FLOWD_HTTP_BUFFERED_MAX + 1);
}

/* Nothing is said to who has a request under way, and what came behind it is read later. */
static void test_crowded_while_pending(void **state)
{
    struct http_bench *bench = *state;

    bench->fixture.server->buffered = FLOWD_HTTP_BUFFERED_MAX + 1;
    http_client_puts(&bench->client, "GET /defer HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 300; i++)
        http_client_puts(&bench->client, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect_nothing(&bench->client);
    assert_int_equal(counters(bench)->rejected, 0);
    http_fixture_answer(&bench->fixture);
    http_client_expect(&bench->client, 201, "late");
    for (int i = 0; i < 300; i++)
        http_client_expect(&bench->client, 200, "GET /a ? localhost");
    assert_int_equal(bench->fixture.server->buffered, FLOWD_HTTP_BUFFERED_MAX + 1);
}

/* A request that does not come to its end, cut at several places. */
static void test_slow_request(void **state)
{
    static const char *const parts[] = {
        "G",
        "GET / HTTP/1.1\r\n" HOST,
        "GET / HTTP/1.1\r\n" HOST "\r\nGET",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    };
    struct http_bench *bench = *state;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_REQUEST] = SHORT_S;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct http_client client;

        http_client_open(&client, &bench->fixture);
        http_client_puts(&client, parts[i]);
        if (i == 2)
            http_client_expect(&client, 200, NULL);
        http_client_expect(&client, 408, NULL);
        http_client_expect_end(&client);
        http_client_close(&client);
    }
    assert_int_equal(counters(bench)->timeouts, sizeof(parts) / sizeof(parts[0]));
}

/* One byte at a time does not buy more time. */
static void test_trickle(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;
    int sent = 0;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_REQUEST] = SHORT_S;
    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, "GET / HTTP/1.1\r\nX: ");
    while (counters(bench)->timeouts == 0 && sent++ < 1000000) {
        if (sent % 100 == 0)
            http_client_puts(&client, "x");
        http_fixture_turn(&bench->fixture);
    }
    assert_int_equal(counters(bench)->timeouts, 1);
    http_client_expect(&client, 408, NULL);
    http_client_expect_end(&client);
    http_client_close(&client);
}

/* Who says nothing is told nothing. */
static void test_silence(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_REQUEST] = SHORT_S;
    http_client_open(&client, &bench->fixture);
    http_client_expect_end(&client);
    http_client_close(&client);
    assert_int_equal(counters(bench)->rejected, 0);
}

static void test_silence_after_a_request(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_IDLE] = SHORT_S;
    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, "GET / HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&client, 200, NULL);
    http_client_expect_end(&client);
    http_client_close(&client);
    assert_int_equal(counters(bench)->rejected, 0);
}

/* However long the handler takes, its request is not timed out. */
static void test_no_deadline_while_pending(void **state)
{
    struct http_bench *bench = *state;
    const struct flowd_http_connection *connection = bench->fixture.server->connections;

    http_client_puts(&bench->client, "GET /defer HTTP/1.1\r\n" HOST "\r\nGET /a HT");
    http_fixture_settle(&bench->fixture);
    assert_int_equal(bench->fixture.kept_count, 1);
    assert_false(ev_is_active(&connection->deadline));
    http_fixture_answer(&bench->fixture);
    http_client_expect(&bench->client, 201, "late");
    assert_true(ev_is_active(&connection->deadline));
    assert_int_equal(connection->awaited, FLOWD_HTTP_WAIT_REQUEST);
    http_client_puts(&bench->client, "TP/1.1\r\n" HOST "\r\n");
    http_client_expect(&bench->client, 200, "GET /a ? localhost");
    assert_true(ev_is_active(&connection->deadline));
    assert_int_equal(connection->awaited, FLOWD_HTTP_WAIT_IDLE);
}

/* When the deadline of the only connection falls due, by the loop's clock. */
static ev_tstamp due_s(struct http_bench *bench)
{
    struct ev_loop *loop = bench->fixture.loop;
    struct flowd_http_connection *connection = bench->fixture.server->connections;

    assert_true(ev_is_active(&connection->deadline));
    return ev_now(loop) + ev_timer_remaining(loop, &connection->deadline);
}

/* Lets SHORT_S pass, whose half tells a deadline that began anew from the one before. */
static void pass_time(struct http_bench *bench)
{
    ev_sleep(SHORT_S);
    http_fixture_settle(&bench->fixture);
}

/* Each request has its own time, also one that began behind the one before. */
static void test_deadline_of_each_request(void **state)
{
    struct http_bench *bench = *state;
    ev_tstamp first_s;

    http_client_puts(&bench->client, "GET / HTTP/1.1\r\n");
    http_fixture_settle(&bench->fixture);
    first_s = due_s(bench);
    pass_time(bench);
    http_client_puts(&bench->client, HOST);
    http_fixture_settle(&bench->fixture);
    assert_true(due_s(bench) < first_s + SHORT_S / 2);
    http_client_puts(&bench->client, "\r\nGET");
    http_client_expect(&bench->client, 200, NULL);
    assert_int_equal(bench->fixture.server->connections->awaited, FLOWD_HTTP_WAIT_REQUEST);
    assert_true(due_s(bench) > first_s + SHORT_S / 2);
}

/* A peer that takes its answers slowly has as long for each part of them. */
static void test_deadline_of_slow_reader(void **state)
{
    struct http_bench *bench = *state;
    ev_tstamp first_s;

    http_client_puts(&bench->client, "GET /large?4000000 HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_settle(&bench->fixture);
    assert_int_equal(bench->fixture.server->connections->awaited, FLOWD_HTTP_WAIT_WRITE);
    first_s = due_s(bench);
    pass_time(bench);
    assert_true(due_s(bench) < first_s + SHORT_S / 2);
    while (http_client_read(&bench->client, 65536) > 0)
        continue;
    http_fixture_settle(&bench->fixture);
    assert_int_equal(bench->fixture.server->connections->awaited, FLOWD_HTTP_WAIT_WRITE);
    assert_true(due_s(bench) > first_s + SHORT_S / 2);
}

/* A peer that takes no answers is let go. */
static void test_unread_answers(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_WRITE] = SHORT_S;
    http_client_open(&client, &bench->fixture);
    for (int i = 0; i < 3; i++)
        http_client_puts(&client, "GET /large?1000000 HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_connections(&bench->fixture, 0);
    assert_int_equal(counters(bench)->timeouts, 1);
    assert_int_equal(bench->fixture.server->buffered, 0);
    http_client_close(&client);
}

/* Nor does a refused peer keep its connection by not closing it. */
static void test_lingering(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;

    bench->fixture.server->wait_s[FLOWD_HTTP_WAIT_LEAVING] = SHORT_S;
    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, "garbage\r\n\r\n");
    http_client_expect(&client, 400, NULL);
    http_client_expect_end(&client);
    http_fixture_connections(&bench->fixture, 0);
    http_client_close(&client);
}

#define test(name) cmocka_unit_test_setup_teardown(name, http_bench_open, http_bench_close)
#define test_server(name)                                                                          \
    cmocka_unit_test_setup_teardown(name, http_bench_open_server, http_bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_header_size),
        test(test_header_without_end),
        test(test_many_small_headers),
        test(test_largest_body),
        test(test_body_announced_too_large),
        test(test_chunks_too_large),
        test(test_refused_while_sending),
        test(test_expect_continue),
        test(test_not_admitted),
        test(test_crowded),
        test(test_crowded_while_pending),
        test_server(test_slow_request),
        test_server(test_trickle),
        test_server(test_silence),
        test_server(test_silence_after_a_request),
        test(test_no_deadline_while_pending),
        test(test_deadline_of_each_request),
        test(test_deadline_of_slow_reader),
        test_server(test_unread_answers),
        test_server(test_lingering),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
