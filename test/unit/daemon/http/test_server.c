/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of connections: keep-alive, pipelining in order, bodies in any pieces, answers that come
 * late, peers that leave early, and requests after which the server does not go on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lab/http_fixture.h"

#define HOST "Host: localhost\r\n"
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static void test_keep_alive(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    for (int i = 0; i < 3; i++) {
        http_client_puts(&bench->client, "GET /a?b=c HTTP/1.1\r\n" HOST "\r\n");
        http_client_take(&bench->client, false, &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "GET /a ?b=c localhost");
        assert_non_null(strstr(answer.head, "HTTP/1.1 200 OK\r\nDate: "));
        assert_non_null(strstr(answer.head, "\r\nContent-Type: text/plain\r\n"));
        assert_null(strstr(answer.head, "Connection:"));
        http_answer_free(&answer);
    }
    http_fixture_seen(&bench->fixture, "/a\n/a\n/a\n");
    assert_int_equal(flowd_http_server_counters(bench->fixture.server)->answers[2], 3);
    assert_int_equal(flowd_http_server_counters(bench->fixture.server)->connections, 1);
}

/* Methods and targets as the handler gets to see them. */
static void test_requests(void **state)
{
    static const struct {
        const char *line;
        const char *seen;
    } rows[] = {
        {"GET / HTTP/1.1", "GET / ? localhost"},
        {"POST /x HTTP/1.1", "POST /x ? localhost"},
        {"PUT /x? HTTP/1.1", "PUT /x ? localhost"},
        {"PATCH /x?a?b HTTP/1.1", "PATCH /x ?a?b localhost"},
        {"DELETE /v1/flows/0%31 HTTP/1.1", "DELETE /v1/flows/0%31 ? localhost"},
        {"OPTIONS * HTTP/1.1", "OPTIONS * ? localhost"},
        {"LINK /x HTTP/1.1", "OTHER /x ? localhost"},
        {"GET http://[::1]:7777/x?y HTTP/1.1", "GET /x ?y [::1]:7777"},
        {"GET HTTP://example.org HTTP/1.1", "GET / ? example.org"},
        {"GET http://example.org?y HTTP/1.1", "GET  ?y example.org"},
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        http_client_puts(&bench->client, rows[i].line);
        http_client_puts(&bench->client, "\r\n" HOST "\r\n");
        http_client_expect(&bench->client, 200, rows[i].seen);
    }
}

static void test_head(void **state)
{
    struct http_bench *bench = *state;
    struct http_answer answer;

    http_client_puts(&bench->client, "HEAD /large?1000 HTTP/1.1\r\n" HOST "\r\n"
                                     "GET / HTTP/1.1\r\n" HOST "\r\n");
    http_client_take(&bench->client, true, &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nContent-Length: 1000\r\n"));
    http_answer_free(&answer);
    http_client_expect(&bench->client, 200, "GET / ? localhost");
}

/* More at once than one turn takes. */
static void test_pipelining(void **state)
{
    struct http_bench *bench = *state;
    char text[64];

    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "GET /%d HTTP/1.1\r\n" HOST "\r\n", i);
        http_client_puts(&bench->client, text);
    }
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "GET /%d ? localhost", i);
        http_client_expect(&bench->client, 200, text);
    }
    http_client_expect_nothing(&bench->client);
}

/* Answers large enough to hold further requests back, though the socket takes them at once. */
static void test_pipelined_large_answers(void **state)
{
    struct http_bench *bench = *state;

    for (int i = 0; i < 10; i++)
        http_client_puts(&bench->client, "GET /large?70000 HTTP/1.1\r\n" HOST "\r\n");
    http_client_puts(&bench->client, "GET /last HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 10; i++)
        http_client_expect(&bench->client, 200, NULL);
    http_client_expect(&bench->client, 200, "GET /last ? localhost");
    http_client_expect_nothing(&bench->client);
}

/* A peer that always leaves something unread does not make the server keep what it has read. */
static void test_slow_reader(void **state)
{
    struct http_bench *bench = *state;
    size_t received = 0;
    size_t most = 0;
    int asked = 0;

    while (received < 20u * 1024 * 1024) {
        for (; asked < 8 + (int)(received / 30000); asked++)
            http_client_puts(&bench->client, "GET /large?30000 HTTP/1.1\r\n" HOST "\r\n");
        http_fixture_turn(&bench->fixture);
        received += http_client_read(&bench->client, 20000);
        bench->client.length = 0;
        if (bench->fixture.server->connections->out.capacity > most)
            most = bench->fixture.server->connections->out.capacity;
    }
    assert_in_range(most, 30000, 1024u * 1024);
}

static void test_bodies_in_two_pieces(void **state)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: z\r\n\r\n",
        "\r\nPOST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < ROWS(requests); i++)
        for (size_t cut = 1; cut < strlen(requests[i]); cut++) {
            http_client_send(&bench->client, requests[i], cut);
            http_client_expect_nothing(&bench->client);
            http_client_puts(&bench->client, requests[i] + cut);
            http_client_expect(&bench->client, 200, "hello");
        }
}

/* Blanks and tabs around a value do not count (RFC 9110, 5.6.3), wherever it is read. */
static void test_blanks_around_values(void **state)
{
    static const struct {
        const char *request;
        const char *body;
    } rows[] = {
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length:\t5\t\r\n\r\nhello", "hello"},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: \t 5 \t \r\n\r\nhello", "hello"},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length:5\r\n\r\nhello", "hello"},
        {"POST /length HTTP/1.1\r\n" HOST "Content-Length: 0\t\r\n\r\n", "0"},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding:\tchunked\t\r\n\r\n"
         "5\r\nhello\r\n0\r\n\r\n",
         "hello"},
        {"GET / HTTP/1.1\r\nHost:\t localhost \t\r\n\r\n", "GET / ? localhost"},
        {"GET /accept HTTP/1.1\r\n" HOST "Accept:\ttext/plain\t\r\n\r\n", "text/plain"},
        {"GET / HTTP/1.1\r\n" HOST "Connection:\tfoo\t,\tclose\t\r\n\r\n", "GET / ? localhost"},
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        http_client_puts(&bench->client, rows[i].request);
        http_client_expect(&bench->client, 200, rows[i].body);
    }
    http_client_expect_end(&bench->client); /* of its Connection */
}

static void test_bodies_byte_by_byte(void **state)
{
    static const char request[] =
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nok";
    struct http_bench *bench = *state;

    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        http_client_send(&bench->client, request + i, 1);
        http_fixture_turn(&bench->fixture);
    }
    http_client_expect(&bench->client, 200, "hello!");
    http_client_expect(&bench->client, 200, "ok");
}

/* A chunked body, the next request right behind it, and a body that looks like one. */
static void test_bodies_pipelined(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client,
                     "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                     "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
                     "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 18\r\n\r\n"
                     "GET /x HTTP/1.1\r\n\r"
                     "GET /last HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&bench->client, 200, "abcdef");
    http_client_expect(&bench->client, 200, "GET /x HTTP/1.1\r\n\r");
    http_client_expect(&bench->client, 200, "GET /last ? localhost");
    http_fixture_seen(&bench->fixture, "/echo\n/echo\n/last\n");
}

static void test_deferred(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET /defer HTTP/1.1\r\n" HOST "\r\n"
                                     "GET /a HTTP/1.1\r\n" HOST "\r\n"
                                     "POST /defer HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
                                     "GET /b HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect_nothing(&bench->client);
    http_fixture_seen(&bench->fixture, "/defer\n");
    http_fixture_answer(&bench->fixture);
    http_client_expect(&bench->client, 201, "late");
    http_client_expect(&bench->client, 200, "GET /a ? localhost");
    http_client_expect_nothing(&bench->client);
    http_fixture_seen(&bench->fixture, "/a\n/defer\n");
    http_fixture_answer(&bench->fixture);
    http_client_expect(&bench->client, 201, "late");
    http_client_expect(&bench->client, 200, "GET /b ? localhost");
    http_fixture_seen(&bench->fixture, "/b\n");
}

/* What is read ahead behind a kept request is bounded, and goes on afterwards. */
static void test_deferred_flood(void **state)
{
    struct http_bench *bench = *state;
    struct flowd_text flood = {0};

    for (int i = 0; i < 2000; i++)
        flowd_text_puts(&flood, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    http_client_puts(&bench->client, "GET /defer HTTP/1.1\r\n" HOST "\r\n");
    http_client_send(&bench->client, flood.data, flood.length);
    flowd_text_fini(&flood);
    http_fixture_settle(&bench->fixture);
    assert_in_range(bench->fixture.server->connections->in_capacity, 1, 65536);
    http_fixture_seen(&bench->fixture, "/defer\n");
    http_fixture_answer(&bench->fixture);
    http_client_expect(&bench->client, 201, "late");
    for (int i = 0; i < 2000; i++)
        http_client_expect(&bench->client, 200, "GET /a ? localhost");
    /* A loop with an idle watcher never sleeps. */
    http_fixture_settle(&bench->fixture);
    assert_false(ev_is_active(&bench->fixture.server->resume));
}

static void test_half_close(void **state)
{
    struct http_bench *bench = *state;

    http_client_puts(&bench->client, "GET /a HTTP/1.1\r\n" HOST "\r\n"
                                     "GET /defer HTTP/1.1\r\n" HOST "\r\n"
                                     "GET /b HTTP/1.1\r\n" HOST "\r\n");
    http_client_finish(&bench->client);
    http_client_expect(&bench->client, 200, "GET /a ? localhost");
    http_client_expect_nothing(&bench->client);
    http_fixture_answer(&bench->fixture);
    http_client_expect(&bench->client, 201, "late");
    http_client_expect(&bench->client, 200, "GET /b ? localhost");
    http_client_expect_end(&bench->client);
    http_fixture_connections(&bench->fixture, 0);
}

static void test_half_close_between_requests(void **state)
{
    struct http_bench *bench = *state;

    http_client_finish(&bench->client);
    http_client_expect_end(&bench->client);
    http_fixture_connections(&bench->fixture, 0);
    assert_int_equal(flowd_http_server_counters(bench->fixture.server)->rejected, 0);
}

static void test_half_close_in_a_request(void **state)
{
    static const char *const parts[] = {
        "G",
        "GET /a HTTP/1.1\r\n" HOST,
        "POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n",
        "POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell",
        "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
        "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < ROWS(parts); i++) {
        struct http_client client;

        http_client_open(&client, &bench->fixture);
        http_client_puts(&client, parts[i]);
        http_client_finish(&client);
        http_client_expect(&client, 400, NULL);
        http_client_expect_end(&client);
        http_client_close(&client);
    }
    http_fixture_connections(&bench->fixture, 1);
    http_fixture_seen(&bench->fixture, "");
}

/* The peer is gone for good while the handler has its request. */
static void test_cancel(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;

    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, "GET /a HTTP/1.1\r\n" HOST "\r\n"
                              "GET /defer HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_settle(&bench->fixture);
    assert_int_equal(bench->fixture.kept_count, 1);
    http_client_close(&client); /* with an answer unread: a reset */
    http_fixture_connections(&bench->fixture, 1);
    assert_int_equal(bench->fixture.cancelled, 1);
    /* The struct of the connection serves the next one. */
    http_client_puts(&bench->client, "GET /b HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&bench->client, 200, "GET /b ? localhost");
    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, "GET /c HTTP/1.1\r\n" HOST "\r\n");
    http_client_expect(&client, 200, "GET /c ? localhost");
    http_client_close(&client);
}

/* A connection that is closed before its next turn has none. */
static void test_closed_before_its_turn(void **state)
{
    struct http_bench *bench = *state;
    struct flowd_http_server *server = bench->fixture.server;

    for (int i = 0; i < 40; i++)
        http_client_puts(&bench->client, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    for (int turn = 0; turn < 10 && server->resuming == NULL; turn++)
        http_fixture_turn(&bench->fixture);
    assert_ptr_equal(server->resuming, server->connections);
    flowd_http_connection_close(server->connections);
    assert_null(server->resuming);
    assert_null(server->connections);
}

/* The peer is gone before a late answer: sending it must do no harm. */
static void test_answer_to_nobody(void **state)
{
    struct http_bench *bench = *state;
    struct http_client client;

    http_client_open(&client, &bench->fixture);
    http_client_puts(&client, "GET /defer HTTP/1.1\r\n" HOST "\r\n");
    http_fixture_settle(&bench->fixture);
    http_client_close(&client);
    http_fixture_settle(&bench->fixture);
    if (bench->fixture.kept_count > 0)
        http_fixture_answer(&bench->fixture);
    http_fixture_connections(&bench->fixture, 1);
}

static void test_free_while_pending(void **state)
{
    struct http_fixture fixture;
    struct http_client clients[3];

    (void)state;
    http_fixture_begin(&fixture);
    for (int i = 0; i < 3; i++) {
        http_client_open(&clients[i], &fixture);
        http_client_puts(&clients[i], "GET /defer HTTP/1.1\r\n" HOST "\r\n");
    }
    http_fixture_settle(&fixture);
    assert_int_equal(fixture.kept_count, 3);
    http_fixture_end(&fixture);
    assert_int_equal(fixture.cancelled, 3);
    for (int i = 0; i < 3; i++)
        http_client_close(&clients[i]);
}

/* Which requests are the last of their connection, and what the answer says about it. */
static void test_last_request(void **state)
{
    static const struct {
        const char *request;
        bool last;
        const char *header; /* NULL: no Connection header */
    } rows[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", false, NULL},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", true, "close"},
        {"GET / HTTP/1.1\r\n" HOST "Connection: foo, Close\r\n\r\n", true, "close"},
        {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n", false, NULL},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false,
         NULL},
        {"GET / HTTP/1.0\r\n\r\n", true, "close"},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "keep-alive"},
        {"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok", true, "close"},
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct http_client client;
        struct http_answer answer;
        const char *header;

        http_client_open(&client, &bench->fixture);
        http_client_puts(&client, rows[i].request);
        http_client_take(&client, false, &answer);
        assert_int_equal(answer.status, 200);
        header = strstr(answer.head, "\r\nConnection: ");
        assert_int_equal(header != NULL, rows[i].header != NULL);
        if (header != NULL)
            assert_memory_equal(header + 14, rows[i].header, strlen(rows[i].header));
        http_answer_free(&answer);
        if (rows[i].last)
            http_client_expect_end(&client);
        else
            http_client_expect_nothing(&client);
        http_client_close(&client);
    }
}

/* Whatever is no proper request ends the connection; what stands behind it is never handled. */
static void test_smuggling(void **state)
{
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET /a HTTP/1.1\nHost: localhost\n\n", 400},
        {"GET /a HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400},
        {"GET /a HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400},
        {"GET /a HTTP/1.1\r\n\r\n", 400},
        {"GET /a HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET /a HTTP/3.0\r\n" HOST "\r\n", 505},
        {"FROB /a HTTP/1.1\r\n" HOST "\r\n", 501},
        {"get /a HTTP/1.1\r\n" HOST "\r\n", 501},
        {"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET /a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /a HTTP/1.1\r\n" HOST "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
         400},
        {"POST /a HTTP/1.1\r\n" HOST "Content-Type: a/b\r\nContent-Type: c/d\r\n"
         "Content-Length: 0\r\n\r\n",
         400},
        {"POST /a HTTP/1.1\r\n" HOST "Content-Length : 4\r\n\r\nabcd", 400},
        {"POST /a HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400},
        {"POST /a HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n\r\n",
         400},
        {"POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
        {"POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\r\nabcde\r\n0\r\n\r\n",
         400},
        {"POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\nabcd\n0\n\n", 400},
        {"\x16\x03\x01\x02", 400},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
        {"CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"{\"state\":\"start\"}\r\n\r\n", 400},
    };
    struct http_bench *bench = *state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct http_client client;
        struct http_answer answer;

        http_client_open(&client, &bench->fixture);
        http_client_puts(&client, "GET /good HTTP/1.1\r\n" HOST "\r\n");
        http_client_puts(&client, rows[i].request);
        http_client_puts(&client, "GET /smuggled HTTP/1.1\r\n" HOST "\r\n");
        http_client_expect(&client, 200, "GET /good ? localhost");
        http_client_take(&client, false, &answer);
        if (answer.status != rows[i].status)
            fail_msg("\"%s\": %s%s", rows[i].request, answer.head, answer.body);
        assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(answer.head, "\r\nContent-Type: application/problem+json\r\n"));
        http_answer_free(&answer);
        http_client_expect_end(&client);
        http_fixture_seen(&bench->fixture, "/good\n");
        http_client_close(&client);
    }
    assert_int_equal(flowd_http_server_counters(bench->fixture.server)->rejected, ROWS(rows));
}

/* The client gives up reading and sending while its refusal is on the way. */
static void test_garbage_and_gone(void **state)
{
    struct http_bench *bench = *state;

    for (int i = 0; i < 50; i++) {
        struct http_client client;

        http_client_open(&client, &bench->fixture);
        http_client_puts(&client, i % 2 ? "\n" : "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n");
        if (i % 3 == 0)
            http_fixture_turn(&bench->fixture);
        http_client_close(&client);
    }
    http_fixture_connections(&bench->fixture, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, http_bench_open, http_bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_keep_alive),
        test(test_requests),
        test(test_head),
        test(test_pipelining),
        test(test_pipelined_large_answers),
        test(test_slow_reader),
        test(test_bodies_in_two_pieces),
        test(test_blanks_around_values),
        test(test_bodies_byte_by_byte),
        test(test_bodies_pipelined),
        test(test_deferred),
        test(test_deferred_flood),
        test(test_half_close),
        test(test_half_close_between_requests),
        test(test_half_close_in_a_request),
        test(test_cancel),
        test(test_closed_before_its_turn),
        test(test_answer_to_nobody),
        cmocka_unit_test(test_free_while_pending),
        test(test_last_request),
        test(test_smuggling),
        test(test_garbage_and_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
